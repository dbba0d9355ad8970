//! The keyspace as commands see it: keys that are alive at one moment, over a view of rows.
//!
//! What every family needs stands here: loading and storing a key, lazy expiry, the bound on effects. What only hashes need is in
//! `hash_fields`.

use crate::moment::Moment;
use crate::reply::{Refusal, Reply};
use crate::rows::{self, Entry, Hash, Kind, ObjectId};
use crate::view::{Direction, Interrupt, View, ViewMut};
use bytes::Bytes;
use std::ops::ControlFlow;
use types::{Slot, Timestamp};

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It cannot be evaluated now.
    Interrupt(Interrupt),
    /// It is refused, and leaves nothing.
    Refused(Refusal),
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a command's function returns.
pub(crate) type Outcome = Result<Reply, Stop>;
/// What a command was given; its name is first.
pub(crate) type Args<'a> = [&'a [u8]];
/// What reading commands evaluate over.
pub(crate) type Reading<'a> = Keyspace<'a, dyn View + 'a>;
/// What writing commands evaluate over.
pub(crate) type Writing<'a> = Keyspace<'a, dyn ViewMut + 'a>;

/// One evaluation's access to the keys of a partition.
pub(crate) struct Keyspace<'a, V: ?Sized> {
    pub(crate) view: &'a mut V,
    pub(crate) moment: &'a Moment,
    /// Something was invisible only because its time has come (rule R7).
    pub(crate) depends_on_expiry: bool,
    /// Rows were written.
    pub(crate) wrote: bool,
    /// Rows whose object is gone, as far as it is known without looking.
    pub(crate) garbage: u64,
    /// Bytes of effects.
    written: usize,
}

