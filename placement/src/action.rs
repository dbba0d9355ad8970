//! What the shell must do, in the order given.

use crate::{NodeAddress, Rebuild, Rescue, Table, Token, Write};
use std::fmt;
use types::{Ballot, Configuration, Incarnation, NodeId, PartitionId, TableId};

/// Names a batch of writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BatchId(pub u64);

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write all of it or nothing, each document if its version is still the expected one, and report
    /// [`Event::Stored`](crate::Event::Stored) when it is durable. One batch is outstanding at a time.
    Store {
        /// Which.
        batch: BatchId,
        /// What.
        writes: Vec<Write>,
    },
    /// Send to a node on its stream. If that can not be done without waiting, the stream is to be closed.
    ToNode {
        /// To whom.
        node: NodeId,
        /// What.
        message: ToNode,
    },
    /// Close a node's stream. `NodeLost` has been taken into account already.
    Disconnect {
        /// Whose.
        node: NodeId,
        /// Why, to tell it.
        reason: Finding,
    },
    /// Answer an operator.
    Answer {
        /// Whom.
        token: Token,
        /// What.
        answer: Answer,
    },
    /// Tell those who watch the table's routes.
    RoutesChanged {
        /// Whose routes.
        table: TableId,
        /// The partitions that changed, and to what.
        partitions: Vec<(u32, Configuration)>,
    },
    /// End the watching of a table: it was dropped.
    RoutesEnded {
        /// Which.
        table: TableId,
    },
    /// Tell all who watch routes where a node is now.
    NodeMoved(NodeAddress),
    /// Put in the log for people.
    Report(Finding),
}

/// A message to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToNode {
    /// First on every stream.
    Welcome {
        /// The meta leader's term.
        epoch: u64,
        /// The store is empty: the node is to tell what it knows of tables and nodes, for [`Request::Rebuild`](crate::Request).
        tell: bool,
    },
    /// What is stored, of partitions in which the node has a part or for which it proposed.
    Stored(Vec<(PartitionId, Configuration)>),
    /// Make an empty replica for a first configuration, and answer when it is on disk; also if it is there already.
    Open(PartitionId),
    /// To a primary: bring `node` in. Repeated now and then; has no effect while that learn goes on.
    AddLearner {
        /// Of what.
        partition: PartitionId,
        /// The stored ballot.
        ballot: Ballot,
        /// Whom.
        node: NodeId,
    },
    /// To a primary: propose to go on without this secondary.
    RemoveSecondary {
        /// Of what.
        partition: PartitionId,
        /// The stored ballot.
        ballot: Ballot,
        /// Which.
        node: NodeId,
    },
    /// To a primary: let this secondary lead.
    HandOver {
        /// Of what.
        partition: PartitionId,
        /// The stored ballot.
        ballot: Ballot,
        /// Which.
        node: NodeId,
    },
    /// Delete a replica that no stored configuration needs.
    Delete {
        /// Of what.
        partition: PartitionId,
        /// The stored ballot, under which the node is no member.
        ballot: Ballot,
        /// Or the table's retention has ended.
        table_gone: bool,
    },
    /// Nodes and tables: all when the node joins, later what changed.
    Cluster {
        /// Whether this is all.
        complete: bool,
        /// Every node's address.
        nodes: Vec<NodeAddress>,
        /// The tables in service.
        tables: Vec<Table>,
        /// Tables no longer in service; their replicas stay until a `Delete`.
        gone: Vec<TableId>,
    },
}

/// What an operator is told: what came of it, or why nothing did.
pub type Answer = Result<Answered, Refusal>;

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    /// The table as it is now.
    Table(Table),
    /// It is stored, or under way.
    Done,
    /// What can be done for a partition whose members are lost.
    Rescue(Rescue),
    /// What the nodes' replicas make of an empty store.
    Rebuild(Rebuild),
}

