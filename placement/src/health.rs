//! What is wrong now, and what is being done about it: for people and metrics. Nothing is decided here; who decides stands beside each cure.

use crate::cluster::{Partition, TableState};
use crate::guardian::Lost;
use crate::{Cluster, Soundness};
use std::time::Duration;
use types::{Configuration, Instant, NodeId, PartitionId};

/// Ways in which a partition can be unwell, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Condition {
    /// No member's copy is whole: it does not serve.
    LostQuorum,
    /// The primary's node has no stream here. It may serve all the same.
    PrimaryAway,
    /// It waits for its first configuration, and serves nobody yet.
    Unborn,
    /// A secondary's node has no stream here.
    SecondaryAway,
    /// It has fewer members than its table wants.
    Short,
}

/// What is being done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cure {
    /// Nothing, until an operator decides with which copy to go on.
    Operator {
        /// Members whose copies are damaged.
        damaged: Vec<NodeId>,
        /// Members whose copies lack what was not synced.
        unsynced: Vec<NodeId>,
    },
    /// Its secondaries notice the silence themselves, and one of them takes over if the primary is gone for them too.
    Takeover,
    /// Its primary notices the silence itself, and goes on without the member.
    Removal,
    /// None of its members has a stream: their return is waited for.
    Return,
    /// Empty replicas are being made.
    Opening,
    /// More nodes have to join first.
    MoreNodes,
    /// The node is brought in.
    Learning(NodeId),
    /// A node that had a copy is waited for, so long at most; then another one gets one.
    Waiting(Duration),
}

/// One partition that is unwell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ailment {
    /// Which.
    pub partition: PartitionId,
    /// What is wrong.
    pub condition: Condition,
    /// Members there are, and replicas its table wants.
    pub members: (usize, usize),
    /// What is being done.
    pub cure: Cure,
}

/// The cluster at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// The meta leader's term.
    pub epoch: u64,
    /// Nodes with streams, and all that ever joined.
    pub nodes: (usize, usize),
    /// Tables in service.
    pub tables: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Learns asked for and not seen done.
    pub learns: usize,
    /// How many partitions are unwell, by condition; each counts once, for the worst.
    pub unwell: [usize; Condition::ALL.len()],
    /// Some of them, the worst first.
    pub ailments: Vec<Ailment>,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LostQuorum,
        Self::PrimaryAway,
        Self::Unborn,
        Self::SecondaryAway,
        Self::Short,
    ];

    /// As metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostQuorum => "lost_quorum",
            Self::PrimaryAway => "primary_away",
            Self::Unborn => "unborn",
            Self::SecondaryAway => "secondary_away",
            Self::Short => "short",
        }
    }
}

impl Cluster {
    /// How the cluster is. Looks at every partition; tells of `at_most` that are unwell.
    pub fn health(&self, now: Instant, at_most: usize) -> Health {
        let mut health = Health {
            epoch: self.epoch,
            nodes: (self.alive().count(), self.nodes.len()),
            learns: self.learns.len(),
            ..Health::default()
        };
        let mut found: [Vec<Ailment>; Condition::ALL.len()] = Default::default();
        for table in self.live() {
            health.tables += 1;
            health.partitions += table.partitions.len();
            for (index, partition) in (0..).zip(&table.partitions) {
                let id = PartitionId {
                    table: table.properties.id,
                    index,
                };
                let Some(condition) = self.condition(table, partition) else {
                    continue;
                };
                health.unwell[condition as usize] += 1;
                if found[condition as usize].len() < at_most {
                    let members = partition.stored.as_ref().map_or(0, Configuration::len);
                    found[condition as usize].push(Ailment {
                        partition: id,
                        condition,
                        members: (members, table.properties.replicas as usize),
                        cure: self.cure(now, id, partition, condition),
                    });
                }
            }
        }
        health.ailments = found.into_iter().flatten().take(at_most).collect();
        health
    }

    /// The worst of what is wrong with it, if anything is.
    fn condition(&self, table: &TableState, partition: &Partition) -> Option<Condition> {
        let Some(stored) = &partition.stored else {
            return Some(Condition::Unborn);
        };
        let whole = |node| {
            let holder = partition.holder(node);
            holder.is_none_or(|holder| holder.soundness == Soundness::Whole)
        };
        if !whole(stored.primary.node) && Lost::of(partition, stored).is_some() {
            return Some(Condition::LostQuorum);
        }
        if !self.is_alive(stored.primary.node) {
            return Some(Condition::PrimaryAway);
        }
        let mut secondaries = stored.secondaries.iter();
        if !secondaries.all(|member| self.is_alive(member.node)) {
            return Some(Condition::SecondaryAway);
        }
        (stored.len() < table.properties.replicas as usize).then_some(Condition::Short)
    }

    fn cure(
        &self,
        now: Instant,
        id: PartitionId,
        partition: &Partition,
        condition: Condition,
    ) -> Cure {
        let stored = partition.stored.as_ref();
        match condition {
            Condition::LostQuorum => {
                let lost = stored.and_then(|stored| Lost::of(partition, stored));
                lost.map_or(Cure::Return, |lost| Cure::Operator {
                    damaged: lost.damaged,
                    unsynced: lost.unsynced,
                })
            }
            Condition::PrimaryAway => {
                let mut members = stored.into_iter().flat_map(Configuration::members);
                if members.any(|member| self.is_alive(member.node)) {
                    Cure::Takeover
                } else {
                    Cure::Return
                }
            }
            Condition::Unborn if partition.birth.is_some() => Cure::Opening,
            Condition::Unborn => Cure::MoreNodes,
            Condition::SecondaryAway => Cure::Removal,
            Condition::Short => match (self.learner_of(id), self.short.get(&id)) {
                (Some(node), _) => Cure::Learning(node),
                (None, since) => {
                    let waited = since.map_or(Duration::ZERO, |&since| now.since(since));
                    match self.settings.repair_delay.checked_sub(waited) {
                        Some(left) if !left.is_zero() => Cure::Waiting(left),
                        _ => Cure::MoreNodes,
                    }
                }
            },
        }
    }
}
