//! What opening makes of damaged, torn, recycled and foreign files.

mod support;

use commit_log::{Appended, Disk, OpenError, SimulatedDisk};
use std::sync::Arc;
use support::*;
use types::{Ballot, Decree, Durability, LearnKind, RecordBody};

/// A log of one segment with these appends, each a batch, all synced and marked.
fn written(appends: &[&[types::Record]], durability: Durability) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let opened = open(&disk, &options(durability));
    for (ticket, records) in appends.iter().enumerate() {
        let _ = opened.log.append(records, ticket as u64).unwrap();
        settle(&opened.log);
    }
    disk
}

const BOTH: [Durability; 2] = [Durability::Sync, Durability::Buffered];

#[test]
fn a_log_gives_back_what_was_appended() {
    for durability in BOTH {
        let records = [
            created(P),
            ballot(P, 1),
            mutation(P, 1, 1, "one"),
            mutation(P, 1, 2, "two"),
        ];
        let disk = written(&[&records, &[mutation(Q, 1, 1, "other")]], durability);
        let opened = open(&disk, &options(durability));
        let expected = [
            created(P),
            mutation(P, 1, 1, "one"),
            mutation(P, 1, 2, "two"),
            mutation(Q, 1, 1, "other"),
            ballot(P, 1),
        ];
        assert_eq!(opened.records, expected);
        assert_eq!(
            (opened.recovery.mutations, opened.recovery.partitions),
            (3, 2)
        );
        assert_eq!(
            (opened.recovery.torn_bytes, opened.recovery.damaged_bytes),
            (0, 0)
        );
    }
}

#[test]
fn recovery_reads_only_what_rocksdb_does_not_have() {
    let records = [
        mutation(P, 1, 1, "one"),
        mutation(P, 1, 2, "two"),
        mutation(P, 1, 3, "three"),
    ];
    let disk = written(&[&records], Durability::Sync);
    let opened = try_open(Arc::new(disk), &options(Durability::Sync), &|_| Decree(2)).unwrap();
    assert_eq!(decrees(&opened.records, P), [(3, 1)]);
}

#[test]
fn only_truncates_and_resets_cancel_what_a_later_record_of_a_decree_does_not() {
    let disk = written(
        &[
            &[
                mutation(P, 1, 1, "a"),
                mutation(P, 1, 2, "b"),
                mutation(P, 1, 3, "c"),
                mutation(P, 1, 4, "d"),
            ],
            // Re-prepared under ballot 2, the list cut short: 3 and 4 stand (L1).
            &[mutation(P, 2, 1, "a"), mutation(P, 2, 2, "b")],
            // Removes 4 alone: 3 is not above, 1 and 2 are of no lower ballot (C2).
            &[truncate(P, 2, 3)],
            &[
                mutation(Q, 1, 1, "x"),
                mutation(Q, 1, 2, "y"),
                mutation(Q, 1, 3, "z"),
            ],
            &[reset(Q, 1, 1, LearnKind::Log), mutation(Q, 4, 3, "later")],
        ],
        Durability::Buffered,
    );
    let records = open(&disk, &options(Durability::Buffered)).records;
    assert_eq!(decrees(&records, P), [(3, 1), (1, 2), (2, 2)]);
    assert_eq!(decrees(&records, Q), [(1, 1), (3, 4)]);
}

#[test]
fn what_follows_a_deletion_is_shown_behind_it_and_not_cancelled_by_it() {
    for durability in BOTH {
        let deleted = record(P, RecordBody::Deleted);
        let disk = written(
            &[
                &[created(P), ballot(P, 1), mutation(P, 1, 1, "one")],
                std::slice::from_ref(&deleted),
                &[ballot(P, 2)],
            ],
            durability,
        );
        let opened = open(&disk, &options(durability));
        assert_eq!(opened.records, [deleted, ballot(P, 2)]);
    }
}

