//! The model of hanging disks: after any node's disk hung, for ever, writes go on (rule R6).
//!
//! One partition on three nodes, in any order: writes, a planned hand-over, and one node whose disk hangs while everything else of it runs. It
//! asks for leases and gets them, what it had sent may arrive, and it may propose; but it acknowledges nothing any more and goes over
//! to no ballot (L2). Whether it still vouches for itself is R6. Others act on what they see, as the rules have it: whoever gets
//! no lease from a secondary proposes its removal, and from a primary, itself; a primary also removes who owes it an
//! acknowledgement for too long, as long as enough members are left for writes.
//!
//! What is looked for is progress, not safety: whether there is a way to the next acknowledged write ([`dead_ends`]: from every state
//! there is, after a hang). A way is no promise that it is taken: nothing here says how long anything takes, or that two who propose
//! do not outrun each other for ever. Left out is what ends by time alone (R3: a hanging node's leases, too, run out), what needs the same nodes
//! once more (C2: the list that a new primary commits first), messages that are lost for ever, the learn of a node that is added
//! (a step), and a second fault.

use crate::Omission;
use crate::node::{NODES, Node, nodes};
use crate::ways;
use smallvec::{SmallVec, smallvec};
use stateright::{Model, Property};

/// Writes are refused below so many members.
const FOR_WRITES: u32 = 2;

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many members the partition has at first, and should have.
    pub replicas: u8,
}

/// The model of hanging disks.
#[derive(Clone, Debug)]
pub struct HangModel {
    /// How far it goes.
    pub bounds: Bounds,
    /// What is left out of the rules.
    pub without: Option<Omission>,
}

/// A configuration. Its ballot is where it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Configuration {
    primary: Node,
    /// A bit each, the primary among them.
    members: u8,
}

impl Configuration {
    fn contains(self, node: Node) -> bool {
        self.members & 1 << node != 0
    }

    fn without(self, node: Node) -> Self {
        let members = self.members & !(1 << node);
        Self { members, ..self }
    }

    fn with(self, node: Node) -> Self {
        let members = self.members | 1 << node;
        Self { members, ..self }
    }

    fn led_by(self, primary: Node) -> Self {
        Self { primary, ..self }
    }
}

/// Whose disk hung, and when.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Situation {
    /// The primary's.
    Primary,
    /// A secondary's.
    Secondary,
    /// The primary's, of the newest configuration, while not all of its members knew it or another one was proposed.
    PrimaryAmidChange,
    /// A secondary's, at such a time.
    SecondaryAmidChange,
}

/// The state of the model.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// All configurations there ever were, by ballot.
    stored: SmallVec<[Configuration; 6]>,
    /// The highest ballot on each disk.
    known: [u8; NODES],
    /// C1: what each node proposed for its next ballot.
    proposal: [Option<Configuration>; NODES],
    /// The ballot of a write under way, and who acknowledged it, a bit each.
    write: Option<(u8, u8)>,
    /// It began before a disk hung.
    older: bool,
    /// There was a hand-over.
    handed_over: bool,
    /// Whose disk hangs.
    hung: Option<Node>,
    /// What the node was then.
    situation: Option<Situation>,
    /// Who sees no lease of it any more, a bit each.
    lapsed: u8,
    /// A write that began after that was acknowledged.
    again: bool,
}

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The primary evaluates a write.
    Write(Node),
    /// A member acknowledges the write.
    Acknowledge(Node),
    /// The primary commits the write, and its client is told.
    Commit(Node),
    /// The node proposes a configuration.
    Propose(Node, Configuration),
    /// The primary had the node propose itself, and stays as a secondary.
    HandOver(Node, Configuration),
    /// The meta leader stores a proposal.
    Store(Configuration),
    /// The node goes over to the newest configuration: as a member, it acknowledges its primary's truncate.
    Hear(Node),
    /// The node's disk hangs from now on.
    Hang(Node),
    /// The lease that this node had of the hanging one runs out.
    Lapse(Node),
}

impl State {
    fn newest(&self) -> u8 {
        self.stored.len() as u8
    }

    fn known(&self, node: Node) -> u8 {
        self.known[usize::from(node)]
    }

    fn configuration(&self, node: Node) -> Configuration {
        // Ballots begin with 1, and only stored ones are known.
        self.stored[usize::from(self.known(node)) - 1]
    }

    fn hangs(&self, node: Node) -> bool {
        self.hung == Some(node)
    }

    fn leads(&self, node: Node) -> bool {
        self.configuration(node).primary == node
    }

    /// C1: whether something is true of all other members that a primary obeys.
    fn all_obeyed(&self, primary: Node, is: impl Fn(Node) -> bool) -> bool {
        let proposed = self.proposal[usize::from(primary)];
        nodes()
            .filter(|&node| node != primary)
            .filter(|&node| {
                self.configuration(primary).contains(node)
                    || proposed.is_some_and(|proposed| proposed.contains(node))
            })
            .all(is)
    }

    /// Whether a primary's truncate was acknowledged by all.
    fn serves(&self, primary: Node) -> bool {
        self.leads(primary)
            && self.all_obeyed(primary, |node| self.known(node) == self.known(primary))
    }

    /// Whether a member owes its primary an acknowledgement.
    fn owes(&self, node: Node, primary: Node) -> bool {
        let ballot = self.known(primary);
        let write = self
            .write
            .is_some_and(|(under, acknowledged)| under == ballot && acknowledged & 1 << node == 0);
        write || self.known(node) < ballot
    }

