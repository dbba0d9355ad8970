//! Nodes: who has a stream, what they report, who fell silent.
//!
//! All of it is observation. A node that is not alive here may serve all its partitions; losing its stream changes no configuration.

use crate::cluster::Holder;
use crate::errands::{Errand, Errands};
use crate::proposals::Notices;
use crate::rebuild::Memory;
use crate::{Action, Cluster, Duty, Event, Finding, Key, NodeAddress, ReplicaReport, ToNode};
use std::collections::BTreeSet;
use std::time::Duration;
use types::{Ballot, Incarnation, Instant, NodeId, PartitionId};

/// A node that has joined at least once.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: NodeAddress,
    pub(crate) incarnation: Incarnation,
    pub(crate) duty: Duty,
    pub(crate) session: Option<Session>,
}

/// A node's stream and what was said on it. All of it is forgotten when the stream ends.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) last_heard: Instant,
    pub(crate) disk_bytes: u64,
    /// All replicas were reported.
    pub(crate) reported: bool,
    /// Partitions of which the node is among the holders.
    pub(crate) holding: BTreeSet<PartitionId>,
    pub(crate) errands: Errands,
    /// Learns asked for towards this node.
    pub(crate) learns: usize,
    /// What it has and knows that the store does not, while the store is empty.
    pub(crate) memory: Memory,
}

impl Node {
    pub(crate) fn known(address: NodeAddress, incarnation: Incarnation, duty: Duty) -> Self {
        Self {
            address,
            incarnation,
            duty,
            session: None,
        }
    }
}

