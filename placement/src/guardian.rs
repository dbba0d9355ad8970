//! The guardian: looks after partitions that are not as they should be, each with its cure.
//!
//! | what is wrong | the cure |
//! |---|---|
//! | too few members, a node with a copy is alive | its primary is asked to let it learn, at once |
//! | too few members for `repair_delay` | the same with another node |
//! | fewer members than a raised number of replicas | the same, at once |
//! | more members than wanted | its primary is asked to go on without one; if that should be the primary, it hands over first |
//! | a replica that enough members do without | it is deleted, under the stored ballot |
//! | every member of a buffered table lost unsynced writes in a power failure (rule C6) | the one with the most goes on alone, at the next epoch, and it is reported |
//! | no member is whole, and one of them is damaged or the table is synced | nothing: it is reported, and an operator may choose (`rescue`) |
//!
//! Not here: two members in one zone, members on a drained node (`balance`),  a dead primary (its secondaries propose a takeover) and a member that fell behind or is damaged while others are
//! not (its primary proposes its removal). Nothing is decided silently about a partition whose members are all gone or damaged.

use crate::balance::crowding;
use crate::cluster::{Holder, Partition, Pending};
use crate::errands::Errand;
use crate::{Action, Cluster, Finding, Soundness, ToNode};
use std::cmp::Reverse;
use types::{Ballot, Configuration, Instant, Member, NodeId, PartitionId, TableId};

/// Short partitions looked at in one go at most; the others have their turn a tick later.
const GLANCES: usize = 4096;

/// Partitions that are asked to get rid of a member between two ticks, or as many as there are nodes: each is a short pause of its writes, and a
/// place in its node's queue.
pub(crate) const SHED_AT_ONCE: usize = 256;

/// A learn that was asked for and is not yet seen done.
#[derive(Clone, Debug)]
pub(crate) struct Learn {
    node: NodeId,
    primary: NodeId,
    asked: Instant,
    /// Since when it is this node's turn, and how many had theirs before.
    since: Instant,
    turns: usize,
}

impl Cluster {
    /// Looks at one partition and does what can be done for it now. May be called at any time.
    pub(crate) fn look_after(&mut self, now: Instant, id: PartitionId, actions: &mut Vec<Action>) {
        let Some(table) = self.tables.get(&id.table).filter(|table| table.is_live()) else {
            return;
        };
        let Some(partition) = table.partitions.get(id.index as usize) else {
            return;
        };
        let (Some(stored), None) = (&partition.stored, &partition.pending) else {
            return;
        };
        if let Some(lost) = Lost::of(partition, stored) {
            // Damage says nothing of what is missing: that is not ours to decide.
            match lost.survivor(stored) {
                Some(best) => {
                    let (recovered, finding) = recovery(id, stored, best);
                    actions.push(Action::Report(finding));
                    self.recover(id, recovered);
                }
                None => actions.push(Action::Report(Finding::LostQuorum {
                    partition: id,
                    damaged: lost.damaged,
                    unsynced: lost.unsynced,
                })),
            }
        } else if stored.len() < table.properties.replicas as usize {
            self.surplus.remove(&id);
            self.end_move(id);
            let due = now + self.settings.repair_delay;
            let due = *self.short.entry(id).or_insert(due);
            self.ask_for_learner(now, id, due, actions);
        } else {
            let too_many = stored.len() > table.properties.replicas as usize;
            let arriving = self.arriving(id);
            let superfluous: Vec<NodeId> = partition
                .holders
                .iter()
                .map(|holder| holder.node)
                .filter(|&node| !stored.contains(node) && arriving != Some(node))
                .collect();
            self.short.remove(&id);
            if self
                .learns
                .get(&id)
                .is_some_and(|learn| arriving != Some(learn.node))
            {
                self.forget_learn(id);
            }
            if too_many {
                self.surplus.insert(id);
                self.shed(now, id, actions);
            } else {
                self.surplus.remove(&id);
                self.nudges.remove(&id);
            }
            self.pursue(now, id, actions);
            for node in superfluous {
                self.errand(node, Errand::Delete(id));
                self.run_errands(now, node, actions);
            }
        }
    }

    /// Looks after the short partitions, a bounded number each time, in turn.
    pub(crate) fn repair_some(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let after = self.short.range(self.short_cursor..);
        let before = self.short.range(..self.short_cursor);
        let turn: Vec<PartitionId> = after
            .chain(before)
            .map(|(&id, _)| id)
            .take(GLANCES)
            .collect();
        let Some(&last) = turn.last() else { return };
        self.short_cursor = PartitionId {
            index: last.index + 1,
            ..last
        };
        for id in turn {
            self.look_after(now, id, actions);
        }
    }

