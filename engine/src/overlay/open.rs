//! The open mutation: what commands write, one after the other, until it is sealed; and taking back what one of them wrote.

use super::history::{Held, Open, Place};
use super::index::{Remember, RowHash};
use super::mutations::Overlay;
use bytes::Bytes;
use commands::effects::Mark;
use commands::rows::{KEYS_FROM, KEYS_TO};
use types::{Ballot, Decree, Timestamp};

/// Where a command began to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    pub(super) effects: Mark,
    pub(super) keys: usize,
    pub(super) others: usize,
    pub(super) clears: bool,
}

impl Overlay {
    pub(crate) fn open(&self) -> Option<&Open> {
        self.history.open.as_ref()
    }

    pub(crate) fn open_mut(&mut self) -> Option<&mut Open> {
        self.history.open.as_mut()
    }

    /// Bytes of the open mutation; zero if nothing was written.
    pub(crate) fn open_bytes(&self) -> usize {
        if self.history.builder.is_empty() {
            0
        } else {
            self.history.builder.len()
        }
    }

    pub(crate) fn begin(&mut self, ballot: Ballot, timestamp: Timestamp) {
        let decree = self.last().next();
        self.rotate_if_full(decree);
        self.history.open = Some(Open {
            ballot,
            decree,
            timestamp,
            commands: 0,
            clears: false,
        });
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        let (keys, others) = self
            .generations
            .back()
            .map_or((0, 0), |g| (g.keys.unsorted(), g.others.unsorted()));
        Savepoint {
            effects: self.history.builder.mark(),
            keys,
            others,
            clears: self.open().is_some_and(|open| open.clears),
        }
    }

    /// The command was good.
    pub(crate) fn keep(&mut self) {
        if let Some(index) = &mut self.index {
            index.keep();
        }
    }

    /// The command leaves nothing.
    pub(crate) fn rollback(&mut self, to: Savepoint) {
        if let Some(index) = &mut self.index {
            index.undo();
        }
        if let Some(generation) = self.generations.back_mut() {
            generation.keys.truncate(to.keys);
            generation.others.truncate(to.others);
        }
        if let Some(open) = &mut self.history.open {
            open.clears = to.clears;
        }
        self.history.builder.rollback(to.effects);
    }

    /// Writes into the open mutation; tells whether the row was in the overlay already.
    pub(crate) fn put(&mut self, hash: RowHash, row: &[u8], value: &[&[u8]]) -> bool {
        let offset = self.history.builder.len() as u32;
        let _ = self.history.builder.put(row, value);
        self.wrote(hash, row, offset)
    }

    /// As [`Self::put`].
    pub(crate) fn delete(&mut self, hash: RowHash, row: &[u8]) -> bool {
        let offset = self.history.builder.len() as u32;
        let _ = self.history.builder.delete(row);
        self.wrote(hash, row, offset)
    }

    /// Deletes every key.
    pub(crate) fn clear(&mut self) {
        self.history.builder.delete_range(KEYS_FROM, KEYS_TO);
        if let Some(open) = &mut self.history.open {
            open.clears = true;
        }
    }

    #[inline]
    fn wrote(&mut self, hash: RowHash, row: &[u8], offset: u32) -> bool {
        let place = Place {
            decree: self.last().next(),
            offset,
        };
        self.enter(hash, row, place, Remember::Yes)
    }

    /// The open mutation is complete, with a note of so much garbage, if any: in flight from here on.
    pub(crate) fn seal(&mut self, garbage: u64) -> Option<(Decree, Held)> {
        let open = self.history.open.take()?;
        let effects = if self.history.builder.is_empty() {
            Bytes::new()
        } else {
            self.history.builder.take()
        };
        let held = Held {
            ballot: open.ballot,
            timestamp: open.timestamp,
            effects,
            clears: open.clears,
            garbage,
        };
        self.hold(held.clone());
        Some((open.decree, held))
    }

    /// The open mutation never was.
    pub(crate) fn abandon(&mut self) {
        if self.history.open.take().is_some() && !self.history.builder.is_empty() {
            let _ = self.history.builder.take();
            self.reindex();
        }
    }
}
