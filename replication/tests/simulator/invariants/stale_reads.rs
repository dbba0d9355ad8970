//! A read at a secondary is never older than its bound: it knows what anybody had been told that long before, expiry included. (It tells
//! nobody anything: the next one may be older again, within its own bound.)

use super::observer::Seen;
use crate::site::At;
use crate::world::{MS, World};

pub(crate) const NAME: &str = "bounded staleness";

/// Longer than any bound.
const LONGEST: u64 = 2_000 * MS;

/// Keeps since when clients know what they know.
pub(crate) fn remember(world: &mut World, partition: usize) {
    let (now, observer) = (world.now, &mut world.partitions[partition].observer);
    let (told, tellings) = (observer.told, &mut observer.tellings);
    if tellings.back().is_none_or(|(_, last)| *last != told) {
        tellings.push_back((now, told));
    }
    // The last one before the longest bound is still of use.
    while tellings.get(1).is_some_and(|(at, _)| at + LONGEST < now) {
        tellings.pop_front();
    }
}

pub(crate) fn on_answer(world: &mut World, at: At, bound: u64, seen: Seen) {
    let now = world.now;
    let observer = &world.partitions[at.partition].observer;
    let mut tellings = observer.tellings.iter().rev();
    let Some((since, floor)) = tellings.find(|(since, _)| since + bound < now) else {
        return;
    };
    if seen.decree < floor.decree || seen.expired < floor.expired {
        let (age, bound) = ((now - since) / MS, bound / MS);
        let what = format!(
            "{at} answered a read of at most {bound} ms with {seen:?}, but {floor:?} was known {age} ms ago"
        );
        world.violate(NAME, what);
    }
}
