//! As many primaries on every node, of each table and altogether: only the lead moves, to a secondary.

use super::picture::Picture;
use super::step::Step;
use std::collections::{BTreeMap, VecDeque};
use types::{NodeId, PartitionId};

/// The lead goes from whoever leads most of a table to whoever leads least, over others if no partition has both.
pub(super) fn primaries_of_tables(picture: &Picture) -> Vec<Step> {
    for (&table, all) in &picture.tables {
        let leads = |node| picture.load_of(table, node).leads;
        let mut order = picture.takers();
        order.sort_by_key(|&node| (leads(node), node));
        let Some(&least) = order.first() else {
            continue;
        };
        if order
            .last()
            .is_none_or(|&most| leads(most) < leads(least) + 2)
        {
            continue;
        }
        let mut ways: BTreeMap<NodeId, BTreeMap<NodeId, PartitionId>> = BTreeMap::new();
        for placed in all.iter().filter(|placed| !placed.locked) {
            if let Some((&primary, secondaries)) = placed.members.split_first() {
                let way = ways.entry(primary).or_default();
                for &secondary in secondaries {
                    let takes = picture
                        .places
                        .get(&secondary)
                        .is_some_and(|place| place.takes);
                    if takes && !placed.barred.contains(&secondary) {
                        way.entry(secondary).or_insert(placed.id);
                    }
                }
            }
        }
        for &from in order.iter().rev() {
            if leads(from) < leads(least) + 2 {
                break;
            }
            if let Some(steps) = chain(&ways, from, |to| leads(from) >= leads(to) + 2) {
                return steps;
            }
        }
    }
    vec![]
}

/// The shortest way of leads from a node to one that fits, each given on to the next.
fn chain(
    ways: &BTreeMap<NodeId, BTreeMap<NodeId, PartitionId>>,
    from: NodeId,
    fits: impl Fn(NodeId) -> bool,
) -> Option<Vec<Step>> {
    let mut came: BTreeMap<NodeId, (NodeId, PartitionId)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if at != from && fits(at) {
            let mut steps = Vec::new();
            let mut to = at;
            while to != from {
                let &(giver, partition) = came.get(&to)?;
                steps.push(Step::lead(partition, giver, to));
                to = giver;
            }
            return Some(steps);
        }
        for (&next, &partition) in ways.get(&at).into_iter().flatten() {
            if next != from && !came.contains_key(&next) {
                came.insert(next, (at, partition));
                queue.push_back(next);
            }
        }
    }
    None
}

/// The same for all tables together, where it leaves each table as even as it is.
pub(super) fn primaries(picture: &Picture) -> Vec<Step> {
    let takers = picture.takers();
    let leads = |node| picture.load(node).leads;
    let (Some(&most), Some(&least)) = (
        takers.iter().max_by_key(|&&node| leads(node)),
        takers.iter().min_by_key(|&&node| leads(node)),
    ) else {
        return vec![];
    };
    if leads(most) < leads(least) + 2 {
        return vec![];
    }
    for (&table, all) in &picture.tables {
        let of_table = |node| picture.load_of(table, node).leads;
        for placed in all.iter().filter(|placed| !placed.locked) {
            let Some((&from, secondaries)) = placed.members.split_first() else {
                continue;
            };
            let better = |&&to: &&NodeId| {
                takers.contains(&to)
                    && !placed.barred.contains(&to)
                    && leads(from) >= leads(to) + 2
                    && of_table(from) > of_table(to)
            };
            let to = secondaries
                .iter()
                .filter(better)
                .min_by_key(|&&to| leads(to));
            if let Some(&to) = to {
                return vec![Step::lead(placed.id, from, to)];
            }
        }
    }
    vec![]
}