#[test]
fn a_deleted_partition_leaves_its_deletion_alone() {
    let disk = written(
        &[
            &[created(P), ballot(P, 3), mutation(P, 3, 1, "x")],
            &[record(P, RecordBody::Deleted)],
        ],
        Durability::Sync,
    );
    assert_eq!(
        open(&disk, &options(Durability::Sync)).records,
        [record(P, RecordBody::Deleted)]
    );
}

#[test]
fn a_torn_last_batch_is_cut_and_stays_cut() {
    let (options, disk) = (options(Durability::Buffered), SimulatedDisk::new());
    let opened = open(&disk, &options);
    assert_eq!(
        opened
            .log
            .append(&[mutation(P, 1, 1, "synced")], 0)
            .unwrap(),
        Appended::Done
    );
    settle(&opened.log);
    for (decree, effects) in [(2, "lost to the power cut"), (3, "behind the hole")] {
        assert_eq!(
            opened
                .log
                .append(&[mutation(P, 1, decree, effects)], 0)
                .unwrap(),
            Appended::Done
        );
    }
    drop(opened);
    // Never synced: what the file system made of it is as good as any.
    let (name, at) = find(&disk, b"lost to the power cut");
    assert!(disk.corrupt(&name, at, 1));

    let opened = open(&disk, &options);
    assert_eq!(decrees(&opened.records, P), [(1, 1)]);
    assert!(opened.recovery.torn_bytes > 0);
    assert!(opened.recovery.quarantined.is_empty());
    let _ = opened
        .log
        .append(&[mutation(P, 1, 2, "lost to the power cut")], 0)
        .unwrap();
    drop(opened);
    // Now the bytes behind the cut read as valid again, and must not.
    assert!(disk.corrupt(&name, at, 1));
    assert_eq!(decrees(&open(&disk, &options).records, P), [(1, 1), (2, 1)]);
}

#[test]
fn a_flipped_bit_below_the_mark_is_damage_wherever_it_is() {
    for durability in BOTH {
        let disk = written(
            &[
                &[created(P), mutation(P, 1, 1, "first")],
                &[mutation(P, 1, 2, "second")],
                &[created(Q), mutation(Q, 1, 1, "third")],
            ],
            durability,
        );
        for needle in ["first", "second", "third"] {
            let disk = disk.copy();
            let (name, at) = find(&disk, needle.as_bytes());
            assert!(disk.corrupt(&name, at, 0x10));
            let opened = open(&disk, &options(durability));
            assert!(opened.recovery.damaged_bytes > 0, "{needle}");
            assert!(
                opened.recovery.lost_track,
                "{needle}: no index bounds the damage of an unsealed segment"
            );
            assert!(opened.recovery.quarantined.contains(&P), "{needle}");
            assert_eq!(opened.recovery.torn_bytes, 0, "{needle}");
        }
    }
}

#[test]
fn no_flipped_bit_makes_a_shorter_history_without_a_word() {
    for durability in BOTH {
        let disk = written(
            &[
                &[created(P), ballot(P, 1)],
                &[mutation(P, 1, 1, "one")],
                &[mutation(P, 1, 2, "two")],
            ],
            durability,
        );
        let name = disk.files()[0].0.clone();
        let whole = open(&disk.copy(), &options(durability)).records;
        let used = disk
            .contents(&name)
            .unwrap()
            .iter()
            .rposition(|&byte| byte != 0)
            .unwrap();
        // Blocks are mostly padding in `sync`.
        let step = if durability == Durability::Sync {
            17
        } else {
            1
        };
        for at in (0..=used).step_by(step) {
            let disk = disk.copy();
            assert!(disk.corrupt(&name, at, 1 << (at % 8)));
            match try_open(Arc::new(disk), &options(durability), &|_| Decree::ZERO) {
                Ok(opened) => assert!(
                    opened.records == whole || opened.recovery.lost_track,
                    "byte {at}: {:?} {:?}",
                    opened.records,
                    opened.recovery
                ),
                Err(OpenError::Disk { .. } | OpenError::Format { .. }) => {}
            }
        }
    }
}

