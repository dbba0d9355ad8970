//! The view that evaluation reads and writes through: the overlay, then the row cache, then what memory has of `RocksDB`.
//!
//! A cold row does not end an evaluation at once: it reads as absent, so that the others that the command needs are found cold in the
//! same go; then all is rolled back. A cold range ends it.

use super::Partition;
use crate::fetch::Want;
use crate::overlay::{Cursor, Found, RowHash, Savepoint};
use crate::rocks::Database;
use crate::store::Peek;
use bytes::Bytes;
use commands::rows::KEYS_TO;
use commands::{Direction, Interrupt, View, ViewMut};
use rocksdb::{DBRawIteratorWithThreadMode, ErrorKind, ReadOptions, ReadTier};
use std::cmp::Ordering;
use std::ops::ControlFlow;
use types::Decree;

/// See the module.
pub(super) struct Rows<'a> {
    partition: &'a mut Partition,
    /// Where the command being evaluated began to write.
    since: Option<Savepoint>,
    seen: Decree,
    refused: Option<Interrupt>,
}

/// How many cold rows one evaluation collects.
const MOST_WANTED: usize = 1024;

/// How often a range is fetched that stays cold: then it does not fit into the block cache.
const MOST_FETCHES: u32 = 8;

impl<'a> Rows<'a> {
    pub(super) fn reading(partition: &'a mut Partition) -> Self {
        Self {
            partition,
            since: None,
            seen: Decree::ZERO,
            refused: None,
        }
    }

    pub(super) fn writing(partition: &'a mut Partition, since: Savepoint) -> Self {
        Self {
            since: Some(since),
            ..Self::reading(partition)
        }
    }

    /// The highest uncommitted decree it saw, and why the evaluation does not count, if it does not.
    pub(super) fn finish(self) -> (Decree, Option<Interrupt>) {
        (self.seen, self.refused)
    }

    #[inline]
    fn saw(&mut self, decree: Decree) {
        if decree > self.partition.committed && decree > self.seen {
            self.seen = decree;
        }
    }

    fn below(&mut self, hash: RowHash, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        let partition = &mut *self.partition;
        if !partition.store.has_rows() {
            return Ok(None);
        }
        let node = &partition.owner.node;
        if partition.cached
            && let Some(value) = node.cache.get(partition.space, hash, row)
        {
            return Ok(value);
        }
        match partition.store.peek(&node.rocks, row, node.tick()) {
            Peek::Known(value) => {
                node.cache.insert(partition.space, hash, row, value.clone());
                partition.cached = true;
                Ok(value)
            }
            Peek::Unknown => {
                if partition.wanted.len() < MOST_WANTED {
                    partition
                        .wanted
                        .push(Want::Row(Bytes::copy_from_slice(row)));
                }
                self.refused = Some(Interrupt::Cold);
                if self.partition.wanted.len() < MOST_WANTED {
                    Ok(None)
                } else {
                    Err(Interrupt::Cold)
                }
            }
            Peek::Failed(reason) => Err(Interrupt::Failed(reason)),
        }
    }

    /// Rows at `from` are cold.
    fn cold_range(&mut self, from: &[u8], to: &[u8], direction: Direction) -> Interrupt {
        let partition = &mut *self.partition;
        let at = match direction {
            Direction::Forward => from,
            Direction::Backward => to,
        };
        let count = match &mut partition.stuck {
            Some((place, count)) if place == at => {
                *count += 1;
                *count
            }
            stuck => {
                *stuck = Some((Bytes::copy_from_slice(at), 1));
                1
            }
        };
        if count > MOST_FETCHES {
            partition.stuck = None;
            return Interrupt::Failed("the range is larger than the block cache".to_owned());
        }
        partition.wanted.push(Want::Range {
            from: Bytes::copy_from_slice(from),
            to: Bytes::copy_from_slice(to),
            direction,
        });
        self.refused = Some(Interrupt::Cold);
        Interrupt::Cold
    }

    fn wrote(&mut self, was_here: bool, hash: RowHash, row: &[u8]) {
        if !was_here && self.partition.cached {
            let partition = &self.partition;
            partition
                .owner
                .node
                .cache
                .remove(partition.space, hash, row);
        }
    }
}

impl View for Rows<'_> {
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        let hash = RowHash::of(row);
        match self.partition.overlay.find(hash, row) {
            Found::Value(value, decree) => {
                self.saw(decree);
                Ok(Some(value))
            }
            Found::Removed(decree) => {
                self.saw(decree);
                Ok(None)
            }
            Found::Nothing => self.below(hash, row),
        }
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        if from >= to {
            return Ok(());
        }
        self.partition.overlay.sort(from, to, self.since);
        let clear = self
            .partition
            .overlay
            .pending_clear()
            .filter(|_| from < KEYS_TO);
        if let Some(clear) = clear {
            self.saw(clear);
        }
        let database = if clear.is_some() || !self.partition.store.has_rows() {
            None
        } else {
            match self.partition.store.try_database() {
                Some(database) => Some(database),
                None => return Err(self.cold_range(from, to, direction)),
            }
        };
        let mut disk = database
            .as_ref()
            .map(|database| Disk::open(database, from, to, direction));
        let (walked, seen) = merge(self.partition, &mut disk, from, to, direction, visit);
        self.saw(seen);
        match walked {
            Ok(()) => Ok(()),
            Err(Stop::Failed(reason)) => Err(Interrupt::Failed(reason)),
            Err(Stop::Cold(at)) => {
                drop(disk);
                Err(match (direction, at) {
                    (_, None) => self.cold_range(from, to, direction),
                    (Direction::Forward, Some(at)) => self.cold_range(&at, to, direction),
                    (Direction::Backward, Some(at)) => self.cold_range(from, &at, direction),
                })
            }
        }
    }
}

