//! A seeded simulation of one partition on three to five nodes: messages lost, repeated, late and out of order; processes killed
//! and paused; power lost with all that was not synced; clocks that run at different rates; a metadata store whose answers get
//! lost. First faults, then healing, then everything must serve.
//!
//! `TULPAR_SIM_SEEDS=10000 cargo test -p replication --test simulator` runs more seeds, `TULPAR_SIM_FIRST` starts elsewhere,
//! `TULPAR_SIM_SEED=17` replays one and prints what happens.

mod clients;
mod faults;
mod invariants;
mod meta;
mod node;
mod rng;
mod shell;
mod world;

use world::{MS, Trace, World};

const CALM: u64 = 500 * MS;
const FAULTS: u64 = 6_000 * MS;
/// No run takes a tenth of it, unless two replicas answer each other for ever.
const MOST_STEPS: u64 = 2_000_000;
/// Longer than any backoff and any lag, several times.
const HEALING: u64 = 60_000 * MS;

fn run(seed: u64, trace: Trace) -> Result<Box<World>, (Box<World>, String)> {
    let mut world = Box::new(World::new(seed, trace));
    let until = |world: &mut World, end: u64| {
        while world.now < end && world.advance() {
            if world.steps > MOST_STEPS {
                world.fail("messages without end".into());
                break;
            }
        }
        world
            .failure
            .take()
            .map(|failure| format!("after {:.3} ms: {failure}", world.now as f64 / MS as f64))
    };
    if let Some(failure) = until(&mut world, CALM) {
        return Err((world, failure));
    }
    world.begin_faults();
    if let Some(failure) = until(&mut world, CALM + FAULTS) {
        return Err((world, failure));
    }
    world.heal();
    let mut healed = Err(String::new());
    while healed.is_err() && world.now < CALM + FAULTS + HEALING {
        let end = world.now + 100 * MS;
        if let Some(failure) = until(&mut world, end) {
            return Err((world, failure));
        }
        healed = invariants::healed(&world);
    }
    match healed {
        Ok(()) => Ok(world),
        Err(reason) => Err((world, format!("it does not heal: {reason}"))),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn no_fault_loses_an_acknowledged_write_or_lets_a_stale_read_through() {
    if let Ok(seed) = std::env::var("TULPAR_SIM_SEED") {
        let seed = seed.parse().expect("TULPAR_SIM_SEED is a number");
        if let Err((_, failure)) = run(seed, Trace::Printed) {
            panic!("seed {seed}: {failure}");
        }
        return;
    }
    let first = number("TULPAR_SIM_FIRST", 1);
    let seeds = number("TULPAR_SIM_SEEDS", 300);
    let (mut writes, mut reads, mut takeovers, mut learns, mut steps) = (0, 0, 0, 0, 0);
    let mut failures = Vec::new();
    for seed in first..first + seeds {
        match run(seed, Trace::Off) {
            Ok(world) => {
                writes += world.acknowledged.0;
                reads += world.reads;
                takeovers += world.takeovers;
                learns += world.learns;
                steps += world.steps;
            }
            Err((world, failure)) => failures.push(format!(
                "seed {seed}: {failure}\n  replay: TULPAR_SIM_SEED={} cargo test --release -p replication --test simulator -- --nocapture no_fault",
                world.seed
            )),
        }
        if failures.len() >= 10 {
            break;
        }
    }
    println!(
        "{seeds} seeds from {first}: {steps} steps, {writes} writes acknowledged, {reads} reads, {takeovers} times a primary began to serve, {learns} learns ended"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        writes > 0 && reads > 0 && takeovers > seeds,
        "the simulation does nothing"
    );
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for seed in [3, 17] {
        let trace = |seed| match run(seed, Trace::Hashed) {
            Ok(world) => (world.hash, world.steps, world.now),
            Err((_, failure)) => panic!("seed {seed}: {failure}"),
        };
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
