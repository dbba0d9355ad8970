//! The log as its owner sees it: opening, the handle, its threads.

use crate::Position;
use crate::codec::Entry;
use crate::disk::Disk;
use crate::flow::Until;
use crate::options::{
    Appended, Completions, Driving, Laggard, LogError, LogOptions, LogStats, OpenError, ReadError,
    Recovery,
};
use crate::read::Pin;
use crate::recovery::{Recovered, recover};
use crate::shared::Shared;
use crate::tail::{Free, Tail, Writing, lock};
use crate::verify::Verified;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;
use types::{Decree, Durability, Mutation, PartitionId, Record};

/// The commit log of a data directory, shared by all its partitions. Clones are the same log; when the last one goes, what was
/// appended is written and synced (not so under [`Driving::Caller`], where that is a crash).
#[derive(Clone)]
pub struct Log {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a commit log thread has panicked");
            }
        }
    }
}

impl Log {
    /// Opens the log on `disk`, or begins one. `durable` says what a partition's RocksDB has on disk. `visit` is shown every live record
    /// once: first all resets; then the mutations that RocksDB lacks, in the order of the log, without those that a
    /// truncate, a reset, a deletion or a later record of the same decree cancels (decrees of a partition need not
    /// ascend: a re-prepared list may have been cut short by the crash); then each partition's newest truncate, ready, ballot,
    /// configuration, proposed and boot records, or its deletion.
    ///
    /// The disk belongs to the log alone; nobody else may have it open.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        durable: &dyn Fn(PartitionId) -> Decree,
        visit: &mut dyn FnMut(Record),
        completions: Box<dyn Completions>,
    ) -> Result<(Self, Recovery), OpenError> {
        let Recovered {
            index,
            files,
            next_sequence,
            end,
            recovery,
        } = recover(&*disk, durable, visit)?;
        let (index, files) = (Mutex::new(index), Mutex::new(files));
        keep_spares(&*disk, &options, &mut lock(&files).free);
        let begun = begin(
            &*disk,
            &options,
            &index,
            &files,
            next_sequence,
            end,
            &recovery,
        );
        let tail = begun.map_err(crate::chain::disk_error("begin a segment"))?;
        let shared = Arc::new(Shared::new(disk, options, index, files, tail, completions));
        let threads = spawn(&shared).map_err(crate::chain::disk_error("start its threads"))?;
        Ok((
            Self {
                owner: Arc::new(Owner { shared, threads }),
            },
            recovery,
        ))
    }

    /// Appends records, in order within each partition. `sync`: they are durable when `ticket` comes back; waits while the queue is
    /// full. `buffered`: they are written on return, and `ticket` comes back only if one of them must be synced.
    pub fn append(&self, records: &[Record], ticket: u64) -> Result<Appended, LogError> {
        self.shared().append(records, ticket, Until::Durability)
    }

    /// The same, but done only when synced, in `buffered` too (C6: what is acknowledged while a proposal is open).
    pub fn append_synced(&self, records: &[Record], ticket: u64) -> Result<Appended, LogError> {
        self.shared().append(records, ticket, Until::Synced)
    }

    /// RocksDB has the partition up to `decree` on disk; the log need not keep that.
    pub fn set_durable(&self, partition: PartitionId, decree: Decree) {
        let shared = self.shared();
        let mut index = lock(&shared.index);
        let wake = index.set_durable(partition, decree) && shared.under_pressure(&index);
        drop(index);
        if wake {
            shared.wake_tidier();
        }
    }

    /// Whether everything of the partition up to `decree` is on disk: before that RocksDB must not flush it, nor a compaction filter
    /// judge by it. Errs on the side of no.
    pub fn is_synced(&self, partition: PartitionId, decree: Decree) -> bool {
        let shared = self.shared();
        let synced = shared.synced();
        lock(&shared.index)
            .partitions
            .get(&partition)
            .is_none_or(|partition| partition.is_synced(decree, synced))
    }

    /// Completes `ticket` when all that is appended now is on disk; [`Appended::Done`] if it is.
    pub fn sync(&self, ticket: u64) -> Result<Appended, LogError> {
        self.shared().sync(ticket)
    }

    /// Returns when all that is appended now is on disk.
    pub fn wait_synced(&self) -> Result<(), LogError> {
        self.shared().wait_synced()
    }

    /// The partition's mutations from `from` on, ascending and without a hole: at least one if there is one, otherwise about
    /// `max_bytes` of them. Empty when there are none yet. In `sync` what is not yet durable is not yet there.
    pub fn read(
        &self,
        partition: PartitionId,
        from: Decree,
        max_bytes: usize,
    ) -> Result<Vec<Mutation>, ReadError> {
        self.shared().read(partition, from, max_bytes)
    }

    /// From this decree to the newest, [`Log::read`] has everything.
    pub fn oldest(&self, partition: PartitionId) -> Option<Decree> {
        lock(&self.shared().index)
            .partitions
            .get(&partition)?
            .oldest()
    }

    /// Keeps the partition's mutations from `from` on, within [`LogOptions::pinned`]. `None` if they are gone already.
    pub fn pin(&self, partition: PartitionId, from: Decree) -> Option<Pin> {
        self.shared().pin(partition, from)
    }

    /// The oldest sealed segment behind the one numbered `after` (0: of all), for [`Log::verify`].
    pub fn sealed_behind(&self, after: u32) -> Option<u32> {
        self.shared().sealed_behind(after)
    }

    /// Reads a sealed segment through; blocks on the disk. `pace` is told of every piece's bytes and says whether to go on. Has the log
    /// let go of a damaged one: [`Log::laggards`] then names whom to flush.
    pub fn verify(&self, segment: u32, pace: &mut dyn FnMut(usize) -> bool) -> Verified {
        self.shared().verify(segment, pace)
    }

    /// Whom to flush so that the log gets shorter, most urgent first. Empty while there is no need.
    pub fn laggards(&self) -> Vec<Laggard> {
        let shared = self.shared();
        let index = lock(&shared.index);
        if index.segments.len() < 2 || !shared.under_pressure(&index) {
            return Vec::new();
        }
        index.laggards(shared.options.carry.0, shared.options.segment_size.0)
    }

    /// Figures.
    pub fn stats(&self) -> LogStats {
        let shared = self.shared();
        let queued_bytes = lock(&shared.queue).bytes() as u64;
        let index = lock(&shared.index);
        let counters = &shared.counters;
        LogStats {
            segments: index.segments.len(),
            bytes: index.bytes,
            over_budget: index.bytes > shared.options.budget.0,
            queued_bytes,
            appended: shared.appended(),
            synced: shared.synced(),
            batches: counters.batches.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            released: counters.released.load(Ordering::Relaxed),
            carried_bytes: counters.carried_bytes.load(Ordering::Relaxed),
        }
    }

    /// Since when the disk has been at the oldest operation in progress (R6: a node that hangs on its disk must not vouch).
    pub fn busy_since(&self) -> Option<Instant> {
        self.shared().busy_since()
    }

    /// Why the log has failed, if it has: nothing is appended any more.
    pub fn failure(&self) -> Option<&str> {
        self.shared().failure()
    }

    /// One step of what the threads would do, under [`Driving::Caller`]. `false`: there was nothing to do.
    pub fn drive(&self) -> bool {
        let shared = self.shared();
        let flowed = match shared.options.durability {
            Durability::Sync => Ok(shared.write_round()),
            Durability::Buffered => shared.sync_round(),
        };
        let mut moved = flowed.unwrap_or(false);
        moved = moved || shared.mark_round().unwrap_or(false);
        moved = moved || shared.tidy_round().unwrap_or(false);
        shared.tell_failure() || moved
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

/// Of the files that hold nothing, keeps those of use and removes the others.
fn keep_spares(disk: &dyn Disk, options: &LogOptions, free: &mut Vec<Free>) {
    let mut kept = Vec::new();
    for spare in free.drain(..) {
        let fits = kept.len() < 2 && spare.file.size() == options.segment_size.0;
        if fits && (options.durability == Durability::Sync || spare.file.clear().is_ok()) {
            kept.push(spare);
        } else if let Err(error) = disk.remove(&spare.name) {
            tracing::warn!(%error, name = spare.name, "cannot remove a commit log segment");
        }
    }
    *free = kept;
}

/// The first segment of this life, with what must not be forgotten of the last.
fn begin(
    disk: &dyn Disk,
    options: &LogOptions,
    index: &Mutex<crate::index::Index>,
    files: &Mutex<crate::tail::Files>,
    sequence: u32,
    end: Option<Position>,
    recovery: &Recovery,
) -> io::Result<Tail> {
    let writing = Writing {
        disk,
        files,
        index,
        durability: options.durability,
        segment_size: options.segment_size.0,
        synced: end.unwrap_or_default(),
    };
    // What was read may have been written and not synced before a kill; from here on the marks say that it is on disk.
    let found: Vec<_> = lock(index)
        .segments
        .iter()
        .map(|segment| segment.file.clone())
        .collect();
    found.iter().try_for_each(|file| file.sync())?;
    let mut tail = Tail::begin(&writing, sequence, end)?;
    let quarantined: Vec<Entry> = recovery
        .quarantined
        .iter()
        .copied()
        .map(Entry::Quarantined)
        .collect();
    if !quarantined.is_empty() {
        tail.append_own(&writing, &quarantined)?;
    }
    if options.durability == Durability::Buffered
        && let Some(segment) = lock(index).segments.back()
    {
        segment.file.sync()?;
    }
    Ok(tail)
}

fn spawn(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    if shared.options.driving == Driving::Caller {
        return Ok(Vec::new());
    }
    let flow = match shared.options.durability {
        Durability::Sync => Shared::writer_loop,
        Durability::Buffered => Shared::syncer_loop,
    };
    [
        ("log-writer", flow as fn(&Shared)),
        ("log-tidier", Shared::tidier_loop),
    ]
    .into_iter()
    .map(|(name, run)| {
        let shared = shared.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&shared))
    })
    .collect()
}
