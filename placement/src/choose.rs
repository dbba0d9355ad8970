//! Which nodes a new partition goes to: first even within the table, then over all tables; primaries and first successors too.

use std::collections::{BTreeMap, BTreeSet};
use types::NodeId;

/// How much each node has, of one table and altogether.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    loads: BTreeMap<NodeId, Load>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    replicas: usize,
    primaries: usize,
    /// Times it stands first among the secondaries, and would take over.
    successors: usize,
    all_replicas: usize,
    all_primaries: usize,
}

impl Tally {
    /// Notes what a node has altogether.
    pub(crate) fn weigh(&mut self, node: NodeId, replicas: usize, primaries: usize) {
        let load = self.loads.entry(node).or_default();
        load.all_replicas = replicas;
        load.all_primaries = primaries;
    }

    /// Counts in one partition of the table, its primary first.
    pub(crate) fn count(&mut self, members: &[NodeId]) {
        for (position, &member) in members.iter().enumerate() {
            let load = self.loads.entry(member).or_default();
            load.replicas += 1;
            load.primaries += usize::from(position == 0);
            load.successors += usize::from(position == 1);
        }
    }

    /// Chooses `replicas` of `candidates`, which are that many at least; those in `kept` are among them, the others in as many zones as
    /// there are. The primary comes first.
    pub(crate) fn choose<'a>(
        &self,
        candidates: &[NodeId],
        kept: &[NodeId],
        replicas: usize,
        zone: impl Fn(NodeId) -> &'a str,
    ) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = candidates.to_vec();
        order.sort_unstable_by_key(|&node| {
            let load = self.load(node);
            (
                !kept.contains(&node),
                load.replicas,
                load.all_replicas,
                node,
            )
        });
        let (first, second) = spread(&order, kept, zone);
        let mut members: Vec<NodeId> = first.into_iter().chain(second).collect();
        members.truncate(replicas);
        if let Some(primary) = members.iter().copied().min_by_key(|&node| {
            let load = self.load(node);
            (load.primaries, load.all_primaries, node)
        }) {
            members
                .sort_unstable_by_key(|&node| (node != primary, self.load(node).successors, node));
        }
        members
    }

    fn load(&self, node: NodeId) -> Load {
        self.loads.get(&node).copied().unwrap_or_default()
    }
}

/// Those kept and the first of each zone, then the others; each in the same order as before. A node without a zone shares it with nobody.
fn spread<'a>(
    order: &[NodeId],
    kept: &[NodeId],
    zone: impl Fn(NodeId) -> &'a str,
) -> (Vec<NodeId>, Vec<NodeId>) {
    let mut zones = BTreeSet::new();
    order.iter().partition(|&&node| {
        let zone = zone(node);
        let first = zone.is_empty() || zones.insert(zone);
        first || kept.contains(&node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(nodes: u64, partitions: usize, replicas: usize) -> Vec<[usize; 3]> {
        let candidates: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let mut tally = Tally::default();
        for _ in 0..partitions {
            let members = tally.choose(&candidates, &[], replicas, |_| "");
            assert_eq!(members.len(), replicas);
            tally.count(&members);
        }
        let load = |&node| tally.load(node);
        candidates
            .iter()
            .map(load)
            .map(|load| [load.replicas, load.primaries, load.successors])
            .collect()
    }

    #[test]
    fn replicas_primaries_and_successors_come_out_even() {
        for (nodes, partitions, replicas) in
            [(3, 8, 3), (5, 100, 3), (7, 64, 2), (4, 9, 1), (10, 1000, 5)]
        {
            let counts = counts(nodes, partitions, replicas);
            for (what, slack) in [(0, 1), (1, 2), (2, 3)] {
                let of = || counts.iter().map(|count| count[what]);
                let spread = of().max().unwrap() - of().min().unwrap();
                assert!(
                    spread <= slack,
                    "{nodes} nodes, {partitions} partitions, {replicas} replicas: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn an_emptier_node_is_taken_only_among_equals_of_the_table() {
        let mut tally = Tally::default();
        tally.weigh(NodeId(1), 50, 50);
        tally.weigh(NodeId(2), 0, 0);
        let candidates = [NodeId(1), NodeId(2)];
        let first = tally.choose(&candidates, &[], 1, |_| "");
        assert_eq!(first, [NodeId(2)]);
        tally.count(&first);
        assert_eq!(tally.choose(&candidates, &[], 1, |_| ""), [NodeId(1)]);
    }

    #[test]
    fn a_node_that_has_it_already_is_kept() {
        let mut tally = Tally::default();
        tally.count(&[NodeId(3)]);
        let candidates = [NodeId(1), NodeId(2), NodeId(3)];
        assert_eq!(
            tally.choose(&candidates, &[NodeId(3)], 2, |_| ""),
            [NodeId(1), NodeId(3)]
        );
    }

    #[test]
    fn copies_are_in_different_zones_as_long_as_there_are_any() {
        let candidates: Vec<NodeId> = (1..=6).map(NodeId).collect();
        let zone = |node: NodeId| if node.0 <= 4 { "a" } else { "b" };
        let tally = Tally::default();
        let mut two = tally.choose(&candidates, &[], 2, zone);
        two.sort_unstable();
        assert_eq!(two, [NodeId(1), NodeId(5)]);
        let mut three = tally.choose(&candidates, &[], 3, zone);
        three.sort_unstable();
        assert_eq!(three, [NodeId(1), NodeId(2), NodeId(5)]);
    }
}
