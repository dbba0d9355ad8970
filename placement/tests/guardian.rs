//! Proposals and cures, action by action.

mod driver;

use driver::*;
use placement::{Action, Finding, ReplicaReport};
use types::{Ballot, Configuration, Incarnation, LearnSignature, Member};

/// Three nodes, one partition: 1 is the primary, 2 and 3 are secondaries; ballot 1.
fn three_copies() -> Driver {
    let cluster = Driver::with_table(3, 1, 3);
    let stored = cluster.cluster.routes(types::TableId(1)).unwrap();
    assert_eq!(
        stored.configurations().flatten().collect::<Vec<_>>(),
        [&configuration(1, 1, &[2, 3])]
    );
    cluster
}

#[test]
fn a_proposal_one_above_what_is_stored_is_written_and_told_to_old_and_new_members() {
    let mut cluster = three_copies();
    let takeover = configuration(2, 2, &[3]);
    assert_eq!(
        cluster.propose(2, p(0), takeover.clone()),
        [store(
            7,
            vec![write_page(0, 1, vec![Some(takeover.clone())])]
        )]
    );
    assert_eq!(
        cluster.stored(),
        [
            stored(1, p(0), takeover.clone()),
            stored(2, p(0), takeover.clone()),
            stored(3, p(0), takeover.clone()),
            routes(0, takeover),
            add_learner(2, p(0), 2, 1),
        ]
    );
}

#[test]
fn the_first_proposal_of_a_ballot_wins_and_the_others_hear_of_it() {
    let mut cluster = three_copies();
    let first = configuration(2, 2, &[3]);
    cluster.propose(2, p(0), first.clone());
    assert_eq!(
        cluster.propose(3, p(0), configuration(2, 3, &[2])),
        [],
        "answered when the first is stored"
    );
    let actions = cluster.stored();
    assert!(
        actions.contains(&stored(3, p(0), first.clone())),
        "{actions:?}"
    );
    assert_eq!(
        cluster.propose(3, p(0), configuration(2, 3, &[2])),
        [stored(3, p(0), first.clone())],
        "sent again"
    );
    assert_eq!(
        cluster.propose(3, p(0), configuration(9, 3, &[2])),
        [stored(3, p(0), first)],
        "from nowhere"
    );
}

#[test]
fn proposals_made_while_a_batch_is_written_share_the_next_one() {
    let mut cluster = Driver::with_table(3, 200, 3);
    let of = |index: u32| {
        let routes = cluster.cluster.routes(types::TableId(1)).unwrap();
        let mut configuration: Configuration = routes
            .configurations()
            .nth(index as usize)
            .unwrap()
            .unwrap()
            .clone();
        configuration.ballot = configuration.ballot.next();
        let removed = configuration.secondaries.pop();
        assert!(removed.is_some());
        configuration
    };
    let proposals: Vec<_> = (0..200).map(|index| (p(index), of(index))).collect();
    let mut batches = vec![];
    for (id, configuration) in proposals {
        for action in cluster.propose(configuration.primary.node.0, id, configuration) {
            if let Action::Store { writes, .. } = action {
                batches.push(writes.len());
            }
        }
    }
    assert_eq!(
        batches,
        [1],
        "the first goes at once, the others wait for it"
    );
    let next = cluster.stored();
    let pages = next.iter().find_map(|action| match action {
        Action::Store { writes, .. } => Some(writes.len()),
        _ => None,
    });
    assert_eq!(pages, Some(4), "200 partitions are 4 pages");
}

#[test]
fn a_proposal_that_no_correct_replica_makes_is_answered_with_what_is_stored() {
    let mut cluster = three_copies();
    cluster.joined(4, &[]);
    let first = configuration(1, 1, &[2, 3]);
    let learnt = |mut configuration: Configuration, at: usize| {
        configuration.secondaries[at].signature = LearnSignature {
            ballot: Ballot(1),
            incarnation: Incarnation(1),
            counter: 1,
        };
        configuration
    };
    let mut other_epoch = configuration(2, 1, &[2]);
    other_epoch.epoch = 1;
    for (from, proposed, why) in [
        (1, configuration(2, 1, &[2, 2]), "a node is a member twice"),
        (4, configuration(2, 4, &[1, 2]), "its node is no member"),
        (
            2,
            configuration(2, 1, &[2, 3]),
            "it makes another node the primary",
        ),
        (
            2,
            configuration(2, 2, &[3, 4]),
            "it adds members that it may not add",
        ),
        (
            1,
            configuration(2, 1, &[2, 3, 5]),
            "it adds a node that never joined",
        ),
        (
            1,
            learnt(configuration(2, 1, &[2, 3]), 0),
            "it changes the learn of a member",
        ),
        (1, other_epoch, "it changes the recovery epoch"),
    ] {
        let finding = Finding::OddProposal {
            partition: p(0),
            node: node(from),
            why,
        };
        let expected = [Action::Report(finding), stored(from, p(0), first.clone())];
        assert_eq!(cluster.propose(from, p(0), proposed), expected, "{why}");
    }
    let added = learnt(configuration(2, 1, &[2, 3, 4]), 2);
    assert!(
        matches!(cluster.propose(1, p(0), added)[..], [Action::Store { .. }]),
        "the primary may add one"
    );
}

