//! One configuration exists per ballot: what a replica believes in is what was stored under that ballot.

use crate::site::At;
use crate::world::World;

pub(crate) const NAME: &str = "one configuration per ballot";

pub(crate) fn check(world: &mut World, at: At) {
    let replica = world.site(at).replica.as_ref();
    if let Some(known) = replica.and_then(|replica| replica.configuration())
        && world.partitions[at.partition].history.get(&known.ballot) != Some(known)
    {
        let what = format!("{at} believes in {known:?}, which was never stored");
        world.violate(NAME, what);
    }
}
