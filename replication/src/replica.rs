//! The replica: its state, its one entrance, and what it can be asked.
//!
//! This file only leads to the others: `install` (what a new configuration makes of the replica), `primary`, `serving` and `teaching`
//! (the primary's side), `follower`, `freshness` and `learning` (the other side), `proposing` (changes of configuration). It decides nothing
//! but which of them an event concerns.

use crate::appends::{Appends, Written};
use crate::follower::Follower;
use crate::learning::ALL_SYNCED;
use crate::planted::{Bug, planted};
use crate::prepared::PreparedList;
use crate::primary::Primary;
use crate::proposing::Proposal;
use crate::{
    Action, Event, Flush, Leases, Message, MetaStream, Recovered, RoleKind, Settings, Standing,
};
use std::sync::Arc;
use types::{
    Ballot, BootId, Configuration, Decree, Durability, Incarnation, Instant, NodeId, PartitionId,
    RecordBody,
};

/// Which replica this is, where, and in which life of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node.
    pub me: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its machine's life.
    pub boot: BootId,
    /// The partition.
    pub partition: PartitionId,
    /// How safely the table's writes are on disk before they count.
    pub durability: Durability,
    /// Under which ballot this life of the node last deleted a replica of the partition. Offers of lower ones are late repetitions: a learn
    /// by one of them would bear the name of a learn that others may count on (C5).
    pub deleted: Ballot,
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    pub(crate) identity: Identity,
    pub(crate) settings: Arc<Settings>,
    pub(crate) standing: Standing,
    /// Whether what is committed here is a prefix of `epoch`'s history, beyond doubt.
    pub(crate) sound: bool,
    /// The recovery epoch of this copy's data (C6).
    pub(crate) epoch: u64,
    /// The learn that made the copy which was found damaged in this life of the node.
    pub(crate) ruined: types::LearnSignature,
    /// Whether this copy was ever a member by its present signature: then no proposal can name it any more as a learner.
    pub(crate) served: bool,
    pub(crate) configuration: Option<Configuration>,
    /// L2: the highest ballot that is on disk.
    pub(crate) persisted: Ballot,
    pub(crate) prepared: PreparedList,
    pub(crate) appends: Appends,
    pub(crate) role: Role,
    announced: RoleKind,
    /// C1: the proposal that may have been stored.
    pub(crate) proposal: Option<Proposal>,
    /// C6: a proposal was made at this ballot, in this life or an earlier one.
    pub(crate) proposed: Option<Ballot>,
    pub(crate) boot_marked: BootId,
    /// R2, R3: whom this replica let count on it, in this life of the node.
    pub(crate) vouched: Vec<Vouched>,
    pub(crate) meta: MetaStream,
    /// When to tell the secondaries of a configuration that its primary, this replica, is none; when a restarted primary proposes itself.
    pub(crate) restart_at: Option<Instant>,
    stopped: bool,
}

/// What a replica is.
#[derive(Debug)]
pub(crate) enum Role {
    /// No member, no learner.
    Inactive,
    /// Secondary or learner, which `Replica::is_member` tells apart.
    Follower(Follower),
    Primary(Box<Primary>),
}

/// A primary that was told it may count on this node, and below which ballot it was told otherwise since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vouched {
    pub(crate) holder: NodeId,
    pub(crate) excepted: Option<Ballot>,
}

/// What a replica tells the meta leader of itself, also where no primary does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// What it is.
    pub role: RoleKind,
    /// The newest configuration it knows to be stored.
    pub configuration: Option<Configuration>,
    /// Whether the learn that made this copy has ended, or it is there from the first configuration (C5).
    pub ready: bool,
    /// Whole but for what its machine had not synced when it stopped (C6).
    pub unsynced: bool,
    /// Its log or storage are damaged, or it is not what the others have (C5).
    pub damaged: bool,
    /// The recovery epoch of its data (C6).
    pub epoch: u64,
    /// The ballot of its newest mutation (C6).
    pub last_ballot: Ballot,
    /// Up to where it has mutations.
    pub prepared: Decree,
    /// Up to where it knows them to be committed.
    pub committed: Decree,
    /// The learn that made this copy, or is making it.
    pub signature: types::LearnSignature,
}

