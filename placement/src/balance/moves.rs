//! Moves under way: a few at a time, each pursued until it is done or makes no sense any more.
//!
//! They are not stored: a new leader plans anew. What is left of one is a partition with a member more than its table wants, and shedding that
//! one is the guardian's daily work.

use super::picture::crowding;
use super::plan::{self, Extent};
use super::step::{Shift, Step};
use crate::cluster::Partition;
use crate::{Action, Balancing, Cluster, Duty, ToNode};
use std::cmp::Reverse;
use std::time::Duration;
use types::{Ballot, Configuration, Instant, NodeId, PartitionId};

/// A learner or successor that was asked for so often without a sign of it is given up.
const PATIENCE: usize = 20;

/// A copy that comes in more slowly, in bytes a second, than this, beyond the patience for any learn, does not come.
const SLOWEST: u64 = 4 << 20;

/// For how long no move is planned to where one was given up.
const BARRED: Duration = Duration::from_mins(10);

/// How long a plan that found nothing to start is believed while nothing but the sizes of replicas can have changed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A step being carried out.
#[derive(Clone, Debug)]
pub(crate) struct Moving {
    pub(crate) step: Step,
    pub(crate) since: Instant,
    asked: Option<Instant>,
    asks: usize,
    /// It waits for the end of this partition's move, whose place among the moves under way it takes then.
    pub(super) after: Option<PartitionId>,
    /// Since when the new copy is a member.
    arrived: Option<Instant>,
}

/// What a primary was asked for last, besides learners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nudge {
    ballot: Ballot,
    at: Instant,
}

/// What the balancer does at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BalanceStatus {
    /// Whether it works by itself.
    pub balancing: Balancing,
    /// How long it still waits for the cluster to be quiet; zero: it does not.
    pub waits: Duration,
    /// What is under way.
    pub moves: Vec<MoveStatus>,
}

/// A move under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveStatus {
    /// What and why.
    pub step: Step,
    /// For how long.
    pub lasts: Duration,
    /// The new copy is a member already; the old one is to go.
    pub arrived: bool,
}

impl Cluster {
    /// What the balancer does at `now`.
    pub fn balance_status(&self, now: Instant) -> BalanceStatus {
        let status = |(&id, moving): (&PartitionId, &Moving)| MoveStatus {
            step: moving.step,
            lasts: now.since(moving.since),
            arrived: match moving.step.shift {
                Shift::Replica { to, .. } => self
                    .partition(id)
                    .and_then(|partition| partition.stored.as_ref())
                    .is_some_and(|stored| stored.contains(to)),
                Shift::Lead { .. } => false,
            },
        };
        BalanceStatus {
            balancing: self.balancing,
            waits: (self.unrest + self.settings.balance_after).since(now),
            moves: self.going_on().map(status).collect(),
        }
    }

    /// Something changed by which the cluster may not be even any more; `now` if it was not the balancer's doing.
    pub(crate) fn uneven(&mut self, unrest: Option<Instant>) {
        self.plan_after = Instant::default();
        if let Some(now) = unrest {
            self.unrest = now;
        }
    }

