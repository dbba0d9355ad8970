//! The learner's side of a learn (rules L4, C4, C5): from the offer to the ready mark.
//!
//! What it is sent then is taken in like a secondary's prepares, in `following`. Moving a checkpoint's files is the shell's.

use crate::appends::Written;
use crate::follower::{Follower, Stream};
use crate::planted::{Bug, planted};
use crate::replica::{Replica, Role};
use crate::{Action, Flush, Message, Standing};
use types::{
    BootId, Configuration, Decree, Durability, LearnKind, LearnSignature, NodeId, RecordBody,
};

/// A learn that is under way on this replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Learn {
    pub(crate) signature: LearnSignature,
    pub(crate) progress: Progress,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// A restart cut it off: only a new learn helps.
    Abandoned,
    /// Its reset record is on its way to the disk.
    Resetting { base: Option<Decree> },
    /// Its own copy serves as the base, or the checkpoint does: the rest comes as log and prepares.
    Streaming,
    /// Waits for a checkpoint.
    Waiting,
    /// The checkpoint is here; the record that it replaces everything is on its way to the disk.
    Replacing { decree: Decree },
    /// The checkpoint is being put in place.
    Installing { decree: Decree },
    /// Its ready mark is on its way to the disk.
    Marking,
}

impl Replica {
    /// A primary offers this node to become a learner.
    pub(crate) fn on_learn_offer(
        &mut self,
        from: NodeId,
        configuration: Configuration,
        attempt: u64,
        actions: &mut Vec<Action>,
    ) {
        if configuration.ballot < self.ballot() {
            return self.send_stale(from, actions);
        }
        if configuration.ballot < self.identity.deleted {
            return;
        }
        let named = configuration.contains(self.identity.me) && !planted(Bug::TeachesMember);
        if configuration.primary.node != from || named {
            return;
        }
        let signature = LearnSignature {
            ballot: configuration.ballot,
            incarnation: self.identity.incarnation,
            counter: attempt,
        };
        // C5: of the copy that was damaged too, or others would count on the second learn of a name for what the first one had.
        let (known, ruined) = (self.standing.signature(), self.ruined);
        let known = if (known.ballot, known.counter) < (ruined.ballot, ruined.counter) {
            ruined
        } else {
            known
        };
        let again = planted(Bug::OfferCutsTwice)
            && (known.ballot, known.counter) == (signature.ballot, signature.counter);
        if (known.ballot, known.counter) >= (signature.ballot, signature.counter) && !again {
            // L4: an offer that comes twice must not cut a copy back that the primary may be counting on by now.
            if self.standing.signature() == signature {
                self.send_learn_request(from, actions);
            }
            return;
        }
        if matches!(self.standing, Standing::Creating | Standing::Deleting) {
            return;
        }
        if configuration.ballot > self.ballot() {
            self.install(configuration, actions);
        }
        self.start_learn(from, signature, actions);
    }

    /// L4: every learn starts with a durable reset record.
    fn start_learn(
        &mut self,
        teacher: NodeId,
        signature: LearnSignature,
        actions: &mut Vec<Action>,
    ) {
        let epoch = self
            .configuration()
            .map_or(0, |configuration| configuration.epoch);
        let base = self.good_prefix(epoch);
        if self.prepared.cut(self.prepared.committed(), |_| true) {
            let above = self.prepared.committed();
            actions.push(Action::Unstage { above });
        }
        let kind = match base {
            Some(_) => LearnKind::Log,
            None => LearnKind::Checkpoint,
        };
        self.prepared.restart(base.unwrap_or_default());
        self.sound = base.is_some();
        self.epoch = epoch;
        self.served = false;
        self.standing = Standing::Learning(Learn {
            signature,
            progress: Progress::Resetting { base },
        });
        self.role = Role::Follower(Follower::of(teacher));
        self.append_reset(signature, base.unwrap_or_default(), kind, actions);
        self.append_boot(actions);
    }

