//! What must hold at each step, and what in the end.

use super::World;
use placement::{Document, Key, ToNode};
use types::{Ballot, Configuration, NodeId, PartitionId, TableId};

impl World {
    pub(crate) fn check_message(&self, node: NodeId, message: &ToNode) {
        match message {
            ToNode::Stored(told) => {
                for (id, configuration) in told {
                    self.check_told(*id, configuration);
                }
            }
            ToNode::Delete {
                partition,
                table_gone: true,
                ..
            } => assert!(
                !self.store.contains_key(&Key::Table(partition.table)),
                "{partition} is not gone"
            ),
            ToNode::Delete {
                partition, ballot, ..
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                assert_eq!(stored.ballot, *ballot, "a delete names the stored ballot");
                assert!(!stored.contains(node), "a member is never deleted");
                assert!(
                    stored.len() >= self.replicas(partition.table),
                    "enough members hold it"
                );
            }
            ToNode::Open(partition) => assert!(
                self.stored(*partition).is_none(),
                "{partition} is born already"
            ),
            ToNode::AddLearner {
                partition,
                node: learner,
                ..
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                assert!(!stored.contains(*learner) && stored.primary.node == node);
            }
            ToNode::RemoveSecondary {
                partition,
                ballot,
                node: leaver,
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                if stored.ballot == *ballot {
                    assert!(stored.contains(*leaver) && stored.primary.node == node);
                    assert!(
                        stored.len() > self.replicas(partition.table),
                        "there are enough members without it"
                    );
                }
            }
            ToNode::HandOver {
                partition,
                ballot,
                node: successor,
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                if stored.ballot == *ballot {
                    assert!(stored.contains(*successor) && stored.primary.node == node);
                }
            }
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
        }
    }

    /// Nothing is announced before it is stored.
    pub(crate) fn check_told(&self, id: PartitionId, configuration: &Configuration) {
        assert_eq!(
            self.history.get(&(id, configuration.ballot)),
            Some(configuration)
        );
    }

    pub(crate) fn stored(&self, id: PartitionId) -> Option<&Configuration> {
        let page = Key::Page {
            table: id.table,
            page: id.index / placement::PAGE_PARTITIONS,
        };
        let Document::Page(configurations) = &self.store.get(&page)?.1 else {
            panic!("a page is a page");
        };
        configurations
            .get((id.index % placement::PAGE_PARTITIONS) as usize)?
            .as_ref()
    }

    pub(crate) fn replicas(&self, table: TableId) -> usize {
        match self.store.get(&Key::Table(table)) {
            Some((_, Document::Table(table))) => table.replicas as usize,
            other => panic!("{table} should be there, is {other:?}"),
        }
    }

    pub(crate) fn check_document(&mut self, key: Key, document: &Document) {
        match (key, document) {
            (Key::Table(id), Document::Table(table)) => {
                let name = self.names.entry(id).or_insert_with(|| table.name.clone());
                assert_eq!(
                    *name, table.name,
                    "a table's number is never given to another"
                );
            }
            (Key::Page { table, page }, Document::Page(configurations)) => {
                for (index, configuration) in
                    (page * placement::PAGE_PARTITIONS..).zip(configurations)
                {
                    let id = PartitionId { table, index };
                    match (self.stored(id).cloned(), configuration) {
                        (None, None) => {}
                        (Some(_), None) => panic!("{id} lost its configuration"),
                        (before, Some(after)) => self.check_change(id, before.as_ref(), after),
                    }
                }
            }
            _ => {}
        }
    }

    /// One configuration per ballot, one ballot after the other; the first only when each member has its replica.
    pub(crate) fn check_change(
        &mut self,
        id: PartitionId,
        before: Option<&Configuration>,
        after: &Configuration,
    ) {
        if before == Some(after) {
            return;
        }
        let ballot = before.map_or(Ballot::ZERO, |before| before.ballot);
        assert_eq!(after.ballot, ballot.next(), "{id}");
        let mut members: Vec<NodeId> = after.members().map(|member| member.node).collect();
        members.sort_unstable();
        members.dedup();
        assert_eq!(members.len(), after.len(), "{id}: a node is a member once");
        if before.is_none() {
            for member in &members {
                assert!(
                    self.nodes[member].replicas.contains_key(&id),
                    "{id} is on {member}'s disk"
                );
            }
        }
        let earlier = self.history.insert((id, after.ballot), after.clone());
        assert_eq!(earlier, None, "{id}: one configuration per ballot");
    }

    /// Each partition in service has its members, each member its replica, and nobody else has one.
    pub(crate) fn check_whole(&self) {
        for table in self
            .cluster
            .tables()
            .filter(|table| table.dropped_at.is_none())
        {
            for index in 0..table.partitions {
                let id = PartitionId {
                    table: table.id,
                    index,
                };
                let stored = self
                    .stored(id)
                    .unwrap_or_else(|| panic!("{id} was never born"));
                assert!(
                    stored.len() >= table.replicas as usize,
                    "{id} is short: {stored:?}"
                );
                for (&node, known) in &self.nodes {
                    let replica = known.replicas.get(&id);
                    assert_eq!(replica.is_some(), stored.contains(node), "{id} on {node}");
                    assert!(
                        replica
                            .is_none_or(|replica| replica.configuration.as_ref() == Some(stored))
                    );
                }
            }
        }
    }

    /// Nothing is left of dropped tables.
    pub(crate) fn check_clean(&self) {
        let live = |table: TableId| self.cluster.routes(table).is_some();
        for key in self.store.keys() {
            match key {
                Key::Table(table) | Key::Page { table, .. } => {
                    assert!(live(*table), "{key:?} is left");
                }
                Key::Root | Key::Node(_) => {}
            }
        }
        for node in self.nodes.values() {
            assert!(node.replicas.keys().all(|id| live(id.table)));
        }
    }
}
