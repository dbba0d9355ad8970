//! The expiry model: a key that was reported gone does not come back (rule R7).
//!
//! One key, which expires; three nodes, whose clocks show anything at any time; takeovers. A primary evaluates at its clock or at the
//! time of its newest mutation, whichever is later. Mutations are only their times, and who has them: every member has what is
//! committed, and a new primary commits what it has before it serves (which the log model shows).

use crate::Omission;
use crate::node::{NODES, Node, nodes};
use stateright::{Model, Property};

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// When the key expires.
    pub expires: u8,
    /// The latest that a clock shows.
    pub latest: u8,
}

/// The expiry model.
#[derive(Clone, Debug)]
pub struct ExpiryModel {
    /// How far it goes.
    pub bounds: Bounds,
    /// What is left out of the rules.
    pub without: Option<Omission>,
}

/// The state of the expiry model.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    primary: Node,
    /// A bit each.
    members: u8,
    /// What each clock shows.
    clocks: [u8; NODES],
    /// The time of each node's newest mutation.
    times: [u8; NODES],
    /// The time of the newest committed mutation.
    committed: u8,
    /// A client was told that the key is gone.
    gone: bool,
    /// And after that, that it is there.
    back: bool,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A clock is set.
    Clock(Node, u8),
    /// The primary appends a mutation.
    Append,
    /// A member takes the primary's newest mutation.
    Prepare(Node),
    /// All members have the primary's newest mutation.
    Commit,
    /// A member takes over, without the old primary.
    TakeOver(Node),
    /// The primary tells a client that the key is there.
    Present,
    /// The primary tells a client that the key is gone.
    Gone,
}

impl State {
    fn is_member(&self, node: Node) -> bool {
        self.members & 1 << node != 0
    }

    fn time(&self, node: Node) -> u8 {
        self.times[usize::from(node)]
    }

    /// When the primary evaluates.
    fn now(&self) -> u8 {
        self.time(self.primary)
            .max(self.clocks[usize::from(self.primary)])
    }
}

impl Model for ExpiryModel {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            primary: 0,
            members: 0b111,
            clocks: [0; NODES],
            times: [0; NODES],
            committed: 0,
            gone: false,
            back: false,
        }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        for node in nodes() {
            acts.extend((0..=self.bounds.latest).map(|shown| Act::Clock(node, shown)));
            if node != state.primary && state.is_member(node) {
                acts.extend([Act::Prepare(node), Act::TakeOver(node)]);
            }
        }
        let mine = state.time(state.primary);
        acts.push(Act::Append);
        let mut members = nodes().filter(|&node| state.is_member(node));
        if members.all(|member| state.time(member) == mine) {
            acts.push(Act::Commit);
        }
        if state.now() < self.bounds.expires {
            acts.push(Act::Present);
        } else if state.committed >= self.bounds.expires || self.without == Some(Omission::R7Commit)
        {
            // R7: it waits for the commit of a mutation of at least that time.
            acts.push(Act::Gone);
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut after = before.clone();
        match act {
            Act::Clock(node, shown) => after.clocks[usize::from(node)] = shown,
            Act::Append => after.times[usize::from(before.primary)] = before.now(),
            Act::Prepare(node) => after.times[usize::from(node)] = before.time(before.primary),
            Act::Commit => after.committed = before.time(before.primary),
            Act::TakeOver(node) => {
                after.members &= !(1 << before.primary);
                after.primary = node;
            }
            Act::Present => after.back = before.gone,
            Act::Gone => after.gone = true,
        }
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "a key that was reported gone does not come back",
                |_, state: &State| !state.back,
            ),
            Property::sometimes(
                "a takeover after the key was reported gone",
                |_, state: &State| state.gone && state.members.count_ones() < NODES as u32,
            ),
        ]
    }
}
