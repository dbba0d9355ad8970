//! The primary's daily work: prepares, acknowledgements, commits, and how a new one becomes able to serve (rules R3, C1, C2, C3).
//!
//! Who of the members is lost is seen in `members`, what is sent again in `resending`. Learners' progress is in `teaching`, changes of
//! configuration in `proposing`. Evaluating commands is the shell's.

use crate::appends::{Appends, Written};
use crate::peer::{Peer, Quiet};
use crate::planted::{Bug, planted};
use crate::prepared::{PreparedList, weight};
use crate::proposing::Obeyed;
use crate::replica::{Replica, Role};
use crate::{Action, Flush, Leases, Settings};
use bytes::Bytes;
use types::{
    Ballot, Configuration, Decree, Incarnation, Instant, LearnSignature, Mutation, NodeId,
    RecordBody, Timestamp,
};

/// What only a primary has.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) ballot: Ballot,
    /// Under this ballot it became the primary; nobody else has been since.
    pub(crate) since: Ballot,
    /// L2: its configuration is on disk.
    pub(crate) persisted: bool,
    /// R3: nobody can read on this node's word under a lower ballot any more.
    pub(crate) grace_over: bool,
    pub(crate) grace_check: Instant,
    /// C2: everyone has cut, and the list of the beginning is committed.
    pub(crate) reconciled: bool,
    /// C2: the last decree when the ballot began.
    pub(crate) last: Decree,
    /// How far its own log was sent the list under this ballot, and has it.
    pub(crate) appended: Decree,
    pub(crate) flushed: Decree,
    owed: usize,
    pub(crate) peers: Vec<Peer>,
    /// When to tell the peers of the last commit.
    pub(crate) quiet_at: Option<Instant>,
    /// How many offers to learn were made under this ballot.
    pub(crate) offers: u64,
}

impl Primary {
    /// A new primary.
    pub(crate) fn begin(configuration: &Configuration, prepared: &PreparedList) -> Self {
        let committed = if planted(Bug::PreparesNothingAgain) {
            prepared.prepared()
        } else {
            prepared.committed()
        };
        let members = configuration.secondaries.iter();
        Self {
            ballot: configuration.ballot,
            since: configuration.ballot,
            persisted: false,
            grace_over: false,
            grace_check: Instant::default(),
            reconciled: false,
            last: prepared.prepared(),
            appended: committed,
            flushed: committed,
            owed: 0,
            peers: members
                .map(|member| Peer::member(member, committed))
                .collect(),
            quiet_at: None,
            offers: 0,
        }
    }

    /// The same primary under the next ballot. C2: what it still had to do passes on to this ballot.
    pub(crate) fn succeed(
        self,
        configuration: &Configuration,
        prepared: &PreparedList,
        actions: &mut Vec<Action>,
    ) -> Self {
        let mut next = Self {
            since: self.since,
            grace_over: self.grace_over,
            reconciled: self.reconciled || planted(Bug::ForgetsDuty),
            ..Self::begin(configuration, prepared)
        };
        for old in self.peers {
            match next.peers.iter_mut().find(|peer| peer.node == old.node) {
                Some(peer) => {
                    old.end_learn(actions);
                    // Not its vouch: that was for the old ballot, and a member that went on without this primary's truncate may have
                    // excepted it since (R2).
                    (peer.lost, peer.disowned) = (old.lost, old.disowned);
                    peer.committed = old.committed;
                    if planted(Bug::KeepsVouches) {
                        peer.life = old.life;
                    }
                }
                None if old.is_learner() => {
                    let learner =
                        old.under_next_ballot(next.ballot, prepared.committed(), &mut next.offers);
                    next.peers.push(learner);
                }
                None => {}
            }
        }
        next
    }

    pub(crate) fn quiet(&self) -> Quiet {
        match self.quiet_at {
            Some(_) => Quiet::Pending,
            None => Quiet::Told,
        }
    }

    pub(crate) fn peer(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.node == node)
    }

    /// A vouch that arrives late, from a life of its node that is over, never counts (R1): without a newer one the member is asked again.
    fn forget_ended_lives(&mut self, leases: &Leases) {
        for peer in &mut self.peers {
            let ended = peer
                .life
                .is_some_and(|life| leases.outlived(peer.node, life));
            if ended && !planted(Bug::CountsAnyLife) {
                peer.life = None;
            }
        }
    }

    pub(crate) fn teaches(&self) -> bool {
        self.peers.iter().any(Peer::is_learner)
    }

    pub(crate) fn own_flushed(&mut self, decree: Decree, prepared: &PreparedList) {
        self.owed = self
            .owed
            .saturating_sub(prepared.get(decree).map_or(0, weight));
        self.flushed = decree;
    }

    /// Sends and appends what has not been, within bounds.
    fn pump(
        &mut self,
        now: Instant,
        prepared: &PreparedList,
        settings: &Settings,
        (appends, flush): (&mut Appends, Flush),
        actions: &mut Vec<Action>,
    ) {
        while self.appended < prepared.prepared()
            && self.owed < settings.chunk.bytes()
            && let Some(mutation) = prepared.get(self.appended.next())
        {
            let (ballot, decree) = (self.ballot, mutation.decree);
            self.owed += weight(mutation);
            self.appended = decree;
            let written = Written::Mutation {
                ballot,
                decree,
                acknowledge: false,
            };
            appends.append(
                RecordBody::Mutation(mutation.clone()),
                written,
                flush,
                actions,
            );
        }
        for peer in &mut self.peers {
            peer.pump(now, self.ballot, prepared, settings, actions);
        }
    }
}

