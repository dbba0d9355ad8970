//! Damage in sealed segments, found by reading them while the log runs.

mod support;

use commit_log::{SimulatedDisk, Verified};
use std::sync::Arc;
use support::*;
use types::{Ballot, Decree, Durability, RecordBody};

/// Reads every sealed segment; the files of the damaged ones.
fn verify_all(log: &commit_log::Log) -> Vec<String> {
    let (mut last, mut damaged) = (0, Vec::new());
    while let Some(segment) = log.sealed_behind(last) {
        match log.verify(segment, &mut |_| true) {
            Verified::Whole => {}
            Verified::Damaged { file, .. } => damaged.push(file),
            other => panic!("segment {segment}: {other:?}"),
        }
        last = segment;
    }
    damaged
}

#[test]
fn a_damaged_sealed_segment_is_found_and_given_up_once_everybody_in_it_is_durable() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let (disk, options) = (SimulatedDisk::new(), options(durability));
        let opened = open(&disk, &options);
        let log = &opened.log;
        let _ = log
            .append(&[created(P), ballot(P, 3), mutation(P, 3, 1, "needle")], 0)
            .unwrap();
        settle(log);
        let mut decree = 0;
        while log.stats().segments < 3 {
            decree += 1;
            let _ = log
                .append(&[mutation(Q, 1, decree, vec![1; 700])], 0)
                .unwrap();
            settle(log);
        }
        assert_eq!(verify_all(log), [] as [String; 0]);
        assert!(log.laggards().is_empty());
        let (name, at) = find(&disk, b"needle");
        assert!(disk.corrupt(&name, at, 1));
        assert_eq!(verify_all(log), [name]);
        settle(log);
        // What cannot be copied forward is to be flushed, however small.
        let named: Vec<_> = log
            .laggards()
            .iter()
            .map(|laggard| laggard.partition)
            .collect();
        assert!(named.contains(&Q), "{named:?}");
        assert_eq!(log.stats().released, 0);
        log.set_durable(Q, Decree(decree));
        settle(log);
        let named: Vec<_> = log
            .laggards()
            .iter()
            .map(|laggard| laggard.partition)
            .collect();
        assert_eq!(named, [P]);
        log.set_durable(P, Decree(1));
        settle(log);
        assert_eq!(log.stats().released, 1);
        assert_eq!(verify_all(log), [] as [String; 0]);
        drop(opened);
        let durable = |id| {
            if id == P { Decree(1) } else { Decree(decree) }
        };
        let opened = try_open(Arc::new(disk), &options, &durable).unwrap();
        assert!(opened.recovery.quarantined.is_empty());
        assert_eq!(
            marks(&opened.records, P),
            [created(P).body, RecordBody::Ballot(Ballot(3))]
        );
    }
}

#[test]
fn segments_of_an_earlier_life_are_verified_too_and_a_reader_can_stop() {
    let (disk, options) = (SimulatedDisk::new(), options(Durability::Buffered));
    let opened = open(&disk, &options);
    let needle = b"of an earlier life";
    let _ = opened.log.append(&[mutation(P, 1, 1, &needle[..])], 0);
    settle(&opened.log);
    drop(opened);
    let opened = open(&disk, &options);
    let segment = opened.log.sealed_behind(0).unwrap();
    assert_eq!(opened.log.verify(segment, &mut |_| true), Verified::Whole);
    assert_eq!(
        opened.log.verify(segment, &mut |_| false),
        Verified::Stopped
    );
    assert_eq!(opened.log.verify(99, &mut |_| true), Verified::Gone);
    let (name, at) = find(&disk, needle);
    assert!(disk.corrupt(&name, at, 1));
    assert_eq!(verify_all(&opened.log), [name]);
}
