//! A copy that turns out to be damaged leaves the others, and learns anew from them (C5).

use crate::bench::*;
use replication::Action;
use replication::{Event, Message, MetaStream, Recovered, RoleKind};
use types::{
    Ballot, BootId, Decree, Durability, Incarnation, LearnKind, LearnSignature, RecordBody,
};

#[test]
fn a_damaged_secondary_grants_nothing_disowns_its_copy_and_says_so_until_it_is_removed() {
    let one = config(1, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 1);
    let no = Message::NotMember { ballot: Ballot(1) };
    assert_eq!(
        b.on(Event::Damaged),
        [
            except(A, 2),
            append(3, RecordBody::Quarantined),
            Action::Became(RoleKind::Inactive),
        ]
    );
    assert!(!b.replica.is_member());
    assert_eq!(b.tick(), [send(A, no.clone())]);
    assert_eq!(b.at(1000).tick(), [send(A, no.clone())]);
    assert_eq!(b.from(A, prepare(1, 2, 1)), [send(A, no)]);
    assert_eq!(b.on(Event::Damaged), []);
    let two = config(2, A, &[C]);
    assert_eq!(
        b.on(Event::ConfigurationKnown(two.clone())),
        [append_config(4, &two)]
    );
    assert_eq!(b.deadline(), None);
}

#[test]
fn a_damaged_primary_resigns_until_somebody_takes_over() {
    let mut a = Bench::serving(A, &[B]);
    let actions = a.on(Event::Damaged);
    assert_eq!(actions.last(), Some(&Action::Became(RoleKind::Inactive)));
    assert!(!a.may_read());
    let resign = Message::Resign { ballot: Ballot(1) };
    assert_eq!(a.tick().last(), Some(&send(B, resign.clone())));
    assert_eq!(a.at(1000).tick().last(), Some(&send(B, resign)));
}

#[test]
fn a_copy_that_has_no_others_stays_for_an_operator_to_decide_upon() {
    let mut a = Bench::serving(A, &[]);
    assert_eq!(a.on(Event::Damaged), []);
    assert!(a.replica.is_member());
}

#[test]
fn damage_is_remembered_and_only_a_checkpoint_makes_the_copy_whole() {
    let one = config(1, A, &[B]);
    let mut records = Bench::records(&one, 1);
    records.push(RecordBody::Quarantined);
    let (mut b, _) = Bench::recovered(B, Durability::Sync, 1, records);
    assert!(!b.replica.is_member());
    let two = config(2, A, &[]);
    let offer = Message::LearnOffer {
        configuration: two,
        attempt: 1,
    };
    let resets: Vec<_> = b
        .from(A, offer)
        .into_iter()
        .filter_map(|action| match action {
            Action::AppendLog {
                body: RecordBody::Reset { kind, .. },
                ..
            } => Some(kind),
            _ => None,
        })
        .collect();
    assert_eq!(resets, [LearnKind::Checkpoint]);
}

#[test]
fn what_damage_took_besides_the_copy_is_said_again_when_it_is_learnt_anew() {
    let (one, two) = (config(1, A, &[B]), config(2, A, &[]));
    let mut identity = Bench::identity(B, Durability::Buffered);
    identity.boot = BootId(2);
    let mut b = Bench::of(identity);
    b.on(Event::Create);
    b.flushed(0);
    b.flushed(1);
    b.on(Event::ConfigurationKnown(one));
    b.on(Event::ConfigurationKnown(two.clone()));
    b.on(Event::Damaged);
    let offer = Message::LearnOffer {
        configuration: two,
        attempt: 1,
    };
    // Nothing of what was written before is left; the copy becomes whole, and then the machine loses power.
    let mut recovered = Recovered::new();
    for action in b.from(A, offer) {
        if let Action::AppendLog { body, .. } = action {
            recovered.record(body);
        }
    }
    recovered.record(RecordBody::Ready {
        signature: LearnSignature {
            ballot: Ballot(2),
            incarnation: Incarnation(1),
            counter: 1,
        },
        decree: Decree::ZERO,
    });
    let (b, _) = Bench::restarted(B, Durability::Buffered, recovered);
    assert_eq!(b.replica.ballot(), Ballot(2));
    assert!(b.replica.survey().unsynced);
}

#[test]
fn a_copy_whose_storage_may_have_been_forgotten_counts_only_if_the_log_has_it_from_the_first_decree()
 {
    let one = config(1, A, &[B]);
    for (from, whole) in [(1, true), (2, false), (3, false)] {
        let records = Bench::records(&one, 2);
        let mut recovered = Recovered::new();
        for record in records {
            let kept = match &record {
                RecordBody::Mutation(mutation) => mutation.decree >= Decree(from),
                _ => true,
            };
            if kept {
                recovered.record(record);
            }
        }
        recovered.storage_unknown();
        let (b, _) = Bench::restarted(B, Durability::Sync, recovered);
        assert_eq!(b.replica.is_member(), whole, "from {from}");
    }
}

#[test]
fn a_damaged_copy_proposes_nothing_any_more_whatever_it_had_proposed() {
    let one = config(1, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 1);
    b.on(Event::MetaStream(MetaStream::Down));
    let two = config(2, B, &[C]);
    assert_eq!(b.on(Event::PeerLost { node: A }), [propose(1, &two)]);
    b.on(Event::Damaged);
    // Stored now, it would make the damaged copy lead.
    assert_eq!(b.on(Event::MetaStream(MetaStream::Up)), []);
}

#[test]
fn a_primary_that_lost_its_machine_and_its_last_ballot_hears_of_it_from_whom_it_resigns_to() {
    let one = config(1, A, &[B]);
    let two = config(2, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 1);
    b.from(A, truncate(&two, 2, 1));
    let resign = Message::Resign { ballot: Ballot(1) };
    assert_eq!(
        b.from(A, resign),
        [send(A, Message::Stale { configuration: two })]
    );
}

#[test]
fn a_secondary_whose_copy_differs_is_told_and_stops_being_a_member_by_its_own_disk() {
    let mut a = Bench::serving(A, &[B, C]);
    let ballot = a.replica.ballot();
    let differs = Message::Differs { ballot };
    assert_eq!(
        a.on(Event::CopyDiffers { node: B }),
        [send(B, differs.clone())]
    );
    assert_eq!(a.on(Event::CopyDiffers { node: D }), []);
    let one = config(1, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 1);
    assert_eq!(
        b.from(A, differs.clone()),
        [
            except(A, 2),
            append(3, RecordBody::Quarantined),
            Action::Became(RoleKind::Inactive),
        ]
    );
    assert!(!b.replica.is_member() && b.replica.survey().damaged);
    let no = Message::NotMember { ballot };
    assert_eq!(b.from(A, differs), [send(A, no)]);
}

#[test]
fn nobody_but_the_primary_of_the_present_ballot_can_say_that_a_copy_differs() {
    let one = config(2, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 1);
    for (from, ballot) in [(C, 2), (A, 1), (A, 3)] {
        let ballot = Ballot(ballot);
        b.from(from, Message::Differs { ballot });
        assert!(b.replica.is_member(), "{from} {ballot}");
    }
    let mut c = Bench::secondary(C, &one, 1);
    assert_eq!(c.on(Event::CopyDiffers { node: B }), []);
}
