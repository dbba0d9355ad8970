//! Which nodes a new partition goes to: first even within the table, then over all tables; primaries and first successors too.

use std::collections::{BTreeMap, BTreeSet};
use types::NodeId;

/// How much each node has, of one table and altogether; and who may be chosen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    loads: BTreeMap<NodeId, Load>,
    /// Nodes that may be chosen, by zone, those that have least first.
    candidates: BTreeMap<String, BTreeSet<(usize, usize, NodeId)>>,
}

#[derive(Clone, Debug, Default)]
struct Load {
    replicas: usize,
    primaries: usize,
    /// Times it stands first among the secondaries, and would take over.
    successors: usize,
    all_replicas: usize,
    all_primaries: usize,
    /// Where it is, if it may be chosen.
    zone: Option<String>,
}

impl Load {
    fn order(&self, node: NodeId) -> (usize, usize, NodeId) {
        (self.replicas, self.all_replicas, node)
    }
}

impl Tally {
    /// Notes what a node has altogether.
    pub(crate) fn weigh(&mut self, node: NodeId, replicas: usize, primaries: usize) {
        let load = self.loads.entry(node).or_default();
        load.all_replicas = replicas;
        load.all_primaries = primaries;
    }

    /// This one may be chosen. (What it has altogether is noted already.)
    pub(crate) fn admit(&mut self, node: NodeId, zone: &str) {
        let load = self.loads.entry(node).or_default();
        load.zone = Some(zone.to_owned());
        let of_zone = self.candidates.entry(zone.to_owned()).or_default();
        of_zone.insert(load.order(node));
    }

    /// Counts in one partition of the table, its primary first.
    pub(crate) fn count(&mut self, members: &[NodeId]) {
        for (position, &member) in members.iter().enumerate() {
            let load = self.loads.entry(member).or_default();
            let before = load.order(member);
            load.replicas += 1;
            load.primaries += usize::from(position == 0);
            load.successors += usize::from(position == 1);
            let after = load.order(member);
            if let Some(of_zone) = load
                .zone
                .as_ref()
                .and_then(|zone| self.candidates.get_mut(zone))
            {
                of_zone.remove(&before);
                of_zone.insert(after);
            }
        }
    }

    /// Chooses `replicas` of those that may be chosen, if there are so many; those in `kept` are among them, the others in as many zones as
    /// there are. The primary comes first.
    pub(crate) fn choose(&self, kept: &[NodeId], replicas: usize) -> Vec<NodeId> {
        // Of a zone nobody is chosen but those that have least: there may be a thousand nodes, and ten thousand partitions.
        let least = self.candidates.values().flat_map(|of_zone| {
            let some = of_zone.iter().take(replicas + kept.len());
            some.map(|&(_, _, node)| node)
        });
        let admitted = kept.iter().filter(|&&node| self.load(node).zone.is_some());
        let candidates: BTreeSet<NodeId> = least.chain(admitted.copied()).collect();
        let mut order: Vec<NodeId> = candidates.into_iter().collect();
        order.sort_by_cached_key(|node| (!kept.contains(node), self.load(*node).order(*node)));
        let zone = |node| self.load(node).zone.as_deref().unwrap_or("");
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

    fn load(&self, node: NodeId) -> &Load {
        const NOTHING: &Load = &Load {
            replicas: 0,
            primaries: 0,
            successors: 0,
            all_replicas: 0,
            all_primaries: 0,
            zone: None,
        };
        self.loads.get(&node).unwrap_or(NOTHING)
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

    fn among(nodes: std::ops::RangeInclusive<u64>, zone: impl Fn(u64) -> &'static str) -> Tally {
        let mut tally = Tally::default();
        for n in nodes {
            tally.admit(NodeId(n), zone(n));
        }
        tally
    }

    fn counts(nodes: u64, partitions: usize, replicas: usize) -> Vec<[usize; 3]> {
        let mut tally = among(1..=nodes, |_| "");
        for _ in 0..partitions {
            let members = tally.choose(&[], replicas);
            assert_eq!(members.len(), replicas);
            tally.count(&members);
        }
        let load = |n| tally.load(NodeId(n));
        (1..=nodes)
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
        tally.admit(NodeId(1), "");
        tally.admit(NodeId(2), "");
        let first = tally.choose(&[], 1);
        assert_eq!(first, [NodeId(2)]);
        tally.count(&first);
        assert_eq!(tally.choose(&[], 1), [NodeId(1)]);
    }

    #[test]
    fn a_node_that_has_it_already_is_kept() {
        let mut tally = among(1..=3, |_| "");
        tally.count(&[NodeId(3)]);
        assert_eq!(tally.choose(&[NodeId(3)], 2), [NodeId(1), NodeId(3)]);
        assert_eq!(
            tally.choose(&[NodeId(9)], 2),
            [NodeId(1), NodeId(2)],
            "9 takes none"
        );
    }

    #[test]
    fn copies_are_in_different_zones_as_long_as_there_are_any() {
        let tally = among(1..=6, |n| if n <= 4 { "a" } else { "b" });
        let mut two = tally.choose(&[], 2);
        two.sort_unstable();
        assert_eq!(two, [NodeId(1), NodeId(5)]);
        let mut three = tally.choose(&[], 3);
        three.sort_unstable();
        assert_eq!(three, [NodeId(1), NodeId(2), NodeId(5)]);
    }
}