impl Replica {
    /// A replica that knows nothing, to be created or taught.
    pub fn new(identity: Identity, settings: Arc<Settings>) -> Self {
        Self {
            identity,
            settings,
            standing: Standing::Blank,
            sound: false,
            epoch: 0,
            ruined: types::LearnSignature::default(),
            served: false,
            configuration: None,
            persisted: Ballot::ZERO,
            prepared: PreparedList::default(),
            appends: Appends::default(),
            role: Role::Inactive,
            announced: RoleKind::Inactive,
            proposal: None,
            proposed: None,
            boot_marked: ALL_SYNCED,
            vouched: Vec::new(),
            meta: MetaStream::Down,
            restart_at: None,
            stopped: false,
        }
    }

    /// A replica after a restart of its node. Whatever it prepared is staged in the engine again.
    pub fn recover(
        identity: Identity,
        settings: Arc<Settings>,
        recovered: Recovered,
        actions: &mut Vec<Action>,
    ) -> Self {
        let restart = recovered.finish(&identity);
        let mut replica = Self::new(identity, settings);
        replica.standing = restart.standing;
        replica.sound = restart.sound;
        replica.epoch = restart.epoch;
        replica.proposed = restart.proposed;
        replica.boot_marked = restart.boot;
        replica.prepared = PreparedList::recovered(restart.committed, restart.last_ballot);
        for mutation in restart.mutations {
            replica.prepared.push(mutation.clone());
            actions.push(Action::Stage(mutation));
        }
        replica.configuration = restart.configuration;
        replica.persisted = replica.ballot();
        if replica.identity.durability == Durability::Sync {
            // Where everything is synced no proposal is recorded. One of an earlier life counts all the same, should that change (C6).
            replica.proposed = Some(replica.ballot());
        }
        replica.wake(actions);
        replica.announce(actions);
        replica
    }

    /// Takes in one event at `now` and appends to `actions` what the shell must do, in order.
    pub fn step(&mut self, now: Instant, leases: &Leases, event: Event, actions: &mut Vec<Action>) {
        if self.stopped && !matches!(event, Event::LogFlushed { .. }) {
            return;
        }
        match event {
            Event::Submit { timestamp, effects } => self.submit(timestamp, effects, actions),
            Event::Received { from, message } => {
                self.receive(now, leases, from, message, actions);
            }
            Event::FreshnessWanted { bound } => self.ask_freshness(now, bound, actions),
            Event::LogFlushed { number } => self.log_flushed(now, number, actions),
            Event::Tick => self.tick(now, leases, actions),
            Event::PeerLost { node } => self.peer_lost(now, node, actions),
            Event::PeerRestarted { node, life } => self.peer_restarted(now, node, life, actions),
            Event::ExceptionAcknowledged => {}
            Event::ConfigurationKnown(configuration) => {
                self.configuration_known(configuration, actions);
            }
            Event::MetaStream(meta) => self.meta_stream(now, meta, actions),
            Event::Create => self.create(actions),
            Event::AddLearner { ballot, node } => self.add_learner(now, ballot, node, actions),
            Event::RemoveSecondary { ballot, node } => {
                self.remove_secondary(now, ballot, node, actions);
            }
            Event::SettingsChanged(settings) => self.settings = settings,
            Event::LogRead {
                learner,
                signature,
                outcome,
            } => {
                self.log_read(now, learner, signature, outcome, actions);
            }
            Event::CheckpointDelivered {
                learner,
                signature,
                decree,
            } => {
                self.checkpoint_delivered(now, learner, signature, decree, actions);
            }
            Event::CheckpointFailed { learner, signature } => {
                self.checkpoint_failed(learner, signature, actions);
            }
            Event::CheckpointReceived { signature, decree } => {
                self.checkpoint_received(signature, decree, actions);
            }
            Event::CheckpointInstalled { signature, decree } => {
                self.checkpoint_installed(signature, decree, actions);
            }
            Event::HandOver { to, then } => self.hand_over(to, then, actions),
            Event::CopyDiffers { node } => self.copy_differs(node, actions),
            Event::Damaged => self.damaged(actions),
            Event::Shutdown => self.shut_down(actions),
            Event::Delete(deletion) => self.delete(deletion, actions),
        }
        self.drive(now, leases, actions);
        self.announce(actions);
    }