    /// Starts as many moves as there is room for. Operators' wishes do not wait for quiet.
    pub(crate) fn balance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.barred.retain(|_, until| now < *until);
        let ids: Vec<PartitionId> = self.moves.keys().copied().collect();
        for id in ids {
            self.pursue(now, id, actions);
        }
        let room = self.settings.moves_at_once;
        if now < self.plan_after || self.going_on().count() >= room || !self.has_streams() {
            return;
        }
        let quiet = now.since(self.unrest) >= self.settings.balance_after;
        let extent = if self.balancing == Balancing::Running && quiet {
            Extent::All
        } else if self.nodes.values().any(|node| node.duty == Duty::Drained) {
            Extent::Drains
        } else {
            return;
        };
        let steps = plan::plan(self.picture(), extent, 4 * room);
        // As long as nothing can be started, a plan is the same; the end of a move brings on the next one.
        self.plan_after = now + LOOK_AGAIN;
        let mut under_way = self.under_way();
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            let second = steps.next_if(|next| next.after == Some(step.partition));
            let both_free = second.is_none_or(|second| self.is_free(second.partition));
            if both_free && self.may_start(&under_way, &step) {
                self.plan_after = now;
                under_way.count(&step);
                self.start(now, step);
                // At once, though it waits: else the next plan would find its table uneven in number, and mend that with any other copy.
                if let Some(second) = second {
                    self.start(now, second);
                }
                self.pursue(now, step.partition, actions);
            }
        }
    }

    fn has_streams(&self) -> bool {
        self.nodes.values().any(|node| node.session.is_some())
    }

    pub(super) fn start(&mut self, now: Instant, step: Step) {
        let moving = Moving {
            step,
            since: now,
            asked: None,
            asks: 0,
            after: step.after,
            arrived: None,
        };
        self.moves.insert(step.partition, moving);
    }

    /// Does what can be done now for the move of a partition, if there is one.
    pub(crate) fn pursue(&mut self, now: Instant, id: PartitionId, actions: &mut Vec<Action>) {
        let Some(moving) = self.moves.get(&id) else {
            return;
        };
        let (shift, waits) = (moving.step.shift, moving.after.is_some());
        let table = self.tables.get(&id.table).filter(|table| table.is_live());
        let partition = table.and_then(|table| table.partitions.get(id.index as usize));
        let wanted = table.map_or(0, |table| table.properties.replicas as usize);
        let Some((stored, pending)) = partition
            .and_then(|partition| Some((partition.stored.clone()?, partition.pending.is_some())))
        else {
            return self.end_move(id);
        };
        if pending {
            return;
        }
        let arrived = matches!(shift, Shift::Replica { to, .. } if stored.contains(to));
        if !arrived && partition.is_some_and(Partition::is_diverged) {
            return self.end_move(id);
        }
        match shift {
            Shift::Replica { from, to } => {
                let short = stored.len() < wanted;
                let gone = !stored.contains(from);
                if arrived && !short && self.is_alive(to) {
                    if gone || stored.len() == wanted || self.is_left_behind(now, id) {
                        self.next_move(now, id);
                        self.end_move(id);
                    }
                    return;
                }
                if gone || short || !self.is_alive(to) {
                    return self.end_move(id);
                }
                if waits {
                    return;
                }
                let learning = partition
                    .and_then(|partition| partition.holder(to))
                    .is_some_and(|holder| holder.learning);
                if self.is_too_long(now, id) {
                    return self.give_up(now, id, to);
                }
                if self.is_due(now, id) {
                    if self.is_hopeless(id) && !learning {
                        return self.give_up(now, id, to);
                    }
                    self.ask_to_teach(now, id, &stored, to, actions);
                }
            }
            Shift::Lead { to, .. } => {
                let secondary = stored.contains(to) && stored.primary.node != to;
                if !secondary || !self.is_alive(to) {
                    return self.end_move(id);
                }
                if self.is_hopeless(id) {
                    return self.give_up(now, id, to);
                }
                if self.is_due(now, id) {
                    let message = ToNode::HandOver {
                        partition: id,
                        ballot: stored.ballot,
                        node: to,
                    };
                    self.tell(stored.primary.node, message, actions);
                }
            }
        }
    }

    /// Whether the move's next request is due; then it counts as made.
    fn is_due(&mut self, now: Instant, id: PartitionId) -> bool {
        let again = self.settings.ask_again;
        let Some(moving) = self.moves.get_mut(&id) else {
            return false;
        };
        let due = moving.asked.is_none_or(|asked| now.since(asked) >= again);
        if due {
            moving.asked = Some(now);
            moving.asks += 1;
        }
        due
    }

    fn is_hopeless(&self, id: PartitionId) -> bool {
        self.moves
            .get(&id)
            .is_some_and(|moving| moving.asks > PATIENCE)
    }

    /// Whether a copy should have arrived by now, as large as it is.
    fn is_too_long(&self, now: Instant, id: PartitionId) -> bool {
        let bytes = self.partition(id).map_or(0, Partition::bytes);
        let patience = self.settings.learn_patience + Duration::from_secs(bytes / SLOWEST);
        self.moves
            .get(&id)
            .is_some_and(|moving| now.since(moving.since) >= patience)
    }

    /// Whether the old copy should be gone by now. If not, another move may begin instead: that there is one too many the guardian knows, and does
    /// not forget.
    fn is_left_behind(&mut self, now: Instant, id: PartitionId) -> bool {
        let patience = self.settings.learn_patience;
        self.moves
            .get_mut(&id)
            .is_some_and(|moving| now.since(*moving.arrived.get_or_insert(now)) >= patience)
    }

    /// Ends a move that leads to nothing; the next plan is another one.
    fn give_up(&mut self, now: Instant, id: PartitionId, to: NodeId) {
        self.barred.insert((id, to), now + BARRED);
        self.end_move(id);
    }

    /// A move is done: the one that waits for it begins.
    fn next_move(&mut self, now: Instant, id: PartitionId) {
        for moving in self.moves.values_mut() {
            if moving.after == Some(id) {
                moving.after = None;
                moving.since = now;
            }
        }
    }

    /// A move goes on no longer, nor does one that waits for it.
    pub(crate) fn end_move(&mut self, id: PartitionId) {
        if self.moves.remove(&id).is_some() {
            self.moves.retain(|_, moving| moving.after != Some(id));
            self.plan_after = Instant::default();
        }
    }

    /// The node on which the partition's next copy is being made, which is none that is superfluous.
    pub(crate) fn arriving(&self, id: PartitionId) -> Option<NodeId> {
        match self.moves.get(&id)?.step.shift {
            Shift::Replica { to, .. } => Some(to),
            Shift::Lead { .. } => None,
        }
    }

    /// A partition has more members than its table wants: one goes, a secondary. If it should be the primary, that one hands over first.
    pub(crate) fn shed(&mut self, now: Instant, id: PartitionId, actions: &mut Vec<Action>) {
        let partition = self
            .partition(id)
            .filter(|partition| !partition.is_diverged());
        let Some(stored) = partition.and_then(|partition| partition.stored.clone()) else {
            return;
        };
        // A member that is gone is removed by its primary: then there is none too many.
        if !stored.members().all(|member| self.is_alive(member.node)) {
            return;
        }
        let asked = self.nudges.get(&id).filter(|nudge| {
            nudge.ballot == stored.ballot && now.since(nudge.at) < self.settings.ask_again
        });
        if asked.is_some() || self.sheds_left == 0 {
            return;
        }
        self.sheds_left -= 1;
        let nudge = Nudge {
            ballot: stored.ballot,
            at: now,
        };
        self.nudges.insert(id, nudge);
        let leaver = self.leaver(id, &stored);
        let primary = stored.primary.node;
        let (partition, ballot) = (id, stored.ballot);
        let message = if leaver == primary {
            let successor = stored
                .secondaries
                .iter()
                .map(|member| member.node)
                .min_by_key(|&node| (self.is_drained(node), self.leads(node), node));
            let Some(node) = successor else { return };
            ToNode::HandOver {
                partition,
                ballot,
                node,
            }
        } else {
            ToNode::RemoveSecondary {
                partition,
                ballot,
                node: leaver,
            }
        };
        self.tell(primary, message, actions);
    }

    /// Who goes: whom a move takes away, else who is drained, else whose zone has another member, else who bears most. Rather a secondary.
    fn leaver(&self, id: PartitionId, stored: &Configuration) -> NodeId {
        let zone = |node| {
            self.nodes
                .get(&node)
                .map_or("", |node| &node.address.zone[..])
        };
        let left_crowding = |without: NodeId| {
            let rest = stored.members().map(|member| member.node);
            crowding(rest.filter(|&node| node != without).map(zone))
        };
        let moved = match self.moves.get(&id).map(|moving| moving.step.shift) {
            Some(Shift::Replica { from, .. }) => Some(from),
            Some(Shift::Lead { .. }) | None => None,
        };
        let bears = |node| {
            self.shares
                .get(&node)
                .map_or(0, |share| share.partitions.len())
        };
        stored
            .members()
            .map(|member| member.node)
            .max_by_key(|&node| {
                (
                    moved == Some(node),
                    self.is_drained(node),
                    Reverse(left_crowding(node)),
                    bears(node),
                    node != stored.primary.node,
                    node,
                )
            })
            .unwrap_or(stored.primary.node)
    }

    fn leads(&self, node: NodeId) -> usize {
        self.shares.get(&node).map_or(0, |share| share.primaries)
    }
}
