//! Which rows are in the index and the order: all of them on a promoted partition, what is committed while somebody reads at a
//! secondary, none otherwise.

use super::history::Place;
use super::index::{Index, Remember, RowHash};
use super::mutations::{Generation, Overlay};
use super::ordered::Ordered;
use crate::batch::{Malformed, Record, Records};
use bytes::Bytes;
use commands::rows::Kind;
use types::Decree;

impl Overlay {
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

    #[inline]
    pub(super) fn enter(
        &mut self,
        hash: RowHash,
        row: &[u8],
        place: Place,
        remember: Remember,
    ) -> bool {
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

    pub(super) fn enter_all(&mut self, decree: Decree, effects: &Bytes) -> Result<(), Malformed> {
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
    pub(super) fn reindex(&mut self) {
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
}
