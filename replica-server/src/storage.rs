//! What a data directory holds, opened together: the engine, both logs, and the replicas that the two have between them.
//!
//! What a replica's records come to is `worker`'s (`Finder`); whose directory it is, `directory`'s.

use crate::config::ReplicaConfig;
use crate::directory::DataDirectory;
use crate::inbox::Input;
use crate::metrics::Timings;
use crate::run::StartError;
use crate::worker::{self, Found, Logs};
use commit_log::{Completions, DirectIo, Directory, Log, LogOptions};
use engine::{Engine, EngineOptions, Hooks, Memory};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use types::{ByteSize, Decree, Durability, Incarnation, PartitionId};

/// Hands tickets of a log to the worker.
struct ToInbox {
    inbox: mpsc::UnboundedSender<Input>,
    durability: Durability,
    timings: Arc<Timings>,
}

impl Completions for ToInbox {
    fn flushed(&self, tickets: &[u64]) {
        let _ = self.inbox.send(Input::Flushed(tickets.to_vec()));
    }

    fn failed(&self, reason: &str) {
        let _ = self.inbox.send(Input::LogFailed(reason.to_owned()));
    }

    fn disk_took(&self, time: Duration) {
        self.timings.log(self.durability).record(time);
    }
}

/// Opens everything. What neither the log nor the engine can prove to be a copy is removed, or found damaged.
pub(crate) fn open(
    config: &ReplicaConfig,
    directory: &DataDirectory,
    inbox: &mpsc::UnboundedSender<Input>,
    timings: &Arc<Timings>,
) -> Result<(Engine, Logs, Vec<Found>), StartError> {
    let data = directory.part("data");
    let buffered_log: Arc<OnceLock<Log>> = Arc::default();
    let options = EngineOptions {
        block_cache: config.budgets.block_cache.bytes(),
        row_cache: config.budgets.row_cache.bytes(),
        overlay_budget: config.budgets.overlay.bytes(),
        memtable_budget: config.budgets.memtables.bytes(),
        max_open: config.budgets.open_partitions,
        digest_rate: config.digest.rate.0,
        garbage_rows: config.garbage.rows,
        garbage_percent: config.garbage.percent,
        limits: commands::Limits {
            key: config.resp.max_key.bytes(),
            ..commands::Limits::default()
        },
        ..EngineOptions::at(&data)
    };
    let (events, syncing, synced) = (inbox.clone(), buffered_log.clone(), buffered_log.clone());
    let hooks = Hooks {
        events: Box::new(move |event| drop(events.send(Input::Engine(event)))),
        // What is committed in durability sync is synced; only the buffered log may be behind.
        sync_log: Box::new(move |partition, decree| {
            let log = syncing.get().ok_or("the log is not open yet")?;
            if log.is_synced(partition, decree) {
                return Ok(());
            }
            log.wait_synced().map_err(|error| error.to_string())
        }),
        log_is_synced: Box::new(move |partition, decree| {
            synced
                .get()
                .is_some_and(|log| log.is_synced(partition, decree))
        }),
    };
    let failed = |part, path: &PathBuf| {
        let path = path.clone();
        move |error: &dyn std::fmt::Display| StartError::Open {
            part,
            path,
            reason: error.to_string(),
        }
    };
    commit_log::create_directory(&data).map_err(|error| failed("storage", &data)(&error))?;
    let engine = Engine::open(options, hooks).map_err(|error| failed("storage", &data)(&error))?;
    let durable: std::collections::HashMap<PartitionId, Decree> = engine
        .partitions()
        .into_iter()
        .map(|(id, applied)| (id, applied.decree))
        .collect();
    let durable = |partition: PartitionId| durable.get(&partition).copied().unwrap_or_default();
    let mut finder = worker::Finder::default();
    let mut open_log = |durability: Durability| -> Result<Log, StartError> {
        let path = directory.part("log").join(durability.to_string());
        let disk = Directory::open(&path, DirectIo::Auto)
            .map_err(|error| failed("the log", &path)(&error))?;
        let options = LogOptions {
            budget: config.budgets.log,
            segment_size: segment_size(config.budgets.log),
            // What learners still need of the log; beyond it they get a fresh checkpoint.
            pinned: ByteSize(config.budgets.log.0 / 4),
            ..LogOptions::new(durability)
        };
        let mut visit = |record| finder.record(record, durability, &durable);
        let completions = Box::new(ToInbox {
            inbox: inbox.clone(),
            durability,
            timings: timings.clone(),
        });
        let (log, recovery) = Log::open(Arc::new(disk), options, &durable, &mut visit, completions)
            .map_err(|error| failed("the log", &path)(&error))?;
        tracing::info!(%durability, mutations = recovery.mutations, partitions = recovery.partitions, torn_bytes = recovery.torn_bytes, "log recovered");
        for partition in recovery.quarantined {
            tracing::error!(%partition, "the log of this replica is damaged: it learns anew from another member");
            finder.quarantine(partition, durability, durable(partition));
        }
        Ok(log)
    };
    let logs = Logs {
        sync: open_log(Durability::Sync)?,
        buffered: open_log(Durability::Buffered)?,
    };
    let _ = buffered_log.set(logs.buffered.clone());
    let new_node = directory.incarnation == Incarnation(1);
    match engine.memory() {
        Memory::Whole => {}
        Memory::None if new_node => {}
        Memory::None | Memory::Partial => finder.storage_unknown(),
    }
    for (partition, _) in engine.partitions() {
        if !finder.knows(partition) && !finder.was_deleted(partition) {
            tracing::error!(%partition, "the log does not mention this replica, so its files are no copy: they are removed");
            engine.remove(partition);
        }
    }
    for deleted in finder.deleted() {
        engine.remove(deleted);
    }
    let (found, others) = finder.finish();
    for (partition, durability) in others {
        tracing::warn!(%partition, %durability, "this replica was on its way to another log when the server ended: what this one has of it goes");
        logs.of(durability)
            .delete(partition)
            .map_err(|error| failed("the log", &directory.part("log"))(&error))?;
    }
    Ok((engine, logs, found))
}

/// A log goes away segment by segment: a small one needs small ones.
fn segment_size(budget: ByteSize) -> ByteSize {
    let size = (budget.0 / 16).next_multiple_of(1 << 20);
    ByteSize(size.clamp(1 << 20, 64 << 20))
}
