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
    /// Partitions of tables in service whose stored primary it is.
    pub primaries: usize,
    /// Partitions of tables in service in whose stored configuration it is a secondary.
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

    /// Of how many partitions of tables in service a node is a member, and how many of them it leads.
    fn in_service(&self, node: types::NodeId) -> (usize, usize) {
        let Some(share) = self.shares.get(&node) else {
            return (0, 0);
        };
        let (mut all, mut primaries) = (share.partitions.len(), share.primaries);
        for id in self
            .dropped()
            .flat_map(|table| share.of(table.properties.id))
        {
            let stored = self.partition(id).and_then(|one| one.stored.as_ref());
            all -= 1;
            primaries -= usize::from(stored.is_some_and(|stored| stored.primary.node == node));
        }
        (all, primaries)
    }

    /// All nodes that ever joined, and how they are.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let status = |(id, node): (&types::NodeId, &crate::nodes::Node)| {
            let (all, primaries) = self.in_service(*id);
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