    /// Damage behind which there is such a record, by checkpoint, is of no account to the log any more. What it may have taken besides the
    /// copy is said again: the ballot first (L2), so that it is not gone if the process ends here; the boot afterwards (C6), by `append_boot`.
    fn append_reset(
        &mut self,
        signature: LearnSignature,
        base: Decree,
        kind: LearnKind,
        actions: &mut Vec<Action>,
    ) {
        if kind == LearnKind::Checkpoint {
            self.append_configuration(actions);
            self.boot_marked = ALL_SYNCED;
        }
        let epoch = self.epoch;
        let body = RecordBody::Reset {
            signature,
            base,
            kind,
            epoch,
        };
        self.appends
            .append(body, Written::Reset(signature), Flush::Synced, actions);
    }

    /// C6: from here on, what is unsynced when the machine's boot ends is known to be lost.
    pub(crate) fn append_boot(&mut self, actions: &mut Vec<Action>) {
        if self.identity.durability == Durability::Buffered
            && self.boot_marked != self.identity.boot
        {
            self.boot_marked = self.identity.boot;
            let body = RecordBody::Boot(self.identity.boot);
            self.appends
                .append(body, Written::Boot, Flush::Synced, actions);
        }
    }

    /// Up to where this copy is a prefix of the history of `epoch` beyond doubt.
    fn good_prefix(&self, epoch: u64) -> Option<Decree> {
        match self.standing {
            // Nothing is the beginning of everything.
            Standing::Blank => Some(Decree::ZERO),
            // C6: a copy of an older epoch is discarded whole.
            _ if self.sound && (self.epoch == epoch || planted(Bug::KeepsOldEpoch)) => {
                Some(self.prepared.committed())
            }
            _ => None,
        }
    }

    /// A new empty replica, for a partition's first configuration.
    pub(crate) fn create(&mut self, actions: &mut Vec<Action>) {
        match self.standing {
            Standing::Blank => {
                self.standing = Standing::Creating;
                self.sound = true;
                self.append_reset(
                    LearnSignature::default(),
                    Decree::ZERO,
                    LearnKind::Log,
                    actions,
                );
                self.append_boot(actions);
            }
            Standing::Whole(_) if self.configuration.is_none() => {
                actions.push(Action::ReportCreated);
            }
            _ => {}
        }
    }

    /// A reset record is on disk.
    pub(crate) fn reset_flushed(&mut self, signature: LearnSignature, actions: &mut Vec<Action>) {
        if self.standing == Standing::Creating {
            self.standing = Standing::Whole(signature);
            actions.push(Action::ReportCreated);
            return;
        }
        let (ballot, teacher) = (self.ballot(), self.teacher());
        let Standing::Learning(learn) = &mut self.standing else {
            return;
        };
        if learn.signature != signature {
            return;
        }
        match learn.progress {
            Progress::Resetting { base: Some(base) } => {
                learn.progress = Progress::Streaming;
                self.set_stream(Stream::new(ballot, base));
            }
            Progress::Resetting { base: None } => learn.progress = Progress::Waiting,
            Progress::Replacing { decree } => {
                learn.progress = Progress::Installing { decree };
                actions.push(Action::InstallCheckpoint { signature, decree });
                return;
            }
            _ => return,
        }
        if let Some(teacher) = teacher {
            self.send_learn_request(teacher, actions);
        }
    }

    fn send_learn_request(&self, to: NodeId, actions: &mut Vec<Action>) {
        let Standing::Learning(learn) = &self.standing else {
            return;
        };
        let base = match learn.progress {
            Progress::Streaming => self.stream().map(|stream| stream.flushed),
            Progress::Waiting => None,
            _ => return,
        };
        let signature = learn.signature;
        actions.push(Action::Send {
            to,
            message: Message::LearnRequest { signature, base },
        });
    }

