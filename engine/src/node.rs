//! What the node's partitions share, and the opening and closing of their `RocksDB`s.

use crate::apply::{self, Job};
use crate::catalogue::{self, Catalogue, Entry, sync_dir};
use crate::collect;
use crate::event::{EngineEvent, Hooks};
use crate::filter;
use crate::flush::{self, Work};
use crate::options::EngineOptions;
use crate::pool::Pool;
use crate::rocks::{Database, Rocks, check_format};
use crate::row_cache::RowCache;
use crate::store::{Store, lock};
use commands::rows::own::Applied;
use rocksdb::DB;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;
use types::{Decree, PartitionId};

pub(crate) const SCRATCH: &str = "scratch";

/// See the module.
pub(crate) struct Node {
    pub(crate) options: EngineOptions,
    pub(crate) hooks: Hooks,
    pub(crate) rocks: Rocks,
    pub(crate) cache: RowCache,
    pub(crate) catalogue: Mutex<Catalogue>,
    pub(crate) stores: Mutex<BTreeMap<PartitionId, Arc<Store>>>,
    pub(crate) apply: Sender<apply::Message>,
    pub(crate) flush: Sender<Work>,
    pub(crate) fetchers: Pool,
    pub(crate) background: Pool,
    /// Takes paced digests, one at a time.
    pub(crate) digester: Pool,
    /// Opens what will be wanted.
    pub(crate) opener: Pool,
    /// Collects garbage, of one partition at a time.
    pub(crate) collector: Pool,
    /// Of whose garbage is being collected, to be told when the node stops.
    pub(crate) rewritten: Mutex<Weak<Database>>,
    pub(crate) max_open: usize,
    /// How many instances are open; `closed` is signalled when one is closed.
    pub(crate) open: Mutex<usize>,
    pub(crate) closed: Condvar,
    pub(crate) stopping: AtomicBool,
    /// Counts openings: a clock for "least recently used".
    pub(crate) tick: AtomicU64,
    pub(crate) overlay: AtomicUsize,
    pub(crate) memtables: AtomicUsize,
    /// The overlay size at which the largest are asked to give something up.
    relieve_at: AtomicUsize,
    numbers: AtomicU64,
    spaces: AtomicU64,
    tickets: AtomicU64,
}

/// Why an instance is not open.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// Too many are; try again later.
    Busy,
    /// The partition was removed.
    Gone,
    /// It cannot be opened.
    Broken(String),
}

/// Whether an opener may wait for another instance to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    Wait,
    Never,
}

impl Node {
    pub(crate) fn new(
        options: EngineOptions,
        hooks: Hooks,
        catalogue: Catalogue,
        max_open: usize,
        apply: Sender<apply::Message>,
        flush: Sender<Work>,
    ) -> Result<Self, crate::OpenError> {
        let numbers = catalogue.entries().values().map(|entry| entry.number).max();
        Ok(Self {
            rocks: Rocks::new(&options)
                .map_err(|error| crate::OpenError::Setup(error.to_string()))?,
            cache: RowCache::new(options.row_cache),
            stores: Mutex::new(BTreeMap::new()),
            fetchers: Pool::start("fetch", options.fetch_threads)?,
            background: Pool::start("storage", options.background_threads)?,
            digester: Pool::start("digest", 1)?,
            opener: Pool::start("open", 1)?,
            collector: Pool::start("collect", 1)?,
            rewritten: Mutex::new(Weak::new()),
            relieve_at: AtomicUsize::new(options.overlay_budget / 4 * 3),
            options,
            hooks,
            catalogue: Mutex::new(catalogue),
            apply,
            flush,
            max_open,
            open: Mutex::new(0),
            closed: Condvar::new(),
            stopping: AtomicBool::new(false),
            tick: AtomicU64::new(1),
            overlay: AtomicUsize::new(0),
            memtables: AtomicUsize::new(0),
            numbers: AtomicU64::new(numbers.unwrap_or(0) + 1),
            spaces: AtomicU64::new(1),
            tickets: AtomicU64::new(1),
        })
    }

    pub(crate) fn tell(&self, event: EngineEvent) {
        (self.hooks.events)(event);
    }

    pub(crate) fn fail(&self, store: &Store, reason: String) {
        tracing::error!(partition = %store.id, reason, "storage failed");
        if store.fail(reason.clone()) {
            self.tell(if is_failed_sync(&reason) {
                EngineEvent::SyncFailed { reason }
            } else {
                EngineEvent::Failed {
                    partition: store.id,
                    reason,
                }
            });
        }
    }

