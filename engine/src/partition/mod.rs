//! A partition as its worker sees it: mutations go in at one end, `RocksDB` has them in the end, and evaluation sees the newest rows
//! wherever they are. Nothing here waits for a disk.
//!
//! Reading order: this file (watermarks, and moving mutations along), `primary` (evaluation into the open mutation), `rows` (the view
//! that evaluation reads and writes through). Who is primary, what may be acknowledged and when a reply leaves is the server's.

mod primary;
mod rows;

pub use primary::{Read, Sealed, Written};

use crate::apply::{Job, Then};
use crate::batch;
use crate::checkpoint;
use crate::engine::Owner;
use crate::event::{Digest, EngineEvent, Haste, Ticket};
use crate::fetch::{self, Want};
use crate::node::Node;
use crate::overlay::{Held, Overlay};
use crate::row_cache::Space;
use crate::store::Store;
use bytes::Bytes;
use commands::rows::own::Applied;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use types::{Ballot, Decree, Mutation, PartitionId, SlotRange, Timestamp};

/// Why a mutation was not staged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StageError {
    /// Its effects are none that a primary makes: whoever sent it is broken.
    #[error(transparent)]
    Malformed(#[from] batch::Malformed),
    /// An earlier one is missing: stage that first.
    #[error("decree {found} where {expected} comes next")]
    Gap {
        /// What comes next.
        expected: Decree,
        /// What came.
        found: Decree,
    },
}

/// Sizes of one partition's parts at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionStats {
    /// Bytes in the overlay.
    pub overlay: usize,
    /// Rows in the overlay's index, dropped ones that are not yet swept included.
    pub indexed_rows: usize,
    /// Bytes in `RocksDB`'s memtable.
    pub memtable: usize,
    /// Rows made garbage by commands evaluated here, as far as that is known.
    pub garbage: u64,
}

/// See the module.
pub struct Partition {
    owner: Arc<Owner>,
    store: Arc<Store>,
    slots: SlotRange,
    default_ttl: Option<Duration>,
    overlay: Overlay,
    committed: Decree,
    /// Sent to the apply thread up to here.
    queued: Decree,
    /// Bytes committed and not yet sent there.
    waiting: usize,
    /// How often something was committed, as far as it counts.
    commits: u32,
    applied: Decree,
    /// The timestamp and ballot of `committed`'s state when nothing of it is in the overlay.
    base: Applied,
    life: u64,
    /// What the node was told of the overlay's size.
    accounted: usize,
    /// Whether generations that `RocksDB` has may stay for as long as there is room.
    retain: bool,
    /// Generations dropped so far.
    dropped: u64,
    space: Space,
    /// Whether the row cache may hold rows of this space.
    cached: bool,
    wanted: Vec<Want>,
    /// A range that stays cold: where, and how often it was fetched.
    stuck: Option<(Bytes, u32)>,
    digests: Vec<(Decree, Ticket, Haste)>,
    garbage: u64,
    /// The part of it of which no mutation has a note.
    unnoted: u64,
}

/// So many committed mutations at most wait for `RocksDB`: a new primary indexes them before it serves, in about a microsecond each.
const INDEXED_AT_ONCE: u64 = 1024;

/// So many commits show that a partition is written to: what a start repeats comes in fewer.
const COMMITS_IN_USE: u32 = 16;

impl Partition {
    pub(crate) fn new(owner: Arc<Owner>, store: Arc<Store>, slots: SlotRange) -> Self {
        let base = store.durable();
        let node = &owner.node;
        Self {
            overlay: Overlay::new(base.decree, node.options.generation),
            committed: base.decree,
            queued: base.decree,
            waiting: 0,
            commits: 0,
            applied: base.decree,
            base,
            life: store.life(),
            accounted: 0,
            retain: true,
            dropped: 0,
            space: node.next_space(),
            cached: false,
            wanted: Vec::new(),
            stuck: None,
            digests: Vec::new(),
            garbage: 0,
            unnoted: 0,
            owner,
            store,
            slots,
            default_ttl: None,
        }
    }

    /// Which one this is.
    pub fn id(&self) -> PartitionId {
        self.store.id
    }

    fn node(&self) -> &Arc<Node> {
        &self.owner.node
    }

    // ---- watermarks

    /// The last mutation here, committed or not.
    pub fn last(&self) -> Decree {
        self.overlay.last()
    }

    /// What was committed.
    pub fn committed(&self) -> Decree {
        self.committed
    }

    /// What `RocksDB` has, as far as [`Self::settle`] knows.
    pub fn applied(&self) -> Decree {
        self.applied
    }

    /// What survives a crash without the log.
    pub fn durable(&self) -> Decree {
        self.store.durable_decree().min(self.committed)
    }

