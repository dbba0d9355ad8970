//! From an append to its completion, in both durabilities.
//!
//! `sync`: appends queue; the writer takes a batch, writes it durably and completes its tickets while the next gathers.
//! `buffered`: appends write inline; a sync a second later, or at once for records that must not wait, completes the others.

use crate::batch::MAX_BATCH;
use crate::options::{Appended, Driving, LogError};
use crate::queue::{Pending, Ticket};
use crate::shared::Shared;
use crate::tail::{Append, Tail, lock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use types::{BUFFERED_SYNC_INTERVAL, Durability, Record};

/// How long the `sync` writer idles before it adds a mark.
const IDLE: Duration = Duration::from_millis(100);

/// When an append is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// As the log's durability says.
    Durability,
    /// Synced.
    Synced,
}

fn appends(records: &[Record]) -> impl Iterator<Item = Append<'_>> + Clone {
    records.iter().map(|record| Append {
        record,
        restated: false,
    })
}

impl Shared {
    pub(crate) fn append(
        &self,
        records: &[Record],
        ticket: u64,
        until: Until,
    ) -> Result<Appended, LogError> {
        self.check()?;
        if records.is_empty() {
            return Ok(Appended::Done);
        }
        let bytes = Tail::batch_size(appends(records));
        if bytes > MAX_BATCH {
            return Err(LogError::TooLarge { bytes });
        }
        match self.options.durability {
            Durability::Buffered => self.append_inline(records, ticket, until),
            Durability::Sync => self.enqueue(records, bytes, ticket),
        }
    }

    fn append_inline(
        &self,
        records: &[Record],
        ticket: u64,
        until: Until,
    ) -> Result<Appended, LogError> {
        let mut tail = self.lock_tail();
        self.check()?;
        let written = self.watched(&self.writing_since, || {
            tail.append(&self.writing(), appends(records))
        });
        let end = written.map_err(|error| self.fail("write", &error))?;
        self.set_appended(end);
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        if tail.is_half_full() {
            self.want_spare();
        }
        let pending =
            until == Until::Synced || records.iter().any(|record| record.body.always_synced());
        if pending {
            // Under the tail's lock: tickets wait in the order of their positions.
            let mut syncing = lock(&self.syncing);
            syncing.waiting.push((end, ticket));
            syncing.urgent = true;
        }
        drop(tail);
        // An exchange, not a look: either the syncer's exchange comes later and sees `appended`, or this one sees its `false`.
        if !self.dirty.swap(true, Ordering::AcqRel) || pending {
            drop(lock(&self.syncing));
            self.sync_wanted.notify_one();
        }
        Ok(if pending {
            Appended::Pending
        } else {
            Appended::Done
        })
    }

