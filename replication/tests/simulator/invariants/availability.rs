//! One node whose disk hangs stops the others from serving no longer than it takes to notice (R6); one member that is left carries
//! on; the meta servers are not needed by whoever is whole; and whoever is deposed in one partition reads on in the
//! other (R2). Checked where nothing else goes wrong: in the opening of a run.

use crate::site::At;
use crate::swarm::Opening;
use crate::world::{MS, World};
use types::Decree;

pub(crate) const NAME: &str = "what is whole serves";

/// How long a hung disk may go unnoticed: the stall timeout, then lease, grace and a takeover, or two, with
/// clocks as far off as allowed.
const NOTICED: u64 = 10_000 * MS;

/// What was served at the beginning of a stretch in which something must be.
#[derive(Clone, Copy)]
pub(crate) struct Served {
    acknowledged: Decree,
    reads: u64,
}

/// By partition.
pub(crate) fn now(world: &World) -> Vec<Served> {
    let partitions = world.partitions.iter();
    partitions
        .map(|partition| Served {
            acknowledged: partition.observer.acknowledged,
            reads: partition.reads,
        })
        .collect()
}

/// How long that takes, and how long things must go well after it.
pub(crate) fn patience(opening: Opening) -> (u64, u64) {
    match opening {
        Opening::Calm | Opening::HandOvers => (500 * MS, 0),
        Opening::HungDisk | Opening::OneIsLeft => (NOTICED, 2_000 * MS),
        Opening::NoMeta => (0, 3_000 * MS),
    }
}

pub(crate) fn check(world: &mut World, since: &[Served]) {
    let opening = world.swarm.opening;
    for (served, since) in now(world).iter().zip(since) {
        // Writes want more members than may be left.
        let writes = opening == Opening::OneIsLeft || served.acknowledged > since.acknowledged;
        if !writes || served.reads == since.reads {
            let what = format!("nothing was read or written in {opening:?}");
            world.violate(NAME, what);
        }
    }
}

/// The primary of the configuration in force may answer reads.
pub(crate) fn check_reads(world: &mut World, partition: usize) {
    let primary = world.partitions[partition].primary();
    let reads = |node: usize| world.nodes[node].may_serve_read(partition, world.now);
    if let Some(node) = primary.filter(|&node| !reads(node)) {
        let at = At { node, partition };
        let what = format!("{at} answers no reads in {:?}", world.swarm.opening);
        world.violate(NAME, what);
    }
}
