//! Tables from creation to the end of their retention, action by action.

mod driver;

use driver::*;
use placement::{
    Action, Balancing, Cluster, Document, Duty, Entry, Finding, Key, NodeAddress, Refusal,
    Settings, Table, ToNode, Write,
};
use types::{Ballot, Incarnation, NodeId, PartitionId, TableId};

#[test]
fn a_joining_node_is_welcomed_told_everything_and_remembered() {
    let mut cluster = Driver::new();
    let everything = ToNode::Cluster {
        complete: true,
        nodes: vec![address(1)],
        tables: vec![],
        gone: vec![],
    };
    let document = |incarnation| Document::Node {
        address: address(1),
        incarnation: Incarnation(incarnation),
        duty: Duty::Serves,
    };
    assert_eq!(
        cluster.join(1, 4),
        [
            Action::NodeMoved(address(1)),
            to(
                1,
                ToNode::Welcome {
                    epoch: EPOCH,
                    tell: true
                }
            ),
            to(1, everything.clone()),
            store(2, vec![write(Key::Node(node(1)), 0, document(4))]),
        ]
    );
    assert_eq!(cluster.stored(), []);
    assert_eq!(
        cluster.join(1, 5),
        [
            to(
                1,
                ToNode::Welcome {
                    epoch: EPOCH,
                    tell: true
                }
            ),
            to(1, everything),
            store(3, vec![write(Key::Node(node(1)), 1, document(5))]),
        ],
        "a later start at the same address"
    );
}

#[test]
fn an_earlier_start_of_a_node_may_not_join() {
    let mut cluster = Driver::new();
    cluster.join(1, 5);
    let finding = Finding::StaleIncarnation {
        node: node(1),
        joined: Incarnation(4),
        known: Incarnation(5),
    };
    assert_eq!(
        cluster.cluster.admits(node(1), Incarnation(4)),
        Err(finding.clone())
    );
    assert_eq!(cluster.join(1, 4), [Action::Report(finding)]);
    assert_eq!(cluster.cluster.admits(node(1), Incarnation(5)), Ok(()));
}

#[test]
fn a_table_is_stored_then_opened_everywhere_then_configured_then_answered() {
    let mut cluster = Driver::with_nodes(2);
    let t = table(1, "t", 1, 2);
    let root = Document::Root {
        next_table: TableId(2),
        balancing: Balancing::Running,
        rebuilding: false,
    };
    assert_eq!(
        cluster.create(9, specification("t", 1, 2)),
        [store(
            4,
            vec![
                write(Key::Root, 1, root),
                write(Key::Table(TableId(1)), 0, Document::Table(t.clone()))
            ]
        )]
    );
    assert_eq!(
        cluster.cluster.table("t"),
        None,
        "nobody sees what is not stored"
    );
    assert_eq!(
        cluster.stored(),
        [
            tables_told(1, vec![t.clone()]),
            tables_told(2, vec![t.clone()]),
            open(1, p(0)),
            open(2, p(0)),
        ]
    );
    assert_eq!(cluster.opened(2, p(0)), []);
    let first = configuration(1, 1, &[2]);
    assert_eq!(
        cluster.opened(1, p(0)),
        [store(5, vec![write_page(0, 0, vec![Some(first.clone())])])]
    );
    assert_eq!(
        cluster.stored(),
        [
            stored(1, p(0), first.clone()),
            stored(2, p(0), first.clone()),
            routes(0, first),
            answer(9, Ok(t)),
        ]
    );
}

