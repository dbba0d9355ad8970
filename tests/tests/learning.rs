//! A server that gets whole copies while clients write as fast as they can: a transfer that is cut off goes on where it was, keeps to its
//! rate, and is begun anew when writes outrun it; in the end all copies are equal and hold whatever was acknowledged.

use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::SmallRng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::Door;
use tests::doors::{Redis, Sdk, Sending};
use tests::fleet::cluster::TABLE;
use tests::fleet::proxy::Behaviour;
use tests::fleet::{Fleet, FleetOptions, Server};
use tests::poll::{eventually, until};
use tests::writers::{self, Writers};

/// The one that loses its copy. Which others have one, and who leads, is as it comes.
const LEARNER: &str = "replica-3";
/// What no compression makes smaller.
const LARGE: usize = 16 << 10;
const MIB: u64 = 1 << 20;

/// Three servers with a copy of one partition each; one of them reached through proxies. A node without data gets a copy at once.
fn fleet(settings: &str) -> Fleet {
    Fleet::start(FleetOptions {
        partitions: 1,
        namespaces: false,
        meta_settings: "repair_delay = \"0s\"\n".to_owned(),
        settings: settings.to_owned(),
        proxied: vec![LEARNER.to_owned()],
        ..FleetOptions::default()
    })
}

/// Writes so many MiB of large values, a MiB at a time, until `enough`.
fn fill(fleet: &Fleet, seed: u64, mib: u64, mut enough: impl FnMut() -> bool) {
    let mut random = SmallRng::seed_from_u64(seed);
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    let mut door = Redis::new(&gateway, Sending::Pipelined);
    for batch in 0..mib {
        if enough() {
            return;
        }
        let pair = |number: u64| {
            let value = Alphanumeric.sample_string(&mut random, LARGE);
            (format!("large:{batch}:{number}"), value)
        };
        let pairs: Vec<_> = (0..MIB / LARGE as u64).map(pair).collect();
        door.write(&pairs).expect("there is a majority of copies");
    }
}

fn write_on(fleet: &Fleet, seed: u64) -> Writers {
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    let pipelined: Box<dyn Door> = Box::new(Redis::new(&gateway, Sending::Pipelined));
    let sdk: Box<dyn Door> = Box::new(Sdk::new(&fleet.meta(), TABLE));
    Writers::start(
        seed,
        vec![("pipelined".to_owned(), pipelined), ("sdk".to_owned(), sdk)],
    )
}

/// Its server is killed and comes back with an empty directory: a new node.
fn lose_copy(fleet: &mut Fleet) {
    fleet.server_mut(LEARNER).kill();
    std::fs::remove_dir_all(data_dir(fleet.server(LEARNER))).expect("it is ours");
    eventually("the others go on", || {
        let placement = fleet.placement()?.swap_remove(0);
        let out = placement.primary != LEARNER
            && !placement.secondaries.iter().any(|name| name == LEARNER);
        out.then_some(()).ok_or_else(|| format!("{placement:?}"))
    });
    let started = fleet.server_mut(LEARNER).start();
    started.unwrap_or_else(|error| panic!("{error}"));
}

fn data_dir(server: &Server) -> PathBuf {
    server.data_dir.clone().expect("it has data")
}

fn proxies(fleet: &Fleet, behaviour: Behaviour) {
    for proxy in &fleet.server(LEARNER).proxies {
        proxy.behave(behaviour);
    }
}

