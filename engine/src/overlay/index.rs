//! From a row to the place of its newest write. One table over all generations: a lookup is one probe, and a dropped generation costs
//! nothing, its entries are simply dead and are swept when the table would grow.
//!
//! It holds no row: an entry is 16 bytes, equality looks into the mutation that wrote the row.

use super::history::{History, Place};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use std::hash::BuildHasher;
use types::Decree;

/// The hash of a row, computed once for the index and the row cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RowHash(pub(crate) u64);

impl RowHash {
    pub(crate) fn of(row: &[u8]) -> Self {
        static STATE: std::sync::LazyLock<FixedState> = std::sync::LazyLock::new(|| {
            // a seed of this process: clients cannot aim keys at one bucket
            use std::hash::{BuildHasher as _, RandomState};
            FixedState::with_seed(RandomState::new().hash_one(0u8))
        });
        Self(STATE.hash_one(row))
    }

    fn short(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What the table hashes by: all that an entry keeps.
fn spread(short: u32) -> u64 {
    u64::from(short).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    decree: Decree,
    offset: u32,
    hash: u32,
}

impl Entry {
    fn place(self) -> Place {
        Place {
            decree: self.decree,
            offset: self.offset,
        }
    }
}

/// The index, and what the command being evaluated has changed in it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: HashTable<Entry>,
    undo: Vec<(Entry, Option<Entry>)>,
}

impl Index {
    /// The newest write of the row that is still in memory.
    #[inline]
    pub(crate) fn find(&self, hash: RowHash, row: &[u8], history: &History) -> Option<Place> {
        let short = hash.short();
        self.table
            .find(spread(short), |entry| is(entry, short, row, history))
            .map(|entry| entry.place())
    }

    /// The row was written at `place`; tells where it was before. `remember` for what may have to be undone.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        hash: RowHash,
        row: &[u8],
        place: Place,
        history: &History,
        remember: Remember,
    ) -> Option<Place> {
        if self.table.len() == self.table.capacity() {
            self.make_room(history);
        }
        let short = hash.short();
        let entry = Entry {
            decree: place.decree,
            offset: place.offset,
            hash: short,
        };
        let previous = match self.table.entry(
            spread(short),
            |entry| is(entry, short, row, history),
            |entry| spread(entry.hash),
        ) {
            Slot::Occupied(mut slot) => Some(std::mem::replace(slot.get_mut(), entry)),
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
        };
        if remember == Remember::Yes {
            self.undo.push((entry, previous));
        }
        previous.map(Entry::place)
    }

    /// What was remembered stays.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// What was remembered is taken back.
    pub(crate) fn undo(&mut self) {
        while let Some((entry, previous)) = self.undo.pop() {
            let found = self.table.find_entry(spread(entry.hash), |candidate| {
                candidate.place() == entry.place()
            });
            if let Ok(mut slot) = found {
                match previous {
                    Some(previous) => *slot.get_mut() = previous,
                    None => drop(slot.remove()),
                }
            }
        }
    }

    /// Rows, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    #[cold]
    fn make_room(&mut self, history: &History) {
        self.table.retain(|entry| history.is_live(entry.place()));
        // a table that is nearly full of live rows grows; else the sweep would come again at once
        if self.table.len() * 4 > self.table.capacity() * 3 || self.table.capacity() == 0 {
            let more = self.table.len().max(16);
            self.table.reserve(more, |entry| spread(entry.hash));
        } else if self.table.len() * 8 < self.table.capacity() {
            self.table
                .shrink_to(self.table.len() * 2, |entry| spread(entry.hash));
        }
    }
}

/// Whether an insertion may be undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remember {
    /// A command is being evaluated.
    Yes,
    /// The mutation is sealed.
    No,
}

#[inline]
fn is(entry: &Entry, short: u32, row: &[u8], history: &History) -> bool {
    entry.hash == short && history.is_live(entry.place()) && history.row(entry.place()) == row
}