    /// Looks after partitions with more members than wanted, in turn, until so many were asked to get rid of one.
    pub(crate) fn shed_some(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.sheds_left = SHED_AT_ONCE.max(self.alive().count());
        let after = self.surplus.range(self.surplus_cursor..);
        let before = self.surplus.range(..self.surplus_cursor);
        let turn: Vec<PartitionId> = after.chain(before).copied().take(GLANCES).collect();
        for id in turn {
            if self.sheds_left == 0 {
                break;
            }
            self.surplus_cursor = PartitionId {
                index: id.index + 1,
                ..id
            };
            self.look_after(now, id, actions);
        }
    }

    /// Asks the primary to bring in a node, unless it was asked a moment ago.
    fn ask_for_learner(
        &mut self,
        now: Instant,
        id: PartitionId,
        due: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(stored) = self
            .partition(id)
            .and_then(|partition| partition.stored.as_ref())
        else {
            return;
        };
        let (primary, ballot) = (stored.primary.node, stored.ballot);
        if !self.is_alive(primary) {
            return;
        }
        let earlier = self
            .learns
            .get(&id)
            .filter(|learn| learn.primary == primary)
            .cloned();
        if let Some(learn) = &earlier
            && now.since(learn.asked) < self.settings.ask_again
        {
            return;
        }
        self.forget_learn(id);
        let Some(node) = self.learner(now, id, due, earlier.as_ref()) else {
            return;
        };
        let (since, turns) = match earlier {
            Some(earlier) if earlier.node == node => (earlier.since, earlier.turns),
            Some(earlier) => (now, earlier.turns + 1),
            None => (now, 0),
        };
        let learn = Learn {
            node,
            primary,
            asked: now,
            since,
            turns,
        };
        self.tell_teacher(id, ballot, learn, actions);
    }

    /// Asks the primary to bring in the node to which a replica is being moved, if that one has room for it.
    pub(crate) fn ask_to_teach(
        &mut self,
        now: Instant,
        id: PartitionId,
        stored: &Configuration,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) {
        self.forget_learn(id);
        let limit = self.settings.learns_per_node;
        let room = self
            .session(node)
            .is_some_and(|session| session.learns < limit);
        let primary = stored.primary.node;
        if room && self.is_alive(primary) {
            let learn = Learn {
                node,
                primary,
                asked: now,
                since: now,
                turns: 0,
            };
            self.tell_teacher(id, stored.ballot, learn, actions);
        }
    }

    fn tell_teacher(
        &mut self,
        id: PartitionId,
        ballot: Ballot,
        learn: Learn,
        actions: &mut Vec<Action>,
    ) {
        let (node, primary) = (learn.node, learn.primary);
        self.learns.insert(id, learn);
        if let Some(session) = self.session_mut(node) {
            session.learns += 1;
        }
        let message = ToNode::AddLearner {
            partition: id,
            ballot,
            node,
        };
        self.tell(primary, message, actions);
    }

    /// Who should learn: whoever was asked for before, for a while, or as long as it is seen learning and there is no other copy; then nodes that hold a copy, the
    /// most recent first; after the repair delay also the others, the emptiest first.
    fn learner(
        &self,
        now: Instant,
        id: PartitionId,
        due: Instant,
        earlier: Option<&Learn>,
    ) -> Option<NodeId> {
        let table = self.tables.get(&id.table)?;
        let partition = table.partitions.get(id.index as usize)?;
        let stored = partition.stored.as_ref()?;
        let fit = |node: NodeId| {
            !stored.contains(node)
                && !self.is_drained(node)
                && self
                    .session(node)
                    .is_some_and(|session| session.learns < self.settings.learns_per_node)
        };
        if let Some(earlier) = earlier.filter(|earlier| fit(earlier.node)) {
            let learning = partition
                .holder(earlier.node)
                .is_some_and(|holder| holder.learning);
            // It may hang. Another copy may have its turn then, but no node that would need all of it.
            let another = |holder: &Holder| holder.node != earlier.node && fit(holder.node);
            let stays = learning && !partition.holders.iter().any(another);
            if stays || now.since(earlier.since) < self.settings.learn_patience {
                return Some(earlier.node);
            }
        }
        let mut holders: Vec<&Holder> = partition
            .holders
            .iter()
            .filter(|holder| fit(holder.node))
            .collect();
        holders.sort_unstable_by_key(|holder| {
            (
                // A damaged copy saves its learner nothing.
                holder.soundness == Soundness::Damaged,
                Reverse((holder.epoch, holder.ballot, holder.prepared)),
                holder.node,
            )
        });
        let mut willing: Vec<NodeId> = holders.iter().map(|holder| holder.node).collect();
        if now >= due {
            let mut others: Vec<NodeId> = self
                .alive()
                .filter(|&node| fit(node) && !willing.contains(&node))
                .filter(|&node| self.session(node).is_some_and(|session| session.reported))
                .collect();
            let zone = |node| {
                self.nodes
                    .get(&node)
                    .map_or("", |node| &node.address.zone[..])
            };
            let crowds = |node| {
                let members = stored.members().map(|member| member.node);
                crowding(members.chain([node]).map(zone))
            };
            others.sort_by_cached_key(|&node| (crowds(node), self.burden(node, id.table)));
            willing.append(&mut others);
        }
        let Some(earlier) = earlier else {
            return willing.first().copied();
        };
        let mut others = willing.iter().filter(|&&node| node != earlier.node);
        let count = others.clone().count();
        match earlier.turns.checked_rem(count) {
            Some(turn) => others.nth(turn).copied(),
            None => willing.first().copied(),
        }
    }

