//! A partition's first configuration: choose nodes, have each make an empty replica, and store ballot 1 when all have it on disk.
//!
//! The plan itself is not stored. A new leader plans again, and keeps to nodes that report an empty replica already; what an
//! earlier plan left elsewhere is deleted once the partition is healthy.

use crate::choose::Tally;
use crate::cluster::{Holder, Pending};
use crate::errands::Errand;
use crate::{Action, Cluster, Soundness};
use types::{
    Ballot, Configuration, Decree, Instant, LearnSignature, Member, NodeId, PartitionId, TableId,
};

/// A plan: the members to be, the primary first, and who has its replica on disk.
#[derive(Debug)]
pub(crate) struct Birth {
    members: Vec<NodeId>,
    opened: Vec<NodeId>,
    /// Not the first one: what was there is given up.
    again: Option<Configuration>,
}

impl Cluster {
    /// Plans what is unplanned and what counted on a node that is gone; asks for what was not asked. May be called at any time.
    pub(crate) fn plan_births(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.unborn.is_empty() || !self.is_settled(now) {
            return;
        }
        let candidates: Vec<NodeId> = self
            .takers()
            .filter(|&node| self.session(node).is_some_and(|session| session.reported))
            .collect();
        let unborn: Vec<PartitionId> = self.unborn.iter().copied().collect();
        let mut tally: Option<(TableId, Tally)> = None;
        for id in unborn {
            let Some(partition) = self.partition(id) else {
                continue;
            };
            // A replica that knows a ballot proves that a first configuration existed: the store lost it, and it must not be replaced.
            if partition.pending.is_some()
                || partition
                    .holders
                    .iter()
                    .any(|holder| holder.ballot > Ballot::ZERO)
            {
                continue;
            }
            if !partition
                .birth
                .as_ref()
                .is_some_and(|birth| self.all_alive(&birth.members))
            {
                let wanted = self.replicas(id.table);
                if candidates.len() < wanted {
                    continue;
                }
                if tally.as_ref().is_none_or(|(table, _)| *table != id.table) {
                    tally = Some((id.table, self.tally(id.table, &candidates)));
                }
                if let Some((_, tally)) = &mut tally {
                    let kept: Vec<NodeId> =
                        partition.holders.iter().map(|holder| holder.node).collect();
                    let members = tally.choose(&kept, wanted);
                    tally.count(&members);
                    self.adopt_plan(id, members);
                }
            }
            self.ask_to_open(id);
        }
        self.run_all_errands(now, actions);
    }

    /// After a start the known nodes get some time to join, so that a plan does not pass over them.
    fn is_settled(&self, now: Instant) -> bool {
        now.since(self.started) >= self.settings.settle
            || self.nodes.values().all(|node| {
                node.session
                    .as_ref()
                    .is_some_and(|session| session.reported)
            })
    }

    fn all_alive(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().all(|&node| self.is_alive(node))
    }

    fn replicas(&self, table: TableId) -> usize {
        self.tables
            .get(&table)
            .map_or(0, |table| table.properties.replicas as usize)
    }

    fn tally(&self, table: TableId, candidates: &[NodeId]) -> Tally {
        let mut tally = Tally::default();
        for (&node, share) in &self.shares {
            tally.weigh(node, share.partitions.len(), share.primaries);
        }
        for &node in candidates {
            if let Some(known) = self.nodes.get(&node) {
                tally.admit(node, &known.address.zone);
            }
        }
        for partition in self
            .tables
            .get(&table)
            .into_iter()
            .flat_map(|table| &table.partitions)
        {
            match (&partition.stored, &partition.birth) {
                (Some(stored), _) => {
                    let members: Vec<NodeId> = stored.members().map(|member| member.node).collect();
                    tally.count(&members);
                }
                (None, Some(birth)) if self.all_alive(&birth.members) => {
                    tally.count(&birth.members);
                }
                (None, _) => {}
            }
        }
        tally
    }

    fn adopt_plan(&mut self, id: PartitionId, members: Vec<NodeId>) {
        if let Some(partition) = self.partition_mut(id) {
            partition.birth = Some(Birth {
                members,
                opened: Vec::new(),
                again: None,
            });
        }
    }

