//! The primary's side of a learn (rules C1, C4, C5): from the offer to the proposal that makes the learner a member.
//!
//! A learner gets its base, from its own copy or a checkpoint, then the log in order until the primary has all the rest at hand,
//! then prepares like a member. It costs the partition's writes nothing until its promotion is pending. Reading the log and moving
//! files is the shell's.

use crate::peer::{Peer, Reading, Stage};
use crate::planted::{Bug, planted};
use crate::prepared::PreparedList;
use crate::replica::{Replica, Role};
use crate::{Action, Leases, LogRead, Message, MetaStream};
use types::{Ballot, Configuration, Decree, Incarnation, Instant, LearnSignature, Member, NodeId};

impl Replica {
    /// The meta leader wants a copy on `node`.
    pub(crate) fn add_learner(
        &mut self,
        now: Instant,
        ballot: Ballot,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) {
        // An old meta leader that wakes up asks for nothing any more.
        if ballot < self.ballot() && !planted(Bug::TeachesMember) {
            return;
        }
        // C4: only when serving, and for no node of either configuration.
        if self.obeys(node) && !planted(Bug::TeachesMember) {
            return;
        }
        let (Role::Primary(primary), Some(configuration)) = (&mut self.role, &self.configuration)
        else {
            return;
        };
        let serves = primary.serves() || planted(Bug::TeachesEarly);
        let known = primary
            .peer(node)
            .is_some_and(|peer| peer.is_learner() || !planted(Bug::TeachesMember));
        if !serves || known {
            return;
        }
        primary.offers += 1;
        let attempt = primary.offers;
        primary
            .peers
            .push(Peer::learner(node, primary.ballot, attempt, now));
        actions.push(offer(node, configuration, attempt));
    }

    /// The learner's reset record is on disk.
    pub(crate) fn on_learn_request(
        &mut self,
        now: Instant,
        from: NodeId,
        signature: LearnSignature,
        base: Option<Decree>,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.prepared.committed();
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(peer) = primary.peer(from) else {
            return;
        };
        let expected = (peer.signature.ballot, peer.signature.counter);
        let offered = matches!(peer.stage, Stage::Offered { .. });
        if !offered || (signature.ballot, signature.counter) != expected {
            return;
        }
        peer.signature = signature;
        peer.advanced(now);
        match base.filter(|&base| base <= committed) {
            Some(base) => {
                peer.acked = base;
                peer.rewind();
                peer.stage = Stage::Catching(Reading::Idle);
            }
            None => peer.send_checkpoint(actions),
        }
    }

    /// The log answered.
    pub(crate) fn log_read(
        &mut self,
        now: Instant,
        learner: NodeId,
        signature: LearnSignature,
        outcome: LogRead,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.prepared.committed();
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let ballot = primary.ballot;
        let Some(peer) = primary
            .peer(learner)
            .filter(|peer| peer.signature == signature)
        else {
            return;
        };
        if peer.stage != Stage::Catching(Reading::Asked) {
            return;
        }
        let LogRead::Mutations(mut mutations) = outcome else {
            return peer.send_checkpoint(actions);
        };
        // Uncommitted ones go as prepares, under this ballot.
        let mut next = peer.acked;
        let fits = mutations.iter().take_while(|mutation| {
            next = next.next();
            mutation.decree == next && mutation.decree <= committed
        });
        let fitting = fits.count();
        mutations.truncate(fitting);
        peer.stage = Stage::Catching(Reading::Sent);
        peer.attempted(now);
        if let Some(last) = mutations.last() {
            peer.sent = last.decree;
            peer.told = committed;
            let message = Message::LearnLog {
                ballot,
                signature,
                mutations,
                committed,
            };
            actions.push(Action::Send {
                to: learner,
                message,
            });
        }
    }

