//! Prepares of one ballot enter a log in decree order, each once, also if the process restarts in between
//! (L1).

use crate::site::At;
use crate::world::World;
use types::Mutation;

pub(crate) const NAME: &str = "prepares in order, each once";

pub(crate) fn on_append(world: &mut World, at: At, mutation: &Mutation) {
    let this = world.site_mut(at);
    let (ballot, decree) = (mutation.ballot, mutation.decree);
    if this.replica.as_ref().map(replication::Replica::ballot) != Some(ballot) {
        // A piece of the log for a learner, which may come again under the next ballot, and stands between prepares of this one.
        this.disk.last_prepared = None;
        return;
    }
    let known = this.disk.safe.mutations.get(&decree);
    let again = known.is_some_and(|(of, _)| *of == ballot);
    let before = this.disk.last_prepared.replace((ballot, decree));
    let early = before.is_some_and(|(of, up_to)| of == ballot && decree != up_to.next());
    if again || early {
        let what = format!("{at} appends decree {decree} of ballot {ballot} after {before:?}");
        world.violate(NAME, what);
    }
}
