//! Reads at secondaries: asked for when somebody reads, answered under the lease, aged from the asking.

use crate::bench::{
    A, B, Bench, C, append_config, commit, config, except, ms, mutation, prepare, send, truncate,
};
use replication::{Action, Asked, Event, Message, Refusal};
use std::time::Duration;
use types::{Ballot, Decree, Incarnation, Timestamp};

const BOUND: Duration = Duration::from_millis(300);

fn asked(ballot: u64, at: u64) -> Asked {
    Asked {
        ballot: Ballot(ballot),
        incarnation: Incarnation(1),
        at: ms(at),
    }
}

fn ask(ballot: u64, at: u64) -> Message {
    Message::AskFreshness(asked(ballot, at))
}

fn fresh(ballot: u64, at: u64, committed: u64) -> Message {
    Message::Fresh {
        asked: asked(ballot, at),
        committed: Decree(committed),
        time: Timestamp(7_000 + at),
    }
}

fn wanted(bench: &mut Bench) -> Vec<Action> {
    bench.on(Event::FreshnessWanted { bound: BOUND })
}

fn may(bench: &Bench, at: u64) -> Result<Timestamp, Refusal> {
    bench.replica.may_serve_stale(ms(at), BOUND, &bench.leases)
}

fn secondary(prepared: u64) -> Bench {
    Bench::secondary(B, &config(1, A, &[B, C]), prepared)
}

#[test]
fn a_secondary_answers_reads_from_the_asking_on_until_the_bound_has_passed() {
    let mut b = secondary(2);
    assert_eq!(may(&b, 10), Err(Refusal::NotFresh));
    assert_eq!(wanted(b.at(10)), [send(A, ask(1, 10))]);
    assert_eq!(may(&b, 11), Err(Refusal::NotFresh));
    // The answer tells of commits, too.
    assert_eq!(
        b.at(20).from(A, fresh(1, 10, 2)),
        [commit(2), Action::Refreshed]
    );
    assert_eq!(may(&b, 20), Ok(Timestamp(7_010)));
    // A clock that is 5 % slow has measured 285 ms of 300.
    assert_eq!(may(&b, 10 + 285), Ok(Timestamp(7_010)));
    assert_eq!(may(&b, 10 + 286), Err(Refusal::NotFresh));
}

#[test]
fn the_primary_is_asked_once_at_a_time_and_not_while_the_copy_is_fresh_enough() {
    let mut b = secondary(0);
    assert_eq!(wanted(b.at(10)), [send(A, ask(1, 10))]);
    assert_eq!(wanted(b.at(150)), []);
    // The answer is lost, or the primary had none.
    assert_eq!(wanted(b.at(210)), [send(A, ask(1, 210))]);
    assert_eq!(b.at(220).from(A, fresh(1, 210, 0)), [Action::Refreshed]);
    assert_eq!(wanted(b.at(309)), []);
    assert_eq!(wanted(b.at(310)), [send(A, ask(1, 310))]);
    assert_eq!(b.replica.deadline(), None, "nothing is asked by itself");
}

#[test]
fn a_copy_that_lacks_what_the_primary_had_committed_is_not_fresh() {
    let mut b = secondary(1);
    wanted(b.at(10));
    assert_eq!(
        b.at(20).from(A, fresh(1, 10, 2)),
        [commit(1), Action::Refreshed]
    );
    assert_eq!(may(&b, 21), Err(Refusal::NotFresh));
    b.at(22).from(A, prepare(1, 2, 2));
    assert_eq!(may(&b, 23), Ok(Timestamp(7_010)));
}

#[test]
fn answers_that_are_late_twice_or_of_another_life_change_nothing() {
    let mut b = secondary(0);
    wanted(b.at(10));
    b.at(220);
    wanted(&mut b);
    assert_eq!(b.from(A, fresh(1, 220, 0)), [Action::Refreshed]);
    assert_eq!(b.from(A, fresh(1, 220, 0)), []);
    assert_eq!(b.from(A, fresh(1, 10, 0)), []);
    let of_another_life = Message::Fresh {
        asked: Asked {
            incarnation: Incarnation(9),
            ..asked(1, 900)
        },
        committed: Decree(0),
        time: Timestamp(1),
    };
    assert_eq!(b.from(A, of_another_life), []);
    assert_eq!(b.from(C, fresh(1, 900, 0)), [], "C is not the primary");
    assert_eq!(may(&b, 220 + 286), Err(Refusal::NotFresh));
}

#[test]
fn a_higher_ballot_makes_a_secondary_ask_anew() {
    let mut b = secondary(0);
    wanted(b.at(10));
    b.from(A, fresh(1, 10, 0));
    let next = config(2, A, &[B]);
    assert_eq!(
        b.at(20).from(A, truncate(&next, 1, 0)),
        [except(A, 2), append_config(2, &next)]
    );
    assert_eq!(may(&b, 21), Err(Refusal::NotFresh));
    assert_eq!(wanted(b.at(21)), [send(A, ask(2, 21))]);
}

#[test]
fn who_is_no_member_any_more_neither_asks_nor_answers() {
    let mut b = secondary(0);
    wanted(b.at(10));
    b.from(A, fresh(1, 10, 0));
    b.on(Event::ConfigurationKnown(config(2, A, &[C])));
    assert!(matches!(may(&b, 11), Err(Refusal::NotPrimary { .. })));
    assert_eq!(wanted(b.at(11)), []);
}

#[test]
fn a_damaged_copy_neither_asks_nor_answers() {
    let mut b = secondary(0);
    wanted(b.at(10));
    b.from(A, fresh(1, 10, 0));
    b.on(Event::Damaged);
    assert!(matches!(may(&b, 11), Err(Refusal::NotPrimary { .. })));
    assert_eq!(wanted(b.at(400)), []);
}

#[test]
fn a_primary_answers_only_while_it_could_answer_a_read() {
    let mut a = Bench::serving(A, &[B, C]);
    let echo = Action::Echo {
        to: B,
        asked: asked(1, 77),
        committed: Decree(0),
    };
    assert_eq!(a.at(499).from(B, ask(1, 77)), [echo]);
    // The leases of time 0 are over.
    assert_eq!(a.at(500).from(B, ask(1, 77)), []);
    a.lease(B, 1);
    assert_eq!(a.from(B, ask(1, 77)), [], "one of two leases is not enough");
    a.lease(C, 1);
    assert_eq!(a.from(B, ask(1, 77)).len(), 1);
    assert_eq!(a.from(B, ask(2, 77)), [], "it knows nothing of that ballot");
    let mut b = secondary(0);
    assert_eq!(b.from(C, ask(1, 77)), [], "it is not the primary");
}

#[test]
fn a_primary_counts_only_what_is_committed_in_its_answer() {
    let mut a = Bench::serving(A, &[B]);
    let mutation = mutation(1, 1);
    a.on(Event::Submit {
        timestamp: mutation.timestamp,
        effects: mutation.effects,
    });
    let echoed = a.from(B, ask(1, 5));
    let committed = Decree(0);
    let (to, asked) = (B, asked(1, 5));
    assert_eq!(
        echoed,
        [Action::Echo {
            to,
            asked,
            committed
        }]
    );
}

#[test]
fn who_asks_under_a_lower_ballot_is_told_of_the_higher_one() {
    let mut a = Bench::serving(A, &[B]);
    let configuration = config(1, A, &[B]);
    assert_eq!(
        a.from(C, ask(0, 5)),
        [send(C, Message::Stale { configuration })]
    );
}
