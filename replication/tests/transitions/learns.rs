//! Learns, from both sides (L4, C4, C5).

use crate::bench::*;
use replication::{Action, Event, LogRead, Message, MetaStream, RoleKind};
use types::{
    Ballot, Configuration, Decree, Durability, Incarnation, LearnKind, LearnSignature, Member,
    NodeId, RecordBody,
};

const LEARN: LearnSignature = LearnSignature {
    ballot: Ballot(1),
    incarnation: Incarnation(1),
    counter: 1,
};

fn offer(attempt: u64) -> Message {
    Message::LearnOffer {
        configuration: config(1, A, &[B]),
        attempt,
    }
}

fn request(base: Option<u64>) -> Message {
    Message::LearnRequest {
        signature: LEARN,
        base: base.map(Decree),
    }
}

fn log(decrees: &[u64], committed: u64) -> Message {
    let mutations = decrees.iter().map(|&decree| mutation(1, decree)).collect();
    Message::LearnLog {
        ballot: Ballot(1),
        signature: LEARN,
        mutations,
        committed: Decree(committed),
    }
}

fn complete() -> Message {
    Message::LearnComplete {
        ballot: Ballot(1),
        signature: LEARN,
    }
}

fn ready() -> Message {
    Message::LearnReady {
        ballot: Ballot(1),
        signature: LEARN,
        incarnation: Incarnation(1),
    }
}

fn ack(prepared: u64, committed: u64) -> Message {
    Message::PrepareAck {
        ballot: Ballot(1),
        prepared: Decree(prepared),
        committed: Decree(committed),
        signature: LEARN,
    }
}

fn add(ballot: u64, node: NodeId) -> Event {
    let ballot = Ballot(ballot);
    Event::AddLearner { ballot, node }
}

#[test]
fn a_learner_by_log_starts_with_a_reset_record_and_ends_with_a_ready_mark() {
    let mut d = Bench::blank(D, Durability::Sync);
    assert_eq!(
        d.from(A, offer(1)),
        [
            append_config(0, &config(1, A, &[B])),
            append(1, Bench::reset(0, LearnKind::Log, LEARN)),
            Action::Became(RoleKind::Learner),
        ]
    );
    d.flushed(0);
    assert_eq!(d.flushed(1), [send(A, request(Some(0)))]);
    assert_eq!(
        d.from(A, log(&[1, 2], 2)),
        [
            append_mutation(2, 1, 1),
            stage(1, 1),
            append_mutation(3, 1, 2),
            stage(1, 2),
            commit(2)
        ]
    );
    assert_eq!(d.flushed(2), []);
    assert_eq!(d.flushed(3), [send(A, ack(2, 2))]);
    assert_eq!(
        d.from(A, prepare(1, 3, 2)),
        [append_mutation(4, 1, 3), stage(1, 3)]
    );
    assert_eq!(d.flushed(4), [send(A, ack(3, 2))]);
    let mark = RecordBody::Ready {
        signature: LEARN,
        decree: Decree(3),
    };
    assert_eq!(d.from(A, complete()), [append(5, mark)]);
    assert_eq!(d.flushed(5), [send(A, ready())]);
    assert_eq!(d.from(A, complete()), [send(A, ready())]);
}

/// Kept from an earlier transfer, say. The primary may hear of the acknowledgement when it has been told that the checkpoint is there.
#[test]
fn a_checkpoint_older_than_what_the_learner_acknowledged_is_not_taken() {
    let mut d = Bench::blank(D, Durability::Sync);
    d.from(A, offer(1));
    d.flushed(0);
    d.flushed(1);
    d.from(A, log(&[1, 2, 3], 1));
    d.flushed(2);
    d.flushed(3);
    assert_eq!(d.flushed(4), [send(A, ack(3, 1))]);
    let received = |decree| Event::CheckpointReceived {
        signature: LEARN,
        decree: Decree(decree),
    };
    assert_eq!(d.on(received(2)), []);
    assert!(!d.on(received(3)).is_empty());
}

