//! The state of the lease model: three nodes, their leases, and what they are to one or two partitions.

use crate::node::{NODES, Node};
use smallvec::SmallVec;

/// A configuration. Its ballot is where it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Configuration {
    /// The primary.
    pub primary: Node,
    /// The members, the primary among them, a bit each.
    pub members: u8,
}

impl Configuration {
    /// Whether the node is a member.
    pub fn contains(self, node: Node) -> bool {
        self.members & 1 << node != 0
    }
}

/// What a replica let a primary's node count on, in this life of its own node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Vouch {
    /// Nothing.
    #[default]
    Never,
    /// On its node's lease.
    Given,
    /// On nothing below this ballot.
    Excepted(u8),
}

/// R2: a grantor's lease to a holder does not count for the partition below this ballot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Exception {
    /// 0 for no exception.
    pub ballot: u8,
    /// Ticks until what was granted before it has run out.
    pub until: u8,
    /// The holder promised to heed it (R5).
    pub acknowledged: bool,
}

/// A member's word that it follows the primary of a ballot, with the life of its node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Follows {
    /// Which ballot.
    pub ballot: u8,
    /// Who.
    pub from: Node,
    /// In which life.
    pub life: u8,
}

/// One partition: its store, its three replicas and its messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Partition {
    /// The metadata store: all configurations there ever were, by ballot.
    pub stored: SmallVec<[Configuration; 4]>,
    /// Proposals for the next ballot that may still reach the store.
    pub proposed: SmallVec<[Configuration; 4]>,
    /// The highest ballot on each disk (L2).
    pub known: [u8; NODES],
    /// C1: what each node proposed for its next ballot.
    pub proposal: [Option<Configuration>; NODES],
    /// Who became the primary of the ballot it knows in this life of its node (L3), a bit each.
    pub leads: u8,
    /// R3: whose grants have run out or were given back, a bit each.
    pub grace_over: u8,
    /// Which primaries serve, a bit each.
    pub serves: u8,
    /// Who has seen the newest write that a client was told of, a bit each.
    pub current: u8,
    /// Words on the network, or received.
    pub follows: SmallVec<[Follows; 6]>,
    /// As grantor: what each node let each other count on.
    pub vouched: [[Vouch; NODES]; NODES],
    /// As grantor: what each node took back from each other.
    pub exceptions: [[Exception; NODES]; NODES],
    /// As holder: below which ballot each node counts no lease of each other. Lost by a restart.
    pub barred: [[u8; NODES]; NODES],
    /// As holder: the highest exception that each node ever acknowledged to each other; the word may still arrive.
    pub promised: [[u8; NODES]; NODES],
}

/// A lease that a node holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Held {
    /// Ticks of the holder's clock that are left.
    pub left: u8,
    /// The life of the grantor.
    pub life: u8,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The partitions on the three nodes.
    pub partitions: SmallVec<[Partition; 2]>,
    /// The life of each node.
    pub lives: [u8; NODES],
    /// As holder: the lease of each node on each other.
    pub held: [[Held; NODES]; NODES],
    /// As grantor: for how many ticks each node keeps its word to each other.
    pub granted: [[u8; NODES]; NODES],
    /// R4: for how many ticks each node answers for what an earlier life may have granted.
    pub forgotten: [u8; NODES],
    /// Restarts still to come.
    pub restarts: u8,
    /// Ticks that a slow clock may still miss.
    pub missed: u8,
    /// Learns still to come.
    pub learns: u8,
}

impl Partition {
    /// The configuration of a ballot; there is none at ballot 0.
    pub fn configuration(&self, ballot: u8) -> Option<&Configuration> {
        self.stored.get(usize::from(ballot).checked_sub(1)?)
    }

    /// The configuration that a node knows.
    pub fn known(&self, node: Node) -> Option<&Configuration> {
        self.configuration(self.known[usize::from(node)])
    }

    /// The newest ballot.
    pub fn newest(&self) -> u8 {
        self.stored.len() as u8
    }

    /// Whether a node leads under the ballot that it knows.
    pub fn leads(&self, node: Node) -> bool {
        self.leads & 1 << node != 0
    }

    /// Whether a node leads and serves.
    pub fn serves(&self, node: Node) -> bool {
        self.leads(node) && self.serves & 1 << node != 0
    }

    /// Whether a node said that it follows the primary of a ballot, in that life or in any.
    pub fn follows(&self, ballot: u8, from: Node, life: Option<u8>) -> bool {
        self.follows.iter().any(|word| {
            (word.ballot, word.from) == (ballot, from) && life.is_none_or(|life| word.life == life)
        })
    }
}
