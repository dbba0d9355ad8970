//! Whether the simulator sees anything: each planted bug must be found, and by which invariant and after how many seeds is printed.
//!
//! `cargo test --release -p replication --features planted-bugs --test simulator -- --ignored --nocapture table` prints the table of
//! docs/replication.md. `TULPAR_SIM_SEEDS` bounds the seeds for each bug, `TULPAR_SIM_BUG=KeepsAcks` takes one bug alone, and with
//! `TULPAR_SIM_SEED=17` besides tells that run in full.

use crate::runner::{fresh, number, run};
use crate::world::Trace;
use replication::planted::{Bug, plant};

/// Each bug is found within so many seeds, half of them within far fewer.
const SEEDS: u64 = 10_000;
const MEDIAN: u64 = 1_000;

/// The bug in this thread's replicas while it lives.
struct Planted;

impl Planted {
    fn new(bug: Bug) -> Self {
        plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// The first seed of a budget that shows the bug, and nothing without it: how many it took, and which invariant spoke.
fn hunt(bug: Bug, first: u64, seeds: u64) -> Option<(u64, &'static str)> {
    (0..seeds).find_map(|count| {
        let seed = first + count;
        let planted = Planted::new(bug);
        let violation = run(seed, Trace::Off).violation?;
        drop(planted);
        let innocent = run(seed, Trace::Off).violation.is_none();
        innocent.then_some((count + 1, violation.invariant))
    })
}

/// Bugs of every sort that take a few seeds each; all of them are in the table.
const QUICK: [Bug; 14] = [
    Bug::TakesEarlyPrepares,
    Bug::LeadsOn,
    Bug::ForgetsPrepared,
    Bug::ReadsWithoutLease,
    Bug::IgnoresExceptions,
    Bug::CommitsInGrace,
    Bug::SettlesUnacknowledged,
    Bug::ObeysOnlyStored,
    Bug::ServesBeforeList,
    Bug::AddsWithHole,
    Bug::IgnoresBoot,
    Bug::EchoesWithoutLease,
    Bug::AgesFromReceipt,
    Bug::SkipsFsync,
];

#[test]
fn planted_bugs_are_found() {
    let first = number("TULPAR_SIM_FIRST").unwrap_or_else(fresh);
    println!("seeds from {first}");
    for bug in QUICK {
        let found = hunt(bug, first, 500);
        println!("{bug:?}: {found:?}");
        assert!(
            found.is_some(),
            "{bug:?} was not found from seed {first} on"
        );
    }
}

fn chosen() -> Vec<Bug> {
    let Ok(name) = std::env::var("TULPAR_SIM_BUG") else {
        return Bug::ALL.to_vec();
    };
    let bugs = Bug::ALL.iter().copied();
    let found: Vec<_> = bugs.filter(|bug| format!("{bug:?}") == name).collect();
    assert!(!found.is_empty(), "there is no bug {name}");
    found
}

#[test]
#[ignore = "takes minutes; prints the table"]
fn table() {
    let bugs = chosen();
    if let (Some(seed), [bug]) = (number("TULPAR_SIM_SEED"), &bugs[..]) {
        let _planted = Planted::new(*bug);
        let violation = run(seed, Trace::Printed).violation;
        return println!("{violation:?}");
    }
    let first = number("TULPAR_SIM_FIRST").unwrap_or_else(fresh);
    let seeds = number("TULPAR_SIM_SEEDS").unwrap_or(SEEDS);
    println!(
        "seeds from {first}\n\n| bug | rule | instead | found by | seeds |\n|---|---|---|---|---:|"
    );
    let mut counts = Vec::new();
    for bug in &bugs {
        let found = hunt(*bug, first, seeds);
        let (rule, what) = (bug.rule(), bug.what());
        let (by, count) = match found {
            Some((count, invariant)) => (invariant, count.to_string()),
            None => ("nothing", format!("> {seeds}")),
        };
        println!("| {bug:?} | {rule} | {what} | {by} | {count} |");
        counts.push(found.map_or(u64::MAX, |(count, _)| count));
    }
    counts.sort_unstable();
    let (median, most) = (counts[counts.len() / 2], counts[counts.len() - 1]);
    println!(
        "\n{} bugs, median {median} seeds, at most {most}",
        counts.len()
    );
    assert!(most <= seeds, "a planted bug was not found");
    assert!(median < MEDIAN, "the median is {median} seeds");
}
