//! A partition goes over to the log of the other durability: what is there afterwards, and wherever it was cut short.

mod support;

use commit_log::{ChangeError, SimulatedDisk, change_log};
use support::*;
use types::{BootId, Decree, Durability, LearnKind, PartitionId, Record, RecordBody};

const BOTH: [(Durability, Durability); 2] = [
    (Durability::Buffered, Durability::Sync),
    (Durability::Sync, Durability::Buffered),
];

/// What RocksDB has of P.
const DURABLE: Decree = Decree(1);

fn durable(partition: PartitionId) -> Decree {
    if partition == P {
        DURABLE
    } else {
        Decree::ZERO
    }
}

/// Records of P with everything in them that may cancel something, among another partition's.
fn written() -> Vec<Record> {
    vec![
        created(P),
        created(Q),
        mutation(P, 1, 1, "in RocksDB"),
        mutation(P, 1, 2, "kept"),
        mutation(Q, 1, 1, "somebody else's"),
        mutation(P, 1, 3, "written again"),
        mutation(P, 1, 4, "truncated"),
        record(P, RecordBody::Boot(BootId(7))),
        truncate(P, 2, 3),
        ballot(P, 2),
        mutation(P, 2, 3, vec![3; 5000]),
        mutation(P, 2, 4, "new"),
    ]
}

/// Opens a log; in the end P's decrees with ballots, and its marks.
fn found(
    disk: &SimulatedDisk,
    durability: Durability,
) -> (Opened, Vec<(u64, u64)>, Vec<RecordBody>) {
    let disk = std::sync::Arc::new(disk.clone());
    let opened = try_open(disk, &options(durability), &durable).unwrap();
    let (decrees, marks) = (decrees(&opened.records, P), marks(&opened.records, P));
    (opened, decrees, marks)
}

fn is_reset(mark: &RecordBody) -> bool {
    matches!(mark, RecordBody::Reset { .. })
}

/// The old log with P in it, and the new one that P was in before, and left.
fn prepared(from: Durability, to: Durability) -> (SimulatedDisk, SimulatedDisk, Opened, Opened) {
    let (old, new) = (SimulatedDisk::new(), SimulatedDisk::new());
    let (source, target) = (found(&old, from).0, found(&new, to).0);
    for record in [
        created(P),
        mutation(P, 1, 2, "of an earlier stay"),
        record(P, RecordBody::Deleted),
    ] {
        let _ = target.log.append(&[record], 0).unwrap();
    }
    settle(&target.log);
    for record in written() {
        let _ = source.log.append(&[record], 0).unwrap();
    }
    source.log.set_durable(P, DURABLE);
    (old, new, source, target)
}

fn anew() -> Vec<RecordBody> {
    vec![RecordBody::Boot(BootId(9))]
}

const DECREES: [(u64, u64); 3] = [(2, 1), (3, 2), (4, 2)];

#[test]
fn all_that_counts_goes_over_and_nothing_stays() {
    for (from, to) in BOTH {
        let (old, new, source, target) = prepared(from, to);
        change_log(&source.log, &target.log, P, anew()).unwrap();
        assert_eq!(target.log.read(P, Decree(2), usize::MAX).unwrap().len(), 3);
        let _ = target.log.append(&[mutation(P, 2, 5, "after")], 6).unwrap();
        settle(&target.log);
        drop((source, target));
        let (_, decrees, marks) = found(&new, to);
        assert_eq!(decrees, [(2, 1), (3, 2), (4, 2), (5, 2)]);
        assert_eq!(marks.iter().filter(|mark| is_reset(mark)).count(), 1);
        assert!(marks.contains(&RecordBody::Boot(BootId(9))));
        assert!(!marks.contains(&RecordBody::Deleted));
        assert!(marks.contains(&ballot(P, 2).body));
        let (opened, decrees, marks) = found(&old, from);
        assert_eq!((decrees, marks), (vec![], vec![RecordBody::Deleted]));
        assert_eq!(support::decrees(&opened.records, Q), [(1, 1)]);
    }
}