    pub(crate) fn checkpoint_delivered(
        &mut self,
        now: Instant,
        learner: NodeId,
        signature: LearnSignature,
        decree: Decree,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.prepared.committed();
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let ballot = primary.ballot;
        let peer = primary
            .peer(learner)
            .filter(|peer| peer.signature == signature);
        if let Some(peer) = peer
            && peer.stage == (Stage::Transfer { delivered: None })
        {
            // The learner itself must say that it has it.
            peer.stage = Stage::Transfer {
                delivered: Some(decree),
            };
            peer.advanced(now);
            // L2: until the ballot is on disk nothing is said under it; the truncate that follows asks for the same answer.
            if primary.persisted {
                let message = Message::Committed { ballot, committed };
                actions.push(Action::Send {
                    to: learner,
                    message,
                });
            }
        }
    }

    pub(crate) fn checkpoint_failed(
        &mut self,
        learner: NodeId,
        signature: LearnSignature,
        actions: &mut Vec<Action>,
    ) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let peer = primary
            .peer(learner)
            .filter(|peer| peer.signature == signature);
        if peer.is_some_and(|peer| matches!(peer.stage, Stage::Transfer { .. })) {
            self.dismiss(learner, actions);
        }
    }

    /// C5: the learner's ready mark is on disk, and its node vouches.
    pub(crate) fn on_learn_ready(
        &mut self,
        now: Instant,
        from: NodeId,
        (ballot, signature): (Ballot, LearnSignature),
        incarnation: Incarnation,
    ) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        if primary.ballot != ballot {
            return;
        }
        let any = planted(Bug::ReadyByAnyLearn);
        let peer = primary
            .peer(from)
            .filter(|peer| peer.signature == signature || any);
        if let Some(peer) = peer
            && matches!(peer.stage, Stage::Completing | Stage::Ready)
            && signature.incarnation == incarnation
        {
            peer.stage = Stage::Ready;
            peer.life = Some(incarnation);
            peer.advanced(now);
        }
    }

    /// Takes every learner as far as it can go now.
    pub(crate) fn teach(&mut self, now: Instant, leases: &Leases, actions: &mut Vec<Action>) {
        if !matches!(&self.role, Role::Primary(primary) if primary.teaches()) {
            return;
        }
        let (partition, settings) = (self.identity.partition, self.settings.clone());
        let reachable = self.meta == MetaStream::Up || planted(Bug::AddsWithoutMeta);
        let outstanding = self.proposal.is_some() && !planted(Bug::ProposesAgain);
        let may_propose = reachable && !outstanding;
        let prepared = &self.prepared;
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let serves = primary.serves() || planted(Bug::TeachesEarly);
        let ballot = primary.ballot;
        let (mut promoted, mut barred) = (None, false);
        for peer in primary.peers.iter_mut().filter(|peer| peer.is_learner()) {
            peer.catch_up(now, ballot, prepared, &settings, actions);
            let whole = peer.truncated
                && (peer.acked >= prepared.committed() || planted(Bug::AddsWithHole));
            if peer.stage == Stage::Following && whole {
                peer.stage = Stage::Completing;
                peer.advanced(now);
                actions.push(peer.complete(ballot));
            }
            barred |= peer.stage == Stage::Ready && leases.bars(peer.node, partition, ballot);
            // R1 wants its lease from the proposal on: without it, reads would stop.
            let leased = |life| leases.counts(peer.node, life, partition, ballot, now);
            // C4.
            if promoted.is_none()
                && peer.stage == Stage::Ready
                && (whole && serves && may_propose)
                && peer.life.is_some_and(leased)
            {
                promoted = Some(Member {
                    node: peer.node,
                    signature: peer.signature,
                });
            }
        }
        if let Some(member) = promoted {
            self.propose(now, |next| next.secondaries.push(member), actions);
        } else if barred && serves && may_propose {
            // It lost an earlier copy under this ballot, which it excepted for good: only under the next one its lease counts.
            self.propose(now, |_| (), actions);
        }
    }

    /// Gives a learn up. The meta leader asks again if the copy is still missing.
    pub(crate) fn dismiss(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        if let Some(index) = primary
            .peers
            .iter()
            .position(|peer| peer.node == node && peer.is_learner())
        {
            primary.peers.remove(index).end_learn(actions);
        }
        if !primary.teaches() {
            self.prepared.trim_recent(0);
        }
    }

    /// Gives up the learns that do not move.
    pub(crate) fn despair(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let stuck = primary
            .peers
            .iter()
            .filter(|peer| peer.despair_at(&self.settings).is_some_and(|at| at <= now));
        let stuck: Vec<_> = stuck
            .map(|peer| peer.node)
            .filter(|&node| !self.obeys(node))
            .collect();
        for node in stuck {
            self.dismiss(node, actions);
        }
    }
}

