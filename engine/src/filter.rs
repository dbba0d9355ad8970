//! Collecting garbage while `RocksDB` compacts: elements of objects that are no more, keys and fields that have expired.
//!
//! `commands` judges. Here is what makes its judgement safe: it judges at one snapshot, taken when the compaction began, whose decree
//! the log has for good; and everything is kept while somebody reads through an older snapshot, or when anything is unsure.

use crate::node::Node;
use crate::rocks::{Database, Frozen};
use bytes::Bytes;
use commands::rows::own;
use commands::{Interrupt, garbage};
use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{Options, ReadOptions};
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use types::{Decree, PartitionId};

const NAME: &CStr = c"tulpar.garbage";

/// Connects the filter with the instance that it is made before.
pub(crate) struct Link(Arc<OnceLock<Weak<Database>>>);

impl Link {
    pub(crate) fn connect(&self, database: &Arc<Database>) {
        let _ = self.0.set(Arc::downgrade(database));
    }
}

pub(crate) fn install(options: &mut Options, node: &Arc<Node>, partition: PartitionId) -> Link {
    let database = Arc::new(OnceLock::new());
    options.set_compaction_filter_factory(Factory {
        database: Arc::clone(&database),
        node: node.weak(),
        partition,
    });
    Link(database)
}

struct Factory {
    database: Arc<OnceLock<Weak<Database>>>,
    node: Weak<Node>,
    partition: PartitionId,
}

impl Factory {
    fn judge(&self) -> Option<Judge> {
        let database = self.database.get()?.upgrade()?;
        let node = self.node.upgrade()?;
        if database.pins.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let state = Frozen::of(&database);
        let applied = state.applied().ok()?;
        (node.hooks.sync_log)(self.partition, applied.decree).ok()?;
        Some(Judge {
            decree: applied.decree,
            state,
            rules: garbage::Judge::new(applied.timestamp),
        })
    }
}

impl CompactionFilterFactory for Factory {
    type Filter = Filter;

    fn create(&mut self, context: CompactionFilterContext) -> Filter {
        Filter {
            judge: self.judge(),
            rewrites_all: context.is_manual_compaction,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

struct Judge {
    decree: Decree,
    state: Frozen,
    rules: garbage::Judge,
}

struct Filter {
    judge: Option<Judge>,
    /// All files are being rewritten: notes of garbage are true no more.
    rewrites_all: bool,
}

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, row: &[u8], value: &[u8]) -> Decision {
        let Some(judge) = &mut self.judge else {
            return Decision::Keep;
        };
        let Judge {
            decree,
            state,
            rules,
        } = judge;
        if let Some(noted) = own::garbage_noted_by(row) {
            return if self.rewrites_all && noted <= *decree {
                Decision::Remove
            } else {
                Decision::Keep
            };
        }
        let mut lookup = |row: &[u8]| {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            match state.snapshot().get_opt(row, options) {
                Ok(value) => Ok(value.map(Bytes::from)),
                Err(error) => Err(Interrupt::Failed(error.to_string())),
            }
        };
        match rules.is_garbage(row, value, &mut lookup) {
            Ok(true) => Decision::Remove,
            Ok(false) | Err(_) => Decision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}
