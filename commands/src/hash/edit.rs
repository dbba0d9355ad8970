//! Changing a hash: fields are written as they come, its metadata once at the end, and both agree whatever happened to the fields.
//!
//! What must hold between the rows of a live hash: `size` is the number of fields that were set and not removed, expired or not;
//! exactly those that expire have an expiry row under the time that their element names, and `volatile` counts them and bounds their
//! times. Compaction may collect the element of an expired field, never its expiry row (see `garbage`): such a row left alone still
//! counts as a field until it is collected, even beside a younger field of the same name.

use crate::keyspace::{Stop, Writing};
use crate::reply::Refusal;
use crate::rows::{self, EXPIRY_VALUE, Element, Entry, Hash, Kind, Parsed, Volatile};
use crate::view::Direction;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use types::{Slot, Timestamp};

/// How many expired fields one write collects at most.
const COLLECTED_AT_ONCE: usize = 64;

/// A hash being changed. Nothing of its metadata is written before [`Edit::close`].
pub(crate) struct Edit<'k> {
    slot: Slot,
    key: &'k [u8],
    hash: Hash,
    state: State,
    /// Of a created hash: the fields set so far, so that none of its rows is looked for on disk.
    created: BTreeSet<Box<[u8]>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was not there, and no field has been set yet: there is nothing to read.
    Absent,
    /// It was not there; its fields are this command's.
    Created,
    /// It was there and its metadata is still true.
    Kept,
    /// It was there and its metadata has changed.
    Changed,
}

/// What becomes of a field's expiry when it is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldLifetime {
    /// It lives until then, or for ever.
    Is(Option<Timestamp>),
    /// As long as it would have; a new one as if nothing were said.
    Kept,
    /// As long as the table's default says.
    Unsaid,
}

impl FieldLifetime {
    pub(crate) const FOREVER: Self = Self::Is(None);
}

impl<'k> Edit<'k> {
    /// The hash at the key, or a new one.
    pub(crate) fn open(keys: &mut Writing<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        if let Some(edit) = Self::open_existing(keys, key)? {
            return Ok(edit);
        }
        Ok(Self::new(keys, key, None))
    }

    /// A hash that takes the place of whatever is at the key.
    pub(crate) fn new(keys: &Writing<'_>, key: &'k [u8], expiry: Option<Timestamp>) -> Self {
        Self {
            slot: Slot::of(key),
            key,
            hash: Hash {
                id: keys.new_object(),
                expiry,
                size: 0,
                volatile: None,
            },
            state: State::Absent,
            created: BTreeSet::new(),
        }
    }

    /// The hash at the key, if there is one; some of what has expired in it is collected.
    pub(crate) fn open_existing(
        keys: &mut Writing<'_>,
        key: &'k [u8],
    ) -> Result<Option<Self>, Stop> {
        let slot = Slot::of(key);
        let hash = match keys.take_up(slot, key)? {
            None => return Ok(None),
            Some(Entry::String { .. }) => return Err(Refusal::WRONG_TYPE.into()),
            Some(Entry::Hash(hash)) => hash,
        };
        let mut edit = Self {
            slot,
            key,
            hash,
            state: State::Kept,
            created: BTreeSet::new(),
        };
        edit.collect_expired(keys)?;
        Ok(Some(edit))
    }

    /// The field, if it is alive.
    pub(crate) fn get(
        &mut self,
        keys: &mut Writing<'_>,
        field: &[u8],
    ) -> Result<Option<Element>, Stop> {
        let surely_absent = match self.state {
            State::Absent => true,
            State::Created => !self.created.contains(field),
            State::Kept | State::Changed => false,
        };
        if surely_absent {
            return Ok(None);
        }
        let element = keys.field_raw(self.slot, self.hash.id, field)?;
        match element {
            Some(element) if element.is_expired(keys.now()) => {
                keys.depends_on_expiry = true;
                self.remove(keys, field, &element)?;
                Ok(None)
            }
            element => Ok(element),
        }
    }

    /// Sets a field; tells whether it is new.
    pub(crate) fn set(
        &mut self,
        keys: &mut Writing<'_>,
        field: &[u8],
        value: &[u8],
        lifetime: FieldLifetime,
    ) -> Result<bool, Stop> {
        let old = self.get(keys, field)?;
        self.set_over(keys, field, old.as_ref(), value, lifetime)?;
        if self.state == State::Created {
            self.created.insert(field.into());
        }
        Ok(old.is_none())
    }

