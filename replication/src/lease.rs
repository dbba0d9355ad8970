//! The read lease between nodes (rules R1 to R5): who may count on whose word, and until when.
//!
//! One `Leases` per node, for all its partitions. Every pair of nodes that share a partition exchanges beacons both ways; a
//! beacon asks, the reply grants. As *holder* a node counts from the moment it sent the beacon, as *grantor* from the moment
//! it received it, and keeps its word longer than the holder relies on it: so the grantor may not know whether its word
//! arrived, but always knows when it is over.
//!
//! A grant is to a node and covers all partitions; an exception takes one partition out of it, below one ballot, for ever.
//! Whether a member may be counted at all (it vouched in this life, under this primary) is `Replica`'s knowledge, not kept
//! here. Threads and clocks are the shell's, and so is refusing to vouch while the log writer hangs (R6): it then leaves
//! beacons unanswered.

use crate::LeaseSettings;
use crate::planted::{Bug, planted};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{Ballot, Incarnation, Instant, NodeId, PartitionId};

/// From holder to grantor: let me read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beacon {
    /// The life of the sender.
    pub incarnation: Incarnation,
    /// The sender's clock. The grantor only echoes it.
    pub sent: Instant,
    /// Exceptions that the sender will heed for ever.
    pub acknowledged: Vec<Exception>,
}

/// From grantor to holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BeaconReply {
    /// The life of the holder that asked.
    pub holder: Incarnation,
    /// The life of the sender, the grantor.
    pub grantor: Incarnation,
    /// The echo of the beacon that is granted; nothing: no grant, only exceptions.
    pub granted: Option<Instant>,
    /// Exceptions not yet acknowledged.
    pub exceptions: Vec<Exception>,
}

/// The grantor's leases do not count for this partition below this ballot (R2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exception {
    /// Which partition.
    pub partition: PartitionId,
    /// The lowest ballot for which the grantor may be counted again.
    pub ballot: Ballot,
}

/// What a beacon led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Goes back to the sender.
    pub reply: BeaconReply,
    /// Partitions whose exceptions are acknowledged now: their replicas get `Event::ExceptionAcknowledged`.
    pub settled: Vec<PartitionId>,
    /// The sender is in this new life: whatever it led or vouched for in earlier ones is over (`Event::PeerRestarted`).
    pub restarted: Option<Incarnation>,
}

/// What a reply led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplyOutcome {
    /// Exceptions came: send this peer a beacon at once instead of at the next interval, so that a new primary need not wait.
    pub answer_now: bool,
    /// The peer is in this new life: what it vouched for in earlier ones is over (`Event::PeerRestarted`).
    pub restarted: Option<Incarnation>,
}

/// Whether a holder may still read on this node's word (R3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// No: that ballot is not excepted yet.
    NotExcepted,
    /// Until then.
    At(Instant),
    /// No longer.
    Yes,
}

/// All leases that a node holds and has granted.
#[derive(Debug)]
pub struct Leases {
    settings: LeaseSettings,
    incarnation: Incarnation,
    /// R4: until then this life answers for what earlier ones may have granted.
    forgotten_until: Instant,
    peers: BTreeMap<NodeId, Peer>,
    /// R2, as holder: by partition, below which ballot which grantor is not counted. Never lowered.
    barred: BTreeMap<PartitionId, BTreeMap<NodeId, Ballot>>,
}

#[derive(Debug)]
struct Peer {
    heard: Instant,
    watched: bool,
    lost: bool,
    held: Option<Held>,
    /// To go out with the next beacon.
    acknowledge: BTreeSet<Exception>,
    /// As grantor: the life of the holder last heard of, and until when it may count on this node.
    holder: Incarnation,
    granted_until: Instant,
    exceptions: BTreeMap<PartitionId, Excepted>,
    unacknowledged: BTreeSet<PartitionId>,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    grantor: Incarnation,
    /// Its end was reported by `lapsed` already.
    lapsed: bool,
}

#[derive(Debug)]
struct Excepted {
    ballot: Ballot,
    until: Instant,
    acknowledged: bool,
}