#[test]
fn an_offer_that_comes_twice_does_not_cut_the_learner_back() {
    let mut d = Bench::blank(D, Durability::Sync);
    d.from(A, offer(1));
    d.flushed(0);
    d.flushed(1);
    d.from(A, log(&[1], 1));
    d.flushed(2);
    d.from(A, complete());
    d.flushed(3);
    assert_eq!(d.from(A, offer(1)), []);
    // Also not after a restart, when only the disk remembers the learn.
    let records = vec![
        Bench::reset(0, LearnKind::Log, LEARN),
        RecordBody::Mutation(mutation(1, 1)),
        RecordBody::Ready {
            signature: LEARN,
            decree: Decree(1),
        },
        RecordBody::Configuration(config(1, A, &[B])),
    ];
    let (mut d, _) = Bench::recovered(D, Durability::Sync, 0, records);
    assert_eq!(d.from(A, offer(1)), []);
    assert_eq!(d.replica.prepared(), Decree(1));
}

#[test]
fn an_offer_repeated_after_the_copy_was_damaged_begins_no_second_learn_of_the_same_name() {
    let mut d = Bench::blank(D, Durability::Sync);
    d.from(A, offer(1));
    d.flushed(0);
    d.flushed(1);
    d.from(A, complete());
    d.flushed(2);
    d.on(Event::Damaged);
    assert_eq!(d.from(A, offer(1)), []);
    assert!(
        d.from(A, offer(2))
            .contains(&Action::Became(RoleKind::Learner))
    );
}

#[test]
fn an_offer_repeated_after_the_copy_was_deleted_begins_no_second_learn_of_the_same_name() {
    let mut identity = Bench::identity(D, Durability::Sync);
    identity.deleted = Ballot(2);
    let mut d = Bench::of(identity);
    assert_eq!(d.from(A, offer(1)), []);
    let configuration = config(2, A, &[B]);
    let offer = Message::LearnOffer {
        configuration,
        attempt: 1,
    };
    assert!(
        d.from(A, offer)
            .contains(&Action::Became(RoleKind::Learner))
    );
}

#[test]
fn a_learner_says_that_it_is_ready_under_no_ballot_that_is_not_on_its_disk() {
    let mut d = Bench::blank(D, Durability::Sync);
    d.from(A, offer(1));
    d.flushed(0);
    d.flushed(1);
    d.from(A, complete());
    let two = config(2, A, &[B]);
    d.from(A, truncate(&two, 2, 0));
    let ready = |actions: &[Action]| {
        let said = |action: &Action| {
            let Action::Send { message, .. } = action else {
                return false;
            };
            matches!(message, Message::LearnReady { .. })
        };
        actions.iter().any(said)
    };
    assert!(
        !ready(&d.flushed(2)),
        "its ballot is on its way to the disk"
    );
    d.flushed(3);
    let again = Message::LearnComplete {
        ballot: Ballot(2),
        signature: LEARN,
    };
    assert!(ready(&d.from(A, again)));
}

#[test]
fn a_learner_keeps_what_it_knows_to_be_committed_and_nothing_above() {
    let mut c = Bench::secondary(C, &config(1, A, &[B, C]), 3);
    c.from(A, committed(1, 2));
    let two = config(2, A, &[B]);
    let signature = LearnSignature {
        ballot: Ballot(2),
        ..LEARN
    };
    let offer = Message::LearnOffer {
        configuration: two.clone(),
        attempt: 1,
    };
    assert_eq!(
        c.from(A, offer),
        [
            except(A, 2),
            append_config(5, &two),
            Action::Unstage { above: Decree(2) },
            append(6, Bench::reset(2, LearnKind::Log, signature)),
            Action::Became(RoleKind::Learner),
        ]
    );
}

#[test]
fn a_copy_of_an_older_epoch_is_discarded_whole_for_a_checkpoint() {
    let mut c = Bench::secondary(C, &config(1, A, &[B, C]), 1);
    let two = Configuration {
        epoch: 1,
        ..config(2, A, &[])
    };
    let signature = LearnSignature {
        ballot: Ballot(2),
        ..LEARN
    };
    let reset = |base: u64| RecordBody::Reset {
        signature,
        base: Decree(base),
        kind: LearnKind::Checkpoint,
        epoch: 1,
    };
    let actions = c.from(
        A,
        Message::LearnOffer {
            configuration: two.clone(),
            attempt: 1,
        },
    );
    assert_eq!(actions[3..5], [append_config(4, &two), append(5, reset(0))]);
    c.flushed(3);
    c.flushed(4);
    assert_eq!(
        c.flushed(5),
        [send(
            A,
            Message::LearnRequest {
                signature,
                base: None
            }
        )]
    );
    let decree = Decree(9);
    assert_eq!(
        c.on(Event::CheckpointReceived { signature, decree }),
        [append_config(6, &two), append(7, reset(9))]
    );
    c.flushed(6);
    assert_eq!(
        c.flushed(7),
        [Action::InstallCheckpoint { signature, decree }]
    );
    let installed = Message::PrepareAck {
        ballot: Ballot(2),
        prepared: decree,
        committed: decree,
        signature,
    };
    assert_eq!(
        c.on(Event::CheckpointInstalled { signature, decree }),
        [send(A, installed)]
    );
}

