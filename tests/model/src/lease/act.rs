//! What can happen in the lease model, and how much of it.

use super::bounds::Bounds;
use super::state::{Configuration, Exception, Held, Partition, State, Vouch};
use crate::Omission;
use crate::node::{NODES, Node, nodes, renamed, renamed_set, renaming};
use foldhash::fast::FixedState;
use smallvec::{SmallVec, smallvec};
use stateright::{Model, Property};
use std::hash::{BuildHasher, Hash, Hasher};

/// The lease model.
#[derive(Clone, Debug)]
pub struct LeaseModel {
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
    /// Time passes, for all clocks but perhaps one.
    Tick(Option<Node>),
    /// A beacon and its answer: this node grants to that one.
    Grant(Node, Node),
    /// Exceptions arrive without a grant, from this node at that one.
    Notice(Node, Node),
    /// The acknowledgement of an exception of this node arrives from that one.
    Settle(usize, Node, Node),
    /// The node hears that a configuration is stored.
    Hear(usize, Node, u8),
    /// The node takes the truncate of the ballot's primary, and vouches for it.
    Follow(usize, Node, u8),
    /// A new primary's list is committed, and it begins to serve.
    Serve(usize, Node),
    /// The primary commits a write, and its client is told.
    Write(usize, Node),
    /// The node proposes a configuration.
    Propose(usize, Node, Configuration),
    /// The meta leader stores a proposal.
    Store(usize, Configuration),
    /// The primary teaches a node, and that is ready.
    Teach(usize, Node, Node),
    /// The node restarts.
    Restart(Node),
}

impl LeaseModel {
    /// Whether the rules are kept in this point.
    pub(super) fn keeps(&self, omission: Omission) -> bool {
        self.without != Some(omission)
    }

    fn act(&self, state: &mut State, act: Act) {
        match act {
            Act::Tick(slow) => Self::tick(state, slow),
            Act::Grant(grantor, holder) => self.grant(state, grantor, holder),
            Act::Notice(grantor, holder) => self.notice(state, grantor, holder),
            Act::Settle(partition, grantor, holder) => {
                state.partitions[partition].settle(grantor, holder);
            }
            Act::Hear(partition, node, ballot) => self.install(state, partition, node, ballot),
            Act::Follow(partition, node, ballot) => self.follow(state, partition, node, ballot),
            Act::Serve(partition, node) => {
                let partition = &mut state.partitions[partition];
                partition.serves |= 1 << node;
                partition.current |= 1 << node;
            }
            Act::Write(partition, node) => state.partitions[partition].current = 1 << node,
            Act::Propose(partition, node, proposed) => {
                state.partitions[partition].propose(node, proposed);
            }
            Act::Store(partition, proposed) => {
                let partition = &mut state.partitions[partition];
                partition.stored.push(proposed);
                partition.proposed.clear();
            }
            Act::Teach(partition, teacher, learner) => {
                state.learns -= 1;
                let ballot = state.partitions[partition].known[usize::from(teacher)];
                self.follow(state, partition, learner, ballot);
            }
            Act::Restart(node) => self.restart(state, node),
        }
    }

