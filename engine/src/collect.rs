//! When garbage is worth collecting: a partition's files are rewritten once enough of its rows are garbage by what its mutations say of it.
//!
//! The primary knows what it makes garbage (a deleted hash leaves its fields behind), no secondary does. So it leaves a note in a mutation
//! now and then, a row of no key; every replica adds up the notes that it has applied, and its own compaction takes them away with the
//! garbage. They are no part of the logical state. What garbage is, `filter` finds out row by row; what has expired is in no note.

use crate::event::EngineEvent;
use crate::flush;
use crate::node::{Node, NotOpen, Patience};
use crate::rocks::Database;
use crate::store::{Store, lock};
use commands::rows::own;
use rocksdb::{Direction, IteratorMode, ReadOptions};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Garbage was noted: asks for a collection if there is enough by now.
pub(crate) fn consider(node: &Arc<Node>, store: &Arc<Store>, database: &Database) {
    let garbage = store.garbage.load(Ordering::Acquire);
    if garbage < node.options.garbage_rows {
        return;
    }
    let rows = database.db.property_int_value("rocksdb.estimate-num-keys");
    let rows = rows.ok().flatten().unwrap_or(0);
    let enough =
        u128::from(garbage) * 100 >= u128::from(rows) * u128::from(node.options.garbage_percent);
    // While somebody reads through a snapshot everything would be kept.
    if enough && database.pins.load(Ordering::SeqCst) == 0 {
        ask(node, store);
    }
}

/// Has the partition's files rewritten without garbage, when those asked for before are done. `Compacted` follows.
pub(crate) fn ask(node: &Arc<Node>, store: &Arc<Store>) {
    if store.collecting.swap(true, Ordering::AcqRel) {
        return;
    }
    let (weak, store) = (node.weak(), Arc::clone(store));
    node.collector.run(move || {
        let Some(node) = weak.upgrade() else { return };
        let collected = collect(&node, &store);
        store.compacting.store(false, Ordering::Release);
        store.collecting.store(false, Ordering::Release);
        match collected {
            Ok(()) => node.tell(EngineEvent::Compacted {
                partition: store.id,
            }),
            Err(reason) => {
                tracing::warn!(partition = %store.id, reason, "garbage was not collected");
            }
        }
    });
}

fn collect(node: &Arc<Node>, store: &Arc<Store>) -> Result<(), String> {
    let database = match node.open(store, Patience::Wait) {
        Ok(database) => database,
        Err(NotOpen::Busy | NotOpen::Gone) => return Ok(()),
        Err(NotOpen::Broken(reason)) => return Err(reason),
    };
    // A compaction flushes the memtable by itself, when it likes: from here on there is nothing in it that the log may lose.
    store.compacting.store(true, Ordering::Release);
    {
        let _gate = lock(&store.gate);
        (node.hooks.sync_log)(store.id, store.applied_decree())?;
    }
    flush::flush(node, store)?;
    let (life, before) = (store.life(), store.garbage.load(Ordering::Acquire));
    *lock(&node.rewritten) = Arc::downgrade(&database);
    if !node.stopping.load(Ordering::Acquire) {
        database.compact();
    }
    *lock(&node.rewritten) = std::sync::Weak::new();
    {
        let _gate = lock(&store.gate);
        if store.life() != life {
            return Err("the partition's contents were replaced or removed".to_owned());
        }
        store.garbage.store(noted(&database)?, Ordering::Release);
    }
    let after = store.garbage.load(Ordering::Acquire);
    tracing::info!(partition = %store.id, before, after, "garbage was collected");
    Ok(())
}

/// How many rows are garbage by the notes that are in the partition's files and memtable.
pub(crate) fn noted(database: &Database) -> Result<u64, String> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(own::after_garbage());
    let from = IteratorMode::From(own::GARBAGE, Direction::Forward);
    let mut sum = 0u64;
    for note in database.db.iterator_opt(from, options) {
        let (_, value) = note.map_err(|error| error.to_string())?;
        sum = sum.saturating_add(own::noted_garbage(&value));
    }
    Ok(sum)
}
