//! The meta server over real gRPC, with nodes that behave.

mod fake;

use fake::*;
use meta_server::MetaConfig;
use proto::common;
use proto::meta::{self, ListNodesRequest, ListTablesRequest, TableName};
use std::time::Duration;
use tonic::Code;

/// The configuration with its primary gone and the first secondary in its place.
fn takeover(of: &common::Configuration) -> common::Configuration {
    let mut taken = of.clone();
    taken.ballot += 1;
    taken.primary = Some(taken.secondaries.remove(0));
    taken
}

fn primary(configuration: &common::Configuration) -> u64 {
    configuration
        .primary
        .expect("there is always a primary")
        .node
}

fn name(name: &str) -> TableName {
    TableName { name: name.into() }
}

#[tokio::test]
async fn a_table_is_created_on_the_nodes_and_its_routes_are_followed_through_a_takeover() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let nodes = three_nodes(&server).await;
    let created = admin(&server)
        .await
        .create_table(table("t", 8, 3))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (created.id, created.partitions, created.replicas),
        (1, 8, 3)
    );

    let mut routes = routes(&server).await;
    let mut updates = routes.watch(query("t")).await.unwrap().into_inner();
    let complete = updates.message().await.unwrap().unwrap();
    assert!(complete.complete);
    assert_eq!(complete.nodes.len(), 3);
    assert_eq!(complete.partitions.len(), 8);
    let first = complete.partitions[5].configuration.clone().unwrap();
    assert_eq!((first.ballot, first.secondaries.len()), (1, 2));

    let taken = takeover(&first);
    let successor = nodes
        .iter()
        .find(|node| node.node == primary(&taken))
        .unwrap();
    successor.propose((1, 5), taken.clone()).await;
    let update = updates.message().await.unwrap().unwrap();
    assert!(!update.complete);
    assert_eq!(update.partitions.len(), 1);
    assert_eq!(
        (
            update.partitions[0].index,
            &update.partitions[0].configuration
        ),
        (5, &Some(taken.clone()))
    );

    let queried = routes.query(query("t")).await.unwrap().into_inner();
    assert_eq!(queried.partitions[5].configuration, Some(taken));
    server.shutdown().await;
}

