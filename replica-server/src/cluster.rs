//! What this node knows of the cluster besides its own replicas: tables and where the other nodes are. Told by the meta leader, kept
//! in the data directory.

use commands::CommandSpec;
use proto::common::NodeAddress;
use proto::meta;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use types::{Durability, NodeId, PartitionId, Slot, TableId, TableRules};

/// Tables and nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) tables: BTreeMap<u32, Table>,
    pub(crate) nodes: BTreeMap<u64, Address>,
}

/// A table's properties, as far as a replica server needs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) min_replicas: u32,
    pub(crate) buffered: bool,
    /// As `proto::password` keeps it. Empty: none.
    pub(crate) password: String,
    /// When it was dropped, in milliseconds of the leader's wall clock; 0: it is in use.
    #[serde(default)]
    dropped_at: u64,
    /// Raised with every change of it.
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    rules: KeptRules,
}

/// [`TableRules`] as they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct KeptRules {
    default_ttl_ms: u64,
    read_only: bool,
    read_operations: u64,
    write_operations: u64,
    read_bytes: u64,
    write_bytes: u64,
}

impl Table {
    pub(crate) fn durability(&self) -> Durability {
        if self.buffered {
            Durability::Buffered
        } else {
            Durability::Sync
        }
    }

    /// Whether it only waits to be recalled, or removed.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped_at != 0
    }

    /// What commands must obey.
    pub(crate) fn rules(&self) -> TableRules {
        let rules = self.rules;
        proto::table_rules(Some(meta::TableRules {
            default_ttl_ms: rules.default_ttl_ms,
            read_only: rules.read_only,
            read_operations: rules.read_operations,
            write_operations: rules.write_operations,
            read_bytes: rules.read_bytes,
            write_bytes: rules.write_bytes,
        }))
    }

    /// How many members writes need.
    pub(crate) fn members_for_writes(&self) -> usize {
        let chosen = if self.min_replicas == 0 {
            self.replicas / 2 + 1
        } else {
            self.min_replicas
        };
        chosen as usize
    }
}

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) grpc: String,
    pub(crate) redis: String,
}

impl Known {
    /// Takes in what the meta leader says. Whether anything changed. `lost`: it has lost its store, and is told what this node knows: so what it
    /// does not mention is not gone.
    pub(crate) fn learn(&mut self, cluster: meta::Cluster, lost: bool) -> bool {
        let before = self.clone();
        if cluster.complete && !lost {
            let mentioned: BTreeSet<u32> = cluster
                .tables
                .iter()
                .filter_map(|properties| Some(properties.table.as_ref()?.id))
                .collect();
            // Dropped while this node was away; another one may have the name by now.
            self.tables.retain(|id, _| mentioned.contains(id));
        }
        for node in cluster.nodes {
            let address = Address {
                name: node.name,
                grpc: node.grpc,
                redis: node.redis,
            };
            self.nodes.insert(node.node, address);
        }
        for properties in cluster.tables {
            let Some(table) = properties.table else {
                continue;
            };
            // A partition count outside Redis' slots would break the division; such a table is not one of ours.
            if table.partitions == 0 || table.partitions > u32::from(types::SLOTS) {
                continue;
            }
            let rules = table.rules.unwrap_or_default();
            self.tables.insert(
                table.id,
                Table {
                    buffered: proto::durability(table.durability) == Durability::Buffered,
                    name: table.name,
                    partitions: table.partitions,
                    replicas: table.replicas,
                    min_replicas: table.min_replicas,
                    password: properties.password,
                    dropped_at: table.dropped_at,
                    version: table.version,
                    rules: KeptRules {
                        default_ttl_ms: rules.default_ttl_ms,
                        read_only: rules.read_only,
                        read_operations: rules.read_operations,
                        write_operations: rules.write_operations,
                        read_bytes: rules.read_bytes,
                        write_bytes: rules.write_bytes,
                    },
                },
            );
        }
        for gone in cluster.tables_gone {
            self.tables.remove(&gone);
        }
        *self != before
    }