    fn ask_to_open(&mut self, id: PartitionId) {
        let missing: Vec<NodeId> = self
            .partition(id)
            .and_then(|partition| partition.birth.as_ref())
            .map(|birth| birth.missing().collect())
            .unwrap_or_default();
        for node in missing {
            self.errand(node, Errand::Open(id));
        }
    }

    /// Whether the plan waits for this node's replica.
    pub(crate) fn awaits_open(&self, node: NodeId, id: PartitionId) -> bool {
        self.partition(id)
            .and_then(|partition| partition.birth.as_ref())
            .filter(|birth| birth.again.is_some() || self.unborn.contains(&id))
            .is_some_and(|birth| birth.missing().any(|missing| missing == node))
    }

    pub(crate) fn opened(
        &mut self,
        now: Instant,
        node: NodeId,
        id: PartitionId,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.session_mut(node) else {
            return;
        };
        session.errands.done(Errand::Open(id));
        let planned = self.awaits_open(node, id);
        if let Some(partition) = self.partition_mut(id) {
            if partition.holder(node).is_none() {
                partition.hold(Holder::empty(node));
            }
            if let Some(birth) = &mut partition.birth
                && planned
            {
                birth.opened.push(node);
            }
            if let Some(session) = self.session_mut(node) {
                session.holding.insert(id);
            }
            self.bear(id);
            self.look_after(now, id, actions);
        }
        self.run_errands(now, node, actions);
    }

    /// Stores this configuration, of one member, when it has made an empty replica: what was in the partition is given up.
    pub(crate) fn bear_again(&mut self, id: PartitionId, configuration: Configuration) {
        let node = configuration.primary.node;
        if let Some(partition) = self.partition_mut(id) {
            partition.birth = Some(Birth {
                members: vec![node],
                opened: Vec::new(),
                again: Some(configuration),
            });
            self.errand(node, Errand::Open(id));
        }
    }

    /// The empty replica is there; if nothing else became of the partition meanwhile, it goes on with that.
    fn is_born_again(&mut self, id: PartitionId) -> bool {
        let lost = self.loss(id).is_some();
        let Some(partition) = self.partition_mut(id) else {
            return false;
        };
        let Some(birth) = partition
            .birth
            .take_if(|birth| birth.again.is_some() && birth.missing().next().is_none())
        else {
            return false;
        };
        let stored = partition.stored.as_ref().map(|stored| stored.ballot);
        if let Some(configuration) = birth.again
            && lost
            && Some(configuration.ballot) > stored
        {
            partition.pending = Some(Pending {
                configuration,
                sent: false,
            });
            self.touch_page(id);
        }
        true
    }

    /// Stores ballot 1 if every member to be has its empty replica on disk.
    fn bear(&mut self, id: PartitionId) {
        if self.is_born_again(id) || !self.unborn.contains(&id) {
            return;
        }
        let Some(partition) = self.partition_mut(id) else {
            return;
        };
        let Some(configuration) = partition.birth.as_ref().and_then(Birth::configuration) else {
            return;
        };
        if partition.stored.is_none() && partition.pending.is_none() {
            partition.pending = Some(Pending {
                configuration,
                sent: false,
            });
            self.touch_page(id);
        }
    }
}

impl Birth {
    fn missing(&self) -> impl Iterator<Item = NodeId> {
        self.members
            .iter()
            .copied()
            .filter(|node| !self.opened.contains(node))
    }

    /// The first configuration, once nothing is missing.
    fn configuration(&self) -> Option<Configuration> {
        let (&primary, secondaries) = self.members.split_first()?;
        self.missing().next().is_none().then(|| Configuration {
            ballot: Ballot(1),
            epoch: 0,
            primary: Member::original(primary),
            secondaries: secondaries.iter().copied().map(Member::original).collect(),
        })
    }
}

impl Holder {
    /// Of an empty replica just made.
    fn empty(node: NodeId) -> Self {
        Self {
            node,
            ballot: Ballot::ZERO,
            epoch: 0,
            prepared: Decree::ZERO,
            last_ballot: Ballot::ZERO,
            committed: Decree::ZERO,
            soundness: Soundness::Whole,
            learning: false,
            ready: true,
            diverged: false,
            signature: LearnSignature::default(),
            bytes: 0,
        }
    }
}