    fn receive(
        &mut self,
        now: Instant,
        leases: &Leases,
        from: NodeId,
        message: Message,
        actions: &mut Vec<Action>,
    ) {
        match message {
            Message::Truncate {
                configuration,
                first,
                last,
            } => {
                self.on_truncate(from, configuration, first, last, actions);
            }
            Message::TruncateAck {
                ballot,
                signature,
                incarnation,
            } => {
                self.on_truncate_ack(now, from, ballot, signature, incarnation);
            }
            Message::Prepare {
                mutation,
                committed,
            } => {
                self.on_prepare(from, mutation, committed, actions);
            }
            Message::Committed { ballot, committed } => {
                self.on_committed(from, ballot, committed, actions);
            }
            Message::PrepareAck {
                ballot,
                prepared,
                committed,
                signature,
            } => {
                self.on_prepare_ack(now, from, (ballot, signature), prepared, committed);
            }
            Message::AskFreshness(asked) => {
                self.on_ask_freshness(now, from, asked, leases, actions);
            }
            Message::Fresh {
                asked,
                committed,
                time,
            } => self.on_fresh(now, from, asked, (committed, time), actions),
            Message::Stale { configuration } => self.configuration_known(configuration, actions),
            Message::Join { ballot } => self.on_join(now, from, ballot, actions),
            Message::NotMember { ballot } => self.on_not_member(now, from, ballot, actions),
            Message::Resign { ballot } => self.on_resign(now, from, ballot, actions),
            Message::TakeOver { ballot, then } => {
                self.on_take_over(now, from, ballot, then, actions);
            }
            Message::Differs { ballot } => self.on_differs(from, ballot, actions),
            Message::LearnOffer {
                configuration,
                attempt,
            } => {
                self.on_learn_offer(from, configuration, attempt, actions);
            }
            Message::LearnRequest { signature, base } => {
                self.on_learn_request(now, from, signature, base, actions);
            }
            Message::LearnLog {
                ballot,
                signature,
                mutations,
                committed,
            } => {
                self.on_learn_log(from, (ballot, signature), mutations, committed, actions);
            }
            Message::LearnComplete { ballot, signature } => {
                self.on_learn_complete(from, ballot, signature, actions);
            }
            Message::LearnReady {
                ballot,
                signature,
                incarnation,
            } => {
                self.on_learn_ready(now, from, (ballot, signature), incarnation);
            }
        }
    }

    fn log_flushed(&mut self, now: Instant, number: u64, actions: &mut Vec<Action>) {
        self.appends.flushed(number);
        while let Some(written) = self.appends.pop_flushed() {
            match written {
                Written::Mutation {
                    ballot,
                    decree,
                    acknowledge,
                } => match &mut self.role {
                    Role::Primary(primary) if primary.ballot == ballot => {
                        primary.own_flushed(decree, &self.prepared);
                    }
                    _ => self.stream_flushed(ballot, decree, acknowledge, actions),
                },
                Written::Configuration(ballot) => self.ballot_persisted(now, ballot, actions),
                Written::Truncate | Written::Boot | Written::Quarantined => {}
                Written::Reset(signature) => self.reset_flushed(signature, actions),
                Written::Ready(signature) => self.ready_flushed(signature, actions),
                Written::Proposed(ballot) => self.proposal_recorded(now, ballot, actions),
                Written::Deleted => {
                    self.standing = Standing::Blank;
                    actions.push(Action::Delete);
                }
            }
        }
        self.after_flush(actions);
    }

