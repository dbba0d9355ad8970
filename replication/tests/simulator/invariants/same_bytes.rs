//! Equal ballot and decree mean equal bytes, in every log.

use crate::reading::digest;
use crate::world::World;
use types::Mutation;

pub(crate) const NAME: &str = "equal ballot and decree, equal bytes";

pub(crate) fn on_append(world: &mut World, node: usize, mutation: &Mutation) {
    let digest = digest(mutation);
    let key = (mutation.ballot, mutation.decree);
    if *world.observer.bytes.entry(key).or_insert(digest) != digest {
        let what = format!("node {node} appends {mutation:?}, which is another elsewhere");
        world.violate(NAME, what);
    }
    super::log_order::on_append(world, node, mutation);
}
