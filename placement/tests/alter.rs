//! Tables in service that become something else.

mod driver;

use driver::*;
use placement::{
    Action, Answered, Document, Key, Refusal, Request, Table, TableChanges, ToNode, Write,
};
use std::collections::BTreeSet;
use std::time::Duration;
use types::{Access, Configuration, TableId};

fn alter(cluster: &mut Driver, changes: TableChanges) -> Vec<Action> {
    let name = "t".into();
    cluster.ask(9, Request::AlterTable { name, changes })
}

fn rename(cluster: &mut Driver, name: &str, to: &str) -> Vec<Action> {
    let (name, to) = (name.into(), to.into());
    cluster.ask(9, Request::RenameTable { name, to })
}

fn written(actions: &[Action]) -> Vec<&Write> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Store { writes, .. } => Some(writes),
            _ => None,
        })
        .flatten()
        .collect()
}

fn changed(edit: impl FnOnce(&mut Table)) -> Table {
    let mut table = table(1, "t", 1, 2);
    edit(&mut table);
    table.version = 2;
    table
}

#[test]
fn what_is_not_named_stays_and_nobody_hears_of_a_change_before_it_is_stored() {
    let mut cluster = Driver::with_table(3, 1, 2);
    let becomes = changed(|table| {
        table.rules.access = Access::ReadOnly;
        table.rules.throttle.write_operations = 100;
        table.rules.default_ttl = Some(Duration::from_mins(1));
    });
    let changes = TableChanges {
        access: Some(Access::ReadOnly),
        write_operations: Some(100),
        default_ttl: Some(Duration::from_mins(1)),
        ..TableChanges::default()
    };
    let actions = alter(&mut cluster, changes);
    assert_eq!(
        written(&actions),
        [&write(
            Key::Table(TableId(1)),
            1,
            Document::Table(becomes.clone())
        )]
    );
    assert_eq!(actions.len(), 1);
    let told: Vec<Action> = (1..=3)
        .map(|n| tables_told(n, vec![becomes.clone()]))
        .collect();
    let mut expected = told;
    expected.push(answer(9, Ok(becomes)));
    assert_eq!(cluster.stored(), expected);
    let changes = TableChanges {
        default_ttl: Some(Duration::ZERO),
        ..TableChanges::default()
    };
    alter(&mut cluster, changes);
    cluster.stored();
    let rules = cluster.cluster.table("t").unwrap().rules;
    assert_eq!(rules.default_ttl, None, "a TTL of zero is none");
    assert_eq!(rules.access, Access::ReadOnly);
}

#[test]
fn what_a_table_can_not_become_is_refused_and_changes_nothing() {
    let mut cluster = Driver::with_table(3, 1, 2);
    let refused = |cluster: &mut Driver, changes| match &alter(cluster, changes)[..] {
        [
            Action::Answer {
                answer: Err(refusal),
                ..
            },
        ] => refusal.to_string(),
        other => panic!("this is refused: {other:?}"),
    };
    let replicas = |replicas| TableChanges {
        replicas: Some(replicas),
        ..TableChanges::default()
    };
    let min_replicas = TableChanges {
        min_replicas: Some(3),
        ..TableChanges::default()
    };
    let ttl = TableChanges {
        default_ttl: Some(Duration::from_micros(1)),
        ..TableChanges::default()
    };
    for (changes, why) in [
        (replicas(0), "1 to 15 replicas"),
        (replicas(16), "1 to 15 replicas"),
        (replicas(4), "4 replicas need as many nodes; 3 are alive"),
        (min_replicas, "3 members of 2 replicas"),
        (ttl, "a default TTL is between"),
    ] {
        let text = refused(&mut cluster, changes);
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(cluster.cluster.table("t").unwrap().version, 1);
}

#[test]
fn a_renamed_table_is_the_same_table_and_its_old_name_is_free() {
    let mut cluster = Driver::with_table(1, 1, 1);
    rename(&mut cluster, "t", "u");
    cluster.stored();
    assert_eq!(cluster.cluster.table("t"), None);
    let renamed = cluster.cluster.table("u").unwrap();
    assert_eq!((renamed.id, renamed.version), (TableId(1), 2));
    cluster.create(2, specification("t", 1, 1));
    cluster.stored();
    assert_eq!(cluster.cluster.table("t").unwrap().id, TableId(2));
    for (name, to, refusal) in [
        ("u", "t", Refusal::Exists("t".into())),
        ("nosuch", "v", Refusal::NoSuchTable("nosuch".into())),
    ] {
        assert_eq!(rename(&mut cluster, name, to), [answer(9, Err(refusal))]);
    }
    assert!(matches!(
        &rename(&mut cluster, "u", "a b")[..],
        [Action::Answer {
            answer: Err(Refusal::Invalid(_)),
            ..
        }]
    ));
}

#[test]
fn a_name_is_taken_from_the_moment_a_table_is_renamed_to_it() {
    let mut cluster = Driver::with_table(1, 1, 1);
    cluster.create(2, specification("x", 1, 1));
    cluster.stored();
    cluster.drop_at(3, "x", 0);
    cluster.stored();
    cluster.create(4, specification("u", 1, 1));
    cluster.stored();
    rename(&mut cluster, "t", "x");
    let taken = [answer(9, Err(Refusal::Exists("x".into())))];
    assert_eq!(cluster.create(9, specification("x", 1, 1)), taken);
    assert_eq!(cluster.recall(9, "x"), taken);
    assert_eq!(rename(&mut cluster, "u", "x"), taken);
    let busy = [answer(9, Err(Refusal::Busy("x".into())))];
    assert_eq!(cluster.drop_at(9, "x", 0), busy, "it has not got it yet");
    cluster.stored();
    assert_eq!(cluster.cluster.table("x").unwrap().id, TableId(1));
}

#[test]
fn a_change_of_a_table_that_is_being_changed_is_refused_until_the_first_is_stored() {
    let mut cluster = Driver::with_table(1, 1, 1);
    rename(&mut cluster, "t", "u");
    let busy = [answer(9, Err(Refusal::Busy("t".into())))];
    assert_eq!(alter(&mut cluster, TableChanges::default()), busy);
    cluster.stored();
    assert_eq!(rename(&mut cluster, "u", "t").len(), 1);
    assert!(cluster.stored().iter().any(|action| matches!(
        action,
        Action::Answer { answer: Ok(Answered::Table(table)), .. } if table.name == "t"
    )));
}

/// Members that nodes are asked to go on without, or whose lead is to be handed over first.
fn shed(actions: &[Action]) -> BTreeSet<u32> {
    let asked = |action: &Action| match action {
        Action::ToNode {
            message: ToNode::RemoveSecondary { partition, .. } | ToNode::HandOver { partition, .. },
            ..
        } => Some(partition.index),
        _ => None,
    };
    let all: Vec<u32> = actions.iter().filter_map(asked).collect();
    let different: BTreeSet<u32> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "each once");
    different
}