    fn rename(state: &mut State) {
        let renaming = renaming(|node| {
            let n = usize::from(node);
            let mut hasher = FixedState::default().build_hasher();
            (state.lives[n], state.forgotten[n]).hash(&mut hasher);
            for partition in &state.partitions {
                let own = |configuration: &Configuration| {
                    (configuration.primary == node, configuration.contains(node))
                };
                for configuration in &partition.stored {
                    own(configuration).hash(&mut hasher);
                }
                partition.known[n].hash(&mut hasher);
                partition.proposal[n].as_ref().map(own).hash(&mut hasher);
                for set in [
                    partition.leads,
                    partition.grace_over,
                    partition.serves,
                    partition.current,
                ] {
                    (set & 1 << node).count_ones().hash(&mut hasher);
                }
                for word in partition.follows.iter().filter(|word| word.from == node) {
                    (word.ballot, word.life).hash(&mut hasher);
                }
                sorted(partition.vouched[n]).hash(&mut hasher);
                sorted(partition.exceptions[n]).hash(&mut hasher);
                sorted(partition.barred[n]).hash(&mut hasher);
            }
            sorted(state.held[n]).hash(&mut hasher);
            sorted(state.granted[n]).hash(&mut hasher);
            hasher.finish()
        });
        let set = |old| renamed_set(old, renaming);
        let configuration = |old: &mut Configuration| {
            old.primary = renaming[usize::from(old.primary)];
            old.members = set(old.members);
        };
        for partition in &mut state.partitions {
            partition.stored.iter_mut().for_each(configuration);
            partition.proposed.iter_mut().for_each(configuration);
            partition.proposed.sort_unstable();
            partition.known = renamed(&partition.known, renaming);
            partition.proposal = renamed(&partition.proposal, renaming);
            partition
                .proposal
                .iter_mut()
                .flatten()
                .for_each(configuration);
            for members in [
                &mut partition.leads,
                &mut partition.grace_over,
                &mut partition.serves,
                &mut partition.current,
            ] {
                *members = set(*members);
            }
            for word in &mut partition.follows {
                word.from = renaming[usize::from(word.from)];
            }
            partition.follows.sort_unstable();
            partition.vouched = pairs(partition.vouched, |row| renamed(row, renaming), renaming);
            partition.exceptions =
                pairs(partition.exceptions, |row| renamed(row, renaming), renaming);
            partition.barred = pairs(partition.barred, |row| renamed(row, renaming), renaming);
            partition.promised = pairs(partition.promised, |row| renamed(row, renaming), renaming);
        }
        state.lives = renamed(&state.lives, renaming);
        state.held = pairs(state.held, |row| renamed(row, renaming), renaming);
        state.granted = pairs(state.granted, |row| renamed(row, renaming), renaming);
        state.forgotten = renamed(&state.forgotten, renaming);
        // The partitions are alike, too.
        state
            .partitions
            .sort_by_cached_key(|partition| FixedState::default().hash_one(partition));
    }
}

/// What a node has about each other, whoever that is.
fn sorted<T: Ord>(mut row: [T; NODES]) -> [T; NODES] {
    row.sort_unstable();
    row
}

/// What each node has about each other, under their new numbers.
fn pairs<T: Copy>(
    mut old: [[T; NODES]; NODES],
    row: impl Fn(&[T; NODES]) -> [T; NODES],
    renaming: [Node; NODES],
) -> [[T; NODES]; NODES] {
    for about in &mut old {
        *about = row(about);
    }
    renamed(&old, renaming)
}

impl Model for LeaseModel {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let members = (1 << self.bounds.members) - 1;
        let partition = Partition {
            stored: smallvec![Configuration {
                primary: 0,
                members
            }],
            proposed: smallvec![],
            known: [0; NODES],
            proposal: [None; NODES],
            leads: 0,
            grace_over: 0,
            serves: 0,
            current: 0b111,
            follows: smallvec![],
            vouched: [[Vouch::Never; NODES]; NODES],
            exceptions: [[Exception::default(); NODES]; NODES],
            barred: [[0; NODES]; NODES],
            promised: [[0; NODES]; NODES],
        };
        let partitions: SmallVec<[Partition; 2]> =
            std::iter::repeat_n(partition, usize::from(self.bounds.partitions)).collect();
        let mut state = State {
            partitions,
            lives: [1; NODES],
            held: [[Held::default(); NODES]; NODES],
            granted: [[0; NODES]; NODES],
            forgotten: [0; NODES],
            restarts: self.bounds.restarts,
            missed: self.bounds.missed,
            learns: self.bounds.learns,
        };
        // They begin where everybody follows a first primary, who serves.
        for partition in 0..usize::from(self.bounds.partitions) {
            self.install(&mut state, partition, 0, 1);
            for node in 1..self.bounds.members {
                self.follow(&mut state, partition, node, 1);
            }
            let partition = &mut state.partitions[partition];
            (partition.grace_over, partition.serves) = (1, 1);
        }
        vec![state]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        acts.push(Act::Tick(None));
        if state.missed > 0 {
            acts.extend(nodes().map(|slow| Act::Tick(Some(slow))));
        }
        for node in nodes() {
            self.beacon_acts(state, node, acts);
            if state.restarts > 0 {
                acts.push(Act::Restart(node));
            }
            for partition in 0..state.partitions.len() {
                self.change_acts(state, partition, node, acts);
            }
        }
        for (index, partition) in state.partitions.iter().enumerate() {
            if partition.newest() < self.bounds.ballots {
                acts.extend(
                    partition
                        .proposed
                        .iter()
                        .map(|&proposed| Act::Store(index, proposed)),
                );
            }
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut after = before.clone();
        self.act(&mut after, act);
        for partition in 0..after.partitions.len() {
            self.settle_grace(&mut after, partition);
            after.partitions[partition].tidy();
        }
        if after == *before {
            return None;
        }
        if self.symmetry {
            Self::rename(&mut after);
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties::properties()
    }
}
