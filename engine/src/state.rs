//! How the open `RocksDB`s are, for metrics: what they say of themselves, added up.

use crate::Engine;
use crate::store::{Store, lock};
use rocksdb::DB;
use rocksdb::properties::{self, PropName};
use std::sync::Arc;

/// All open instances together. What is closed has no files in use and nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RocksState {
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Bytes that compactions have yet to rewrite, by `RocksDB`'s estimate.
    pub pending_compaction_bytes: u64,
    /// Compactions and flushes under way.
    pub compactions: u64,
    /// See `compactions`.
    pub flushes: u64,
    /// Instances that take no writes, or take them slowly, until something of that is done.
    pub stalled: u64,
    /// Errors that their background work met.
    pub background_errors: u64,
}

impl Engine {
    /// Asks all open instances, which takes their locks. Not for a worker's thread.
    pub fn rocks_state(&self) -> RocksState {
        let stores: Vec<Arc<Store>> = lock(&self.node().stores).values().cloned().collect();
        let mut state = RocksState::default();
        for store in stores {
            if let Some(database) = store.try_database() {
                state.add(&database.db);
            }
        }
        state
    }
}

impl RocksState {
    fn add(&mut self, db: &DB) {
        let ask = |property: &PropName| {
            let value = db.property_int_value(property);
            value.ok().flatten().unwrap_or_default()
        };
        self.file_bytes += ask(properties::TOTAL_SST_FILES_SIZE);
        self.pending_compaction_bytes += ask(properties::ESTIMATE_PENDING_COMPACTION_BYTES);
        self.compactions += ask(properties::NUM_RUNNING_COMPACTIONS);
        self.flushes += ask(properties::NUM_RUNNING_FLUSHES);
        let stopped = ask(properties::IS_WRITE_STOPPED);
        let slowed = ask(properties::ACTUAL_DELAYED_WRITE_RATE);
        self.stalled += u64::from(stopped > 0 || slowed > 0);
        self.background_errors += ask(properties::BACKGROUND_ERRORS);
    }
}
