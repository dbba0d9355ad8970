//! Gives segments up, oldest first: when every partition in one is durable beyond it, or after copying forward what little the
//! laggards still need. Also gets the next file ready.
//!
//! The order is what keeps records safe: copies are written and synced, then a `Released` entry is, then the file is written over.
//! It never asks for a flush; `Log::laggards` names who needs one.

use crate::Position;
use crate::codec::Entry;
use crate::index::{Index, Segment};
use crate::options::LogError;
use crate::shared::Shared;
use crate::tail::{Free, lock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use types::Durability;

/// Files kept ready.
const SPARES: usize = 2;
/// Between two tries while laggards hold the oldest segment.
const PATIENCE: Duration = Duration::from_millis(100);

impl Shared {
    pub(crate) fn tidier_loop(&self) {
        loop {
            match self.tidy_round() {
                Ok(true) => {}
                Ok(false) => {
                    let tidying = lock(&self.tidying);
                    let mut tidying = self
                        .tidy_wanted
                        .wait_while(tidying, |wanted| !*wanted)
                        .unwrap_or_else(PoisonError::into_inner);
                    *tidying = false;
                }
                Err(_) => return,
            }
            if self.stopping() || self.failure().is_some() {
                return;
            }
            if lock(&self.index).waits_for_laggards {
                // Many flushes in a row must not make as many vain tries.
                let tidying = lock(&self.tidying);
                let stop = |_: &mut bool| !self.stopping() && self.failure().is_none();
                drop(self.tidy_wanted.wait_timeout_while(tidying, PATIENCE, stop));
            }
        }
    }

    /// One step of tidying. `false`: nothing to do for now.
    pub(crate) fn tidy_round(&self) -> Result<bool, LogError> {
        self.check()?;
        if self.wants_spare.swap(false, Ordering::AcqRel) {
            let mut files = lock(&self.files);
            if files.free.is_empty() {
                match files.create(&*self.disk, self.options.segment_size.0) {
                    Ok(spare) => files.free.push(spare),
                    // The writer tries again when it needs one, and reports.
                    Err(error) => tracing::warn!(%error, "cannot prepare a commit log segment"),
                }
                return Ok(true);
            }
        }
        let Some(sequence) = self.may_release() else {
            return Ok(false);
        };
        if !self.carry(sequence)? {
            return Ok(false);
        }
        self.release(sequence)?;
        Ok(true)
    }

    /// The oldest segment, if it is time for it to go and nobody must be flushed first.
    fn may_release(&self) -> Option<u32> {
        let mut index = lock(&self.index);
        index.waits_for_laggards = false;
        let oldest = index.segments.front()?.sequence;
        if index.segments.len() < 2
            || !self.under_pressure(&index)
            || !self.break_pins(&mut index, oldest)
        {
            return None;
        }
        if !index
            .laggards(self.options.carry.0, self.options.segment_size.0)
            .is_empty()
        {
            index.waits_for_laggards = true;
            return None;
        }
        Some(oldest)
    }

    /// Whether no pin keeps the oldest segment; those that keep too much are broken.
    fn break_pins(&self, index: &mut Index, oldest: u32) -> bool {
        index.pins.retain(|(_, pin)| Arc::strong_count(pin) > 1);
        if index.bytes <= self.options.budget.0 / 2 + self.options.pinned.0 {
            return index.pins.iter().all(|&(from, _)| from > oldest);
        }
        index.pins.retain(|(from, pin)| {
            if *from <= oldest {
                pin.store(true, Ordering::Release);
            }
            *from > oldest
        });
        true
    }

    /// Something was written at the tail, which the caller holds.
    pub(crate) fn wrote(&self, end: Position) {
        self.set_appended(end);
        match self.options.durability {
            Durability::Sync => self.set_synced(end),
            Durability::Buffered => {
                self.dirty.swap(true, Ordering::AcqRel);
            }
        }
    }

    /// Gives the oldest segment up: everything in it is elsewhere, or worthless.
    fn release(&self, sequence: u32) -> Result<(), LogError> {
        if self.options.durability == Durability::Buffered {
            // The copies first: a release that survives a power loss without them would lose records.
            self.sync_round()?;
        }
        {
            let turn = lock(&self.turnstile);
            let mut tail = lock(&self.tail);
            drop(turn);
            let released = [Entry::Released(sequence)];
            let written = self.watched(&self.writing_since, || {
                tail.append_own(&self.writing(), &released)
            });
            let end = written.map_err(|error| self.fail("write", &error))?;
            self.wrote(end);
        }
        if self.options.durability == Durability::Buffered {
            self.sync_round()?;
        }
        let mut index = lock(&self.index);
        let stuck = index
            .segments
            .front()
            .is_none_or(|oldest| oldest.sequence != sequence || oldest.live_marks > 0);
        if stuck {
            return Ok(());
        }
        let segment = index.release_oldest();
        index.unreadable.clear();
        index.pins.retain(|(from, pin)| {
            if *from <= sequence {
                pin.store(true, Ordering::Release);
            }
            *from > sequence
        });
        drop(index);
        self.counters.released.fetch_add(1, Ordering::Relaxed);
        if let Some(segment) = segment {
            self.recycle(segment);
        }
        Ok(())
    }

    fn recycle(&self, segment: Segment) {
        let Segment { name, file, .. } = segment;
        let size = file.size();
        // A reader that still has it must not see it change under its hands.
        let alone = Arc::strong_count(&file) == 1;
        let fits = size == self.options.segment_size.0 && lock(&self.files).free.len() < SPARES;
        // In `buffered` old bytes would have to be read before small writes could go between them.
        let ready =
            alone && fits && (self.options.durability == Durability::Sync || file.clear().is_ok());
        if ready {
            lock(&self.files).free.push(Free {
                name,
                file,
                filled: size,
            });
        } else if let Err(error) = self.disk.remove(&name) {
            tracing::warn!(%error, name, "cannot remove a commit log segment");
        }
    }
}