#[tokio::test]
async fn every_member_hears_of_a_change_and_a_late_proposer_of_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let mut nodes = three_nodes(&server).await;
    admin(&server)
        .await
        .create_table(table("t", 1, 3))
        .await
        .unwrap();
    for node in &mut nodes {
        node.until(|replicas| replicas.values().any(Option::is_some))
            .await;
    }
    let first = nodes[0].replicas.borrow()[&(1, 0)].clone().unwrap();
    let taken = takeover(&first);
    let successor = nodes
        .iter()
        .position(|node| node.node == primary(&taken))
        .unwrap();
    nodes[successor].propose((1, 0), taken.clone()).await;
    for node in &mut nodes {
        node.until(|replicas| replicas[&(1, 0)] == Some(taken.clone()))
            .await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_restart_keeps_tables_configurations_and_nodes_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let nodes = three_nodes(&server).await;
    let mut operator = admin(&server).await;
    operator.create_table(table("kept", 100, 3)).await.unwrap();
    operator.create_table(table("dropped", 2, 1)).await.unwrap();
    operator.drop_table(name("dropped")).await.unwrap();
    let before = operator
        .show_table(name("kept"))
        .await
        .unwrap()
        .into_inner();
    let disks: Vec<Replicas> = nodes.into_iter().map(FakeNode::kill).collect();
    server.shutdown().await;

    let server = start(directory.path()).await;
    let mut operator = admin(&server).await;
    let after = operator
        .show_table(name("kept"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(before, after);
    let tables = |include_dropped| ListTablesRequest { include_dropped };
    let all = operator
        .list_tables(tables(true))
        .await
        .unwrap()
        .into_inner()
        .tables;
    assert_eq!(
        all.iter().map(|table| &table.name[..]).collect::<Vec<_>>(),
        ["kept", "dropped"]
    );
    assert_eq!(
        operator
            .list_tables(tables(false))
            .await
            .unwrap()
            .into_inner()
            .tables
            .len(),
        1
    );
    let listed = operator
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner()
        .nodes;
    let counts: Vec<_> = listed
        .iter()
        .map(|node| (node.alive, node.primaries + node.secondaries))
        .collect();
    // The dropped table's two partitions still lie on two of them, and are not counted.
    assert_eq!(counts, [(false, 100), (false, 100), (false, 100)]);

    let mut nodes = vec![];
    for (node, disk) in (1..).zip(disks) {
        nodes.push(FakeNode::with(&server, node, disk).await);
    }
    operator.recall_table(name("dropped")).await.unwrap();
    let third = operator
        .create_table(table("third", 4, 3))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(third.id, 3, "numbers are never given twice");
    server.shutdown().await;
}

#[tokio::test]
async fn a_store_file_cut_off_in_the_middle_of_a_write_is_an_earlier_state() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    let mut operator = admin(&server).await;
    operator.create_table(table("first", 2, 3)).await.unwrap();
    let path = directory.path().join("cluster");
    let then = std::fs::read(&path).unwrap();
    operator.create_table(table("second", 2, 3)).await.unwrap();
    server.shutdown().await;
    let now = std::fs::read(&path).unwrap();
    assert!(now.len() > then.len());
    for length in (then.len()..now.len()).step_by(7) {
        std::fs::write(&path, &now[..length]).unwrap();
        let server = start(directory.path()).await;
        let mut operator = admin(&server).await;
        let known = operator
            .show_table(name("first"))
            .await
            .unwrap()
            .into_inner();
        assert!(
            known
                .partitions
                .iter()
                .all(|partition| partition.configuration.is_some())
        );
        server.shutdown().await;
    }
}

#[tokio::test]
async fn ten_thousand_partitions_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let mut nodes = three_nodes(&server).await;
    let began = std::time::Instant::now();
    admin(&server)
        .await
        .create_table(table("large", 10_000, 3))
        .await
        .unwrap();
    println!("10,000 partitions of 3 copies in {:?}", began.elapsed());
    for node in &mut nodes {
        node.until(|replicas| replicas.values().filter(|known| known.is_some()).count() == 10_000)
            .await;
    }
    let listed = admin(&server)
        .await
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        listed
            .nodes
            .iter()
            .all(|node| (3333..=3334).contains(&node.primaries)),
        "{listed:?}"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn watching_ends_when_the_table_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    let mut operator = admin(&server).await;
    operator.create_table(table("t", 1, 1)).await.unwrap();
    let mut routes = routes(&server).await;
    let mut updates = routes.watch(query("t")).await.unwrap().into_inner();
    assert!(updates.message().await.unwrap().is_some());
    operator.drop_table(name("t")).await.unwrap();
    assert!(updates.message().await.unwrap().is_none());
    assert_eq!(
        routes.query(query("t")).await.unwrap_err().code(),
        Code::NotFound
    );
    server.shutdown().await;
}

#[tokio::test]
async fn replicas_go_when_the_retention_ends() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_with(MetaConfig {
        data_dir: directory.path().into(),
        drop_retention: Duration::ZERO,
        ..MetaConfig::default()
    })
    .await;
    let mut nodes = three_nodes(&server).await;
    let mut operator = admin(&server).await;
    operator.create_table(table("t", 5, 3)).await.unwrap();
    operator.drop_table(name("t")).await.unwrap();
    for node in &mut nodes {
        node.until(Replicas::is_empty).await;
    }
    assert_eq!(
        operator.recall_table(name("t")).await.unwrap_err().code(),
        Code::NotFound
    );
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_that_moved_is_told_to_those_who_watch() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let nodes = three_nodes(&server).await;
    admin(&server)
        .await
        .create_table(table("t", 1, 1))
        .await
        .unwrap();
    let mut updates = routes(&server)
        .await
        .watch(query("t"))
        .await
        .unwrap()
        .into_inner();
    updates.message().await.unwrap();
    let mut elsewhere = hello(nodes[0].node);
    elsewhere.incarnation = 2;
    if let Some(address) = &mut elsewhere.address {
        address.grpc = "elsewhere:1".into();
    }
    let _stream = join(
        &server,
        from_node(meta::from_node::Message::Hello(elsewhere)),
    )
    .await
    .unwrap();
    let update = updates.message().await.unwrap().unwrap();
    assert_eq!(update.nodes.len(), 1);
    assert_eq!(update.nodes[0].grpc, "elsewhere:1");
    server.shutdown().await;
}
