//! What a secondary or a learner remembers of its primary, and what it does with what it is told (rules L1, L2, C2, C3).
//!
//! Learning's own steps are in `learning`; proposing itself in the primary's place is in `proposing`.

use crate::appends::Written;
use crate::freshness::Freshness;
use crate::learning::Progress;
use crate::planted::{Bug, planted};
use crate::replica::{Replica, Role};
use crate::{Action, Flush, Leases, Message, Standing};
use types::{Ballot, Configuration, Decree, Instant, LearnSignature, Mutation, NodeId, RecordBody};

/// The role of a secondary and of a learner.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) primary: NodeId,
    /// Its ballot was on disk when this replica started.
    pub(crate) resumed: bool,
    /// Where the primary's prepares go on; nothing before its truncate under this ballot (or the learn's begin).
    pub(crate) stream: Option<Stream>,
    /// The truncate is acknowledged when all appends below this number are on disk.
    truncate_ack: Option<u64>,
    /// When to propose itself in the primary's place.
    pub(crate) succession: Option<Succession>,
    /// When to ask for a stream, as long as there is none, and how often that was done.
    join_at: Instant,
    joins: u32,
    pub(crate) freshness: Freshness,
}

/// The primary's mutations under one ballot, in decree order (L1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    pub(crate) ballot: Ballot,
    /// The decree that comes next.
    pub(crate) next: Decree,
    /// Up to where they are in the log, as safely as the durability asks.
    pub(crate) flushed: Decree,
}

/// The primary seems to be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Succession {
    pub(crate) at: Instant,
    /// A sign of life from the primary's node after this moment calls it off; nothing does if the primary itself gave up.
    pub(crate) unless_heard_since: Option<Instant>,
}

impl Follower {
    pub(crate) fn of(primary: NodeId) -> Self {
        Self {
            primary,
            resumed: false,
            stream: None,
            truncate_ack: None,
            succession: None,
            join_at: Instant::default(),
            joins: 0,
            freshness: Freshness::default(),
        }
    }

    /// When it wants to be woken. `member`: a learner asks for nothing, its primary will go on or give up.
    pub(crate) fn deadline(&self, member: bool) -> Option<Instant> {
        let succession = self.succession.map(|succession| succession.at);
        let join = (member && self.stream.is_none()).then_some(self.join_at);
        [succession, join].into_iter().flatten().min()
    }
}

impl Stream {
    pub(crate) fn new(ballot: Ballot, flushed: Decree) -> Self {
        Self {
            ballot,
            next: flushed.next(),
            flushed,
        }
    }
}

