//! The flush thread: which memtable goes to disk and when, which instance is closed, which overlay is asked to give something up.
//!
//! `RocksDB` never flushes by itself. The order here is the whole point: the log is synced up to what the memtable holds, then the
//! memtable is switched while nobody can write (the gate), then it is written, then the catalogue is, then the world hears of it.

use crate::event::EngineEvent;
use crate::node::Node;
use crate::rocks::Database;
use crate::store::{Store, lock};
use commands::rows::own::Applied;
use rocksdb::WriteBatch;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What the thread is asked for.
pub(crate) enum Work {
    /// What the partition's memtable holds becomes durable.
    Flush(Arc<Store>),
    /// The memtables are over their budget.
    Budget,
    /// Too many instances are open.
    Close,
    /// The overlays are over their budget.
    Relieve,
    Stop,
}

/// How often a flush that runs is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// How often overlays are asked again that did not give up enough.
const ASK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) fn run(node: &Arc<Node>, work: &Receiver<Work>) {
    loop {
        // Who was asked may have had everything in flight then. While writes are held back nothing grows any more, so that nobody
        // but this thread would ever ask again.
        let next = if node.relieving() {
            work.recv_timeout(ASK_AGAIN)
        } else {
            work.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match next {
            Ok(Work::Flush(store)) => flush_or_fail(node, &store),
            Ok(Work::Budget) => keep_budget(node),
            Ok(Work::Close) => close_idle(node),
            // The largest may be unable to: then everybody else is asked too.
            Err(RecvTimeoutError::Timeout) if node.overloaded() => relieve(node, 0),
            Ok(Work::Relieve) | Err(RecvTimeoutError::Timeout) => {
                relieve(node, node.options.overlay_budget / 2);
            }
            Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The memtable of `store` has grown by `bytes`.
pub(crate) fn account(node: &Node, store: &Arc<Store>, bytes: usize) {
    let own = store.memtable.fetch_add(bytes, Ordering::AcqRel) + bytes;
    let before = node.memtables.fetch_add(bytes, Ordering::AcqRel);
    if own > node.options.memtable_limit {
        node.ask_flush(store);
    }
    let budget = node.options.memtable_budget;
    if before <= budget && before + bytes > budget {
        let _ = node.flush.send(Work::Budget);
    }
}

fn flush_or_fail(node: &Arc<Node>, store: &Arc<Store>) {
    store.flushing.store(false, Ordering::Release);
    let life = store.life();
    if let Err(reason) = flush(node, store)
        && store.life() == life
        && !store.slot().gone
    {
        node.fail(store, reason);
    }
}

/// Makes durable what was applied when this was called.
pub(crate) fn flush(node: &Node, store: &Store) -> Result<(), String> {
    let Some(database) = store.database() else {
        return Ok(());
    };
    let life = store.life();
    let applied = store.applied();
    if applied.decree <= store.durable_decree() {
        return Ok(());
    }
    // most of the waiting is done here, while the apply thread goes on
    (node.hooks.sync_log)(store.id, applied.decree)?;
    let (state, memtable) = {
        let _gate = lock(&store.gate);
        if store.life() != life {
            return Ok(());
        }
        let state = store.applied();
        if state.decree > applied.decree {
            (node.hooks.sync_log)(store.id, state.decree)?;
        }
        database
            .db
            .flush_opt(&node.rocks.switch)
            .map_err(|error| error.to_string())?;
        (state, store.memtable.swap(0, Ordering::AcqRel))
    };
    let written = wait_until_written(node, (store, life), &database, state);
    node.memtables.fetch_sub(memtable, Ordering::AcqRel);
    drop(database);
    node.made_durable(store, life, written?);
    Ok(())
}

fn wait_until_written(
    node: &Node,
    (store, life): (&Store, u64),
    database: &Database,
    state: Applied,
) -> Result<Applied, String> {
    loop {
        let written = node.rocks.persisted(&database.db)?;
        if written.decree >= state.decree {
            return Ok(written);
        }
        let errors = database
            .db
            .property_int_value("rocksdb.background-errors")
            .map_err(|error| error.to_string())?;
        if errors.unwrap_or(0) > 0 {
            return Err(why_stopped(node, database));
        }
        // What was replaced or removed is not written any more.
        if node.stopping.load(Ordering::Acquire) || store.life() != life {
            return Ok(written);
        }
        std::thread::sleep(LOOK);
    }
}

/// The error that a flush or a compaction ended with: whoever writes afterwards is told of it.
fn why_stopped(node: &Node, database: &Database) -> String {
    let told = database
        .db
        .write_opt(WriteBatch::default(), &node.rocks.write);
    told.map_or_else(
        |error| error.to_string(),
        |()| "a flush or a compaction failed".to_owned(),
    )
}

/// Flushes the largest memtables until three quarters of the budget are left.
fn keep_budget(node: &Arc<Node>) {
    let goal = node.options.memtable_budget / 4 * 3;
    while node.memtables.load(Ordering::Acquire) > goal && !node.stopping.load(Ordering::Acquire) {
        let largest = lock(&node.stores)
            .values()
            .max_by_key(|store| store.memtable.load(Ordering::Acquire))
            .cloned();
        let Some(store) = largest.filter(|store| store.memtable.load(Ordering::Acquire) > 0) else {
            return;
        };
        flush_or_fail(node, &store);
        if store.failure().is_some() {
            node.forget_memtable(&store);
        }
    }
}

/// Closes the instances that were used least recently until there is room for one more.
fn close_idle(node: &Arc<Node>) {
    while *lock(&node.open) >= node.max_open && !node.stopping.load(Ordering::Acquire) {
        let mut open: Vec<Arc<Store>> = lock(&node.stores).values().cloned().collect();
        open.retain(|store| store.database().is_some());
        open.sort_by_key(|store| store.used.load(Ordering::Relaxed));
        if !open.iter().any(|store| close(node, store)) {
            // all are being used at this moment; who wants one open asks again
            std::thread::sleep(LOOK);
            return;
        }
    }
}

/// Closes the store's instance unless somebody uses it.
pub(crate) fn close(node: &Arc<Node>, store: &Arc<Store>) -> bool {
    flush_or_fail(node, store);
    let _gate = lock(&store.gate);
    let mut slot = store.slot();
    let clean = store.applied_decree() <= store.durable_decree() || store.failure().is_some();
    let Some(database) = slot.database.take_if(|_| clean) else {
        return false;
    };
    match Arc::try_unwrap(database) {
        Ok(database) => {
            drop(database);
            drop(slot);
            node.forget_memtable(store);
            node.release_permit();
            true
        }
        Err(used) => {
            slot.database = Some(used);
            false
        }
    }
}

/// Asks the largest overlays to give up what they can, until `goal` bytes would be left.
fn relieve(node: &Arc<Node>, goal: usize) {
    let mut total = node.overlay.load(Ordering::Relaxed);
    let mut stores: Vec<(usize, Arc<Store>)> = lock(&node.stores)
        .values()
        .map(|store| (store.overlay.load(Ordering::Relaxed), Arc::clone(store)))
        .collect();
    stores.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, store) in stores {
        if total <= goal || bytes == 0 {
            return;
        }
        total = total.saturating_sub(bytes);
        node.tell(EngineEvent::Relieve {
            partition: store.id,
        });
    }
}
