//! What can happen in the log model, and how much of it.

use super::bounds::{Bounds, Durability, Start};
use super::message::{Message, Network};
use super::state::{Base, Configuration, DECREES, ORIGINAL, Replica, Reset, Role, Standing, State};
use crate::Omission;
use crate::node::{NODES, Node, nodes, renamed, renamed_set, renaming};
use foldhash::fast::FixedState;
use smallvec::smallvec;
use stateright::{Model, Property};
use std::hash::{BuildHasher, Hash, Hasher};

/// The log model.
#[derive(Clone, Debug)]
pub struct LogModel {
    /// How far it goes.
    pub bounds: Bounds,
    /// What is left out of the rules.
    pub without: Option<Omission>,
    /// Whether states that differ by a renaming of nodes are one. Without it, traces are easier to read.
    pub symmetry: bool,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The primary evaluates a write.
    Write(Node),
    /// Whatever the node appended is on its disk.
    Sync(Node),
    /// The primary commits the next decree.
    Commit(Node),
    /// A message arrives.
    Receive(Node, Message),
    /// A follower commits the next decree that its primary committed.
    FollowCommit(Node),
    /// The node hears that a configuration is stored.
    Hear(Node, u8),
    /// The node proposes a configuration.
    Propose(Node, Configuration),
    /// C1 left out: the node gives up waiting for an answer.
    GiveUp(Node),
    /// The meta leader stores a proposal.
    Store(Configuration),
    /// The process crashes and starts again, RocksDB having everything up to this decree.
    Restart(Node, u8),
    /// The machine crashes and starts again, RocksDB having everything up to this decree.
    LosePower(Node, u8),
    /// The node's disk is replaced by an empty one.
    EmptyDisk(Node),
    /// C6: all members lost power, and this one goes on alone.
    Survive(Node),
    /// The primary offers a node to learn.
    Offer(Node, Node),
    /// The primary finds that its learner has everything.
    Complete(Node),
    /// The primary gives its learner up.
    Dismiss(Node),
    /// The primary sends its learner a checkpoint of this decree.
    Checkpoint(Node, u8),
    /// The learner's checkpoint is in place.
    Install(Node),
}

impl LogModel {
    /// Whether the rules are kept in this point.
    pub(super) fn keeps(&self, omission: Omission) -> bool {
        self.without != Some(omission)
    }

    pub(super) fn buffered(&self) -> bool {
        self.bounds.durability == Durability::Buffered
    }

    fn act(&self, state: &mut State, act: Act) {
        match act {
            Act::Write(node) => Self::write(state, node),
            Act::Sync(node) => state.at_mut(node).disk = state.at(node).log,
            Act::Commit(node) => self.commit(state, node),
            Act::Receive(node, message) => self.receive(state, node, message),
            Act::FollowCommit(node) => state.at_mut(node).committed += 1,
            Act::Hear(node, ballot) => self.install(state, node, ballot),
            Act::Propose(node, configuration) => self.propose(state, node, configuration),
            Act::GiveUp(node) => state.at_mut(node).proposal = None,
            Act::Store(configuration) => {
                state.stored.push(configuration);
                state.proposed.clear();
            }
            Act::Restart(node, applied) => self.restart(state, node, applied),
            Act::LosePower(node, applied) => self.lose_power(state, node, applied),
            Act::EmptyDisk(node) => Self::empty_disk(state, node),
            Act::Survive(node) => Self::survive(state, node),
            Act::Offer(node, to) => Self::offer(state, node, to),
            Act::Complete(node) => self.complete(state, node),
            Act::Dismiss(node) => Self::dismiss(state, node),
            Act::Checkpoint(node, decree) => Self::send_checkpoint(state, node, decree),
            Act::Install(node) => self.install_checkpoint(state, node),
        }
    }