    /// All of it, as the meta leader once told it.
    pub(crate) fn tell(&self) -> meta::Knows {
        let tables = self
            .tables
            .iter()
            .map(|(&id, table)| meta::TableProperties {
                table: Some(meta::Table {
                    id,
                    name: table.name.clone(),
                    partitions: table.partitions,
                    replicas: table.replicas,
                    durability: proto::common::Durability::from(table.durability()).into(),
                    min_replicas: table.min_replicas,
                    has_password: !table.password.is_empty(),
                    dropped_at: table.dropped_at,
                    version: table.version,
                    rules: Some(table.rules().into()),
                }),
                password: table.password.clone(),
            });
        let nodes = self.nodes.iter().map(|(&node, address)| NodeAddress {
            node,
            name: address.name.clone(),
            grpc: address.grpc.clone(),
            redis: address.redis.clone(),
            zone: String::new(),
        });
        meta::Knows {
            tables: tables.collect(),
            nodes: nodes.collect(),
        }
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<&Address> {
        self.nodes.get(&node.0)
    }

    pub(crate) fn table(&self, table: TableId) -> Option<&Table> {
        self.tables.get(&table.0)
    }

    /// What a table is called, or else its number.
    pub(crate) fn table_name(&self, table: TableId) -> String {
        match self.table(table) {
            Some(known) => known.name.clone(),
            None => table.to_string(),
        }
    }

    /// Whether every key of the command belongs to the partition.
    pub(crate) fn holds(&self, partition: PartitionId, spec: &CommandSpec, args: &[&[u8]]) -> bool {
        let Some(table) = self.table(partition.table) else {
            return false;
        };
        spec.key_positions(args.len())
            .filter_map(|position| args.get(position))
            .all(|key| Slot::of(key).partition(table.partitions) == partition.index)
    }

    /// The table of that name that can be used.
    pub(crate) fn named(&self, name: &[u8]) -> Option<(TableId, &Table)> {
        self.tables
            .iter()
            .find(|(_, table)| table.name.as_bytes() == name && !table.is_dropped())
            .map(|(&id, table)| (TableId(id), table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(complete: bool, ids: &[u32]) -> meta::Cluster {
        let table = |&id: &u32| meta::TableProperties {
            table: Some(meta::Table {
                id,
                name: "t".into(),
                partitions: 4,
                ..meta::Table::default()
            }),
            ..meta::TableProperties::default()
        };
        meta::Cluster {
            complete,
            tables: ids.iter().map(table).collect(),
            ..meta::Cluster::default()
        }
    }

    #[test]
    fn a_leader_that_has_lost_all_is_told_which_tables_were_dropped() {
        let mut cluster = told(true, &[5, 6]);
        let dropped = cluster.tables[0].table.as_mut().unwrap();
        dropped.dropped_at = 1234;
        let mut known = Known::default();
        known.learn(cluster, false);
        assert_eq!(known.named(b"t").map(|(id, _)| id), Some(TableId(6)));
        let kept = serde_json::to_vec(&known).unwrap();
        let known: Known = serde_json::from_slice(&kept).unwrap();
        let dropped: Vec<_> = known
            .tell()
            .tables
            .into_iter()
            .map(|told| told.table.unwrap())
            .map(|table| (table.id, table.dropped_at))
            .collect();
        assert_eq!(dropped, [(5, 1234), (6, 0)]);
    }

    #[test]
    fn a_table_that_was_dropped_while_this_node_was_away_gives_up_its_name() {
        let mut known = Known::default();
        assert!(known.learn(told(true, &[5]), false));
        assert!(known.learn(told(true, &[6]), false));
        assert_eq!(known.named(b"t").map(|(id, _)| id), Some(TableId(6)));
        assert_eq!(known.table(TableId(5)), None);
        // News are about what they mention.
        known.learn(told(false, &[]), false);
        assert!(known.table(TableId(6)).is_some());
        // A leader that has lost its store is told; what it does not know may be all that is left.
        known.learn(told(true, &[]), true);
        assert!(known.table(TableId(6)).is_some());
    }
}