/// What is shown every row.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A row and its value.
type Item<'a> = (&'a [u8], &'a [u8]);

enum Stop {
    /// The rows from here on, in the walk's direction, are not in memory; nothing: not even the first.
    Cold(Option<Vec<u8>>),
    Failed(String),
}

/// Walks over the overlay and the disk side by side; the overlay's rows win. Tells also the highest decree that it saw.
fn merge(
    partition: &Partition,
    disk: &mut Option<Disk<'_>>,
    from: &[u8],
    to: &[u8],
    direction: Direction,
    visit: &mut Visit<'_>,
) -> (Result<(), Stop>, Decree) {
    let overlay = &partition.overlay;
    let floor = overlay.floor();
    let mut cursors = overlay.cursors(from, to, direction);
    let before = |a: &[u8], b: &[u8]| match direction {
        Direction::Forward => a.cmp(b),
        Direction::Backward => b.cmp(a),
    };
    let mut seen = Decree::ZERO;
    loop {
        let next = cursors
            .iter()
            .filter_map(Cursor::place)
            .map(|place| overlay.row(place))
            .reduce(|a, b| if before(b, a).is_lt() { b } else { a });
        let on_disk = match disk.as_mut().map(Disk::row).transpose() {
            Ok(row) => row.flatten(),
            Err(stop) => return (Err(stop), seen),
        };
        let order = match (next, on_disk) {
            (None, None) => return (Ok(()), seen),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(row), Some((other, _))) => before(row, other),
        };
        let mut flow = ControlFlow::Continue(());
        if order.is_le()
            && let Some(row) = next
        {
            // the newest write may be in a later generation than the one that lists the row
            if let Some(place) = overlay.newest(row)
                && (place.decree >= floor || row >= KEYS_TO)
            {
                seen = seen.max(place.decree);
                if let Some(value) = overlay.value_slice(place) {
                    flow = visit(row, value);
                }
            }
            for cursor in &mut cursors {
                while cursor
                    .place()
                    .is_some_and(|place| overlay.row(place) == row)
                {
                    cursor.advance();
                }
            }
        } else if let Some((row, value)) = on_disk {
            flow = visit(row, value);
        }
        if flow.is_break() {
            return (Ok(()), seen);
        }
        if order.is_ge()
            && let Some(disk) = disk
        {
            disk.advance();
        }
    }
}

/// A walk over what memory has of `RocksDB`.
struct Disk<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, rocksdb::DB>,
    direction: Direction,
    /// The last row it stood on: what is cold begins behind it.
    last: Option<Vec<u8>>,
}

impl<'a> Disk<'a> {
    fn open(database: &'a Database, from: &[u8], to: &[u8], direction: Direction) -> Self {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut iterator = database.db.raw_iterator_opt(options);
        match direction {
            Direction::Forward => iterator.seek_to_first(),
            Direction::Backward => iterator.seek_to_last(),
        }
        Self {
            iterator,
            direction,
            last: None,
        }
    }

    fn row(&mut self) -> Result<Option<Item<'_>>, Stop> {
        if !self.iterator.valid() {
            return match self.iterator.status() {
                Ok(()) => Ok(None),
                Err(error) if error.kind() == ErrorKind::Incomplete => {
                    Err(Stop::Cold(self.last.take()))
                }
                Err(error) => Err(Stop::Failed(error.to_string())),
            };
        }
        Ok(self.iterator.item())
    }

    fn advance(&mut self) {
        if let Some(row) = self.iterator.key() {
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(row);
        }
        match self.direction {
            Direction::Forward => self.iterator.next(),
            Direction::Backward => self.iterator.prev(),
        }
    }
}

impl ViewMut for Rows<'_> {
    fn put(&mut self, row: &[u8], value: &[&[u8]]) {
        let hash = RowHash::of(row);
        let was_here = self.partition.overlay.put(hash, row, value);
        self.wrote(was_here, hash, row);
    }

    fn delete(&mut self, row: &[u8]) {
        let hash = RowHash::of(row);
        let was_here = self.partition.overlay.delete(hash, row);
        self.wrote(was_here, hash, row);
    }

    fn clear(&mut self) {
        if self.partition.overlay.open_bytes() > 0 {
            // it goes alone: the mutation is sealed, the command comes again
            self.refused = Some(Interrupt::Full);
        } else {
            self.partition.overlay.clear();
        }
    }
}
