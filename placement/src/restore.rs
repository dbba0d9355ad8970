//! The cluster as the store has it: what a new leader begins with.

use crate::cluster::{Partition, TableState, share};
use crate::guardian::SHED_AT_ONCE;
use crate::nodes::Node;
use crate::outbox::Outbox;
use crate::unfinished::Rebuilding;
use crate::{Balancing, Cluster, Document, Entry, Key, PAGE_PARTITIONS, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use types::{Instant, PartitionId, TableId};

/// The store's documents do not make a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreError(String);

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata store contradicts itself: {}", self.0)
    }
}

impl std::error::Error for RestoreError {}

impl Cluster {
    /// A cluster from what the store holds; from nothing, an empty one. `epoch` is the term of this leader.
    pub fn restore(
        settings: Settings,
        epoch: u64,
        entries: Vec<Entry>,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let mut cluster = Self {
            settings,
            epoch,
            next_table: TableId(1),
            tables: BTreeMap::new(),
            nodes: BTreeMap::new(),
            shares: BTreeMap::new(),
            outbox: Outbox::default(),
            unborn: BTreeSet::new(),
            short: BTreeMap::new(),
            short_cursor: PartitionId::default(),
            learns: BTreeMap::new(),
            surplus: BTreeSet::new(),
            surplus_cursor: PartitionId::default(),
            sheds_left: SHED_AT_ONCE,
            nudges: BTreeMap::new(),
            moves: BTreeMap::new(),
            barred: BTreeMap::new(),
            balancing: Balancing::default(),
            unrest: now,
            plan_after: now,
            rebuilding: Rebuilding::Not,
            waiting: Vec::new(),
            started: now,
            last_tick: now,
        };
        let contradiction = |key: Key, what: &str| RestoreError(format!("{key:?} {what}"));
        let mut pages = Vec::new();
        let mut rooted = entries.is_empty();
        let mut unfinished = false;
        for Entry {
            key,
            version,
            document,
        } in entries
        {
            if cluster.outbox.restore(key, version).is_some() {
                return Err(contradiction(key, "is there twice"));
            }
            match (key, document) {
                (
                    Key::Root,
                    Document::Root {
                        next_table,
                        balancing,
                        rebuilding,
                    },
                ) => {
                    unfinished = rebuilding;
                    cluster.next_table = next_table;
                    cluster.balancing = balancing;
                    rooted = true;
                }
                (
                    Key::Node(node),
                    Document::Node {
                        address,
                        incarnation,
                        duty,
                    },
                ) if address.node == node => {
                    cluster
                        .nodes
                        .insert(node, Node::known(address, incarnation, duty));
                }
                (Key::Table(id), Document::Table(table)) if table.id == id => {
                    let partitions = (0..table.partitions)
                        .map(|_| Partition::default())
                        .collect();
                    cluster.tables.insert(
                        id,
                        TableState {
                            created: true,
                            change: None,
                            creator: None,
                            unborn: table.partitions,
                            partitions,
                            properties: table,
                        },
                    );
                }
                (Key::Page { table, page }, Document::Page(configurations)) => {
                    pages.push((table, page, configurations));
                }
                _ => return Err(contradiction(key, "holds something else")),
            }
        }
        if !rooted {
            return Err(contradiction(Key::Root, "is missing"));
        }
        if unfinished {
            cluster.undo_rebuild();
            pages.clear();
        }
        if let Some(&last) = cluster.tables.keys().next_back()
            && last >= cluster.next_table
        {
            return Err(contradiction(
                Key::Table(last),
                "has a number that was never given out",
            ));
        }
        for (table, page, configurations) in pages {
            let key = Key::Page { table, page };
            let Some(state) = cluster.tables.get_mut(&table) else {
                // The table's retention ended and its last pages were still to be removed.
                cluster.outbox.touch(key);
                continue;
            };
            for (index, configuration) in
                (u64::from(page) * u64::from(PAGE_PARTITIONS)..).zip(configurations)
            {
                let Some(configuration) = configuration else {
                    continue;
                };
                let Some(partition) = state.partitions.get_mut(index as usize) else {
                    return Err(contradiction(key, "goes beyond its table"));
                };
                let id = PartitionId {
                    table,
                    index: index as u32,
                };
                share(&mut cluster.shares, id, &configuration);
                partition.stored = Some(configuration);
                state.unborn -= 1;
            }
        }
        let live: Vec<TableId> = cluster.live().map(|table| table.properties.id).collect();
        for table in live {
            cluster.take_into_service(now, table);
        }
        if cluster.outbox.is_new(Key::Root) {
            cluster.outbox.touch(Key::Root);
        }
        Ok(cluster)
    }
}
