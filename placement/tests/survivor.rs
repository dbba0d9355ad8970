//! Partitions no member of which is whole: whose copy goes on alone after a power failure (rule C6), and what is left to people.

mod driver;

use driver::*;
use placement::{Action, Finding, ReplicaReport, Soundness, TableSpecification};
use types::{Ballot, Configuration, Decree, Durability};

/// Three nodes, one partition of a buffered table: 1 is the primary, 2 and 3 are secondaries; ballot 1.
fn three_buffered_copies() -> Driver {
    let buffered = TableSpecification {
        durability: Durability::Buffered,
        ..specification("t", 1, 3)
    };
    Driver::with_specification(3, buffered)
}

/// A copy that lost unsynced writes: the ballot of its last record, and up to where it has mutations.
fn lost(last_ballot: u64, prepared: u64) -> ReplicaReport {
    ReplicaReport {
        soundness: Soundness::Unsynced,
        last_ballot: Ballot(last_ballot),
        prepared: Decree(prepared),
        ..replica(p(0), 1)
    }
}

#[test]
fn when_every_member_lost_writes_in_a_power_failure_the_one_with_the_most_goes_on_alone() {
    let mut cluster = three_buffered_copies();
    assert_eq!(cluster.report(1, lost(1, 7)), []);
    assert_eq!(cluster.report(2, lost(1, 9)), []);
    let recovered = Configuration {
        epoch: 1,
        ..configuration(2, 2, &[])
    };
    let finding = Finding::Recovered {
        partition: p(0),
        node: node(2),
        epoch: 1,
    };
    assert_eq!(
        cluster.report(3, lost(1, 8)),
        [
            Action::Report(finding),
            store(7, vec![write_page(0, 1, vec![Some(recovered.clone())])])
        ]
    );
    assert_eq!(
        cluster.stored(),
        [
            stored(1, p(0), recovered.clone()),
            stored(2, p(0), recovered.clone()),
            stored(3, p(0), recovered.clone()),
            routes(0, recovered),
            add_learner(2, p(0), 2, 3),
        ]
    );
}

/// What only the longer one has was prepared under the higher ballot too, if it was acknowledged, but not synced at every member.
#[test]
fn a_longer_list_of_a_lower_ballot_does_not_make_a_copy_the_largest() {
    let mut cluster = three_buffered_copies();
    assert_eq!(cluster.report(1, lost(7, 404)), []);
    assert_eq!(cluster.report(2, lost(8, 404)), []);
    let finding = Finding::Recovered {
        partition: p(0),
        node: node(2),
        epoch: 1,
    };
    let actions = cluster.report(3, lost(7, 405));
    assert_eq!(actions.first(), Some(&Action::Report(finding)));
}

#[test]
fn a_copy_that_is_all_in_storage_is_not_less_than_one_that_has_a_log() {
    let mut cluster = three_buffered_copies();
    let lost = |last_ballot: u64, prepared: u64, committed: u64| ReplicaReport {
        soundness: Soundness::Unsynced,
        last_ballot: Ballot(last_ballot),
        prepared: Decree(prepared),
        committed: Decree(committed),
        ..replica(p(0), 1)
    };
    assert_eq!(cluster.report(1, lost(1, 2, 0)), []);
    assert_eq!(cluster.report(2, lost(0, 20, 20)), []);
    let finding = Finding::Recovered {
        partition: p(0),
        node: node(2),
        epoch: 1,
    };
    let actions = cluster.report(3, lost(1, 3, 0));
    assert_eq!(actions.first(), Some(&Action::Report(finding)));
}

#[test]
fn one_member_that_still_has_everything_is_enough_to_wait_for_its_proposal() {
    let mut cluster = Driver::with_table(3, 1, 3);
    let lost = ReplicaReport {
        soundness: Soundness::Unsynced,
        ..replica(p(0), 1)
    };
    assert_eq!(cluster.report(1, lost.clone()), []);
    assert_eq!(cluster.report(2, lost), []);
    assert_eq!(cluster.report(3, replica(p(0), 1)), []);
}

#[test]
fn when_no_member_of_a_synced_table_is_whole_a_person_decides() {
    let mut cluster = Driver::with_table(3, 1, 3);
    let damaged = ReplicaReport {
        soundness: Soundness::Damaged,
        ..replica(p(0), 1)
    };
    assert_eq!(cluster.report(1, damaged.clone()), []);
    assert_eq!(cluster.report(2, damaged.clone()), []);
    let finding = Finding::LostQuorum {
        partition: p(0),
        damaged: vec![node(1), node(2), node(3)],
        unsynced: vec![],
    };
    assert_eq!(cluster.report(3, damaged), [Action::Report(finding)]);
}

#[test]
fn a_damaged_copy_is_nobodys_largest_the_others_are_named_with_what_they_have() {
    let mut cluster = three_buffered_copies();
    let lost = |soundness, prepared: u64| ReplicaReport {
        soundness,
        prepared: Decree(prepared),
        ..replica(p(0), 1)
    };
    assert_eq!(cluster.report(1, lost(Soundness::Unsynced, 7)), []);
    assert_eq!(cluster.report(2, lost(Soundness::Damaged, 99)), []);
    let finding = Finding::LostQuorum {
        partition: p(0),
        damaged: vec![node(2)],
        unsynced: vec![node(3), node(1)],
    };
    assert_eq!(
        finding.to_string(),
        "no member of partition 1.0 has a whole copy: damaged on node 2, without its last writes on node 3 (has the most), node 1; it does not serve until one is back or an operator decides ('partition rescue' of the shell)"
            .replace("1.0", &p(0).to_string())
            .replace("node 1", &format!("node {}", node(1)))
            .replace("node 2", &format!("node {}", node(2)))
            .replace("node 3", &format!("node {}", node(3)))
    );
    assert_eq!(
        cluster.report(3, lost(Soundness::Unsynced, 8)),
        [Action::Report(finding)]
    );
}
