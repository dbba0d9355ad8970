//! The overlay as mutations: they come as a whole, sealed here or prepared elsewhere, and go as a whole, cut off at the end or dropped
//! in generations at the beginning.
//!
//! What lies in them is not looked at here.

use super::history::{Held, History};
use super::index::Index;
use super::ordered::Ordered;
use crate::batch::Malformed;
use std::collections::VecDeque;
use types::{Ballot, Decree, Timestamp};

/// A stretch of mutations that is dropped as one.
#[derive(Debug, Default)]
pub(super) struct Generation {
    pub(super) first: Decree,
    pub(super) bytes: usize,
    /// Rows written here, each once; keys apart from the rest, so that a hash is read without sorting every key.
    pub(super) keys: Ordered,
    pub(super) others: Ordered,
}

/// Effects of one partition, from their evaluation until `RocksDB` has them.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(super) history: History,
    pub(super) generations: VecDeque<Generation>,
    pub(super) index: Option<Index>,
    /// The index holds what is committed, which is up to here. Nothing: it holds everything, as it comes.
    pub(super) indexed_through: Option<Decree>,
    /// Mutations that delete every key and may not be in `RocksDB` yet.
    pub(super) clears: VecDeque<Decree>,
    /// The last of them, in `RocksDB` or not: writes below it are seen no more.
    pub(super) floor: Decree,
    /// What `RocksDB` is known to have.
    pub(super) applied: Decree,
    pub(super) bytes: usize,
    /// Bytes at which a generation is closed.
    pub(super) limit: usize,
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

    pub(super) fn hold(&mut self, held: Held) {
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

    pub(super) fn rotate_if_full(&mut self, next: Decree) {
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