    /// The primary's checkpoint is here. From this record on, nothing else of this replica counts.
    pub(crate) fn checkpoint_received(
        &mut self,
        signature: LearnSignature,
        decree: Decree,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.prepared.committed();
        let Standing::Learning(learn) = &mut self.standing else {
            return;
        };
        let wanted = matches!(learn.progress, Progress::Streaming | Progress::Waiting);
        // C4: what was acknowledged in this learn the primary may count on, however late it hears of that.
        let acknowledged = match &self.role {
            Role::Follower(Follower {
                stream: Some(stream),
                ..
            }) => stream.flushed,
            _ => Decree::ZERO,
        };
        let old = self.sound && decree < committed.max(acknowledged);
        if learn.signature != signature || !wanted || old {
            return;
        }
        learn.progress = Progress::Replacing { decree };
        self.sound = false;
        if self.prepared.cut(committed, |_| true) {
            actions.push(Action::Unstage { above: committed });
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.stream = None;
        }
        self.append_reset(signature, decree, LearnKind::Checkpoint, actions);
        self.append_boot(actions);
    }

    /// The checkpoint is this replica's data now.
    pub(crate) fn checkpoint_installed(
        &mut self,
        signature: LearnSignature,
        decree: Decree,
        actions: &mut Vec<Action>,
    ) {
        let Standing::Learning(learn) = &mut self.standing else {
            return;
        };
        if learn.signature != signature || learn.progress != (Progress::Installing { decree }) {
            return;
        }
        learn.progress = Progress::Streaming;
        self.sound = true;
        self.prepared.restart(decree);
        self.set_stream(Stream::new(self.ballot(), decree));
        self.acknowledge(actions);
    }

    /// C5: the primary says that nothing is missing. The ready mark goes to the disk before it may propose this learner.
    pub(crate) fn on_learn_complete(
        &mut self,
        from: NodeId,
        ballot: types::Ballot,
        signature: LearnSignature,
        actions: &mut Vec<Action>,
    ) {
        if !self.follows(from, ballot, actions) {
            return;
        }
        let Some(decree) = self.stream().map(|stream| stream.flushed) else {
            return;
        };
        match &mut self.standing {
            Standing::Whole(whole) if *whole == signature => self.send_learn_ready(from, actions),
            Standing::Learning(learn)
                if learn.signature == signature && learn.progress == Progress::Streaming =>
            {
                learn.progress = Progress::Marking;
                let body = RecordBody::Ready { signature, decree };
                self.appends
                    .append(body, Written::Ready(signature), Flush::Synced, actions);
                if planted(Bug::ReadyEarly) {
                    self.ready_flushed(signature, actions);
                }
            }
            _ => {}
        }
    }

    /// The ready mark is on disk: from now on this copy is one.
    pub(crate) fn ready_flushed(&mut self, signature: LearnSignature, actions: &mut Vec<Action>) {
        let Standing::Learning(learn) = &self.standing else {
            return;
        };
        if learn.signature != signature || learn.progress != Progress::Marking {
            return;
        }
        self.standing = Standing::Whole(signature);
        if let Some(teacher) = self.teacher() {
            self.send_learn_ready(teacher, actions);
        }
    }

    /// The word is also a vouch: from its promotion on, this node could take the partition over (R2, R3). It waits for its ballot to be
    /// on disk (L2): the primary asks again.
    fn send_learn_ready(&mut self, to: NodeId, actions: &mut Vec<Action>) {
        let Some(signature) = self.standing.whole() else {
            return;
        };
        if self.persisted < self.ballot() {
            return;
        }
        self.vouch(to);
        let (ballot, incarnation) = (self.ballot(), self.identity.incarnation);
        let message = Message::LearnReady {
            ballot,
            signature,
            incarnation,
        };
        actions.push(Action::Send { to, message });
    }

    /// The node that teaches this replica, or that it follows as a secondary.
    fn teacher(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => Some(follower.primary),
            Role::Inactive | Role::Primary(_) => None,
        }
    }
}

/// No boot: nothing unsynced was left behind.
pub(crate) const ALL_SYNCED: BootId = BootId(0);