    fn receive(&self, state: &mut State, node: Node, message: Message) {
        match message {
            Message::Truncate {
                ballot,
                first,
                last,
            } => self.take_truncate(state, node, ballot, first, last),
            Message::Prepare {
                ballot,
                decree,
                value,
                base,
            } => self.take_prepare(state, node, ballot, decree, (value, base)),
            Message::Offer { ballot, learn, .. } => self.take_offer(state, node, ballot, learn),
            Message::Checkpoint { learn, decree } => {
                self.take_checkpoint(state, node, learn, decree);
            }
            Message::Complete { ballot, learn } => self.mark(state, node, ballot, learn),
            // Looked up, where they count.
            Message::Committed { .. }
            | Message::TruncateAck { .. }
            | Message::Ack { .. }
            | Message::Ready { .. } => {}
        }
    }

    /// Drops messages that can make no difference any more.
    fn tidy(&self, state: &mut State) {
        // What nobody heeds under the rules, somebody does with these left out.
        let heeded = [
            Omission::L2Forgets,
            Omission::L2Lower,
            Omission::L3Leads,
            Omission::C3AnyBallot,
            Omission::C5Configuration,
        ];
        if self
            .without
            .is_some_and(|omission| heeded.contains(&omission))
        {
            return;
        }
        let mut network = std::mem::take(&mut state.network);
        network.forget(|message| !self.heeded(state, message));
        state.network = network;
    }

    /// Whether some node could still heed a message: it has no higher ballot on its disk (L2), and is or may become a follower of the
    /// message's primary; or it is that primary, who leads but once (L3).
    fn heeded(&self, state: &State, message: Message) -> bool {
        let ballot = message.ballot();
        let Some(configuration) = state.configuration(ballot) else {
            return false;
        };
        let primary = configuration.primary;
        match message {
            Message::TruncateAck { .. } | Message::Ack { .. } | Message::Ready { .. } => {
                let leader = state.at(primary);
                leader.known == ballot && matches!(leader.role, Role::Primary { .. })
            }
            Message::Offer { to, .. } => state.at(to).ballot <= ballot,
            Message::Checkpoint { learn, .. } => nodes().any(|node| {
                let replica = state.at(node);
                replica.standing == Standing::Learning(learn)
                    && !matches!(replica.base, Base::CutOff { .. })
                    || replica.standing.learn() < learn && replica.ballot <= ballot
            }),
            Message::Truncate { .. }
            | Message::Prepare { .. }
            | Message::Committed { .. }
            | Message::Complete { .. } => nodes().any(|node| {
                let replica = state.at(node);
                node != primary
                    && replica.ballot <= ballot
                    && (configuration.contains(node) || self.bounds.faults.learns > 0)
            }),
        }
    }

    /// Puts the nodes in an order that depends on no names.
    fn rename(state: &mut State) {
        let renaming = renaming(|node| {
            let mut hasher = FixedState::default().build_hasher();
            let own = |configuration: &Configuration| {
                let learn = configuration.learns[usize::from(node)];
                (configuration.primary == node, learn)
            };
            let replica = state.at(node);
            let role = match replica.role {
                Role::Primary {
                    last,
                    reconciled,
                    learn,
                    offers,
                    ..
                } => Role::Primary {
                    last,
                    reconciled,
                    learner: 0,
                    learn,
                    offers,
                },
                role => role,
            };
            let (ballot, standing) = (replica.ballot, replica.standing);
            (ballot, standing, replica.epoch, replica.promised).hash(&mut hasher);
            (replica.disk, replica.log, replica.known).hash(&mut hasher);
            let proposal: Option<Configuration> = None;
            (replica.committed, replica.served, role, proposal).hash(&mut hasher);
            // Else all searches without holes would meet equal states in another order, and count some of them anew.
            if (replica.reset, replica.base) != (Reset::Log, Base::Good) {
                (replica.reset, replica.base).hash(&mut hasher);
            }
            for configuration in &state.stored {
                own(configuration).hash(&mut hasher);
            }
            let proposals = || {
                state
                    .replicas
                    .iter()
                    .filter_map(|replica| replica.proposal.as_ref())
            };
            state.at(node).proposal.as_ref().map(own).hash(&mut hasher);
            let named = proposals().filter(|proposal| proposal.contains(node));
            let leads = proposals().filter(|proposal| proposal.primary == node);
            (named.count(), leads.count()).hash(&mut hasher);
            for message in state.network.iter().filter_map(|message| message.of(node)) {
                message.hash(&mut hasher);
            }
            hasher.finish()
        });
        let configuration = |old: &mut Configuration| {
            old.primary = renaming[usize::from(old.primary)];
            old.learns = renamed(&old.learns, renaming);
        };
        state.stored.iter_mut().for_each(configuration);
        state.proposed.iter_mut().for_each(configuration);
        state.proposed.sort_unstable();
        state.replicas = renamed(&state.replicas, renaming);
        for replica in &mut state.replicas {
            replica.proposal.iter_mut().for_each(configuration);
            if let Role::Primary { learner, learn, .. } = &mut replica.role
                && *learn != 0
            {
                *learner = renaming[usize::from(*learner)];
            }
        }
        state.network.rename(renaming);
        state.emptied = renamed_set(state.emptied, renaming);
        for witnesses in &mut state.witnesses {
            *witnesses = renamed_set(*witnesses, renaming);
        }
    }
}

