//! What is kept in the metadata store, as values: a root, nodes, tables, and pages of configurations.
//!
//! Configurations are packed [`PAGE_PARTITIONS`] to a page, so that a dead node is one write per page and a million partitions
//! are some thousands of documents. The bytes are the shell's affair.

use types::{
    Configuration, Durability, Incarnation, Member, NodeId, TableId, TableRules, Timestamp,
};

/// Partitions of one table in one page: some 4 KB with three members each.
pub const PAGE_PARTITIONS: u32 = 64;

/// Names a document. The order is the order in which a batch too large for one write is split: a table's number is never
/// free to be given again once the table is stored, and a table is gone before its pages are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// The one root.
    Root,
    /// A node.
    Node(NodeId),
    /// A table.
    Table(TableId),
    /// Some configurations of a table.
    Page {
        /// Whose.
        table: TableId,
        /// Partitions from `page * PAGE_PARTITIONS`.
        page: u32,
    },
}

/// A document's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Document {
    /// What belongs to the cluster as a whole.
    Root {
        /// The number of the next table: numbers below were given out and never are again.
        next_table: TableId,
        /// Whether replicas are moved to even out what nodes have to bear.
        balancing: Balancing,
        /// A rebuild is being stored: what there is of it is not whole yet.
        rebuilding: bool,
    },
    /// A node that has joined at least once.
    Node {
        /// Where it was last.
        address: NodeAddress,
        /// Its latest start that joined.
        incarnation: Incarnation,
        /// Whether it is to have replicas.
        duty: Duty,
    },
    /// A table, dropped ones included until their retention ends.
    Table(Table),
    /// The page's configurations, in the order of their partitions; `None`: the first one is still to come.
    Page(Vec<Option<Configuration>>),
}

impl Document {
    /// Bytes that it takes in a store, near enough to bound a request by.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Root { .. } => 16,
            Self::Node { address, .. } => {
                64 + address.name.len() + address.grpc.len() + address.redis.len()
            }
            Self::Table(table) => 128 + table.name.len() + table.password.len(),
            Self::Page(configurations) => configurations
                .iter()
                .map(|configuration| 4 + configuration.as_ref().map_or(0, size))
                .sum(),
        }
    }
}

fn size(configuration: &Configuration) -> usize {
    // A number takes a byte for each seven bits, and one to say which it is.
    let number = |number: u64| 2 + (u64::BITS - number.leading_zeros()).div_ceil(7) as usize;
    let member = |member: &Member| {
        let signature = &member.signature;
        let signature = [
            signature.ballot.0,
            signature.incarnation.0,
            signature.counter,
        ];
        16 + signature.into_iter().map(number).sum::<usize>()
    };
    number(configuration.ballot.0)
        + number(configuration.epoch)
        + configuration.members().map(member).sum::<usize>()
}

/// A document as it is in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub key: Key,
    /// How often it was written since it was created: from 1.
    pub version: u64,
    /// What.
    pub document: Document,
}

/// A compare-and-set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Which document.
    pub key: Key,
    /// The version it must have; 0: it must not exist. It has the next one afterwards.
    pub expected: u64,
    /// The new content; `None` removes it.
    pub document: Option<Document>,
}

/// Where a node is reached. An empty text: it does not offer that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeAddress {
    /// Who.
    pub node: NodeId,
    /// For people.
    pub name: String,
    /// host:port of its gRPC services.
    pub grpc: String,
    /// host:port of its RESP port.
    pub redis: String,
    /// Rack or zone: what may fail as one. Copies of a partition are spread over as many as there are.
    pub zone: String,
}

/// Whether the balancer works by itself. What an operator asks for is done either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Balancing {
    /// It does.
    #[default]
    Running,
    /// It does not, until it is told to.
    Paused,
}

/// Whether a node is to have replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Duty {
    /// It takes its share.
    #[default]
    Serves,
    /// It gets no more, and what it has is moved elsewhere.
    Drained,
}

/// A table's properties.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Never reused.
    pub id: TableId,
    /// Unique among the tables in service.
    pub name: String,
    /// How many slot ranges.
    pub partitions: u32,
    /// How many copies are wanted.
    pub replicas: u32,
    /// How safe an acknowledged write is.
    pub durability: Durability,
    /// Writes need so many members; 0: replicas / 2 + 1.
    pub min_replicas: u32,
    /// As it is kept, which is not as it is given. Empty: none.
    pub password: String,
    /// What commands on it must obey.
    pub rules: TableRules,
    /// When it was dropped.
    pub dropped_at: Option<Timestamp>,
    /// Raised with every change.
    pub version: u64,
}

impl Table {
    /// How many members writes need.
    pub(crate) fn members_for_writes(&self) -> u32 {
        match self.min_replicas {
            0 => self.replicas / 2 + 1,
            chosen => chosen,
        }
    }

    /// How many pages its configurations fill.
    pub(crate) fn pages(&self) -> u32 {
        self.partitions.div_ceil(PAGE_PARTITIONS)
    }
}
