//! Restarts (L2 to L4), and what `buffered` adds to them (C6).

use crate::bench::*;
use replication::{Action, Event, Flush, Message, RoleKind};
use types::{
    Ballot, BootId, Configuration, Decree, Durability, Incarnation, LearnKind, LearnSignature,
    RecordBody,
};

#[test]
fn a_restarted_secondary_keeps_its_prepared_records_and_asks_for_its_stream() {
    let one = config(1, A, &[B]);
    let (mut b, actions) = Bench::recovered(B, Durability::Sync, 1, Bench::records(&one, 3));
    assert_eq!(
        actions,
        [
            stage(1, 2),
            stage(1, 3),
            Action::Became(RoleKind::Secondary)
        ]
    );
    assert_eq!(b.tick(), [send(A, Message::Join { ballot: Ballot(1) })]);
    // L1: what is in the log under this ballot is acknowledged, not appended again.
    let life_two = Message::TruncateAck {
        ballot: Ballot(1),
        signature: ORIGINAL,
        incarnation: Incarnation(2),
    };
    assert_eq!(b.from(A, truncate(&one, 2, 0)), [send(A, life_two)]);
    assert_eq!(b.from(A, prepare(1, 2, 1)), [send(A, prepare_ack(1, 3, 1))]);
    assert_eq!(
        b.from(A, prepare(1, 4, 3)),
        [append_mutation(0, 1, 4), stage(1, 4), commit(3)]
    );
}

#[test]
fn a_restarted_primary_does_nothing_under_its_old_ballot_and_proposes_itself_again() {
    let (one, two) = (config(1, A, &[B]), config(2, A, &[B]));
    let (mut a, actions) = Bench::recovered(A, Durability::Sync, 0, Bench::records(&one, 1));
    assert_eq!(actions, [stage(1, 1)]);
    assert_eq!(a.tick(), [propose(1, &two)]);
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), []);
    a.on(Event::ConfigurationKnown(two.clone()));
    assert_eq!(
        a.flushed(0),
        [
            send(B, truncate(&two, 1, 1)),
            append_mutation(1, 2, 1),
            send(B, prepare(2, 1, 0))
        ]
    );
    a.flushed(1);
    a.from(B, truncate_ack(2));
    assert_eq!(a.from(B, prepare_ack(2, 1, 0)), []);
    // R4: an earlier life may have granted a lease just before its end.
    assert_eq!(a.at(649).tick(), []);
    assert_eq!(
        a.at(650).tick(),
        [commit(1), Action::Became(RoleKind::Serving)]
    );
}

#[test]
fn a_truncate_cancels_records_above_it_of_lower_ballots_only() {
    let two = config(2, A, &[B]);
    let mut records = Bench::records(&config(1, C, &[A, B]), 3);
    records.push(RecordBody::Configuration(two));
    records.push(RecordBody::Truncate {
        ballot: Ballot(2),
        decree: Decree(1),
    });
    records.push(RecordBody::Mutation(mutation(2, 2)));
    // A copied truncate comes later than what followed it.
    records.push(RecordBody::Truncate {
        ballot: Ballot(2),
        decree: Decree(1),
    });
    let (b, actions) = Bench::recovered(B, Durability::Sync, 0, records);
    assert_eq!(
        actions,
        [
            stage(1, 1),
            stage(2, 2),
            Action::Became(RoleKind::Secondary)
        ]
    );
    assert_eq!(b.replica.prepared(), Decree(2));
}

#[test]
fn the_latest_record_of_a_decree_wins_and_cancels_nothing_above_it() {
    let mut records = Bench::records(&config(1, A, &[B]), 3);
    records.push(RecordBody::Configuration(config(2, C, &[B])));
    records.push(RecordBody::Mutation(mutation(2, 1)));
    let (_, actions) = Bench::recovered(B, Durability::Sync, 0, records);
    assert_eq!(actions[..3], [stage(2, 1), stage(1, 2), stage(1, 3)]);
}

#[test]
fn a_learn_that_was_cut_off_leaves_no_member() {
    let signature = LearnSignature {
        ballot: Ballot(1),
        incarnation: Incarnation(1),
        counter: 1,
    };
    let two = Configuration {
        secondaries: vec![types::Member { node: D, signature }],
        ..config(2, A, &[])
    };
    let reset = Bench::reset(0, LearnKind::Log, signature);
    let records = |ready: bool| {
        let ready = ready.then_some(RecordBody::Ready {
            signature,
            decree: Decree(0),
        });
        [reset.clone()]
            .into_iter()
            .chain(ready)
            .chain([RecordBody::Configuration(two.clone())])
            .collect()
    };
    assert!(
        !Bench::recovered(D, Durability::Sync, 0, records(false))
            .0
            .replica
            .is_member()
    );
    assert!(
        Bench::recovered(D, Durability::Sync, 0, records(true))
            .0
            .replica
            .is_member()
    );
}

#[test]
fn a_hole_in_the_log_is_damage_and_a_damaged_primary_resigns() {
    let mut records = Bench::records(&config(1, A, &[B]), 1);
    records.push(RecordBody::Mutation(mutation(1, 3)));
    let (mut a, _) = Bench::recovered(A, Durability::Sync, 0, records);
    assert!(!a.replica.is_member());
    let resigns = |configuration: Configuration| {
        let ballot = configuration.ballot;
        [
            send(B, Message::Stale { configuration }),
            send(B, Message::Resign { ballot }),
        ]
    };
    assert_eq!(a.tick(), resigns(config(1, A, &[B])));
    assert_eq!(a.deadline(), Some(1000));
    // Its own proposal had been stored before its copy was lost.
    a.on(Event::ConfigurationKnown(config(2, A, &[B])));
    assert_eq!(a.tick(), resigns(config(2, A, &[B])));
}

