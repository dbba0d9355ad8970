//! Partitions whose copies differ without a majority for one: nothing is decided about them before an operator has chosen.

mod driver;

use driver::*;
use placement::{
    Action, Ailment, Answered, Condition, Cure, Duty, Finding, Refusal, Request, Settings,
    TableChanges, ToNode, Token,
};
use std::time::Duration;

/// One partition on nodes 1, its primary, and 2, and a node 3 without a copy. The balancer waits for nothing.
fn two_copies() -> Driver {
    let mut cluster = Driver::with(Settings {
        balance_after: Duration::ZERO,
        ..Settings::default()
    });
    for n in 1..=2 {
        cluster.joined(n, &[]);
    }
    cluster.create(1, specification("t", 1, 2));
    let opens = cluster.stored();
    cluster.open_all(&opens);
    cluster.stored();
    assert!(report_both(&mut cluster, 1, false).is_empty());
    cluster.joined(3, &[]);
    cluster
}

fn report_both(cluster: &mut Driver, ballot: u64, diverged: bool) -> Vec<Action> {
    let mut primary = replica(p(0), ballot);
    primary.diverged = diverged;
    let mut actions = cluster.report(1, primary);
    actions.append(&mut cluster.report(2, replica(p(0), ballot)));
    actions
}

fn drain(cluster: &mut Driver, n: u64) {
    let (node, duty) = (node(n), Duty::Drained);
    cluster.ask(2, Request::SetDuty { node, duty });
    cluster.stored();
}

fn remove(primary: u64, ballot: u64, n: u64) -> Action {
    let message = ToNode::RemoveSecondary {
        partition: p(0),
        ballot: types::Ballot(ballot),
        node: node(n),
    };
    to(primary, message)
}

#[test]
fn a_drain_passes_over_them_and_health_says_why_and_goes_on_when_they_agree_again() {
    let mut cluster = two_copies();
    let finding = Finding::Diverged {
        partition: p(0),
        primary: node(1),
    };
    assert_eq!(
        report_both(&mut cluster, 1, true),
        [Action::Report(finding)]
    );
    drain(&mut cluster, 2);
    assert_eq!(cluster.pass(seconds(4), 1..=3), []);
    assert_eq!(cluster.cluster.plan(10), []);
    let health = cluster.cluster.health(cluster.now, None, 10);
    let ailment = Ailment {
        partition: p(0),
        condition: Condition::Diverged,
        members: (2, 2),
        cure: Cure::Choice(Some(node(2))),
    };
    assert_eq!(health.ailments, [ailment]);
    report_both(&mut cluster, 1, false);
    assert_eq!(
        cluster.pass(seconds(60), 1..=3),
        [add_learner(1, p(0), 1, 3)]
    );
}

#[test]
fn a_move_that_has_arrived_waits_with_its_end_and_one_that_has_not_is_given_up() {
    let mut cluster = two_copies();
    drain(&mut cluster, 2);
    assert_eq!(
        cluster.pass(seconds(1), 1..=3),
        [add_learner(1, p(0), 1, 3)]
    );
    report_both(&mut cluster, 1, true);
    assert_eq!(cluster.cluster.balance_status(cluster.now).moves, []);
    assert_eq!(cluster.pass(seconds(4), 1..=3), []);

    let mut cluster = two_copies();
    drain(&mut cluster, 2);
    cluster.pass(seconds(1), 1..=3);
    cluster.propose(1, p(0), configuration(2, 1, &[2, 3]));
    report_both(&mut cluster, 1, true);
    let told = cluster.stored();
    assert!(!told.contains(&remove(1, 2, 2)), "{told:?}");
    assert_eq!(cluster.pass(seconds(4), 1..=3), []);
    assert_eq!(cluster.cluster.balance_status(cluster.now).moves.len(), 1);
    assert_eq!(report_both(&mut cluster, 2, false), [remove(1, 2, 2)]);
}

#[test]
fn fewer_replicas_wait_for_the_choice() {
    let mut cluster = two_copies();
    report_both(&mut cluster, 1, true);
    let changes = TableChanges {
        replicas: Some(1),
        ..TableChanges::default()
    };
    let name = "t".into();
    cluster.ask(2, Request::AlterTable { name, changes });
    let told = cluster.stored();
    assert!(!told.contains(&remove(1, 1, 2)), "{told:?}");
    assert_eq!(cluster.pass(seconds(4), 1..=3), []);
    assert_eq!(report_both(&mut cluster, 1, false), [remove(1, 1, 2)]);
}

#[test]
fn an_operator_moves_neither_a_copy_nor_the_lead() {
    let mut cluster = two_copies();
    report_both(&mut cluster, 1, true);
    let (table, index) = (|| "t".to_owned(), 0);
    let copy = Request::Move {
        table: table(),
        index,
        from: node(2),
        to: node(3),
    };
    let lead = Request::Lead {
        table: table(),
        index,
        to: node(2),
    };
    for request in [copy, lead] {
        let why = "the copies of partition 1.0 differ and no majority of them agrees: decide first which one goes";
        let refused = Action::Answer {
            token: Token(5),
            answer: Err(Refusal::Unfit(why.into())),
        };
        assert_eq!(cluster.ask(5, request.clone()), [refused]);
        report_both(&mut cluster, 1, false);
        let done = Action::Answer {
            token: Token(5),
            answer: Ok(Answered::Done),
        };
        assert_eq!(cluster.ask(5, request).pop(), Some(done));
        report_both(&mut cluster, 1, true);
    }
}
