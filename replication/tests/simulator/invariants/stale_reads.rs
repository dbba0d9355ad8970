//! A read at a secondary is never older than its bound: it knows what anybody had been told that long before, expiry included. (It tells
//! nobody anything: the next one may be older again, within its own bound.)

use super::observer::Seen;
use crate::world::{MS, World};

pub(crate) const NAME: &str = "bounded staleness";

/// Longer than any bound.
const LONGEST: u64 = 2_000 * MS;

/// Keeps since when clients know what they know.
pub(crate) fn remember(world: &mut World) {
    let (now, told) = (world.now, world.observer.told);
    let tellings = &mut world.observer.tellings;
    if tellings.back().is_none_or(|(_, last)| *last != told) {
        tellings.push_back((now, told));
    }
    // The last one before the longest bound is still of use.
    while tellings.get(1).is_some_and(|(at, _)| at + LONGEST < now) {
        tellings.pop_front();
    }
}

pub(crate) fn on_answer(world: &mut World, node: usize, bound: u64, seen: Seen) {
    let now = world.now;
    let mut tellings = world.observer.tellings.iter().rev();
    let Some((at, floor)) = tellings.find(|(at, _)| at + bound < now) else {
        return;
    };
    if seen.decree < floor.decree || seen.expired < floor.expired {
        let (age, bound) = ((now - at) / MS, bound / MS);
        let what = format!(
            "node {node} answered a read of at most {bound} ms with {seen:?}, but {floor:?} was known {age} ms ago"
        );
        world.violate(NAME, what);
    }
}