impl Replica {
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match &self.role {
            Role::Follower(follower) => follower.stream.as_ref(),
            Role::Inactive | Role::Primary(_) => None,
        }
    }

    pub(crate) fn set_stream(&mut self, stream: Stream) {
        if let Role::Follower(follower) = &mut self.role {
            follower.stream = Some(stream);
        }
    }

    /// Whether a message under `ballot` comes from the primary that this replica follows. Answers it if not.
    pub(crate) fn follows(&self, from: NodeId, ballot: Ballot, actions: &mut Vec<Action>) -> bool {
        if ballot < self.ballot() {
            if planted(Bug::ObeysLowerBallots) {
                return true;
            }
            self.send_stale(from, actions);
            return false;
        }
        // Of a higher ballot this replica learns by the truncate, which is sent until it is acknowledged.
        match &self.role {
            Role::Follower(follower) => ballot == self.ballot() && follower.primary == from,
            Role::Inactive if ballot == self.ballot() => {
                let message = Message::NotMember { ballot };
                actions.push(Action::Send { to: from, message });
                false
            }
            Role::Inactive | Role::Primary(_) => false,
        }
    }

    /// L2: lower ballots are rejected for ever, and their owners are told.
    pub(crate) fn send_stale(&self, to: NodeId, actions: &mut Vec<Action>) {
        if let Some(configuration) = self.configuration.clone() {
            let message = Message::Stale { configuration };
            actions.push(Action::Send { to, message });
        }
    }

    /// Asks the primary for a stream: after a restart, or when its truncate was lost. A primary that is none any more says so, and
    /// what it knows; without this, a secondary whose own takeover was stored while it was down would never hear of it.
    /// One that was silent before it became the primary, or before this replica heard of it, is told of by nobody.
    pub(crate) fn join(&mut self, now: Instant, leases: &Leases, actions: &mut Vec<Action>) {
        let (ballot, member) = (self.ballot(), self.is_member());
        let resend = self.settings.resend;
        if let Role::Follower(follower) = &mut self.role
            && (member && follower.stream.is_none() && follower.join_at <= now)
        {
            follower.join_at = now + resend * (1 << follower.joins.min(5));
            follower.joins += 1;
            let (to, message) = (follower.primary, Message::Join { ballot });
            actions.push(Action::Send { to, message });
            if leases.silent(to, now) {
                self.peer_lost(now, to, actions);
            }
        }
    }

    /// C2: a primary makes itself known under its ballot.
    pub(crate) fn on_truncate(
        &mut self,
        from: NodeId,
        configuration: Configuration,
        first: Decree,
        last: Decree,
        actions: &mut Vec<Action>,
    ) {
        let ballot = configuration.ballot;
        if configuration.primary.node != from {
            return;
        }
        if matches!(self.standing, Standing::Blank | Standing::Deleting) {
            // C5: this disk knows of no copy.
            let message = Message::NotMember { ballot };
            actions.push(Action::Send { to: from, message });
            return;
        }
        if ballot > self.ballot() {
            self.install(configuration, actions);
        }
        if !self.follows(from, ballot, actions) {
            return;
        }
        let begun = self.stream().is_some_and(|stream| stream.ballot == ballot);
        if !begun && !self.begin_stream(ballot, first, last, actions) {
            return;
        }
        self.vouch(from);
        let barrier = self.appends.next();
        if let Role::Follower(follower) = &mut self.role {
            follower.truncate_ack.get_or_insert(barrier);
        }
        self.acknowledge_truncate(actions);
    }

    /// Cuts what the new primary does not have, and expects its prepares. Says no if that cannot be right.
    fn begin_stream(
        &mut self,
        ballot: Ballot,
        first: Decree,
        last: Decree,
        actions: &mut Vec<Action>,
    ) -> bool {
        if let Standing::Learning(learn) = &self.standing {
            // A learner's base is its own affair; the stream waits until it is there.
            if matches!(learn.progress, Progress::Streaming | Progress::Marking) {
                let next = first
                    .max(self.prepared.committed().next())
                    .min(self.prepared.prepared().next());
                self.set_stream(Stream::new(ballot, next.previous()));
            }
            return true;
        }
        // Everything committed is on every member. A primary that lacks some of it, or assumes what is not here, is wrong about one
        // of us: without an answer it serves nothing.
        if self.prepared.committed() > last.max(first.previous()) {
            return false;
        }
        // C2: only records of lower ballots.
        if self.prepared.cut(last, |mutation| {
            (mutation.ballot < ballot || planted(Bug::CutsOwnBallot)) && !planted(Bug::CutsNothing)
        }) {
            let body = RecordBody::Truncate {
                ballot,
                decree: last,
            };
            self.appends
                .append(body, Written::Truncate, Flush::Synced, actions);
            actions.push(Action::Unstage {
                above: self.prepared.prepared(),
            });
        }
        if first > self.prepared.prepared().next() {
            return false;
        }
        // L1: after a restart, what is in the log under this ballot already is acknowledged, not appended again.
        // What RocksDB has by then is not in the list any more, and nothing can cut it.
        let mut next = first;
        if matches!(&self.role, Role::Follower(follower) if follower.resumed) {
            next = next.max(self.prepared.committed().next());
        }
        while next > self.prepared.committed()
            && self
                .prepared
                .get(next)
                .is_some_and(|known| known.ballot == ballot)
        {
            next = next.next();
        }
        self.set_stream(Stream::new(ballot, next.previous()));
        true
    }

    /// Sends the acknowledgement of the truncate when its record, and the configuration's before it, are on disk (L2).
    fn acknowledge_truncate(&mut self, actions: &mut Vec<Action>) {
        let (ballot, incarnation) = (self.ballot(), self.identity.incarnation);
        let signature = self.standing.signature();
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        if follower.truncate_ack.is_some_and(|barrier| {
            self.appends.flushed_below(barrier) || planted(Bug::AcknowledgesEarly)
        }) {
            follower.truncate_ack = None;
            let message = Message::TruncateAck {
                ballot,
                signature,
                incarnation,
            };
            actions.push(Action::Send {
                to: follower.primary,
                message,
            });
        }
    }

    pub(crate) fn on_prepare(
        &mut self,
        from: NodeId,
        mutation: Mutation,
        committed: Decree,
        actions: &mut Vec<Action>,
    ) {
        if self.follows(from, mutation.ballot, actions) {
            let begun = self
                .stream()
                .is_some_and(|stream| stream.ballot == mutation.ballot);
            if planted(Bug::NeedsNoTruncate) && self.is_member() && !begun {
                let next = mutation.decree.min(self.prepared.prepared().next());
                self.set_stream(Stream::new(mutation.ballot, next.previous()));
            }
            self.take_in(mutation, true, actions);
            self.follow_commit(committed, actions);
        }
    }

    pub(crate) fn on_learn_log(
        &mut self,
        from: NodeId,
        (ballot, signature): (Ballot, LearnSignature),
        mutations: Vec<Mutation>,
        committed: Decree,
        actions: &mut Vec<Action>,
    ) {
        let learning =
            matches!(&self.standing, Standing::Learning(learn) if learn.signature == signature);
        if !self.follows(from, ballot, actions) || !learning {
            return;
        }
        let last = mutations.last().map(|mutation| mutation.decree);
        for mutation in mutations {
            let acknowledge = Some(mutation.decree) == last;
            self.take_in(mutation, acknowledge, actions);
        }
        self.follow_commit(committed, actions);
    }

    /// L1: appends the next mutation of the stream; answers for one that is there already; leaves one that comes too early to
    /// the primary, who sends it again.
    fn take_in(&mut self, mutation: Mutation, acknowledge: bool, actions: &mut Vec<Action>) {
        let ballot = self.ballot();
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let Some(stream) = follower
            .stream
            .as_mut()
            .filter(|stream| stream.ballot == ballot)
        else {
            return;
        };
        let decree = mutation.decree;
        if decree < stream.next && !planted(Bug::AppendsAgain) {
            if acknowledge && decree <= stream.flushed {
                self.acknowledge(actions);
            }
            return;
        }
        if decree > stream.next && !planted(Bug::TakesEarlyPrepares) {
            return;
        }
        let known = self.prepared.get(decree);
        if known.is_some_and(|known| {
            known.effects != mutation.effects || known.timestamp != mutation.timestamp
        }) && !planted(Bug::CutsNothing)
        {
            // Two mutations for one decree: this copy is not what it believes to be. It does not go on as one.
            let (to, message) = (follower.primary, Message::NotMember { ballot });
            actions.push(Action::Send { to, message });
            return;
        }
        stream.next = stream.next.max(decree.next());
        if planted(Bug::AcknowledgesBeforeFlush) {
            stream.flushed = stream.flushed.max(decree);
        }
        let new = decree > self.prepared.prepared();
        if new {
            self.prepared.push(mutation.clone());
        } else if decree > self.prepared.committed() {
            self.prepared.raise(decree, mutation.ballot);
        }
        let flush = self.flush_mutation();
        let body = RecordBody::Mutation(mutation.clone());
        self.appends.append(
            body,
            Written::Mutation {
                ballot,
                decree,
                acknowledge,
            },
            flush,
            actions,
        );
        if new {
            actions.push(Action::Stage(mutation));
        }
    }

    pub(crate) fn on_committed(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        committed: Decree,
        actions: &mut Vec<Action>,
    ) {
        if self.follows(from, ballot, actions) {
            self.follow_commit(committed, actions);
            self.acknowledge(actions);
        }
    }

    /// Commits what the primary committed, as far as this stream brought it: a leftover of a lower ballot may be another mutation.
    pub(crate) fn follow_commit(&mut self, committed: Decree, actions: &mut Vec<Action>) {
        let ballot = self.ballot();
        let Some(stream) = self.stream().filter(|stream| stream.ballot == ballot) else {
            return;
        };
        let up_to = committed.min(stream.next.previous());
        if up_to > self.prepared.committed() {
            self.prepared.commit(up_to, 0);
            actions.push(Action::Commit { up_to });
        }
    }

    /// C3, C4: says how far the stream is on disk, under which ballot and by which learn.
    pub(crate) fn acknowledge(&self, actions: &mut Vec<Action>) {
        let Role::Follower(follower) = &self.role else {
            return;
        };
        let ballot = self.ballot();
        // L2: what was there before the ballot could be acknowledged sooner than the ballot is on disk.
        let early = self.persisted < ballot && !planted(Bug::AcknowledgesEarly);
        let Some(stream) = follower
            .stream
            .filter(|stream| stream.ballot == ballot && !early)
        else {
            return;
        };
        let message = Message::PrepareAck {
            ballot,
            prepared: stream.flushed,
            committed: self.prepared.committed(),
            signature: self.standing.signature(),
        };
        actions.push(Action::Send {
            to: follower.primary,
            message,
        });
    }

    /// A mutation of the stream is in the log.
    pub(crate) fn stream_flushed(
        &mut self,
        ballot: Ballot,
        decree: Decree,
        acknowledge: bool,
        actions: &mut Vec<Action>,
    ) {
        if let Role::Follower(follower) = &mut self.role
            && let Some(stream) = follower
                .stream
                .as_mut()
                .filter(|stream| stream.ballot == ballot)
        {
            stream.flushed = stream.flushed.max(decree);
            if acknowledge {
                self.acknowledge(actions);
            }
        }
    }

    /// Something of the follower's came back from the log.
    pub(crate) fn after_flush(&mut self, actions: &mut Vec<Action>) {
        self.acknowledge_truncate(actions);
    }
}
