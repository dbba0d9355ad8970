//! The mutations that the overlay holds, in decree order, and the one being built. Rows are named by decree and offset here; their
//! bytes are never copied.

use crate::batch;
use bytes::Bytes;
use commands::effects::Effects;
use std::cmp::Ordering;
use std::collections::VecDeque;
use types::{Ballot, Decree, Timestamp};

/// A mutation in the overlay.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) ballot: Ballot,
    pub(crate) timestamp: Timestamp,
    pub(crate) effects: Bytes,
    /// Whether it deletes a range: it is then applied alone.
    pub(crate) clears: bool,
    /// Rows that became garbage by it and those before it, if it has a note of that.
    pub(crate) garbage: u64,
}

/// The mutation that commands are being evaluated into.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) ballot: Ballot,
    pub(crate) decree: Decree,
    pub(crate) timestamp: Timestamp,
    pub(crate) commands: u32,
    pub(crate) clears: bool,
}

/// A record: the mutation it is in, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) decree: Decree,
    pub(crate) offset: u32,
}

/// Mutations `base + 1 ..`, and the open one behind them.
#[derive(Debug)]
pub(crate) struct History {
    /// Everything up to here is gone from memory.
    base: Decree,
    held: VecDeque<Held>,
    pub(crate) open: Option<Open>,
    /// The builder outlives the open mutation: it goes on in the rest of its buffer.
    pub(crate) builder: Effects,
}

impl History {
    /// Nothing, from `base` on.
    pub(crate) fn new(base: Decree) -> Self {
        Self {
            base,
            held: VecDeque::new(),
            open: None,
            builder: Effects::new(),
        }
    }

    /// The last sealed or staged one.
    pub(crate) fn last(&self) -> Decree {
        Decree(self.base.0 + self.held.len() as u64)
    }

    pub(crate) fn newest(&self) -> Option<&Held> {
        self.held.back()
    }

    pub(crate) fn get(&self, decree: Decree) -> Option<&Held> {
        let at = decree.0.checked_sub(self.base.0 + 1)?;
        self.held.get(at as usize)
    }

    pub(crate) fn get_mut(&mut self, decree: Decree) -> Option<&mut Held> {
        let at = decree.0.checked_sub(self.base.0 + 1)?;
        self.held.get_mut(at as usize)
    }

    /// Those of `(after, up_to]`.
    pub(crate) fn range(
        &self,
        after: Decree,
        up_to: Decree,
    ) -> impl Iterator<Item = (Decree, &Held)> {
        let from = (after.0.saturating_sub(self.base.0) as usize).min(self.held.len());
        let to = (up_to.0.saturating_sub(self.base.0) as usize).clamp(from, self.held.len());
        let first = self.base.0 + 1 + from as u64;
        self.held
            .range(from..to)
            .zip(first..)
            .map(|(held, decree)| (Decree(decree), held))
    }

    pub(crate) fn push(&mut self, held: Held) {
        self.held.push_back(held);
    }

    /// Drops all up to `decree`.
    pub(crate) fn drop_through(&mut self, decree: Decree) {
        let count = decree.0.saturating_sub(self.base.0) as usize;
        let count = count.min(self.held.len());
        self.held.drain(..count);
        self.base.0 += count as u64;
    }

    /// Drops all above `decree`.
    pub(crate) fn truncate(&mut self, decree: Decree) {
        self.held
            .truncate(decree.0.saturating_sub(self.base.0) as usize);
    }

    /// Whether a place still has bytes.
    pub(crate) fn is_live(&self, place: Place) -> bool {
        place.decree > self.base
    }

    fn bytes(&self, decree: Decree) -> &[u8] {
        match self.get(decree) {
            Some(held) => &held.effects,
            None => self.builder.as_slice(),
        }
    }

    /// The row of a live place.
    pub(crate) fn row(&self, place: Place) -> &[u8] {
        batch::row_at(self.bytes(place.decree), place.offset as usize)
    }

    /// By row.
    pub(crate) fn compare(&self, a: Place, b: Place) -> Ordering {
        self.row(a).cmp(self.row(b))
    }

    /// The value put at a live place; `None` if the row was removed there.
    pub(crate) fn value(&self, place: Place) -> Option<Bytes> {
        let offset = place.offset as usize;
        if let Some(held) = self.get(place.decree) {
            return batch::value_at(&held.effects, offset).map(|value| held.effects.slice(value));
        }
        // the open mutation's buffer still moves
        let building = self.builder.as_slice();
        batch::value_at(building, offset).map(|value| Bytes::copy_from_slice(&building[value]))
    }

    /// As [`Self::value`], borrowed.
    pub(crate) fn value_slice(&self, place: Place) -> Option<&[u8]> {
        let bytes = self.bytes(place.decree);
        batch::value_at(bytes, place.offset as usize).map(|value| &bytes[value])
    }
}
