//! Reads are linearizable: none is older than what anybody had been told before it was asked. That holds of expiry too: what was
//! reported gone by expiry stays gone, whichever clock leads next (R7).

use crate::clients::Evaluation;
use crate::site::At;
use crate::world::World;

pub(crate) const NAME: &str = "linearizable reads";

pub(crate) fn on_answer(world: &mut World, at: At, evaluation: &Evaluation) {
    let Evaluation {
        ballot,
        seen,
        floor,
    } = *evaluation;
    if seen.decree < floor.decree {
        let what = format!(
            "{at} read decree {} under ballot {ballot}, but {} was known before",
            seen.decree, floor.decree
        );
        return world.violate(NAME, what);
    }
    if seen.expired < floor.expired {
        let what = format!(
            "at {at} under ballot {ballot}, what had expired at {} came back: it is {} there",
            floor.expired, seen.expired
        );
        return world.violate(NAME, what);
    }
    let told = &mut world.partitions[at.partition].observer.told;
    told.decree = told.decree.max(seen.decree);
    told.expired = told.expired.max(seen.expired);
}
