//! Three meta servers on a real ensemble: leaders are killed and stopped, ZooKeeper fails in part and whole, and clients read and write on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::doors::{Redis, Sdk, Sending};
use tests::ensemble::Ensemble;
use tests::http::get;
use tests::poll::until;
use tests::writers::{Writers, check, seed};
use tests::{Cluster, Door, Options, eventually, metas, process};

const SESSION: &str = "1s";

fn cluster(ensemble: &Ensemble) -> Cluster {
    let zookeeper = format!("{}/tulpar/tests", ensemble.servers());
    let options = Options::default()
        .meta_servers(3, &zookeeper)
        .setting("TULPAR__META__ZOOKEEPER_SESSION_TIMEOUT", SESSION);
    Cluster::start(options)
}

fn writers(cluster: &Cluster) -> Writers {
    let doors: Vec<(String, Box<dyn Door>)> = vec![
        (
            "gateway".into(),
            Box::new(Redis::new(&cluster.gateway(), Sending::Pipelined)),
        ),
        ("sdk".into(), Box::new(Sdk::new(&cluster.meta(), "default"))),
    ];
    let writers = Writers::start(seed(), doors);
    writers.go_on(100);
    writers
}

/// Ends the writers, none of which may have had an error, and reads everything.
fn none_failed(cluster: &Cluster, writers: Writers) {
    assert_eq!(writers.errors(), 0, "no meta server is on the data's path");
    let record = writers.stop();
    check(&record, &mut Sdk::new(&cluster.meta(), "default"));
}

/// Every name with the numbers of its tables.
fn tables(cluster: &Cluster) -> BTreeMap<String, Vec<u64>> {
    let mut tables: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let listed = cluster.shell(&["table", "list"]);
    for table in listed.as_array().expect("a list of tables") {
        let name = table["name"].as_str().expect("a name").to_owned();
        let id = table["id"].as_u64().expect("a number");
        tables.entry(name).or_default().push(id);
    }
    tables
}

#[test]
fn the_leader_is_killed_again_and_again_and_no_table_is_lost_or_doubled() {
    let ensemble = Ensemble::start(1);
    let cluster = cluster(&ensemble);
    let writers = writers(&cluster);
    let (stop, created) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let count = || created.lock().expect("no panic").len();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("table-{number}");
                cluster.create(&name);
                created.lock().expect("no panic").push(name);
            }
        });
        for _ in 0..3 {
            let leader = cluster.leader();
            let before = count();
            let killed = cluster.kill(&leader.name);
            println!("killed {}, which led", leader.name);
            assert_ne!(cluster.leader().pid, Some(killed));
            until("tables are created again", || count() > before + 1);
            cluster.restarted(&leader.name, killed);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut expected = created.into_inner().expect("no panic");
    expected.push("default".to_owned());
    expected.sort();
    let found = tables(&cluster);
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected);
    assert!(found.values().all(|ids| ids.len() == 1), "{found:?}");
    // The last leader changes configurations, too.
    let server = &cluster.replica_servers()[0];
    let killed = cluster.kill(&server.name);
    writers.go_on(100);
    cluster.restarted(&server.name, killed);
    cluster.equal_copies("default", 3);
    check(&writers.stop(), &mut Sdk::new(&cluster.meta(), "default"));
}

#[test]
fn one_meta_server_is_enough_to_find_the_one_that_leads() {
    let ensemble = Ensemble::start(1);
    let cluster = cluster(&ensemble);
    let leader = cluster.leader();
    for address in cluster.meta().split(',') {
        let shell = tests::shell::Shell::new(address.to_owned());
        assert!(
            shell
                .json(&["nodes"])
                .as_array()
                .is_some_and(|nodes| nodes.len() == 3)
        );
        let mut sdk = Sdk::new(address, "default");
        let pair = (address.to_owned(), "found".to_owned());
        sdk.write(std::slice::from_ref(&pair))
            .expect("a healthy cluster takes writes");
        assert_eq!(sdk.read(&[pair.0]), Ok(vec![Some(pair.1)]));
    }
    assert_eq!(cluster.leader(), leader, "asking changes nothing");
    let mut pages = 0;
    for server in cluster
        .servers()
        .iter()
        .filter(|server| server.role == "meta")
    {
        let http = server.http.as_deref().expect("it speaks HTTP");
        assert_eq!(get(http, "/ready"), (200, "ok\n".into()), "{}", server.name);
        let (status, page) = get(http, "/");
        let grpc = leader.grpc.as_deref().expect("it speaks gRPC");
        match status {
            200 => pages += 1,
            _ => assert!(page.contains(&format!("{grpc} does")), "{page}"),
        }
    }
    assert_eq!(pages, 1, "the leader has the page");
}

#[test]
fn clients_notice_nothing_when_zookeeper_fails_in_part_and_whole() {
    let mut ensemble = Ensemble::start(3);
    let cluster = cluster(&ensemble);
    let writers = writers(&cluster);
    let killed = ensemble.kill_leader();
    println!("ZooKeeper's leader, server {}, is dead", killed + 1);
    cluster.create("without-one");
    writers.go_on(100);
    ensemble.start_again();
    ensemble.kill_all();
    let addresses: Vec<String> = cluster.meta().split(',').map(str::to_owned).collect();
    until("no meta server leads", || {
        metas::leader(&addresses).is_err()
    });
    writers.go_on(200);
    ensemble.start_again();
    cluster.create("with-all-again");
    let server = &cluster.replica_servers()[0];
    assert_eq!(tables(&cluster).len(), 3);
    none_failed(&cluster, writers);
    let killed = cluster.kill(&server.name);
    cluster.restarted(&server.name, killed);
    cluster.equal_copies("default", 3);
}

#[test]
fn a_leader_that_was_stopped_changes_nothing_when_it_wakes_up() {
    let ensemble = Ensemble::start(1);
    let cluster = cluster(&ensemble);
    let writers = writers(&cluster);
    let old = cluster.leader();
    let address = old.grpc.clone().expect("a meta server has a port");
    process::stop(old.process());
    // It lies in the stopped server's socket, which answers it first of all when it goes on: as a leader would, for all it knows.
    let asked = std::thread::spawn({
        let address = address.clone();
        move || metas::create_table(&address, "ghost")
    });
    let new = eventually("another meta server leads", || {
        let leader = cluster.leader();
        (leader.name != old.name)
            .then_some(leader)
            .ok_or(old.name.clone())
    });
    println!("{} led and was stopped, {} leads", old.name, new.name);
    cluster.create("by-the-new-leader");
    process::go_on(old.process());
    let answer = asked.join().expect("no panic");
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(cluster.leader(), new);
    cluster.create("after-it-woke-up");
    let found: Vec<String> = tables(&cluster).into_keys().collect();
    assert_eq!(found, ["after-it-woke-up", "by-the-new-leader", "default"]);
    none_failed(&cluster, writers);
}
