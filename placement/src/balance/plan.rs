//! What should be moved next: from drained nodes first, then out of crowded zones, then towards even numbers of replicas (of each table, then
//! of all), of bytes on disks, and of primaries.
//!
//! Each step leaves the cluster no worse in anything that comes before it. Nothing here is carried out.

use super::picture::{Picture, Place, Placed};
use crate::Cluster;
use crate::Duty;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use types::{NodeId, PartitionId, TableId};

/// Disks differ by less than this, or by less than a fifth of the mean: then they are even.
const BYTES_APART: u64 = 1 << 30;

/// Nodes with the least that are tried for one replica.
const TARGETS: usize = 16;

/// One small move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Of what.
    pub partition: PartitionId,
    /// From where to where.
    pub shift: Shift,
    /// What for.
    pub reason: Reason,
}

/// What is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// A replica: a new one is made, then the old one removed.
    Replica {
        /// A member.
        from: NodeId,
        /// No member yet.
        to: NodeId,
    },
    /// Only the lead, to a secondary.
    Lead {
        /// The primary.
        from: NodeId,
        /// A secondary.
        to: NodeId,
    },
}

/// What a move is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// The node is drained.
    Drain,
    /// Two members are in one zone, and another zone has none.
    Zones,
    /// One node has more replicas than another.
    Replicas,
    /// One disk holds more than another.
    Disks,
    /// One node leads more than another.
    Primaries,
    /// Somebody asked for it.
    Operator,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Zones => "zones",
            Self::Replicas => "replicas",
            Self::Disks => "disks",
            Self::Primaries => "primaries",
            Self::Operator => "operator",
        })
    }
}

/// How much of the plan is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// What operators asked for.
    Drains,
    /// What makes it even, too.
    All,
}

impl Cluster {
    /// What the balancer would do from here on, until all is even or there are so many steps.
    pub fn plan(&self, steps: usize) -> Vec<Step> {
        plan(&mut self.picture(), Extent::All, steps)
    }

    /// What would be if all moves under way were done.
    pub(super) fn picture(&self) -> Picture {
        let mut picture = Picture::default();
        for (&id, node) in &self.nodes {
            if let Some(session) = &node.session {
                let drained = node.duty == Duty::Drained;
                let place = Place {
                    zone: node.address.zone.clone(),
                    takes: !drained && session.reported,
                    drained,
                };
                picture.places.insert(id, place);
            }
        }
        for table in self.live() {
            let wanted = table.properties.replicas as usize;
            for (index, partition) in (0..).zip(&table.partitions) {
                let id = PartitionId {
                    table: table.properties.id,
                    index,
                };
                let Some(stored) = &partition.stored else {
                    continue;
                };
                let mut members: Vec<NodeId> = stored.members().map(|member| member.node).collect();
                let moving = self.moves.get(&id).map(|moving| moving.step.shift);
                match moving {
                    Some(Shift::Replica { from, to }) => {
                        members.retain(|&node| node != from && node != to);
                        members.push(to);
                    }
                    Some(Shift::Lead { to, .. }) => members.sort_by_key(|&node| node != to),
                    None => {}
                }
                let well = members.iter().all(|node| picture.places.contains_key(node));
                let barred = self.barred.range((id, NodeId(0))..=(id, NodeId(u64::MAX)));
                picture.add(Placed {
                    id,
                    bytes: partition.bytes(),
                    barred: barred.map(|(&(_, node), _)| node).collect(),
                    locked: moving.is_some()
                        || partition.pending.is_some()
                        || partition.is_diverged()
                        || members.len() != wanted
                        || !well,
                    members,
                });
            }
        }
        picture
    }
}

/// Steps in the order in which they should be taken, at most so many; the picture is as they leave it.
pub(super) fn plan(picture: &mut Picture, extent: Extent, most: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let phases: &[fn(&Picture) -> Vec<Step>] = match extent {
        Extent::Drains => &[drain],
        Extent::All => &[
            drain,
            zones,
            replicas_of_tables,
            replicas,
            disks,
            primaries_of_tables,
            primaries,
        ],
    };
    for phase in phases {
        while steps.len() < most {
            let next = phase(picture);
            if next.is_empty() {
                break;
            }
            for step in next {
                picture.take(&step);
                steps.push(step);
            }
        }
    }
    steps
}

fn replica(placed: &Placed, from: NodeId, to: NodeId, reason: Reason) -> Vec<Step> {
    let shift = Shift::Replica { from, to };
    vec![Step {
        partition: placed.id,
        shift,
        reason,
    }]
}

/// Nodes that may take a replica of the table, those with the least first.
fn targets(picture: &Picture, table: TableId) -> Vec<NodeId> {
    let mut takers = picture.takers();
    takers.sort_by_key(|&node| {
        let all = picture.load(node);
        (
            picture.load_of(table, node).replicas,
            all.replicas,
            all.bytes,
            node,
        )
    });
    takers
}

fn drain(picture: &Picture) -> Vec<Step> {
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
            let order = order.get_or_insert_with(|| targets(picture, table));
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
                return replica(placed, from, to, Reason::Drain);
            }
        }
    }
    vec![]
}

