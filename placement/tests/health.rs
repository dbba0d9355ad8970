//! What people are told is wrong, and what is being done about it.

mod driver;

use driver::*;
use placement::{Ailment, Condition, Cure, Health, Loss, ReplicaReport, Soundness};

/// Three nodes, one partition: 1 is the primary, 2 and 3 are secondaries; ballot 1.
fn three_copies() -> Driver {
    Driver::with_table(3, 1, 3)
}

fn health(cluster: &Driver) -> Health {
    cluster.cluster.health(cluster.now, None, 10)
}

fn ailment(condition: Condition, members: usize, cure: Cure) -> Vec<Ailment> {
    vec![Ailment {
        partition: p(0),
        condition,
        members: (members, 3),
        cure,
    }]
}

#[test]
fn nothing_is_unwell_where_every_copy_is_there() {
    let whole = health(&three_copies());
    let expected = Health {
        epoch: EPOCH,
        nodes: (3, 3),
        tables: 1,
        partitions: 1,
        ..Health::default()
    };
    assert_eq!(whole, expected);
}

#[test]
fn a_silent_secondary_is_its_primarys_affair_and_then_one_that_had_a_copy_is_waited_for() {
    let mut cluster = three_copies();
    cluster.lost(3);
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::SecondaryAway, 3, Cure::Removal(vec![node(3)]))
    );
    assert_eq!(health(&cluster).nodes, (2, 3));
    cluster.change(1, p(0), configuration(2, 1, &[2]));
    let waits = Cure::Waiting(seconds(300));
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::Short, 2, waits)
    );
    cluster.pass(seconds(4), 1..=2);
    let waits = Cure::Waiting(seconds(296));
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::Short, 2, waits)
    );
    cluster.join(3, 2);
    cluster.report_all(3, &[replica(p(0), 1)]);
    cluster.pass(seconds(3), 1..=3);
    let learning = health(&cluster);
    assert_eq!(
        learning.ailments,
        ailment(Condition::Short, 2, Cure::Learning(node(3)))
    );
    assert_eq!(learning.learns, 1);
}

#[test]
fn a_silent_primary_is_its_secondaries_affair_while_there_are_any() {
    let mut cluster = three_copies();
    cluster.lost(1);
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::PrimaryAway, 3, Cure::Takeover(node(1)))
    );
    cluster.lost(2);
    cluster.lost(3);
    let away = Loss {
        absent: (1..=3).map(node).collect(),
        ..Loss::default()
    };
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::LostQuorum, 3, Cure::Operator(away))
    );
}

#[test]
fn a_partition_without_a_whole_copy_is_the_operators_affair() {
    let mut cluster = three_copies();
    for (n, soundness) in [
        (1, Soundness::Damaged),
        (2, Soundness::Unsynced),
        (3, Soundness::Unsynced),
    ] {
        let report = ReplicaReport {
            soundness,
            ..replica(p(0), 1)
        };
        cluster.report(n, report);
    }
    let waits = Cure::Operator(Loss {
        damaged: vec![node(1)],
        unfinished: vec![],
        unsynced: vec![node(2), node(3)],
        absent: vec![],
    });
    assert_eq!(
        health(&cluster).ailments,
        ailment(Condition::LostQuorum, 3, waits)
    );
}

#[test]
fn the_worst_is_told_first_and_all_are_counted() {
    let mut cluster = Driver::with_table(3, 40, 3);
    for index in 0..30 {
        cluster.change(1, p(index), configuration(2, 1, &[2]));
    }
    for n in 1..=3 {
        let report = ReplicaReport {
            soundness: Soundness::Damaged,
            ..replica(p(39), 1)
        };
        cluster.report(n, report);
    }
    let health = health(&cluster);
    assert_eq!(health.partitions, 40);
    assert_eq!(health.unwell, [1, 0, 0, 0, 30, 0, 0, 0]);
    assert_eq!(health.ailments.len(), 10);
    assert_eq!(health.ailments[0].partition, p(39));
    assert_eq!(
        Condition::ALL.map(|condition| condition as usize),
        [0, 1, 2, 3, 4, 5, 6, 7]
    );
}
