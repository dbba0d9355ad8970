//! What a primary knows of one member or learner, and what it owes it or waits for.
//!
//! Plain bookkeeping: whether a peer gates commits is `Obeyed`'s word, what a learner gets next is decided in `teaching`.

use crate::prepared::{PreparedList, weight};
use crate::{Action, Message, Settings};
use types::{Ballot, Configuration, Decree, Incarnation, Instant, LearnSignature, Member, NodeId};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    /// By which learn it is or will be a member; its acknowledgements must carry it (C4, C5).
    pub(crate) signature: LearnSignature,
    pub(crate) stage: Stage,
    /// C2: it acknowledged the truncate of this ballot.
    pub(crate) truncated: bool,
    /// The life of its node that vouched under this ballot (R1); nothing since that was lost sight of.
    pub(crate) life: Option<Incarnation>,
    /// Up to where it was sent prepares, or the log.
    pub(crate) sent: Decree,
    /// C3: up to where it acknowledged, under this ballot.
    pub(crate) acked: Decree,
    /// What it knows to be committed.
    pub(crate) committed: Decree,
    /// What it was last told is committed.
    pub(crate) told: Decree,
    /// Weight of what is sent and not acknowledged.
    owed: usize,
    /// When it last moved on, or began to owe something.
    pub(crate) advanced_at: Instant,
    /// When it was last sent what it owes an answer to, and how often in vain.
    attempt_at: Instant,
    attempts: u32,
    /// What it is sent now it was sent before: no new beginning of its debt.
    again: bool,
    /// When it was lost, unless it gave a sign of life since.
    pub(crate) lost: Option<Instant>,
    /// It said itself that it is no member: no sign of life changes that.
    pub(crate) disowned: bool,
}

/// What a peer is, and how far a learner has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Of the configuration in force.
    Member,
    /// Was offered to learn.
    Offered { attempt: u64 },
    /// Gets the log.
    Catching(Reading),
    /// Gets a checkpoint, which was delivered at that decree.
    Transfer { delivered: Option<Decree> },
    /// Has the log up to the prepared list and gets prepares like a member.
    Following,
    /// Is writing its ready mark.
    Completing,
    /// Can be proposed.
    Ready,
}

/// Where the next piece of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// Not asked for.
    Idle,
    /// Asked of the shell.
    Asked,
    /// Sent, not acknowledged; or the log had nothing: waits for the next attempt.
    Sent,
}

/// Whether whoever hears commits was told of the last one since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quiet {
    /// The timer runs.
    Pending,
    Told,
}

impl Peer {
    /// A member at the beginning of a ballot.
    pub(crate) fn member(member: &Member, committed: Decree) -> Self {
        Self::new(member.node, member.signature, Stage::Member, committed)
    }

    /// A learner that was sent an offer.
    pub(crate) fn learner(node: NodeId, ballot: Ballot, attempt: u64, now: Instant) -> Self {
        let signature = LearnSignature {
            ballot,
            incarnation: Incarnation::default(),
            counter: attempt,
        };
        let mut peer = Self::new(node, signature, Stage::Offered { attempt }, Decree::ZERO);
        peer.truncated = true;
        peer.advanced(now);
        peer
    }

    fn new(node: NodeId, signature: LearnSignature, stage: Stage, acked: Decree) -> Self {
        Self {
            node,
            signature,
            stage,
            truncated: false,
            life: None,
            sent: acked,
            acked,
            committed: Decree::ZERO,
            told: Decree::ZERO,
            owed: 0,
            advanced_at: Instant::default(),
            attempt_at: Instant::default(),
            attempts: 0,
            again: false,
            lost: None,
            disowned: false,
        }
    }

    /// Whether all that is known of it is of this life of its node, or a later one.
    pub(crate) fn lives(&self, life: Incarnation) -> bool {
        match self.stage {
            Stage::Member => self.life >= Some(life),
            // It has said nothing yet.
            Stage::Offered { .. } => true,
            _ => self.signature.incarnation >= life,
        }
    }

    /// A learner whose teacher goes on under its next ballot: it keeps its learn, not its acknowledgements (C3). One that has
    /// not begun is offered again.
    pub(crate) fn under_next_ballot(
        mut self,
        ballot: Ballot,
        committed: Decree,
        offers: &mut u64,
    ) -> Self {
        if let Stage::Offered { .. } = self.stage {
            *offers += 1;
            return Self::learner(self.node, ballot, *offers, self.advanced_at);
        }
        (self.truncated, self.life) = (false, None);
        self.acked = self.acked.min(committed);
        self.rewind();
        self.stage = match self.stage {
            Stage::Catching(_) => Stage::Catching(Reading::Idle),
            Stage::Completing => Stage::Following,
            stage => stage,
        };
        self
    }

    pub(crate) fn is_learner(&self) -> bool {
        self.stage != Stage::Member
    }