#[test]
fn arbitrary_bytes_are_never_a_panic() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let disk = written(
            &[
                &[created(P), mutation(P, 1, 1, vec![7; 3000])],
                &[ballot(P, 2)],
            ],
            Durability::Buffered,
        );
        let (name, size) = disk.files()[0].clone();
        for _ in 0..random.below(300) {
            let within = if random.chance(2) { 300 } else { size as u64 };
            let at = random.below(within);
            disk.corrupt(&name, at as usize, random.next() as u8);
        }
        drop(try_open(
            Arc::new(disk),
            &options(Durability::Buffered),
            &|_| Decree::ZERO,
        ));
    }
}

/// Two sealed segments and a third; P only in the first, Q in all.
fn sealed() -> SimulatedDisk {
    let (disk, options) = (SimulatedDisk::new(), options(Durability::Buffered));
    let opened = open(&disk, &options);
    let _ = opened
        .log
        .append(
            &[created(P), created(Q), mutation(P, 1, 1, "of the first")],
            0,
        )
        .unwrap();
    for decree in 1..=12 {
        let effects = [format!("number {decree:02}").into_bytes(), vec![1; 3000]].concat();
        let _ = opened
            .log
            .append(&[mutation(Q, 1, decree, effects)], 0)
            .unwrap();
    }
    settle(&opened.log);
    assert_eq!(opened.log.stats().segments, 3);
    disk
}

#[test]
fn a_sealed_segment_proves_whole_whom_the_damage_did_not_touch() {
    let disk = sealed();
    let (name, at) = find(&disk, b"number 02");
    assert!(disk.corrupt(&name, at, 1));
    let opened = open(&disk, &options(Durability::Buffered));
    assert_eq!(
        opened
            .recovery
            .quarantined
            .iter()
            .copied()
            .collect::<Vec<_>>(),
        [Q]
    );
    assert!(!opened.recovery.lost_track);
    assert_eq!(decrees(&opened.records, P), [(1, 1)]);
    assert_eq!(decrees(&opened.records, Q).len(), 11);
}

#[test]
fn damage_to_what_rocksdb_has_quarantines_nobody() {
    let disk = sealed();
    let (name, at) = find(&disk, b"number 02");
    assert!(disk.corrupt(&name, at, 1));
    let opened = try_open(Arc::new(disk), &options(Durability::Buffered), &|_| {
        Decree(8)
    })
    .unwrap();
    assert!(opened.recovery.quarantined.is_empty());
    assert_eq!(
        decrees(&opened.records, Q),
        [(9, 1), (10, 1), (11, 1), (12, 1)]
    );
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = sealed();
    let (name, _) = find(&disk, b"number 07");
    disk.remove(&name).unwrap();
    let opened = open(&disk, &options(Durability::Buffered));
    assert!(opened.recovery.lost_track);
    assert!(opened.recovery.quarantined.contains(&Q));
}

#[test]
fn a_quarantine_lasts_until_the_partition_starts_anew() {
    let disk = sealed();
    let (name, at) = find(&disk, b"number 02");
    assert!(disk.corrupt(&name, at, 1));
    let options = options(Durability::Buffered);
    let quarantined = |disk: &SimulatedDisk| !open(disk, &options).recovery.quarantined.is_empty();
    assert!(quarantined(&disk));
    assert!(quarantined(&disk));
    let opened = open(&disk, &options);
    let _ = opened
        .log
        .append(&[reset(Q, 1, 12, LearnKind::Log)], 1)
        .unwrap();
    settle(&opened.log);
    drop(opened);
    assert!(
        quarantined(&disk),
        "a learn by log builds on what is damaged"
    );
    let opened = open(&disk, &options);
    let _ = opened
        .log
        .append(&[reset(Q, 2, 12, LearnKind::Checkpoint)], 1)
        .unwrap();
    settle(&opened.log);
    drop(opened);
    assert!(!quarantined(&disk));
    assert!(!quarantined(&disk));
}

