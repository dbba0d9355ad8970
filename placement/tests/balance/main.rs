//! The balancer on simulated nodes that do what they are asked: it ends even, and no partition ever has fewer members than its table wants.

mod disks;
#[path = "../driver/mod.rs"]
mod driver;
mod large;
mod obedient;

use driver::*;
use obedient::Obedient;
use placement::{
    Action, Balancing, Duty, Reason, Refusal, ReplicaReport, Request, Settings, Shift, ToNode,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use types::NodeId;

/// Moves without waiting for quiet.
fn eager() -> Settings {
    Settings {
        balance_after: Duration::ZERO,
        ..Settings::default()
    }
}

fn pause(cluster: &mut Obedient, balancing: Balancing) {
    cluster.ask(Request::SetBalancing(balancing));
}

fn set_duty(cluster: &mut Obedient, n: u64, duty: Duty) -> Option<Refusal> {
    let node = node(n);
    cluster.ask(Request::SetDuty { node, duty })
}

#[test]
fn from_all_on_ten_nodes_to_even_on_forty() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=10, |_| String::new());
    cluster.create("a", 200, 3);
    cluster.create("b", 50, 2);
    assert_eq!(cluster.spread("a").replicas, 0);
    cluster.join_all(11..=40, |_| String::new());
    let ticks = cluster.run_until_still();
    for table in ["a", "b"] {
        let spread = cluster.spread(table);
        assert!(
            spread.replicas <= 1 && spread.leads <= 1,
            "{table}: {spread:?} after {ticks} ticks"
        );
    }
    assert!(
        cluster.total_spread().replicas <= 1,
        "{:?}",
        cluster.total_spread()
    );
    println!(
        "{} changes of configuration in {ticks} ticks",
        cluster.changes
    );
}

#[test]
fn whatever_the_cluster_looks_like_it_ends_even_and_no_zone_is_crowded() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut cluster = Obedient::new(eager());
        let zones = rng.random_range(1..=4u64);
        let zone = |n: u64| match zones {
            1 => String::new(),
            zones => format!("zone-{}", n % zones),
        };
        let first = rng.random_range(3..=8);
        cluster.join_all(1..=first, zone);
        let tables = rng.random_range(1..=3);
        for table in 0..tables {
            let (partitions, replicas) = (rng.random_range(1..=60), rng.random_range(1..=3));
            cluster.create(&format!("t{table}"), partitions, replicas);
        }
        let last = first + rng.random_range(0..=8);
        cluster.join_all(first + 1..=last, zone);
        let drained = (rng.random_range(0..2u32) == 0).then(|| rng.random_range(1..=last));
        let drained = drained.filter(|&n| set_duty(&mut cluster, n, Duty::Drained).is_none());
        cluster.run_until_still();
        for table in 0..tables {
            let spread = cluster.spread(&format!("t{table}"));
            // Zones come first: a small one may have to hold more.
            if zones == 1 {
                assert!(spread.replicas <= 1, "t{table}: {spread:?}");
            }
            assert!(spread.leads <= 2, "t{table}: {spread:?}");
        }
        assert_eq!(cluster.crowded(), 0, "of {zones} zones");
        if let Some(n) = drained {
            assert_eq!(cluster.replicas_on(n), 0, "node {n} is drained");
        }
    }
}

#[test]
fn a_paused_balancer_moves_nothing_and_goes_on_when_it_is_told_to() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=3, |_| String::new());
    cluster.create("t", 12, 3);
    pause(&mut cluster, Balancing::Paused);
    cluster.join_all(4..=6, |_| String::new());
    let before = cluster.changes;
    cluster.run_until_still();
    assert_eq!(cluster.changes, before);
    let plan = cluster.driver.cluster.plan(100);
    assert!(!plan.is_empty(), "what it would do is told all the same");
    assert!(plan.iter().any(|step| step.reason == Reason::Replicas));
    pause(&mut cluster, Balancing::Running);
    cluster.run_until_still();
    assert!(cluster.spread("t").replicas <= 1);
    assert_eq!(cluster.driver.cluster.plan(100), []);
}

