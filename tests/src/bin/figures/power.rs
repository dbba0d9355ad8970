//! The power of all machines fails at once, again and again: is everything there that was acknowledged?
//!
//! Each server, the meta server too, has a file system of its own that stops in the middle of what it does, so that only what was
//! synced survives: the log's, RocksDB's and the meta server's files alike.

use crate::outages::progress;
use crate::report::line;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use tests::faults::clients::{Clients, Way};
use tests::faults::keys::Keys;
use tests::faults::run::read_all;
use tests::fleet::cluster::TABLE;
use tests::fleet::{Fleet, FleetOptions};
use tests::history::Recorder;

/// Small, so that RocksDB has flushed and log segments have been reused before long.
const SETTINGS: &str =
    "[replica.budgets]\nlog = \"64MiB\"\nmemtables = \"4MiB\"\noverlay = \"4MiB\"\n";
const DISK: u64 = 1024;
/// For each door.
const CLIENTS: usize = 4;

pub(crate) fn run(durability: &str, seed: u64, rounds: usize) -> bool {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut fleet = Fleet::start(FleetOptions {
        durability: durability.to_owned(),
        namespaces: false,
        disks: Some(DISK),
        settings: SETTINGS.to_owned(),
        ..FleetOptions::default()
    });
    let gateway = fleet
        .server("gateway-1")
        .redis
        .expect("a gateway has a port");
    let doors = [
        Way::Sdk(fleet.meta()),
        Way::Redis(gateway.reached.to_string()),
    ];
    let (mut acknowledged, mut wrong) = (0, 0);
    for round in 0..rounds {
        let recorder = Arc::new(Recorder::default());
        let keys = Arc::new(Keys::new(format!("power:{seed}:{round}")));
        let ways: Vec<Way> = doors
            .iter()
            .flat_map(|way| vec![way.clone(); CLIENTS])
            .collect();
        let clients = Clients::start(&ways, TABLE, &keys, &recorder, random.random());
        std::thread::sleep(Duration::from_millis(random.random_range(100..2000)));
        fail(&mut fleet);
        clients.stop();
        fleet.whole();
        read_all(&recorder, &doors, ways.len() as u32);
        acknowledged += recorder.counts().replied;
        for (key, violation) in recorder.violations() {
            wrong += 1;
            eprintln!(
                "not linearizable: {key}: {violation}\n{}",
                recorder.told(&key)
            );
        }
        fleet.equal_copies();
        progress(&format!(
            "round {}: {acknowledged} answers, {wrong} wrong keys",
            round + 1
        ));
    }
    line(
        &format!(
            "{rounds} rounds of losing all unsynced bytes on all nodes at once, durability {durability}"
        ),
        &format!("{acknowledged} answers, {wrong} keys with less than was acknowledged"),
    );
    wrong == 0
}

/// The power fails and comes back.
fn fail(fleet: &mut Fleet) {
    let disks = || {
        fleet
            .servers
            .iter()
            .filter_map(|server| server.disk.as_ref())
    };
    for disk in disks() {
        disk.lose_power()
            .expect("the kernel can stop a file system");
    }
    for server in &fleet.servers {
        server.strike();
    }
    for server in &mut fleet.servers {
        server.reap();
    }
    for server in &mut fleet.servers {
        if let Some(disk) = &server.disk {
            disk.detach()
                .and_then(|()| disk.attach())
                .unwrap_or_else(|error| panic!("{error}"));
        }
        server
            .start()
            .unwrap_or_else(|error| panic!("{error}\n{}", server.last_words(20)));
    }
}
