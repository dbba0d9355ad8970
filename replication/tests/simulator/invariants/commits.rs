//! A committed decree never changes, every mutation is committed right after the history that it was evaluated over, and equal
//! decrees mean equal states on all replicas: whoever was told of a write was told the truth.

use crate::invariants::requests_once;
use crate::reading::{State, digest};
use crate::site::At;
use crate::world::World;
use types::{Decree, Mutation};

pub(crate) const NAME: &str = "a committed decree never changes";

/// Whether the mutation may be committed there.
pub(crate) fn on_commit(
    world: &mut World,
    at: At,
    decree: Decree,
    mutation: Option<&Mutation>,
) -> bool {
    let state = world.site(at).state;
    let over = format!("over {:016x}", state.hash);
    let what = match mutation {
        None => format!("{at} commits decree {decree}, which it does not have"),
        Some(mutation) if mutation.decree != decree => {
            format!("{at} commits {mutation:?} as decree {decree}")
        }
        Some(mutation) if !mutation.effects.ends_with(over.as_bytes()) => {
            format!("{at} commits {mutation:?}, which was not evaluated {over}")
        }
        Some(mutation) => {
            let after = (digest(mutation), state.after(mutation));
            let observer = &mut world.partitions[at.partition].observer;
            let truth = observer.truth.entry(decree).or_insert(after);
            if *truth == after {
                requests_once::on_commit(world, at.partition, decree, mutation);
                return true;
            }
            format!("{at} commits {mutation:?}, but another was committed as that decree")
        }
    };
    world.violate(NAME, what);
    false
}

/// A learner's checkpoint is the truth of its decree.
pub(crate) fn on_checkpoint(world: &mut World, at: At, state: State) {
    let observer = &world.partitions[at.partition].observer;
    let truth = observer.truth.get(&state.applied);
    if truth.is_some_and(|(_, truth)| *truth != state) {
        let what = format!("{at} installs a checkpoint that is not the truth: {state:?}");
        world.violate(NAME, what);
    }
}
