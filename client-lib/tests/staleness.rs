//! Reads that allow for an age: who is asked, and what becomes of those that a secondary does not answer.

mod support;

use proto::data::refusal::Kind;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Act, Cluster};
use tulpar_client::Table;

const BOUND: Duration = Duration::from_millis(750);

/// The partition's primary is server 0; who was asked, and for which age.
async fn opened(act: fn(usize) -> Act) -> (Cluster, Table, Arc<Mutex<Vec<(usize, u32)>>>) {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    cluster.script(move |server, request| {
        log.lock().unwrap().push((server, request.staleness));
        if request.staleness > 0 {
            act(server)
        } else {
            Act::Do
        }
    });
    (cluster, table, asked)
}

/// Reads until all of these servers were asked.
async fn read_until_asked(table: &Table, asked: &Mutex<Vec<(usize, u32)>>, servers: &[usize]) {
    for _ in 0..10_000 {
        assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
        let asked = asked.lock().unwrap();
        let was_asked = |server: &usize| asked.iter().any(|(other, _)| other == server);
        if servers.iter().all(was_asked) {
            return;
        }
    }
    panic!("not all of {servers:?} were asked: {asked:?}");
}

#[tokio::test]
async fn reads_are_spread_over_all_members_and_say_how_old_they_may_be() {
    let (_cluster, table, asked) = opened(|_| Act::Do).await;
    let table = table.with_staleness(BOUND);
    read_until_asked(&table, &asked, &[0, 1, 2]).await;
    for (server, staleness) in asked.lock().unwrap().drain(..) {
        // At the primary it is a read like any other.
        assert_eq!(staleness, if server == 0 { 0 } else { 750 });
    }
    for _ in 0..30 {
        table.get("k").await.unwrap();
    }
    for server in 0..3 {
        let asked = asked.lock().unwrap();
        let count = asked.iter().filter(|(other, _)| *other == server).count();
        assert_eq!(count, 10, "server {server}");
    }
}

#[tokio::test]
async fn writes_and_other_reads_go_to_the_primary() {
    let (_cluster, table, asked) = opened(|_| Act::Do).await;
    let old = table.with_staleness(BOUND);
    read_until_asked(&old, &asked, &[1, 2]).await;
    asked.lock().unwrap().clear();
    for _ in 0..6 {
        old.set("other", "w").await.unwrap();
        table.get("k").await.unwrap();
        // Less than a millisecond is not to be had.
        let hardly = table.with_staleness(Duration::from_micros(900));
        hardly.get("k").await.unwrap();
    }
    assert_eq!(*asked.lock().unwrap(), [(0, 0); 18]);
}

#[tokio::test]
async fn what_a_secondary_refuses_is_asked_of_the_primary() {
    for kind in [Kind::NotFresh, Kind::NotPrimary, Kind::Busy] {
        let act = match kind {
            Kind::NotFresh => |_| Act::Refuse(Kind::NotFresh, "too old"),
            Kind::NotPrimary => |_| Act::Refuse(Kind::NotPrimary, "ask the primary"),
            _ => |_| Act::Refuse(Kind::Busy, "busy"),
        };
        let (_cluster, table, asked) = opened(act).await;
        let table = table.with_staleness(BOUND);
        read_until_asked(&table, &asked, &[1, 2]).await;
        let asked = asked.lock().unwrap();
        for (at, _) in asked
            .iter()
            .enumerate()
            .filter(|(_, (server, _))| *server > 0)
        {
            assert_eq!(asked.get(at + 1), Some(&(0, 0)), "{kind:?}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn what_was_asked_of_a_secondary_that_is_lost_is_asked_of_the_primary() {
    let (mut cluster, table, asked) = opened(|_| Act::Break).await;
    let table = table.with_staleness(BOUND);
    read_until_asked(&table, &asked, &[1, 2]).await;
    for server in [1, 2] {
        cluster.kill_server(server);
    }
    for _ in 0..30 {
        assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
    }
}
