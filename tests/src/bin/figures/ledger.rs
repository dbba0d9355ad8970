//! All configurations that any simulated node was told, each counted once: what is true of the whole cluster, without asking a thousand nodes.

use proto::common::Configuration;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A partition, by its table's number and its own.
pub(crate) type Partition = (u32, u32);

/// What is known of the cluster.
#[derive(Default)]
pub(crate) struct Ledger {
    known: HashMap<Partition, Configuration>,
    /// Members of all configurations, the dead included.
    pub(crate) members: u64,
    of_node: HashMap<u64, u64>,
    /// Configurations seen.
    pub(crate) seen: u64,
    wanted: usize,
    /// Configurations seen that had fewer members than are wanted.
    pub(crate) short: u64,
    pub(crate) dead: HashSet<u64>,
    /// Nodes with a stream.
    pub(crate) joined: u32,
}

/// Its members, the primary first.
pub(crate) fn members(configuration: &Configuration) -> impl Iterator<Item = u64> + '_ {
    configuration
        .primary
        .iter()
        .chain(&configuration.secondaries)
        .map(|member| member.node)
}

impl Ledger {
    /// Nothing is known yet; each partition is to have so many members.
    pub(crate) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// A node was told this.
    pub(crate) fn learn(&mut self, partition: Partition, told: &Configuration) {
        let known = self.known.get(&partition);
        if known.is_some_and(|known| known.ballot >= told.ballot) {
            return;
        }
        self.seen += 1;
        for member in known.into_iter().flat_map(members) {
            self.members -= 1;
            *self.of_node.entry(member).or_default() -= 1;
        }
        let mut count = 0;
        for member in members(told) {
            count += 1;
            self.members += 1;
            *self.of_node.entry(member).or_default() += 1;
        }
        self.short += u64::from(count < self.wanted);
        self.known.insert(partition, told.clone());
    }

    /// Partitions of which a node is a member.
    pub(crate) fn of(&self, node: u64) -> u64 {
        self.of_node.get(&node).copied().unwrap_or(0)
    }

    pub(crate) fn configuration(&self, partition: Partition) -> Option<&Configuration> {
        self.known.get(&partition)
    }

    /// The most that one of so many nodes has of one table less the least, replicas and leads; and of all tables.
    pub(crate) fn spreads(&self, nodes: u32) -> Spreads {
        let mut tables: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        let mut all = vec![(0, 0); nodes as usize];
        for (&(table, _), configuration) in &self.known {
            let of_table = tables
                .entry(table)
                .or_insert_with(|| vec![(0, 0); nodes as usize]);
            for (position, member) in members(configuration).enumerate() {
                let index = member as usize - 1;
                for counts in [&mut of_table[index], &mut all[index]] {
                    counts.0 += 1;
                    counts.1 += u32::from(position == 0);
                }
            }
        }
        let apart = |counts: &[(u32, u32)], of: fn(&(u32, u32)) -> u32| {
            let of = || counts.iter().map(of);
            of().max().unwrap_or(0) - of().min().unwrap_or(0)
        };
        let worst = |of| tables.values().map(|counts| apart(counts, of)).max();
        Spreads {
            of_table: worst(|count| count.0).unwrap_or(0),
            leads_of_table: worst(|count| count.1).unwrap_or(0),
            all: apart(&all, |count| count.0),
            all_leads: apart(&all, |count| count.1),
        }
    }
}

/// How unevenly the cluster is spread.
#[derive(Debug)]
pub(crate) struct Spreads {
    pub(crate) of_table: u32,
    pub(crate) leads_of_table: u32,
    pub(crate) all: u32,
    pub(crate) all_leads: u32,
}

impl Spreads {
    /// As even as whole copies can be.
    pub(crate) fn is_even(&self) -> bool {
        self.of_table <= 1 && self.all <= 1 && self.leads_of_table <= 1 && self.all_leads <= 1
    }
}
