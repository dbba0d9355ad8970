//! The store on a real ensemble, and meta servers that share one.

mod fake;

use fake::*;
use meta_server::{
    Led, MetaConfig, MetadataStore, OpenError, Running, Term, WriteError, ZooKeeperOptions,
    ZooKeeperStore,
};
use placement::{Balancing, Document, Entry, Key, Write};
use proto::NotLeading;
use proto::meta::{ListTablesRequest, TableName};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tests::ensemble::Ensemble;
use tests::fleet::network::Host;
use tests::fleet::proxy::{Behaviour, Direction, Proxy};
use tokio::sync::watch;
use tonic::Code;
use types::TableId;
use zookeeper_client::{Client, Error};

const SESSION: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

fn store_as(ensemble: &str, user: &str, password: &str) -> ZooKeeperStore {
    let options = ZooKeeperOptions::new(ensemble, user, password, SESSION);
    ZooKeeperStore::new(options.expect("valid options"), "here:1".into())
}

fn store(servers: &str) -> ZooKeeperStore {
    store_as(&format!("{servers}/tests/one"), "", "")
}

async fn lead(store: &ZooKeeperStore) -> Led<impl Term + use<>> {
    let led = store.lead(&watch::Sender::default()).await;
    led.expect("the ensemble serves")
}

fn root(expected: u64, next_table: u32) -> Write {
    Write {
        key: Key::Root,
        expected,
        document: Some(Document::Root {
            next_table: TableId(next_table),
            balancing: Balancing::Running,
            rebuilding: false,
        }),
    }
}

fn page(number: u32) -> Write {
    Write {
        key: Key::Page {
            table: TableId(1),
            page: number,
        },
        expected: 0,
        document: Some(Document::Page(vec![None; 64])),
    }
}

/// Another client of the ensemble, as an operator has it.
async fn outside(servers: &str) -> Client {
    Client::connect(servers).await.expect("the ensemble serves")
}

async fn lock(outside: &Client, cluster: &str) -> String {
    let locks = outside.list_children(&format!("{cluster}/leader")).await;
    let mut locks = locks.expect("the cluster has a path");
    format!("{cluster}/leader/{}", locks.pop().expect("somebody leads"))
}

/// A proxy before a server of the ensemble, and its address.
fn proxied(to: SocketAddr) -> (Proxy, String) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let at = free.expect("a free port");
    let host = Host {
        namespace: None,
        address: Ipv4Addr::LOCALHOST,
    };
    (
        Proxy::start(&host, at, to).expect("it listens"),
        at.to_string(),
    )
}

#[tokio::test]
async fn a_term_writes_by_compare_and_set_and_the_next_one_reads_it() {
    let ensemble = Ensemble::start(1);
    let store = store(&ensemble.servers());
    let mut first = lead(&store).await;
    assert_eq!(first.entries, []);
    first.term.write(vec![root(0, 1), page(0)]).await.unwrap();
    let removed = Write {
        document: None,
        expected: 1,
        ..page(0)
    };
    first
        .term
        .write(vec![root(1, 2), removed, page(7)])
        .await
        .unwrap();
    let conflict = first.term.write(vec![page(8), root(1, 9)]).await;
    assert!(
        matches!(conflict, Err(WriteError::Conflict(Key::Root))),
        "{conflict:?}"
    );
    let epoch = first.term.epoch();
    first.term.resign().await;
    drop(first.ended);
    let second = lead(&store).await;
    assert!(second.term.epoch() > epoch);
    let entry = |write: Write, version| Entry {
        key: write.key,
        version,
        document: write.document.expect("a document"),
    };
    assert_eq!(second.entries, [entry(root(0, 2), 2), entry(page(7), 1)]);
}

#[tokio::test]
async fn a_leader_whose_lock_is_gone_is_told_and_can_not_write() {
    let ensemble = Ensemble::start(1);
    let servers = ensemble.servers();
    let (first, second) = (store(&servers), store(&servers));
    let mut deposed = lead(&first).await;
    deposed.term.write(vec![root(0, 1)]).await.unwrap();
    let waiting = tokio::spawn(async move {
        let led = lead(&second).await;
        (led.entries, led.term.epoch(), led.term)
    });
    let outside = outside(&servers).await;
    let lock = lock(&outside, "/tests/one").await;
    outside.delete(&lock, None).await.unwrap();
    deposed.ended.await;
    let (entries, epoch, _term) = waiting.await.unwrap();
    assert_eq!(entries.len(), 1);
    assert!(epoch > deposed.term.epoch());
    let refused = deposed.term.write(vec![root(1, 9)]).await;
    assert!(matches!(refused, Err(WriteError::Deposed)), "{refused:?}");
}

