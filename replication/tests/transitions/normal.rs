//! The normal case: creation, writes, commits, and what is sent again.

use crate::bench::*;
use replication::{Action, Event, Message, Refusal, RoleKind};
use types::{Ballot, Decree, Durability, Incarnation, LearnKind};

#[test]
fn a_new_empty_replica_is_reported_when_it_is_on_disk() {
    let mut a = Bench::blank(A, Durability::Sync);
    assert_eq!(
        a.on(Event::Create),
        [append(0, Bench::reset(0, LearnKind::Log, ORIGINAL))]
    );
    assert_eq!(a.on(Event::Create), []);
    assert_eq!(a.flushed(0), [Action::ReportCreated]);
    assert_eq!(a.on(Event::Create), [Action::ReportCreated]);
}

#[test]
fn a_first_primary_persists_its_ballot_and_serves_when_all_members_have_answered() {
    let one = config(1, A, &[B, C]);
    let mut a = Bench::created(A);
    assert_eq!(
        a.on(Event::ConfigurationKnown(one.clone())),
        [
            append_config(1, &one),
            Action::Became(RoleKind::Reconciling)
        ]
    );
    assert_eq!(
        a.flushed(1),
        [send(B, truncate(&one, 1, 0)), send(C, truncate(&one, 1, 0))]
    );
    assert_eq!(a.from(B, truncate_ack(1)), []);
    assert_eq!(a.replica.accepts_write(), Err(Refusal::Reconciling));
    assert_eq!(
        a.from(C, truncate_ack(1)),
        [Action::Became(RoleKind::Serving)]
    );
    assert_eq!(a.replica.accepts_write(), Ok(Decree(1)));
}

#[test]
fn a_write_goes_to_the_log_and_to_all_secondaries_at_once_and_commits_when_all_have_it() {
    let mut a = Bench::serving(A, &[B, C]);
    assert_eq!(
        a.on(submit(1)),
        [
            append_mutation(2, 1, 1),
            send(B, prepare(1, 1, 0)),
            send(C, prepare(1, 1, 0))
        ]
    );
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), []);
    assert_eq!(a.from(C, prepare_ack(1, 1, 0)), []);
    assert_eq!(a.flushed(2), [commit(1)]);
    // The next prepare carries the news.
    assert_eq!(
        a.on(submit(2)),
        [
            append_mutation(3, 1, 2),
            send(B, prepare(1, 2, 1)),
            send(C, prepare(1, 2, 1))
        ]
    );
}

#[test]
fn commits_are_in_decree_order_and_the_window_is_bounded() {
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.on(submit(2));
    assert_eq!(a.replica.accepts_write(), Err(Refusal::WindowFull));
    assert_eq!(a.on(submit(3)), [Action::Refuse(Refusal::WindowFull)]);
    assert_eq!(a.flushed(3), []);
    assert_eq!(a.from(B, prepare_ack(1, 2, 0)), []);
    assert_eq!(a.flushed(2), [commit(2)]);
    assert_eq!(a.replica.accepts_write(), Ok(Decree(3)));
}

#[test]
fn a_quiet_partition_tells_its_secondaries_of_the_last_commit_and_then_waits_for_nothing() {
    let mut a = Bench::serving(A, &[B]);
    a.at(5).on(submit(1));
    a.flushed(2);
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), [commit(1)]);
    assert_eq!(a.deadline(), Some(15));
    assert_eq!(a.at(15).tick(), [send(B, committed(1, 1))]);
    assert_eq!(a.from(B, prepare_ack(1, 1, 1)), []);
    assert_eq!(a.deadline(), None);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_ever_more_seldom() {
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.flushed(2);
    assert_eq!(a.deadline(), Some(200));
    assert_eq!(a.at(200).tick(), [send(B, prepare(1, 1, 0))]);
    assert_eq!(a.deadline(), Some(600));
    assert_eq!(a.at(600).tick(), [send(B, prepare(1, 1, 0))]);
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), [commit(1)]);
}

#[test]
fn acknowledgements_of_another_ballot_or_another_learn_count_for_nothing() {
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.flushed(2);
    assert_eq!(a.from(B, prepare_ack(0, 1, 0)), []);
    assert_eq!(a.from(B, prepare_ack(2, 1, 0)), []);
    let Message::PrepareAck {
        ballot,
        prepared,
        committed,
        ..
    } = prepare_ack(1, 1, 0)
    else {
        unreachable!("made above")
    };
    let signature = types::LearnSignature {
        counter: 9,
        ..ORIGINAL
    };
    assert_eq!(
        a.from(
            B,
            Message::PrepareAck {
                ballot,
                prepared,
                committed,
                signature
            }
        ),
        []
    );
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), [commit(1)]);
}