    /// Whether prepares are for it.
    fn takes_prepares(&self) -> bool {
        match self.stage {
            Stage::Member => true,
            Stage::Following | Stage::Completing | Stage::Ready => self.truncated,
            Stage::Offered { .. } | Stage::Catching(_) | Stage::Transfer { .. } => false,
        }
    }

    /// Sends what it has not been sent, within bounds. A learner for which the list no longer reaches back gets the log again.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        ballot: Ballot,
        prepared: &PreparedList,
        settings: &Settings,
        actions: &mut Vec<Action>,
    ) {
        if !self.takes_prepares() {
            return;
        }
        while self.sent < prepared.prepared() && self.owed < settings.chunk.bytes() {
            let Some(mutation) = prepared.get(self.sent.next()) else {
                if self.is_learner() {
                    self.stage = Stage::Catching(Reading::Idle);
                }
                return;
            };
            if self.sent == self.acked && !self.again {
                self.advanced(now);
            }
            self.owed += weight(mutation);
            self.sent = mutation.decree;
            self.told = prepared.committed();
            let mut mutation = mutation.clone();
            mutation.ballot = ballot;
            let message = Message::Prepare {
                mutation,
                committed: self.told,
            };
            actions.push(Action::Send {
                to: self.node,
                message,
            });
        }
    }

    /// It has everything up to `decree` under this ballot.
    pub(crate) fn acknowledged(&mut self, now: Instant, decree: Decree, prepared: &PreparedList) {
        let decree = decree.min(prepared.prepared());
        if decree <= self.acked {
            return;
        }
        while self.acked < decree {
            self.acked = self.acked.next();
            self.owed = self
                .owed
                .saturating_sub(prepared.get(self.acked).map_or(0, weight));
        }
        if self.acked >= self.sent {
            self.sent = self.acked;
            self.owed = 0;
        }
        self.advanced(now);
    }

    pub(crate) fn advanced(&mut self, now: Instant) {
        self.advanced_at = now;
        self.attempt_at = now;
        self.attempts = 0;
        self.again = false;
    }

    /// It was sent something again.
    pub(crate) fn attempted(&mut self, now: Instant) {
        self.attempt_at = now;
        self.attempts = self.attempts.saturating_add(1);
    }

    /// What it has not acknowledged is to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.again |= self.sent > self.acked;
        self.sent = self.acked;
        self.owed = 0;
    }

    /// Whether it owes acknowledgements, for which it could be removed.
    pub(crate) fn owes(&self) -> bool {
        !self.truncated || self.sent > self.acked
    }

    /// Whether something must be sent again if nothing comes from it.
    fn waits(&self, committed: Decree, quiet: Quiet) -> bool {
        match self.stage {
            Stage::Member => {
                self.owes() || self.life.is_none() || self.uninformed(committed, quiet)
            }
            Stage::Following => self.owes() || self.uninformed(committed, quiet),
            Stage::Offered { .. } | Stage::Completing | Stage::Ready => true,
            Stage::Catching(reading) => reading != Reading::Asked,
            Stage::Transfer { delivered } => delivered.is_some() || !self.truncated,
        }
    }

    /// It has not said that it knows of the last commit, and the quiet timer is not about to tell it: it was told, or did not hear commits
    /// when others were told, or the ballot changed before anybody was.
    fn uninformed(&self, committed: Decree, quiet: Quiet) -> bool {
        self.committed < committed && (self.told >= committed || quiet == Quiet::Told)
    }

    /// When it is to be sent again what it did not answer: seldomer each time, so that a dead peer costs little.
    pub(crate) fn resend_at(
        &self,
        committed: Decree,
        quiet: Quiet,
        settings: &Settings,
    ) -> Option<Instant> {
        let backoff = 1 << self.attempts.min(5);
        self.waits(committed, quiet)
            .then(|| self.attempt_at + settings.resend * backoff)
    }

    /// When a member has owed something for too long.
    pub(crate) fn lags_at(&self, settings: &Settings) -> Option<Instant> {
        (self.stage == Stage::Member && self.owes()).then(|| self.advanced_at + settings.lag)
    }

    /// When a learner has not moved for too long.
    pub(crate) fn despair_at(&self, settings: &Settings) -> Option<Instant> {
        let may_take_long = matches!(
            self.stage,
            Stage::Member | Stage::Transfer { delivered: None } | Stage::Ready
        ) || self.stage == Stage::Following && !self.owes();
        (!may_take_long).then(|| self.advanced_at + settings.learn_patience)
    }

    /// The truncate for it, as of now: what it acknowledged needs no second prepare.
    pub(crate) fn truncate(&self, configuration: &Configuration, last: Decree) -> Action {
        let message = Message::Truncate {
            configuration: configuration.clone(),
            first: self.acked.next(),
            last,
        };
        Action::Send {
            to: self.node,
            message,
        }
    }

    pub(crate) fn end_learn(&self, actions: &mut Vec<Action>) {
        if self.is_learner() {
            let (learner, signature) = (self.node, self.signature);
            actions.push(Action::EndLearn { learner, signature });
        }
    }
}