fn zones(picture: &Picture) -> Vec<Step> {
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
            let order = order.get_or_insert_with(|| targets(picture, table));
            // Rather a secondary than the primary: no lead has to be handed over.
            for &from in placed.members.iter().rev() {
                for &to in order.iter().filter(|to| placed.may_take(**to)) {
                    let moved: Vec<NodeId> = placed
                        .members
                        .iter()
                        .map(|&node| if node == from { to } else { node })
                        .collect();
                    if picture.crowding(&moved) < crowding {
                        return replica(placed, from, to, Reason::Zones);
                    }
                }
            }
        }
    }
    vec![]
}

/// A replica of the table that may leave `from`, rather one that does not lead, and where it may go.
fn leaving<'a>(
    picture: &'a Picture,
    table: TableId,
    from: NodeId,
    order: &[NodeId],
    fits: impl Fn(NodeId) -> bool,
) -> Option<(&'a Placed, NodeId)> {
    let all = picture.tables.get(&table)?;
    for leads in [false, true] {
        for placed in all {
            let is_primary = placed.members.first() == Some(&from);
            if placed.locked || is_primary != leads || !placed.members.contains(&from) {
                continue;
            }
            // What crowds a zone does so on each of its nodes.
            let mut full: Vec<&str> = Vec::new();
            for &to in order.iter().take_while(|&&to| fits(to)).take(TARGETS) {
                let zone = picture.zone(to);
                if !placed.may_take(to) || full.contains(&zone) {
                    continue;
                }
                if picture.may_move(placed, from, to) {
                    return Some((placed, to));
                }
                full.push(zone);
            }
        }
    }
    None
}

fn replicas_of_tables(picture: &Picture) -> Vec<Step> {
    for &table in picture.tables.keys() {
        let order = targets(picture, table);
        let count = |node| picture.load_of(table, node).replicas;
        let Some(&least) = order.first() else {
            continue;
        };
        for &from in order.iter().rev() {
            if count(from) < count(least) + 2 {
                break;
            }
            let fits = |to| count(from) >= count(to) + 2;
            if let Some((placed, to)) = leaving(picture, table, from, &order, fits) {
                return replica(placed, from, to, Reason::Replicas);
            }
        }
    }
    vec![]
}

fn replicas(picture: &Picture) -> Vec<Step> {
    let mut order = picture.takers();
    order.sort_by_key(|&node| (picture.load(node).replicas, node));
    let count = |node| picture.load(node).replicas;
    let Some(&least) = order.first() else {
        return vec![];
    };
    for &from in order.iter().rev() {
        if count(from) < count(least) + 2 {
            break;
        }
        for &table in picture.tables.keys() {
            let of_table = |node| picture.load_of(table, node).replicas;
            // Where it goes there are fewer of its table too: the table stays as even as it is.
            let better: Vec<NodeId> = order
                .iter()
                .copied()
                .filter(|&to| count(from) >= count(to) + 2 && of_table(from) > of_table(to))
                .collect();
            if better.is_empty() || of_table(from) == 0 {
                continue;
            }
            if let Some((placed, to)) = leaving(picture, table, from, &better, |_| true) {
                return replica(placed, from, to, Reason::Replicas);
            }
        }
    }
    vec![]
}

/// The fullest disk gives a large replica to the emptiest, and takes a small one of the same table for it.
fn disks(picture: &Picture) -> Vec<Step> {
    let takers = picture.takers();
    let bytes = |node: NodeId| picture.load(node).bytes;
    let (Some(&from), Some(&to)) = (
        takers.iter().max_by_key(|&&node| bytes(node)),
        takers.iter().min_by_key(|&&node| bytes(node)),
    ) else {
        return vec![];
    };
    let mean = takers.iter().map(|&node| bytes(node)).sum::<u64>() / takers.len() as u64;
    let apart = bytes(from) - bytes(to);
    if apart <= BYTES_APART.max(mean / 5) {
        return vec![];
    }
    let mut best: Option<(u64, &Placed, &Placed)> = None;
    for all in picture.tables.values() {
        let back = all
            .iter()
            .filter(|placed| picture.may_move(placed, to, from))
            .min_by_key(|placed| placed.bytes);
        let Some(back) = back else { continue };
        for placed in all
            .iter()
            .filter(|placed| picture.may_move(placed, from, to))
        {
            let gain = placed.bytes.saturating_sub(back.bytes);
            let helps = gain > 0 && gain < apart && gain * 20 > apart;
            // What leaves the two disks closest to each other.
            let rest = apart.abs_diff(2 * gain);
            if helps && best.is_none_or(|(least, ..)| rest < least) {
                best = Some((rest, placed, back));
            }
        }
    }
    let Some((_, large, small)) = best else {
        return vec![];
    };
    let mut steps = replica(large, from, to, Reason::Disks);
    steps.extend(replica(small, to, from, Reason::Disks));
    steps
}

/// The lead goes from whoever leads most of a table to whoever leads least, over others if no partition has both.
fn primaries_of_tables(picture: &Picture) -> Vec<Step> {
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
                let shift = Shift::Lead { from: giver, to };
                steps.push(Step {
                    partition,
                    shift,
                    reason: Reason::Primaries,
                });
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
fn primaries(picture: &Picture) -> Vec<Step> {
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
                return vec![Step {
                    partition: placed.id,
                    shift: Shift::Lead { from, to },
                    reason: Reason::Primaries,
                }];
            }
        }
    }
    vec![]
}