#[test]
fn what_can_not_be_created_is_refused_with_the_reason() {
    let mut cluster = Driver::with_table(2, 1, 1);
    let long = "x".repeat(65);
    for (wanted, said) in [
        (specification("", 1, 1), "1 to 64"),
        (specification(&long, 1, 1), "1 to 64"),
        (specification("a b", 1, 1), "A-Z"),
        (specification("ä", 1, 1), "A-Z"),
        (specification("u", 0, 1), "1 to 16384 partitions, not 0"),
        (
            specification("u", 16_385, 1),
            "1 to 16384 partitions, not 16385",
        ),
        (specification("u", 1, 0), "1 to 15 replicas, not 0"),
        (specification("u", 1, 3), "2 are alive"),
        (specification("t", 1, 1), "there is a table 't' already"),
    ] {
        let actions = cluster.create(2, wanted);
        let [
            Action::Answer {
                answer: Err(refusal),
                ..
            },
        ] = &actions[..]
        else {
            panic!("{said}: {actions:?}");
        };
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
    let mut wanted = specification("u", 1, 2);
    wanted.min_replicas = 3;
    assert!(matches!(
        &cluster.create(3, wanted)[..],
        [Action::Answer {
            answer: Err(Refusal::Invalid(_)),
            ..
        }]
    ));
}

#[test]
fn a_name_is_taken_from_the_moment_it_is_asked_for() {
    let mut cluster = Driver::with_nodes(1);
    cluster.create(1, specification("t", 1, 1));
    let refused = [answer(2, Err(Refusal::Exists("t".into())))];
    assert_eq!(cluster.create(2, specification("t", 1, 1)), refused);
    assert_eq!(
        cluster.drop_at(3, "t", 0),
        [answer(3, Err(Refusal::Busy("t".into())))]
    );
}

#[test]
fn a_node_lost_before_the_first_configuration_is_replaced_in_the_plan() {
    let mut cluster = Driver::with_nodes(3);
    cluster.create(9, specification("t", 1, 2));
    cluster.stored();
    assert_eq!(cluster.opened(1, p(0)), []);
    cluster.after(seconds(3));
    assert_eq!(
        cluster.lost(2),
        [open(1, p(0)), open(3, p(0))],
        "1 is kept and asked again"
    );
    assert_eq!(cluster.opened(3, p(0)), []);
    let actions = cluster.opened(1, p(0));
    assert_eq!(
        actions,
        [store(
            6,
            vec![write_page(0, 0, vec![Some(configuration(1, 1, &[3]))])]
        )]
    );
    cluster.stored();
    assert_eq!(
        only_to_nodes(cluster.joined(2, &[replica(p(0), 0)])),
        [
            stored(2, p(0), configuration(1, 1, &[3])),
            delete(2, p(0), 1)
        ],
        "what the first plan left there is superfluous"
    );
}

#[test]
fn an_open_that_is_not_answered_is_repeated() {
    let mut cluster = Driver::with_nodes(1);
    cluster.create(9, specification("t", 1, 1));
    cluster.stored();
    assert_eq!(cluster.pass(seconds(2), 1..=1), []);
    assert_eq!(cluster.pass(seconds(1), 1..=1), [open(1, p(0))]);
}

#[test]
fn a_node_has_a_bounded_number_of_opens_at_a_time() {
    let settings = Settings {
        errands_per_node: 2,
        ..Settings::default()
    };
    let mut cluster = Driver::with(settings);
    cluster.joined(1, &[]);
    cluster.create(9, specification("t", 5, 1));
    let opens: Vec<Action> = cluster.stored().split_off(1);
    assert_eq!(opens, [open(1, p(0)), open(1, p(1))]);
    let actions = cluster.opened(1, p(0));
    assert_eq!(actions[0], open(1, p(2)));
    assert!(
        matches!(actions[1..], [Action::Store { .. }]),
        "{actions:?}"
    );
}

#[test]
fn ten_thousand_partitions_cost_few_writes() {
    let mut cluster = Driver::with_nodes(3);
    cluster.create(9, specification("t", 10_000, 3));
    let mut actions = cluster.stored();
    let (mut batches, mut pages, mut answers) = (0, 0, 0);
    while !actions.is_empty() {
        // A thousand opens are answered while one batch is written.
        let mut next = cluster.open_all(&actions);
        for action in actions.iter().chain(&next) {
            match action {
                Action::Store { writes, .. } => {
                    batches += 1;
                    pages += writes.len();
                }
                Action::Answer { answer, .. } => answers += usize::from(answer.is_ok()),
                _ => {}
            }
        }
        next.append(&mut cluster.stored());
        actions = next;
    }
    assert_eq!(answers, 1);
    assert!(
        batches < 100 && pages < 1000,
        "{batches} batches, {pages} pages"
    );
    for status in cluster.cluster.nodes() {
        assert!((3333..=3334).contains(&status.primaries), "{status:?}");
        assert_eq!(status.primaries + status.secondaries, 10_000);
    }
}

#[test]
fn a_dropped_table_ends_its_routes_and_keeps_its_replicas_until_it_is_recalled() {
    let mut cluster = Driver::with_table(1, 1, 1);
    let dropped = Table {
        dropped_at: Some(wall(50)),
        version: 2,
        ..table(1, "t", 1, 1)
    };
    let written = |batch, expected, table: &Table| {
        let document = Document::Table(table.clone());
        store(
            batch,
            vec![write(Key::Table(TableId(1)), expected, document)],
        )
    };
    assert_eq!(cluster.drop_at(2, "t", 50), [written(5, 1, &dropped)]);
    assert!(
        cluster.cluster.routes(TableId(1)).is_some(),
        "until it is stored"
    );
    assert_eq!(
        cluster.stored(),
        [
            tables_gone(1, &[1]),
            Action::RoutesEnded { table: TableId(1) },
            answer(2, Ok(dropped)),
        ]
    );
    assert!(cluster.cluster.routes(TableId(1)).is_none());
    assert_eq!(cluster.report(1, replica(p(0), 1)), []);
    let recalled = Table {
        version: 3,
        ..table(1, "t", 1, 1)
    };
    assert_eq!(cluster.recall(3, "t"), [written(6, 2, &recalled)]);
    assert_eq!(
        cluster.stored(),
        [
            tables_told(1, vec![recalled.clone()]),
            answer(3, Ok(recalled))
        ]
    );
    assert!(cluster.cluster.routes(TableId(1)).is_some());
}

#[test]
fn when_the_retention_ends_the_store_forgets_the_table_and_then_the_nodes_do() {
    let mut cluster = Driver::with_table(1, 1, 1);
    cluster.drop_at(2, "t", 50);
    cluster.stored();
    let day = 24 * 3600;
    assert_eq!(cluster.tick_at(50 + day - 1), []);
    let removed = |key, expected| Write {
        key,
        expected,
        document: None,
    };
    let page = Key::Page {
        table: TableId(1),
        page: 0,
    };
    assert_eq!(
        cluster.tick_at(50 + day),
        [store(6, vec![removed(Key::Table(TableId(1)), 2)])]
    );
    assert_eq!(
        cluster.recall(3, "t"),
        [answer(3, Err(Refusal::NoSuchTable("t".into())))],
        "too late"
    );
    assert_eq!(
        cluster.stored(),
        [
            delete_of_gone_table(1, p(0)),
            store(7, vec![removed(page, 1)])
        ]
    );
    cluster.stored();
    // A node that was away learns of it when it is back; a new table of the name has another number.
    assert_eq!(
        only_to_nodes(cluster.joined(2, &[replica(p(0), 1)])),
        [delete_of_gone_table(2, p(0))]
    );
    cluster.create(4, specification("t", 1, 1));
    cluster.stored();
    assert_eq!(
        cluster.cluster.table("t").map(|table| table.id),
        Some(TableId(2))
    );
}

#[test]
fn the_table_dropped_last_is_recalled_unless_its_name_is_in_use() {
    let mut cluster = Driver::with_table(1, 1, 1);
    cluster.drop_at(2, "t", 50);
    cluster.stored();
    cluster.create(3, specification("t", 1, 1));
    cluster.stored();
    assert_eq!(
        cluster.recall(4, "t"),
        [answer(4, Err(Refusal::Exists("t".into())))]
    );
    cluster.drop_at(5, "t", 60);
    cluster.stored();
    cluster.recall(6, "t");
    cluster.stored();
    assert_eq!(
        cluster.cluster.table("t").map(|table| table.id),
        Some(TableId(2))
    );
    assert_eq!(
        cluster.drop_at(7, "u", 0),
        [answer(7, Err(Refusal::NoSuchTable("u".into())))]
    );
}

#[test]
fn whoever_waits_for_a_table_that_is_dropped_meanwhile_is_told() {
    let mut cluster = Driver::with_nodes(1);
    cluster.create(1, specification("t", 1, 1));
    cluster.stored();
    cluster.drop_at(2, "t", 50);
    let actions = cluster.stored();
    assert!(
        actions.contains(&answer(1, Err(Refusal::NoSuchTable("t".into())))),
        "{actions:?}"
    );
}

fn entry(key: Key, document: Document) -> Entry {
    Entry {
        key,
        version: 3,
        document,
    }
}

fn restored(entries: Vec<Entry>) -> Driver {
    let now = types::Instant(5_000_000_000);
    let cluster = Cluster::restore(Settings::default(), EPOCH, entries, now).unwrap();
    Driver {
        cluster,
        now,
        batch: 0,
    }
}

fn known(n: u64) -> Entry {
    let document = Document::Node {
        address: address(n),
        incarnation: Incarnation(1),
        duty: Duty::Serves,
    };
    entry(Key::Node(node(n)), document)
}

#[test]
fn a_new_leader_goes_on_with_a_half_created_table_where_the_first_plan_was() {
    let page = Key::Page {
        table: TableId(1),
        page: 0,
    };
    let born = configuration(1, 1, &[2]);
    let mut cluster = restored(vec![
        entry(
            Key::Root,
            Document::Root {
                next_table: TableId(2),
                balancing: Balancing::Running,
                rebuilding: false,
            },
        ),
        known(1),
        known(2),
        known(3),
        entry(Key::Table(TableId(1)), Document::Table(table(1, "t", 2, 2))),
        entry(page, Document::Page(vec![Some(born.clone()), None])),
    ]);
    assert_eq!(cluster.tick(), [], "nothing had to be stored");
    cluster.join(1, 1);
    cluster.join(2, 1);
    cluster.report_all(1, &[replica(p(0), 1)]);
    assert_eq!(
        cluster.report_all(2, &[replica(p(0), 1), replica(p(1), 0)]),
        [],
        "node 3 may still come"
    );
    cluster.join(3, 1);
    assert_eq!(
        cluster.report_all(3, &[replica(p(1), 0)]),
        [open(2, p(1)), open(3, p(1))]
    );
    cluster.opened(3, p(1));
    let second = configuration(1, 2, &[3]);
    let actions = cluster.opened(2, p(1));
    assert_eq!(
        actions,
        [store(
            1,
            vec![write_page(0, 3, vec![Some(born), Some(second)])]
        )]
    );
}

#[test]
fn a_new_leader_does_not_wait_for_ever_for_nodes_it_knows() {
    let mut cluster = restored(vec![
        entry(
            Key::Root,
            Document::Root {
                next_table: TableId(2),
                balancing: Balancing::Running,
                rebuilding: false,
            },
        ),
        known(1),
        known(2),
        entry(Key::Table(TableId(1)), Document::Table(table(1, "t", 1, 1))),
    ]);
    cluster.join(1, 1);
    assert_eq!(cluster.report_all(1, &[]), []);
    assert_eq!(cluster.pass(seconds(3), 1..=1), [open(1, p(0))]);
}

#[test]
fn a_partition_that_a_node_remembers_is_never_made_anew() {
    let mut cluster = restored(vec![
        entry(
            Key::Root,
            Document::Root {
                next_table: TableId(2),
                balancing: Balancing::Running,
                rebuilding: false,
            },
        ),
        known(1),
        entry(Key::Table(TableId(1)), Document::Table(table(1, "t", 1, 1))),
    ]);
    cluster.join(1, 1);
    let finding = Finding::StoreBehind {
        partition: p(0),
        node: node(1),
        known: Ballot(4),
        stored: Ballot::ZERO,
    };
    assert_eq!(
        cluster.report_all(1, &[replica(p(0), 4)]),
        [Action::Report(finding)]
    );
    assert_eq!(cluster.pass(seconds(10), 1..=1), []);
}

#[test]
fn a_replica_of_a_table_never_created_here_is_left_alone() {
    let mut cluster = Driver::with_table(1, 1, 1);
    let stranger = PartitionId::new(2, 0);
    let finding = Finding::UnknownTable {
        partition: stranger,
        node: node(1),
    };
    assert_eq!(
        cluster.report(1, replica(stranger, 9)),
        [Action::Report(finding)]
    );
}

#[test]
fn pages_of_a_table_that_is_gone_are_removed_by_the_next_leader() {
    let page = Key::Page {
        table: TableId(1),
        page: 0,
    };
    let mut cluster = restored(vec![
        entry(
            Key::Root,
            Document::Root {
                next_table: TableId(2),
                balancing: Balancing::Running,
                rebuilding: false,
            },
        ),
        entry(page, Document::Page(vec![None])),
    ]);
    let removal = Write {
        key: page,
        expected: 3,
        document: None,
    };
    assert_eq!(cluster.tick(), [store(1, vec![removal])]);
}

#[test]
fn documents_that_contradict_each_other_make_no_cluster() {
    let root = entry(
        Key::Root,
        Document::Root {
            next_table: TableId(1),
            balancing: Balancing::Running,
            rebuilding: false,
        },
    );
    let t = entry(Key::Table(TableId(1)), Document::Table(table(1, "t", 1, 1)));
    let stranger = NodeAddress {
        zone: String::new(),
        node: NodeId(9),
        ..address(1)
    };
    let wrong = Document::Node {
        address: stranger,
        incarnation: Incarnation(1),
        duty: Duty::Serves,
    };
    for (entries, said) in [
        (vec![t.clone()], "Root is missing"),
        (vec![root.clone(), t], "never given out"),
        (vec![root.clone(), root.clone()], "twice"),
        (
            vec![root.clone(), entry(Key::Node(node(1)), wrong)],
            "something else",
        ),
    ] {
        let error =
            Cluster::restore(Settings::default(), 1, entries, types::Instant(0)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
