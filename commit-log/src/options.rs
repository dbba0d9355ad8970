//! What a log is opened with, and what it answers: options, outcomes and errors. No behaviour.

use crate::Position;
use std::collections::BTreeSet;
use types::{ByteSize, Decree, Durability, PartitionId};

/// Who moves the log on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Driving {
    /// Two threads of its own.
    #[default]
    Threads,
    /// The caller, by [`crate::Log::drive`]: simulations, where the same seed must give the same bytes.
    Caller,
}

/// How a log works. The sizes bound memory and disk.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// What "flushed" means.
    pub durability: Durability,
    /// Size of a segment file; a larger batch gets a larger file of its own.
    pub segment_size: ByteSize,
    /// What all segments together should not exceed. From half of it on the log copies small laggards forward and names the
    /// larger ones; beyond it `stats().over_budget` says so.
    pub budget: ByteSize,
    /// Most bytes written at once (`sync`); a single larger append goes alone.
    pub batch: ByteSize,
    /// Most bytes waiting to be written (`sync`); `append` waits above it.
    pub queue: ByteSize,
    /// A partition with at most this many live bytes is copied forward rather than flushed.
    pub carry: ByteSize,
    /// How far beyond the budget's half pins may hold the log.
    pub pinned: ByteSize,
    /// Own threads or the caller's.
    pub driving: Driving,
}

impl LogOptions {
    /// The defaults for a durability.
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            segment_size: ByteSize::mib(64),
            budget: ByteSize::gib(1),
            batch: ByteSize::mib(1),
            queue: ByteSize::mib(64),
            carry: ByteSize::kib(64),
            pinned: ByteSize::mib(512),
            driving: Driving::Threads,
        }
    }
}

/// Where the log tells that tickets are done. Called on a thread of the log, batched; it must not call back into the log.
pub trait Completions: Send {
    /// The appends (or syncs) with these tickets are durable, in the order in which they were written.
    fn flushed(&self, tickets: &[u64]);
    /// The log has failed; no further ticket comes back. Called at most once.
    fn failed(&self, reason: &str);
    /// A batch became durable (`sync`), or a sync was done (`buffered`), which took the disk so long.
    fn disk_took(&self, _time: std::time::Duration) {}
}

/// How an append was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Appended {
    /// As safe as was asked; the ticket does not come back.
    Done,
    /// The ticket comes back through [`Completions`].
    Pending,
}

/// What opening found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Partitions of which the log may have lost something: they learn anew, by checkpoint. Remembered in the log until a reset
    /// record by checkpoint, one of a new empty replica, or a deletion.
    pub quarantined: BTreeSet<PartitionId>,
    /// Damage that no index bounds: a partition that was not visited may have been in it, so its directory is not to be
    /// trusted. Every visited one is in `quarantined` unless it was reset later.
    pub lost_track: bool,
    /// Bytes of a torn tail that was cut: written but never synced.
    pub torn_bytes: u64,
    /// Bytes that were synced and are not valid any more.
    pub damaged_bytes: u64,
    /// Mutations visited.
    pub mutations: u64,
    /// Partitions the log knows.
    pub partitions: usize,
    /// Bytes read to find all this.
    pub bytes_read: u64,
}

/// A partition that holds the oldest segment back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Laggard {
    /// Which.
    pub partition: PartitionId,
    /// Its bytes in the log that RocksDB does not have.
    pub bytes: u64,
    /// Its newest decree in the log: durable up to here, it holds nothing.
    pub newest: Decree,
}

/// Figures for metrics and admission.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// Segments that hold the log.
    pub segments: usize,
    /// Their size on disk.
    pub bytes: u64,
    /// The log is larger than its budget: slow the writers down until laggards are flushed.
    pub over_budget: bool,
    /// Bytes waiting in the queue (`sync`).
    pub queued_bytes: u64,
    /// End of what is written.
    pub appended: Position,
    /// End of what is on disk for certain.
    pub synced: Position,
    /// Batches written since the log was opened.
    pub batches: u64,
    /// Syncs (`buffered`) since then.
    pub syncs: u64,
    /// Segments released since then.
    pub released: u64,
    /// Bytes copied forward since then.
    pub carried_bytes: u64,
}

/// Why nothing was appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Stop serving: a write or sync failed, and is never retried.
    #[error("the commit log has failed: {0}")]
    Failed(String),
    /// Never append this.
    #[error(
        "{bytes} bytes in one append; the commit log takes at most {}",
        crate::batch::MAX_BATCH
    )]
    TooLarge {
        /// How much it was.
        bytes: usize,
    },
}

/// Why mutations cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Send a checkpoint: the log no longer reaches back.
    #[error("the commit log reaches back to {}", oldest.map_or_else(|| "nothing".to_owned(), |decree| format!("decree {decree}")))]
    TooOld {
        /// From where it does.
        oldest: Option<Decree>,
    },
    /// Send a checkpoint and tell the operator: the bytes are there and are not good.
    #[error("the commit log cannot be read back: {0}")]
    Unreadable(String),
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refuses.
    #[error("commit log: cannot {doing}: {source}")]
    Disk {
        /// What was attempted.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Start the program that wrote it.
    #[error("commit log: {file} is of format {found}, this program reads {known}", known = crate::batch::FORMAT)]
    Format {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
    },
}
