//! What a partition's worker and the engine's threads share about it: its watermarks, and its `RocksDB` if that is open.
//!
//! Workers only ever try locks. An instance is closed only by who finds itself its last user, so a worker never closes one.

use crate::rocks::{Database, Frozen, Rocks};
use bytes::Bytes;
use commands::rows::own::Applied;
use rocksdb::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use types::{Decree, PartitionId};

/// Where the partition's files are, and the open instance.
pub(crate) struct Slot {
    pub(crate) database: Option<Arc<Database>>,
    /// The number of its directory.
    pub(crate) number: u64,
    /// The partition was removed: nothing is opened any more.
    pub(crate) gone: bool,
}

/// A watermark: the whole state for who needs it, its decree for who is in a hurry.
struct Mark {
    state: Mutex<Applied>,
    decree: AtomicU64,
}

impl Mark {
    fn new(state: Applied) -> Self {
        Self {
            state: Mutex::new(state),
            decree: AtomicU64::new(state.decree.0),
        }
    }

    fn set(&self, state: Applied) {
        *lock(&self.state) = state;
        self.decree.store(state.decree.0, Ordering::Release);
    }

    fn raise(&self, state: Applied) {
        let mut known = lock(&self.state);
        if state.decree > known.decree {
            *known = state;
            self.decree.store(state.decree.0, Ordering::Release);
        }
    }

    fn get(&self) -> Applied {
        *lock(&self.state)
    }
}

/// See the module.
pub(crate) struct Store {
    pub(crate) id: PartitionId,
    slot: Mutex<Slot>,
    /// Held by who writes to `RocksDB`, and by who must know what a flush takes along.
    pub(crate) gate: Mutex<()>,
    applied: Mark,
    durable: Mark,
    /// Whether `RocksDB` may hold anything. While it does not, it is not opened to find nothing.
    has_rows: AtomicBool,
    /// Raised when the contents are replaced or removed: what was asked for before is thrown away.
    life: AtomicU64,
    /// Bytes in the memtable.
    pub(crate) memtable: AtomicUsize,
    /// Whether the flush thread has it on its list.
    pub(crate) flushing: AtomicBool,
    /// Bytes in the overlay.
    pub(crate) overlay: AtomicUsize,
    /// When it was last used, in openings.
    pub(crate) used: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<String>,
    /// Rows that are garbage by the notes that were applied.
    pub(crate) garbage: AtomicU64,
    /// Whether it waits for its garbage to be collected, or that is being done.
    pub(crate) collecting: AtomicBool,
    /// Whether `RocksDB` may flush by itself: then only what the log has for good is applied.
    pub(crate) compacting: AtomicBool,
    /// What digests that wait for their turn will read.
    kept: Mutex<Vec<Weak<Mutex<Option<Frozen>>>>>,
}

/// What can be said of a row without waiting.
pub(crate) enum Peek {
    Known(Option<Bytes>),
    Unknown,
    Failed(String),
}

impl Store {
    pub(crate) fn new(id: PartitionId, number: u64, durable: Applied) -> Self {
        Self {
            id,
            slot: Mutex::new(Slot {
                database: None,
                number,
                gone: false,
            }),
            gate: Mutex::new(()),
            applied: Mark::new(durable),
            durable: Mark::new(durable),
            has_rows: AtomicBool::new(durable.decree > Decree::ZERO),
            life: AtomicU64::new(0),
            memtable: AtomicUsize::new(0),
            flushing: AtomicBool::new(false),
            overlay: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(String::new()),
            garbage: AtomicU64::new(0),
            collecting: AtomicBool::new(false),
            compacting: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    /// Notes a view that is to be given up with the contents. Called under the gate.
    pub(crate) fn keep(&self, view: &Arc<Mutex<Option<Frozen>>>) {
        let mut kept = lock(&self.kept);
        kept.retain(|view| view.strong_count() > 0);
        kept.push(Arc::downgrade(view));
    }

    pub(crate) fn slot(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }

    /// The open instance, for who cannot wait.
    pub(crate) fn try_database(&self) -> Option<Arc<Database>> {
        match self.slot.try_lock() {
            Ok(slot) => slot.database.clone(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().database.clone(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The open instance.
    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.slot().database.clone()
    }

    /// What memory knows of the row.
    pub(crate) fn peek(&self, rocks: &Rocks, row: &[u8], tick: u64) -> Peek {
        if !self.has_rows() {
            return Peek::Known(None);
        }
        let Some(database) = self.try_database() else {
            return Peek::Unknown;
        };
        self.used.store(tick, Ordering::Relaxed);
        match database.db.get_pinned_opt(row, &rocks.cached) {
            Ok(value) => Peek::Known(value.map(|value| Bytes::copy_from_slice(&value))),
            Err(error) if error.kind() == ErrorKind::Incomplete => Peek::Unknown,
            Err(error) => Peek::Failed(error.to_string()),
        }
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.has_rows.load(Ordering::Acquire)
    }

    /// Before the first write.
    pub(crate) fn will_have_rows(&self) {
        self.has_rows.store(true, Ordering::Release);
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied.get()
    }

    pub(crate) fn applied_decree(&self) -> Decree {
        Decree(self.applied.decree.load(Ordering::Acquire))
    }

    pub(crate) fn raise_applied(&self, state: Applied) {
        self.applied.raise(state);
    }

    pub(crate) fn durable(&self) -> Applied {
        self.durable.get()
    }

    pub(crate) fn durable_decree(&self) -> Decree {
        Decree(self.durable.decree.load(Ordering::Acquire))
    }

    pub(crate) fn raise_durable(&self, state: Applied) {
        self.durable.raise(state);
    }

    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }

    /// The contents are other ones from here on. Called under the gate and the slot's lock.
    pub(crate) fn begin_life(&self, base: Applied) {
        self.applied.set(base);
        self.durable.set(base);
        self.has_rows
            .store(base.decree > Decree::ZERO, Ordering::Release);
        self.failed.store(false, Ordering::Release);
        self.end_life();
    }

    /// What was asked for of the contents is thrown away. Called under the gate and the slot's lock.
    pub(crate) fn end_life(&self) {
        self.life.fetch_add(1, Ordering::AcqRel);
        for view in lock(&self.kept).drain(..) {
            if let Some(view) = view.upgrade() {
                drop(lock(&view).take());
            }
        }
    }

    /// Why the storage is broken, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed
            .load(Ordering::Acquire)
            .then(|| lock(&self.failure).clone())
    }

    /// Tells whether it was whole until now.
    pub(crate) fn fail(&self, reason: String) -> bool {
        *lock(&self.failure) = reason;
        !self.failed.swap(true, Ordering::AcqRel)
    }
}

/// No state behind these locks is left half changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