#[test]
fn pausing_and_draining_outlive_the_leader() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=3, |_| String::new());
    cluster.create("t", 4, 2);
    pause(&mut cluster, Balancing::Paused);
    assert_eq!(set_duty(&mut cluster, 2, Duty::Drained), None);
    let restored = cluster.restored();
    assert_eq!(
        restored.balance_status(cluster.driver.now).balancing,
        Balancing::Paused
    );
    let duties: Vec<Duty> = restored.nodes().iter().map(|node| node.duty).collect();
    assert_eq!(duties, [Duty::Serves, Duty::Drained, Duty::Serves]);
}

#[test]
fn a_drained_node_ends_with_nothing_though_the_balancer_is_paused() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=4, |_| String::new());
    cluster.create("t", 20, 3);
    pause(&mut cluster, Balancing::Paused);
    assert_eq!(set_duty(&mut cluster, 1, Duty::Drained), None);
    cluster.run_until_still();
    assert_eq!(cluster.replicas_on(1), 0);
    cluster.create("u", 5, 3);
    assert_eq!(cluster.replicas_on(1), 0, "new tables pass it over");
    assert_eq!(set_duty(&mut cluster, 1, Duty::Serves), None);
    pause(&mut cluster, Balancing::Running);
    cluster.run_until_still();
    assert!(cluster.replicas_on(1) > 0);
}

/// For so many seconds nodes 1 to 4 live, and `learner` says that it learns. Whom the primary was asked to bring in, and how often.
fn learners_asked_for(cluster: &mut Driver, span: u64, learner: u64) -> BTreeMap<NodeId, usize> {
    let mut asked = BTreeMap::new();
    for _ in 0..span {
        let learning = ReplicaReport {
            learning: true,
            ready: false,
            ..replica(p(0), 1)
        };
        let mut actions = cluster.report(learner, learning);
        actions.append(&mut cluster.pass(seconds(1), 1..=4));
        for action in actions {
            if let Action::ToNode {
                message: ToNode::AddLearner { node, .. },
                ..
            } = action
            {
                *asked.entry(node).or_default() += 1;
            }
        }
    }
    asked
}

#[test]
fn a_copy_that_never_arrives_is_given_up_and_another_node_gets_it() {
    for (bytes, patience) in [(0, 300), (1 << 30, 300 + 256)] {
        let mut cluster = Driver::with_table(2, 1, 2);
        let large = ReplicaReport {
            bytes,
            ..replica(p(0), 1)
        };
        cluster.report(1, large);
        cluster.joined(3, &[]);
        cluster.joined(4, &[]);
        let drained = Request::SetDuty {
            node: node(2),
            duty: Duty::Drained,
        };
        cluster.ask(2, drained);
        cluster.stored();
        let asked = learners_asked_for(&mut cluster, patience, 3);
        assert_eq!(asked.keys().copied().collect::<Vec<_>>(), [node(3)]);
        let asked = learners_asked_for(&mut cluster, patience, 4);
        assert_eq!(asked.keys().copied().collect::<Vec<_>>(), [node(4)]);
        let asked = learners_asked_for(&mut cluster, 600 - patience, 4);
        assert_eq!(asked, BTreeMap::new(), "both were tried in vain");
        let asked = learners_asked_for(&mut cluster, 60, 3);
        assert_eq!(asked.keys().copied().collect::<Vec<_>>(), [node(3)]);
    }
}

#[test]
fn zones_that_have_to_be_crowded_are_left_alone_until_there_is_another() {
    let mut cluster = Obedient::new(eager());
    let zone = |n: u64| format!("zone-{}", n % 2);
    cluster.join_all(1..=4, zone);
    cluster.create("t", 8, 3);
    cluster.run_until_still();
    assert_eq!(cluster.driver.cluster.plan(10), []);
    cluster.join_all(5..=5, |_| "zone-2".into());
    let plan = cluster.driver.cluster.plan(8);
    let reasons: Vec<Reason> = plan.iter().map(|step| step.reason).collect();
    assert_eq!(reasons, [Reason::Zones; 8]);
}