#[test]
fn who_starts_anew_behind_damage_in_the_same_segment_is_whole() {
    for durability in BOTH {
        let disk = written(
            &[
                &[created(P), mutation(P, 1, 1, "damaged")],
                &[created(Q), mutation(Q, 1, 1, "of another")],
                &[
                    reset(P, 1, 1, LearnKind::Checkpoint),
                    mutation(P, 2, 2, "learnt"),
                ],
                &[mutation(P, 2, 3, "last")],
            ],
            durability,
        );
        let (name, at) = find(&disk, b"damaged");
        assert!(disk.corrupt(&name, at, 1));
        let opened = open(&disk, &options(durability));
        let quarantined: Vec<_> = opened.recovery.quarantined.into_iter().collect();
        assert_eq!(quarantined, [], "all that counts came later");
        let (name, at) = find(&disk, b"learnt");
        assert!(disk.corrupt(&name, at, 1));
        let quarantined = open(&disk, &options(durability)).recovery.quarantined;
        assert_eq!(quarantined.into_iter().collect::<Vec<_>>(), [P, Q]);
    }
}

#[test]
fn a_copied_beginning_behind_damage_is_no_new_beginning() {
    for durability in BOTH {
        let (disk, mut options) = (SimulatedDisk::new(), options(durability));
        let opened = open(&disk, &options);
        let _ = opened.log.append(&[created(P)], 0).unwrap();
        let mut last = 0;
        loop {
            last += 1;
            let next = mutation(P, 1, last, vec![last as u8; 900]);
            let _ = opened.log.append(&[next], 0).unwrap();
            settle(&opened.log);
            if find(&disk, &[last as u8; 900]).0 == "00000003.segment" {
                break;
            }
        }
        drop(opened);
        // A restart leaves the last segment without an index. With less room the first one goes, and the partition's beginning is copied
        // behind the only record that RocksDB lacks.
        options.budget = options.segment_size;
        let durable = |_| Decree(last - 1);
        let opened = try_open(Arc::new(disk.clone()), &options, &durable).unwrap();
        opened.log.set_durable(P, Decree(last - 1));
        while opened.log.stats().released == 0 {
            assert!(opened.log.drive());
        }
        drop(opened);
        let (name, at) = find(&disk, &[last as u8; 900]);
        assert!(disk.corrupt(&name, at, 1));
        let opened = try_open(Arc::new(disk), &options, &durable).unwrap();
        assert_eq!(decrees(&opened.records, P), []);
        let quarantined = opened.recovery.quarantined.into_iter();
        assert_eq!(quarantined.collect::<Vec<_>>(), [P], "{durability:?}");
    }
}

#[test]
fn a_recycled_segment_never_gives_its_old_records_back() {
    for durability in BOTH {
        let (disk, options) = (SimulatedDisk::new(), options(durability));
        let opened = open(&disk, &options);
        let _ = opened.log.append(&[created(P), ballot(P, 1)], 0).unwrap();
        let mut decree = 0;
        while opened.log.stats().released < 10 {
            decree += 1;
            let _ = opened
                .log
                .append(&[mutation(P, 1, decree, vec![decree as u8; 900])], 0)
                .unwrap();
            settle(&opened.log);
            opened.log.set_durable(P, Decree(decree));
        }
        let files = disk.files().len();
        assert!(files < 12, "{files} files: they are used again");
        drop(opened);
        let opened = try_open(Arc::new(disk), &options, &|_| Decree(decree - 3)).unwrap();
        assert_eq!(
            decrees(&opened.records, P),
            [(decree - 2, 1), (decree - 1, 1), (decree, 1)]
        );
        assert_eq!(
            marks(&opened.records, P).len(),
            2,
            "the marks were copied forward"
        );
        assert_eq!(opened.recovery.quarantined.len(), 0);
    }
}

