//! What ZooKeeper does to the meta server that leads: it ends its session, or answers too late.

use crate::cluster::{Cluster, LATCHES};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::fleet::network::Network;
use tests::fleet::proxy::{Behaviour, Direction};
use tests::metas;
use tests::poll::until;
use tests::writers::{Writers, check};

/// Longer than a session.
const LATE: Duration = Duration::from_secs(2);

/// Stops whoever looks at it, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(Network::loopback());
    let metas = cluster.addresses();
    cluster.serve(&metas);
    cluster
}

/// Nobody may have had an error so far.
fn none_failed(writers: &Writers) {
    writers.go_on(100);
    assert_eq!(writers.errors(), 0, "no meta server is on the data's path");
}

/// Every table that was created is there once, and no number was given to another, or twice.
fn exactly(cluster: &Cluster, mut expected: Vec<String>) {
    let (numbers, mut names): (Vec<u64>, Vec<String>) = cluster.tables().into_iter().unzip();
    assert_eq!(numbers, (1..=expected.len() as u64).collect::<Vec<_>>());
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

/// A replica server dies and comes back, and by the meta server that leads now its partitions are whole again.
fn heals(cluster: &mut Cluster) {
    let server = &mut cluster.others[0];
    server.kill();
    server.start().expect("it starts again");
    cluster.all_joined();
    cluster.equal_copies("default");
}

#[test]
fn a_leader_whose_session_expired_leads_no_longer_and_competes_again_in_the_same_process() {
    let mut cluster = cluster();
    let writers = cluster.writers();
    let processes = |cluster: &Cluster| -> Vec<Option<u32>> {
        let metas = cluster.metas.iter();
        metas
            .map(|meta| meta.server.pid().filter(|_| meta.server.lives()))
            .collect()
    };
    let started = processes(&cluster);
    let first = cluster.leader();
    let mut expected = vec!["default".to_owned()];
    let mut leader = first;
    let mut led = Vec::new();
    // Whoever lost its session goes to the end of the line, so that each has its turn.
    while led.len() < 3 {
        cluster.all_compete();
        cluster
            .ensemble
            .expire(cluster.ensemble.holders(LATCHES)[0], LATCHES);
        let address = cluster.addresses()[leader].clone();
        let answer = metas::create_table(&address, "ghost");
        assert!(answer.is_err(), "{answer:?} without a session");
        let next = cluster.leader_after(leader);
        let names = [leader, next].map(|index| &cluster.metas[index].server.name);
        println!("{}'s session expired, {} leads", names[0], names[1]);
        led.push(next);
        leader = next;
        let name = format!("table-{}", led.len());
        cluster.create(&name);
        expected.push(name);
        cluster.all_joined();
        none_failed(&writers);
    }
    assert_eq!(led[2], first, "the first one leads again after {led:?}");
    assert_eq!(processes(&cluster), started, "no process has ended");
    exactly(&cluster, expected);
    heals(&mut cluster);
    check(&writers.stop(), &mut cluster.sdk());
}

#[test]
fn what_a_leader_stored_without_hearing_of_it_is_there_once_when_another_leads() {
    let mut cluster = cluster();
    let writers = cluster.writers();
    let mut expected = vec!["default".to_owned()];
    for round in 1..=2 {
        cluster.all_compete();
        let former = cluster.leader();
        let address = cluster.addresses()[former].clone();
        // What it asks for is done, and it is never told.
        cluster.metas[former]
            .zookeeper
            .behave(Behaviour::Stall(Direction::Out));
        let name = format!("stored-{round}");
        let answer = metas::create_table(&address, &name);
        assert!(
            answer.is_err(),
            "{answer:?} before it is known to be stored"
        );
        cluster.leader_after(former);
        expected.push(name.clone());
        exactly(&cluster, expected.clone());
        // The answers come after all, much too late.
        cluster.metas[former].zookeeper.behave(Behaviour::Pass);
        cluster.all_compete();
        let again = cluster.shell().try_json(&["table", "create", &name]);
        assert!(again.is_err_and(|reason| reason.contains("already")));
        cluster.all_joined();
        cluster.shell().equal_copies(&name, 1);
        none_failed(&writers);
    }
    exactly(&cluster, expected);

    // Who takes over from a dead server is stored like this, too, and whoever proposed it hears of it from the next leader.
    let former = cluster.leader();
    cluster.metas[former]
        .zookeeper
        .behave(Behaviour::Stall(Direction::Out));
    cluster.others[0].kill();
    cluster.leader_after(former);
    writers.go_on(200);
    cluster.metas[former].zookeeper.behave(Behaviour::Pass);
    cluster.others[0].start().expect("it starts again");
    cluster.all_compete();
    cluster.all_joined();
    cluster.equal_copies("default");
    check(&writers.stop(), &mut cluster.sdk());
}

#[test]
fn tables_are_created_once_whoever_leads_while_zookeeper_answers_the_leader_too_late() {
    let mut cluster = cluster();
    let writers = cluster.writers();
    let (stop, created) = (
        AtomicBool::new(false),
        Mutex::new(vec!["default".to_owned()]),
    );
    let count = || created.lock().expect("no panic").len();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
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
            cluster.all_compete();
            let former = cluster.leader();
            cluster.metas[former]
                .zookeeper
                .behave(Behaviour::Delay(LATE));
            let next = cluster.leader_after(former);
            let names = [former, next].map(|index| &cluster.metas[index].server.name);
            println!("{} was answered late, {} leads", names[0], names[1]);
            let before = count();
            until("tables are created again", || count() > before + 1);
            let late = &cluster.metas[former];
            let tried = || {
                late.server
                    .last_words(usize::MAX)
                    .matches("cannot lead")
                    .count()
            };
            let so_far = tried();
            until("it tries in vain to connect again", || tried() > so_far);
            late.zookeeper.behave(Behaviour::Pass);
        }
    });
    cluster.all_compete();
    none_failed(&writers);
    exactly(&cluster, created.into_inner().expect("no panic"));
    heals(&mut cluster);
    check(&writers.stop(), &mut cluster.sdk());
}
