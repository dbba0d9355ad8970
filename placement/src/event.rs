//! What happens to the cluster, as the shell tells it.

use crate::{Balancing, BatchId, Duty, NodeAddress, Table};
use std::time::Duration;
use types::{
    Access, Ballot, Configuration, Decree, Durability, Incarnation, LearnSignature, NodeId,
    PartitionId, TableRules, Timestamp,
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
    /// What a node knows of the cluster besides its replicas. Told by each after it joined if the store is empty.
    Knows {
        /// Which node.
        node: NodeId,
        /// The tables in service, as it was last told.
        tables: Vec<Table>,
        /// All nodes that it ever heard of.
        nodes: Vec<NodeAddress>,
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
    /// The newest configuration it knows to be stored.
    pub configuration: Option<Configuration>,
    /// The learn that made this copy, or is making it.
    pub signature: LearnSignature,
    /// What its files take on the disk, roughly.
    pub bytes: u64,
    /// It is learning.
    pub learning: bool,
    /// The learn that made this copy has ended, or it is there from the first configuration: it had all there was then.
    pub ready: bool,
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
    /// Change what a table is.
    AlterTable {
        /// Which.
        name: String,
        /// What of it.
        changes: TableChanges,
    },
    /// Let the balancer work, or not.
    SetBalancing(Balancing),
    /// Give a node its share, or nothing.
    SetDuty {
        /// Which.
        node: NodeId,
        /// Which of the two.
        duty: Duty,
    },
    /// Know nothing any more of a node that is gone for good. One that comes back all the same joins as if for the first time.
    ForgetNode(NodeId),
    /// Move a replica. Forgotten when another meta server takes the lead.
    Move {
        /// Of this table.
        table: String,
        /// Of this partition.
        index: u32,
        /// A member.
        from: NodeId,
        /// No member.
        to: NodeId,
    },
    /// Let a secondary lead.
    Lead {
        /// Of this table.
        table: String,
        /// Of this partition.
        index: u32,
        /// The secondary.
        to: NodeId,
    },
    /// Go on with less than what was acknowledged, for all members with a whole copy are gone for good.
    Rescue {
        /// Of this table.
        table: String,
        /// Of this partition.
        index: u32,
        /// What to go on with, and the word that [`Rescue`](crate::Rescue) has for it; nothing: only tell.
        choice: Option<(Choice, String)>,
    },
    /// Make an empty store again from what nodes have.
    Rebuild {
        /// Nodes that will never answer.
        missing: Vec<NodeId>,
        /// The system clock now.
        wall: Timestamp,
        /// The word that [`Rebuild`](crate::Rebuild) has for it; nothing: only tell.
        word: Option<String>,
    },
    /// Call a table something else. Clients that have it open go on with it.
    RenameTable {
        /// Which.
        name: String,
        /// Its new name, which no table in service has.
        to: String,
    },
}

/// What a partition goes on with whose members are lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Choice {
    /// With the copy on this node, alone.
    Copy(NodeId),
    /// With nothing, on a node that has no copy.
    Nothing,
}

/// What is to become of a table in service; `None`: it stays as it is. Its partitions are for ever.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableChanges {
    /// Copies. More are made at once, if there are nodes for them and those there are are enough for writes until then; fewer are removed
    /// one after the other.
    pub replicas: Option<u32>,
    /// Writes need so many members; 0: replicas / 2 + 1.
    pub min_replicas: Option<u32>,
    /// How safe an acknowledged write is. Each copy goes over by itself, when its node hears of it and can.
    pub durability: Option<Durability>,
    /// As it is kept. Empty: none.
    pub password: Option<String>,
    /// What a key lives that is not told; zero: for ever.
    pub default_ttl: Option<Duration>,
    /// Whether writes are taken.
    pub access: Option<Access>,
    /// See [`types::Throttle`], as are the three that follow.
    pub read_operations: Option<u64>,
    /// In a second.
    pub write_operations: Option<u64>,
    /// In a second.
    pub read_bytes: Option<u64>,
    /// In a second.
    pub write_bytes: Option<u64>,
}

/// A table to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSpecification {
    /// 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    /// 1 to 16384.
    pub partitions: u32,
    /// Copies, at most as many as nodes are alive and 15.
    pub replicas: u32,
    /// How safe an acknowledged write is.
    pub durability: Durability,
    /// Writes need so many members; 0: replicas / 2 + 1.
    pub min_replicas: u32,
    /// As it is kept. Empty: none.
    pub password: String,
    /// What commands on it must obey.
    pub rules: TableRules,
}
