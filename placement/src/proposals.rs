//! Proposals: replicas say what their configuration should become; the first one for a ballot wins.
//!
//! The one rule: a proposal is accepted if the stored ballot is one below its own. Accepted or not, its node is told what is
//! stored *then*. An answer that gets lost is made good by the next one: nodes send a proposal again, unchanged, until they know a higher ballot (rule C1).

use crate::cluster::{Pending, share, unshare};
use crate::errands::Errand;
use crate::{Action, Answered, Cluster, Finding, PAGE_PARTITIONS, ToNode};
use std::collections::BTreeMap;
use types::{Configuration, Instant, NodeId, PartitionId, TableId};

/// Members of a configuration at most.
const MOST_MEMBERS: usize = 16;

/// Configurations in one message at most.
const CONFIGURATIONS_PER_MESSAGE: usize = 256;

/// Stored configurations to tell, gathered so that a node gets few messages.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<NodeId, Vec<(PartitionId, Configuration)>>);

impl Notices {
    pub(crate) fn add(&mut self, node: NodeId, id: PartitionId, stored: &Configuration) {
        self.0.entry(node).or_default().push((id, stored.clone()));
    }

    pub(crate) fn send(self, cluster: &Cluster, actions: &mut Vec<Action>) {
        for (node, mut stored) in self.0 {
            while !stored.is_empty() {
                let rest = stored.split_off(stored.len().min(CONFIGURATIONS_PER_MESSAGE));
                cluster.tell(node, ToNode::Stored(stored), actions);
                stored = rest;
            }
        }
    }
}

impl Cluster {
    pub(crate) fn propose(
        &mut self,
        now: Instant,
        node: NodeId,
        proposals: Vec<(PartitionId, Configuration)>,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.session_mut(node) else {
            return;
        };
        session.last_heard = now;
        let mut notices = Notices::default();
        for (id, proposed) in proposals {
            if let Err(why) = self.consider(node, id, proposed, &mut notices) {
                actions.push(Action::Report(Finding::OddProposal {
                    partition: id,
                    node,
                    why,
                }));
            }
        }
        notices.send(self, actions);
        self.run_errands(now, node, actions);
    }

