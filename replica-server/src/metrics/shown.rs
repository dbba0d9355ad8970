//! A replica server as its HTTP port sees it: whether it moves, whether it can serve, and its metrics, each named here and in docs/metrics.md.
//!
//! The port is there before the logs are read, so that a long recovery is no death.

use super::counted::REASONS;
use super::front::{describe_resp, describe_routes};
use super::snapshot::{Asked, ROLES, Snapshot};
use super::timings::Timings;
use crate::clock;
use crate::peers::beacons::Pulse;
use crate::room::Room;
use crate::worker::SharedLeases;
use commit_log::Log;
use engine::Engine;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use telemetry::{Exposition, Role, Subject};
use tokio::sync::{mpsc, oneshot};
use types::{Durability, NodeId};

/// How long the worker may take to answer; then its last answer is shown again.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Shown {
    parts: OnceLock<Parts>,
    leaving: AtomicBool,
}

/// What there is once the server has recovered.
pub(crate) struct Parts {
    pub(crate) pulse: Pulse,
    pub(crate) joined: Arc<AtomicBool>,
    pub(crate) snapshots: mpsc::Sender<Asked>,
    pub(crate) last: Mutex<Arc<Snapshot>>,
    pub(crate) timings: Arc<Timings>,
    pub(crate) leases: SharedLeases,
    pub(crate) engine: Engine,
    pub(crate) sync_log: Log,
    pub(crate) buffered_log: Log,
    pub(crate) resp: Arc<resp_gateway::Statistics>,
    pub(crate) client: tulpar_client::Client,
}

impl Shown {
    /// The server has recovered.
    pub(crate) fn recovered(&self, parts: Parts) {
        // It does so once.
        let _ = self.parts.set(parts);
    }

