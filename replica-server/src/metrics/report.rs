//! What the meta leader gets with each beat: what was done since the last one, so that it can draw the cluster's last hour.

use super::{Counted, Timings};
use crate::metrics::counted::TrafficCounts;
use crate::worker::Worker;
use proto::meta::{Load, TableLoad};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use telemetry::Counts;
use types::TableId;

/// The busiest tables that one beat tells of.
const TABLES: usize = 32;

/// Remembers what was reported before.
pub(crate) struct Report {
    worker: Rc<Worker>,
    timings: Arc<Timings>,
    before: Readings,
}

#[derive(Default)]
struct Readings {
    tables: BTreeMap<TableId, TrafficCounts>,
    refused: u64,
    commits: Counts,
    disk: Counts,
}

impl Report {
    pub(crate) fn new(worker: Rc<Worker>, timings: Arc<Timings>) -> Self {
        let before = Readings::take(&worker.counted, &timings);
        Self {
            worker,
            timings,
            before,
        }
    }

    /// What was done since the last call.
    pub(crate) fn next(&mut self) -> Load {
        let now = Readings::take(&self.worker.counted, &self.timings);
        let before = std::mem::replace(&mut self.before, now);
        let now = &self.before;
        let mut tables: Vec<TableLoad> = now
            .tables
            .iter()
            .map(|(table, counts)| since(*table, *counts, before.tables.get(table)))
            .filter(|load| load.reads + load.writes > 0)
            .collect();
        let all = |of: fn(&TableLoad) -> u64| tables.iter().map(of).sum();
        let mut load = Load {
            reads: all(|load| load.reads),
            writes: all(|load| load.writes),
            written_bytes: all(|load| load.written_bytes),
            refused: now.refused.saturating_sub(before.refused),
            commits: now.commits.since(&before.commits).buckets.to_vec(),
            disk: now.disk.since(&before.disk).buckets.to_vec(),
            resident_bytes: telemetry::resident_bytes(),
            version: env!("CARGO_PKG_VERSION").into(),
            tables: Vec::new(),
        };
        tables.sort_by_key(|load| std::cmp::Reverse(load.reads + load.writes));
        tables.truncate(TABLES);
        load.tables = tables;
        load
    }
}

impl Readings {
    fn take(counted: &Counted, timings: &Timings) -> Self {
        Self {
            tables: counted.tables().into_iter().collect(),
            refused: counted.refused().iter().sum(),
            commits: timings.commits.counts(),
            disk: timings.logs(),
        }
    }
}

fn since(table: TableId, now: TrafficCounts, before: Option<&TrafficCounts>) -> TableLoad {
    let before = before.copied().unwrap_or_default();
    TableLoad {
        table: table.0,
        reads: now.reads.saturating_sub(before.reads),
        writes: now.writes.saturating_sub(before.writes),
        written_bytes: now.written_bytes.saturating_sub(before.written_bytes),
    }
}
