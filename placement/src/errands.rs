//! What a node was asked to do with its empty or superfluous replicas: open them, delete them; a bounded number at a time.
//!
//! An errand is a wish, not a promise: whether it still makes sense is decided when it is sent.

use crate::{Action, Cluster, ToNode};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use types::{Ballot, Instant, NodeId, PartitionId};

/// Something a node confirms when it is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Errand {
    Open(PartitionId),
    Delete(PartitionId),
}

/// One node's errands: those that wait in `queue`, those sent and when.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    queue: VecDeque<Errand>,
    /// Every errand not done; `None`: it waits.
    state: BTreeMap<Errand, Option<Instant>>,
    sent: usize,
}

impl Errands {
    /// Adds an errand, once.
    fn add(&mut self, errand: Errand) {
        if let Entry::Vacant(vacant) = self.state.entry(errand) {
            vacant.insert(None);
            self.queue.push_back(errand);
        }
    }

    /// The node has confirmed it, or it makes no sense any more.
    pub(crate) fn done(&mut self, errand: Errand) {
        if let Some(Some(_)) = self.state.remove(&errand) {
            self.sent -= 1;
        }
    }

    /// The next that waits, while fewer than `limit` are out.
    fn next(&mut self, limit: usize) -> Option<Errand> {
        while self.sent < limit {
            let errand = self.queue.pop_front()?;
            // One done while it waited leaves its place in the queue behind; one added again stands in it twice.
            if self.state.get(&errand) == Some(&None) {
                return Some(errand);
            }
        }
        None
    }

    fn sent(&mut self, errand: Errand, now: Instant) {
        self.state.insert(errand, Some(now));
        self.sent += 1;
    }

    /// Lets what has been out for longer than `patience` wait again, behind the others.
    fn repeat(&mut self, now: Instant, patience: Duration) {
        for (&errand, sent) in &mut self.state {
            if sent.is_some_and(|sent| now.since(sent) >= patience) {
                *sent = None;
                self.sent -= 1;
                self.queue.push_back(errand);
            }
        }
    }
}

impl Cluster {
    /// Wants something of a node that has a stream.
    pub(crate) fn errand(&mut self, node: NodeId, errand: Errand) {
        if let Some(session) = self.session_mut(node) {
            session.errands.add(errand);
        }
    }

    /// Sends what the node's window allows.
    pub(crate) fn run_errands(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        let limit = self.settings.errands_per_node;
        while let Some(errand) = self
            .session_mut(node)
            .and_then(|session| session.errands.next(limit))
        {
            let message = match errand {
                Errand::Open(id) => self.awaits_open(node, id).then_some(ToNode::Open(id)),
                Errand::Delete(id) => self.deletion(node, id),
            };
            let Some(session) = self.session_mut(node) else {
                return;
            };
            match message {
                Some(message) => {
                    session.errands.sent(errand, now);
                    actions.push(Action::ToNode { node, message });
                }
                None => session.errands.done(errand),
            }
        }
    }

    /// Sends what every node's window allows.
    pub(crate) fn run_all_errands(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let alive: Vec<NodeId> = self.alive().collect();
        for node in alive {
            self.run_errands(now, node, actions);
        }
    }

    /// Repeats what has not been confirmed for a while.
    pub(crate) fn repeat_errands(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let patience = self.settings.ask_again;
        for node in self.nodes.values_mut() {
            if let Some(session) = &mut node.session {
                session.errands.repeat(now, patience);
            }
        }
        self.run_all_errands(now, actions);
    }

    /// The request to delete a replica, if it is superfluous: its table's retention has ended, or enough members hold the partition
    /// without it. The node checks the ballot once more: it refuses if it knows a higher one.
    fn deletion(&self, node: NodeId, id: PartitionId) -> Option<ToNode> {
        let Some(table) = self.tables.get(&id.table) else {
            return Some(ToNode::Delete {
                partition: id,
                ballot: Ballot::ZERO,
                table_gone: true,
            });
        };
        let partition = self.partition(id)?;
        let stored = partition.stored.as_ref()?;
        let superfluous = table.is_live()
            && partition.pending.is_none()
            && !stored.contains(node)
            && self.arriving(id) != Some(node)
            && stored.len() >= table.properties.replicas as usize;
        superfluous.then_some(ToNode::Delete {
            partition: id,
            ballot: stored.ballot,
            table_gone: false,
        })
    }
}