#[test]
fn a_hand_over_that_keeps_the_old_primary_is_accepted() {
    let mut cluster = three_copies();
    assert!(matches!(
        cluster.propose(3, p(0), configuration(2, 3, &[1, 2]))[..],
        [Action::Store { .. }]
    ));
}

#[test]
fn a_node_that_holds_a_copy_is_brought_back_at_once() {
    let mut cluster = three_copies();
    cluster.lost(3);
    let without = configuration(2, 1, &[2]);
    assert_eq!(
        cluster.change(1, p(0), without.clone()),
        [
            stored(1, p(0), without.clone()),
            stored(2, p(0), without.clone()),
            routes(0, without.clone())
        ],
        "nobody else is there"
    );
    cluster.join(3, 2);
    assert_eq!(
        cluster.report_all(3, &[replica(p(0), 1)]),
        [stored(3, p(0), without), add_learner(1, p(0), 2, 3)]
    );
}

#[test]
fn a_learn_is_asked_for_again_only_after_a_while_or_of_another_primary() {
    let mut cluster = three_copies();
    assert_eq!(
        only_learners(cluster.change(1, p(0), configuration(2, 1, &[2]))),
        [add_learner(1, p(0), 2, 3)]
    );
    let learning = ReplicaReport {
        learning: true,
        ..replica(p(0), 2)
    };
    assert_eq!(cluster.report(3, learning), []);
    assert_eq!(cluster.pass(seconds(2), 1..=3), []);
    assert_eq!(
        cluster.pass(seconds(1), 1..=3),
        [add_learner(1, p(0), 2, 3)]
    );
    assert_eq!(
        only_learners(cluster.change(2, p(0), configuration(3, 2, &[]))),
        [add_learner(2, p(0), 3, 3)],
        "the new primary knows of no learn"
    );
}

#[test]
fn a_learn_without_end_gives_way_to_another_copy() {
    let mut cluster = three_copies();
    assert_eq!(
        only_learners(cluster.change(1, p(0), configuration(2, 1, &[]))),
        [add_learner(1, p(0), 2, 2)]
    );
    let hangs = ReplicaReport {
        learning: true,
        ..replica(p(0), 2)
    };
    cluster.report(2, hangs);
    // Five minutes.
    for _ in 0..99 {
        let asked = cluster.pass(seconds(3), 1..=3);
        assert_eq!(asked, [add_learner(1, p(0), 2, 2)]);
    }
    let asked = cluster.pass(seconds(3), 1..=3);
    assert_eq!(asked, [add_learner(1, p(0), 2, 3)]);
    for _ in 0..99 {
        let asked = cluster.pass(seconds(3), 1..=3);
        assert_eq!(asked, [add_learner(1, p(0), 2, 3)], "it has as long");
    }
    let asked = cluster.pass(seconds(3), 1..=3);
    assert_eq!(asked, [add_learner(1, p(0), 2, 2)], "then it is in turn");
}

fn only_learners(actions: Vec<Action>) -> Vec<Action> {
    use placement::ToNode;
    let learner = |action: &Action| {
        matches!(
            action,
            Action::ToNode {
                message: ToNode::AddLearner { .. },
                ..
            }
        )
    };
    actions.into_iter().filter(learner).collect()
}

