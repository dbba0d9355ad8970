//! What goes on at the moment, and whether there is room for more.

use super::moves::Moving;
use super::step::{Shift, Step};
use crate::Cluster;
use std::collections::BTreeMap;
use types::{NodeId, PartitionId};

/// How many moves go on, and of each node.
#[derive(Default)]
pub(super) struct UnderWay {
    replicas: usize,
    leads: usize,
    of_nodes: BTreeMap<NodeId, usize>,
}

impl UnderWay {
    pub(super) fn count(&mut self, step: &Step) {
        match step.shift {
            Shift::Replica { from, to } => {
                self.replicas += 1;
                for node in [from, to] {
                    *self.of_nodes.entry(node).or_default() += 1;
                }
            }
            Shift::Lead { .. } => self.leads += 1,
        }
    }
}

impl Cluster {
    /// Moves that do not wait for another.
    pub(super) fn going_on(&self) -> impl Iterator<Item = (&PartitionId, &Moving)> {
        self.moves
            .iter()
            .filter(|(_, moving)| moving.after.is_none())
    }

    /// All of them, counted.
    pub(super) fn under_way(&self) -> UnderWay {
        let mut under_way = UnderWay::default();
        for (_, moving) in self.going_on() {
            under_way.count(&moving.step);
        }
        under_way
    }

    /// Whether there is room for one more move, of these nodes too.
    pub(super) fn may_start(&self, under_way: &UnderWay, step: &Step) -> bool {
        let busy = |node| under_way.of_nodes.get(&node).copied().unwrap_or(0);
        let (most, of_node) = (self.settings.moves_at_once, self.settings.moves_per_node);
        let free = match step.shift {
            Shift::Replica { from, to } => {
                under_way.replicas < most && busy(from) < of_node && busy(to) < of_node
            }
            Shift::Lead { .. } => under_way.leads < most,
        };
        free && self.is_free(step.partition)
    }

    /// Whether nothing is being changed about a partition.
    pub(super) fn is_free(&self, id: PartitionId) -> bool {
        let partition = self.partition(id);
        !self.moves.contains_key(&id)
            && partition.is_some_and(|partition| partition.pending.is_none())
    }
}