#[test]
fn in_buffered_a_proposal_is_recorded_first_and_then_only_synced_prepares_are_acknowledged() {
    let one = config(1, A, &[B, C]);
    let mut b = Bench::blank(B, Durability::Buffered);
    assert_eq!(
        b.on(Event::Create),
        [
            append(0, Bench::reset(0, LearnKind::Log, ORIGINAL)),
            append(1, RecordBody::Boot(BootId(1)))
        ]
    );
    b.flushed(0);
    b.flushed(1);
    b.from(A, truncate(&one, 1, 0));
    b.flushed(2);
    let written = |number, decree, flush| Action::AppendLog {
        number,
        body: RecordBody::Mutation(mutation(1, decree)),
        flush,
    };
    assert_eq!(
        b.from(A, prepare(1, 1, 0))[0],
        written(3, 1, Flush::Written)
    );
    assert_eq!(
        b.on(Event::PeerLost { node: A }),
        [append(4, RecordBody::Proposed(Ballot(1)))]
    );
    assert_eq!(b.from(A, prepare(1, 2, 0))[0], written(5, 2, Flush::Synced));
    b.flushed(3);
    assert_eq!(b.flushed(4), [propose(1, &config(2, B, &[C]))]);
}

#[test]
fn after_a_restart_a_proposal_made_before_still_wants_synced_prepares() {
    let one = config(1, A, &[B]);
    let mut records = Bench::records(&one, 0);
    records.push(RecordBody::Boot(BootId(1)));
    records.push(RecordBody::Proposed(Ballot(1)));
    let (mut b, _) = Bench::recovered(B, Durability::Buffered, 0, records);
    b.from(A, truncate(&one, 1, 0));
    assert_eq!(b.from(A, prepare(1, 1, 0))[0], append_mutation(0, 1, 1));
}

#[test]
fn in_buffered_a_copy_of_another_boot_is_no_member_until_it_is_the_only_one_left() {
    let one = config(1, A, &[B]);
    let mut records = Bench::records(&one, 2);
    records.push(RecordBody::Boot(BootId(7)));
    let (mut b, _) = Bench::recovered(B, Durability::Buffered, 0, records);
    assert!(!b.replica.is_member());
    let survey = b.replica.survey();
    assert_eq!(
        (survey.unsynced, survey.last_ballot, survey.prepared),
        (true, Ballot(1), Decree(2))
    );
    assert_eq!(b.on(Event::PeerLost { node: A }), []);
    assert_eq!(
        b.from(A, truncate(&one, 1, 0)),
        [send(A, Message::NotMember { ballot: Ballot(1) })]
    );
    // The meta leader found it to be the largest of all copies.
    let two = Configuration {
        epoch: 1,
        ..config(2, B, &[])
    };
    assert_eq!(
        b.on(Event::ConfigurationKnown(two.clone())),
        [
            append(0, RecordBody::Boot(BootId(1))),
            append_config(1, &two),
            Action::Became(RoleKind::Reconciling),
        ]
    );
    assert_eq!(b.replica.survey().epoch, 1);
}

#[test]
fn a_survivor_whose_power_fails_again_is_of_the_epoch_in_which_it_survived() {
    let alone = Configuration {
        epoch: 1,
        ..config(2, B, &[])
    };
    let mut records = Bench::records(&config(1, A, &[B]), 2);
    records.push(RecordBody::Configuration(alone));
    records.push(RecordBody::Boot(BootId(7)));
    let (b, _) = Bench::recovered(B, Durability::Buffered, 0, records);
    let survey = b.replica.survey();
    // Of an older epoch it would be no survivor a second time, and nobody else is left.
    assert_eq!((survey.unsynced, survey.epoch), (true, 1));
}

#[test]
fn an_orderly_end_leaves_no_doubt_about_what_is_synced() {
    let mut b = Bench::blank(B, Durability::Buffered);
    b.on(Event::Create);
    assert_eq!(
        b.on(Event::Shutdown),
        [append(2, RecordBody::Boot(BootId(0)))]
    );
    let mut records = Bench::records(&config(1, A, &[B]), 0);
    records.extend([RecordBody::Boot(BootId(7)), RecordBody::Boot(BootId(0))]);
    assert!(
        Bench::recovered(B, Durability::Buffered, 0, records)
            .0
            .replica
            .is_member()
    );
}

/// L1, also for what RocksDB has already.
#[test]
fn a_restarted_secondary_appends_nothing_again_that_it_knows_to_be_committed() {
    let one = config(1, A, &[B]);
    let (mut b, _) = Bench::recovered(B, Durability::Sync, 2, Bench::records(&one, 3));
    b.from(A, truncate(&one, 1, 3));
    for decree in 1..=3 {
        let again = b.from(A, prepare(1, decree, 3));
        assert!(
            !again
                .iter()
                .any(|action| matches!(action, Action::AppendLog { .. }))
        );
        assert!(matches!(again[0], Action::Send { .. }));
    }
}

/// It proposed itself, lost its machine, and was stored: nobody else would ever tell its members that they wait in vain.
#[test]
fn a_copy_that_is_none_any_more_says_so_to_whom_a_newer_ballot_sends_to_it() {
    let mut records = Bench::records(&config(1, A, &[B, C]), 2);
    records.push(RecordBody::Boot(BootId(7)));
    let (mut b, _) = Bench::recovered(B, Durability::Buffered, 0, records);
    let ballot = Ballot(2);
    assert_eq!(
        b.from(C, Message::Join { ballot }),
        [send(C, Message::NotMember { ballot })]
    );
}
