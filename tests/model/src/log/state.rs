//! The state of the log model: three replicas of one partition, the metadata store, the network, and what clients were told.

use super::message::Network;
use crate::node::{NODES, Node};
use smallvec::SmallVec;

/// The most decrees that any bounds allow.
pub(super) const DECREES: usize = 3;

/// The learn of a copy that is there from the first configuration.
pub(super) const ORIGINAL: u8 = 1;

/// A mutation in a log; the empty one stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Mutation {
    /// Under which ballot it was prepared last.
    pub ballot: u8,
    /// Its effects: twice the ballot under which it was evaluated, one more if that is the second one there.
    pub value: u8,
    /// The value of its predecessor when it was evaluated.
    pub base: u8,
}

/// Mutations by decree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Log([Mutation; DECREES]);

impl Log {
    /// The mutation of a decree.
    pub fn get(&self, decree: u8) -> Option<Mutation> {
        let slot = usize::from(decree).checked_sub(1)?;
        self.0
            .get(slot)
            .copied()
            .filter(|mutation| mutation.value != 0)
    }

    /// What clients see of a decree.
    pub fn value(&self, decree: u8) -> u8 {
        self.get(decree).map_or(0, |mutation| mutation.value)
    }

    /// Puts a mutation in.
    pub fn put(&mut self, decree: u8, mutation: Mutation) {
        self.0[usize::from(decree) - 1] = mutation;
    }

    /// How far it goes without a gap.
    pub fn prepared(&self) -> u8 {
        self.0.iter().take_while(|m| m.value != 0).count() as u8
    }

    /// The highest decree it has, whatever is missing below.
    pub fn highest(&self) -> u8 {
        let last = self.0.iter().rposition(|m| m.value != 0);
        last.map_or(0, |slot| slot as u8 + 1)
    }

    /// Whether something is missing below something that is there.
    pub fn has_hole(&self) -> bool {
        self.prepared() < self.highest()
    }

    /// Drops everything above a decree.
    pub fn cut(&mut self, decree: u8) {
        self.0[usize::from(decree)..].fill(Mutation::default());
    }

    /// The highest ballot of a mutation (C6 compares copies by it).
    pub fn last_ballot(&self) -> u8 {
        self.0.iter().map(|m| m.ballot).max().unwrap_or(0)
    }

    /// Prepares everything above `committed` again (C3).
    pub fn raise(&mut self, committed: u8, ballot: u8) {
        for mutation in &mut self.0[usize::from(committed)..] {
            if mutation.value != 0 {
                mutation.ballot = ballot;
            }
        }
    }
}

/// A configuration. Its ballot is where it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Configuration {
    /// The primary.
    pub primary: Node,
    /// By which learn each node is a member; 0 for none.
    pub learns: [u8; NODES],
    /// The recovery epoch (C6).
    pub epoch: u8,
}

impl Configuration {
    /// Whether the node is a member.
    pub fn contains(self, node: Node) -> bool {
        self.learns[usize::from(node)] != 0
    }
}

/// What a replica's own disk says it is (C5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// There is nothing.
    Blank,
    /// A whole copy, made by that learn.
    Whole(u8),
    /// A learn without its ready mark.
    Learning(u8),
    /// C6: whole but for what was not synced when its machine lost power.
    Unsynced(u8),
}

impl Standing {
    /// The newest learn it knows of.
    pub fn learn(self) -> u8 {
        match self {
            Self::Blank => 0,
            Self::Whole(learn) | Self::Learning(learn) | Self::Unsynced(learn) => learn,
        }
    }
}

/// What the reset record of a copy's learn says (L4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Reset {
    /// Its own records up to the committed decree are the base.
    Log,
    /// The checkpoint of this decree is, once it is in place; 0: one that has yet to come.
    Checkpoint(u8),
}

/// What a copy's base is worth (L4). Lost by a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Base {
    /// What is there up to the committed decree is how the history begins.
    Good,
    /// A learner waits for a checkpoint.
    Awaited,
    /// A checkpoint is being put in place.
    Installing,
    /// A restart cut a learn off: only another one helps, for which what is there may or may not serve.
    CutOff { good: bool },
}

impl Base {
    /// Whether another learn may start from it.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::CutOff { good: true })
    }
}