#[tokio::test]
async fn a_session_whose_answers_come_too_late_ends_the_term_and_a_new_one_begins() {
    let ensemble = Ensemble::start(1);
    let (proxy, address) = proxied(ensemble.address(0));
    let slow = store(&address);
    let mut late = lead(&slow).await;
    late.term.write(vec![root(0, 1)]).await.unwrap();
    proxy.behave(Behaviour::Stall(Direction::Both));
    // The ensemble gives the lock to another when the session's time is over, whatever the one who holds it believes.
    let other = store(&ensemble.servers());
    let mut led = lead(&other).await;
    led.term.write(vec![root(1, 2)]).await.unwrap();
    late.ended.await;
    proxy.behave(Behaviour::Pass);
    assert!(late.term.write(vec![root(2, 9)]).await.is_err());
    led.term.resign().await;
    let again = lead(&slow).await;
    assert_eq!(again.entries[0].version, 2);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_done_and_not_done_twice() {
    let ensemble = Ensemble::start(1);
    let (proxy, address) = proxied(ensemble.address(0));
    let store = store(&address);
    let mut led = lead(&store).await;
    led.term.write(vec![root(0, 1)]).await.unwrap();
    let outside = outside(&ensemble.servers()).await;
    proxy.behave(Behaviour::LoseReplies);
    let writing = led.term.write(vec![root(1, 2), page(0)]);
    let seen = async {
        while outside
            .check_stat("/tests/one/pages/1-0")
            .await
            .unwrap()
            .is_none()
        {
            tokio::time::sleep(PAUSE).await;
        }
        proxy.behave(Behaviour::Pass);
    };
    let (written, ()) = tokio::join!(writing, seen);
    written.unwrap();
    led.term.write(vec![root(2, 3)]).await.unwrap();
}

#[tokio::test]
async fn what_a_user_wrote_nobody_else_reads_or_changes() {
    let ensemble = Ensemble::start(1);
    let servers = ensemble.servers();
    let path = format!("{servers}/tests/secret");
    let owner = store_as(&path, "tulpar", "right");
    let mut led = lead(&owner).await;
    led.term.write(vec![root(0, 1)]).await.unwrap();
    let outside = outside(&servers).await;
    for document in ["/tests/secret/root", "/tests/secret/term", "/tests/secret"] {
        let read = outside.get_data(document).await.map(drop);
        assert_eq!(read, Err(Error::NoAuth), "{document}");
    }
    let lock = outside.list_children("/tests/secret/leader").await;
    assert_eq!(lock, Err(Error::NoAuth));
    let wrong = store_as(&path, "tulpar", "wrong");
    let refused = wrong.lead(&watch::Sender::default()).await;
    let Err(OpenError::Ensemble { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("not authorized"), "{reason}");
    // Beside it another user has another cluster.
    let beside = store_as(&format!("{servers}/tests/other"), "somebody", "else");
    assert_eq!(lead(&beside).await.entries, []);
}

#[tokio::test]
async fn an_ensemble_that_is_not_there_is_reported_and_waited_for() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let store = store(&nobody.unwrap().to_string());
    let refused = store.lead(&watch::Sender::default()).await;
    assert!(
        matches!(refused, Err(OpenError::Ensemble { .. })),
        "{refused:?}"
    );
}

async fn meta(ensemble: &Ensemble) -> Running {
    start_with(MetaConfig {
        zookeeper: format!("{}/tests/metas", ensemble.servers()),
        zookeeper_session_timeout: SESSION,
        ..MetaConfig::default()
    })
    .await
}

/// Which of them answers, and whom the others name; waits until all agree.
async fn leader(servers: &[Running]) -> usize {
    loop {
        let mut leading = Vec::new();
        let mut named = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let request = ListTablesRequest {
                include_dropped: true,
            };
            match admin(server).await.list_tables(request).await {
                Ok(_) => leading.push(index),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    named.extend(NotLeading::from_status(&status).and_then(|said| said.leader));
                }
            }
        }
        if let [leader] = leading[..] {
            let address = servers[leader].address().to_string();
            if named.len() + 1 == servers.len() && named.iter().all(|name| *name == address) {
                return leader;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn one_of_three_leads_the_others_name_it_and_one_takes_over_when_it_goes() {
    let ensemble = Ensemble::start(1);
    let mut servers = vec![
        meta(&ensemble).await,
        meta(&ensemble).await,
        meta(&ensemble).await,
    ];
    let mut disks: Vec<Replicas> = vec![Replicas::new(); 3];
    for round in 1..=3 {
        let leading = servers.remove(leader(&servers).await);
        let mut nodes = Vec::new();
        for (node, disk) in (1..).zip(std::mem::take(&mut disks)) {
            nodes.push(FakeNode::with(&leading, node, disk).await);
        }
        let mut operator = admin(&leading).await;
        let created = operator.create_table(table(&format!("t{round}"), 100, 3));
        assert_eq!(created.await.unwrap().into_inner().id, round);
        for earlier in 1..=round {
            let name = TableName {
                name: format!("t{earlier}"),
            };
            let shown = operator.show_table(name).await.unwrap().into_inner();
            assert!(
                shown
                    .partitions
                    .iter()
                    .all(|partition| partition.configuration.is_some())
            );
        }
        disks = nodes.into_iter().map(FakeNode::kill).collect();
        leading.shutdown().await;
    }
}

#[tokio::test]
async fn ten_thousand_partitions_are_written_in_requests_that_zookeeper_takes() {
    let ensemble = Ensemble::start(1);
    let server = meta(&ensemble).await;
    let servers = [server];
    leader(&servers).await;
    let [server] = servers;
    let mut nodes = three_nodes(&server).await;
    let mut operator = admin(&server).await;
    operator
        .create_table(table("large", 10_000, 3))
        .await
        .unwrap();
    for node in &mut nodes {
        node.until(|replicas| replicas.values().filter(|known| known.is_some()).count() == 10_000)
            .await;
    }
    let outside = outside(&ensemble.servers()).await;
    let pages = outside.list_children("/tests/metas/pages").await.unwrap();
    assert_eq!(pages.len(), 10_000usize.div_ceil(64));
    server.shutdown().await;
}