#[test]
fn a_node_that_has_not_reported_yet_is_no_drained_one() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=4, |_| String::new());
    cluster.create("t", 8, 2);
    let cluster = &mut cluster.driver;
    cluster.join(2, 2);
    assert_eq!(cluster.cluster.plan(10), [], "what it has stays on it");
    let (node, duty) = (node(1), Duty::Drained);
    cluster.ask(2, Request::SetDuty { node, duty });
    cluster.stored();
    let plan = cluster.cluster.plan(100);
    assert_eq!(plan.len(), 4, "what node 1 has goes: {plan:?}");
    for step in plan {
        let Shift::Replica { from, to } = step.shift else {
            panic!("{step:?}")
        };
        assert_eq!((from, step.reason), (node, Reason::Drain));
        assert_ne!(to, NodeId(2), "it may have more than is known yet");
    }
}

#[test]
fn a_node_that_the_others_can_not_do_without_is_not_drained() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=3, |_| String::new());
    cluster.create("t", 1, 3);
    let refusal =
        set_duty(&mut cluster, 1, Duty::Drained).expect("three replicas need three nodes");
    assert!(refusal.to_string().contains("only 2 nodes"), "{refusal}");
    assert_eq!(
        set_duty(&mut cluster, 9, Duty::Drained),
        Some(Refusal::NoSuchNode(node(9)))
    );
}

#[test]
fn a_drain_does_not_wait_for_dropped_tables_but_the_last_copy_of_one_is_not_forgotten() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=4, |_| String::new());
    cluster.create("kept", 8, 2);
    cluster.create("dropped", 8, 2);
    let name = || "dropped".to_owned();
    let wall = wall(0);
    assert_eq!(cluster.ask(Request::DropTable { name: name(), wall }), None);
    for n in [1, 2] {
        assert_eq!(set_duty(&mut cluster, n, Duty::Drained), None);
    }
    cluster.run_until_still();
    let forget = |cluster: &mut Obedient, n| cluster.ask(Request::ForgetNode(node(n)));
    let mut refused = 0;
    for n in [1, 2] {
        assert_eq!(cluster.replicas_on(n), 0, "nothing in service is left");
        cluster.leave(n);
        if let Some(refusal) = forget(&mut cluster, n) {
            let words = refusal.to_string();
            assert!(words.contains("of the dropped table 'dropped'"), "{words}");
            refused += 1;
        }
    }
    assert_eq!(
        refused, 1,
        "one of them is the last that has some partition"
    );
    assert_eq!(cluster.ask(Request::RecallTable { name: name() }), None);
    let words = forget(&mut cluster, 2).expect("it is in service again");
    assert!(words.to_string().contains("drain it first"), "{words}");
}

#[test]
fn an_arrived_copy_whose_forerunner_stays_holds_up_no_other_move() {
    let mut cluster = Driver::with_table(3, 1, 2);
    let request = |from, to| Request::Move {
        table: "t".into(),
        index: 0,
        from: node(from),
        to: node(to),
    };
    cluster.ask(1, request(2, 3));
    cluster.change(1, p(0), configuration(2, 1, &[2, 3]));
    for n in 1..=3 {
        cluster.report(n, replica(p(0), 2));
    }
    let mut told = Vec::new();
    for second in 0..310 {
        let under_way = cluster.cluster.balance_status(cluster.now).moves.len();
        assert_eq!(under_way, usize::from(second < 300), "after {second} s");
        told = cluster.pass(seconds(1), 1..=3);
    }
    for _ in 0..5 {
        told.append(&mut cluster.pass(seconds(1), 1..=3));
    }
    let goes = |action: &Action| {
        matches!(
            action,
            Action::ToNode {
                message: ToNode::RemoveSecondary { .. },
                ..
            }
        )
    };
    assert!(told.iter().any(goes), "one of three goes all the same");
}

