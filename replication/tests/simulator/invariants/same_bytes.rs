//! Equal ballot and decree mean equal bytes, in every log.

use crate::reading::digest;
use crate::site::At;
use crate::world::World;
use types::Mutation;

pub(crate) const NAME: &str = "equal ballot and decree, equal bytes";

pub(crate) fn on_append(world: &mut World, at: At, mutation: &Mutation) {
    let digest = digest(mutation);
    let key = (mutation.ballot, mutation.decree);
    let bytes = &mut world.partitions[at.partition].observer.bytes;
    if *bytes.entry(key).or_insert(digest) != digest {
        let what = format!("{at} appends {mutation:?}, which is another elsewhere");
        world.violate(NAME, what);
    }
    super::log_order::on_append(world, at, mutation);
}