/// Bytes of checkpoints that have arrived and are not whole yet.
fn arrived(server: &Server) -> u64 {
    fn below(directory: &Path) -> u64 {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let size = |entry: std::fs::DirEntry| match entry.metadata() {
            Ok(about) if about.is_dir() => below(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        };
        entries.map(size).sum()
    }
    below(&data_dir(server).join("data").join("incoming"))
}

/// The numbers called `name` in the lines of the server's log that have these words.
fn told(server: &Server, words: &str, name: &str) -> Vec<u64> {
    let log = server.last_words(usize::MAX);
    let lines = log.lines().filter(|line| line.contains(words));
    let number = |line: &str| {
        let (_, after) = line.split_once(&format!(" {name}="))?;
        after.split_whitespace().next()?.parse().ok()
    };
    lines.filter_map(number).collect()
}

fn said(fleet: &Fleet, words: &str) -> usize {
    let count = |server: &Server| {
        let log = server.last_words(usize::MAX);
        log.lines().filter(|line| line.contains(words)).count()
    };
    fleet.replica_servers().map(count).sum()
}

fn all_is_well(fleet: &Fleet, writers: Writers) {
    fleet.whole();
    writers.go_on(1000);
    assert_eq!(writers.errors(), 0, "no client noticed anything");
    let record = writers.stop();
    fleet.equal_copies();
    for port in fleet.redis_ports() {
        writers::check(&record, &mut Redis::new(&port, Sending::Pipelined));
    }
}

#[test]
fn a_transfer_that_is_cut_off_goes_on_where_it_was_at_its_rate_while_clients_write() {
    let seed = writers::seed();
    let mut fleet = fleet(
        "[replica.learn]
rate = \"8MiB\"
[replica.budgets]
overlay = \"4MiB\"
memtables = \"4MiB\"
log = \"128MiB\"
",
    );
    // The log does not keep all of it.
    fill(&fleet, seed, 96, || false);
    let began = Instant::now();
    lose_copy(&mut fleet);
    let writers = write_on(&fleet, seed);
    let attempts = |fleet: &Fleet| told(fleet.server(LEARNER), "a checkpoint arrives", "held");
    let mut cuts = Vec::new();
    for (cut, wanted) in [
        (Cut::Connection, 8),
        (Cut::Learner, 24),
        (Cut::Connection, 40),
    ] {
        until(&format!("{wanted} MiB have arrived"), || {
            let bytes = arrived(fleet.server(LEARNER));
            let most = began.elapsed().as_secs_f64() * (8 * MIB) as f64 + MIB as f64;
            assert!((bytes as f64) < most, "{bytes} bytes have arrived already");
            bytes >= wanted * MIB
        });
        writers.go_on(100);
        // What had arrived before the cut, and the number of the next attempt.
        cuts.push((arrived(fleet.server(LEARNER)), attempts(&fleet).len()));
        match cut {
            Cut::Connection => {
                let failed = "a checkpoint did not reach its learner";
                let before = said(&fleet, failed);
                proxies(&fleet, Behaviour::Reset);
                until("the source notices", || said(&fleet, failed) > before);
                proxies(&fleet, Behaviour::Pass);
            }
            Cut::Learner => {
                fleet.server_mut(LEARNER).kill();
                let started = fleet.server_mut(LEARNER).start();
                started.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        writers.go_on(100);
    }
    fleet.whole();
    let found = attempts(&fleet);
    let of = told(fleet.server(LEARNER), "a checkpoint arrives", "of");
    println!("before each cut: {cuts:?}; found by each attempt: {found:?} of {of:?}");
    for (arrived, next) in cuts {
        assert!(found[next] >= arrived, "what had arrived was sent again");
        assert_eq!(
            of[next],
            of[next - 1],
            "the next attempt is about the same files"
        );
    }
    all_is_well(&fleet, writers);
}

#[derive(Clone, Copy)]
enum Cut {
    Connection,
    Learner,
}

#[test]
fn a_learner_that_writes_outrun_gets_a_fresh_copy_and_becomes_a_member() {
    let seed = writers::seed();
    let mut fleet = fleet(
        "[replica.budgets]
overlay = \"4MiB\"
memtables = \"4MiB\"
log = \"64MiB\"
",
    );
    fill(&fleet, seed, 32, || false);
    // 64 KiB each time.
    proxies(&fleet, Behaviour::Delay(Duration::from_millis(50)));
    lose_copy(&mut fleet);
    let writers = write_on(&fleet, seed);
    until("a checkpoint is on its way", || {
        arrived(fleet.server(LEARNER)) > 0
    });
    // The log has room for a quarter of its budget beyond what it keeps anyway.
    let outran = "writes outran a checkpoint";
    fill(&fleet, seed + 1, 1024, || said(&fleet, outran) > 0);
    assert!(said(&fleet, outran) > 0);
    let log = |server: &Server| {
        let log = data_dir(server).join("log").join("sync");
        let entries = std::fs::read_dir(log).into_iter().flatten().flatten();
        let sizes = entries.filter_map(|entry| entry.metadata().ok());
        sizes.map(|about| about.len()).sum::<u64>()
    };
    for server in fleet.replica_servers() {
        // Some files of it are kept ready for what comes.
        assert!(log(server) <= 72 * MIB, "{}'s log is bounded", server.name);
    }
    proxies(&fleet, Behaviour::Pass);
    all_is_well(&fleet, writers);
}
