//! What the log's threads and its handles share, and the small steps all of them take: failing, completing, looking at the clock.
//!
//! Locks are taken in this order: turnstile, syncing round, tail, then one of index, files, queue, syncing, completions.

use crate::Position;
use crate::disk::Disk;
use crate::index::Index;
use crate::options::{Completions, LogError, LogOptions};
use crate::queue::Queue;
use crate::tail::{Files, Tail, Writing, lock};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// Who waits for a sync (`buffered`).
#[derive(Default)]
pub(crate) struct Syncing {
    /// Complete these when the log is synced up to there.
    pub(crate) waiting: Vec<(Position, u64)>,
    /// Somebody does not want to wait for the next regular sync.
    pub(crate) urgent: bool,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) carried_bytes: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) index: Mutex<Index>,
    pub(crate) tail: Mutex<Tail>,
    /// Passed before the tail is taken, and held by the tidier until it has the tail: a busy writer would never let it in.
    pub(crate) turnstile: Mutex<()>,
    pub(crate) files: Mutex<Files>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_filled: Condvar,
    pub(crate) queue_drained: Condvar,
    pub(crate) syncing: Mutex<Syncing>,
    pub(crate) sync_wanted: Condvar,
    /// Something became durable, or the log failed.
    pub(crate) progressed: Condvar,
    pub(crate) sync_round: Mutex<()>,
    pub(crate) tidying: Mutex<bool>,
    pub(crate) tidy_wanted: Condvar,
    pub(crate) wants_spare: AtomicBool,
    /// Written and not synced (`buffered`).
    pub(crate) dirty: AtomicBool,
    appended: AtomicU64,
    synced: AtomicU64,
    completions: Mutex<Box<dyn Completions>>,
    failed: OnceLock<String>,
    failure_told: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Counters,
    opened: Instant,
    pub(crate) writing_since: AtomicU64,
    pub(crate) syncing_since: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        index: Mutex<Index>,
        files: Mutex<Files>,
        tail: Tail,
        completions: Box<dyn Completions>,
    ) -> Self {
        let end = tail.position();
        Self {
            disk,
            options,
            index,
            tail: Mutex::new(tail),
            turnstile: Mutex::new(()),
            files,
            queue: Mutex::default(),
            queue_filled: Condvar::new(),
            queue_drained: Condvar::new(),
            syncing: Mutex::default(),
            sync_wanted: Condvar::new(),
            progressed: Condvar::new(),
            sync_round: Mutex::new(()),
            tidying: Mutex::new(true),
            tidy_wanted: Condvar::new(),
            wants_spare: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            appended: AtomicU64::new(end.raw()),
            synced: AtomicU64::new(end.raw()),
            completions: Mutex::new(completions),
            failed: OnceLock::new(),
            failure_told: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            counters: Counters::default(),
            opened: Instant::now(),
            writing_since: AtomicU64::new(0),
            syncing_since: AtomicU64::new(0),
        }
    }

    /// End of the last records written.
    pub(crate) fn appended(&self) -> Position {
        Position::from_raw(self.appended.load(Ordering::Acquire))
    }

    pub(crate) fn set_appended(&self, end: Position) {
        self.appended.store(end.raw(), Ordering::Release);
    }

    /// Everything before this is on disk.
    pub(crate) fn synced(&self) -> Position {
        Position::from_raw(self.synced.load(Ordering::Acquire))
    }

    pub(crate) fn set_synced(&self, end: Position) {
        self.synced.fetch_max(end.raw(), Ordering::AcqRel);
    }

    pub(crate) fn writing(&self) -> Writing<'_> {
        Writing {
            disk: &*self.disk,
            files: &self.files,
            index: &self.index,
            durability: self.options.durability,
            segment_size: self.options.segment_size.0,
            synced: self.synced(),
        }
    }

    pub(crate) fn lock_tail(&self) -> MutexGuard<'_, Tail> {
        drop(lock(&self.turnstile));
        lock(&self.tail)
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.failure()
            .map_or(Ok(()), |reason| Err(LogError::Failed(reason.to_owned())))
    }

    /// The log is over. A failed write or sync is never tried again: the kernel may have dropped the pages and call the next try
    /// a success.
    pub(crate) fn fail(&self, doing: &str, error: &std::io::Error) -> LogError {
        let reason = self.failed.get_or_init(|| {
            tracing::error!(%error, doing, "the commit log has failed");
            format!("cannot {doing}: {error}")
        });
        self.wake_all();
        LogError::Failed(reason.clone())
    }

    /// Tells of a failure, once. On a thread of the log, never from inside an append.
    pub(crate) fn tell_failure(&self) -> bool {
        let Some(reason) = self.failed.get() else {
            return false;
        };
        if self.failure_told.swap(true, Ordering::AcqRel) {
            return false;
        }
        lock(&self.completions).failed(reason);
        true
    }

    pub(crate) fn complete(&self, tickets: &[u64]) {
        if !tickets.is_empty() && self.failure().is_none() {
            lock(&self.completions).flushed(tickets);
        }
    }

    pub(crate) fn disk_took(&self, time: std::time::Duration) {
        lock(&self.completions).disk_took(time);
    }

    pub(crate) fn wake_tidier(&self) {
        *lock(&self.tidying) = true;
        self.tidy_wanted.notify_one();
    }

    pub(crate) fn wake_all(&self) {
        // Each lock is taken so that nobody is between looking and waiting.
        drop(lock(&self.queue));
        self.queue_filled.notify_all();
        self.queue_drained.notify_all();
        drop(lock(&self.syncing));
        self.sync_wanted.notify_all();
        self.progressed.notify_all();
        self.wake_tidier();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Runs a disk operation under `since`, for whoever watches for a hanging disk (R6).
    pub(crate) fn watched<T>(&self, since: &AtomicU64, operation: impl FnOnce() -> T) -> T {
        since.store(
            self.opened.elapsed().as_nanos() as u64 + 1,
            Ordering::Relaxed,
        );
        let result = operation();
        since.store(0, Ordering::Relaxed);
        result
    }

    pub(crate) fn busy_since(&self) -> Option<Instant> {
        [&self.writing_since, &self.syncing_since]
            .into_iter()
            .map(|since| since.load(Ordering::Relaxed))
            .filter(|&since| since > 0)
            .min()
            .map(|since| self.opened + std::time::Duration::from_nanos(since - 1))
    }

    /// From here on segments are given up and laggards named.
    pub(crate) fn under_pressure(&self, index: &Index) -> bool {
        let damaged = index
            .segments
            .front()
            .is_some_and(|oldest| oldest.sequence <= index.damaged);
        damaged || index.bytes > self.options.budget.0 / 2
    }
}
