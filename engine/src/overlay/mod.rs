//! The overlay: effects from their evaluation until `RocksDB` has them, and a while longer as the fastest cache there is.
//!
//! ```text
//!  base            applied        queued       committed          last    open
//!    |  retained      |  being applied |  waiting    |  in flight    |       |
//!    |--------------------------------------------------------------------------->  decrees     history.rs
//!    |  generation    |  generation    |  generation                         |     rows by order  ordered.rs
//!    |  index: row -> its newest place in any of them                        |     index.rs
//! ```
//!
//! The index and the order exist on a promoted partition, and on a secondary while somebody reads there: then for what is committed only.
//! Any other secondary keeps bytes and looks into none. What is below `applied` is in `RocksDB` too. Nothing here does IO, knows the row cache, or decides when to apply.

mod history;
mod index;
mod ordered;

pub(crate) use history::{Held, Open, Place};
pub(crate) use index::RowHash;
pub(crate) use ordered::Cursor;

use crate::batch::{Malformed, Record, Records};
use bytes::Bytes;
use commands::Direction;
use commands::effects::Mark;
use commands::rows::{KEYS_FROM, KEYS_TO, Kind};
use history::History;
use index::{Index, Remember};
use ordered::Ordered;
use std::collections::VecDeque;
use types::{Ballot, Decree, Timestamp};

/// A stretch of mutations that is dropped as one.
#[derive(Debug, Default)]
struct Generation {
    first: Decree,
    bytes: usize,
    /// Rows written here, each once; keys apart from the rest, so that a hash is read without sorting every key.
    keys: Ordered,
    others: Ordered,
}

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

/// Where a command began to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    effects: Mark,
    keys: usize,
    others: usize,
    clears: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Overlay {
    history: History,
    generations: VecDeque<Generation>,
    index: Option<Index>,
    /// The index holds what is committed, which is up to here. Nothing: it holds everything, as it comes.
    indexed_through: Option<Decree>,
    /// Mutations that delete every key and may not be in `RocksDB` yet.
    clears: VecDeque<Decree>,
    /// The last of them, in `RocksDB` or not: writes below it are seen no more.
    floor: Decree,
    /// What `RocksDB` is known to have.
    applied: Decree,
    bytes: usize,
    /// Bytes at which a generation is closed.
    limit: usize,
}

/// A mutation's cost in memory beyond its effects.
const HELD_BYTES: usize = size_of::<Held>() + 32;

impl Overlay {
    /// Empty, from `base` on; generations close at `limit` bytes.
    pub(crate) fn new(base: Decree, limit: usize) -> Self {
        Self {
            history: History::new(base),
            generations: VecDeque::new(),
            index: None,
            indexed_through: None,
            clears: VecDeque::new(),
            floor: Decree::ZERO,
            applied: base,
            bytes: 0,
            limit,
        }
    }

    pub(crate) fn last(&self) -> Decree {
        self.history.last()
    }

    pub(crate) fn last_timestamp(&self) -> Option<Timestamp> {
        self.history.newest().map(|held| held.timestamp)
    }

    pub(crate) fn get(&self, decree: Decree) -> Option<&Held> {
        self.history.get(decree)
    }

    pub(crate) fn range(
        &self,
        after: Decree,
        up_to: Decree,
    ) -> impl Iterator<Item = (Decree, &Held)> {
        self.history.range(after, up_to)
    }

    /// Sealed bytes and their bookkeeping.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn rows(&self) -> usize {
        self.index.as_ref().map_or(0, Index::len)
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    // ---- the open mutation

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