#[test]
fn a_tail_that_was_cut_stays_cut_though_a_released_segment_lost_its_beginning() {
    let (disk, mut options) = (SimulatedDisk::new(), options(Durability::Buffered));
    options.budget = options.segment_size;
    let opened = open(&disk, &options);
    let append = |decree: u64| {
        let record = mutation(P, 1, decree, vec![decree as u8; 900]);
        let _ = opened.log.append(&[record], 0).unwrap();
    };
    let file_of = |decree: u64| find(&disk, &vec![decree as u8; 900]).0;
    let _ = opened.log.append(&[created(P), ballot(P, 1)], 0).unwrap();
    (1..=40).for_each(append);
    settle(&opened.log);
    // Written and not synced, over several segments; the first of it does not survive, the rest does.
    (41..=100).for_each(append);
    let (name, at) = find(&disk, &[41; 900]);
    drop(opened);
    assert!(disk.corrupt(&name, at, 1));
    let released = file_of(1);
    let durable = (2..=40).take_while(|&decree| file_of(decree) == released);
    let durable = durable.last().unwrap();
    let files = disk.files().into_iter();
    let before: Vec<_> = files
        .map(|(name, _)| (disk.contents(&name).unwrap(), name))
        .collect();

    // The next life cuts it off, and releases the first segment.
    let reopen = || try_open(Arc::new(disk.clone()), &options, &|_| Decree(durable)).unwrap();
    let opened = reopen();
    opened.log.set_durable(P, Decree(durable));
    settle(&opened.log);
    assert_eq!(opened.log.stats().released, 1);
    drop(opened);
    // The power goes. Both files were cleared for use, and the zeros did not reach the disk, but for one sector.
    let mut restored = Vec::new();
    for (mut contents, name) in before {
        let now = disk.contents(&name);
        if now.is_some_and(|now| now.iter().all(|&byte| byte == 0)) {
            if name == released {
                contents[..512].fill(0);
            }
            let file = disk.open(&name).unwrap();
            file.write_durably_at(0, &contents).unwrap();
            restored.push(name);
        }
    }
    assert!(restored.len() == 2 && restored.contains(&released));

    let opened = reopen();
    assert!(opened.recovery.quarantined.is_empty());
    assert!(!opened.recovery.lost_track);
    let expected: Vec<_> = (durable + 1..=40).map(|decree| (decree, 1)).collect();
    assert_eq!(decrees(&opened.records, P), expected);
}

#[test]
fn a_file_whose_name_no_log_has_given_is_left_alone() {
    let disk = written(&[&[ballot(P, 1)]], Durability::Sync);
    let name = format!("{}.segment", u64::MAX);
    disk.create(&name, 4096).unwrap();
    let opened = open(&disk, &options(Durability::Sync));
    assert_eq!(marks(&opened.records, P), [RecordBody::Ballot(Ballot(1))]);
    assert!(disk.contents(&name).is_some());
}

#[test]
fn an_unknown_format_is_refused_and_left_alone() {
    let disk = written(&[&[ballot(P, 1)]], Durability::Sync);
    let (name, before) = (
        disk.files()[0].0.clone(),
        disk.contents(&disk.files()[0].0).unwrap(),
    );
    // Behind the batch's header (32) and the entry's prefix (16) stands the format; a newer program would write a new checksum.
    let mut block = before.clone();
    block[48] = 9;
    let crc =
        crc32c::crc32c(&block[8..u32::from_le_bytes(block[8..12].try_into().unwrap()) as usize]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    disk.open(&name)
        .unwrap()
        .write_durably_at(0, &block[..4096])
        .unwrap();
    let result = try_open(Arc::new(disk.clone()), &options(Durability::Sync), &|_| {
        Decree::ZERO
    });
    assert!(matches!(
        result.err(),
        Some(OpenError::Format { found: 9, .. })
    ));
    assert_eq!(disk.contents(&name).unwrap()[4096..], before[4096..]);
}

#[test]
fn marks_of_a_partition_are_its_newest() {
    let disk = written(
        &[
            &[ballot(P, 1), ballot(P, 2)],
            &[record(P, RecordBody::Proposed(Ballot(2)))],
            &[ballot(P, 5)],
        ],
        Durability::Sync,
    );
    let expected = [
        RecordBody::Ballot(Ballot(5)),
        RecordBody::Proposed(Ballot(2)),
    ];
    assert_eq!(
        marks(&open(&disk, &options(Durability::Sync)).records, P),
        expected
    );
}
