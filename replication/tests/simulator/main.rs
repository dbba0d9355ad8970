//! A seeded simulation of one partition, or of two, on three to five nodes. The replicas, their leases and their commit logs are the
//! real ones, in half of the seeds the meta leader's brain is, too; clocks, wires, disks, engines, clients and the metadata store are
//! simulated, and fail as each seed draws it.
//!
//! ```text
//!   runner ── one run: opening, faults, healing ──► world ──► invariants, after every step
//!     swarm ── what this seed may go through          ├── partition, clients ── requests
//!     faults, scenes ── what happens of it            ├── meta ── guardian (a model), or leaders, streams, operators (`placement`)
//!                                                     ├── network
//!                                                     └── shell, storage ── node ── site ── disk ── log (`commit-log`), reading
//! ```
//!
//! `TULPAR_SIM_SEEDS=100000 cargo test --release -p replication --test simulator -- --nocapture` is a long run, `TULPAR_SIM_FIRST`
//! says where it begins (otherwise at a fresh seed, which is printed), `TULPAR_SIM_SEED=17` tells one run in full. What shows that
//! the simulator sees anything is in `planted`.

mod chance;
mod clients;
mod disk;
mod faults;
mod guardian;
mod invariants;
mod leaders;
mod log;
mod logs;
mod meta;
mod network;
mod node;
mod operators;
mod partition;
#[cfg(feature = "planted-bugs")]
mod planted;
mod reading;
mod requests;
mod runner;
mod scenes;
mod shell;
mod site;
mod storage;
mod streams;
mod swarm;
mod world;

use runner::{Total, fresh, number, replay, run};
use std::time::Duration;
use world::Trace;

/// The processor's time of this thread.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

#[test]
fn no_fault_loses_an_acknowledged_write_or_lets_a_stale_read_through() {
    if let Some(seed) = number("TULPAR_SIM_SEED") {
        let violation = run(seed, Trace::Printed).violation;
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    let first = number("TULPAR_SIM_FIRST").unwrap_or_else(fresh);
    let seeds = number("TULPAR_SIM_SEEDS").unwrap_or(500);
    println!("{seeds} seeds from {first}");
    let (mut total, mut failures) = (Total::default(), Vec::new());
    let start = processor_time();
    for seed in first..first + seeds {
        let ended = run(seed, Trace::Off);
        total.add(&ended);
        if let Some(violation) = ended.violation {
            failures.push(format!("seed {seed}: {violation:?}\n  {}", replay(seed)));
        }
        if failures.len() >= 10 {
            break;
        }
    }
    total.print(processor_time().saturating_sub(start).as_secs_f64());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(total.says_something(), "the simulation does too little");
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let first = number("TULPAR_SIM_FIRST").unwrap_or_else(fresh);
    for seed in first..first + 20 {
        let trace = || {
            let ended = run(seed, Trace::Digested);
            (ended.digest, ended.figures, ended.virtual_time)
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
