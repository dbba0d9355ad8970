//! Reading every block of a partition's files, so that RocksDB verifies its checksum: what nobody reads rots unseen.
//!
//! Read is a checkpoint, which is links to the files: so nothing else waits for a scrub, and it can be given up at any row. It goes past the
//! block cache, and past the page cache where the file system lets it: memory says nothing about the disk. Rows that are hidden or
//! deleted are read too; only filters are not, and one of those that cannot be read costs time, never a row. Pacing is the caller's.

use crate::checkpoint;
use crate::flush;
use crate::node::{Node, NotOpen, Patience};
use crate::store::{Store, lock};
use rocksdb::ReadOptions;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::PartitionId;

/// What reading a partition's files through came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scrubbed {
    /// They are as they were written.
    Whole {
        /// Their size.
        bytes: u64,
    },
    /// They are not; [`EngineEvent::Failed`](crate::EngineEvent::Failed) says so too.
    Damaged {
        /// What `RocksDB` says.
        reason: String,
    },
    /// There is nothing on disk, or it is known to be broken.
    Nothing,
    /// They could not be read for a reason that is none of theirs: later again.
    Hindered {
        /// Why.
        reason: String,
    },
    /// The caller had enough.
    Stopped,
}

/// How many bytes of rows are read before the caller hears of them.
const PIECE: usize = 64 << 10;

/// Reads the partition's files; `pace` hears of bytes read and says whether to go on.
pub(crate) fn scrub(
    node: &Arc<Node>,
    id: PartitionId,
    pace: &mut dyn FnMut(usize) -> bool,
) -> Scrubbed {
    let store = lock(&node.stores).get(&id).cloned();
    let Some(store) = store.filter(|store| store.has_rows() && store.failure().is_none()) else {
        return Scrubbed::Nothing;
    };
    let life = store.life();
    let dir = node.scratch(&format!("scrub-{id}"));
    let read = match link(node, &store, &dir) {
        Ok(()) => read_through(node, &dir, pace),
        Err(hindered) => hindered,
    };
    if let Err(error) = std::fs::remove_dir_all(&dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %dir.display(), %error, "links to scrubbed files cannot be removed");
    }
    let Scrubbed::Damaged { reason } = &read else {
        return read;
    };
    // What was replaced or removed meanwhile is nobody's copy any more.
    let others = store.life() != life || store.slot().gone;
    if others || node.stopping.load(Ordering::Acquire) {
        return Scrubbed::Nothing;
    }
    node.fail(&store, reason.clone());
    read
}

/// Links the partition's files into `dir`. An instance that was closed is closed again.
fn link(node: &Arc<Node>, store: &Arc<Store>, dir: &Path) -> Result<(), Scrubbed> {
    let was_open = store.database().is_some();
    match node.open(store, Patience::Wait) {
        Ok(_) => {}
        Err(NotOpen::Busy | NotOpen::Gone) => return Err(Scrubbed::Nothing),
        Err(NotOpen::Broken(reason)) => return Err(Scrubbed::Damaged { reason }),
    }
    let linked = checkpoint::link(node, store, dir);
    if !was_open {
        flush::close(node, store);
    }
    linked.map_err(|reason| Scrubbed::Hindered { reason })
}

fn read_through(node: &Node, dir: &Path, pace: &mut dyn FnMut(usize) -> bool) -> Scrubbed {
    let tables = match tables(dir) {
        Ok(tables) => tables,
        Err(error) => {
            return Scrubbed::Hindered {
                reason: error.to_string(),
            };
        }
    };
    let bytes: u64 = tables.iter().map(|(_, bytes)| bytes).sum();
    let direct = tables.first().is_some_and(|(path, _)| takes_direct(path));
    let db = match node.rocks.open_past_caches(dir, direct) {
        Ok(db) => db,
        Err(error) => {
            return Scrubbed::Damaged {
                reason: error.to_string(),
            };
        }
    };
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(1 << 20);
    #[expect(
        deprecated,
        reason = "it costs those who delete no ranges nothing; here FLUSHDB does, and what it hides is in blocks too"
    )]
    options.set_ignore_range_deletions(true);
    let mut rows = db.raw_iterator_opt(options);
    rows.seek_to_first();
    let (mut read, mut told) = (0, 0);
    while let Some((row, value)) = rows.item() {
        read += row.len() + value.len();
        if read - told >= PIECE {
            if !pace(read - told) {
                return Scrubbed::Stopped;
            }
            told = read;
        }
        rows.next();
    }
    if let Err(error) = rows.status() {
        return Scrubbed::Damaged {
            reason: error.to_string(),
        };
    }
    // Rows that are gone take their time too.
    let rest = usize::try_from(bytes).unwrap_or(usize::MAX);
    if !pace(rest.max(read).saturating_sub(told)) {
        return Scrubbed::Stopped;
    }
    Scrubbed::Whole { bytes }
}

/// The table files in `dir` and their sizes.
fn tables(dir: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "sst") {
            let bytes = path.metadata()?.len();
            tables.push((path, bytes));
        }
    }
    Ok(tables)
}

/// Whether the file system reads past the page cache: some take the flag and refuse the transfer.
fn takes_direct(path: &Path) -> bool {
    const BLOCK: usize = 4096;
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        return false;
    };
    let mut buffer = vec![0; 2 * BLOCK];
    let start = buffer.as_ptr().align_offset(BLOCK).min(BLOCK);
    let aligned = &mut buffer[start..start + BLOCK];
    File::from(file).read_at(aligned, 0).is_ok()
}
