//! Appends and their completions, failing disks, reading back, pins and laggards.

mod support;

use commit_log::{
    Appended, DirectIo, Directory, Driving, LogError, LogOptions, ReadError, SimulatedDisk,
};
use rustix::fs::FallocateFlags;
use std::sync::Arc;
use support::*;
use types::{Ballot, ByteSize, Decree, Durability, LearnKind, PartitionId, RecordBody};

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed().as_secs() < 60, "{what} never happened");
        std::thread::yield_now();
    }
}

#[test]
fn appends_that_wait_together_are_written_together() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Sync));
    for decree in 1..=10 {
        assert_eq!(
            opened
                .log
                .append(&[mutation(P, 1, decree, "x")], decree)
                .unwrap(),
            Appended::Pending
        );
    }
    assert_eq!(opened.done.tickets(), []);
    assert!(opened.log.drive());
    assert_eq!(opened.log.stats().batches, 1);
    assert_eq!(opened.done.tickets(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn an_append_of_several_partitions_completes_once_and_after_all_of_them() {
    let mut options = options(Durability::Sync);
    options.batch = ByteSize(1000);
    let opened = open(&SimulatedDisk::new(), &options);
    let _ = opened
        .log
        .append(
            &[
                mutation(P, 1, 1, vec![0; 900]),
                mutation(Q, 1, 1, vec![0; 900]),
            ],
            5,
        )
        .unwrap();
    assert!(opened.log.drive());
    assert_eq!(opened.done.tickets(), []);
    assert!(opened.log.drive());
    assert_eq!(opened.done.tickets(), [5]);
}

#[test]
fn buffered_mutations_are_done_at_once_and_what_must_be_synced_is_not() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    assert_eq!(
        log.append(&[mutation(P, 1, 1, "x")], 1).unwrap(),
        Appended::Done
    );
    assert!(!log.is_synced(P, Decree(1)));
    assert_eq!(log.append(&[ballot(P, 1)], 2).unwrap(), Appended::Pending);
    assert_eq!(
        log.append_synced(&[mutation(P, 1, 2, "x")], 3).unwrap(),
        Appended::Pending
    );
    assert_eq!(log.sync(4).unwrap(), Appended::Pending);
    assert_eq!(opened.done.tickets(), []);
    assert!(log.drive());
    assert_eq!(opened.done.tickets(), [2, 3, 4]);
    assert!(log.is_synced(P, Decree(2)));
    assert_eq!(log.sync(5).unwrap(), Appended::Done);
    assert_eq!(log.stats().syncs, 1);
}

#[test]
fn an_idle_log_has_nothing_to_do() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let disk = SimulatedDisk::new();
        let opened = open(&disk, &options(durability));
        let _ = opened.log.append(&[ballot(P, 1)], 1).unwrap();
        settle(&opened.log);
        let operations = disk.operations();
        assert!(!opened.log.drive());
        assert_eq!(disk.operations(), operations);
    }
}

#[test]
fn a_failed_write_or_sync_is_told_once_and_never_tried_again() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let disk = SimulatedDisk::new();
        let opened = open(&disk, &options(durability));
        disk.fail_after(u64::from(durability == Durability::Buffered));
        let _ = opened.log.append(&[ballot(P, 1)], 1).unwrap();
        let _ = opened.log.append(&[ballot(P, 2)], 2);
        settle(&opened.log);
        // The disk is well again; the log is not.
        disk.mend();
        let operations = disk.operations();
        assert!(matches!(
            opened.log.append(&[ballot(P, 3)], 3),
            Err(LogError::Failed(_))
        ));
        assert!(matches!(opened.log.sync(4), Err(LogError::Failed(_))));
        assert!(opened.log.wait_synced().is_err());
        settle(&opened.log);
        assert_eq!(disk.operations(), operations);
        assert_eq!(opened.done.tickets(), []);
        assert_eq!(opened.done.failures().len(), 1);
        assert!(opened.log.failure().is_some());
    }
}

