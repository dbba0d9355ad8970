//! Ordered reads under a hash key: the SDK's scan over sort keys.

use crate::keyspace::{Keyspace, Stop};
use crate::moment::Moment;
use crate::reply::Reply;
use crate::rows::{self, Kind};
use crate::view::{Direction, Interrupt, View};
use bytes::Bytes;
use std::ops::{Bound, ControlFlow};
use types::{Slot, Timestamp};

/// A page ends early when it has this many bytes of names and values.
const PAGE_BYTES: usize = 1 << 20;

/// What to read: fields between two names, in byte order.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// Where it begins.
    pub from: Bound<&'a [u8]>,
    /// Where it ends.
    pub to: Bound<&'a [u8]>,
    /// From which end it is read.
    pub direction: Direction,
    /// At most so many fields.
    pub limit: usize,
}

/// One field of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeItem {
    /// The sort key.
    pub field: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it expires.
    pub expiry: Option<Timestamp>,
}

/// What was read, and whether there may be more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangePage {
    /// In the range's direction.
    pub items: Vec<RangeItem>,
    /// Set if the page ended before the range did: it goes on behind (without) this field, with `from`, or going backward `to`,
    /// excluding it.
    pub next: Option<Bytes>,
    /// As of [`crate::Evaluated`].
    pub depends_on_expiry: bool,
}

/// Reads a page of a range of the hash at `key`; an error reply if the key holds another type.
pub fn range<'a>(
    key: &[u8],
    range: &Range<'_>,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Result<RangePage, Reply>, Interrupt> {
    let slot = Slot::of(key);
    let mut keys = Keyspace::new(view, moment);
    let hash = match keys.load_hash(slot, key) {
        Ok(hash) => hash,
        Err(Stop::Refused(refusal)) => return Ok(Err(refusal.into())),
        Err(Stop::Interrupt(interrupt)) => return Err(interrupt),
    };
    let mut page = RangePage::default();
    if let Some(hash) = hash {
        let prefix = rows::object_rows(slot, Kind::Element, hash.id);
        let row = |field: &[u8]| [&prefix, field].concat();
        let from = match range.from {
            Bound::Included(field) => row(field),
            Bound::Excluded(field) => rows::just_after(&row(field)).to_vec(),
            Bound::Unbounded => prefix.to_vec(),
        };
        let to = match range.to {
            Bound::Included(field) => rows::just_after(&row(field)).to_vec(),
            Bound::Excluded(field) => row(field),
            Bound::Unbounded => rows::after_prefix(&prefix).to_vec(),
        };
        if from < to && range.limit > 0 {
            let mut bytes = 0;
            let direction = range.direction;
            keys.each_field_between(&from, &to, prefix.len(), direction, &mut |field| {
                if page.items.len() == range.limit || bytes >= PAGE_BYTES {
                    page.next = page.items.last().map(|item| item.field.clone());
                    return ControlFlow::Break(());
                }
                bytes += field.name.len() + field.value.len();
                page.items.push(RangeItem {
                    field: Bytes::copy_from_slice(field.name),
                    value: Bytes::copy_from_slice(field.value),
                    expiry: field.expiry,
                });
                ControlFlow::Continue(())
            })?;
        }
    }
    page.depends_on_expiry = keys.depends_on_expiry;
    Ok(Ok(page))
}