    /// As [`Self::durable`], with its ballot and time.
    pub fn durable_state(&self) -> Applied {
        self.store.durable()
    }

    /// The timestamp of the last mutation here.
    pub fn partition_time(&self) -> Timestamp {
        self.overlay
            .last_timestamp()
            .unwrap_or(self.base.timestamp)
            .max(self.base.timestamp)
    }

    // ---- roles

    /// Makes ready for reads and writes.
    pub fn promote(&mut self) {
        self.overlay.promote();
        self.forget_cached();
    }

    /// Makes ready for reads of a copy that another node writes to. They see what is committed, and what they saw is above it only while all
    /// keys are being deleted at once. Nothing happens if it is ready already.
    pub fn read_committed(&mut self) {
        if !self.overlay.is_indexed() {
            self.overlay.index_committed(self.committed);
            self.forget_cached();
        }
    }

    /// Whether it is ready for reads.
    pub fn is_readable(&self) -> bool {
        self.overlay.is_indexed()
    }

    /// Reads and writes no more: only bytes are kept. The open mutation is dropped.
    pub fn demote(&mut self) {
        self.overlay.demote();
        self.forget_cached();
        self.settle();
    }

    // ---- mutations of others

    /// Takes in a prepared mutation. One that is committed already is ignored, one that is here already is replaced.
    pub fn stage(&mut self, mutation: &Mutation) -> Result<(), StageError> {
        self.settle();
        if mutation.decree <= self.committed {
            return Ok(());
        }
        let expected = self.last().next();
        if mutation.decree > expected {
            return Err(StageError::Gap {
                expected,
                found: mutation.decree,
            });
        }
        let summary = batch::check(&mutation.effects)?;
        self.overlay.abandon();
        let held = Held {
            ballot: mutation.ballot,
            timestamp: mutation.timestamp,
            effects: if summary.records == 0 {
                Bytes::new()
            } else {
                mutation.effects.clone()
            },
            clears: summary.clears,
            garbage: summary.garbage,
        };
        if mutation.decree < expected {
            self.overlay.replace(mutation.decree, held);
        } else {
            self.overlay.stage(held)?;
        }
        if self.overlay.is_indexed() && !self.overlay.indexes_committed() {
            self.forget_cached();
        }
        self.account();
        Ok(())
    }

    /// Everything up to `up_to`, as far as it is here, is committed.
    pub fn commit(&mut self, up_to: Decree) {
        self.settle();
        let up_to = up_to.min(self.last());
        if up_to <= self.committed {
            return;
        }
        let mut clears = false;
        for (_, held) in self.overlay.range(self.committed, up_to) {
            self.waiting += held.effects.len();
            clears |= held.clears;
        }
        self.reveal(up_to);
        self.committed = up_to;
        self.commits = self.commits.saturating_add(1);
        if self.commits == COMMITS_IN_USE {
            fetch::warm_up(&self.owner.node, &self.store);
        }
        self.send_digests();
        let many = up_to.0 - self.queued.0 >= INDEXED_AT_ONCE;
        if clears || many || self.waiting >= self.node().options.generation {
            self.send(self.committed, Vec::new());
        }
    }

    /// Readers of a copy that another node writes to see what is committed now, and nothing older in the row cache.
    fn reveal(&mut self, up_to: Decree) {
        let (cache, space) = (&self.owner.node.cache, self.space);
        let cached = self.cached;
        self.overlay.reveal(up_to, |hash, row| {
            if cached {
                cache.remove(space, hash, row);
            }
        });
    }

    /// Drops what is above `above` and not committed.
    pub fn truncate(&mut self, above: Decree) {
        self.overlay.truncate(above.max(self.committed));
        self.account();
    }

    /// The uncommitted mutations are being prepared again under `ballot`.
    pub fn raise_ballot(&mut self, ballot: Ballot) {
        self.overlay.raise_ballot(self.committed, ballot);
    }

    // ---- towards the disk

    /// Takes in what the engine's threads have done meanwhile. Beginning, staging and committing do it too.
    pub fn settle(&mut self) {
        if self.store.life() != self.life {
            self.start_anew();
        }
        let applied = self.store.applied_decree().min(self.committed);
        if applied > self.applied {
            self.applied = applied;
            if self.overlay.applied_through(applied) {
                // a clear is in RocksDB: rows cached from before it are no more
                self.forget_cached();
            }
        }
        self.trim();
    }

    /// Sends what is committed to `RocksDB`; `Applied` follows.
    pub fn apply_now(&mut self) {
        if self.queued < self.committed {
            self.send(self.committed, Vec::new());
        }
    }

    /// Sends what is committed to `RocksDB` and has it made durable; `Durable` follows, unless it is already.
    pub fn flush(&mut self) {
        if self.store.durable_decree() < self.committed {
            self.send(self.committed, vec![Then::Flush]);
        }
    }

