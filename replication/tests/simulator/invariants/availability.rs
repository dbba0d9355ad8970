//! One node whose disk hangs stops the others from serving no longer than it takes to notice (R6); one member that is left carries
//! on; and the meta servers are not needed by whoever is whole. Checked where nothing else goes wrong: in the opening of a run.

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

pub(crate) fn now(world: &World) -> Served {
    Served {
        acknowledged: world.observer.acknowledged,
        reads: world.figures.reads,
    }
}

/// How long that takes, and how long things must go well after it.
pub(crate) fn patience(opening: Opening) -> (u64, u64) {
    match opening {
        Opening::Calm => (500 * MS, 0),
        Opening::HungDisk | Opening::OneIsLeft => (NOTICED, 2_000 * MS),
        Opening::NoMeta => (0, 3_000 * MS),
    }
}

pub(crate) fn check(world: &mut World, since: Served) {
    let served = now(world);
    // Writes want more members than may be left.
    let writes =
        world.swarm.opening == Opening::OneIsLeft || served.acknowledged > since.acknowledged;
    if !writes || served.reads == since.reads {
        let what = format!("nothing was read or written in {:?}", world.swarm.opening);
        world.violate(NAME, what);
    }
}