impl Cluster {
    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        self.session(node).is_some()
    }

    /// Nodes with streams.
    pub(crate) fn alive(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.session.is_some())
            .map(|(&id, _)| id)
    }

    /// Nodes with streams that may get replicas.
    pub(crate) fn takers(&self) -> impl Iterator<Item = NodeId> {
        self.alive().filter(|&node| !self.is_drained(node))
    }

    pub(crate) fn session(&self, node: NodeId) -> Option<&Session> {
        self.nodes.get(&node)?.session.as_ref()
    }

    pub(crate) fn session_mut(&mut self, node: NodeId) -> Option<&mut Session> {
        self.nodes.get_mut(&node)?.session.as_mut()
    }

    /// Whether this start of a node may join. One earlier than the latest known may not: its data directory is in use twice.
    pub fn admits(&self, node: NodeId, incarnation: Incarnation) -> Result<(), Finding> {
        match self.nodes.get(&node).map(|node| node.incarnation) {
            Some(known) if incarnation < known => Err(Finding::StaleIncarnation {
                node,
                joined: incarnation,
                known,
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn join(
        &mut self,
        now: Instant,
        address: NodeAddress,
        incarnation: Incarnation,
        actions: &mut Vec<Action>,
    ) {
        let id = address.node;
        if let Err(finding) = self.admits(id, incarnation) {
            actions.push(Action::Report(finding));
            return;
        }
        self.forget_session(id);
        let node = self.nodes.entry(id).or_insert_with(|| {
            Node::known(
                NodeAddress::unknown(id),
                Incarnation::default(),
                Duty::Serves,
            )
        });
        let moved = node.address != address;
        if moved || node.incarnation != incarnation {
            self.outbox.touch(Key::Node(id));
        }
        node.incarnation = incarnation;
        if moved {
            node.address = address.clone();
            let message = ToNode::Cluster {
                complete: false,
                nodes: vec![address.clone()],
                tables: vec![],
                gone: vec![],
            };
            self.tell_all(&message, actions);
            actions.push(Action::NodeMoved(address));
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.session = Some(Session::new(now));
        }
        self.uneven(Some(now));
        let welcome = ToNode::Welcome {
            epoch: self.epoch,
            tell: self.is_empty(),
        };
        self.tell(id, welcome, actions);
        let all = ToNode::Cluster {
            complete: true,
            nodes: self
                .nodes
                .values()
                .map(|node| node.address.clone())
                .collect(),
            tables: self.live().map(|table| table.properties.clone()).collect(),
            gone: vec![],
        };
        self.tell(id, all, actions);
        self.plan_births(now, actions);
    }

    pub(crate) fn lose(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        self.forget_session(node);
        self.uneven(Some(now));
        self.plan_births(now, actions);
    }

    fn forget_session(&mut self, node: NodeId) {
        let Some(session) = self
            .nodes
            .get_mut(&node)
            .and_then(|node| node.session.take())
        else {
            return;
        };
        for id in session.holding {
            if let Some(partition) = self.partition_mut(id) {
                partition.holders.retain(|holder| holder.node != node);
            }
        }
        self.forget_learns_towards(node);
    }

    pub(crate) fn beat(&mut self, now: Instant, node: NodeId, disk_bytes: u64) {
        if let Some(session) = self.session_mut(node) {
            session.last_heard = now;
            session.disk_bytes = disk_bytes;
        }
    }

    /// This leader itself was held up for so long: what nodes said meanwhile waits to be heard, and is not held against them.
    pub(crate) fn excuse(&mut self, now: Instant, late: Duration) {
        for node in self.nodes.values_mut() {
            if let Some(session) = &mut node.session {
                session.last_heard = now.min(session.last_heard + late);
            }
        }
    }

    pub(crate) fn disconnect_silent(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let timeout = self.settings.beat_timeout;
        let silent: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| {
                node.session
                    .as_ref()
                    .is_some_and(|session| now.since(session.last_heard) > timeout)
            })
            .map(|(&id, _)| id)
            .collect();
        for node in silent {
            self.lose(now, node, actions);
            let reason = Finding::Silent(node);
            actions.push(Action::Report(reason.clone()));
            actions.push(Action::Disconnect { node, reason });
        }
    }

    pub(crate) fn report(
        &mut self,
        now: Instant,
        node: NodeId,
        replicas: Vec<ReplicaReport>,
        complete: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.session_mut(node) else {
            return;
        };
        session.last_heard = now;
        let first_complete = complete && !session.reported;
        session.reported |= complete;
        if self.is_empty() {
            self.remember(node, replicas, complete, actions);
            return;
        }
        let mut notices = Notices::default();
        let reported: Vec<PartitionId> = replicas.iter().map(|replica| replica.partition).collect();
        for replica in replicas {
            self.observe(node, &replica, &mut notices, actions);
        }
        if first_complete {
            self.remind_of_memberships(node, &mut notices);
        }
        notices.send(self, actions);
        for id in reported {
            self.look_after(now, id, actions);
        }
        if first_complete {
            self.uneven(None);
            self.plan_births(now, actions);
        }
        self.run_errands(now, node, actions);
    }

    /// One replica's report: what it does not know yet it is told, what it should not have is noted.
    fn observe(
        &mut self,
        node: NodeId,
        replica: &ReplicaReport,
        notices: &mut Notices,
        actions: &mut Vec<Action>,
    ) {
        let id = replica.partition;
        if id.table >= self.next_table {
            actions.push(Action::Report(Finding::UnknownTable {
                partition: id,
                node,
            }));
            return;
        }
        if !self.tables.contains_key(&id.table) {
            self.errand(node, Errand::Delete(id));
            return;
        }
        let Some(partition) = self.partition_mut(id) else {
            return;
        };
        let stored = partition
            .stored
            .as_ref()
            .map_or(Ballot::ZERO, |stored| stored.ballot);
        match &partition.stored {
            Some(configuration) if stored > replica.ballot => notices.add(node, id, configuration),
            _ if replica.ballot > stored => actions.push(Action::Report(Finding::StoreBehind {
                partition: id,
                node,
                known: replica.ballot,
                stored,
            })),
            _ => {}
        }
        if replica.diverged {
            actions.push(Action::Report(Finding::Diverged {
                partition: id,
                primary: node,
            }));
        }
        partition.hold(Holder::of(node, replica));
        if let Some(session) = self.session_mut(node) {
            session.holding.insert(id);
        }
    }

    /// A node that did not report a replica it should have is told the configuration, so that it can say so to the primary.
    fn remind_of_memberships(&self, node: NodeId, notices: &mut Notices) {
        let (Some(share), Some(session)) = (self.shares.get(&node), self.session(node)) else {
            return;
        };
        for &id in share.partitions.difference(&session.holding) {
            if let Some(stored) = self
                .partition(id)
                .and_then(|partition| partition.stored.as_ref())
            {
                notices.add(node, id, stored);
            }
        }
    }

    pub(crate) fn deleted(
        &mut self,
        now: Instant,
        node: NodeId,
        id: PartitionId,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.session_mut(node) else {
            return;
        };
        session.errands.done(Errand::Delete(id));
        session.holding.remove(&id);
        if let Some(partition) = self.partition_mut(id) {
            partition.holders.retain(|holder| holder.node != node);
        }
        self.run_errands(now, node, actions);
    }
}

impl Holder {
    /// As its node reports it.
    pub(crate) fn of(node: NodeId, replica: &ReplicaReport) -> Self {
        Self {
            node,
            ballot: replica.ballot,
            epoch: replica.epoch,
            prepared: replica.prepared,
            last_ballot: replica.last_ballot,
            committed: replica.committed,
            soundness: replica.soundness,
            learning: replica.learning,
            ready: replica.ready,
            diverged: replica.diverged,
            signature: replica.signature,
            bytes: replica.bytes,
        }
    }
}

impl crate::cluster::Partition {
    /// Notes a holder, in place of what it reported before.
    pub(crate) fn hold(&mut self, holder: Holder) {
        match self
            .holders
            .iter_mut()
            .find(|known| known.node == holder.node)
        {
            Some(known) => *known = holder,
            None => self.holders.push(holder),
        }
    }
}

impl Session {
    fn new(now: Instant) -> Self {
        Self {
            last_heard: now,
            disk_bytes: 0,
            reported: false,
            holding: BTreeSet::new(),
            errands: Errands::default(),
            learns: 0,
            memory: Memory::default(),
        }
    }
}

impl NodeAddress {
    /// Of a node that has not told it yet.
    pub(crate) fn unknown(node: NodeId) -> Self {
        Self {
            node,
            name: String::new(),
            grpc: String::new(),
            redis: String::new(),
            zone: String::new(),
        }
    }
}

impl Event {
    /// The node that an event is from.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::NodeJoined { address, .. } => Some(address.node),
            Self::NodeLost { node }
            | Self::Reported { node, .. }
            | Self::Knows { node, .. }
            | Self::Beat { node, .. }
            | Self::Proposed { node, .. }
            | Self::Opened { node, .. }
            | Self::Deleted { node, .. } => Some(*node),
            Self::Stored { .. } | Self::Asked { .. } | Self::Tick { .. } => None,
        }
    }
}
