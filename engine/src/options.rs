//! What a person may set about storage.

use commands::Limits;
use std::path::PathBuf;

/// Settings of one node's engine. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where everything lives.
    pub dir: PathBuf,
    /// Blocks of all `RocksDB`s, their indexes and filters included.
    pub block_cache: usize,
    /// Rows read from `RocksDB`, decoded from their blocks.
    pub row_cache: usize,
    /// Effects in memory, of all partitions: those `RocksDB` does not have yet, and up to half of this those it has.
    pub overlay_budget: usize,
    /// Rows in `RocksDB`s' memtables, of all partitions.
    pub memtable_budget: usize,
    /// Rows in one memtable. Above some 32 MiB writes become dearer, not cheaper.
    pub memtable_limit: usize,
    /// How much is written to a `RocksDB` at once.
    pub generation: usize,
    /// `RocksDB`s open at once. Lowered at start if the limit of open files asks for it.
    pub max_open: usize,
    /// Threads that read what is not in memory.
    pub fetch_threads: usize,
    /// Threads that make checkpoints and digests and remove files.
    pub background_threads: usize,
    /// What flushes and compactions may write a second.
    pub compaction_rate: u64,
    /// What paced digests may read a second, of rows as they are in memory; zero: as fast as the disk is.
    pub digest_rate: u64,
    /// A partition's files are rewritten without garbage when so many of its rows are garbage, as far as that is known,
    pub garbage_rows: u64,
    /// and so many of a hundred.
    pub garbage_percent: u32,
    /// What commands are refused for.
    pub limits: Limits,
}

impl EngineOptions {
    /// The defaults, in `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            block_cache: 256 << 20,
            row_cache: 128 << 20,
            overlay_budget: 256 << 20,
            memtable_budget: 256 << 20,
            memtable_limit: 32 << 20,
            generation: 4 << 20,
            max_open: 512,
            fetch_threads: 2,
            background_threads: 2,
            compaction_rate: 256 << 20,
            digest_rate: 16 << 20,
            garbage_rows: 100_000,
            garbage_percent: 20,
            limits: Limits::default(),
        }
    }
}