/// What a replica does under the ballot it knows. Lost by a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Nothing.
    Inactive,
    /// Secondary or learner: the decree that comes next in the primary's stream, 0 before there is one.
    Follower { next: u8 },
    /// Primary.
    Primary {
        /// C2: the end of its list when the ballot began.
        last: u8,
        /// C2: the duties of a new primary were done under the ballot before.
        reconciled: bool,
        /// Whom it teaches: the node and the learn, 0 for nobody.
        learner: Node,
        learn: u8,
        /// How many learns it offered under this ballot.
        offers: u8,
    },
}

/// One replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Replica {
    /// On disk: the highest ballot (L2).
    pub ballot: u8,
    /// On disk: what it is.
    pub standing: Standing,
    /// On disk: the recovery epoch of its data (C6).
    pub epoch: u8,
    /// On disk: the highest ballot at which it made a proposal (C6).
    pub promised: u8,
    /// On disk: how its learn began.
    pub reset: Reset,
    /// On disk: what survives a crash in `sync`, and a power loss in `buffered`.
    pub disk: Log,
    /// What it appended. In `buffered` it survives a crash.
    pub log: Log,
    /// In memory: the highest ballot.
    pub known: u8,
    /// In memory: up to where it knows mutations to be committed.
    pub committed: u8,
    /// In memory: what its base is worth.
    pub base: Base,
    /// In memory: it was a member by its present learn.
    pub served: bool,
    /// In memory: its role.
    pub role: Role,
    /// In memory: what it proposed for the next ballot (C1).
    pub proposal: Option<Configuration>,
}

impl Replica {
    /// One that has nothing yet.
    pub fn fresh(standing: Standing) -> Self {
        Self {
            ballot: 0,
            standing,
            epoch: 0,
            promised: 0,
            reset: Reset::Log,
            disk: Log::default(),
            log: Log::default(),
            known: 0,
            committed: 0,
            base: Base::Good,
            served: false,
            role: Role::Inactive,
            proposal: None,
        }
    }
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The metadata store: all configurations there ever were, by ballot. Any node may hear of any of them at any time.
    pub stored: SmallVec<[Configuration; 5]>,
    /// Proposals for the next ballot that may still reach the store.
    pub proposed: SmallVec<[Configuration; 4]>,
    /// The replicas.
    pub replicas: [Replica; NODES],
    /// The network.
    pub network: Network,
    /// What clients were told is committed, by decree.
    pub acknowledged: [u8; DECREES],
    /// Which nodes were members then, a bit each.
    pub witnesses: [u8; DECREES],
    /// Whether one of these lost it with its power since: then it was not synced there.
    pub young: [bool; DECREES],
    /// A decree was committed with two values.
    pub diverged: bool,
    /// A mutation was committed after another predecessor than it was evaluated over.
    pub ungrounded: bool,
    /// Disks that were emptied, a bit each.
    pub emptied: u8,
    /// Faults still to come.
    pub left: Faults,
}

/// How many faults of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// Crashes of processes.
    pub restarts: u8,
    /// Crashes of machines.
    pub power_losses: u8,
    /// Disks replaced by empty ones.
    pub emptied: u8,
    /// Learns that are offered (no fault, but a bound).
    pub learns: u8,
}

impl State {
    /// The replica on a node.
    pub fn at(&self, node: Node) -> &Replica {
        &self.replicas[usize::from(node)]
    }

    /// The replica on a node.
    pub fn at_mut(&mut self, node: Node) -> &mut Replica {
        &mut self.replicas[usize::from(node)]
    }

    /// The newest ballot.
    pub fn newest(&self) -> u8 {
        self.stored.len() as u8
    }

    /// The configuration of a ballot; there is none at ballot 0.
    pub fn configuration(&self, ballot: u8) -> Option<&Configuration> {
        self.stored.get(usize::from(ballot).checked_sub(1)?)
    }

    /// C5: whether a configuration names this copy and the copy is whole.
    pub fn is_member_of(&self, node: Node, configuration: Configuration) -> bool {
        let learn = configuration.learns[usize::from(node)];
        learn != 0 && self.at(node).standing == Standing::Whole(learn)
    }

    /// The highest decree that clients were told of.
    pub fn acknowledged(&self) -> u8 {
        self.acknowledged.iter().take_while(|&&v| v != 0).count() as u8
    }
}