    /// C6: leaves behind that nothing unsynced is missing, so that a machine's orderly restart costs no learn.
    fn shut_down(&mut self, actions: &mut Vec<Action>) {
        self.stopped = true;
        self.role = Role::Inactive;
        if self.identity.durability == Durability::Buffered
            && self.boot_marked == self.identity.boot
        {
            let body = RecordBody::Boot(ALL_SYNCED);
            self.appends
                .append(body, Written::Boot, Flush::Synced, actions);
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    fn announce(&mut self, actions: &mut Vec<Action>) {
        let role = self.role();
        if role != self.announced {
            self.announced = role;
            actions.push(Action::Became(role));
        }
    }

    /// How safe a prepare must be before it is acknowledged. C6: where a proposal may have been made, nothing unsynced is.
    pub(crate) fn flush_mutation(&self) -> Flush {
        match self.identity.durability {
            Durability::Sync => Flush::Synced,
            Durability::Buffered
                if self.proposed >= Some(self.ballot()) && !planted(Bug::AcknowledgesUnsynced) =>
            {
                Flush::Synced
            }
            Durability::Buffered => Flush::Written,
        }
    }

    /// When `Event::Tick` is due; nothing for a replica that waits for nothing.
    pub fn deadline(&self) -> Option<Instant> {
        let role = match &self.role {
            Role::Inactive => None,
            Role::Follower(follower) => follower.deadline(self.is_member()),
            Role::Primary(primary) => primary.deadline(self),
        };
        [role, self.proposal_deadline(), self.restart_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the newest configuration that it knows to be stored makes this node the primary, whatever it is by now.
    pub fn names_itself(&self) -> bool {
        let known = self.configuration.as_ref();
        known.is_some_and(|known| known.primary.node == self.identity.me)
    }

    /// Which partition.
    pub fn partition(&self) -> PartitionId {
        self.identity.partition
    }

    /// What the replica is.
    pub fn role(&self) -> RoleKind {
        match &self.role {
            Role::Inactive => RoleKind::Inactive,
            Role::Follower(_) if self.is_member() => RoleKind::Secondary,
            Role::Follower(_) => RoleKind::Learner,
            Role::Primary(primary) if primary.serves() => RoleKind::Serving,
            Role::Primary(_) => RoleKind::Reconciling,
        }
    }

    /// The highest ballot it knows, which is its newest configuration's.
    pub fn ballot(&self) -> Ballot {
        self.configuration
            .as_ref()
            .map_or(Ballot::ZERO, |known| known.ballot)
    }

    /// The newest configuration that it knows to be stored.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// Up to where it knows mutations to be committed.
    pub fn committed(&self) -> Decree {
        self.prepared.committed()
    }

    /// Up to where it has mutations.
    pub fn prepared(&self) -> Decree {
        self.prepared.prepared()
    }

    /// Whether what its disk has is known to be no copy (C5).
    pub fn is_damaged(&self) -> bool {
        self.standing == Standing::Damaged
    }

    /// C5: whether the newest configuration names this copy, by the learn that this disk knows, and the copy is whole.
    pub fn is_member(&self) -> bool {
        self.configuration
            .as_ref()
            .is_some_and(|known| self.is_member_of(known))
    }

    pub(crate) fn is_member_of(&self, configuration: &Configuration) -> bool {
        let member = configuration.member(self.identity.me);
        member.is_some_and(|member| {
            let whole = self.standing.whole();
            whole == Some(member.signature)
                || planted(Bug::MemberWithoutMark) && self.standing.signature() == member.signature
        })
    }

    /// Whether there is nothing of it on disk or on its way there: the shell may drop it.
    pub fn is_blank(&self) -> bool {
        self.standing == Standing::Blank
    }

    /// What the meta leader may want to know.
    pub fn survey(&self) -> Survey {
        Survey {
            role: self.role(),
            configuration: self.configuration.clone(),
            ready: self.standing.whole().is_some(),
            unsynced: matches!(self.standing, Standing::Unsynced(_)),
            damaged: self.is_damaged(),
            epoch: self.epoch,
            last_ballot: self.prepared.last_ballot(),
            prepared: self.prepared.prepared(),
            committed: self.prepared.committed(),
            signature: self.standing.signature(),
        }
    }
}
