//! Rounds: clients work while faults come and go; then everything is healed, every key is read through every door, and the round is
//! judged.
//!
//! A round that fails leaves its histories and the servers' logs in a folder, and says how to repeat it. Repeating draws the same
//! faults; what the machine makes of them is its own affair.

use super::clients::{Client, Clients, Way};
use super::fault::{Fault, draw};
use super::inject::{deaths, heal, inject, targets};
use super::keys::Keys;
use crate::fleet::cluster::TABLE;
use crate::fleet::{Fleet, FleetOptions, Role};
use crate::history::recorder::Recorder;
use crate::history::{Call, Outcome};
use crate::poll::eventually;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::any::Any;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Draws the cluster and every fault.
    pub seed: u64,
    /// How long, the last round ends when it is over.
    pub time: Duration,
    /// Of one round with faults.
    pub round: Duration,
    /// Clients for each door.
    pub clients: usize,
    /// Separate networks, if the machine lets us.
    pub namespaces: bool,
    /// Separate disks, which need root.
    pub disks: bool,
    /// Where a failed round's histories and logs go.
    pub evidence: PathBuf,
}

/// What a run saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Rounds that were judged.
    pub rounds: u64,
    /// Faults that were done.
    pub faults: u64,
    /// Operations with an answer.
    pub replied: u64,
    /// With the promise that nothing took effect.
    pub refused: u64,
    /// Without either.
    pub unknown: u64,
}

/// Room on each separate disk, in MiB. Its log fits in a quarter of it.
const DISK: u64 = 1024;
/// Where there are more servers than copies, the copies of one that is away are soon made elsewhere.
const REPAIR: &str = "repair_delay = \"2s\"\n";
const SMALL: &str = "[replica.budgets]\nlog = \"128MiB\"\nmemtables = \"32MiB\"\noverlay = \"32MiB\"\nrow_cache = \"32MiB\"\nblock_cache = \"32MiB\"\n";

/// Runs until the time is over or a round fails.
pub fn run(settings: &Settings) -> Result<Summary, String> {
    let mut random = SmallRng::seed_from_u64(settings.seed);
    let options = cluster(settings, &mut random);
    println!("{options:?}");
    let mut fleet = Fleet::start(options);
    if settings.namespaces && !fleet.network.has_links() {
        println!(
            "this machine lets us make no networks: all servers are on loopback, and links are not cut"
        );
    }
    let mut summary = Summary::default();
    let start = Instant::now();
    while start.elapsed() < settings.time {
        summary.rounds += 1;
        // What panics here has waited in vain for something that must come true.
        let judged = catch_unwind(AssertUnwindSafe(|| {
            round(&mut fleet, settings, &mut random, &mut summary)
        }));
        let verdict = judged.unwrap_or_else(|panic| Err(said(panic.as_ref())));
        verdict.map_err(|what| failed(&fleet, settings, summary.rounds, &what))?;
    }
    Ok(summary)
}

/// The cluster, too, is drawn.
fn cluster(settings: &Settings, random: &mut SmallRng) -> FleetOptions {
    let replica_servers = random.random_range(3..=5);
    let mut names: Vec<String> = (1..=replica_servers)
        .map(|n| format!("replica-{n}"))
        .collect();
    names.push("meta-1".to_owned());
    names.retain(|_| random.random());
    FleetOptions {
        replica_servers,
        copies: 3,
        partitions: *[1, 4, 8].get(random.random_range(0..3)).unwrap_or(&8),
        durability: if random.random() { "sync" } else { "buffered" }.to_owned(),
        namespaces: settings.namespaces,
        disks: settings.disks.then_some(DISK),
        clocks: true,
        meta_settings: REPAIR.to_owned(),
        settings: SMALL.to_owned(),
        proxied: names,
        ..FleetOptions::default()
    }
}

