//! What a command costs the worker on its way through a partition, in nanoseconds of its thread: evaluation, overlay, sealing, committing, applying; no network,
//! no log. `cargo run --release -p engine -p proto --example evaluate [millions of commands] [MiB of overlays]`
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use commands::{CommandSpec, Interrupt, lookup};
use engine::{Engine, EngineEvent, EngineOptions, Hooks, Partition};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use types::{Ballot, PartitionId, SlotRange, Timestamp};

const KEYS: u64 = 100_000;

/// Commands in one mutation, as at 50 connections with 16 commands each.
const BATCH: u64 = 300;

/// This thread's time on a processor: other processes do not count.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Bench {
    engine: Engine,
    partition: Partition,
    events: Receiver<EngineEvent>,
    seed: u64,
}

impl Bench {
    fn random(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.seed >> 33
    }

    fn fetch(&mut self) {
        if let Some(wanted) = self.partition.fetch() {
            for event in &self.events {
                if let EngineEvent::Fetched(fetched) = event
                    && fetched.ticket == wanted
                {
                    self.partition.install(fetched);
                    return;
                }
            }
        }
    }

    fn write(&mut self, spec: &CommandSpec, args: &[&[u8]]) {
        let random = self.seed;
        while let Err(interrupt) = self.partition.write(spec, args, random) {
            assert_eq!(interrupt, Interrupt::Cold);
            self.fetch();
        }
    }

    fn writes(&mut self, name: &str, count: u64) {
        let spec = lookup(name.as_bytes()).expect("a command");
        let value = [b'x'; 100];
        let start = worked();
        for batch in 0..count / BATCH {
            let decree = self.partition.last().next();
            self.partition.begin(Ballot(1), decree, Timestamp(batch));
            for _ in 0..BATCH {
                let key = format!("key:{:012}", self.random() % KEYS);
                match name {
                    "set" => self.write(spec, &[b"SET", key.as_bytes(), &value]),
                    "incr" => self.write(spec, &[b"INCR", format!("n{key}").as_bytes()]),
                    _ => self.write(spec, &[b"HSET", b"myhash", key.as_bytes(), &value]),
                }
            }
            self.partition.seal();
            // one is in flight while the next is evaluated
            self.partition.commit(decree.previous());
            while self.engine.overloaded() {
                let _ = self.events.recv();
                self.partition.settle();
            }
            while self.events.try_recv().is_ok() {}
        }
        self.report(name, worked().saturating_sub(start), count);
    }

    fn reads(&mut self, label: &str, count: u64) {
        let spec = lookup(b"get").expect("a command");
        let mut cold = 0;
        let start = worked();
        for _ in 0..count {
            let key = format!("key:{:012}", self.random() % KEYS);
            while let Err(interrupt) =
                self.partition
                    .read(spec, &[b"GET", key.as_bytes()], Timestamp(1), 0)
            {
                assert_eq!(interrupt, Interrupt::Cold);
                cold += 1;
                self.fetch();
            }
        }
        self.report(label, worked().saturating_sub(start), count);
        if cold > 0 {
            println!("{cold:>24} cold");
        }
    }

    fn report(&self, label: &str, took: Duration, count: u64) {
        let each = took.as_nanos() as f64 / count as f64;
        println!("{label:<28}{each:>8.0} ns   {:?}", self.engine.stats());
    }
}

fn main() {
    let millions: u64 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(2);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (sender, events) = channel();
    let hooks = Hooks {
        events: Box::new(move |event| drop(sender.send(event))),
        sync_log: Box::new(|_, _| Ok(())),
        log_is_synced: Box::new(|_, _| true),
    };
    let mut options = EngineOptions::at(dir.path());
    if let Some(budget) = std::env::args()
        .nth(2)
        .and_then(|mib| mib.parse::<usize>().ok())
    {
        options.overlay_budget = budget << 20;
    }
    let engine = Engine::open(options, hooks).expect("an engine");
    let mut partition = engine.partition(PartitionId::new(1, 0), SlotRange::ALL);
    partition.promote();
    let mut bench = Bench {
        engine,
        partition,
        events,
        seed: 7,
    };
    let count = millions * 1_000_000;
    let start = worked();
    for _ in 0..count {
        std::hint::black_box(format!("key:{:012}", bench.random() % KEYS));
    }
    bench.report(
        "(making a key's name)",
        worked().saturating_sub(start),
        count,
    );
    bench.writes("set", count);
    bench.reads("get, overlay", count);
    bench.partition.commit(bench.partition.last());
    bench.partition.relieve();
    while bench.partition.applied() < bench.partition.committed() {
        let _ = bench.events.recv();
        bench.partition.settle();
    }
    bench.reads("get, RocksDB then row cache", count);
    bench.reads("get, row cache", count);
    bench.writes("incr", count);
    bench.writes("hset", count);
}
