//! The fields of a hash that are alive: one, all, how many.

use crate::keyspace::{Keyspace, unreadable};
use crate::rows::{self, Element, Hash, Kind, ObjectId};
use crate::view::{Direction, Interrupt, View};
use std::ops::ControlFlow;
use types::{Slot, Timestamp};

/// What a field looks like to whom walks over them.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) expiry: Option<Timestamp>,
}

impl<V: View + ?Sized> Keyspace<'_, V> {
    /// The field, if it is alive.
    pub(crate) fn field(
        &mut self,
        slot: Slot,
        id: ObjectId,
        field: &[u8],
    ) -> Result<Option<Element>, Interrupt> {
        let element = self.field_raw(slot, id, field)?;
        Ok(element.filter(|element| {
            let expired = element.is_expired(self.moment.now);
            self.depends_on_expiry |= expired;
            !expired
        }))
    }

    /// The field, expired or not.
    pub(crate) fn field_raw(
        &mut self,
        slot: Slot,
        id: ObjectId,
        field: &[u8],
    ) -> Result<Option<Element>, Interrupt> {
        let row = rows::element_row(slot, id, field);
        match self.view.get(&row)? {
            None => Ok(None),
            Some(value) => Element::decode(value)
                .map(Some)
                .ok_or_else(|| unreadable(&row)),
        }
    }

    /// Shows `visit` the fields that are alive, in byte order, until it breaks.
    pub(crate) fn each_field(
        &mut self,
        slot: Slot,
        id: ObjectId,
        visit: &mut dyn FnMut(Field<'_>) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        let prefix = rows::object_rows(slot, Kind::Element, id);
        let to = rows::after_prefix(&prefix);
        self.each_field_between(&prefix, &to, prefix.len(), Direction::Forward, visit)
    }

    /// As [`Self::each_field`] of the rows from `from` to `to`, in which names stand behind `prefix` bytes.
    pub(crate) fn each_field_between(
        &mut self,
        from: &[u8],
        to: &[u8],
        prefix: usize,
        direction: Direction,
        visit: &mut dyn FnMut(Field<'_>) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        let now = self.moment.now;
        let mut unknown = None;
        let mut met_expired = false;
        self.view.scan(from, to, direction, &mut |row, value| {
            let Some((expiry, value)) = Element::decode_slice(value) else {
                unknown = Some(unreadable(row));
                return ControlFlow::Break(());
            };
            if expiry.is_some_and(|expiry| expiry <= now) {
                met_expired = true;
                return ControlFlow::Continue(());
            }
            visit(Field {
                name: &row[prefix..],
                value,
                expiry,
            })
        })?;
        self.depends_on_expiry |= met_expired;
        unknown.map_or(Ok(()), Err)
    }

    /// How many fields are alive. O(1), but for those that have expired and were not yet collected.
    pub(crate) fn live_fields(&mut self, slot: Slot, hash: &Hash) -> Result<u64, Interrupt> {
        let expired = match hash.volatile {
            Some(volatile) if volatile.earliest <= self.now() => {
                self.expired_fields(slot, hash.id)?
            }
            _ => 0,
        };
        self.depends_on_expiry |= expired > 0;
        Ok(hash.size.saturating_sub(expired))
    }

    fn expired_fields(&mut self, slot: Slot, id: ObjectId) -> Result<u64, Interrupt> {
        let from = rows::object_rows(slot, Kind::Expiry, id);
        let to = rows::expiry_row(slot, id, Timestamp(self.now().0 + 1), b"");
        let mut expired = 0;
        self.view
            .scan(&from, &to, Direction::Forward, &mut |_, _| {
                expired += 1;
                ControlFlow::Continue(())
            })?;
        Ok(expired)
    }
}