    fn enqueue(&self, records: &[Record], bytes: usize, ticket: u64) -> Result<Appended, LogError> {
        let mut queue = lock(&self.queue);
        while queue.bytes() > 0 && queue.bytes() + bytes > self.options.queue.bytes() {
            self.check()?;
            if self.options.driving == Driving::Caller {
                drop(queue);
                self.write_round();
                queue = lock(&self.queue);
            } else {
                queue = self
                    .queue_drained
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        self.check()?;
        let first = records[0].partition;
        if records.iter().all(|record| record.partition == first) {
            let pending = Pending {
                records: records.to_vec(),
                bytes,
                ticket: Ticket::Whole(ticket),
            };
            queue.push(first, pending);
        } else {
            queue.push_mixed(records, ticket);
        }
        drop(queue);
        self.queue_filled.notify_one();
        Ok(Appended::Pending)
    }

    /// Writes one batch of the queue. `false`: there was nothing.
    pub(crate) fn write_round(&self) -> bool {
        let mut batch = Vec::new();
        lock(&self.queue).take(self.options.batch.bytes(), &mut batch);
        if batch.is_empty() || self.failure().is_some() {
            return false;
        }
        self.queue_drained.notify_all();
        if batch.iter().any(|pending| !pending.records.is_empty()) {
            let records = batch.iter().flat_map(|pending| appends(&pending.records));
            let mut tail = self.lock_tail();
            let begun = Instant::now();
            let written = self.watched(&self.writing_since, || {
                tail.append(&self.writing(), records)
            });
            match written {
                Ok(end) => {
                    self.set_appended(end);
                    self.set_synced(end);
                    self.disk_took(begun.elapsed());
                }
                Err(error) => {
                    self.fail("write", &error);
                    return true;
                }
            }
            self.counters.batches.fetch_add(1, Ordering::Relaxed);
            if tail.is_half_full() {
                self.want_spare();
            }
        }
        let tickets: Vec<u64> = batch
            .into_iter()
            .filter_map(|pending| pending.ticket.done())
            .collect();
        drop(lock(&self.syncing));
        self.progressed.notify_all();
        self.complete(&tickets);
        true
    }

    /// Syncs what is written (`buffered`) and completes who waits for it. `false`: there was nothing.
    pub(crate) fn sync_round(&self) -> Result<bool, LogError> {
        let _one_at_a_time = lock(&self.sync_round);
        self.check()?;
        self.dirty.swap(false, Ordering::AcqRel);
        lock(&self.syncing).urgent = false;
        let (target, synced) = (self.appended(), self.synced());
        if target > synced {
            let files: Vec<_> = lock(&self.index)
                .segments
                .iter()
                .filter(|segment| {
                    (synced.sequence()..=target.sequence()).contains(&segment.sequence)
                })
                .map(|segment| segment.file.clone())
                .collect();
            let begun = Instant::now();
            let result = self.watched(&self.syncing_since, || {
                files.iter().try_for_each(|file| file.sync())
            });
            result.map_err(|error| self.fail("sync", &error))?;
            self.disk_took(begun.elapsed());
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
            self.set_synced(target);
        }
        let mut tickets = Vec::new();
        lock(&self.syncing).waiting.retain(|&(end, ticket)| {
            if end <= target {
                tickets.push(ticket);
            }
            end > target
        });
        self.progressed.notify_all();
        self.complete(&tickets);
        Ok(target > synced || !tickets.is_empty())
    }

    /// Adds a mark if what is synced has none behind it yet: without one, damage to the last batch would pass for a torn tail.
    pub(crate) fn mark_round(&self) -> Result<bool, LogError> {
        self.check()?;
        let mut tail = self.lock_tail();
        let synced = self.synced();
        if tail.marked >= synced || self.appended() != synced {
            return Ok(false);
        }
        let written = self.watched(&self.writing_since, || {
            tail.append_own(&self.writing(), &[])
        });
        written.map_err(|error| self.fail("write", &error))?;
        // The mark itself needs no mark.
        tail.marked = tail.marked.max(synced);
        Ok(true)
    }

    /// Completes `ticket` when all that is appended now is synced.
    pub(crate) fn sync(&self, ticket: u64) -> Result<Appended, LogError> {
        self.check()?;
        match self.options.durability {
            Durability::Buffered => {
                let end = self.appended();
                if end <= self.synced() {
                    return Ok(Appended::Done);
                }
                let mut syncing = lock(&self.syncing);
                syncing.waiting.push((end, ticket));
                syncing.urgent = true;
                self.dirty.store(true, Ordering::Release);
                drop(syncing);
                self.sync_wanted.notify_one();
            }
            Durability::Sync => {
                let mut queue = lock(&self.queue);
                // Dropped under the lock: the last part must find itself alone.
                let whole = Arc::new(Some(ticket));
                queue.push_barrier(&whole);
                drop(whole);
                drop(queue);
                self.queue_filled.notify_one();
            }
        }
        Ok(Appended::Pending)
    }

    /// Returns when all that is appended now is synced.
    pub(crate) fn wait_synced(&self) -> Result<(), LogError> {
        let done: Box<dyn Fn() -> bool + '_> = match self.options.durability {
            Durability::Buffered => {
                let end = self.appended();
                Box::new(move || end <= self.synced())
            }
            Durability::Sync => {
                let barrier = Arc::new(None);
                lock(&self.queue).push_barrier(&barrier);
                self.queue_filled.notify_one();
                Box::new(move || Arc::strong_count(&barrier) == 1)
            }
        };
        if self.options.driving == Driving::Caller {
            while !done() {
                self.check()?;
                match self.options.durability {
                    Durability::Buffered => drop(self.sync_round()?),
                    Durability::Sync => drop(self.write_round()),
                }
            }
            // A failure lets go of everything that waits, too.
            return self.check();
        }
        let mut syncing = lock(&self.syncing);
        while !done() {
            self.check()?;
            syncing.urgent = true;
            self.sync_wanted.notify_one();
            syncing = self
                .progressed
                .wait(syncing)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(syncing);
        self.check()
    }

    fn want_spare(&self) {
        if !self.wants_spare.swap(true, Ordering::AcqRel) {
            self.wake_tidier();
        }
    }

    /// The thread of a `sync` log.
    pub(crate) fn writer_loop(&self) {
        let mut idle = false;
        loop {
            if self.write_round() {
                idle = false;
                continue;
            }
            if self.failure().is_some() {
                self.tell_failure();
                return;
            }
            if self.stopping() {
                let _ = self.mark_round();
                return;
            }
            let queue = lock(&self.queue);
            if !queue.is_empty() || self.stopping() {
                continue;
            }
            if idle {
                drop(
                    self.queue_filled
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner),
                );
                continue;
            }
            let (queue, timeout) = self
                .queue_filled
                .wait_timeout(queue, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            drop(queue);
            if timeout.timed_out() {
                idle = true;
                let _ = self.mark_round();
            }
        }
    }

    /// The thread of a `buffered` log.
    pub(crate) fn syncer_loop(&self) {
        loop {
            let mut syncing = lock(&self.syncing);
            while !self.dirty.load(Ordering::Acquire)
                && !syncing.urgent
                && !self.stopping()
                && self.failure().is_none()
            {
                syncing = self
                    .sync_wanted
                    .wait(syncing)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !syncing.urgent && !self.stopping() && self.failure().is_none() {
                // Woken early only by who must not wait; a spurious wake-up syncs early, no harm.
                let (later, _) = self
                    .sync_wanted
                    .wait_timeout_while(syncing, BUFFERED_SYNC_INTERVAL, |syncing| {
                        !syncing.urgent && !self.stopping() && self.failure().is_none()
                    })
                    .unwrap_or_else(PoisonError::into_inner);
                syncing = later;
            }
            drop(syncing);
            let stopping = self.stopping();
            let result = self.sync_round().and_then(|_| self.mark_round());
            if result.is_err() {
                self.tell_failure();
                return;
            }
            if stopping {
                return;
            }
        }
    }
}