#[test]
fn a_waiting_thread_hears_of_the_failure() {
    let disk = SimulatedDisk::new();
    let opened = open(
        &disk,
        &LogOptions {
            driving: Driving::Threads,
            ..options(Durability::Sync)
        },
    );
    disk.fail_after(0);
    let _ = opened.log.append(&[ballot(P, 1)], 1).unwrap();
    assert!(opened.log.wait_synced().is_err());
    wait_for("the report", || opened.done.failures().len() == 1);
}

#[test]
fn an_append_beyond_every_limit_is_refused() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let huge = mutation(P, 1, 1, vec![0; 128 << 20]);
    assert!(matches!(
        opened.log.append(&[huge], 1),
        Err(LogError::TooLarge { .. })
    ));
    assert!(opened.log.failure().is_none());
}

#[test]
fn a_mutation_larger_than_a_segment_gets_a_segment_of_its_own() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let (disk, options) = (SimulatedDisk::new(), options(durability));
        let opened = open(&disk, &options);
        let _ = opened.log.append(&[mutation(P, 1, 1, "small")], 1).unwrap();
        let _ = opened
            .log
            .append(&[mutation(P, 1, 2, vec![9; 300_000])], 2)
            .unwrap();
        let _ = opened.log.append(&[mutation(P, 1, 3, "small")], 3).unwrap();
        settle(&opened.log);
        assert_eq!(opened.log.read(P, Decree(1), usize::MAX).unwrap().len(), 3);
        drop(opened);
        let opened = open(&disk, &options);
        assert_eq!(decrees(&opened.records, P), [(1, 1), (2, 1), (3, 1)]);
    }
}

fn read(log: &commit_log::Log, from: u64) -> Vec<(u64, u64)> {
    let mutations = log.read(P, Decree(from), usize::MAX).unwrap();
    mutations
        .iter()
        .map(|mutation| (mutation.decree.0, mutation.ballot.0))
        .collect()
}

#[test]
fn reading_back_obeys_truncates_resets_and_later_records() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    let append = |records: &[types::Record]| assert!(log.append(records, 0).is_ok());
    append(&[
        mutation(P, 1, 1, "a"),
        mutation(P, 1, 2, "b"),
        mutation(P, 1, 3, "c"),
        mutation(P, 1, 4, "d"),
    ]);
    append(&[mutation(Q, 1, 1, "somebody else's")]);
    append(&[mutation(P, 2, 2, "b")]);
    assert_eq!(read(log, 1), [(1, 1), (2, 2), (3, 1), (4, 1)]);
    assert_eq!(read(log, 3), [(3, 1), (4, 1)]);
    assert_eq!(read(log, 5), []);
    append(&[truncate(P, 2, 3)]);
    assert_eq!(read(log, 1), [(1, 1), (2, 2), (3, 1)]);
    append(&[reset(P, 1, 2, LearnKind::Log), mutation(P, 3, 3, "new")]);
    assert_eq!(read(log, 1), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(log.oldest(P), Some(Decree(1)));
    append(&[record(P, RecordBody::Deleted)]);
    assert!(matches!(
        log.read(P, Decree(1), 1),
        Err(ReadError::TooOld { oldest: None })
    ));
}

#[test]
fn a_reader_gets_everything_in_pieces_while_the_log_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Directory::open(directory.path(), DirectIo::Auto).unwrap();
    let options = LogOptions {
        segment_size: ByteSize::kib(256),
        ..LogOptions::new(Durability::Sync)
    };
    let opened = try_open(Arc::new(disk), &options, &|_| Decree::ZERO).unwrap();
    let log = opened.log.clone();
    let writer = std::thread::spawn(move || {
        for decree in 1..=3000u64 {
            let effects = decree.to_le_bytes().repeat(30);
            let records = [
                mutation(P, 1, decree, effects),
                mutation(Q, 1, decree, vec![0; 50]),
            ];
            let _ = log.append(&records, decree).unwrap();
            if decree % 64 == 0 {
                log.wait_synced().unwrap();
            }
        }
    });
    let mut next = 1;
    while next <= 3000 {
        let found = match opened.log.read(P, Decree(next), 10_000) {
            Ok(found) => found,
            Err(ReadError::TooOld { oldest: None }) => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        assert!(found.len() < 60, "pieces are bounded");
        for mutation in found {
            assert_eq!(mutation.decree, Decree(next));
            assert_eq!(mutation.effects, next.to_le_bytes().repeat(30));
            next += 1;
        }
    }
    writer.join().unwrap();
    assert!(opened.log.stats().segments > 3);
}

