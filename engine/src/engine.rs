//! The node's engine: opening it, and getting partitions from it.

use crate::catalogue::{Catalogue, Entry, Health, sync_dir};
use crate::checkpoint;
use crate::collect;
use crate::disk_use;
use crate::event::Hooks;
use crate::node::{Node, SCRATCH, start_threads};
use crate::options::EngineOptions;
use crate::partition::Partition;
use crate::rocks::Rocks;
use crate::scrub::{self, Scrubbed};
use crate::store::{Store, lock};
use commands::rows::own::Applied;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use types::{Decree, PartitionId, SlotRange};

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error("the storage directory cannot be used: {0}")]
    Directory(#[from] std::io::Error),
    /// `RocksDB` cannot be set up.
    #[error("storage cannot be set up: {0}")]
    Setup(String),
}

/// Sizes of the engine's parts at this moment, in bytes where nothing else is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// Partitions known.
    pub partitions: usize,
    /// `RocksDB`s open, a number.
    pub open: usize,
    /// In overlays.
    pub overlay: usize,
    /// In memtables.
    pub memtables: usize,
    /// In the row cache.
    pub row_cache: u64,
    /// In the block cache.
    pub block_cache: usize,
}

/// Storage of all partitions of a node. Clones are the same engine; it stops when the last of them and the last partition is
/// dropped.
#[derive(Clone)]
pub struct Engine {
    owner: Arc<Owner>,
    memory: Memory,
}

/// What an opened engine remembers of the partitions that it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// All of them.
    Whole,
    /// None: nothing was here.
    None,
    /// Those whose files could be read: the list was damaged.
    Partial,
}

/// Ends the threads with the last user.
pub(crate) struct Owner {
    pub(crate) node: Arc<Node>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Owner {
    fn stop(&self) {
        self.node.stop();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        self.node.close_all();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Open files that one instance may need: tables of a few levels, and its own few.
const FILES_PER_INSTANCE: u64 = 24;

impl Engine {
    /// Opens the directory, or makes it. Opens no `RocksDB`, unless the catalogue is damaged.
    pub fn open(options: EngineOptions, hooks: Hooks) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&options.dir)?;
        let scratch = options.dir.join(SCRATCH);
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => std::fs::create_dir_all(&scratch)?,
        }
        let (mut catalogue, health) = Catalogue::open(&options.dir)?;
        let memory = match health {
            Health::Whole => Memory::Whole,
            Health::Missing => Memory::None,
            Health::Damaged => Memory::Partial,
        };
        if memory == Memory::Partial {
            tracing::error!("the catalogue is damaged: looking into every partition");
        }
        adopt_or_remove_unlisted(&options, &mut catalogue)?;
        sync_dir(&options.dir)?;
        let max_open = bounded_by_files(options.max_open);
        let (apply, jobs) = std::sync::mpsc::channel();
        let (flush, work) = std::sync::mpsc::channel();
        let node = Arc::new(Node::new(
            options, hooks, catalogue, max_open, apply, flush,
        )?);
        let threads = start_threads(&node, jobs, work)?;
        Ok(Self {
            owner: Arc::new(Owner {
                node,
                threads: Mutex::new(threads),
            }),
            memory,
        })
    }

