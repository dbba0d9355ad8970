//! Who has what, as it would be if all moves under way were done; and what each node bears by that.

use super::step::{Shift, Step};
use crate::{Cluster, Duty};
use std::collections::BTreeMap;
use types::{NodeId, PartitionId, TableId};

/// A node that is alive.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) zone: String,
    /// Whether it is to have replicas.
    pub(super) takes: bool,
    /// Whether it is to have none.
    pub(super) drained: bool,
}

/// A partition.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) id: PartitionId,
    /// The primary first.
    pub(super) members: Vec<NodeId>,
    pub(super) bytes: u64,
    /// To these it was moved in vain.
    pub(super) barred: Vec<NodeId>,
    /// Something else is done about it first.
    pub(super) locked: bool,
}

/// What a node bears.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) replicas: usize,
    pub(super) leads: usize,
    pub(super) bytes: u64,
}

impl Placed {
    /// Whether a copy may be made on this node.
    pub(super) fn may_take(&self, node: NodeId) -> bool {
        !self.members.contains(&node) && !self.barred.contains(&node)
    }
}

/// How many more there are than different ones, of those that are known.
pub(crate) fn crowding<'a>(zones: impl Iterator<Item = &'a str>) -> usize {
    let mut zones: Vec<&str> = zones.filter(|zone| !zone.is_empty()).collect();
    let all = zones.len();
    zones.sort_unstable();
    zones.dedup();
    all - zones.len()
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) places: BTreeMap<NodeId, Place>,
    pub(super) tables: BTreeMap<TableId, Vec<Placed>>,
    all: BTreeMap<NodeId, Load>,
    of_table: BTreeMap<(TableId, NodeId), Load>,
}

impl Cluster {
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

impl Picture {
    pub(super) fn add(&mut self, placed: Placed) {
        for (position, &node) in placed.members.iter().enumerate() {
            self.bear(placed.id.table, node, position == 0, placed.bytes);
        }
        self.tables.entry(placed.id.table).or_default().push(placed);
    }

    fn bear(&mut self, table: TableId, node: NodeId, leads: bool, bytes: u64) {
        for load in [
            self.all.entry(node).or_default(),
            self.of_table.entry((table, node)).or_default(),
        ] {
            load.replicas += 1;
            load.leads += usize::from(leads);
            load.bytes += bytes;
        }
    }

    fn relieve(&mut self, table: TableId, node: NodeId, leads: bool, bytes: u64) {
        for load in [
            self.all.entry(node).or_default(),
            self.of_table.entry((table, node)).or_default(),
        ] {
            load.replicas = load.replicas.saturating_sub(1);
            load.leads = load.leads.saturating_sub(usize::from(leads));
            load.bytes = load.bytes.saturating_sub(bytes);
        }
    }

    /// What a node bears altogether.
    pub(super) fn load(&self, node: NodeId) -> Load {
        self.all.get(&node).copied().unwrap_or_default()
    }

    /// What it bears of one table.
    pub(super) fn load_of(&self, table: TableId, node: NodeId) -> Load {
        self.of_table
            .get(&(table, node))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn zone(&self, node: NodeId) -> &str {
        self.places.get(&node).map_or("", |place| &place.zone)
    }

    /// Nodes that are to have replicas.
    pub(super) fn takers(&self) -> Vec<NodeId> {
        let takes = |(&node, place): (&NodeId, &Place)| place.takes.then_some(node);
        self.places.iter().filter_map(takes).collect()
    }

    /// The same, those first that have least of this table, then of all.
    pub(super) fn takers_for(&self, table: TableId) -> Vec<NodeId> {
        let mut takers = self.takers();
        takers.sort_by_key(|&node| {
            let all = self.load(node);
            (
                self.load_of(table, node).replicas,
                all.replicas,
                all.bytes,
                node,
            )
        });
        takers
    }

    /// How many members more than zones, of those whose zone is known.
    pub(super) fn crowding(&self, members: &[NodeId]) -> usize {
        let places = members.iter().filter_map(|node| self.places.get(node));
        crowding(places.map(|place| &place.zone[..]))
    }

    /// Whether a partition may go from one node to another as far as zones and members go.
    pub(super) fn may_move(&self, placed: &Placed, from: NodeId, to: NodeId) -> bool {
        if placed.locked || !placed.members.contains(&from) || !placed.may_take(to) {
            return false;
        }
        let moved: Vec<NodeId> = placed
            .members
            .iter()
            .map(|&node| if node == from { to } else { node })
            .collect();
        self.crowding(&moved) <= self.crowding(&placed.members)
    }

    /// The picture after a step.
    pub(super) fn take(&mut self, step: &Step) {
        let table = step.partition.table;
        let Some(placed) = self
            .tables
            .get_mut(&table)
            .and_then(|all| all.iter_mut().find(|placed| placed.id == step.partition))
        else {
            return;
        };
        let before = placed.members.clone();
        let bytes = placed.bytes;
        match step.shift {
            Shift::Replica { from, to } => {
                // A primary hands over before it goes: its first secondary leads then.
                placed.members.retain(|&node| node != from);
                placed.members.push(to);
            }
            Shift::Lead { to, .. } => placed.members.sort_by_key(|&node| node != to),
        }
        let after = placed.members.clone();
        for (position, &node) in before.iter().enumerate() {
            self.relieve(table, node, position == 0, bytes);
        }
        for (position, &node) in after.iter().enumerate() {
            self.bear(table, node, position == 0, bytes);
        }
    }
}