/// Writes and flushes Q until `released` segments were released; says how far.
fn churn(log: &commit_log::Log, from: u64, released: u64) -> u64 {
    let (mut decree, goal) = (from, log.stats().released + released);
    while log.stats().released < goal {
        let _ = log
            .append(&[mutation(Q, 1, decree, vec![1; 700])], 0)
            .unwrap();
        settle(log);
        log.set_durable(Q, Decree(decree));
        decree += 1;
        assert!(
            decree < from + 10_000,
            "stuck: {:?} {:?}",
            log.stats(),
            log.laggards()
        );
    }
    decree
}

#[test]
fn a_small_laggard_is_copied_forward_again_and_again() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let (disk, options) = (SimulatedDisk::new(), options(durability));
        let opened = open(&disk, &options);
        let small = [
            created(P),
            ballot(P, 3),
            mutation(P, 3, 1, "durable"),
            mutation(P, 3, 2, "kept"),
            mutation(P, 3, 3, "kept too"),
            mutation(P, 3, 4, "truncated"),
            truncate(P, 4, 3),
        ];
        let _ = opened.log.append(&small, 0).unwrap();
        opened.log.set_durable(P, Decree(1));
        let last = churn(&opened.log, 1, 25);
        assert_eq!(read(&opened.log, 2), [(2, 3), (3, 3)]);
        assert!(opened.log.stats().carried_bytes > 0);
        drop(opened);
        let durable = |id| if id == P { Decree(1) } else { Decree(last) };
        let opened = try_open(Arc::new(disk), &options, &durable).unwrap();
        assert_eq!(decrees(&opened.records, P), [(2, 3), (3, 3)]);
        let truncate = RecordBody::Truncate {
            ballot: Ballot(4),
            decree: Decree(3),
        };
        assert_eq!(
            marks(&opened.records, P),
            [created(P).body, truncate, RecordBody::Ballot(Ballot(3))]
        );
    }
}

/// The flush of a deleted copy may end behind its deletion; the copy that is learnt after it has nothing on disk yet.
#[test]
fn what_a_deleted_copy_had_on_disk_frees_nothing_of_the_next_one() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let opened = open(&SimulatedDisk::new(), &options(durability));
        let log = &opened.log;
        let append = |records: &[types::Record]| assert!(log.append(records, 0).is_ok());
        let written = |ballot| [1, 2, 3].map(|decree| mutation(P, ballot, decree, "a value"));
        append(&[created(P)]);
        append(&written(1));
        append(&[record(P, RecordBody::Deleted)]);
        log.set_durable(P, Decree(3));
        append(&[reset(P, 2, 0, LearnKind::Log)]);
        append(&written(2));
        churn(log, 1, 25);
        assert_eq!(read(log, 1), [(1, 2), (2, 2), (3, 2)]);
    }
}

#[test]
fn a_carried_reset_cancels_nothing_anew() {
    let (disk, options) = (SimulatedDisk::new(), options(Durability::Buffered));
    let opened = open(&disk, &options);
    let _ = opened
        .log
        .append(&[reset(P, 1, 5, LearnKind::Checkpoint)], 0)
        .unwrap();
    let next = churn(&opened.log, 1, 1);
    let _ = opened
        .log
        .append(&[mutation(P, 1, 6, "above the base")], 0)
        .unwrap();
    churn(&opened.log, next, 6);
    drop(opened);
    let opened = open(&disk, &options);
    assert_eq!(decrees(&opened.records, P), [(6, 1)]);
}