    /// The server ends.
    pub(crate) fn leaves(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl Subject for Shown {
    fn role(&self) -> Role {
        Role::Replica
    }

    fn health(&self) -> Result<(), String> {
        self.parts.get().map_or(Ok(()), |parts| parts.pulse.check())
    }

    async fn ready(&self) -> Result<(), String> {
        let Some(parts) = self.parts.get() else {
            return Err("the logs are being read".into());
        };
        if self.leaving.load(Ordering::Relaxed) {
            return Err("the server ends".into());
        }
        if !parts.joined.load(Ordering::Relaxed) {
            return Err("no meta leader was reached since the start".into());
        }
        Ok(())
    }

    async fn describe(&self, into: &mut Exposition) {
        if let Some(parts) = self.parts.get() {
            let snapshot = parts.snapshot().await;
            replicas(&snapshot, into);
            commands(&snapshot, into);
            parts.replication(&snapshot, into);
            parts.logs(into);
            parts.storage(&snapshot, into);
            describe_resp(&parts.resp, into);
            describe_routes(&parts.client.statistics(), into);
        }
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn replicas(snapshot: &Snapshot, into: &mut Exposition) {
    let roles = into.gauges("tulpar_replicas", "Replicas on this server, by role.");
    for (role, count) in ROLES.iter().zip(snapshot.replicas) {
        roles.sample(&[("role", role)], count as f64);
    }
    into.gauge(
        "tulpar_replicas_damaged",
        "Replicas that are no copy to go on with: their log or storage is damaged, and they learn anew.",
        snapshot.damaged as f64,
    );
    let in_log = into.gauges(
        "tulpar_replicas_in_log",
        "Replicas whose records go to the log of that durability.",
    );
    for durability in [Durability::Sync, Durability::Buffered] {
        let count = snapshot.in_log[usize::from(durability == Durability::Buffered)];
        in_log.sample(&[("durability", &durability.to_string())], count as f64);
    }
    into.gauge(
        "tulpar_replicas_changing_durability",
        "Replicas that are still in the log of a durability which their table had before.",
        snapshot.changing_durability as f64,
    );
    into.gauge(
        "tulpar_partitions_without_lease",
        "Partitions led here that answer no reads, because the lease of a member is missing.",
        snapshot.without_lease as f64,
    );
    into.gauge(
        "tulpar_partitions_without_members",
        "Partitions led here that take no writes, because too few members are there.",
        snapshot.without_members as f64,
    );
    into.gauge(
        "tulpar_meta_connected",
        "Whether this server has a stream to the meta leader. It serves without one.",
        flag(snapshot.meta_connected),
    );
}

fn commands(snapshot: &Snapshot, into: &mut Exposition) {
    let reads = into.counters(
        "tulpar_table_reads",
        "Commands evaluated here that only read.",
    );
    for (table, counts) in &snapshot.tables {
        reads.sample(&[("table", table)], counts.reads as f64);
    }
    let writes = into.counters(
        "tulpar_table_writes",
        "Commands evaluated here that may write.",
    );
    for (table, counts) in &snapshot.tables {
        writes.sample(&[("table", table)], counts.writes as f64);
    }
    let bytes = into.counters(
        "tulpar_table_written_bytes",
        "Effects replicated by partitions led here.",
    );
    for (table, counts) in &snapshot.tables {
        bytes.sample(&[("table", table)], counts.written_bytes as f64);
    }
    into.counter(
        "tulpar_command_errors",
        "Replies that were errors, as WRONGTYPE.",
        snapshot.errors as f64,
    );
    let refused = into.counters(
        "tulpar_commands_refused",
        "Commands that were not done, by reason.",
    );
    for (reason, count) in REASONS.iter().zip(snapshot.refused) {
        refused.sample(&[("reason", reason)], count as f64);
    }
    into.gauge(
        "tulpar_commands_held",
        "Commands that wait: for rows from the disk, a lease, or room in the window.",
        snapshot.held as f64,
    );
    into.gauge(
        "tulpar_requests_unanswered",
        "Requests on clients' streams that wait for an answer.",
        snapshot.unanswered as f64,
    );
    into.gauge(
        "tulpar_request_ids_bytes",
        "Memory that what is remembered of requests takes, so that each takes effect once.",
        snapshot.request_ids_bytes as f64,
    );
}

impl Parts {
    /// What the worker says, or said last.
    async fn snapshot(&self) -> Arc<Snapshot> {
        let (ask, answer) = oneshot::channel();
        // Full: others wait already, and the worker is busy.
        let asked = self.snapshots.try_send(ask);
        let answer = tokio::time::timeout(PATIENCE, answer);
        let (Ok(()), Ok(Ok(fresh))) = (asked, answer.await) else {
            return self.last();
        };
        let fresh = Arc::new(fresh);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }

    fn last(&self) -> Arc<Snapshot> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replication(&self, snapshot: &Snapshot, into: &mut Exposition) {
        let name = |node: &NodeId| {
            let known = snapshot.names.get(node).filter(|name| !name.is_empty());
            known.cloned().unwrap_or_else(|| node.to_string())
        };
        into.gauge(
            "tulpar_worker_still_seconds",
            "How long ago the worker last had a turn for itself; it wants one every half second.",
            self.pulse.worker_still_for().as_secs_f64(),
        );
        let lags = into.gauges(
            "tulpar_replication_lag_mutations",
            "The most that a peer has yet to acknowledge of any partition led here; members hold up commits, learners do not.",
        );
        for ((node, learns), lag) in &snapshot.lags {
            let kind = if *learns { "learner" } else { "member" };
            lags.sample(&[("peer", &name(node)), ("kind", kind)], *lag as f64);
        }
        let margins: Vec<_> = self.leases.lock().margins(clock::now()).collect();
        let shown = into.gauges(
            "tulpar_lease_margin_seconds",
            "How long reads may still be answered on the peer's word; 0: it is silent.",
        );
        for (node, margin) in &margins {
            shown.sample(&[("peer", &name(node))], margin.as_secs_f64());
        }
        let behind = into.gauges(
            "tulpar_mutations_behind",
            "The most mutations of any replica here that are prepared and not committed, committed and not applied to RocksDB, applied and not on disk there.",
        );
        behind.sample(&[("stage", "commit")], snapshot.uncommitted as f64);
        behind.sample(&[("stage", "apply")], snapshot.unapplied as f64);
        behind.sample(&[("stage", "flush")], snapshot.not_durable as f64);
        into.histogram(
            "tulpar_commit_seconds",
            "From a mutation's first command to its commit, on the primary.",
            self.timings.commits.counts(),
        );
    }

    fn logs(&self, into: &mut Exposition) {
        let logs = [
            (Durability::Sync, "sync", self.sync_log.stats()),
            (Durability::Buffered, "buffered", self.buffered_log.stats()),
        ];
        let seconds = into.histograms(
            "tulpar_log_disk_seconds",
            "How long the disk took: durability sync, for a batch to be on it; buffered, for a sync.",
        );
        for (durability, label, _) in logs {
            let counts = self.timings.log(durability).counts();
            seconds.sample(&[("durability", label)], counts);
        }
        let busy = self.pulse.disk_busy_for().unwrap_or_default();
        into.gauge(
            "tulpar_log_disk_busy_seconds",
            "How long the log has waited for the operation of the disk under way; 0: there is none.",
            busy.as_secs_f64(),
        );
        let mut gauges = |name, help, of: fn(&commit_log::LogStats) -> u64| {
            let family = into.gauges(name, help);
            for (_, label, stats) in &logs {
                family.sample(&[("durability", label)], of(stats) as f64);
            }
        };
        gauges("tulpar_log_bytes", "Size of the log.", |log| log.bytes);
        gauges("tulpar_log_segments", "Files that hold the log.", |log| {
            log.segments as u64
        });
        gauges(
            "tulpar_log_queued_bytes",
            "Records that wait to be written.",
            |log| log.queued_bytes,
        );
        gauges(
            "tulpar_log_over_budget",
            "Whether the log is larger than budgets.log: writers wait until RocksDB has flushed.",
            |log| u64::from(log.over_budget),
        );
        let mut counters = |name, help, of: fn(&commit_log::LogStats) -> u64| {
            let family = into.counters(name, help);
            for (_, label, stats) in &logs {
                family.sample(&[("durability", label)], of(stats) as f64);
            }
        };
        counters("tulpar_log_batches", "Batches written.", |log| log.batches);
        counters(
            "tulpar_log_segments_released",
            "Files given up, because RocksDB has what was in them.",
            |log| log.released,
        );
        counters(
            "tulpar_log_carried_bytes",
            "Records copied forward, so that files could be given up.",
            |log| log.carried_bytes,
        );
    }

    fn storage(&self, snapshot: &Snapshot, into: &mut Exposition) {
        let (stats, rocks) = (self.engine.stats(), self.engine.rocks_state());
        let memory = into.gauges(
            "tulpar_storage_memory_bytes",
            "Memory of the storage, by part.",
        );
        for (part, bytes) in [
            ("overlay", stats.overlay as u64),
            ("memtables", stats.memtables as u64),
            ("row_cache", stats.row_cache),
            ("block_cache", stats.block_cache as u64),
        ] {
            memory.sample(&[("part", part)], bytes as f64);
        }
        into.gauge(
            "tulpar_storage_open_partitions",
            "RocksDBs open.",
            stats.open as f64,
        );
        into.gauge(
            "tulpar_storage_max_open_partitions",
            "RocksDBs that may be open at once (budgets.open_partitions).",
            self.engine.max_open() as f64,
        );
        into.gauge(
            "tulpar_storage_overloaded",
            "Whether writes wait, because committed ones come faster than RocksDB takes them.",
            flag(self.engine.overloaded()),
        );
        into.gauge(
            "tulpar_rocksdb_file_bytes",
            "Files of the open RocksDBs.",
            rocks.file_bytes as f64,
        );
        into.gauge(
            "tulpar_rocksdb_pending_compaction_bytes",
            "What compactions have yet to rewrite, by RocksDB's estimate.",
            rocks.pending_compaction_bytes as f64,
        );
        let jobs = into.gauges("tulpar_rocksdb_jobs", "Work under way in the background.");
        jobs.sample(&[("job", "compaction")], rocks.compactions as f64);
        jobs.sample(&[("job", "flush")], rocks.flushes as f64);
        into.gauge(
            "tulpar_rocksdb_stalled",
            "RocksDBs that take no writes, or take them slowly, until they have flushed or compacted.",
            rocks.stalled as f64,
        );
        into.gauge(
            "tulpar_rocksdb_background_errors",
            "Errors that the background work of the open RocksDBs met.",
            rocks.background_errors as f64,
        );
        let refuses = into.gauges(
            "tulpar_disk_full_refuses",
            "Whether the disk is so full (budgets.disk_reserve) that no new data is taken from clients, or from other servers either.",
        );
        refuses.sample(&[("from", "clients")], flag(snapshot.room != Room::Enough));
        refuses.sample(&[("from", "servers")], flag(snapshot.room == Room::Out));
    }
}
