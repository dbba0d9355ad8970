//! What the shell reads to answer questions. Only what is stored is ever shown.

use crate::cluster::TableState;
use crate::{Cluster, Duty, NodeAddress, Table};
use types::{Configuration, Incarnation, TableId};

/// A table's routes: its properties and each partition's configuration, in order.
#[derive(Debug)]
pub struct Routes<'a> {
    /// The table.
    pub table: &'a Table,
    state: &'a TableState,
}

impl Routes<'_> {
    /// Each partition's stored configuration; `None` while the first one is still to come.
    pub fn configurations(&self) -> impl Iterator<Item = Option<&Configuration>> {
        self.state
            .partitions
            .iter()
            .map(|partition| partition.stored.as_ref())
    }
}

/// A node, as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Who and where.
    pub address: NodeAddress,
    /// Its latest start that joined.
    pub incarnation: Incarnation,
    /// Whether it has a stream.
    pub alive: bool,
    /// Partitions whose stored primary it is.
    pub primaries: usize,
    /// Partitions in whose stored configuration it is a secondary.
    pub secondaries: usize,
    /// Replicas that it reports to be learning.
    pub learners: usize,
    /// What its data directory occupies, as it said last.
    pub disk_bytes: u64,
    /// Whether it is to have replicas.
    pub duty: Duty,
}

impl Cluster {
    /// The table of that name in service.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.live()
            .map(|table| &table.properties)
            .find(|table| table.name == name)
    }

    /// All tables, in the order of their creation; those dropped but not yet gone have `dropped_at`.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables
            .values()
            .filter(|table| table.created)
            .map(|table| &table.properties)
    }

    /// The routes of a table in service.
    pub fn routes(&self, table: TableId) -> Option<Routes<'_>> {
        let state = self.tables.get(&table).filter(|table| table.is_live())?;
        Some(Routes {
            table: &state.properties,
            state,
        })
    }

    /// The addresses of all nodes that ever joined.
    pub fn addresses(&self) -> impl Iterator<Item = &NodeAddress> {
        self.nodes.values().map(|node| &node.address)
    }

    /// All nodes that ever joined, and how they are.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let status = |(id, node): (&types::NodeId, &crate::nodes::Node)| {
            let (all, primaries) = self
                .shares
                .get(id)
                .map_or((0, 0), |share| (share.partitions.len(), share.primaries));
            let learning = |session: &crate::nodes::Session| {
                let learns = |&&held: &&types::PartitionId| {
                    self.partition(held)
                        .and_then(|partition| partition.holder(*id))
                        .is_some_and(|holder| holder.learning)
                };
                session.holding.iter().filter(learns).count()
            };
            NodeStatus {
                address: node.address.clone(),
                incarnation: node.incarnation,
                alive: node.session.is_some(),
                primaries,
                secondaries: all - primaries,
                learners: node.session.as_ref().map_or(0, learning),
                disk_bytes: node
                    .session
                    .as_ref()
                    .map_or(0, |session| session.disk_bytes),
                duty: node.duty,
            }
        };
        self.nodes.iter().map(status).collect()
    }
}
