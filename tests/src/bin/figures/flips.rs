//! One replica's files go bad, many places at a time: is any read wrong, and is everything repaired?

use crate::outages::progress;
use crate::report::line;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tests::Door;
use tests::doors::{Redis, Sending};
use tests::faults::damage::damage;
use tests::faults::inject::heal;
use tests::fleet::{Fleet, FleetOptions};
use tests::poll::eventually;

/// Small, so that most of the data is in RocksDB's files.
const SETTINGS: &str = "[replica.budgets]\nlog = \"64MiB\"\nmemtables = \"4MiB\"\noverlay = \"4MiB\"\nrow_cache = \"1MiB\"\nblock_cache = \"4MiB\"\n";
/// Whoever has lost its name comes back as a new node, which is given copies after this.
const REPAIR: &str = "repair_delay = \"1s\"\n";
const KEYS: usize = 20_000;
const VALUE: usize = 1000;
const BATCH: usize = 200;
/// Places at once.
const PLACES: usize = 100;

pub(crate) fn run(durability: &str, seed: u64, count: usize) -> bool {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut fleet = Fleet::start(FleetOptions {
        durability: durability.to_owned(),
        namespaces: false,
        settings: SETTINGS.to_owned(),
        meta_settings: REPAIR.to_owned(),
        ..FleetOptions::default()
    });
    let names: Vec<String> = fleet
        .replica_servers()
        .map(|server| server.name.clone())
        .collect();
    let ports = fleet.redis_ports();
    let (mut damaged, mut wrong, mut rounds) = (0, 0, 0);
    while damaged < count {
        write(&ports[rounds % ports.len()], rounds);
        let server = fleet.server_mut(&names[rounds % names.len()]);
        server.kill();
        let data = server.data_dir.clone().expect("replica servers have data");
        damaged += damage(&data, PLACES.min(count - damaged), &mut random)
            .expect("its files are ours")
            .len();
        heal(&mut fleet);
        // While it repairs itself, and after.
        wrong += read(&ports[rounds % ports.len()], rounds);
        fleet.equal_copies();
        for port in &ports {
            wrong += read(port, rounds);
        }
        rounds += 1;
        progress(&format!(
            "round {rounds}: {damaged} damages, {wrong} wrong reads"
        ));
    }
    line(
        "random bit flips and truncations of one replica's files",
        &format!("{damaged} in {rounds} rounds: {wrong} wrong reads, all repaired"),
    );
    wrong == 0
}

/// What a key holds after that round's writing; each round writes every third key anew.
fn value(key: usize, round: usize) -> String {
    let written = (0..=round)
        .rev()
        .find(|written| written % 3 == key % 3 || *written == 0)
        .unwrap_or(0);
    let text = format!("{key} written in round {written}; ");
    text.repeat(VALUE / text.len())
}

fn name(key: usize) -> String {
    format!("flips:{key}")
}

fn write(port: &str, round: usize) {
    let mut door = Redis::new(port, Sending::Pipelined);
    let keys: Vec<usize> = (0..KEYS)
        .filter(|key| round == 0 || key % 3 == round % 3)
        .collect();
    for keys in keys.chunks(BATCH) {
        let pairs: Vec<_> = keys
            .iter()
            .map(|&key| (name(key), value(key, round)))
            .collect();
        eventually("a healthy cluster takes writes", || door.write(&pairs));
    }
}

/// How many keys are not what they must be.
fn read(port: &str, round: usize) -> usize {
    let mut door = Redis::new(port, Sending::Pipelined);
    let mut wrong = 0;
    let keys: Vec<usize> = (0..KEYS).collect();
    for keys in keys.chunks(BATCH) {
        let names: Vec<String> = keys.iter().map(|&key| name(key)).collect();
        let values = eventually("a read is answered", || door.read(&names));
        for (&key, read) in keys.iter().zip(values) {
            if read.as_deref() != Some(value(key, round).as_str()) {
                wrong += 1;
                eprintln!("{} is {read:?}", name(key));
            }
        }
    }
    wrong
}