#[test]
fn a_large_laggard_is_named_and_holds_the_log_until_it_is_flushed() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    for decree in 1..=60 {
        let _ = log
            .append(&[mutation(P, 1, decree, vec![1; 100])], 0)
            .unwrap();
    }
    for decree in 1..=200 {
        let _ = log
            .append(&[mutation(Q, 1, decree, vec![1; 700])], 0)
            .unwrap();
        settle(log);
        log.set_durable(Q, Decree(decree));
    }
    let stats = log.stats();
    assert_eq!(stats.released, 0);
    assert!(stats.over_budget);
    let laggards = log.laggards();
    assert_eq!(
        laggards
            .iter()
            .map(|laggard| (laggard.partition, laggard.newest))
            .collect::<Vec<_>>(),
        [(P, Decree(60))]
    );
    log.set_durable(P, Decree(60));
    settle(log);
    assert!(log.laggards().is_empty());
    assert!(!log.stats().over_budget);
    assert!(log.oldest(P).is_none());
}

#[test]
fn what_came_by_a_checkpoint_cannot_be_read_back() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    let append = |records: &[types::Record]| assert!(log.append(records, 0).is_ok());
    append(&[mutation(P, 1, 1, "a"), mutation(P, 1, 2, "b")]);
    append(&[reset(P, 1, 50, LearnKind::Checkpoint)]);
    log.set_durable(P, Decree(50));
    assert_eq!(read(log, 1), [(1, 1), (2, 1)]);
    for decree in [3, 50] {
        assert!(
            matches!(
                log.read(P, Decree(decree), 1),
                Err(ReadError::TooOld { .. })
            ),
            "a learner that is told nothing instead would wait for ever"
        );
    }
    assert_eq!(read(log, 51), []);
}

#[test]
fn a_pin_keeps_the_log_for_a_reader_within_bounds() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    let append = |decree| {
        let _ = log
            .append(&[mutation(P, 1, decree, vec![1; 700])], 0)
            .unwrap();
        settle(log);
        log.set_durable(P, Decree(decree));
    };
    (1..=20).for_each(append);
    let pin = log.pin(P, Decree(5)).unwrap();
    (21..=120).for_each(append);
    assert!(!pin.broken());
    assert_eq!(read(log, 5).len(), 116);
    (121..=300).for_each(append);
    assert!(pin.broken());
    assert!(matches!(
        log.read(P, Decree(5), 1),
        Err(ReadError::TooOld { oldest: Some(_) })
    ));
    assert!(log.pin(P, Decree(5)).is_none());
    let oldest = log.oldest(P).unwrap();
    assert_eq!(read(log, oldest.0).len() as u64, 301 - oldest.0);
}

#[test]
fn what_is_to_come_can_be_pinned_where_the_log_has_no_mutation_of_the_partition() {
    let opened = open(&SimulatedDisk::new(), &options(Durability::Buffered));
    let log = &opened.log;
    let append = |record, durable| {
        assert!(log.append(&[record], 0).is_ok());
        settle(log);
        log.set_durable(Q, Decree(durable));
    };
    append(created(P), 0);
    // By a checkpoint.
    log.set_durable(P, Decree(50));
    assert!(log.pin(P, Decree(50)).is_none());
    let pin = log.pin(P, Decree(51)).unwrap();
    append(mutation(P, 1, 51, "a"), 0);
    log.set_durable(P, Decree(51));
    (1..=100).for_each(|decree| append(mutation(Q, 1, decree, vec![1; 700]), decree));
    assert!(!pin.broken());
    assert_eq!(read(log, 51), [(51, 1)]);
}