fn round(
    fleet: &mut Fleet,
    settings: &Settings,
    random: &mut SmallRng,
    summary: &mut Summary,
) -> Result<(), String> {
    let number = summary.rounds;
    let recorder = Arc::new(Recorder::default());
    let keys = Arc::new(Keys::new(format!("{}:{number}", settings.seed)));
    let ways = ways(fleet);
    let work: Vec<Way> = ways
        .iter()
        .flat_map(|way| vec![way.clone(); settings.clients])
        .collect();
    let clients = Clients::start(&work, TABLE, &keys, &recorder, random.random());
    let start = Instant::now();
    let targets = targets(fleet);
    while start.elapsed() < settings.round {
        std::thread::sleep(Duration::from_millis(random.random_range(0..1500)));
        let (faults, span) = draw(random, &targets);
        for fault in &faults {
            println!(
                "{:>8.1} s {fault}, for {span:?}",
                start.elapsed().as_secs_f64()
            );
            inject(fleet, fault, random);
            summary.faults += 1;
        }
        std::thread::sleep(span);
        // A server that cannot trust its disk any more is right to end.
        let excused = |fault: &Fault| matches!(fault, Fault::FillDisk(_) | Fault::Damage(_));
        let deaths = deaths(fleet);
        for death in &deaths {
            println!("           {death}");
        }
        if !deaths.is_empty() && !faults.iter().any(excused) {
            return Err(deaths.join("\n"));
        }
        heal(fleet);
    }
    clients.stop();
    fleet.whole();
    read_all(&recorder, &ways, work.len() as u32);
    let counts = recorder.counts();
    println!("round {number}: {counts:?}, {} keys", recorder.keys().len());
    summary.replied += counts.replied;
    summary.refused += counts.refused;
    summary.unknown += counts.unknown;
    let violations = recorder.violations();
    if violations.is_empty() {
        fleet.equal_copies();
        return Ok(());
    }
    let mut text = format!("{} keys are not linearizable", violations.len());
    for (key, violation) in &violations {
        let _ = write!(text, "\n{key}: {violation}");
        keep(
            &settings.evidence,
            &format!("{}.jsonl", key.replace(':', "-")),
            &recorder.told(key),
        );
    }
    Err(text)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "a panic that says nothing".to_owned())
}

/// Keeps the logs, and says how to repeat the run.
fn failed(fleet: &Fleet, settings: &Settings, round: u64, what: &str) -> String {
    for server in &fleet.servers {
        keep(
            &settings.evidence,
            &format!("{}.log", server.name),
            &server.last_words(usize::MAX),
        );
    }
    let (seed, evidence) = (settings.seed, settings.evidence.display());
    format!(
        "seed {seed}, round {round}: {what}\nhistories and logs are in {evidence}; --seed {seed} repeats the faults"
    )
}

/// Every port that speaks RESP, and the client library.
fn ways(fleet: &Fleet) -> Vec<Way> {
    let mut ways: Vec<Way> = fleet.redis_ports().into_iter().map(Way::Redis).collect();
    ways.push(Way::Sdk(fleet.meta()));
    // Most clients do not talk to replica servers directly.
    let gateway = fleet
        .servers
        .iter()
        .find(|server| server.role == Role::Gateway);
    ways.extend(
        gateway
            .and_then(|server| server.redis)
            .map(|port| Way::Redis(port.reached.to_string())),
    );
    ways
}

/// The final read: part of the history, so that whoever lost an acknowledged write has no order to show.
pub fn read_all(recorder: &Recorder, ways: &[Way], first_client: u32) {
    for (number, way) in (first_client..).zip(ways) {
        let mut client = Client::new(way.clone(), TABLE);
        for key in recorder.keys() {
            eventually(
                &format!("{key} can be read through {way:?}"),
                || match recorder.record(number, &key, Call::Get, || client.ask(&key, Call::Get)) {
                    Outcome::Replied(_) => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            );
        }
    }
}

fn keep(directory: &Path, name: &str, text: &str) {
    let kept = std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(directory.join(name), text));
    if let Err(error) = kept {
        eprintln!("cannot keep {name}: {error}");
    }
}
