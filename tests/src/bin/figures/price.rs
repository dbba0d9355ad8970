//! What request ids and leases cost: SETs through the client library with ids and without, in turns on the same cluster, and the
//! processor time of the threads that keep the leases.

use crate::outages::progress;
use crate::report::line;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tests::doors::{open, runtime};
use tests::fleet::cluster::TABLE;
use tests::fleet::{Fleet, FleetOptions};
use tulpar_client::Table;

/// 50 connections with 16 commands each: the load of the benchmarks.
const IN_FLIGHT: usize = 50 * 16;
const KEYS: u64 = 100_000;
const VALUE: [u8; 100] = [b'v'; 100];
/// For each run: first not counted, then counted.
const WARMING: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(5);

pub(crate) fn run(durability: &str, pairs: usize) -> bool {
    let fleet = Fleet::start(FleetOptions {
        durability: durability.to_owned(),
        namespaces: false,
        partitions: 1,
        ..FleetOptions::default()
    });
    let runtime = runtime();
    let named = runtime.block_on(open(&fleet.meta(), TABLE));
    let unnamed = named.without_retries();
    let speed = |table: &Table| {
        tokio::task::LocalSet::new().block_on(&runtime, operations_per_second(table.clone()))
    };
    speed(&named);
    let (mut ratios, mut speeds, began, before) =
        (Vec::new(), (0.0, 0.0), Instant::now(), beacons(&fleet));
    for pair in 0..pairs {
        // Who is first changes: what the first puts off, the second pays.
        let (with, without) = if pair % 2 == 0 {
            let with = speed(&named);
            (with, speed(&unnamed))
        } else {
            let without = speed(&unnamed);
            (speed(&named), without)
        };
        ratios.push(with / without);
        speeds = (speeds.0 + with, speeds.1 + without);
        progress(&format!(
            "pair {}: {with:.0} / {without:.0} a second",
            pair + 1
        ));
    }
    let of_a_core =
        beacons(&fleet).saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    ratios.sort_by(f64::total_cmp);
    let price = |ratio: f64| (1.0 - ratio) * 100.0;
    let (mean, count) = (|sum: f64| sum / pairs as f64, ratios.len());
    line(
        &format!("request ids, SET -P 16, 3 copies, {durability}"),
        &format!(
            "{:.1} % (from {:.1} % to {:.1} %), median of {count} pairs; {:.0} a second with, {:.0} without",
            price(ratios[count / 2]),
            price(ratios[count - 1]),
            price(ratios[0]),
            mean(speeds.0),
            mean(speeds.1),
        ),
    );
    line(
        "leases: processor time of all beacon threads meanwhile",
        &format!("{:.1} % of one core", of_a_core * 100.0),
    );
    true
}

async fn operations_per_second(table: Table) -> f64 {
    let (done, stop) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(false)));
    let writers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (table, done, stop) = (table.clone(), Rc::clone(&done), Rc::clone(&stop));
            tokio::task::spawn_local(async move {
                while !stop.get() {
                    let key = format!("key:{:012}", rand::random_range(0..KEYS));
                    let written = table.set(key, &VALUE[..]).await;
                    written.expect("nothing fails here");
                    done.set(done.get() + 1);
                }
            })
        })
        .collect();
    tokio::time::sleep(WARMING).await;
    let (before, began) = (done.get(), Instant::now());
    tokio::time::sleep(COUNTED).await;
    let speed = (done.get() - before) as f64 / began.elapsed().as_secs_f64();
    stop.set(true);
    for writer in writers {
        writer.await.expect("it does not panic");
    }
    speed
}

/// Processor time so far of the replica servers' threads of that name.
fn beacons(fleet: &Fleet) -> Duration {
    let pids = fleet
        .replica_servers()
        .filter_map(tests::fleet::Server::pid);
    pids.flat_map(tests::process::threads)
        .filter(|thread| thread.name == "beacons")
        .map(|thread| thread.used)
        .sum()
}