impl<'a, V: View + ?Sized> Keyspace<'a, V> {
    pub(crate) fn new(view: &'a mut V, moment: &'a Moment) -> Self {
        Self {
            view,
            moment,
            depends_on_expiry: false,
            wrote: false,
            garbage: 0,
            written: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.moment.now
    }

    /// When something expires that is written now without saying so.
    pub(crate) fn default_expiry(&self) -> Option<Timestamp> {
        let ttl = self.moment.default_ttl?;
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Some(Timestamp(self.now().0.saturating_add(ttl)))
    }

    /// What the key holds, if it is alive.
    pub(crate) fn load(&mut self, key: &[u8]) -> Result<Option<Entry>, Interrupt> {
        let slot = Slot::of(key);
        match self.load_raw(slot, key)? {
            Some(entry) if self.is_alive(slot, &entry)? => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// The string at the key, if there is one.
    pub(crate) fn load_string(&mut self, key: &[u8]) -> Result<Option<Bytes>, Stop> {
        match self.load(key)? {
            None => Ok(None),
            Some(Entry::String { value, .. }) => Ok(Some(value)),
            Some(Entry::Hash(_)) => Err(Refusal::WRONG_TYPE.into()),
        }
    }

    /// The hash at the key, if there is one.
    pub(crate) fn load_hash(&mut self, slot: Slot, key: &[u8]) -> Result<Option<Hash>, Stop> {
        match self.load_raw(slot, key)? {
            Some(entry) if self.is_alive(slot, &entry)? => match entry {
                Entry::Hash(hash) => Ok(Some(hash)),
                Entry::String { .. } => Err(Refusal::WRONG_TYPE.into()),
            },
            _ => Ok(None),
        }
    }

    /// What the key's row says, alive or not.
    pub(crate) fn load_raw(&mut self, slot: Slot, key: &[u8]) -> Result<Option<Entry>, Interrupt> {
        let row = rows::metadata_row_in(slot, key);
        match self.view.get(&row)? {
            None => Ok(None),
            Some(value) => Entry::decode(value)
                .map(Some)
                .ok_or_else(|| unreadable(&row)),
        }
    }

    /// Whether the key has not expired, by its own time or by that of all of its fields.
    pub(crate) fn is_alive(&mut self, slot: Slot, entry: &Entry) -> Result<bool, Interrupt> {
        let now = self.now();
        if entry.expiry().is_some_and(|expiry| expiry <= now) {
            self.depends_on_expiry = true;
            return Ok(false);
        }
        let Entry::Hash(hash) = entry else {
            return Ok(true);
        };
        match hash.volatile {
            Some(volatile) if volatile.earliest <= now && !hash.has_lasting_fields() => {
                let alive =
                    volatile.latest > now && self.has_field_expiring_later(slot, hash.id)?;
                self.depends_on_expiry |= !alive;
                Ok(alive)
            }
            _ => Ok(true),
        }
    }

    fn has_field_expiring_later(&mut self, slot: Slot, id: ObjectId) -> Result<bool, Interrupt> {
        let from = rows::expiry_row(slot, id, Timestamp(self.now().0 + 1), b"");
        let to = rows::after_prefix(&rows::object_rows(slot, Kind::Expiry, id));
        let mut found = false;
        self.view
            .scan(&from, &to, Direction::Forward, &mut |_, _| {
                found = true;
                ControlFlow::Break(())
            })?;
        Ok(found)
    }
}

impl Writing<'_> {
    /// What the key holds. If it has expired, its row goes with this mutation.
    pub(crate) fn take_up(&mut self, slot: Slot, key: &[u8]) -> Result<Option<Entry>, Stop> {
        match self.load_raw(slot, key)? {
            None => Ok(None),
            Some(entry) if self.is_alive(slot, &entry)? => Ok(Some(entry)),
            Some(entry) => {
                self.remove(slot, key, &entry)?;
                Ok(None)
            }
        }
    }

    /// The string at the key, if there is one, and when it expires.
    pub(crate) fn take_up_string(
        &mut self,
        slot: Slot,
        key: &[u8],
    ) -> Result<Option<(Bytes, Option<Timestamp>)>, Stop> {
        match self.take_up(slot, key)? {
            None => Ok(None),
            Some(Entry::String { value, expiry }) => Ok(Some((value, expiry))),
            Some(Entry::Hash(_)) => Err(Refusal::WRONG_TYPE.into()),
        }
    }

    /// Sets the key to a string, the concatenation of the pieces, whatever was there.
    pub(crate) fn put_string(
        &mut self,
        slot: Slot,
        key: &[u8],
        expiry: Option<Timestamp>,
        value: &[&[u8]],
    ) -> Result<(), Stop> {
        self.check_key(key)?;
        let length = value.iter().map(|piece| piece.len()).sum::<usize>();
        if length > self.moment.limits.value {
            return Err(Refusal::VALUE_TOO_LONG.into());
        }
        let header = rows::string_header(expiry);
        let row = rows::metadata_row_in(slot, key);
        match value {
            [value] => self.put(&row, &[&header, value]),
            [first, second] => self.put(&row, &[&header, first, second]),
            pieces => {
                let mut all = Vec::with_capacity(1 + pieces.len());
                all.push(&header[..]);
                all.extend_from_slice(pieces);
                self.put(&row, &all)
            }
        }
    }

    /// Writes what is known of a hash.
    pub(crate) fn put_hash(&mut self, slot: Slot, key: &[u8], hash: &Hash) -> Result<(), Stop> {
        self.check_key(key)?;
        self.put(&rows::metadata_row_in(slot, key), &[&hash.encode()])
    }

    /// Sets when the key expires.
    pub(crate) fn put_expiry(
        &mut self,
        slot: Slot,
        key: &[u8],
        entry: Entry,
        expiry: Option<Timestamp>,
    ) -> Result<(), Stop> {
        match entry {
            Entry::String { value, .. } => self.put_string(slot, key, expiry, &[&value]),
            Entry::Hash(hash) => self.put_hash(slot, key, &Hash { expiry, ..hash }),
        }
    }

    /// Removes the key. An object's elements are nobody's from then on.
    pub(crate) fn remove(&mut self, slot: Slot, key: &[u8], entry: &Entry) -> Result<(), Stop> {
        self.orphan(entry);
        self.delete(&rows::metadata_row_in(slot, key))
    }

    /// Counts what becomes garbage when the key's row is overwritten or removed.
    pub(crate) fn orphan(&mut self, entry: &Entry) {
        if let Entry::Hash(hash) = entry {
            self.garbage += 1 + hash.size + hash.volatile.map_or(0, |volatile| volatile.fields);
        }
    }

    /// A name for an object that this command creates. A command creates one object at most.
    pub(crate) fn new_object(&self) -> ObjectId {
        ObjectId {
            decree: self.moment.decree,
            index: self.moment.index,
        }
    }

    /// Refuses keys and fields that are too long.
    pub(crate) fn check_key(&self, key: &[u8]) -> Result<(), Refusal> {
        if key.len() > self.moment.limits.key {
            return Err(Refusal::KEY_TOO_LONG);
        }
        Ok(())
    }

    /// Puts a row.
    pub(crate) fn put(&mut self, row: &[u8], value: &[&[u8]]) -> Result<(), Stop> {
        let length = value.iter().map(|piece| piece.len()).sum::<usize>();
        self.account(row.len() + length)?;
        self.view.put(row, value);
        Ok(())
    }

    /// Deletes a row.
    pub(crate) fn delete(&mut self, row: &[u8]) -> Result<(), Stop> {
        self.account(row.len())?;
        self.view.delete(row);
        Ok(())
    }

    /// Deletes all rows of keys.
    pub(crate) fn clear(&mut self) {
        self.wrote = true;
        self.view.clear();
    }

    /// A record costs its bytes, its tag and two lengths.
    fn account(&mut self, bytes: usize) -> Result<(), Interrupt> {
        const OVERHEAD: usize = 11;
        self.written = self.written.saturating_add(bytes + OVERHEAD);
        if self.written > self.moment.limits.mutation {
            return Err(Interrupt::Full);
        }
        self.wrote = true;
        Ok(())
    }
}

/// The row's value is of no format known to this version.
pub(crate) fn unreadable(row: &[u8]) -> Interrupt {
    Interrupt::Failed(format!(
        "row {} has a value of unknown format",
        row.escape_ascii()
    ))
}
