//! How many appends a second this machine's disk takes, in both durabilities and with different numbers of appends in flight.
//!
//! `cargo run --release -p commit-log --example append [DIRECTORY]`

use bytes::Bytes;
use commit_log::{Completions, DirectIo, Directory, Log, LogOptions};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use types::{Ballot, Decree, Durability, Mutation, PartitionId, Record, RecordBody, Timestamp};

struct Back(Sender<usize>);

impl Completions for Back {
    fn flushed(&self, tickets: &[u64]) {
        // The measurement may be over.
        let _ = self.0.send(tickets.len());
    }

    fn failed(&self, reason: &str) {
        eprintln!("failed: {reason}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map_or_else(
        || std::env::temp_dir().join("commit-log-append"),
        Into::into,
    );
    println!("100-byte mutations in {}", directory.display());
    for (durability, direct) in [
        (Durability::Buffered, DirectIo::Auto),
        (Durability::Sync, DirectIo::Auto),
        (Durability::Sync, DirectIo::Off),
    ] {
        for in_flight in [1, 8, 64] {
            if durability == Durability::Buffered && in_flight > 1 {
                continue;
            }
            // Its own directory, gone afterwards.
            let path = directory.join(format!("{durability}-{direct:?}"));
            let disk = Arc::new(Directory::open(&path, direct)?);
            let (sender, back) = channel();
            let options = LogOptions::new(durability);
            let (log, _) = Log::open(
                disk,
                options,
                &|_| Decree::ZERO,
                &mut |_| {},
                Box::new(Back(sender)),
            )?;
            let (mut decree, started) = (0, Instant::now());
            let mut flying = 0;
            while started.elapsed() < Duration::from_secs(2) {
                decree += 1;
                let record = record(decree);
                if log.append(&[record], decree)? == commit_log::Appended::Pending {
                    flying += 1;
                }
                while flying >= in_flight {
                    flying -= back.recv()?;
                }
                if decree % 1000 == 0 {
                    log.set_durable(PartitionId::new(1, (decree % 8) as u32), Decree(decree / 8));
                }
            }
            let rate = decree as f64 / started.elapsed().as_secs_f64();
            let batches = log.stats().batches.max(1);
            println!(
                "{durability:>8} {direct:?}, {in_flight:>2} in flight: {rate:>9.0} appends/s, {:.1} a batch",
                decree as f64 / batches as f64
            );
            drop(log);
            if in_flight == 1 {
                reopen(&path, direct, durability)?;
            }
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// How long it takes to read everything back, as after a crash with nothing in RocksDB.
fn reopen(path: &Path, direct: DirectIo, durability: Durability) -> Result<(), Box<dyn Error>> {
    let (sender, _back) = channel();
    let disk = Arc::new(Directory::open(path, direct)?);
    let (options, started) = (LogOptions::new(durability), Instant::now());
    let (_log, recovery) = Log::open(
        disk,
        options,
        &|_| Decree::ZERO,
        &mut |_| {},
        Box::new(Back(sender)),
    )?;
    println!(
        "{:>24} {} mutations back in {:.0?}, {} MiB read",
        "",
        recovery.mutations,
        started.elapsed(),
        recovery.bytes_read >> 20
    );
    Ok(())
}

/// The `decree`-th of all: partitions take turns.
fn record(decree: u64) -> Record {
    let mutation = Mutation {
        ballot: Ballot(1),
        decree: Decree(decree / 8 + 1),
        timestamp: Timestamp(0),
        effects: Bytes::from_static(&[7; 100]),
    };
    Record {
        partition: PartitionId::new(1, (decree % 8) as u32),
        body: RecordBody::Mutation(mutation),
    }
}
