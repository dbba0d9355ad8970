//! What the engine tells its user, and what it asks of it. All of it happens on the engine's threads: put an event into the queue of
//! the worker that owns the partition, and do nothing else.

use crate::fetch::Fetched;
use commands::rows::own::Applied;
use std::path::PathBuf;
use types::{Decree, PartitionId};

/// Names something asked of the engine, so that the answer finds its asker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Takes an event.
pub type EventHook = Box<dyn Fn(EngineEvent) + Send + Sync>;
/// Returns when the log is synced up to the decree, or says why it cannot be.
pub type SyncHook = Box<dyn Fn(PartitionId, Decree) -> Result<(), String> + Send + Sync>;

/// Whether the log is synced up to the decree. Must not wait.
pub type SyncedHook = Box<dyn Fn(PartitionId, Decree) -> bool + Send + Sync>;

/// The way back to the engine's user.
pub struct Hooks {
    /// Takes events.
    pub events: EventHook,
    /// Called before `RocksDB` may flush a decree or a compaction may judge by it: what `RocksDB` keeps must be in the log for good.
    pub sync_log: SyncHook,
    /// Asked before a decree is applied while `RocksDB` may flush at any moment.
    pub log_is_synced: SyncedHook,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

/// Something that happened on one of the engine's threads.
#[derive(Debug)]
pub enum EngineEvent {
    /// `RocksDB` has everything up to the decree, in memory. `Partition::settle` lets go of it.
    Applied {
        /// Whose.
        partition: PartitionId,
        /// Up to where.
        decree: Decree,
    },
    /// It is on disk: the log may forget it.
    Durable {
        /// Whose.
        partition: PartitionId,
        /// Up to where.
        decree: Decree,
    },
    /// Rows that were cold: `Partition::install`, then evaluate again.
    Fetched(Fetched),
    /// The overlays are over their budget, this one is among the largest: `Partition::relieve`.
    Relieve {
        /// Whose.
        partition: PartitionId,
    },
    /// A digest is ready.
    Digested {
        /// Whose.
        partition: PartitionId,
        /// Which.
        ticket: Ticket,
        /// What it is, or why there is none.
        digest: Result<Digest, String>,
    },
    /// A checkpoint is ready.
    Checkpointed {
        /// Whose.
        partition: PartitionId,
        /// Which.
        ticket: Ticket,
        /// Where it is, or why there is none.
        checkpoint: Result<Checkpoint, String>,
    },
    /// A checkpoint has replaced the partition's storage: `Partition::settle`.
    Installed {
        /// Whose.
        partition: PartitionId,
        /// Which.
        ticket: Ticket,
        /// What it holds, or why it was not taken.
        base: Result<Applied, String>,
    },
    /// A compaction that was asked for is done.
    Compacted {
        /// Whose.
        partition: PartitionId,
    },
    /// The disk did not keep what it was given. That says nothing good of its other files: the node must end.
    SyncFailed {
        /// Which file, and the error.
        reason: String,
    },
    /// The partition's storage is broken. Its reads and writes answer so from here on; the rest of the node goes on.
    Failed {
        /// Whose.
        partition: PartitionId,
        /// Why.
        reason: String,
    },
}

/// How soon a digest is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Haste {
    /// Somebody waits for it.
    Now,
    /// It reads no faster than the options say, all such digests of the node together.
    Paced,
}

/// A summary of a partition's logical state: equal on all replicas at equal decrees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Of which state.
    pub decree: Decree,
    /// The summary.
    pub value: u128,
    /// How many rows were summed up.
    pub rows: u64,
}

/// A copy of a partition's files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Where. The asker deletes it.
    pub dir: PathBuf,
    /// What it holds.
    pub base: Applied,
}