    fn situation(&self, node: Node) -> Option<Situation> {
        let newest = *self.stored.last()?;
        let settled = nodes()
            .filter(|&member| newest.contains(member))
            .all(|member| self.known(member) == self.newest())
            && self.proposal == [None; NODES];
        let situation = match (newest.primary == node, settled) {
            (true, true) => Situation::Primary,
            (false, true) => Situation::Secondary,
            (true, false) => Situation::PrimaryAmidChange,
            (false, false) => Situation::SecondaryAmidChange,
        };
        newest.contains(node).then_some(situation)
    }
}

impl HangModel {
    fn propose_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let now = state.configuration(node);
        // C1: only once.
        if state.proposal[usize::from(node)].is_some() || !now.contains(node) {
            return;
        }
        let mut propose = |configuration| acts.push(Act::Propose(node, configuration));
        let spare = now.members.count_ones() > FOR_WRITES;
        if let Some(hung) = state
            .hung
            .filter(|&hung| hung != node && now.contains(hung))
        {
            let lapsed = state.lapsed & 1 << node != 0;
            let lags = spare && state.leads(node) && state.owes(hung, node) && !state.hangs(node);
            if hung == now.primary {
                if lapsed {
                    propose(now.without(hung).led_by(node));
                }
            } else if state.leads(node) && (lapsed || lags) {
                propose(now.without(hung));
            }
        }
        if state.serves(node) && now.members.count_ones() < u32::from(self.bounds.replicas) {
            let free = |&other: &Node| !now.contains(other) && !state.hangs(other);
            for other in nodes().filter(free) {
                propose(now.with(other));
            }
        }
        let primary = now.primary;
        if primary != node && !state.handed_over && !state.hangs(primary) {
            acts.push(Act::HandOver(node, now.led_by(node)));
        }
    }
}

impl Model for HangModel {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let members = (1 << self.bounds.replicas) - 1;
        vec![State {
            stored: smallvec![Configuration {
                primary: 0,
                members
            }],
            known: [1; NODES],
            proposal: [None; NODES],
            write: None,
            older: false,
            handed_over: false,
            hung: None,
            situation: None,
            lapsed: 0,
            again: false,
        }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        if state.again {
            return;
        }
        for node in nodes() {
            self.propose_acts(state, node, acts);
            if let Some(proposed) = state.proposal[usize::from(node)]
                && state.known(node) == state.newest()
            {
                acts.push(Act::Store(proposed));
            }
            if state.hangs(node) {
                continue;
            }
            if state.hung.is_some() && !matches!(self.without, Some(Omission::R6Vouches)) {
                acts.push(Act::Lapse(node));
            }
            if state.hung.is_none() && state.situation(node).is_some() {
                acts.push(Act::Hang(node));
            }
            if state.known(node) < state.newest() {
                acts.push(Act::Hear(node));
            }
            let ballot = state.known(node);
            let under_way = state.write.filter(|&(under, _)| under == ballot);
            match under_way {
                Some((_, acknowledged)) if state.leads(node) => {
                    if state.all_obeyed(node, |other| acknowledged & 1 << other != 0) {
                        acts.push(Act::Commit(node));
                    }
                }
                Some(_) => acts.push(Act::Acknowledge(node)),
                None => {
                    let members = state.configuration(node).members.count_ones();
                    if state.serves(node) && members >= FOR_WRITES {
                        acts.push(Act::Write(node));
                    }
                }
            }
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut after = before.clone();
        match act {
            Act::Write(node) => {
                after.write = Some((before.known(node), 0));
                after.older = false;
            }
            Act::Acknowledge(node) => {
                let (ballot, acknowledged) = before.write?;
                after.write = Some((ballot, acknowledged | 1 << node));
            }
            Act::Commit(_) => {
                after.write = None;
                after.older = false;
                after.again = before.hung.is_some() && !before.older;
            }
            Act::Propose(node, proposed) => after.proposal[usize::from(node)] = Some(proposed),
            Act::HandOver(node, proposed) => {
                after.handed_over = true;
                after.proposal[usize::from(node)] = Some(proposed);
            }
            Act::Store(proposed) => after.stored.push(proposed),
            Act::Hear(node) => {
                after.known[usize::from(node)] = before.newest();
                after.proposal[usize::from(node)] = None;
            }
            Act::Hang(node) => {
                after.situation = before.situation(node);
                after.hung = Some(node);
                after.older = before.write.is_some();
            }
            Act::Lapse(node) => after.lapsed |= 1 << node,
        }
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::sometimes(AFTER_PRIMARY, |_, state: &State| {
                state.again && state.situation == Some(Situation::Primary)
            }),
            Property::sometimes(AFTER_SECONDARY, |_, state: &State| {
                state.again && state.situation == Some(Situation::Secondary)
            }),
            Property::sometimes(AFTER_PRIMARY_AMID_CHANGE, |_, state: &State| {
                state.again && state.situation == Some(Situation::PrimaryAmidChange)
            }),
            Property::sometimes(AFTER_SECONDARY_AMID_CHANGE, |_, state: &State| {
                state.again && state.situation == Some(Situation::SecondaryAmidChange)
            }),
        ]
    }
}

/// A primary's disk hung, and writes went on.
pub const AFTER_PRIMARY: &str = "a write after a primary's disk hung";
/// A secondary's disk hung, and writes went on.
pub const AFTER_SECONDARY: &str = "a write after a secondary's disk hung";

/// The same, while the configuration changed.
pub const AFTER_PRIMARY_AMID_CHANGE: &str = "a write after a primary's disk hung amid a change";
/// The same, while the configuration changed.
pub const AFTER_SECONDARY_AMID_CHANGE: &str = "a write after a secondary's disk hung amid a change";

/// In how many states a disk hangs, and from how many of them no way leads to another acknowledged write.
pub fn dead_ends(model: &HangModel) -> (usize, usize) {
    ways::dead_ends(model, |state| state.hung.is_some(), |state| state.again)
}