/// Cuts it short at one operation of one of the disks, with the power; says whether it ended before that.
fn cut_short(from: Durability, to: Durability, at: (Option<u64>, Option<u64>), seed: u64) -> bool {
    let (old, new, source, target) = prepared(from, to);
    settle(&source.log);
    for (disk, operations) in [(&old, at.0), (&new, at.1)] {
        if let Some(operations) = operations {
            disk.fail_after(operations);
        }
    }
    let done = change_log(&source.log, &target.log, P, anew());
    assert!(
        matches!(done, Ok(()) | Err(ChangeError::Failed(_))),
        "{done:?}"
    );
    drop((source, target));
    old.power_loss(seed);
    new.power_loss(seed);
    let (_, old_decrees, old_marks) = found(&old, from);
    let (_, new_decrees, new_marks) = found(&new, to);
    let what = format!(
        "{from} to {to} at {at:?}, seed {seed}: {old_decrees:?} {old_marks:?} | {new_decrees:?} {new_marks:?}"
    );
    let (in_old, in_new) = (
        old_marks.iter().any(is_reset),
        new_marks.iter().any(is_reset),
    );
    if done.is_ok() {
        assert!(in_new && !in_old, "{what}");
    }
    assert!(in_old || in_new, "{what}");
    if in_new {
        assert_eq!(new_decrees, DECREES, "{what}");
        assert!(new_marks.contains(&ballot(P, 2).body), "{what}");
    }
    if in_old {
        assert_eq!(old_decrees, DECREES, "{what}");
    }
    done.is_ok()
}

#[test]
fn wherever_it_is_cut_short_one_of_the_logs_is_whole_and_known_by_its_reset_record() {
    for (from, to) in BOTH {
        for seed in 0..20 {
            let to_the_end = |cut: &dyn Fn(u64) -> bool| (0..100).position(cut).unwrap();
            let old = to_the_end(&|at| cut_short(from, to, (Some(at), None), seed));
            let new = to_the_end(&|at| cut_short(from, to, (None, Some(at)), seed));
            assert!(old >= 1 && new >= 1, "{old} {new}");
        }
    }
}

#[test]
fn what_is_not_whole_stays_where_it_is() {
    for (from, to) in BOTH {
        let (_, new, source, target) = prepared(from, to);
        let _ = source
            .log
            .append(&[record(P, RecordBody::Quarantined)], 7)
            .unwrap();
        let refused = change_log(&source.log, &target.log, P, anew());
        assert!(
            matches!(refused, Err(ChangeError::NotWhole { .. })),
            "{refused:?}"
        );
        let hole = [
            reset(Q, 1, 5, LearnKind::Log),
            mutation(Q, 1, 7, "above a hole"),
        ];
        let _ = source.log.append(&hole, 8).unwrap();
        let refused = change_log(&source.log, &target.log, Q, anew());
        assert!(
            matches!(refused, Err(ChangeError::NotWhole { .. })),
            "{refused:?}"
        );
        drop((source, target));
        let (_, decrees, marks) = found(&new, to);
        assert_eq!((decrees, marks), (vec![], vec![RecordBody::Deleted]));
    }
}

/// What a log lost before says nothing of a partition that comes into it now.
#[test]
fn a_log_that_has_lost_track_takes_a_partition_in_as_a_whole_one() {
    for (from, to) in BOTH {
        let (_, new, source, target) = prepared(from, to);
        for record in [created(Q), mutation(Q, 1, 1, "damaged"), ballot(Q, 1)] {
            let _ = target.log.append(&[record], 0).unwrap();
            settle(&target.log);
        }
        drop(target);
        let (name, at) = find(&new, b"damaged");
        assert!(new.corrupt(&name, at, 1));
        let (target, ..) = found(&new, to);
        assert!(target.recovery.lost_track);
        change_log(&source.log, &target.log, P, anew()).unwrap();
        drop(target);
        let (target, decrees, _) = found(&new, to);
        assert!(target.recovery.lost_track && !target.recovery.quarantined.contains(&P));
        assert_eq!(decrees, DECREES);
    }
}
