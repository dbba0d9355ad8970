//! What is wrong now, and what is being done about it: for people and metrics. Nothing is decided here; who decides stands beside each cure.

use crate::cluster::{Partition, TableState};
use crate::guardian::Lost;
use crate::{Cluster, Soundness};
use std::time::Duration;
use types::{Configuration, Instant, NodeId, PartitionId, TableId};

/// Ways in which a partition can be unwell, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Condition {
    /// No member with a whole copy is there: as far as is known here it does not serve.
    LostQuorum,
    /// The primary's node has no stream here. It may serve all the same.
    PrimaryAway,
    /// It waits for its first configuration, and serves nobody yet.
    Unborn,
    /// A secondary's node has no stream here.
    SecondaryAway,
    /// It has fewer members than its table wants.
    Short,
    /// Its members' copies differ, and no majority says which is right.
    Diverged,
    /// It has more members than its table wants.
    Surplus,
    /// A member is on a node that is drained.
    Drained,
}

/// What is being done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cure {
    /// A member with a whole copy is waited for, or an operator, who decides with what to go on.
    Operator(Loss),
    /// The secondaries of this primary notice its silence themselves, and one of them takes over if it is gone for them too.
    Takeover(NodeId),
    /// The primary notices the silence of these members itself, and goes on without them.
    Removal(Vec<NodeId>),
    /// Empty replicas are being made.
    Opening,
    /// More nodes have to join first.
    MoreNodes,
    /// The node is brought in.
    Learning(NodeId),
    /// A node that had a copy is waited for, so long at most; then another one gets one.
    Waiting(Duration),
    /// Nothing, until an operator decides whose copy goes. If a member is on this drained node, it stays there until then.
    Choice(Option<NodeId>),
    /// One member goes.
    Shedding,
    /// The copy on this node is moved elsewhere.
    Moving(NodeId),
}

/// What became of the members of a partition none of which can go on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// Whose copies are damaged.
    pub damaged: Vec<NodeId>,
    /// Whose copies never became whole: their learns did not end.
    pub unfinished: Vec<NodeId>,
    /// Whose copies lack what was not synced.
    pub unsynced: Vec<NodeId>,
    /// Whose nodes have no stream here.
    pub absent: Vec<NodeId>,
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

/// The cluster, or one table, at a glance.
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
    pub const ALL: [Self; 8] = [
        Self::LostQuorum,
        Self::PrimaryAway,
        Self::Unborn,
        Self::SecondaryAway,
        Self::Short,
        Self::Diverged,
        Self::Surplus,
        Self::Drained,
    ];

    /// As metrics and the shell have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostQuorum => "lost_quorum",
            Self::PrimaryAway => "primary_away",
            Self::Unborn => "unborn",
            Self::SecondaryAway => "secondary_away",
            Self::Short => "short",
            Self::Diverged => "diverged",
            Self::Surplus => "surplus",
            Self::Drained => "drained",
        }
    }
}

impl Cluster {
    /// How the cluster is, or how one table is. Looks at every partition; tells of `at_most` that are unwell.
    pub fn health(&self, now: Instant, table: Option<TableId>, at_most: usize) -> Health {
        let mut health = Health {
            epoch: self.epoch,
            nodes: (self.alive().count(), self.nodes.len()),
            learns: self.learns.len(),
            ..Health::default()
        };
        let mut found: [Vec<Ailment>; Condition::ALL.len()] = Default::default();
        let asked = |state: &&TableState| table.is_none_or(|table| table == state.properties.id);
        for table in self.live().filter(asked) {
            health.tables += 1;
            health.partitions += table.partitions.len();
            for (index, partition) in (0..).zip(&table.partitions) {
                let id = PartitionId {
                    table: table.properties.id,
                    index,
                };
                let Some((condition, cure)) = self.ailment(now, id, table, partition) else {
                    continue;
                };
                health.unwell[condition as usize] += 1;
                if found[condition as usize].len() < at_most {
                    let members = partition.stored.as_ref().map_or(0, Configuration::len);
                    found[condition as usize].push(Ailment {
                        partition: id,
                        condition,
                        members: (members, table.properties.replicas as usize),
                        cure,
                    });
                }
            }
        }
        health.ailments = found.into_iter().flatten().take(at_most).collect();
        health
    }

    /// The worst of what is wrong with it, if anything is.
    fn ailment(
        &self,
        now: Instant,
        id: PartitionId,
        table: &TableState,
        partition: &Partition,
    ) -> Option<(Condition, Cure)> {
        let Some(stored) = &partition.stored else {
            let cure = match partition.birth {
                Some(_) => Cure::Opening,
                None => Cure::MoreNodes,
            };
            return Some((Condition::Unborn, cure));
        };
        if let Some(loss) = self.loss(id) {
            return Some((Condition::LostQuorum, Cure::Operator(loss)));
        }
        let primary = stored.primary.node;
        if !self.is_alive(primary) {
            return Some((Condition::PrimaryAway, Cure::Takeover(primary)));
        }
        let nodes = || stored.members().map(|member| member.node);
        let absent: Vec<NodeId> = nodes().filter(|&node| !self.is_alive(node)).collect();
        if !absent.is_empty() {
            return Some((Condition::SecondaryAway, Cure::Removal(absent)));
        }
        let wanted = table.properties.replicas as usize;
        if stored.len() < wanted {
            return Some((Condition::Short, self.repair(now, id)));
        }
        let drained = nodes().find(|&node| self.is_drained(node));
        if partition.is_diverged() {
            return Some((Condition::Diverged, Cure::Choice(drained)));
        }
        if stored.len() > wanted {
            return Some((Condition::Surplus, Cure::Shedding));
        }
        drained.map(|drained| (Condition::Drained, Cure::Moving(drained)))
    }

    /// What is done for a partition that has too few members.
    fn repair(&self, now: Instant, id: PartitionId) -> Cure {
        let due = self.short.get(&id).copied().unwrap_or(now);
        match self.learner_of(id) {
            Some(node) => Cure::Learning(node),
            None if now < due => Cure::Waiting(due.since(now)),
            None => Cure::MoreNodes,
        }
    }

    /// Why a partition can not go on by itself, if it can not: no member is there that has a whole copy.
    pub(crate) fn loss(&self, id: PartitionId) -> Option<Loss> {
        let table = self.tables.get(&id.table)?;
        let partition = table.partitions.get(id.index as usize)?;
        let stored = partition.stored.as_ref()?;
        let all_unsynced = Lost::of(partition, stored).is_some_and(|lost| lost.damaged.is_empty());
        if partition.pending.is_some() || all_unsynced {
            return None;
        }
        let mut loss = Loss::default();
        for member in stored.members() {
            let node = member.node;
            if !self.is_alive(node) {
                loss.absent.push(node);
                continue;
            }
            // It has yet to report, or to hear that it is a member.
            let holder = partition.holder(node)?;
            match holder.soundness {
                Soundness::Unsynced => loss.unsynced.push(node),
                Soundness::Whole if holder.ballot < stored.ballot => return None,
                Soundness::Whole if holder.is_copy() && holder.signature == member.signature => {
                    return None;
                }
                Soundness::Whole => loss.unfinished.push(node),
                Soundness::Damaged => loss.damaged.push(node),
            }
        }
        Some(loss)
    }
}