    /// Whether a partition that is not among [`Self::partitions`] may have been here all the same.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.owner.node
    }

    /// The partitions on disk and what is durable of each.
    pub fn partitions(&self) -> Vec<(PartitionId, Applied)> {
        lock(&self.node().catalogue)
            .entries()
            .iter()
            .map(|(&id, entry)| (id, entry.durable))
            .collect()
    }

    /// The partition, new and empty if nothing is known of it. There must be one value of each at a time.
    pub fn partition(&self, id: PartitionId, slots: SlotRange) -> Partition {
        let node = self.node();
        let store = {
            let known = lock(&node.catalogue).entries().get(&id).copied();
            let mut stores = lock(&node.stores);
            Arc::clone(stores.entry(id).or_insert_with(|| {
                let entry = known.unwrap_or_else(|| Entry {
                    number: node.next_number(),
                    durable: Applied::default(),
                });
                Arc::new(Store::new(id, entry.number, entry.durable))
            }))
        };
        Partition::new(Arc::clone(&self.owner), store, slots)
    }

    /// Forgets the partition and deletes its files, in the background. Its value must have been dropped. A crash may bring it back:
    /// then remove it again.
    pub fn remove(&self, id: PartitionId) {
        let node = self.node();
        let known = lock(&node.catalogue).forget(id);
        let store = lock(&node.stores).remove(&id);
        let store = store
            .or_else(|| known.map(|entry| Arc::new(Store::new(id, entry.number, entry.durable))));
        if let Some(store) = store {
            checkpoint::remove(node, store);
        }
    }

    /// Makes durable what `RocksDB` has of the partition; see also `Partition::flush`.
    pub fn flush(&self, id: PartitionId) {
        if let Some(store) = lock(&self.node().stores).get(&id) {
            self.node().ask_flush(store);
        }
    }

    /// Makes durable what `RocksDB` has of all partitions, on this thread, before the engine ends: the next start has little to replay.
    /// What cannot be written is replayed then.
    pub fn flush_all(&self) {
        let node = self.node();
        let stores: Vec<_> = lock(&node.stores).values().cloned().collect();
        for store in stores {
            if let Err(reason) = crate::flush::flush(node, &store) {
                tracing::warn!(partition = %store.id, reason, "not flushed before the end");
            }
        }
    }

    /// Rewrites the partition's files without what is garbage, in the background; `Compacted` follows. False if nothing is open, or that is
    /// being done already.
    pub fn compact(&self, id: PartitionId) -> bool {
        let node = self.node();
        let store = lock(&node.stores).get(&id).cloned();
        let Some(store) = store.filter(|store| store.database().is_some()) else {
            return false;
        };
        !store.collecting.load(Ordering::Acquire) && {
            collect::ask(node, &store);
            true
        }
    }

    /// A path for a checkpoint that comes or goes: on the engine's file system, emptied at every start.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.node().scratch(name)
    }

    /// Reads every block of the partition's files from the disk, on this thread; `pace` hears of bytes read and says whether to go on.
    /// Damage is a failure of the partition's storage like any other: `Failed` follows.
    pub fn scrub(&self, id: PartitionId, pace: &mut dyn FnMut(usize) -> bool) -> Scrubbed {
        scrub::scrub(self.node(), id, pace)
    }

    /// Whether the overlays are over their budget: hold writes back until the next `Applied`.
    pub fn overloaded(&self) -> bool {
        self.node().overloaded()
    }

    /// How large everything is.
    pub fn stats(&self) -> EngineStats {
        let node = self.node();
        EngineStats {
            partitions: lock(&node.stores).len(),
            open: *lock(&node.open),
            overlay: node.overlay.load(Ordering::Relaxed),
            memtables: node.memtables.load(Ordering::Relaxed),
            row_cache: node.cache.bytes(),
            block_cache: node.rocks.cache_bytes(),
        }
    }

    /// Bytes of each partition's files. Looks at the disk, on this thread.
    pub fn disk_use(&self) -> std::io::Result<BTreeMap<PartitionId, u64>> {
        disk_use::disk_use(&self.node().options.dir)
    }

    /// How many `RocksDB`s may be open at once.
    pub fn max_open(&self) -> usize {
        self.node().max_open
    }

    /// Ends the engine's threads. What is not durable is in the log, and is replayed from there.
    pub fn shutdown(&self) {
        self.owner.stop();
    }
}

/// As many instances as a part of the process' open files allows.
fn bounded_by_files(wanted: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let allowed = limit.map_or(u64::MAX, |limit| limit / 2 / FILES_PER_INSTANCE);
    let max = wanted
        .min(usize::try_from(allowed).unwrap_or(usize::MAX))
        .max(1);
    if max < wanted {
        tracing::warn!(
            max,
            wanted,
            "fewer RocksDBs may be open: the limit of open files is low"
        );
    }
    max
}

/// The partition and the number that a directory's name says.
fn parse_dir(name: &str) -> Option<(PartitionId, u64)> {
    let (id, number) = name.rsplit_once('-')?;
    Some((id.parse().ok()?, number.parse().ok()?))
}

pub(crate) fn partition_dirs(dir: &Path) -> std::io::Result<Vec<(PartitionId, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some((id, number)) = entry.file_name().to_str().and_then(parse_dir) {
            found.push((id, number, entry.path()));
        }
    }
    Ok(found)
}

/// What is not listed was being installed or removed, or was never flushed: nothing that the log does not have. Unless the record
/// of it was lost: then the partition has no listed files, and these hold something.
fn adopt_or_remove_unlisted(
    options: &EngineOptions,
    catalogue: &mut Catalogue,
) -> Result<(), OpenError> {
    let mut dirs: BTreeMap<PartitionId, Vec<(u64, PathBuf)>> = BTreeMap::new();
    for (id, number, path) in partition_dirs(&options.dir)? {
        dirs.entry(id).or_default().push((number, path));
    }
    let mut rocks = None;
    for (id, mut dirs) in dirs {
        let listed = catalogue.entries().get(&id).map(|entry| entry.number);
        let mut found = dirs.iter().any(|&(number, _)| Some(number) == listed);
        dirs.sort_by_key(|&(number, _)| std::cmp::Reverse(number));
        for (number, path) in dirs {
            if Some(number) == listed {
                continue;
            }
            if !found && holds_tables(&path)? {
                let rocks = match &rocks {
                    Some(rocks) => rocks,
                    None => rocks.insert(
                        Rocks::new(options).map_err(|error| OpenError::Setup(error.to_string()))?,
                    ),
                };
                match rocks.inspect(&path) {
                    Ok(durable) if durable.decree > Decree::ZERO => {
                        catalogue.put(id, Entry { number, durable })?;
                        found = true;
                        continue;
                    }
                    Ok(_) => {}
                    Err(reason) => {
                        tracing::error!(partition = %id, reason, "its files cannot be read");
                    }
                }
            }
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Whether anything was ever flushed there. Cheap, where opening is not: there may be thousands.
fn holds_tables(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        if entry?.path().extension().is_some_and(|end| end == "sst") {
            return Ok(true);
        }
    }
    Ok(false)
}
