//! A copy goes over to another durability in service (C6).

use crate::bench::*;
use replication::{Action, Event, Flush};
use types::{
    Ballot, BootId, Configuration, Decree, Durability, LearnSignature, Member, RecordBody,
};

/// How safe the next prepare of ballot 1 must be before this secondary acknowledges it.
fn flush_of(b: &mut Bench, decree: u64) -> Flush {
    match &b.from(A, prepare(1, decree, 0))[0] {
        Action::AppendLog { flush, .. } => *flush,
        other => panic!("{other:?}"),
    }
}

/// A secondary that this life of its node has made: in durability sync.
fn young() -> Bench {
    let mut b = Bench::blank(B, Durability::Sync);
    b.on(Event::Create);
    b.flushed(0);
    b.from(A, truncate(&config(1, A, &[B, C]), 1, 0));
    b.flushed(1);
    b
}

fn go_over(b: &mut Bench, durability: Durability) -> Vec<RecordBody> {
    assert!(b.replica.may_change_durability());
    let records = b.replica.records_for(durability);
    b.replica.change_durability(durability);
    assert_eq!(b.replica.durability(), durability);
    records
}

const BOOT: RecordBody = RecordBody::Boot(BootId(1));

#[test]
fn a_copy_that_becomes_buffered_says_in_which_boot_and_syncs_no_more_prepares() {
    let mut b = young();
    assert_eq!(flush_of(&mut b, 1), Flush::Synced);
    assert_eq!(go_over(&mut b, Durability::Buffered), [BOOT]);
    assert_eq!(flush_of(&mut b, 2), Flush::Written);
    assert_eq!(go_over(&mut b, Durability::Sync), []);
    assert_eq!(flush_of(&mut b, 3), Flush::Synced);
}

#[test]
fn one_that_has_proposed_goes_on_syncing_until_it_knows_a_higher_ballot() {
    let mut b = young();
    b.on(Event::PeerLost { node: A });
    let proposed = RecordBody::Proposed(Ballot(1));
    assert_eq!(go_over(&mut b, Durability::Buffered), [BOOT, proposed]);
    assert_eq!(flush_of(&mut b, 1), Flush::Synced);
}

/// In its earlier life it may have proposed: where everything is synced, that is not recorded.
#[test]
fn so_does_one_that_found_its_ballot_on_its_disk() {
    let one = config(1, A, &[B]);
    let records = Bench::records(&one, 0);
    let (mut b, _) = Bench::recovered(B, Durability::Sync, 0, records);
    let proposed = RecordBody::Proposed(Ballot(1));
    assert_eq!(go_over(&mut b, Durability::Buffered), [BOOT, proposed]);
    b.from(A, truncate(&one, 1, 0));
    assert_eq!(flush_of(&mut b, 1), Flush::Synced);
    let two = config(2, A, &[B]);
    b.from(A, truncate(&two, 1, 1));
    b.flushed(1);
    let prepared = b.from(A, prepare(2, 1, 0));
    assert!(
        matches!(
            prepared[0],
            Action::AppendLog {
                flush: Flush::Written,
                ..
            }
        ),
        "{prepared:?}"
    );
}

/// It had marked its boot for the learn, and at its orderly end that nothing is unsynced.
#[test]
fn a_copy_marks_its_boot_anew_when_it_becomes_a_member_after_an_orderly_end() {
    let signature = LearnSignature {
        ballot: Ballot(1),
        ..LearnSignature::default()
    };
    let records = vec![
        RecordBody::Configuration(config(1, A, &[B])),
        Bench::reset(0, types::LearnKind::Log, signature),
        RecordBody::Boot(BootId(1)),
        RecordBody::Ready {
            signature,
            decree: Decree(0),
        },
        RecordBody::Boot(BootId(0)),
    ];
    let (mut d, _) = Bench::recovered(D, Durability::Buffered, 0, records);
    let two = Configuration {
        secondaries: vec![Member::original(B), Member { node: D, signature }],
        ..config(2, A, &[])
    };
    let actions = d.on(Event::ConfigurationKnown(two.clone()));
    assert_eq!(actions[..2], [append_config(0, &two), append(1, BOOT)]);
}

#[test]
fn only_a_whole_copy_of_a_node_that_goes_on_may_go_over() {
    let one = config(1, A, &[B]);
    let mut records = Bench::records(&one, 2);
    records.push(RecordBody::Boot(BootId(7)));
    let (unsynced, _) = Bench::recovered(B, Durability::Buffered, 0, records);
    assert!(!unsynced.replica.may_change_durability());
    let learning = [Bench::reset(
        0,
        types::LearnKind::Log,
        LearnSignature {
            ballot: Ballot(1),
            ..LearnSignature::default()
        },
    )];
    let (learning, _) = Bench::recovered(B, Durability::Sync, 0, learning.into());
    assert!(!learning.replica.may_change_durability());
    let mut stopped = young();
    stopped.on(Event::Shutdown);
    assert!(!stopped.replica.may_change_durability());
}