impl Model for LogModel {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        assert!(
            usize::from(self.bounds.decrees) <= DECREES,
            "a log holds {DECREES} decrees"
        );
        assert!(
            !(self.holes() && self.buffered()),
            "a checkpoint has what clients were told, which a power loss may take back"
        );
        let member = |node| u8::from(node < self.bounds.members) * ORIGINAL;
        let configuration = Configuration {
            primary: 0,
            learns: [member(0), member(1), member(2)],
            epoch: 0,
        };
        let replica = |node| {
            Replica::fresh(if configuration.contains(node) {
                Standing::Whole(ORIGINAL)
            } else {
                Standing::Blank
            })
        };
        let mut state = State {
            stored: smallvec![configuration],
            proposed: smallvec![],
            replicas: [replica(0), replica(1), replica(2)],
            network: Network::default(),
            acknowledged: [0; DECREES],
            witnesses: [0; DECREES],
            young: [false; DECREES],
            diverged: false,
            ungrounded: false,
            emptied: 0,
            left: self.bounds.faults,
        };
        // They begin where a first ballot has nothing to clear up: everybody follows the primary.
        for node in nodes().filter(|&node| configuration.contains(node)) {
            self.install(&mut state, node, 1);
            state.at_mut(node).ballot = 1;
        }
        for node in nodes().filter(|&node| node > 0 && configuration.contains(node)) {
            self.take_truncate(&mut state, node, 1, 1, 0);
        }
        if self.bounds.start == Start::Deposed {
            let taken = Configuration {
                primary: 1,
                learns: [0, ORIGINAL, 0],
                epoch: 0,
            };
            let (write, sync) = (Act::Write(0), Act::Sync(0));
            let takeover = [Act::Propose(1, taken), Act::Store(taken), Act::Hear(1, 2)];
            for act in [write, write, sync].into_iter().chain(takeover) {
                self.act(&mut state, act);
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        for node in nodes() {
            self.lead_acts(state, node, acts);
            self.follow_acts(state, node, acts);
            self.propose_acts(state, node, acts);
            self.learn_acts(state, node, acts);
            self.hole_acts(state, node, acts);
            self.fault_acts(state, node, acts);
        }
        if state.newest() < self.bounds.ballots {
            acts.extend(state.proposed.iter().map(|&proposed| Act::Store(proposed)));
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut after = before.clone();
        self.act(&mut after, act);
        if after == *before {
            return None;
        }
        self.tidy(&mut after);
        if self.symmetry {
            Self::rename(&mut after);
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties::properties(self)
    }
}

const _: () = assert!(
    NODES == 3,
    "the first configuration is written out for three nodes"
);