    /// What a node has to bear: of the table, altogether, and soon.
    fn burden(&self, node: NodeId, table: TableId) -> (usize, usize, NodeId) {
        let learns = self.session(node).map_or(0, |session| session.learns);
        let (of_table, all) = self.shares.get(&node).map_or((0, 0), |share| {
            (share.of(table).count(), share.partitions.len())
        });
        (of_table + learns, all + learns, node)
    }

    /// The change to a configuration may have ended its learn: the learner is a member, or another primary must be asked.
    pub(crate) fn end_learn(&mut self, id: PartitionId, stored: &Configuration) -> bool {
        let ended = self.learns.get(&id).is_some_and(|learn| {
            stored.contains(learn.node) || stored.primary.node != learn.primary
        });
        if ended {
            self.forget_learn(id);
        }
        ended
    }

    /// Who learns the partition, as far as it was asked for here.
    pub(crate) fn learner_of(&self, id: PartitionId) -> Option<NodeId> {
        self.learns.get(&id).map(|learn| learn.node)
    }

    fn forget_learn(&mut self, id: PartitionId) {
        if let Some(learn) = self.learns.remove(&id)
            && let Some(session) = self.session_mut(learn.node)
        {
            session.learns -= 1;
        }
    }

    /// The node's stream ended: its learns may be asked for again, of it or another. (Its session has taken the count along.)
    pub(crate) fn forget_learns_towards(&mut self, node: NodeId) {
        self.learns.retain(|_, learn| learn.node != node);
    }

    pub(crate) fn forget_learns_of(&mut self, table: TableId) {
        let ids: Vec<PartitionId> = self
            .learns
            .keys()
            .copied()
            .filter(|id| id.table == table)
            .collect();
        for id in ids {
            self.forget_learn(id);
        }
    }

    pub(crate) fn recover(&mut self, id: PartitionId, configuration: Configuration) {
        if let Some(partition) = self.partition_mut(id) {
            partition.pending = Some(Pending {
                configuration,
                sent: false,
            });
            self.touch_page(id);
        }
    }
}

/// Members of a configuration none of which is whole.
pub(crate) struct Lost {
    pub(crate) damaged: Vec<NodeId>,
    /// The one with the most first (rule C6): it has all that any of them knows to be committed, its last surviving record has the highest
    /// ballot, and then it prepared the most. (Of a copy that is all in `RocksDB` no record may be left: that says nothing against it.)
    pub(crate) unsynced: Vec<NodeId>,
}

impl Lost {
    /// Nothing while one member is whole, or has yet to say what it is.
    pub(crate) fn of(partition: &Partition, stored: &Configuration) -> Option<Self> {
        let mut damaged = Vec::new();
        let mut unsynced = Vec::new();
        for member in stored.members() {
            let holder = partition.holder(member.node)?;
            match holder.soundness {
                Soundness::Damaged => damaged.push(holder.node),
                Soundness::Unsynced if holder.epoch == stored.epoch => unsynced.push(holder),
                Soundness::Unsynced | Soundness::Whole => return None,
            }
        }
        let committed = unsynced.iter().map(|holder| holder.committed).max();
        unsynced.sort_by_key(|holder| {
            let has_all = Some(holder.prepared) >= committed;
            let most = (has_all, holder.last_ballot, holder.prepared);
            (Reverse(most), holder.node)
        });
        let unsynced = unsynced.into_iter().map(|holder| holder.node).collect();
        Some(Self { damaged, unsynced })
    }

    /// Who goes on alone, if all lost nothing but what was unsynced: a damaged copy may have had more than any other.
    fn survivor(&self, stored: &Configuration) -> Option<Member> {
        let best = self.unsynced.first().filter(|_| self.damaged.is_empty())?;
        stored.member(*best).copied()
    }
}

/// Rule C6: the raised epoch makes all other copies worthless.
fn recovery(id: PartitionId, stored: &Configuration, best: Member) -> (Configuration, Finding) {
    let epoch = stored.epoch + 1;
    let recovered = Configuration {
        ballot: stored.ballot.next(),
        epoch,
        primary: best,
        secondaries: vec![],
    };
    let finding = Finding::Recovered {
        partition: id,
        node: best.node,
        epoch,
    };
    (recovered, finding)
}