impl Leases {
    /// A node that starts at `now`. `longest_grace` is the longest it was ever configured with, this time's included, and zero
    /// in its first life: R4 makes it wait that long before it relies on having granted nothing.
    pub fn new(
        settings: LeaseSettings,
        incarnation: Incarnation,
        now: Instant,
        longest_grace: Duration,
    ) -> Self {
        Self {
            settings,
            incarnation,
            forgotten_until: if planted(Bug::ForgetsGrants) {
                now
            } else {
                now + longest_grace
            },
            peers: BTreeMap::new(),
            barred: BTreeMap::new(),
        }
    }

    /// This node's life.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// How long a span may truly have been that this node's clock measured: no clock runs slower than the settings allow for.
    pub(crate) fn longest(&self, measured: Duration) -> Duration {
        measured * 100 / (100 - self.settings.drift_percent.min(99))
    }

    /// Expect to hear from `peer` from now on: this node shares partitions with it and sends it beacons.
    pub fn watch(&mut self, peer: NodeId, now: Instant) {
        let peer = self.peer(peer, now);
        if !peer.watched {
            (peer.watched, peer.lost, peer.heard) = (true, false, peer.heard.max(now));
        }
    }

    /// Its silence means nothing any more.
    pub fn unwatch(&mut self, peer: NodeId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.watched = false;
        }
    }

    /// The watched peers whose lease has lapsed or who were silent for a grace since the last call; each once, until it is heard
    /// again. Their replicas get `Event::PeerLost`.
    pub fn lapsed(&mut self, now: Instant) -> Vec<NodeId> {
        let grace = self.settings.grace;
        let lapses = |peer: &Peer| {
            let lease_over = |held: &Held| !held.lapsed && held.until <= now;
            now.since(peer.heard) >= grace || peer.held.as_ref().is_some_and(lease_over)
        };
        self.peers
            .iter_mut()
            .filter(|(_, peer)| peer.watched && !peer.lost && lapses(peer))
            .map(|(&node, peer)| {
                peer.lost = true;
                if let Some(held) = &mut peer.held {
                    held.lapsed = held.until <= now;
                }
                node
            })
            .collect()
    }

    /// The beacon to send to `peer` now.
    pub fn make_beacon(&mut self, peer: NodeId, now: Instant) -> Beacon {
        let limit = self.settings.exceptions;
        let incarnation = self.incarnation;
        let acknowledge = &mut self.peer(peer, now).acknowledge;
        let mut acknowledged = Vec::with_capacity(acknowledge.len().min(limit));
        while acknowledged.len() < limit
            && let Some(exception) = acknowledge.pop_first()
        {
            acknowledged.push(exception);
        }
        Beacon {
            incarnation,
            sent: now,
            acknowledged,
        }
    }

    /// As grantor: takes in a beacon and grants what it asks for, except for the partitions excepted.
    pub fn on_beacon(&mut self, from: NodeId, now: Instant, beacon: &Beacon) -> Answer {
        let (limit, grace, grantor) = (
            self.settings.exceptions,
            self.settings.grace,
            self.incarnation,
        );
        let peer = self.peer(from, now);
        if beacon.incarnation < peer.holder {
            // An earlier life of the holder: nobody waits for this answer.
            let exceptions = Vec::new();
            let reply = BeaconReply {
                holder: beacon.incarnation,
                grantor,
                granted: None,
                exceptions,
            };
            return Answer {
                reply,
                settled: Vec::new(),
                restarted: None,
            };
        }
        let restarted = peer.holder != Incarnation::default() && beacon.incarnation > peer.holder;
        // Exceptions stay unacknowledged in the holder's new life: its replicas may have been vouched for before its first beacon.
        if restarted && planted(Bug::ForgetsExceptions) {
            peer.unacknowledged.clear();
        }
        peer.holder = beacon.incarnation;
        peer.hear(now);
        let settled = peer.settle(&beacon.acknowledged);
        let exceptions = peer.pending_exceptions(limit);
        // R2: a grant must never arrive without the exceptions to it.
        let granted = (peer.unacknowledged.len() <= limit).then_some(beacon.sent);
        if planted(Bug::ExceptsOnce) {
            peer.unacknowledged.clear();
        }
        if granted.is_some() {
            peer.granted_until = peer.granted_until.max(now + grace);
        }
        let reply = BeaconReply {
            holder: beacon.incarnation,
            grantor,
            granted,
            exceptions,
        };
        Answer {
            reply,
            settled,
            restarted: restarted.then_some(beacon.incarnation),
        }
    }

    /// As grantor: a reply nobody asked for, that carries exceptions made since to `peer` at once.
    pub fn notice(&self, peer: NodeId) -> Option<BeaconReply> {
        let known = self.peers.get(&peer)?;
        let exceptions = known.pending_exceptions(self.settings.exceptions);
        (!exceptions.is_empty()).then_some(BeaconReply {
            holder: known.holder,
            grantor: self.incarnation,
            granted: None,
            exceptions,
        })
    }

    /// As holder: takes in a reply.
    pub fn on_reply(&mut self, from: NodeId, now: Instant, reply: &BeaconReply) -> ReplyOutcome {
        if reply.holder != self.incarnation {
            return ReplyOutcome::default();
        }
        for exception in &reply.exceptions {
            let partition = if planted(Bug::HeedsOnePartition) {
                reply.exceptions[0].partition
            } else {
                exception.partition
            };
            let barred = self.barred.entry(partition).or_default();
            let ballot = barred.entry(from).or_default();
            *ballot = exception.ballot.max(*ballot);
        }
        let lease = self.settings.lease;
        let peer = self.peer(from, now);
        peer.acknowledge.extend(&reply.exceptions);
        let answer_now = !reply.exceptions.is_empty();
        let known = peer.held.as_ref().map(|held| held.grantor);
        if known.is_some_and(|known| reply.grantor < known) {
            return ReplyOutcome {
                answer_now,
                restarted: None,
            };
        }
        peer.hear(now);
        let restarted = known.is_some_and(|known| reply.grantor > known);
        if let Some(sent) = reply.granted.filter(|&sent| sent <= now) {
            let until = sent + lease;
            match &mut peer.held {
                Some(held) if held.grantor == reply.grantor => {
                    held.until = held.until.max(until);
                    held.lapsed = false;
                }
                held => {
                    *held = Some(Held {
                        until,
                        grantor: reply.grantor,
                        lapsed: false,
                    });
                }
            }
        }
        ReplyOutcome {
            answer_now,
            restarted: restarted.then_some(reply.grantor),
        }
    }

    /// Applies `Action::Except`: from now on no grant to `holder` counts for the partition below `ballot` (R2).
    pub fn except(&mut self, holder: NodeId, partition: PartitionId, ballot: Ballot, now: Instant) {
        let peer = self.peer(holder, now);
        let until = peer.granted_until;
        let known = peer.exceptions.get(&partition);
        if known.is_some_and(|known| known.ballot >= ballot) {
            return;
        }
        // Everything granted until now was without this exception; everything from now on carries it.
        let before = known.is_some_and(|known| known.acknowledged);
        let excepted = Excepted {
            ballot,
            until,
            acknowledged: before && planted(Bug::SettlesAnyBallot),
        };
        peer.exceptions.insert(partition, excepted);
        if planted(Bug::ExceptsOnePartition) {
            peer.unacknowledged.clear();
        }
        peer.unacknowledged.insert(partition);
    }

    /// R3: whether `holder` may still read the partition below `ballot` on this node's word.
    pub fn settled(
        &self,
        holder: NodeId,
        partition: PartitionId,
        ballot: Ballot,
        now: Instant,
    ) -> Settled {
        let excepted = self
            .peers
            .get(&holder)
            .and_then(|peer| peer.exceptions.get(&partition))
            .filter(|excepted| excepted.ballot >= ballot);
        match excepted {
            None => Settled::NotExcepted,
            // R5. An acknowledged exception at this ballot or above is a promise for everything below.
            Some(excepted)
                if excepted.acknowledged
                    || excepted.until <= now
                    || planted(Bug::SettlesUnacknowledged) =>
            {
                Settled::Yes
            }
            Some(excepted) => Settled::At(excepted.until),
        }
    }

    /// R4: until when earlier lives of this node may have granted something.
    pub fn forgotten_until(&self) -> Instant {
        self.forgotten_until
    }

    /// R1: whether `grantor`, in the life in which it vouched, leases reads of the partition under `ballot` to this node now.
    pub fn counts(
        &self,
        grantor: NodeId,
        life: Incarnation,
        partition: PartitionId,
        ballot: Ballot,
        now: Instant,
    ) -> bool {
        let held = self.peers.get(&grantor).and_then(|peer| peer.held.as_ref());
        held.is_some_and(|held| {
            (held.grantor == life || planted(Bug::CountsAnyLife)) && now < held.until
        }) && !self.bars(grantor, partition, ballot)
    }

    /// R2: whether `grantor` made an exception of the partition, so that its lease never counts under `ballot`.
    pub(crate) fn bars(&self, grantor: NodeId, partition: PartitionId, ballot: Ballot) -> bool {
        if planted(Bug::BarsAllPartitions) {
            let mut all = self.barred.values();
            return all.any(|barred| barred.get(&grantor).is_some_and(|&below| ballot < below));
        }
        let barred = self
            .barred
            .get(&partition)
            .and_then(|barred| barred.get(&grantor));
        barred.is_some_and(|&below| ballot < below && !planted(Bug::IgnoresExceptions))
    }

    /// Whether `node` was heard of in a later life than that one.
    pub(crate) fn outlived(&self, node: NodeId, life: Incarnation) -> bool {
        self.peers.get(&node).is_some_and(|peer| {
            let granted = peer.held.as_ref().map(|held| held.grantor);
            granted.max(Some(peer.holder)) > Some(life)
        })
    }

    /// Whether this node holds `peer`'s lease, for whatever it is worth to a partition.
    pub fn holds(&self, peer: NodeId, now: Instant) -> bool {
        let held = self.peers.get(&peer).and_then(|peer| peer.held.as_ref());
        held.is_some_and(|held| now < held.until)
    }

    /// How long the lease of each peer that is watched still lasts; zero: there is none.
    pub fn margins(&self, now: Instant) -> impl Iterator<Item = (NodeId, Duration)> + '_ {
        let watched = self.peers.iter().filter(|(_, peer)| peer.watched);
        watched.map(move |(&node, peer)| {
            let held = peer.held.as_ref().map(|held| held.until.since(now));
            (node, held.unwrap_or_default())
        })
    }

    /// Whether anything was heard from `peer` after `moment`.
    pub fn heard_since(&self, peer: NodeId, moment: Instant) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|peer| peer.heard > moment)
    }

    /// Whether nothing was heard from `peer` for a grace. `lapsed` says so once, when it begins; who has reason to wait for `peer` only
    /// since then must ask.
    pub fn silent(&self, peer: NodeId, now: Instant) -> bool {
        let grace = self.settings.grace;
        self.peers
            .get(&peer)
            .is_some_and(|peer| now.since(peer.heard) >= grace)
    }

    fn peer(&mut self, node: NodeId, now: Instant) -> &mut Peer {
        self.peers.entry(node).or_insert_with(|| Peer {
            heard: now,
            watched: false,
            lost: false,
            held: None,
            acknowledge: BTreeSet::new(),
            holder: Incarnation::default(),
            granted_until: Instant::default(),
            exceptions: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
        })
    }
}

impl Peer {
    fn hear(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.lost = false;
    }

    fn settle(&mut self, acknowledged: &[Exception]) -> Vec<PartitionId> {
        let mut settled = Vec::new();
        for acknowledged in acknowledged {
            if let Some(excepted) = self.exceptions.get_mut(&acknowledged.partition)
                && acknowledged.ballot >= excepted.ballot
                && (!excepted.acknowledged || planted(Bug::SettlesAnyBallot))
            {
                excepted.acknowledged = true;
                self.unacknowledged.remove(&acknowledged.partition);
                settled.push(acknowledged.partition);
            }
        }
        settled
    }

    fn pending_exceptions(&self, limit: usize) -> Vec<Exception> {
        if planted(Bug::ExceptsNothing) {
            return Vec::new();
        }
        let pending = self.unacknowledged.iter().take(limit);
        pending
            .filter_map(|&partition| {
                let ballot = self.exceptions.get(&partition)?.ballot;
                Some(Exception { partition, ballot })
            })
            .collect()
    }
}