    /// Accepts one proposal, answers it with what is stored, or lets it wait for what is being stored.
    fn consider(
        &mut self,
        node: NodeId,
        id: PartitionId,
        proposed: Configuration,
        notices: &mut Notices,
    ) -> Result<(), &'static str> {
        if id.table < self.next_table && !self.tables.contains_key(&id.table) {
            self.errand(node, Errand::Delete(id));
            return Ok(());
        }
        let adds = |stored: &Configuration| {
            proposed
                .members()
                .find(|member| !stored.contains(member.node))
                .copied()
        };
        let known = |node| self.nodes.contains_key(&node);
        let partition = self.partition(id).ok_or("there is no such partition")?;
        let stored = partition
            .stored
            .as_ref()
            .ok_or("it has no configuration yet")?;
        let odd = if adds(stored).is_some_and(|added| !known(added.node)) {
            Err("it adds a node that never joined")
        } else {
            sensible(node, stored, &proposed)
        };
        let (expected, stored) = (stored.ballot.next(), stored.clone());
        let Some(partition) = self.partition_mut(id) else {
            return Ok(());
        };
        if partition.pending.is_some() {
            if !partition.waiting.contains(&node) {
                partition.waiting.push(node);
            }
        } else if proposed.ballot != expected {
            notices.add(node, id, &stored);
        } else if odd.is_err() {
            notices.add(node, id, &stored);
            return odd;
        } else {
            partition.pending = Some(Pending {
                configuration: proposed,
                sent: false,
            });
            partition.waiting.push(node);
            self.touch_page(id);
        }
        Ok(())
    }

    /// Pages are stored: what they carried is the truth now. Everyone concerned is told, and what the change broke or mended is looked after.
    pub(crate) fn pages_stored(
        &mut self,
        now: Instant,
        pages: &[(TableId, u32)],
        actions: &mut Vec<Action>,
    ) {
        let mut notices = Notices::default();
        let mut changed: BTreeMap<TableId, Vec<(u32, Configuration)>> = BTreeMap::new();
        for &(table, page) in pages {
            let first = page * PAGE_PARTITIONS;
            for index in first..first + PAGE_PARTITIONS {
                let id = PartitionId { table, index };
                if let Some(configuration) = self.install(id, &mut notices) {
                    changed
                        .entry(table)
                        .or_default()
                        .push((index, configuration));
                }
            }
        }
        notices.send(self, actions);
        let mut learns_ended = false;
        for (&table, partitions) in &changed {
            let live = self
                .tables
                .get(&table)
                .is_some_and(crate::cluster::TableState::is_live);
            if live {
                actions.push(Action::RoutesChanged {
                    table,
                    partitions: partitions.clone(),
                });
            }
            self.answer_creator(table, actions);
            for (index, configuration) in partitions {
                let id = PartitionId {
                    table,
                    index: *index,
                };
                let ours = self.moves.contains_key(&id) || self.surplus.contains(&id);
                self.uneven((!ours).then_some(now));
                learns_ended |= self.end_learn(id, configuration);
                self.look_after(now, id, actions);
            }
        }
        if learns_ended {
            self.repair_some(now, actions);
        }
    }

    /// Makes a partition's pending configuration the stored one, if the write carried it.
    fn install(&mut self, id: PartitionId, notices: &mut Notices) -> Option<Configuration> {
        let table = self.tables.get_mut(&id.table)?;
        let partition = table.partitions.get_mut(id.index as usize)?;
        let configuration = partition
            .pending
            .take_if(|pending| pending.sent)?
            .configuration;
        let mut told: Vec<NodeId> = configuration.members().map(|member| member.node).collect();
        told.append(&mut partition.waiting);
        if let Some(old) = partition.stored.replace(configuration.clone()) {
            told.extend(old.members().map(|member| member.node));
            unshare(&mut self.shares, id, &old);
        } else {
            table.unborn -= 1;
            self.unborn.remove(&id);
            partition.birth = None;
        }
        share(&mut self.shares, id, &configuration);
        told.sort_unstable();
        told.dedup();
        for node in told {
            notices.add(node, id, &configuration);
        }
        Some(configuration)
    }

    fn answer_creator(&mut self, table: TableId, actions: &mut Vec<Action>) {
        let Some(table) = self.tables.get_mut(&table) else {
            return;
        };
        if table.unborn == 0
            && let Some(token) = table.creator.take()
        {
            actions.push(Action::Answer {
                token,
                answer: Ok(Answered::Table(table.properties.clone())),
            });
        }
    }
}

/// Whether a correct replica on `node` could propose this change of `stored`: it makes itself the primary or stays it, keeps
/// members as they are (a member's learn can not change while it is one, rule C5), and adds one at most, as the primary only.
fn sensible(
    node: NodeId,
    stored: &Configuration,
    proposed: &Configuration,
) -> Result<(), &'static str> {
    let mut nodes: Vec<NodeId> = proposed.members().map(|member| member.node).collect();
    nodes.sort_unstable();
    if nodes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("a node is a member twice");
    }
    if nodes.len() > MOST_MEMBERS {
        return Err("it has too many members");
    }
    if proposed.epoch != stored.epoch {
        return Err("it changes the recovery epoch");
    }
    if !stored.contains(node) {
        return Err("its node is no member");
    }
    if proposed.primary.node != node {
        return Err("it makes another node the primary");
    }
    let added = proposed
        .members()
        .filter(|member| !stored.contains(member.node))
        .count();
    let allowed = usize::from(stored.primary.node == node);
    if added > allowed {
        return Err("it adds members that it may not add");
    }
    let kept = |member: &types::Member| {
        stored
            .member(member.node)
            .is_none_or(|known| known == member)
    };
    if !proposed.members().all(kept) {
        return Err("it changes the learn of a member");
    }
    Ok(())
}
