//! What the nodes did in the last hour, from the loads that come with their beats: in steps, and in bounded memory.
//!
//! A new leader begins with nothing, and has an hour again an hour later. Time comes in as the span since some beginning.

use proto::meta::Load;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use telemetry::{BUCKETS, Counts};
use types::NodeId;

/// How long a step is, and how many there are.
pub(super) const STEP: Duration = Duration::from_secs(20);
pub(super) const STEPS: usize = 180;
/// Nodes and tables whose past is kept; of more, those heard of last.
const MOST_NODES: usize = 4096;
const MOST_TABLES: usize = 1024;
/// What is kept of a version's text.
const LONGEST_VERSION: usize = 32;

/// What was done in one step, by all nodes together.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
    pub(super) refused: u64,
    pub(super) commits: Counts,
    pub(super) disk: Counts,
}

/// The same of one node or table, in short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brief {
    pub(super) reads: u32,
    pub(super) writes: u32,
}

/// Values by step; steps without any are not there.
#[derive(Clone, Debug)]
pub(super) struct Steps<T>(VecDeque<(u64, T)>);

/// What is known of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodePast {
    pub(super) traffic: Steps<Brief>,
    pub(super) resident_bytes: u64,
    pub(super) version: String,
    heard: u64,
}

/// What is known of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct TablePast {
    pub(super) traffic: Steps<Brief>,
    heard: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(super) cluster: Steps<Totals>,
    pub(super) nodes: BTreeMap<NodeId, NodePast>,
    pub(super) tables: BTreeMap<u32, TablePast>,
}

/// The step that a moment belongs to.
pub(super) fn step(since_beginning: Duration) -> u64 {
    since_beginning.as_secs() / STEP.as_secs()
}

impl History {
    /// Takes in what a node did until now.
    pub(crate) fn record(&mut self, since_beginning: Duration, node: NodeId, load: Load) {
        let now = step(since_beginning);
        let totals = self.cluster.at(now);
        totals.reads += load.reads;
        totals.writes += load.writes;
        totals.written_bytes += load.written_bytes;
        totals.refused += load.refused;
        totals.commits.add(&counts(&load.commits));
        totals.disk.add(&counts(&load.disk));
        let known = self.nodes.entry(node).or_default();
        known.traffic.at(now).add(load.reads, load.writes);
        known.resident_bytes = load.resident_bytes;
        known.version = load.version.chars().take(LONGEST_VERSION).collect();
        known.heard = now;
        for table in load.tables {
            let known = self.tables.entry(table.table).or_default();
            known.traffic.at(now).add(table.reads, table.writes);
            known.heard = now;
        }
        forget(&mut self.nodes, MOST_NODES, |node| node.heard);
        forget(&mut self.tables, MOST_TABLES, |table| table.heard);
    }
}

/// Removes who was heard of longest ago, while there are too many.
fn forget<K: Ord + Copy, T>(known: &mut BTreeMap<K, T>, most: usize, heard: fn(&T) -> u64) {
    while known.len() > most {
        let oldest = known.iter().min_by_key(|(_, past)| heard(past));
        let Some((&oldest, _)) = oldest else { return };
        known.remove(&oldest);
    }
}

/// As a node counted; buckets that this version does not have are not looked at.
fn counts(buckets: &[u64]) -> Counts {
    let mut counts = Counts::default();
    for (own, &told) in counts.buckets.iter_mut().zip(buckets.iter().take(BUCKETS)) {
        *own = told;
    }
    counts
}

impl Brief {
    fn add(&mut self, reads: u64, writes: u64) {
        let more =
            |own: u32, told: u64| own.saturating_add(u32::try_from(told).unwrap_or(u32::MAX));
        self.reads = more(self.reads, reads);
        self.writes = more(self.writes, writes);
    }

    /// Commands a second.
    pub(super) fn rate(self) -> f64 {
        (f64::from(self.reads) + f64::from(self.writes)) / STEP.as_secs_f64()
    }
}

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Default> Steps<T> {
    /// The step's value, new if there is none. Time does not go back.
    fn at(&mut self, step: u64) -> &mut T {
        if self.0.back().is_none_or(|&(last, _)| last < step) {
            self.0.push_back((step, T::default()));
            if self.0.len() > STEPS {
                self.0.pop_front();
            }
        }
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }
}

impl<T: Default> Steps<T> {
    /// One value for each of the last `STEPS` whole steps before `now`, the oldest first; that of nothing where nothing was done.
    pub(super) fn values(&self, now: u64, value: impl Fn(&T) -> f64) -> Vec<f64> {
        let mut values = vec![value(&T::default()); STEPS];
        for (step, item) in &self.0 {
            let back = now.saturating_sub(*step);
            if (1..=STEPS as u64).contains(&back) {
                values[STEPS - back as usize] = value(item);
            }
        }
        values
    }
}

impl<T> Steps<T> {
    /// The last whole step before `now`; nothing if nothing was done in it.
    pub(super) fn last(&self, now: u64) -> Option<&T> {
        let mut steps = self.0.iter().rev();
        steps
            .find(|(step, _)| step + 1 == now)
            .map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(reads: u64, commits: &[u64]) -> Load {
        Load {
            reads,
            commits: commits.to_vec(),
            version: "0".repeat(1000),
            tables: vec![proto::meta::TableLoad {
                table: 7,
                reads,
                ..Default::default()
            }],
            ..Load::default()
        }
    }

    #[test]
    fn loads_of_all_nodes_add_up_by_step_and_an_hour_is_kept() {
        let mut history = History::default();
        let begin = STEP * 1000;
        for second in 0..7200 {
            let now = begin + Duration::from_secs(second);
            history.record(now, NodeId(1), load(2, &[1]));
            history.record(now, NodeId(2), load(3, &[0, 1]));
        }
        let now = step(begin + Duration::from_hours(2));
        let reads = history.cluster.values(now, |totals| totals.reads as f64);
        assert_eq!(reads, vec![5.0 * STEP.as_secs_f64(); STEPS]);
        let last = history.cluster.last(now).unwrap();
        assert_eq!(last.commits.buckets[..3], [20, 20, 0]);
        assert_eq!(history.cluster.0.len(), STEPS);
        assert!((history.tables[&7].traffic.last(now).unwrap().rate() - 5.0).abs() < 1e-9);
        assert_eq!(history.nodes[&NodeId(2)].version.len(), LONGEST_VERSION);
    }

    #[test]
    fn silence_is_no_traffic() {
        let mut history = History::default();
        history.record(STEP * 3, NodeId(1), load(20, &[]));
        let reads = history.cluster.values(6, |totals| totals.reads as f64);
        assert_eq!(reads[STEPS - 4..], [0.0, 20.0, 0.0, 0.0]);
        assert!(history.cluster.last(6).is_none());
    }

    #[test]
    fn what_nodes_send_does_not_grow_beyond_the_bounds() {
        let mut history = History::default();
        for node in 0..MOST_NODES as u64 + 10 {
            let mut load = load(1, &[1; 100]);
            load.tables[0].table = node as u32;
            history.record(STEP * u32::try_from(node).unwrap(), NodeId(node), load);
        }
        assert_eq!(history.nodes.len(), MOST_NODES);
        assert_eq!(history.tables.len(), MOST_TABLES);
        assert!(!history.nodes.contains_key(&NodeId(9)), "the oldest went");
    }
}