    /// The open mutation is complete: in flight from here on.
    pub(crate) fn seal(&mut self) -> Option<(Decree, Held)> {
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

    // ---- both roles

    /// A mutation prepared elsewhere, checked before.
    pub(crate) fn stage(&mut self, held: Held) -> Result<(), Malformed> {
        let decree = self.last().next();
        self.rotate_if_full(decree);
        let effects = held.effects.clone();
        self.hold(held);
        if self.index.is_some() && self.indexed_through.is_none() {
            self.enter_all(decree, &effects)?;
        }
        Ok(())
    }

    fn hold(&mut self, held: Held) {
        let bytes = held.effects.len() + HELD_BYTES;
        self.bytes += bytes;
        if held.clears {
            self.floor = self.last().next();
            self.clears.push_back(self.floor);
        }
        self.history.push(held);
        if let Some(generation) = self.generations.back_mut() {
            generation.bytes += bytes;
        }
    }

    /// The bytes of a decree in flight are others now.
    pub(crate) fn replace(&mut self, decree: Decree, held: Held) {
        let Some(old) = self.history.get_mut(decree) else {
            return;
        };
        if old.effects == held.effects {
            old.ballot = held.ballot;
            return;
        }
        *old = held;
        self.recount();
        self.reindex();
    }

    pub(crate) fn raise_ballot(&mut self, above: Decree, ballot: Ballot) {
        for decree in above.0 + 1..=self.last().0 {
            if let Some(held) = self.history.get_mut(Decree(decree)) {
                held.ballot = held.ballot.max(ballot);
            }
        }
    }

    /// Those above `decree` never were.
    pub(crate) fn truncate(&mut self, decree: Decree) {
        self.abandon();
        if decree >= self.last() {
            return;
        }
        self.history.truncate(decree);
        self.recount();
        self.reindex();
    }

    /// Builds the index of everything.
    pub(crate) fn promote(&mut self) {
        if self.index.is_none() || self.indexed_through.is_some() {
            self.indexed_through = None;
            self.index = Some(Index::default());
            self.reindex();
        }
    }

    /// Builds the index of what is committed. From now on [`Self::reveal`] is to be told of every commit.
    pub(crate) fn index_committed(&mut self, committed: Decree) {
        self.indexed_through = Some(committed);
        self.index = Some(Index::default());
        self.reindex();
    }

    /// Whether only what is committed is in the index.
    pub(crate) fn indexes_committed(&self) -> bool {
        self.index.is_some() && self.indexed_through.is_some()
    }

    /// What is committed by now enters the index, each row with a word to `written`, if it is one of what is committed.
    pub(crate) fn reveal(&mut self, committed: Decree, mut written: impl FnMut(RowHash, &[u8])) {
        let Some(through) = self.indexed_through.filter(|_| self.index.is_some()) else {
            return;
        };
        self.indexed_through = Some(committed);
        let new: Vec<(Decree, Bytes)> = self
            .history
            .range(through, committed)
            .map(|(decree, held)| (decree, held.effects.clone()))
            .collect();
        for (decree, effects) in new {
            // they were checked when they came
            let _ = self.enter_each(decree, &effects, &mut written);
        }
    }

    /// Drops it.
    pub(crate) fn demote(&mut self) {
        self.abandon();
        self.index = None;
        self.indexed_through = None;
        for generation in &mut self.generations {
            generation.keys = Ordered::default();
            generation.others = Ordered::default();
        }
    }

    // ---- letting go

    /// The last decree of the oldest generation that is closed.
    pub(crate) fn oldest_closed(&self) -> Option<Decree> {
        let next = self.generations.get(1)?;
        Some(next.first.previous())
    }

    /// Drops the oldest generation, which is in `RocksDB` and closed.
    pub(crate) fn drop_oldest(&mut self) {
        let Some(last) = self.oldest_closed() else {
            return;
        };
        if let Some(generation) = self.generations.pop_front() {
            self.bytes -= generation.bytes;
            self.history.drop_through(last);
        }
    }

    /// Closes the generation being filled, so that it can be dropped.
    pub(crate) fn rotate(&mut self) {
        let first = self.last().next();
        if self.open().is_none() && self.generations.back().is_some_and(|g| g.first < first) {
            self.generations.push_back(Generation {
                first,
                ..Generation::default()
            });
        }
    }

    /// `RocksDB` has everything up to `applied`; tells whether a clear was among it.
    pub(crate) fn applied_through(&mut self, applied: Decree) -> bool {
        self.applied = applied;
        let before = self.clears.len();
        self.clears.retain(|&clear| clear > applied);
        self.clears.len() < before
    }

    fn rotate_if_full(&mut self, next: Decree) {
        if self
            .generations
            .back()
            .is_none_or(|g| g.bytes >= self.limit)
        {
            self.generations.push_back(Generation {
                first: next,
                ..Generation::default()
            });
        }
    }

    // ---- reading

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

    // ---- bookkeeping

    #[inline]
    fn enter(&mut self, hash: RowHash, row: &[u8], place: Place, remember: Remember) -> bool {
        // nearly always the last
        let mut generations = self.generations.iter_mut().rev();
        let holding = generations.find(|generation| generation.first <= place.decree);
        let (Some(index), Some(generation)) = (&mut self.index, holding) else {
            return false;
        };
        let previous = index.insert(hash, row, place, &self.history, remember);
        if previous.is_none_or(|previous| previous.decree < generation.first) {
            if row.get(2) == Some(&(Kind::Metadata as u8)) {
                generation.keys.push(generation.first, place);
            } else {
                generation.others.push(generation.first, place);
            }
        }
        previous.is_some_and(|previous| previous.decree >= self.floor)
    }

    fn enter_all(&mut self, decree: Decree, effects: &Bytes) -> Result<(), Malformed> {
        self.enter_each(decree, effects, &mut |_, _| {})
    }

    fn enter_each(
        &mut self,
        decree: Decree,
        effects: &Bytes,
        written: &mut impl FnMut(RowHash, &[u8]),
    ) -> Result<(), Malformed> {
        let mut records = Records::of(effects);
        while let Some((offset, record)) = records.next_record()? {
            let (Record::Put(row, _) | Record::Delete(row)) = record else {
                continue;
            };
            let place = Place {
                decree,
                offset: offset as u32,
            };
            let hash = RowHash::of(row);
            written(hash, row);
            self.enter(hash, row, place, Remember::No);
        }
        Ok(())
    }

    /// Enters every mutation anew that belongs into the index. Rare: a promotion, a truncation.
    fn reindex(&mut self) {
        if self.index.is_none() {
            return;
        }
        self.index = Some(Index::default());
        let generations = std::mem::take(&mut self.generations);
        let mut bounds: Vec<(Decree, usize)> =
            generations.iter().map(|g| (g.first, g.bytes)).collect();
        let after: Vec<Decree> = bounds
            .iter()
            .skip(1)
            .map(|bound| bound.0.previous())
            .collect();
        for (i, (first, bytes)) in bounds.drain(..).enumerate() {
            self.generations.push_back(Generation {
                first,
                bytes,
                ..Generation::default()
            });
            let last = after.get(i).copied().unwrap_or(self.last());
            let last = self
                .indexed_through
                .map_or(last, |through| last.min(through));
            let held: Vec<(Decree, Bytes)> = self
                .history
                // what is in `RocksDB` is read there
                .range(first.previous().max(self.applied), last)
                .map(|(decree, held)| (decree, held.effects.clone()))
                .collect();
            for (decree, effects) in held {
                // they were checked when they came
                let _ = self.enter_all(decree, &effects);
            }
        }
    }

    /// After mutations were taken away in the middle of things.
    fn recount(&mut self) {
        let last = self.last();
        while self.generations.len() > 1
            && self
                .generations
                .back()
                .is_some_and(|g| g.first > last.next())
        {
            self.generations.pop_back();
        }
        self.bytes = 0;
        for i in 0..self.generations.len() {
            let first = self.generations[i].first;
            let end = self
                .generations
                .get(i + 1)
                .map_or(last, |next| next.first.previous());
            let bytes = self
                .history
                .range(first.previous(), end)
                .map(|(_, held)| held.effects.len() + HELD_BYTES)
                .sum();
            self.generations[i].bytes = bytes;
            self.bytes += bytes;
        }
        self.floor = self
            .history
            .range(Decree::ZERO, last)
            .filter(|(_, held)| held.clears)
            .last()
            .map_or(Decree::ZERO, |(decree, _)| decree);
        self.clears = self
            .history
            .range(self.applied, last)
            .filter(|(_, held)| held.clears)
            .map(|(decree, _)| decree)
            .collect();
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
