//! The power of all machines fails at once, again and again: is everything there that was acknowledged?
//!
//! Each server, the meta server too, has a disk of its own that keeps what was synced and nothing else: the log's, RocksDB's and the meta
//! server's files alike.

use super::clients::{Clients, Way};
use super::keys::Keys;
use super::run::read_all;
use crate::fleet::cluster::TABLE;
use crate::fleet::{Fleet, FleetOptions, Server, VolatileDisk};
use crate::history::Recorder;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

/// Small, so that RocksDB has flushed and log segments have been reused before long.
const SETTINGS: &str =
    "[replica.budgets]\nlog = \"16MiB\"\nmemtables = \"64KiB\"\noverlay = \"64KiB\"\n";
/// Of an image, in MiB.
const DISK: u64 = 1024;
/// For each door.
const CLIENTS: usize = 4;

/// What servers store on, and what of it a power loss leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disks {
    /// In memory: of what was not synced nothing is left.
    Volatile,
    /// In memory: of what was not synced any block and any name may be left, and others not.
    Torn,
    /// In memory: syncs are said to have worked and do nothing, once the cluster stands.
    Lying,
    /// An ext4 in an image that the kernel stops at once, its journal unwritten: what the kernel has written by itself is left.
    Ext4,
}

/// What a run does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `sync` or `buffered`.
    pub durability: String,
    /// Draws what clients do, for how long, and what is left.
    pub seed: u64,
    /// Power losses.
    pub rounds: usize,
    /// What on.
    pub disks: Disks,
}

/// What a run saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Operations with an answer.
    pub answers: u64,
    /// Keys that were read after the last power loss, those of all rounds.
    pub keys: usize,
    /// Keys of which something is missing that was acknowledged, or that were read wrongly.
    pub wrong: usize,
}

/// Runs so many rounds; `progress` is told after each.
pub fn run(settings: &Settings, mut progress: impl FnMut(usize, Seen)) -> Seen {
    let mut random = SmallRng::seed_from_u64(settings.seed);
    let mut fleet = Fleet::start(FleetOptions {
        durability: settings.durability.clone(),
        namespaces: false,
        disks: (settings.disks == Disks::Ext4).then_some(DISK),
        volatile: settings.disks != Disks::Ext4,
        settings: SETTINGS.to_owned(),
        ..FleetOptions::default()
    });
    let gateway = fleet.server("gateway-1").redis;
    let gateway = gateway.expect("a gateway has a port").reached.to_string();
    let doors = [Way::Sdk(fleet.meta()), Way::Redis(gateway)];
    let ways: Vec<Way> = doors
        .iter()
        .flat_map(|way| vec![way.clone(); CLIENTS])
        .collect();
    let (mut recorders, mut seen) = (Vec::new(), Seen::default());
    for round in 0..settings.rounds {
        let recorder = Arc::new(Recorder::default());
        let keys = Arc::new(Keys::new(format!("power:{}:{round}", settings.seed)));
        if settings.disks == Disks::Lying {
            let replicas = fleet.replica_servers();
            replicas
                .filter_map(|server| server.volatile.as_ref())
                .for_each(VolatileDisk::ignore_syncs);
        }
        let clients = Clients::start(&ways, TABLE, &keys, &recorder, random.random());
        std::thread::sleep(Duration::from_millis(random.random_range(100..2000)));
        fail(&mut fleet, settings.disks, &mut random);
        clients.stop();
        fleet.whole();
        read_all(&recorder, &doors, ways.len() as u32);
        seen.answers += recorder.counts().replied;
        seen.wrong += judge(&recorder);
        fleet.equal_copies();
        recorders.push(recorder);
        progress(round + 1, seen);
    }
    // What outlived the loss after it must outlive all later ones.
    seen.wrong = 0;
    for recorder in &recorders {
        read_all(recorder, &doors[..1], ways.len() as u32);
        seen.keys += recorder.keys().len();
        seen.wrong += judge(recorder);
    }
    seen
}

fn judge(recorder: &Recorder) -> usize {
    let violations = recorder.violations();
    for (key, violation) in &violations {
        let told = recorder.told(key);
        eprintln!("not linearizable: {key}: {violation}\n{told}");
    }
    violations.len()
}

/// The power fails and comes back.
fn fail(fleet: &mut Fleet, disks: Disks, random: &mut SmallRng) {
    for disk in fleet.servers.iter().filter_map(|it| it.disk.as_ref()) {
        disk.lose_power()
            .expect("the kernel can stop a file system");
    }
    fleet.servers.iter().for_each(Server::strike);
    for disk in fleet.servers.iter().filter_map(|it| it.volatile.as_ref()) {
        disk.lose_power_but(|| disks == Disks::Torn && random.random());
    }
    fleet.servers.iter_mut().for_each(Server::reap);
    for server in &mut fleet.servers {
        if let Some(disk) = &server.disk {
            disk.detach()
                .and_then(|()| disk.attach())
                .unwrap_or_else(|error| panic!("{error}"));
        }
        if let Some(disk) = &mut server.volatile {
            disk.mend();
            disk.restore_power()
                .unwrap_or_else(|error| panic!("{}: {error}", server.name));
        }
        server
            .start()
            .unwrap_or_else(|error| panic!("{error}\n{}", server.last_words(20)));
    }
}