#[test]
fn copies_too_many_go_a_few_partitions_at_a_time_and_all_have_their_turn() {
    let mut cluster = Driver::with_table(3, 1000, 3);
    let changes = TableChanges {
        replicas: Some(2),
        ..TableChanges::default()
    };
    alter(&mut cluster, changes);
    assert_eq!(shed(&cluster.stored()), BTreeSet::new());
    // None of them answers, and nobody waits behind them; the first are asked again with the last.
    let mut asked = BTreeSet::new();
    for _ in 0..4 {
        let next = shed(&cluster.pass(seconds(1), 1..=3));
        assert_eq!(next.len(), 256);
        asked.extend(next);
    }
    assert_eq!(asked.len(), 1000);
    // What is stored meanwhile does not bring on more of them in the same tick.
    cluster.pass(seconds(4), 1..=3);
    let routes = cluster.cluster.routes(TableId(1)).unwrap();
    let next = |stored: &Configuration| Configuration {
        ballot: stored.ballot.next(),
        ..stored.clone()
    };
    let same: Vec<(u32, Configuration)> = (0..)
        .zip(routes.configurations().flatten().map(next))
        .collect();
    for (index, same) in same {
        cluster.propose(same.primary.node.0, p(index), same);
    }
    assert_eq!(shed(&cluster.stored()), BTreeSet::new());
}

#[test]
fn more_copies_do_not_stop_writes_until_they_are_made() {
    let raise = |replicas, min_replicas| TableChanges {
        replicas: Some(replicas),
        min_replicas,
        ..TableChanges::default()
    };
    let why = |needed: u32, copies: u32| {
        format!(
            "writes to table 't' would need {needed} copies, and until new ones are made it has {copies}: raise its replicas with \
             --min-replicas {copies} or less, and when the copies are there set --min-replicas 0"
        )
    };
    for (before, changes, refused) in [
        (1, raise(2, None), Some(why(2, 1))),
        (1, raise(3, Some(0)), Some(why(2, 1))),
        (1, raise(3, Some(2)), Some(why(2, 1))),
        (1, raise(3, Some(1)), None),
        (2, raise(4, None), Some(why(3, 2))),
        (2, raise(4, Some(2)), None),
        (2, raise(3, None), None),
        (3, raise(5, None), None),
    ] {
        let mut cluster = Driver::with_table(5, 1, before);
        let actions = alter(&mut cluster, changes.clone());
        if let Some(why) = refused {
            assert_eq!(actions, [answer(9, Err(Refusal::Invalid(why)))]);
        } else {
            assert_eq!(written(&actions).len(), 1, "{before} and {changes:?}");
            cluster.stored();
            let wants = cluster.cluster.table("t").unwrap().replicas;
            assert_eq!(Some(wants), changes.replicas);
        }
    }
}

#[test]
fn more_copies_are_made_at_once() {
    let mut cluster = Driver::with_table(3, 1, 2);
    let changes = TableChanges {
        replicas: Some(3),
        ..TableChanges::default()
    };
    alter(&mut cluster, changes);
    let actions = cluster.stored();
    assert!(
        actions.contains(&add_learner(1, p(0), 1, 3)),
        "nobody comes back with a third copy: {actions:?}"
    );
}
