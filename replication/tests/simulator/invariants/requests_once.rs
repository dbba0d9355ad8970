//! Each request id takes effect at most once, however often a client sends it and to whom.

use crate::requests::id_of;
use crate::world::World;
use types::{Decree, Mutation};

pub(crate) const NAME: &str = "each request takes effect once";

pub(crate) fn on_commit(world: &mut World, partition: usize, decree: Decree, mutation: &Mutation) {
    let id = id_of(mutation);
    let requests = &mut world.partitions[partition].observer.requests;
    let first = *requests.entry(id).or_insert(decree);
    if first != decree {
        let what = format!("request {id} took effect as decree {first} and as {decree}");
        world.violate(NAME, what);
    }
}