#[test]
fn a_node_is_forgotten_for_good_once_it_is_gone_and_has_nothing() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=4, |_| String::new());
    cluster.create("t", 8, 3);
    let forget = |cluster: &mut Obedient, n| cluster.ask(Request::ForgetNode(node(n)));
    let words = |refusal: Option<Refusal>| refusal.expect("it is refused").to_string();
    assert_eq!(set_duty(&mut cluster, 1, Duty::Drained), None);
    cluster.run_until_still();
    assert!(words(forget(&mut cluster, 1)).contains("is connected"));
    cluster.leave(1);
    assert_eq!(forget(&mut cluster, 1), None);
    assert_eq!(forget(&mut cluster, 1), Some(Refusal::NoSuchNode(node(1))));
    assert_eq!(cluster.restored().nodes().len(), 3, "nor is it stored");
    cluster.join_all(1..=1, |_| String::new());
    cluster.run_until_still();
    assert_eq!(
        cluster.replicas_on(1),
        6,
        "it has its share as any new node"
    );
    cluster.leave(2);
    assert!(words(forget(&mut cluster, 2)).contains("is a member of 6 partitions"));
}

#[test]
fn nothing_is_moved_for_balance_until_the_cluster_has_been_quiet_for_a_while() {
    let mut cluster = Obedient::new(Settings::default());
    cluster.join_all(1..=2, |_| String::new());
    cluster.create("t", 8, 2);
    cluster.join_all(3..=4, |_| String::new());
    let before = cluster.changes;
    cluster.pass(59);
    assert_eq!(cluster.changes, before);
    cluster.run_until_still();
    assert!(cluster.spread("t").replicas <= 1);
}

#[test]
fn a_replica_is_moved_by_hand_and_a_lead_too() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=4, |_| String::new());
    cluster.create("t", 1, 3);
    pause(&mut cluster, Balancing::Paused);
    let before = cluster.configuration("t", 0);
    let (from, to) = (before.primary.node, NodeId(4));
    assert!(!before.contains(to));
    let table = || "t".to_owned();
    let refusal = cluster.ask(Request::Move {
        table: table(),
        index: 0,
        from,
        to,
    });
    assert_eq!(refusal, None);
    cluster.run_until_still();
    let after = cluster.configuration("t", 0);
    assert!(after.contains(to) && !after.contains(from) && after.len() == 3);
    let successor = after.secondaries[0].node;
    let lead = Request::Lead {
        table: table(),
        index: 0,
        to: successor,
    };
    assert_eq!(cluster.ask(lead), None);
    cluster.run_until_still();
    assert_eq!(cluster.configuration("t", 0).primary.node, successor);
    for (from, to, why) in [
        (from, to, "has no part"),
        (successor, to, "has a part in partition 1.0 already"),
        (successor, NodeId(9), "there is no node"),
    ] {
        let refusal = cluster
            .ask(Request::Move {
                table: table(),
                index: 0,
                from,
                to,
            })
            .expect("this is refused");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
}

#[test]
fn fewer_replicas_are_reached_one_by_one_and_the_primary_stays_if_it_can() {
    let mut cluster = Obedient::new(eager());
    cluster.join_all(1..=5, |_| String::new());
    cluster.create("t", 10, 5);
    cluster.wants("t", 2);
    let changes = placement::TableChanges {
        replicas: Some(2),
        ..placement::TableChanges::default()
    };
    let name = "t".to_owned();
    assert_eq!(cluster.ask(Request::AlterTable { name, changes }), None);
    cluster.run_until_still();
    for index in 0..10 {
        assert_eq!(cluster.configuration("t", index).len(), 2);
    }
    assert!(cluster.spread("t").replicas <= 1);
}