impl Replica {
    /// A mutation of the primary's own.
    pub(crate) fn submit(
        &mut self,
        timestamp: Timestamp,
        effects: Bytes,
        actions: &mut Vec<Action>,
    ) {
        match self.accepts_write() {
            Err(refusal) => actions.push(Action::Refuse(refusal)),
            Ok(decree) => {
                let ballot = self.ballot();
                self.prepared.push(Mutation {
                    ballot,
                    decree,
                    timestamp,
                    effects,
                });
            }
        }
    }

    /// L2: the ballot is on disk, and a primary may act under it.
    pub(crate) fn ballot_persisted(
        &mut self,
        now: Instant,
        ballot: Ballot,
        actions: &mut Vec<Action>,
    ) {
        self.persisted = self.persisted.max(ballot);
        if let (Role::Primary(primary), Some(configuration)) = (&mut self.role, &self.configuration)
            && primary.ballot == ballot
        {
            primary.persisted = true;
            primary.grace_check = now;
            for peer in &mut primary.peers {
                peer.advanced(now);
                if peer.truncated {
                    peer.resend_to_learner(configuration, actions);
                } else {
                    actions.push(peer.truncate(configuration, primary.last));
                }
            }
        }
    }

    /// What a primary does after every event, whatever it was: whatever has become possible.
    pub(crate) fn drive(&mut self, now: Instant, leases: &Leases, actions: &mut Vec<Action>) {
        let flush = self.flush_mutation();
        let obeyed = Obeyed {
            stored: self.configuration.as_ref(),
            proposed: self.proposal.as_ref(),
        };
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        if !primary.persisted {
            if planted(Bug::LeadsEarly) {
                let ballot = primary.ballot;
                self.ballot_persisted(now, ballot, actions);
            }
            return;
        }
        primary.forget_ended_lives(leases);
        let appends = (&mut self.appends, flush);
        primary.pump(now, &self.prepared, &self.settings, appends, actions);
        primary.settle_grace(now, self.identity.partition, &self.vouched, leases);
        let up_to = primary.committable(obeyed);
        if (primary.grace_over || planted(Bug::CommitsInGrace)) && up_to > self.prepared.committed()
        {
            let keep = if primary.teaches() {
                self.settings.recent.bytes()
            } else {
                0
            };
            self.prepared.commit(up_to, keep);
            primary.quiet_at = (!primary.peers.is_empty()).then(|| now + self.settings.quiet);
            actions.push(Action::Commit { up_to });
        }
        primary.reconcile(self.prepared.committed(), obeyed);
        if self.proposal.is_none() {
            self.remove_lost(now, leases, actions);
        }
        self.teach(now, leases, actions);
    }

    pub(crate) fn on_truncate_ack(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Ballot,
        signature: LearnSignature,
        incarnation: Incarnation,
    ) {
        if let Role::Primary(primary) = &mut self.role
            && primary.ballot == ballot
            && let Some(peer) = primary
                .peer(from)
                .filter(|peer| peer.signature == signature)
        {
            peer.truncated = true;
            peer.life = Some(incarnation);
            peer.advanced(now);
        }
    }

    /// C3: counts acknowledgements of this ballot only; C4, C5: only by the learn that made the copy.
    pub(crate) fn on_prepare_ack(
        &mut self,
        now: Instant,
        from: NodeId,
        (ballot, signature): (Ballot, LearnSignature),
        prepared: Decree,
        committed: Decree,
    ) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        if primary.ballot != ballot && !planted(Bug::CountsAnyBallot) {
            return;
        }
        let list = &self.prepared;
        if let Some(peer) = primary
            .peer(from)
            .filter(|peer| peer.signature == signature || planted(Bug::CountsAnyLearn))
        {
            peer.committed = peer.committed.max(committed);
            if !peer.disowned {
                peer.lost = None;
            }
            if peer.is_learner() {
                peer.learner_acknowledged(now, prepared, list);
            } else {
                peer.acknowledged(now, prepared, list);
            }
        }
    }
}