    /// Gives up as much memory as can be had.
    pub fn relieve(&mut self) {
        self.apply_now();
        self.retain = false;
        self.settle();
    }

    /// Sums up the logical state at `at`, which is not above what will be committed next and not below what was applied: ask before
    /// committing beyond. `Digested` follows.
    pub fn digest(&mut self, at: Decree, haste: Haste) -> Ticket {
        let ticket = self.node().next_ticket();
        self.digests.push((at, ticket, haste));
        self.send_digests();
        ticket
    }

    /// Makes a copy of the files, which holds at least what is committed now, in `into`, which does not exist yet. `Checkpointed`
    /// follows.
    pub fn checkpoint(&mut self, into: PathBuf) -> Ticket {
        let ticket = self.node().next_ticket();
        self.send(self.committed, vec![Then::Checkpoint(ticket, into)]);
        ticket
    }

    /// Puts a checkpoint in the place of everything here. The directory is moved. `Installed` follows, then [`Self::settle`]; nothing
    /// may be staged before.
    pub fn install_checkpoint(&mut self, from: PathBuf) -> Ticket {
        let ticket = self.node().next_ticket();
        checkpoint::install(self.node(), &self.store, ticket, from);
        ticket
    }

    /// Bytes in memory for mutations that are here.
    pub fn overlay_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    /// How large everything is.
    pub fn stats(&self) -> PartitionStats {
        PartitionStats {
            overlay: self.overlay.bytes(),
            indexed_rows: self.overlay.rows(),
            memtable: self
                .store
                .memtable
                .load(std::sync::atomic::Ordering::Relaxed),
            garbage: self.garbage,
        }
    }

    fn send(&mut self, up_to: Decree, then: Vec<Then>) {
        let mutations = self
            .overlay
            .range(self.queued, up_to)
            .map(|(decree, held)| (decree, held.clone()))
            .collect();
        self.queued = self.queued.max(up_to);
        self.waiting = self
            .overlay
            .range(self.queued, self.committed)
            .map(|(_, held)| held.effects.len())
            .sum();
        self.node().submit(Job {
            store: Arc::clone(&self.store),
            life: self.life,
            mutations,
            then,
        });
    }

    fn send_digests(&mut self) {
        let (ready, later) = std::mem::take(&mut self.digests)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= self.committed);
        self.digests = later;
        for (at, ticket, haste) in ready {
            if at < self.queued {
                let digest: Result<Digest, String> =
                    Err(format!("decree {at} is past: {} was applied", self.queued));
                self.node().tell(EngineEvent::Digested {
                    partition: self.id(),
                    ticket,
                    digest,
                });
            } else {
                self.send(at, vec![Then::Digest(ticket, at, haste)]);
            }
        }
    }

    /// Drops generations that `RocksDB` has, except those that are kept as a cache.
    fn trim(&mut self) {
        let keep = self.retain && self.overlay.is_indexed();
        if !keep && self.applied == self.last() {
            self.overlay.rotate();
        }
        while let Some(last) = self.overlay.oldest_closed() {
            if last > self.applied || (keep && self.node().may_retain()) {
                break;
            }
            if let Some(held) = self.overlay.get(last) {
                self.base = Applied {
                    decree: last,
                    ballot: held.ballot,
                    timestamp: held.timestamp,
                };
            }
            self.overlay.drop_oldest();
            self.dropped += 1;
            self.account();
        }
    }

    fn account(&mut self) {
        let now = self.overlay.bytes();
        if now != self.accounted {
            self.node()
                .account_overlay(&self.store, self.accounted, now);
            self.accounted = now;
        }
    }

    /// What the row cache holds of this partition is not found any more.
    fn forget_cached(&mut self) {
        if self.cached {
            self.space = self.node().next_space();
            self.cached = false;
        }
        // fetches that are under way must not come in later either
        self.dropped += 1;
    }

    /// A checkpoint has replaced everything.
    fn start_anew(&mut self) {
        self.life = self.store.life();
        let base = self.store.durable();
        let (indexed, committed) = (self.overlay.is_indexed(), self.overlay.indexes_committed());
        self.overlay = Overlay::new(base.decree, self.node().options.generation);
        if committed {
            self.overlay.index_committed(base.decree);
        } else if indexed {
            self.overlay.promote();
        }
        self.committed = base.decree;
        self.queued = base.decree;
        self.waiting = 0;
        self.commits = 0;
        self.applied = base.decree;
        self.base = base;
        self.wanted.clear();
        self.forget_cached();
        self.account();
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let node = Arc::clone(self.node());
        node.account_overlay(&self.store, self.accounted, 0);
    }
}