    /// Sets a field that [`Self::get`] said was `old`. Of a new hash each field is set so once only, and not asked for again.
    pub(crate) fn set_over(
        &mut self,
        keys: &mut Writing<'_>,
        field: &[u8],
        old: Option<&Element>,
        value: &[u8],
        lifetime: FieldLifetime,
    ) -> Result<(), Stop> {
        keys.check_key(field)?;
        if value.len() > keys.moment.limits.value {
            return Err(Refusal::VALUE_TOO_LONG.into());
        }
        let old_expiry = old.and_then(|old| old.expiry);
        let expiry = match lifetime {
            FieldLifetime::Is(expiry) => expiry,
            FieldLifetime::Kept if old.is_some() => old_expiry,
            FieldLifetime::Kept | FieldLifetime::Unsaid => keys.default_expiry(),
        };
        if self.state == State::Absent {
            self.state = State::Created;
        }
        if old.is_none() {
            self.hash.size += 1;
            self.changed();
        }
        self.move_expiry(keys, field, old_expiry, expiry)?;
        let header = Element::header(expiry);
        let row = rows::element_row(self.slot, self.hash.id, field);
        keys.put(&row, &[&header, value])
    }

    /// Removes a field that was `old`, alive or expired.
    pub(crate) fn remove(
        &mut self,
        keys: &mut Writing<'_>,
        field: &[u8],
        old: &Element,
    ) -> Result<(), Stop> {
        self.move_expiry(keys, field, old.expiry, None)?;
        self.hash.size = self.hash.size.saturating_sub(1);
        self.changed();
        keys.delete(&rows::element_row(self.slot, self.hash.id, field))
    }

    /// Writes the metadata if it has changed. A hash without fields is no hash.
    pub(crate) fn close(self, keys: &mut Writing<'_>) -> Result<(), Stop> {
        match (self.state, self.hash.size) {
            (State::Absent | State::Kept, _) | (State::Created, 0) => Ok(()),
            (State::Changed, 0) => {
                let entry = Entry::Hash(self.hash);
                keys.remove(self.slot, self.key, &entry)
            }
            (State::Changed, _) => keys.put_hash(self.slot, self.key, &self.hash),
            (State::Created, _) => {
                let row = rows::identity_row(self.slot, self.hash.id);
                keys.put(&row, &rows::identity_value(self.key))?;
                keys.put_hash(self.slot, self.key, &self.hash)
            }
        }
    }

    fn changed(&mut self) {
        if self.state == State::Kept {
            self.state = State::Changed;
        }
    }

    /// Keeps expiry rows and their count in step with a field whose expiry changes from `old` to `new`.
    fn move_expiry(
        &mut self,
        keys: &mut Writing<'_>,
        field: &[u8],
        old: Option<Timestamp>,
        new: Option<Timestamp>,
    ) -> Result<(), Stop> {
        if old == new {
            return Ok(());
        }
        self.changed();
        if let Some(old) = old {
            keys.delete(&rows::expiry_row(self.slot, self.hash.id, old, field))?;
            self.hash.volatile = self.hash.volatile.and_then(|volatile| {
                (volatile.fields > 1).then_some(Volatile {
                    fields: volatile.fields - 1,
                    ..volatile
                })
            });
        }
        if let Some(new) = new {
            let row = rows::expiry_row(self.slot, self.hash.id, new, field);
            keys.put(&row, EXPIRY_VALUE)?;
            self.hash.volatile = Some(match self.hash.volatile {
                None => Volatile {
                    fields: 1,
                    earliest: new,
                    latest: new,
                },
                Some(volatile) => Volatile {
                    fields: volatile.fields + 1,
                    earliest: volatile.earliest.min(new),
                    latest: volatile.latest.max(new),
                },
            });
        }
        Ok(())
    }

    /// Removes some of the fields that have expired, and learns from the next one when there is something to collect again.
    fn collect_expired(&mut self, keys: &mut Writing<'_>) -> Result<(), Stop> {
        let now = keys.now();
        let Some(volatile) = self.hash.volatile else {
            return Ok(());
        };
        if volatile.earliest > now {
            return Ok(());
        }
        let from = rows::object_rows(self.slot, Kind::Expiry, self.hash.id);
        let to = rows::after_prefix(&from);
        let mut expired = Vec::new();
        let mut next = None;
        keys.view
            .scan(&from, &to, Direction::Forward, &mut |row, _| {
                let Some((_, Parsed::Expiry { expiry, sub, .. })) = rows::parse(row) else {
                    return ControlFlow::Continue(());
                };
                if expiry > now || expired.len() == COLLECTED_AT_ONCE {
                    next = Some(expiry);
                    return ControlFlow::Break(());
                }
                expired.push((expiry, Bytes::copy_from_slice(sub)));
                ControlFlow::Continue(())
            })?;
        for (expiry, field) in expired {
            let element = keys.field_raw(self.slot, self.hash.id, &field)?;
            if element.is_some_and(|element| element.expiry == Some(expiry)) {
                keys.delete(&rows::element_row(self.slot, self.hash.id, &field))?;
            }
            self.hash.size = self.hash.size.saturating_sub(1);
            self.move_expiry(keys, &field, Some(expiry), None)?;
        }
        if let (Some(volatile), Some(next)) = (&mut self.hash.volatile, next)
            && volatile.earliest != next
        {
            // Else every later write would look again.
            volatile.earliest = next;
            self.changed();
        }
        Ok(())
    }
}