/// Why an operator's request was not carried out. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Ask differently.
    Invalid(String),
    /// There is no such table (or none that can be recalled).
    NoSuchTable(String),
    /// The name is in use.
    Exists(String),
    /// Start more nodes, or ask for fewer replicas.
    TooFewNodes {
        /// Nodes alive.
        alive: usize,
        /// Replicas wanted.
        wanted: u32,
    },
    /// There is no such node.
    NoSuchNode(NodeId),
    /// Not as the cluster is now.
    Unfit(String),
    /// Ask again in a moment: the table is just being changed.
    Busy(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) | Self::Unfit(why) => f.write_str(why),
            Self::NoSuchTable(name) => write!(f, "there is no table '{name}'"),
            Self::Exists(name) => write!(f, "there is a table '{name}' already"),
            Self::TooFewNodes { alive, wanted } => {
                write!(f, "{wanted} replicas need as many nodes; {alive} are alive")
            }
            Self::NoSuchNode(node) => write!(f, "there is no node {node}"),
            Self::Busy(name) => write!(f, "table '{name}' is being changed; ask again in a moment"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Something a person should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A node's stream was closed because it went silent.
    Silent(NodeId),
    /// A process joined under the identity of a later start.
    StaleIncarnation {
        /// Whose.
        node: NodeId,
        /// The start that joined.
        joined: Incarnation,
        /// The start known.
        known: Incarnation,
    },
    /// A replica knows a ballot that was never stored here: the metadata store has lost its last writes.
    StoreBehind {
        /// Of what.
        partition: PartitionId,
        /// Who says so.
        node: NodeId,
        /// Its ballot.
        known: Ballot,
        /// The stored one.
        stored: Ballot,
    },
    /// A node has replicas of a table number never given out here: the metadata store is not this cluster's, or lost its writes.
    UnknownTable {
        /// Of what.
        partition: PartitionId,
        /// Who has it.
        node: NodeId,
    },
    /// A node has replicas though the store is empty: it lost everything, or this is another cluster's node.
    Amnesia {
        /// Whose replicas.
        node: NodeId,
        /// How many.
        replicas: usize,
    },
    /// An operator gave up what the lost members may have had more.
    Rescued {
        /// Of what.
        partition: PartitionId,
        /// Who goes on alone.
        node: NodeId,
        /// The new recovery epoch.
        epoch: u64,
    },
    /// A proposal that no correct replica makes was refused.
    OddProposal {
        /// Of what.
        partition: PartitionId,
        /// Whose.
        node: NodeId,
        /// What is odd.
        why: &'static str,
    },
    /// Each member lost unsynced writes in a power failure; the one with the most goes on alone at a new recovery epoch (rule C6).
    Recovered {
        /// Of what.
        partition: PartitionId,
        /// Whose copy goes on.
        node: NodeId,
        /// The new epoch.
        epoch: u64,
    },
    /// No member's copy is whole, and not only because a power failure took what was unsynced of each: only an operator can decide to
    /// go on with less.
    LostQuorum {
        /// Of what.
        partition: PartitionId,
        /// Whose copies are damaged: nobody knows what they lack.
        damaged: Vec<NodeId>,
        /// Whose copies lack what was not synced, the one with the most first.
        unsynced: Vec<NodeId>,
    },
    /// The members' copies differ at one decree and no majority says which is right.
    Diverged {
        /// Of what.
        partition: PartitionId,
        /// Who compared them.
        primary: NodeId,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(node) => write!(f, "node {node} has sent nothing for too long"),
            Self::StaleIncarnation {
                node,
                joined,
                known,
            } => write!(
                f,
                "node {node} joined as its start number {}, but start number {} is known: is its data directory used twice?",
                joined.0, known.0
            ),
            Self::StoreBehind {
                partition,
                node,
                known,
                stored,
            } => write!(
                f,
                "node {node} knows ballot {known} of partition {partition}, the metadata store has {stored}: the store has lost writes"
            ),
            Self::UnknownTable { partition, node } => write!(
                f,
                "node {node} has a replica of partition {partition}, of a table never created here; it is left alone"
            ),
            Self::Amnesia { node, replicas } => write!(
                f,
                "node {node} has {replicas} replicas, but the metadata store is empty: if it was lost, 'meta rebuild' of the shell makes it again"
            ),
            Self::Rescued {
                partition,
                node,
                epoch,
            } => write!(
                f,
                "an operator let node {node} go on alone with partition {partition}, as epoch {epoch}: what its other members had more is lost"
            ),
            Self::OddProposal {
                partition,
                node,
                why,
            } => {
                write!(
                    f,
                    "refused a proposal of node {node} for partition {partition}: {why}"
                )
            }
            Self::Recovered {
                partition,
                node,
                epoch,
            } => write!(
                f,
                "every member of partition {partition} lost its last writes in a power failure; node {node} has the most and goes on as epoch {epoch}"
            ),
            Self::LostQuorum {
                partition,
                damaged,
                unsynced,
            } => {
                write!(f, "no member of partition {partition} has a whole copy:")?;
                for (index, node) in damaged.iter().enumerate() {
                    let before = if index == 0 { " damaged on" } else { "," };
                    write!(f, "{before} node {node}")?;
                }
                for (index, node) in unsynced.iter().enumerate() {
                    let before = match (index, damaged.is_empty()) {
                        (0, true) => " without its last writes on",
                        (0, false) => ", without its last writes on",
                        _ => ",",
                    };
                    let most = if index == 0 { " (has the most)" } else { "" };
                    write!(f, "{before} node {node}{most}")?;
                }
                f.write_str("; it does not serve until one is back or an operator decides ('partition rescue' of the shell)")
            }
            Self::Diverged { partition, primary } => write!(
                f,
                "the copies of partition {partition} differ and no majority of them agrees, as its primary on node {primary} found; \
                 they are left as they are until an operator decides"
            ),
        }
    }
}
