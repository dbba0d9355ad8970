//! Replicas that are where they should not be: on drained nodes, and two of one partition in one zone.

use super::picture::Picture;
use super::step::{Reason, Step};
use types::NodeId;

/// Away from drained nodes.
pub(super) fn drain(picture: &Picture) -> Vec<Step> {
    let leaves = |node: &NodeId| picture.places.get(node).is_some_and(|place| place.drained);
    if !picture.places.values().any(|place| place.drained) {
        return vec![];
    }
    for (&table, all) in &picture.tables {
        let mut order = None;
        for placed in all.iter().filter(|placed| !placed.locked) {
            let Some(&from) = placed.members.iter().find(|node| leaves(node)) else {
                continue;
            };
            let order = order.get_or_insert_with(|| picture.takers_for(table));
            // An even spread over zones is preferred, but a drained node does not wait for it.
            let to = order
                .iter()
                .copied()
                .find(|&to| picture.may_move(placed, from, to))
                .or_else(|| {
                    let free = |to: &NodeId| placed.may_take(*to);
                    order.iter().copied().find(free)
                });
            if let Some(to) = to {
                return vec![Step::replica(placed, from, to, Reason::Drain)];
            }
        }
    }
    vec![]
}

/// Out of zones with two members of one partition, to where there is none.
pub(super) fn zones(picture: &Picture) -> Vec<Step> {
    let places = || picture.places.values().filter(|place| place.takes);
    let mut known: Vec<&str> = places().map(|place| &place.zone[..]).collect();
    known.sort_unstable();
    known.dedup();
    if known.len() < 2 {
        return vec![];
    }
    // A node without a zone crowds nobody.
    let without = places().filter(|place| place.zone.is_empty()).count();
    let named = known.iter().filter(|zone| !zone.is_empty()).count();
    let takes = |node: &NodeId| picture.places.get(node).is_some_and(|place| place.takes);
    for (&table, all) in &picture.tables {
        let mut order = None;
        for placed in all.iter().filter(|placed| !placed.locked) {
            let crowding = picture.crowding(&placed.members);
            // With fewer zones than members some are crowded for ever: that is not looked at in vain.
            let least = placed.members.len().saturating_sub(named + without);
            if crowding == 0 || crowding <= least && placed.members.iter().all(takes) {
                continue;
            }
            let order = order.get_or_insert_with(|| picture.takers_for(table));
            // Rather a secondary than the primary: no lead has to be handed over.
            for &from in placed.members.iter().rev() {
                for &to in order.iter().filter(|to| placed.may_take(**to)) {
                    let moved: Vec<NodeId> = placed
                        .members
                        .iter()
                        .map(|&node| if node == from { to } else { node })
                        .collect();
                    if picture.crowding(&moved) < crowding {
                        return vec![Step::replica(placed, from, to, Reason::Zones)];
                    }
                }
            }
        }
    }
    vec![]
}