#[test]
fn a_table_below_its_least_members_refuses_writes_and_says_how_many_there_are() {
    let a = Bench::serving(A, &[]);
    assert_eq!(
        a.replica.accepts_write(),
        Err(Refusal::TooFewMembers {
            members: 1,
            needed: 2
        })
    );
    assert!(a.may_read());
}

#[test]
fn a_secondary_acknowledges_when_the_log_has_it_and_never_appends_it_twice() {
    let one = config(1, A, &[B, C]);
    let mut b = Bench::created(B);
    assert_eq!(
        b.from(A, truncate(&one, 1, 0)),
        [append_config(1, &one), Action::Became(RoleKind::Secondary)]
    );
    assert_eq!(b.flushed(1), [send(A, truncate_ack(1))]);
    assert_eq!(
        b.from(A, prepare(1, 1, 0)),
        [append_mutation(2, 1, 1), stage(1, 1)]
    );
    assert_eq!(b.from(A, prepare(1, 1, 0)), []);
    assert_eq!(b.flushed(2), [send(A, prepare_ack(1, 1, 0))]);
    assert_eq!(b.from(A, prepare(1, 1, 0)), [send(A, prepare_ack(1, 1, 0))]);
    // Too early: decree 2 is missing.
    assert_eq!(b.from(A, prepare(1, 3, 1)), [commit(1)]);
    assert_eq!(
        b.from(A, prepare(1, 2, 1)),
        [append_mutation(3, 1, 2), stage(1, 2)]
    );
    assert_eq!(
        b.from(A, committed(1, 2)),
        [commit(2), send(A, prepare_ack(1, 1, 2))]
    );
    assert_eq!(b.deadline(), None);
}

#[test]
fn an_acknowledgement_waits_for_every_append_before_its_own() {
    let mut b = Bench::secondary(B, &config(1, A, &[B]), 0);
    b.from(A, prepare(1, 1, 0));
    b.from(A, prepare(1, 2, 0));
    assert_eq!(b.flushed(3), []);
    assert_eq!(
        b.flushed(2),
        [send(A, prepare_ack(1, 1, 0)), send(A, prepare_ack(1, 2, 0))]
    );
}

#[test]
fn lower_ballots_are_rejected_for_ever_and_their_owners_are_told() {
    let two = config(2, C, &[B]);
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 0);
    b.from(C, truncate(&two, 1, 0));
    let stale = Message::Stale { configuration: two };
    assert_eq!(b.from(A, prepare(1, 1, 0)), [send(A, stale.clone())]);
    assert_eq!(
        b.from(A, truncate(&config(1, A, &[B, C]), 1, 0)),
        [send(A, stale)]
    );
}

#[test]
fn a_secondary_acknowledges_nothing_under_a_ballot_that_is_not_on_its_disk_yet() {
    let one = config(1, A, &[B]);
    let mut b = Bench::secondary(B, &one, 1);
    let two = config(2, A, &[B]);
    b.from(A, truncate(&two, 2, 1));
    assert_eq!(b.from(A, committed(2, 1)), [commit(1)]);
    assert_eq!(b.flushed(3), [send(A, truncate_ack(2))]);
    assert_eq!(b.from(A, committed(2, 1)), [send(A, prepare_ack(2, 1, 1))]);
}

#[test]
fn a_vouch_from_an_ended_life_that_arrives_late_does_not_stand_in_the_way_of_the_new_one() {
    let mut a = Bench::serving(A, &[B]);
    // B starts again, and vouches anew; then comes what it said before.
    a.lease(B, 2);
    let vouch = |life| Message::TruncateAck {
        ballot: Ballot(1),
        signature: ORIGINAL,
        incarnation: Incarnation(life),
    };
    a.from(B, vouch(2));
    assert!(a.may_read());
    a.from(B, vouch(1));
    let asks = a.deadline().expect("it asks again");
    let one = config(1, A, &[B]);
    assert_eq!(a.at(asks).tick(), [send(B, truncate(&one, 1, 0))]);
    a.lease(B, 2);
    a.from(B, vouch(2));
    assert!(a.may_read());
}