#[test]
fn both_kinds_of_directory_give_everything_back_after_a_clean_end() {
    for (durability, direct) in [
        (Durability::Sync, DirectIo::Auto),
        (Durability::Sync, DirectIo::Off),
        (Durability::Buffered, DirectIo::Auto),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_size: ByteSize::kib(512),
            ..LogOptions::new(durability)
        };
        let disk = || Arc::new(Directory::open(directory.path(), direct).unwrap());
        let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
        for decree in 1..=2000 {
            let _ = opened
                .log
                .append(&[mutation(P, 1, decree, vec![decree as u8; 400])], decree)
                .unwrap();
        }
        let _ = opened.log.append(&[ballot(P, 2)], 5000).unwrap();
        wait_for("the last ticket", || opened.done.tickets().contains(&5000));
        assert!(opened.log.is_synced(P, Decree(2000)));
        drop(opened);
        let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
        assert_eq!(
            decrees(&opened.records, P),
            (1..=2000).map(|decree| (decree, 1)).collect::<Vec<_>>()
        );
        assert_eq!(opened.recovery.torn_bytes, 0);
    }
}

#[test]
fn opening_reads_nothing_of_a_segment_that_was_never_written() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_size: ByteSize::mib(32),
            ..LogOptions::new(durability)
        };
        let disk = || Arc::new(Directory::open(directory.path(), DirectIo::Auto).unwrap());
        let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
        let _ = opened.log.append(&[created(P), ballot(P, 1)], 1).unwrap();
        let _ = opened.log.append(&[mutation(P, 1, 1, "one")], 2).unwrap();
        opened.log.wait_synced().unwrap();
        drop(opened);
        let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
        assert_eq!(decrees(&opened.records, P), [(1, 1)]);
        let read = opened.recovery.bytes_read;
        assert!((1..16 << 20).contains(&read), "{read} bytes were read");
    }
}

#[test]
fn a_hole_in_a_file_hides_nothing_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_size: ByteSize::mib(8),
        ..LogOptions::new(Durability::Sync)
    };
    let disk = || Arc::new(Directory::open(directory.path(), DirectIo::Auto).unwrap());
    let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
    let _ = opened.log.append(&[created(P), ballot(P, 1)], 0).unwrap();
    for decree in 1..=40 {
        let effects = vec![decree as u8; 100_000];
        let _ = opened
            .log
            .append(&[mutation(P, 1, decree, effects)], decree)
            .unwrap();
        opened.log.wait_synced().unwrap();
    }
    drop(opened);
    // A megabyte in the middle is lost, as if it had never been written.
    let segments = std::fs::read_dir(directory.path()).unwrap();
    let largest = segments
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| {
            let contents = std::fs::read(path).unwrap();
            contents.iter().filter(|&&byte| byte != 0).count()
        })
        .unwrap();
    let file = std::fs::File::options().write(true).open(largest).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, punch, 1 << 20, 1 << 20).unwrap();
    let opened = try_open(disk(), &options, &|_| Decree::ZERO).unwrap();
    assert!(
        opened.recovery.quarantined.contains(&P) || opened.recovery.lost_track,
        "{:?}",
        opened.recovery
    );
}

#[test]
fn ten_thousand_idle_partitions_are_carried_along() {
    let disk = SimulatedDisk::new();
    let mut options = LogOptions {
        driving: Driving::Caller,
        ..LogOptions::new(Durability::Buffered)
    };
    (options.segment_size, options.budget) = (ByteSize::mib(4), ByteSize::mib(32));
    let opened = open(&disk, &options);
    for index in 0..10_000 {
        let id = PartitionId::new(2, index);
        let _ = opened
            .log
            .append(
                &[created(id), ballot(id, 1), mutation(id, 1, 1, "ten rows")],
                0,
            )
            .unwrap();
    }
    let mut decree = 0;
    while opened.log.stats().released < 20 {
        decree += 1;
        let _ = opened
            .log
            .append(&[mutation(P, 1, decree, vec![1; 100_000])], 0)
            .unwrap();
        settle(&opened.log);
        opened.log.set_durable(P, Decree(decree));
    }
    drop(opened);
    let durable = |id| {
        if id == P {
            Decree(decree)
        } else {
            Decree::ZERO
        }
    };
    let opened = try_open(Arc::new(disk), &options, &durable).unwrap();
    assert_eq!(opened.recovery.mutations, 10_000);
    assert_eq!(marks(&opened.records, PartitionId::new(2, 7777)).len(), 2);
}