#[test]
fn the_primary_teaches_by_log_then_by_prepares_and_proposes_a_learner_that_lacks_nothing() {
    let mut a = Bench::serving(A, &[B]);
    for decree in 1..=2 {
        a.on(submit(decree));
        a.flushed(1 + decree);
        a.from(B, prepare_ack(1, decree, 0));
    }
    assert_eq!(a.on(add(1, B)), []);
    assert_eq!(a.on(add(1, D)), [send(D, offer(1))]);
    let read = Action::ReadLog {
        learner: D,
        signature: LEARN,
        from: Decree(1),
        max_bytes: 1 << 20,
    };
    assert_eq!(a.from(D, request(Some(0))), [read]);
    // Decree 3 is not committed: it comes as a prepare.
    a.on(submit(3));
    let outcome = LogRead::Mutations(vec![mutation(1, 1), mutation(1, 2), mutation(1, 3)]);
    let answer = Event::LogRead {
        learner: D,
        signature: LEARN,
        outcome,
    };
    assert_eq!(a.on(answer), [send(D, log(&[1, 2], 2))]);
    assert_eq!(
        a.from(D, ack(2, 2)),
        [send(D, prepare(1, 3, 2)), send(D, complete())]
    );
    // Its acknowledgements gate nothing yet.
    a.flushed(4);
    assert_eq!(a.from(B, prepare_ack(1, 3, 2)), [commit(3)]);
    assert_eq!(a.from(D, ready()), []);
    a.lease(D, 1);
    // C4: not before it has flushed what is committed now.
    let next = Configuration {
        secondaries: vec![
            Member::original(B),
            Member {
                node: D,
                signature: LEARN,
            },
        ],
        ..config(2, A, &[])
    };
    assert_eq!(a.from(D, ack(3, 2)), [propose(1, &next)]);
    // C1: from here on it gates commits and must lease reads.
    a.on(submit(4));
    a.flushed(5);
    assert_eq!(a.from(B, prepare_ack(1, 4, 3)), []);
    assert_eq!(a.from(D, ack(4, 3)), [commit(4)]);
}

#[test]
fn a_commit_just_before_a_new_ballot_is_told_under_that_one() {
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.flushed(2);
    assert_eq!(a.from(B, prepare_ack(1, 1, 0)), [commit(1)]);
    let two = config(2, A, &[B, C]);
    a.on(Event::ConfigurationKnown(two));
    a.flushed(3);
    for member in [B, C] {
        a.from(member, truncate_ack(2));
        a.lease(member, 1);
    }
    let mut told = Vec::new();
    for millis in [20, 1000, 3000] {
        for action in a.at(millis).tick() {
            if let Action::Send { to, message } = action
                && message == committed(2, 1)
            {
                told.push(to);
            }
        }
        for member in [B, C] {
            a.from(member, prepare_ack(2, 1, 0));
        }
    }
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [B, C]);
}

/// By a meta leader that has been paused since.
#[test]
fn nobody_is_taught_who_was_asked_for_under_an_older_configuration() {
    let mut a = Bench::serving(A, &[B]);
    assert_eq!(a.on(add(0, D)), []);
    assert_eq!(a.on(add(1, D)), [send(D, offer(1))]);
}

#[test]
fn no_addition_is_proposed_while_the_meta_leader_is_out_of_reach() {
    let mut a = Bench::serving(A, &[B]);
    a.on(Event::MetaStream(MetaStream::Down));
    a.on(add(1, D));
    assert_eq!(a.from(D, request(Some(0))), [send(D, complete())]);
    a.lease(D, 1);
    assert_eq!(a.from(D, ready()), []);
    assert!(matches!(
        a.on(Event::MetaStream(MetaStream::Up))[..],
        [Action::Propose { .. }]
    ));
}

