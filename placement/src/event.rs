//! What happens to the cluster, as the shell tells it.

use crate::{BatchId, NodeAddress};
use types::{
    Ballot, Configuration, Decree, Durability, Incarnation, NodeId, PartitionId, Timestamp,
};

/// Names a request of an operator; its answer repeats it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// Something happened. Events of a node come only between its `NodeJoined` and its `NodeLost`; others are ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node opened its stream. One that is still joined has lost its earlier stream by this.
    NodeJoined {
        /// Who and where.
        address: NodeAddress,
        /// Which start of it. One that [`Cluster::admits`](crate::Cluster::admits) refuses is ignored.
        incarnation: Incarnation,
    },
    /// A node's stream ended. A hint: it may well live and serve.
    NodeLost {
        /// Which.
        node: NodeId,
    },
    /// What replicas a node has: all of them after it joined, in batches, later those that changed.
    Reported {
        /// Which node.
        node: NodeId,
        /// Its replicas.
        replicas: Vec<ReplicaReport>,
        /// Whether this was the last batch of all it has.
        complete: bool,
    },
    /// A node lives.
    Beat {
        /// Which.
        node: NodeId,
        /// What its data directory occupies.
        disk_bytes: u64,
    },
    /// Replicas of a node propose configurations, each one ballot above the one it knows to be stored.
    Proposed {
        /// Which node.
        node: NodeId,
        /// What they want stored.
        proposals: Vec<(PartitionId, Configuration)>,
    },
    /// An empty replica that was asked for is on disk.
    Opened {
        /// Where.
        node: NodeId,
        /// Of what.
        partition: PartitionId,
    },
    /// A replica is gone from a node.
    Deleted {
        /// Where.
        node: NodeId,
        /// Of what.
        partition: PartitionId,
    },
    /// All writes of an [`Action::Store`](crate::Action::Store) are durable. (There is no event for a failure: see the crate's docs.)
    Stored {
        /// Which.
        batch: BatchId,
    },
    /// An operator asks.
    Asked {
        /// Repeated in the answer.
        token: Token,
        /// What for.
        request: Request,
    },
    /// The time that [`Cluster::deadline`](crate::Cluster::deadline) named has come.
    Tick {
        /// The system clock; only how long tables have been dropped is measured by it.
        wall: Timestamp,
    },
}

/// One replica, as its node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaReport {
    /// Of what.
    pub partition: PartitionId,
    /// The highest ballot it knows.
    pub ballot: Ballot,
    /// The recovery epoch of what it holds (rule C6).
    pub epoch: u64,
    /// Its last prepared decree.
    pub prepared: Decree,
    /// Ballot of the last record that its log has (rule C6).
    pub last_ballot: Ballot,
    /// Up to where it knows its mutations to be committed.
    pub committed: Decree,
    /// Whether its copy can be trusted to hold what it acknowledged.
    pub soundness: Soundness,
    /// It is learning.
    pub learning: bool,
    /// It is the primary, and at their last comparison the members' copies differed with no majority to say which is right.
    pub diverged: bool,
}

/// What a copy is worth to whoever looks for one to go on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Soundness {
    /// It has what it acknowledged, as far as its node knows.
    Whole,
    /// Its machine stopped before the last of it was synced: a prefix of what it acknowledged (rule C6).
    Unsynced,
    /// Log or storage are damaged, or it is not what the others have: nobody knows what is missing.
    Damaged,
}

/// What an operator can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A new table; answered when each of its partitions has its first configuration.
    CreateTable(TableSpecification),
    /// End a table's service; its data stays for the retention.
    DropTable {
        /// Which.
        name: String,
        /// The system clock now.
        wall: Timestamp,
    },
    /// Bring back the table of this name that was dropped last.
    RecallTable {
        /// Which.
        name: String,
    },
}

/// A table to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSpecification {
    /// 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    /// 1 to 16384.
    pub partitions: u32,
    /// Copies, at most as many as nodes are alive.
    pub replicas: u32,
    /// How safe an acknowledged write is.
    pub durability: Durability,
    /// Writes need so many members; 0: replicas / 2 + 1.
    pub min_replicas: u32,
    /// Empty: none.
    pub password: String,
}
