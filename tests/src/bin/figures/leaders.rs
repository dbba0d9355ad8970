//! What the loss of the meta leader, of ZooKeeper's leader and of the whole ensemble costs.

use crate::outages::progress;
use crate::report::{Spans, line};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::doors::{Redis, Sdk, Sending};
use tests::ensemble::Ensemble;
use tests::poll::until;
use tests::writers::{Writers, check};
use tests::{Cluster, Door, Options};

fn cluster(ensemble: &Ensemble, durability: &str, session: &str) -> Cluster {
    let zookeeper = format!("{}/tulpar/figures", ensemble.servers());
    Cluster::start(
        Options::default()
            .durability(durability)
            .meta_servers(3, &zookeeper)
            .setting("TULPAR__META__ZOOKEEPER_SESSION_TIMEOUT", session),
    )
}

fn writers(cluster: &Cluster, seed: u64) -> Writers {
    let doors: Vec<(String, Box<dyn Door>)> = vec![
        (
            "gateway".into(),
            Box::new(Redis::new(&cluster.gateway(), Sending::Pipelined)),
        ),
        ("sdk".into(), Box::new(Sdk::new(&cluster.meta(), "default"))),
    ];
    Writers::start(seed, doors)
}

/// Whether the table was created, by this attempt or by one whose answer was lost.
fn created(cluster: &Cluster, name: &str) -> bool {
    let create = [
        "table",
        "create",
        name,
        "--partitions",
        "1",
        "--replicas",
        "3",
    ];
    match cluster.try_shell(&create) {
        Ok(_) => true,
        Err(reason) => reason.contains("already"),
    }
}

/// Tables that are not there, or there twice.
fn missing_or_doubled(cluster: &Cluster, expected: &BTreeSet<String>) -> usize {
    let listed = cluster.shell(&["table", "list"]);
    let listed = listed.as_array().expect("a list of tables");
    let names: Vec<&str> = listed
        .iter()
        .filter_map(|table| table["name"].as_str())
        .collect();
    let ids: BTreeSet<u64> = listed
        .iter()
        .filter_map(|table| table["id"].as_u64())
        .collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    let missing = expected
        .iter()
        .filter(|name| !unique.contains(name.as_str()))
        .count();
    missing + (names.len() - unique.len()) + (names.len() - ids.len())
}

/// The names of tables that somebody creates all the time, and when each was there.
#[derive(Default)]
struct Creating {
    stop: AtomicBool,
    done: Mutex<Vec<(String, Instant, Instant)>>,
}

impl Creating {
    fn run(&self, cluster: &Cluster) {
        for number in 0.. {
            let name = format!("table-{number}");
            let mut asked = Instant::now();
            while !created(cluster, &name) {
                asked = Instant::now();
            }
            self.lock().push((name, asked, Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Instant, Instant)>> {
        self.done.lock().expect("no panic while it is held")
    }

    /// When the first one was there that was asked for after the moment, or was under way then.
    fn done_after(&self, moment: Instant) -> Instant {
        let mut done = None;
        until("a table is created again", || {
            done = self
                .lock()
                .iter()
                .map(|(_, _, at)| *at)
                .find(|at| *at > moment);
            done.is_some()
        });
        done.expect("it was waited for")
    }
}

pub(crate) fn kill(durability: &str, seed: u64, count: usize, session: &str) -> bool {
    let ensemble = Ensemble::start(3);
    let cluster = cluster(&ensemble, durability, session);
    let writers = writers(&cluster, seed);
    let creating = Creating::default();
    let mut spans = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| creating.run(&cluster));
        for round in 0..count {
            creating.done_after(Instant::now());
            let leader = cluster.leader();
            let killed = cluster.kill(&leader.name);
            let moment = Instant::now();
            spans.push(creating.done_after(moment).duration_since(moment));
            cluster.restarted(&leader.name, killed);
            progress(&format!("kill {}: {:?}", round + 1, spans[round]));
        }
        creating.stop.store(true, Ordering::Relaxed);
    });
    let names: BTreeSet<String> = creating
        .lock()
        .iter()
        .map(|(name, ..)| name.clone())
        .collect();
    let (wrong, errors) = (missing_or_doubled(&cluster, &names), writers.errors());
    line(
        &format!(
            "kill -9 of the meta leader, sessions of {session}: time to the next table created"
        ),
        &format!(
            "{}; {wrong} of {} tables lost or doubled, {errors} errors on the data path",
            Spans::new(spans),
            names.len()
        ),
    );
    check(&writers.stop(), &mut Sdk::new(&cluster.meta(), "default"));
    wrong == 0 && errors == 0
}

pub(crate) fn ensemble(durability: &str, seed: u64, down: Duration, session: &str) -> bool {
    let mut ensemble = Ensemble::start(3);
    let cluster = cluster(&ensemble, durability, session);
    let writers = writers(&cluster, seed);
    let create = |name: &str| {
        let moment = Instant::now();
        until("a table is created", || created(&cluster, name));
        moment.elapsed()
    };
    create("before");
    ensemble.kill_leader();
    let without_leader = create("without-leader");
    ensemble.start_again();
    ensemble.kill_all();
    let moment = Instant::now();
    while moment.elapsed() < down {
        std::thread::sleep(Duration::from_secs(1));
        progress(&format!("down for {:.0} s", moment.elapsed().as_secs_f64()));
    }
    writers.go_on(100);
    ensemble.start_again();
    let again = create("again");
    let errors = writers.errors();
    line(
        "kill -9 of ZooKeeper's leader: time to the next table created",
        &format!("{without_leader:.1?}"),
    );
    line(
        &format!(
            "ZooKeeper down for {:.0} s: errors on the data path; time to the next table created when it is back",
            down.as_secs_f64()
        ),
        &format!("{errors}; {again:.1?}"),
    );
    check(&writers.stop(), &mut Sdk::new(&cluster.meta(), "default"));
    errors == 0
}
