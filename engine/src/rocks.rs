//! `RocksDB` as this engine uses it: the options every instance shares, an open instance, and a frozen view of one.
//!
//! No write-ahead log (the commit log is it), no flush that was not asked for (the log must be synced first), also not at closing: what
//! an instance loses so is replayed. When to flush is `flush`'s decision.

use crate::options::EngineOptions;
use commands::rows::own::{APPLIED, Applied, FORMAT, LAYOUT};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompressionType,
    Env, FlushOptions, InfoLogger, LogLevel, Options, ReadOptions, ReadTier,
    SnapshotWithThreadMode, WriteOptions,
};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all instances share.
pub(crate) struct Rocks {
    options: Options,
    cache: Cache,
    /// Memtables and the block cache only.
    pub(crate) cached: ReadOptions,
    /// What is on disk only.
    persisted: ReadOptions,
    /// As written by the apply thread: no log, and never waiting for a stalled instance.
    pub(crate) write: WriteOptions,
    /// Returns when the memtable is switched, not when it is written.
    pub(crate) switch: FlushOptions,
}

impl Rocks {
    pub(crate) fn new(settings: &EngineOptions) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(settings.block_cache);
        let mut env = Env::new()?;
        env.set_high_priority_background_threads(1);
        env.set_low_priority_background_threads(2);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_bloom_filter(10.0, false);
        // in the cache, so that many instances stay within one bound
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_optimize_filters_for_memory(true);
        blocks.set_block_size(8 << 10);
        // there is no setter for this one: a closing instance must not flush what the log may not have
        let mut options =
            Options::default().get_options_from_string("avoid_flush_during_shutdown=true")?;
        options.set_env(&env);
        options.set_block_based_table_factory(&blocks);
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_ratelimiter(settings.compaction_rate.max(1 << 20) as i64, 100_000, 10);
        options.set_max_background_jobs(3);
        options.set_write_buffer_size(1 << 30);
        options.set_max_write_buffer_number(4);
        options.set_arena_block_size(64 << 10);
        options.set_target_file_size_base(64 << 20);
        options.set_target_file_size_multiplier(2);
        options.set_max_bytes_for_level_base(256 << 20);
        options.set_bytes_per_sync(1 << 20);
        options.set_max_manifest_file_size(4 << 20);
        options.set_manifest_preallocation_size(4 << 10);
        options.set_skip_stats_update_on_db_open(true);
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_info_logger(InfoLogger::new_callback_logger(
            LogLevel::Error,
            |level, line| {
                // every RocksDB prints its options as a header, which no level holds back and which comes as information
                if matches!(level, LogLevel::Error | LogLevel::Fatal) {
                    tracing::error!("rocksdb: {line}");
                }
            },
        ));
        let mut cached = ReadOptions::default();
        cached.set_read_tier(ReadTier::BlockCache);
        let mut persisted = ReadOptions::default();
        persisted.set_read_tier(ReadTier::Persisted);
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        write.set_no_slowdown(true);
        let mut switch = FlushOptions::default();
        switch.set_wait(false);
        Ok(Self {
            options,
            cache,
            cached,
            persisted,
            write,
            switch,
        })
    }

    /// Options for one instance, which may add to them.
    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// The state that the instance has on disk.
    pub(crate) fn persisted(&self, db: &DB) -> Result<Applied, String> {
        let value = db
            .get_pinned_opt(APPLIED, &self.persisted)
            .map_err(|error| error.to_string())?;
        decode(value.as_deref())
    }

    /// Opens the files in `dir` to read them from the disk: nothing comes from a cache that was there before, nothing is left in one.
    /// Holds few of the files open, however many there are.
    pub(crate) fn open_past_caches(&self, dir: &Path, direct: bool) -> Result<DB, rocksdb::Error> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(8 << 20));
        blocks.set_cache_index_and_filter_blocks(true);
        let mut options = self.options.clone();
        options.set_block_based_table_factory(&blocks);
        options.set_max_open_files(64);
        options.set_use_direct_reads(direct);
        // A row of many versions is read through, not jumped over.
        options.set_max_sequential_skip_in_iterations(u64::MAX);
        DB::open_for_read_only(&options, dir, false)
    }

    /// What the files in `dir` hold, without changing them.
    pub(crate) fn inspect(&self, dir: &Path) -> Result<Applied, String> {
        let db =
            DB::open_for_read_only(&self.options, dir, false).map_err(|error| error.to_string())?;
        check_format(&db)?;
        self.persisted(&db)
    }
}

fn decode(value: Option<&[u8]>) -> Result<Applied, String> {
    match value {
        None => Ok(Applied::default()),
        Some(value) => {
            Applied::decode(value).ok_or_else(|| "its applied row cannot be read".to_owned())
        }
    }
}

/// Refuses a layout that this version does not know.
pub(crate) fn check_format(db: &DB) -> Result<(), String> {
    let value = db.get_pinned(FORMAT).map_err(|error| error.to_string())?;
    match value.as_deref() {
        None | Some(&[LAYOUT]) => Ok(()),
        Some(other) => Err(format!("its layout {other:?} is not known to this version")),
    }
}

/// An open instance.
pub(crate) struct Database {
    pub(crate) db: DB,
    /// Snapshots that somebody reads through: no row that they see may be collected.
    pub(crate) pins: AtomicUsize,
}

impl Database {
    /// Rewrites every file, so that the filter sees every row.
    pub(crate) fn compact(&self) {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db
            .compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
    }
}

/// A view of an instance that does not change. It keeps the instance open.
pub(crate) struct Frozen {
    snapshot: ManuallyDrop<SnapshotWithThreadMode<'static, DB>>,
    database: Arc<Database>,
}

impl Frozen {
    pub(crate) fn of(database: &Arc<Database>) -> Self {
        let database = Arc::clone(database);
        database.pins.fetch_add(1, Ordering::SeqCst);
        let snapshot = database.db.snapshot();
        // SAFETY: the snapshot borrows the DB inside the Arc that is kept beside it: it does not move, and `drop` lets go of the
        // snapshot first.
        #[allow(unsafe_code)]
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, DB>, SnapshotWithThreadMode<'static, DB>>(
                snapshot,
            )
        };
        Self {
            snapshot: ManuallyDrop::new(snapshot),
            database,
        }
    }

    pub(crate) fn snapshot(&self) -> &SnapshotWithThreadMode<'_, DB> {
        &self.snapshot
    }

    pub(crate) fn applied(&self) -> Result<Applied, String> {
        let value = self
            .snapshot
            .get_pinned(APPLIED)
            .map_err(|error| error.to_string())?;
        decode(value.as_deref())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: dropped here only, once, before the database beside it.
        #[allow(unsafe_code)]
        unsafe {
            ManuallyDrop::drop(&mut self.snapshot);
        }
        self.database.pins.fetch_sub(1, Ordering::SeqCst);
    }
}