    /// The catalogue is every partition's. Returns the reason.
    pub(crate) fn fail_catalogue(&self, error: &std::io::Error) -> String {
        let file = self.options.dir.join(catalogue::FILE);
        let reason = format!(
            "the catalogue {} cannot be written: {error}",
            file.display()
        );
        tracing::error!(reason, "storage failed");
        self.tell(EngineEvent::SyncFailed {
            reason: reason.clone(),
        });
        reason
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_space(&self) -> u64 {
        self.spaces.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_ticket(&self) -> crate::Ticket {
        crate::Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    pub(crate) fn dir(&self, id: PartitionId, number: u64) -> PathBuf {
        self.options.dir.join(format!("{id}-{number}"))
    }

    /// A path for files that come or go, emptied at every start.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.options.dir.join(SCRATCH).join(name)
    }

    pub(crate) fn submit(&self, job: Job) {
        // the thread is gone only when the engine is being shut down
        let _ = self.apply.send(apply::Message::Job(job));
    }

    pub(crate) fn ask_flush(&self, store: &Arc<Store>) {
        if !store.flushing.swap(true, Ordering::AcqRel) {
            let _ = self.flush.send(Work::Flush(Arc::clone(store)));
        }
    }

    /// A partition's overlay has changed its size.
    pub(crate) fn account_overlay(&self, store: &Store, before: usize, now: usize) {
        store.overlay.store(now, Ordering::Relaxed);
        let total = if now >= before {
            self.overlay.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.overlay.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        };
        let at = self.relieve_at.load(Ordering::Relaxed);
        if total > at {
            // not at every mutation: the asked ones need some time
            let next = total + self.options.overlay_budget / 64;
            self.relieve_at.store(next, Ordering::Relaxed);
            let _ = self.flush.send(Work::Relieve);
        } else if total < self.options.overlay_budget / 2 {
            self.relieve_at
                .store(self.options.overlay_budget / 4 * 3, Ordering::Relaxed);
        }
    }

    /// Whether the overlays are over their budget.
    pub(crate) fn overloaded(&self) -> bool {
        self.overlay.load(Ordering::Relaxed) > self.options.overlay_budget
    }

    /// Whether overlays were asked to give something up and half of the budget is not free yet.
    pub(crate) fn relieving(&self) -> bool {
        self.relieve_at.load(Ordering::Relaxed) > self.options.overlay_budget / 4 * 3
    }

    /// Whether there is room to keep what `RocksDB` already has.
    pub(crate) fn may_retain(&self) -> bool {
        self.overlay.load(Ordering::Relaxed) <= self.options.overlay_budget / 2
    }

    /// The partition's open instance, opened if need be. Blocks on disk.
    pub(crate) fn open(
        self: &Arc<Self>,
        store: &Arc<Store>,
        patience: Patience,
    ) -> Result<Arc<Database>, NotOpen> {
        store
            .used
            .store(self.tick.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(database) = store.database() {
            return Ok(database);
        }
        self.permit(patience)?;
        let opened = self.open_permitted(store);
        if !matches!(opened, Ok((_, Opened::Now))) {
            self.release_permit();
        }
        opened.map(|(database, _)| database)
    }

    fn open_permitted(
        self: &Arc<Self>,
        store: &Arc<Store>,
    ) -> Result<(Arc<Database>, Opened), NotOpen> {
        let mut slot = store.slot();
        if slot.gone {
            return Err(NotOpen::Gone);
        }
        if let Some(database) = &slot.database {
            return Ok((Arc::clone(database), Opened::Before));
        }
        let broken = |error: rocksdb::Error| NotOpen::Broken(error.to_string());
        let mut options = self.rocks.options();
        let link = filter::install(&mut options, self, store.id);
        let db = DB::open(&options, self.dir(store.id, slot.number)).map_err(broken)?;
        if store.durable_decree() == Decree::ZERO {
            // The directory may be new, and RocksDB does not see to its name: once the log has forgotten what is in it, it must be there.
            sync_dir(&self.options.dir).map_err(|error| NotOpen::Broken(error.to_string()))?;
        }
        check_format(&db).map_err(NotOpen::Broken)?;
        let holds = self.rocks.persisted(&db).map_err(NotOpen::Broken)?;
        let durable = store.durable();
        if holds.decree < durable.decree {
            return Err(NotOpen::Broken(format!(
                "its files hold decree {} where {} was durable",
                holds.decree, durable.decree
            )));
        }
        // a crash between a flush and the catalogue's record: the files know more
        if holds.decree > Decree::ZERO {
            store.will_have_rows();
        }
        store.raise_applied(holds);
        let pins = AtomicUsize::new(0);
        let database = Database { db, pins };
        let garbage = collect::noted(&database).map_err(NotOpen::Broken)?;
        store.garbage.store(garbage, Ordering::Release);
        let database = Arc::new(database);
        link.connect(&database);
        slot.database = Some(Arc::clone(&database));
        Ok((database, Opened::Now))
    }

    /// Whether one more may be open without another being closed.
    pub(crate) fn may_open_more(&self) -> bool {
        *lock(&self.open) < self.max_open
    }

    fn permit(&self, patience: Patience) -> Result<(), NotOpen> {
        let mut open = lock(&self.open);
        while *open >= self.max_open {
            let _ = self.flush.send(Work::Close);
            if patience == Patience::Never {
                return Err(NotOpen::Busy);
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(NotOpen::Gone);
            }
            open = self
                .closed
                .wait_timeout(open, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *open += 1;
        Ok(())
    }

    pub(crate) fn release_permit(&self) {
        *lock(&self.open) -= 1;
        self.closed.notify_all();
    }

    /// Takes the instance away and closes it, once nobody uses it any more. What its memtable holds is lost.
    pub(crate) fn close(&self, database: Arc<Database>) {
        let mut database = database;
        loop {
            match Arc::try_unwrap(database) {
                Ok(database) => {
                    drop(database);
                    self.release_permit();
                    return;
                }
                Err(shared) => {
                    database = shared;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Closes an instance whose files nobody wants any more: what still works on them ends, and is not waited for.
    pub(crate) fn abandon(&self, database: Arc<Database>) {
        database.db.cancel_all_background_work(false);
        self.close(database);
    }

    /// The memtable of a partition is no more.
    pub(crate) fn forget_memtable(&self, store: &Store) {
        let bytes = store.memtable.swap(0, Ordering::AcqRel);
        self.memtables.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// The state is on disk: the catalogue knows it before anybody else. Nothing happens if the contents are others by now.
    pub(crate) fn made_durable(&self, store: &Store, life: u64, state: Applied) {
        if state.decree <= store.durable_decree() {
            return;
        }
        let recorded = {
            let mut catalogue = lock(&self.catalogue);
            // who changes the number or the life holds the catalogue too
            let number = {
                let slot = store.slot();
                if slot.gone || store.life() != life {
                    return;
                }
                slot.number
            };
            let entry = Entry {
                number,
                durable: state,
            };
            catalogue.put(store.id, entry)
        };
        match recorded {
            Ok(()) => {
                store.raise_durable(state);
                self.tell(EngineEvent::Durable {
                    partition: store.id,
                    decree: state.decree,
                });
            }
            Err(error) => drop(self.fail_catalogue(&error)),
        }
    }

    /// Ends the threads. What they have not done is done again after the next start.
    pub(crate) fn stop(self: &Arc<Self>) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.closed.notify_all();
        self.fetchers.stop();
        let _ = self.apply.send(apply::Message::Stop);
        let _ = self.flush.send(Work::Stop);
        if let Some(database) = lock(&self.rewritten).upgrade() {
            database.db.cancel_all_background_work(false);
        }
        self.collector.stop();
        self.digester.stop();
        self.opener.stop();
        self.background.stop();
    }

    /// Closes every instance: the last thing that happens.
    pub(crate) fn close_all(&self) {
        let stores: Vec<Arc<Store>> = lock(&self.stores).values().cloned().collect();
        for store in stores {
            let database = {
                let mut slot = store.slot();
                slot.gone = true;
                slot.database.take()
            };
            if let Some(database) = database {
                self.abandon(database);
            }
        }
    }

    /// For who must not keep the node alive.
    pub(crate) fn weak(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }
}

/// What `RocksDB` says when a sync of its files fails; there is no code for it.
fn is_failed_sync(reason: &str) -> bool {
    ["While fsync", "While fdatasync", "While sync_file_range"]
        .iter()
        .any(|words| reason.contains(words))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opened {
    Now,
    Before,
}

/// Starts the threads that the node's channels lead to.
pub(crate) fn start_threads(
    node: &Arc<Node>,
    jobs: std::sync::mpsc::Receiver<apply::Message>,
    work: std::sync::mpsc::Receiver<Work>,
) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
    let applier = Arc::clone(node);
    let flusher = Arc::clone(node);
    Ok(vec![
        std::thread::Builder::new()
            .name("apply".to_owned())
            .spawn(move || apply::run(&applier, &jobs))?,
        std::thread::Builder::new()
            .name("flush".to_owned())
            .spawn(move || flush::run(&flusher, &work))?,
    ])
}