/// Its copy was damaged before it was a member, and it learnt again under the same ballot.
#[test]
fn a_learner_that_excepted_this_ballot_is_added_under_the_next() {
    let mut a = Bench::serving(A, &[B]);
    a.on(add(1, D));
    assert_eq!(a.from(D, request(Some(0))), [send(D, complete())]);
    a.lease(D, 1);
    a.excepted(D, 2);
    assert_eq!(a.from(D, ready()), [propose(1, &config(2, A, &[B]))]);
}

#[test]
fn a_log_that_does_not_reach_back_makes_it_a_checkpoint() {
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.flushed(2);
    a.from(B, prepare_ack(1, 1, 0));
    a.on(add(1, D));
    a.from(D, request(Some(0)));
    let gone = Event::LogRead {
        learner: D,
        signature: LEARN,
        outcome: LogRead::Gone,
    };
    assert_eq!(
        a.on(gone),
        [Action::SendCheckpoint {
            learner: D,
            signature: LEARN
        }]
    );
    let delivered = Event::CheckpointDelivered {
        learner: D,
        signature: LEARN,
        decree: Decree(1),
    };
    assert_eq!(a.on(delivered), [send(D, committed(1, 1))]);
    assert_eq!(a.from(D, ack(1, 1)), [send(D, complete())]);
}

#[test]
fn a_learner_out_of_sight_is_given_up() {
    let mut a = Bench::serving(A, &[B]);
    a.on(add(1, D));
    a.from(D, request(None));
    assert_eq!(
        a.on(Event::PeerLost { node: D }),
        [Action::EndLearn {
            learner: D,
            signature: LEARN
        }]
    );
}

#[test]
fn late_news_of_a_nodes_restart_does_not_end_the_learn_that_it_has_begun_since() {
    let mut a = Bench::serving(A, &[B]);
    a.on(add(1, D));
    let restarted = |life| Event::PeerRestarted {
        node: D,
        life: Incarnation(life),
    };
    assert_eq!(a.on(restarted(1)), []);
    a.from(D, request(None));
    assert_eq!(a.on(restarted(1)), []);
    assert_eq!(
        a.on(restarted(2)),
        [Action::EndLearn {
            learner: D,
            signature: LEARN
        }]
    );
}

#[test]
fn a_learn_goes_on_under_its_teachers_next_ballot() {
    let two = config(2, A, &[B]);
    let mut a = Bench::serving(A, &[B, C]);
    a.on(submit(1));
    a.on(add(1, D));
    a.from(D, request(None));
    a.on(Event::PeerLost { node: C });
    a.on(Event::ConfigurationKnown(two.clone()));
    a.flushed(2);
    let actions = a.flushed(3);
    assert!(
        actions.contains(&send(D, truncate(&two, 1, 1))),
        "{actions:?}"
    );
    let mut d = Bench::blank(D, Durability::Sync);
    d.from(
        A,
        Message::LearnOffer {
            configuration: config(1, A, &[B, C]),
            attempt: 1,
        },
    );
    d.flushed(0);
    d.flushed(1);
    assert_eq!(d.from(A, truncate(&two, 1, 1)), [append_config(2, &two)]);
    let acknowledged = Message::TruncateAck {
        ballot: Ballot(2),
        signature: LEARN,
        incarnation: Incarnation(1),
    };
    assert_eq!(d.flushed(2), [send(A, acknowledged)]);
}

#[test]
fn a_teacher_says_nothing_to_its_learner_under_a_ballot_that_is_not_on_its_disk_yet() {
    let mut a = Bench::serving(A, &[B]);
    a.on(add(1, D));
    a.from(D, request(None));
    a.on(Event::PeerLost { node: B });
    a.on(Event::ConfigurationKnown(config(2, A, &[])));
    let delivered = Event::CheckpointDelivered {
        learner: D,
        signature: LEARN,
        decree: Decree(0),
    };
    assert_eq!(a.on(delivered), []);
    assert!(
        a.flushed(2)
            .contains(&send(D, truncate(&config(2, A, &[]), 1, 0)))
    );
}
