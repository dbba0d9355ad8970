//! Where routes come from, how long they last, and how few are kept.

mod support;

use std::time::Duration;
use support::{Cluster, node};
use tulpar_client::{Client, ClientOptions, Error};

#[tokio::test]
async fn a_takeover_that_is_announced_is_followed_before_anything_is_refused() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    cluster.take_over("t", 0, 2);
    cluster.announce();
    cluster
        .until("the client knows", |_| {
            table.route_of(0).unwrap().primary.0 == node(2)
        })
        .await;
    table.set("k", "w").await.unwrap();
    assert_eq!(cluster.lock().received.len(), 2);
}

#[tokio::test]
async fn a_takeover_that_nobody_announced_is_learnt_from_the_refusal() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    cluster.take_over("t", 0, 2);
    table.set("k", "w").await.unwrap();
    assert_eq!(cluster.lock().received.len(), 3);
    assert_eq!(table.route_of(0).unwrap().ballot.0, 2);
}

#[tokio::test]
async fn the_last_known_routes_work_without_meta_servers() {
    let mut cluster = Cluster::usual(8);
    let client = cluster.client().await;
    let table = client.table("t").await.unwrap();
    cluster.kill_meta(0);
    for i in 0..100 {
        table.set(format!("key{i}"), "v").await.unwrap();
    }
    cluster.take_over("t", 3, 1);
    for i in 0..100 {
        assert_eq!(table.get(format!("key{i}")).await.unwrap().unwrap(), "v");
    }
    // an open table opens again; an unknown one cannot
    client.table("t").await.unwrap();
    let impatient = Client::lazy(cluster.options().deadline(Duration::from_millis(50))).unwrap();
    assert!(matches!(
        impatient.table("t").await,
        Err(Error::Unavailable(_))
    ));
}

#[tokio::test]
async fn any_meta_server_will_do() {
    for dead in 0..2 {
        let mut cluster = Cluster::start(2, 3);
        cluster.create("t", 7, 1, None);
        cluster.kill_meta(dead);
        let table = cluster.client().await.table("t").await.unwrap();
        table.set("k", "v").await.unwrap();
        cluster
            .until("it follows the other", |state| state.watching == 1)
            .await;
    }
}

#[tokio::test]
async fn a_meta_server_lost_while_followed_is_replaced_by_another() {
    let mut cluster = Cluster::start(2, 3);
    cluster.create("t", 7, 1, None);
    let table = cluster.client().await.table("t").await.unwrap();
    cluster
        .until("it follows the first", |state| state.watching == 1)
        .await;
    cluster.kill_meta(0);
    cluster
        .until("the first is gone", |state| state.watching == 0)
        .await;
    cluster
        .until("it follows the second", |state| state.watching == 1)
        .await;
    cluster.take_over("t", 0, 2);
    cluster.announce();
    cluster
        .until("the client knows", |_| {
            table.route_of(0).unwrap().ballot.0 == 2
        })
        .await;
}

#[tokio::test]
async fn only_so_many_tables_are_kept_and_those_in_use() {
    let cluster = Cluster::start(1, 1);
    for i in 0..6 {
        cluster.create(&format!("t{i}"), i + 1, 1, None);
    }
    let client = Client::connect(cluster.options().cached_tables(2))
        .await
        .unwrap();
    let first = client.table("t0").await.unwrap();
    for i in 0..6 {
        client.table(&format!("t{i}")).await.unwrap();
    }
    cluster
        .until("two cached and one in use", |state| state.watching == 3)
        .await;
    let queries = cluster.lock().queries;
    // the one in use is not asked for again, and is the same one
    let again = client.table("t0").await.unwrap();
    again.set("k", "v").await.unwrap();
    assert_eq!(first.get("k").await.unwrap().unwrap(), "v");
    assert_eq!(cluster.lock().queries, queries);
    drop((first, again));
    client.table("t1").await.unwrap();
    client.table("t2").await.unwrap();
    cluster
        .until("only the cached ones", |state| state.watching == 2)
        .await;
    drop(client);
    cluster.until("none", |state| state.watching == 0).await;
}

#[tokio::test]
async fn a_table_forgotten_and_opened_again_works_on_the_streams_there_are() {
    let cluster = Cluster::start(1, 1);
    cluster.create("a", 1, 1, None);
    cluster.create("b", 2, 1, None);
    let client = Client::connect(cluster.options().cached_tables(1))
        .await
        .unwrap();
    let mut refusals = 5;
    cluster.script(move |_, _| {
        refusals -= 1;
        if refusals >= 0 {
            support::Act::Refuse(proto::data::refusal::Kind::Busy, "busy")
        } else {
            support::Act::Do
        }
    });
    client
        .table("a")
        .await
        .unwrap()
        .set("k", "v")
        .await
        .unwrap();
    client
        .table("b")
        .await
        .unwrap()
        .set("k", "v")
        .await
        .unwrap();
    // its epochs go on where they were: the server refuses what is not above the last it refused
    let before = cluster.lock().received.len();
    client
        .table("a")
        .await
        .unwrap()
        .set("k", "w")
        .await
        .unwrap();
    assert_eq!(cluster.lock().received.len(), before + 1);
    assert_eq!(cluster.lock().streams, 1);
}

#[tokio::test]
async fn a_table_that_is_none_is_said_to_be_none() {
    let cluster = Cluster::usual(1);
    let client = cluster.client().await;
    assert_eq!(
        client.table("none").await.unwrap_err(),
        Error::NoSuchTable("none".into())
    );
}

#[tokio::test]
async fn a_dropped_table_ends_and_a_new_one_of_its_name_is_opened() {
    let cluster = Cluster::usual(1);
    let client = cluster.client().await;
    let old = client.table("t").await.unwrap();
    old.set("k", "v").await.unwrap();
    cluster.drop_table("t");
    assert!(matches!(old.get("k").await, Err(Error::NoSuchTable(_))));
    cluster
        .until("nobody follows it", |state| state.watching == 0)
        .await;
    cluster.create("t", 8, 4, None);
    let mut new = client.table("t").await.unwrap();
    while new.id() != 8 {
        // the client has yet to hear of the drop
        tokio::task::yield_now().await;
        new = client.table("t").await.unwrap();
    }
    assert_eq!(new.get("k").await, Ok(None));
    assert!(matches!(old.get("k").await, Err(Error::NoSuchTable(_))));
}

#[tokio::test]
async fn without_meta_servers_connecting_fails_and_says_why() {
    let mut cluster = Cluster::start(1, 0);
    cluster.kill_meta(0);
    let error = Client::connect(cluster.options().deadline(Duration::from_millis(50)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(reason) if reason.contains("refused")),
        "{error}"
    );
    for addresses in [vec![], vec!["not an address"]] {
        assert!(matches!(
            Client::connect(ClientOptions::new(addresses)).await,
            Err(Error::Rejected(_))
        ));
    }
}