impl Peer {
    fn send_checkpoint(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Transfer { delivered: None };
        let (learner, signature) = (self.node, self.signature);
        actions.push(Action::SendCheckpoint { learner, signature });
    }

    /// Asks for the next piece of the log, or goes over to prepares if the primary has all the rest at hand.
    fn catch_up(
        &mut self,
        now: Instant,
        ballot: Ballot,
        prepared: &PreparedList,
        settings: &crate::Settings,
        actions: &mut Vec<Action>,
    ) {
        if self.stage != Stage::Catching(Reading::Idle) || !self.truncated {
            return;
        }
        if self.acked >= prepared.prepared() || prepared.get(self.acked.next()).is_some() {
            self.stage = Stage::Following;
            self.rewind();
            self.advanced(now);
            self.pump(now, ballot, prepared, settings, actions);
            return;
        }
        self.stage = Stage::Catching(Reading::Asked);
        let (learner, signature, from) = (self.node, self.signature, self.acked.next());
        let max_bytes = settings.chunk.bytes();
        actions.push(Action::ReadLog {
            learner,
            signature,
            from,
            max_bytes,
        });
    }

    /// A learner says how far it is.
    pub(crate) fn learner_acknowledged(
        &mut self,
        now: Instant,
        decree: Decree,
        prepared: &PreparedList,
    ) {
        match self.stage {
            Stage::Member | Stage::Following | Stage::Completing | Stage::Ready => {
                self.acknowledged(now, decree, prepared);
            }
            Stage::Offered { .. } | Stage::Transfer { delivered: None } => {}
            Stage::Catching(reading) => {
                if decree > self.acked {
                    self.acked = decree.min(prepared.prepared());
                    self.advanced(now);
                }
                if reading == Reading::Sent && self.acked >= self.sent {
                    self.rewind();
                    self.stage = Stage::Catching(Reading::Idle);
                }
            }
            Stage::Transfer {
                delivered: Some(checkpoint),
            } => {
                if decree >= checkpoint {
                    self.acked = decree.min(prepared.prepared());
                    self.rewind();
                    self.stage = Stage::Catching(Reading::Idle);
                    self.advanced(now);
                }
            }
        }
    }

    fn complete(&self, ballot: Ballot) -> Action {
        let signature = self.signature;
        let message = Message::LearnComplete { ballot, signature };
        Action::Send {
            to: self.node,
            message,
        }
    }

    /// Sends again what only learners are sent. Says whether there was such a thing.
    pub(crate) fn resend_to_learner(
        &mut self,
        configuration: &Configuration,
        actions: &mut Vec<Action>,
    ) -> bool {
        match self.stage {
            Stage::Offered { attempt } => actions.push(offer(self.node, configuration, attempt)),
            Stage::Catching(_) => self.stage = Stage::Catching(Reading::Idle),
            Stage::Completing => actions.push(self.complete(configuration.ballot)),
            Stage::Ready if self.life.is_none() => {
                actions.push(self.complete(configuration.ballot));
            }
            Stage::Member | Stage::Following | Stage::Ready | Stage::Transfer { .. } => {
                return false;
            }
        }
        true
    }
}

fn offer(to: NodeId, configuration: &Configuration, attempt: u64) -> Action {
    let message = Message::LearnOffer {
        configuration: configuration.clone(),
        attempt,
    };
    Action::Send { to, message }
}
