//! What the overlay answers: the newest write of a row, and walks over a range of rows that `RocksDB` may not have.

use super::history::Place;
use super::index::RowHash;
use super::mutations::Overlay;
use super::open::Savepoint;
use super::ordered::Cursor;
use bytes::Bytes;
use commands::Direction;
use commands::rows::{KEYS_TO, Kind};
use types::Decree;

/// What the overlay knows of a row.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: look further down.
    Nothing,
    /// Its newest value, and which mutation wrote it.
    Value(Bytes, Decree),
    /// It was removed by that mutation.
    Removed(Decree),
}

impl Overlay {
    /// The mutation that emptied the partition and is not in `RocksDB` yet, if there is one.
    pub(crate) fn pending_clear(&self) -> Option<Decree> {
        match self.open() {
            Some(open) if open.clears => Some(open.decree),
            _ => self.clears.back().copied(),
        }
    }

    /// What the last clear hides is below this.
    pub(crate) fn floor(&self) -> Decree {
        match self.open() {
            Some(open) if open.clears => open.decree,
            _ => self.floor,
        }
    }

    /// The row's newest write.
    #[inline]
    pub(crate) fn find(&self, hash: RowHash, row: &[u8]) -> Found {
        let place = self
            .index
            .as_ref()
            .and_then(|index| index.find(hash, row, &self.history))
            .filter(|place| place.decree >= self.floor() || row >= KEYS_TO);
        if place.is_none()
            && row < KEYS_TO
            && let Some(clear) = self.pending_clear()
        {
            return Found::Removed(clear);
        }
        match place {
            None => Found::Nothing,
            Some(place) => match self.history.value(place) {
                Some(value) => Found::Value(value, place.decree),
                None => Found::Removed(place.decree),
            },
        }
    }

    /// Whether the overlay answers for the row.
    pub(crate) fn contains(&self, hash: RowHash, row: &[u8]) -> bool {
        !matches!(self.find(hash, row), Found::Nothing)
    }

    /// Sorts what a walk over the range will need. `since`: what the command itself wrote may yet be taken back.
    pub(crate) fn sort(&mut self, from: &[u8], to: &[u8], since: Option<Savepoint>) {
        let (keys, others) = kinds(from, to);
        let count = self.generations.len();
        for i in 0..count {
            if self.is_below(i, self.applied) {
                continue;
            }
            let generation = &mut self.generations[i];
            let first = generation.first;
            let own = |unsorted: usize, kept: fn(&Savepoint) -> usize| match &since {
                Some(savepoint) if i + 1 == count => unsorted.saturating_sub(kept(savepoint)),
                _ => 0,
            };
            if keys {
                let own = own(generation.keys.unsorted(), |s| s.keys);
                generation.keys.sort(first, &self.history, own);
            }
            if others {
                let own = own(generation.others.unsorted(), |s| s.others);
                generation.others.sort(first, &self.history, own);
            }
        }
    }

    /// Walks over the range through everything that `RocksDB` may not have.
    pub(crate) fn cursors(&self, from: &[u8], to: &[u8], direction: Direction) -> Vec<Cursor<'_>> {
        let (keys, others) = kinds(from, to);
        let mut cursors = Vec::new();
        for (i, generation) in self.generations.iter().enumerate() {
            if self.is_below(i, self.applied) {
                continue;
            }
            let first = generation.first;
            if keys {
                generation
                    .keys
                    .cursors(first, &self.history, (from, to), direction, &mut cursors);
            }
            if others {
                generation.others.cursors(
                    first,
                    &self.history,
                    (from, to),
                    direction,
                    &mut cursors,
                );
            }
        }
        cursors
    }

    pub(crate) fn row(&self, place: Place) -> &[u8] {
        self.history.row(place)
    }

    /// The newest place of a row that has one.
    pub(crate) fn newest(&self, row: &[u8]) -> Option<Place> {
        let index = self.index.as_ref()?;
        index.find(RowHash::of(row), row, &self.history)
    }

    pub(crate) fn value_slice(&self, place: Place) -> Option<&[u8]> {
        self.history.value_slice(place)
    }

    /// Whether all of the generation is at or below `decree`.
    fn is_below(&self, i: usize, decree: Decree) -> bool {
        self.generations
            .get(i + 1)
            .is_some_and(|next| next.first.previous() <= decree)
    }
}

/// Whether rows of keys, and whether other rows, can lie in `[from, to)`.
fn kinds(from: &[u8], to: &[u8]) -> (bool, bool) {
    let key = Kind::Metadata as u8;
    let one_slot = from.len() >= 3 && to.len() >= 3 && from[..2] == to[..2];
    if !one_slot {
        return (true, true);
    }
    let keys = from[2] <= key && key <= to[2];
    // `to` is exclusive: slot|kind+1 alone holds nothing of kind+1
    let others = from[2] != key || to[2] > key + 1 || to.len() > 3;
    (keys, others)
}
