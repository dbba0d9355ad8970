//! Copies of a partition's files for a learner, and a learner's taking of one.
//!
//! Transferring the files is the server's. A checkpoint says itself what it holds: its applied row is read from inside it.

use crate::catalogue::{Entry, sync_dir};
use crate::event::{Checkpoint, EngineEvent, Ticket};
use crate::flush;
use crate::node::{Node, NotOpen, Patience};
use crate::store::{Store, lock};
use commands::rows::own::Applied;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes a checkpoint of at least what is applied now, in `dir`.
pub(crate) fn begin(node: &Arc<Node>, store: &Arc<Store>, ticket: Ticket, dir: PathBuf) {
    let weak = node.weak();
    let store = Arc::clone(store);
    node.background.run(move || {
        let Some(node) = weak.upgrade() else { return };
        let made = make(&node, &store, &dir);
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&dir);
        }
        node.tell(EngineEvent::Checkpointed {
            partition: store.id,
            ticket,
            checkpoint: made.map(|base| Checkpoint { dir, base }),
        });
    });
}

fn make(node: &Arc<Node>, store: &Arc<Store>, dir: &Path) -> Result<Applied, String> {
    link(node, store, dir)?;
    node.rocks.inspect(dir)
}

/// Links the partition's files, what is applied now among them, into `dir`.
pub(crate) fn link(node: &Arc<Node>, store: &Arc<Store>, dir: &Path) -> Result<(), String> {
    let database = match node.open(store, Patience::Wait) {
        Ok(database) => database,
        Err(NotOpen::Busy | NotOpen::Gone) => {
            return Err("the partition is being closed".to_owned());
        }
        Err(NotOpen::Broken(reason)) => return Err(reason),
    };
    // so that little is left to flush while the gate is held
    flush::flush(node, store)?;
    let _gate = lock(&store.gate);
    (node.hooks.sync_log)(store.id, store.applied_decree())?;
    rocksdb::checkpoint::Checkpoint::new(&database.db)
        .and_then(|checkpoint| checkpoint.create_checkpoint(dir))
        .map_err(|error| error.to_string())?;
    node.forget_memtable(store);
    Ok(())
}

/// Puts the checkpoint in `from` in the place of what the partition has. What it had is deleted.
pub(crate) fn install(node: &Arc<Node>, store: &Arc<Store>, ticket: Ticket, from: PathBuf) {
    let weak = node.weak();
    let store = Arc::clone(store);
    node.background.run(move || {
        let Some(node) = weak.upgrade() else { return };
        let base = replace(&node, &store, &from);
        node.tell(EngineEvent::Installed {
            partition: store.id,
            ticket,
            base,
        });
    });
}

fn replace(node: &Arc<Node>, store: &Arc<Store>, from: &Path) -> Result<Applied, String> {
    let base = node.rocks.inspect(from)?;
    let number = node.next_number();
    let dir = node.dir(store.id, number);
    let moved = std::fs::rename(from, &dir).and_then(|()| sync_dir(&node.options.dir));
    moved.map_err(|error| format!("the checkpoint cannot be moved into place: {error}"))?;
    let (old, replaced) = {
        let _gate = lock(&store.gate);
        let mut catalogue = lock(&node.catalogue);
        let mut slot = store.slot();
        if slot.gone {
            let _ = std::fs::remove_dir_all(&dir);
            return Err("the partition was removed".to_owned());
        }
        let entry = Entry {
            number,
            durable: base,
        };
        catalogue
            .put(store.id, entry)
            .map_err(|error| node.fail_catalogue(&error))?;
        let old = std::mem::replace(&mut slot.number, number);
        node.forget_memtable(store);
        store.begin_life(base);
        (old, slot.database.take())
    };
    if let Some(database) = replaced {
        node.abandon(database);
    }
    remove_dir(&node.dir(store.id, old));
    Ok(base)
}

/// Forgets the partition and deletes its files.
pub(crate) fn remove(node: &Arc<Node>, store: Arc<Store>) {
    let weak = node.weak();
    node.background.run(move || {
        let Some(node) = weak.upgrade() else { return };
        let (number, database) = {
            let _gate = lock(&store.gate);
            let mut catalogue = lock(&node.catalogue);
            let mut slot = store.slot();
            slot.gone = true;
            if let Err(error) = catalogue.remove(store.id, slot.number) {
                // it comes back with the next start, and its server removes it again
                node.fail_catalogue(&error);
            }
            node.forget_memtable(&store);
            store.end_life();
            (slot.number, slot.database.take())
        };
        if let Some(database) = database {
            node.abandon(database);
        }
        remove_dir(&node.dir(store.id, number));
    });
}

fn remove_dir(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            // not listed in the catalogue: the next start tries again
            tracing::warn!(dir = %dir.display(), %error, "files of a partition cannot be removed");
        }
        _ => {}
    }
}