#[test]
fn a_learn_that_succeeded_is_asked_for_no_more() {
    let mut cluster = three_copies();
    cluster.change(1, p(0), configuration(2, 1, &[2]));
    let mut whole = configuration(3, 1, &[2, 3]);
    whole.secondaries[1] = Member {
        node: node(3),
        signature: LearnSignature {
            ballot: Ballot(2),
            incarnation: Incarnation(1),
            counter: 1,
        },
    };
    assert_eq!(
        cluster.change(1, p(0), whole.clone()),
        [
            stored(1, p(0), whole.clone()),
            stored(2, p(0), whole.clone()),
            stored(3, p(0), whole.clone()),
            routes(0, whole)
        ]
    );
    assert_eq!(cluster.pass(seconds(60), 1..=3), []);
}

#[test]
fn another_node_gets_a_copy_only_after_the_repair_delay() {
    let mut cluster = three_copies();
    cluster.joined(4, &[]);
    cluster.lost(3);
    assert_eq!(
        only_learners(cluster.change(1, p(0), configuration(2, 1, &[2]))),
        []
    );
    for _ in 0..74 {
        assert_eq!(cluster.pass(seconds(4), 1..=4), []);
    }
    assert_eq!(
        cluster.pass(seconds(4), 1..=4),
        [add_learner(1, p(0), 2, 4)]
    );
}

#[test]
fn no_learner_is_asked_for_while_the_primary_is_away() {
    let mut cluster = three_copies();
    cluster.change(1, p(0), configuration(2, 1, &[]));
    cluster.lost(1);
    assert_eq!(cluster.pass(seconds(4), 2..=3), []);
    cluster.join(1, 2);
    assert_eq!(
        cluster.report_all(1, &[replica(p(0), 2)]),
        [add_learner(1, p(0), 2, 2)]
    );
}

#[test]
fn a_copy_that_enough_members_do_without_is_deleted_under_the_stored_ballot() {
    let mut cluster = Driver::with_table(3, 1, 1);
    let owner = cluster
        .cluster
        .nodes()
        .iter()
        .position(|node| node.primaries == 1);
    assert_eq!(owner, Some(0));
    assert_eq!(cluster.report(2, replica(p(0), 1)), [delete(2, p(0), 1)]);
    assert_eq!(cluster.report(2, replica(p(0), 1)), [], "asked already");
    assert_eq!(cluster.pass(seconds(3), 1..=3), [delete(2, p(0), 1)]);
    let deleted = placement::Event::Deleted {
        node: node(2),
        partition: p(0),
    };
    assert_eq!(cluster.step(deleted), []);
    assert_eq!(cluster.pass(seconds(3), 1..=3), []);
}

#[test]
fn a_member_that_reports_no_replica_is_told_that_it_should_have_one() {
    let mut cluster = three_copies();
    cluster.lost(3);
    cluster.join(3, 2);
    assert_eq!(
        cluster.report_all(3, &[]),
        [stored(3, p(0), configuration(1, 1, &[2, 3]))]
    );
}

#[test]
fn a_silent_node_is_disconnected_and_nothing_else_happens() {
    let mut cluster = three_copies();
    for _ in 0..5 {
        assert_eq!(cluster.pass(seconds(1), 1..=2), []);
    }
    cluster.beat(1);
    cluster.beat(2);
    cluster.after(seconds(1));
    let finding = Finding::Silent(node(3));
    let disconnect = Action::Disconnect {
        node: node(3),
        reason: finding.clone(),
    };
    assert_eq!(cluster.tick(), [Action::Report(finding), disconnect]);
}

#[test]
fn a_leader_that_was_held_up_itself_takes_nobody_for_silent() {
    let mut cluster = three_copies();
    cluster.after(seconds(60));
    assert_eq!(cluster.tick(), [], "what they said waits to be heard");
    for _ in 0..4 {
        assert_eq!(cluster.pass(seconds(1), 1..=2), []);
    }
    let silent = |action: &Action| *action == Action::Report(Finding::Silent(node(3)));
    let told: Vec<Action> = (0..3)
        .flat_map(|_| cluster.pass(seconds(1), 1..=2))
        .collect();
    assert!(
        told.iter().any(silent),
        "who then says nothing is: {told:?}"
    );
}

#[test]
fn copies_that_differ_without_a_majority_are_reported_and_left_alone() {
    let mut cluster = three_copies();
    let diverged = ReplicaReport {
        diverged: true,
        ..replica(p(0), 1)
    };
    let finding = Finding::Diverged {
        partition: p(0),
        primary: node(1),
    };
    assert_eq!(cluster.report(1, diverged), [Action::Report(finding)]);
}
