//! The key layout: how keys, objects and their elements become rows.
//!
//! ```text
//! slot u16 BE | kind u8 | ...
//!   Metadata  key                    -> metadata; for strings the value itself      metadata.rs
//!   Identity  id                     -> the key whose object this is
//!   Element   id | sub               -> a hash field                                element.rs
//!   Order     id | score | member    -> reserved for sorted sets
//!   Expiry    id | expiry | sub      -> hash fields that expire, in order
//!   Tree      id | ...               -> reserved for the counted tree
//! slot FFFF   -> the partition's own rows                                           own.rs
//! ```
//!
//! A slot is one contiguous range, and its metadata rows come first. An element lives exactly while the metadata of the key that
//! its identity row names carries its id: that makes deleting, overwriting and renaming one or two rows whatever the size, and lets
//! a plain SET read nothing. `garbage` judges by it.
//!
//! Every value begins with a format byte: the version in the high half, flags below.

mod element;
mod metadata;
pub mod own;

pub use element::Element;
pub(crate) use metadata::string_header;
pub use metadata::{Entry, Hash, Volatile};

use smallvec::SmallVec;
use types::{Decree, Slot, Timestamp};

/// A row, on the stack if it is short.
pub type RowBuf = SmallVec<[u8; ROW_INLINE]>;

const ROW_INLINE: usize = 64;

/// The lowest row of any key.
pub const KEYS_FROM: &[u8] = &[0, 0];
/// Above every row of a key: the partition's own rows begin here.
pub const KEYS_TO: &[u8] = &[0xFF, 0xFF];

/// The version in the high half of a format byte.
pub(crate) const VERSION: u8 = 0x10;
/// The flag in a format byte that an expiry time follows it.
pub(crate) const EXPIRES: u8 = 0x08;

/// The kinds of rows. Metadata is lowest, so that the keys of a slot stand before their elements.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Of a key.
    Metadata = 1,
    /// Of an object: which key it belongs to.
    Identity = 2,
    /// A part of an object.
    Element = 3,
    /// Reserved: a sorted set's order.
    Order = 4,
    /// A hash field that expires.
    Expiry = 5,
    /// Reserved: the counted tree.
    Tree = 6,
}

/// Names an object for ever: the mutation that created it and the command's place in that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId {
    /// The mutation.
    pub decree: Decree,
    /// The command in it.
    pub index: u32,
}

impl ObjectId {
    /// Bytes of an encoded id.
    pub const LENGTH: usize = 12;

    /// In byte order of creation.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.decree.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// The id that `bytes` begin with, and the rest.
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (decree, bytes) = bytes.split_first_chunk()?;
        let (index, bytes) = bytes.split_first_chunk()?;
        let id = Self {
            decree: Decree(u64::from_be_bytes(*decree)),
            index: u32::from_be_bytes(*index),
        };
        Some((id, bytes))
    }
}

/// What a row is, by its bytes alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'a> {
    /// A key's metadata.
    Metadata {
        /// The key.
        key: &'a [u8],
    },
    /// An object's key.
    Identity {
        /// The object.
        id: ObjectId,
    },
    /// A part of an object.
    Element {
        /// The object.
        id: ObjectId,
        /// The field.
        sub: &'a [u8],
    },
    /// A field's expiry.
    Expiry {
        /// The object.
        id: ObjectId,
        /// When.
        expiry: Timestamp,
        /// The field.
        sub: &'a [u8],
    },
    /// A kind that this version reserves but does not write.
    Reserved {
        /// The object.
        id: ObjectId,
    },
}

/// What the row is and in which slot; `None` for the partition's own rows and for bytes that are no row.
pub fn parse(row: &[u8]) -> Option<(Slot, Parsed<'_>)> {
    let (slot, rest) = row.split_first_chunk()?;
    let slot = Slot(u16::from_be_bytes(*slot));
    let (&kind, rest) = rest.split_first()?;
    if slot.0 >= types::SLOTS {
        return None;
    }
    if kind == Kind::Metadata as u8 {
        return Some((slot, Parsed::Metadata { key: rest }));
    }
    let (id, sub) = ObjectId::decode(rest)?;
    let parsed = match kind {
        kind if kind == Kind::Identity as u8 => Parsed::Identity { id },
        kind if kind == Kind::Element as u8 => Parsed::Element { id, sub },
        kind if kind == Kind::Expiry as u8 => {
            let (expiry, sub) = sub.split_first_chunk()?;
            let expiry = Timestamp(u64::from_be_bytes(*expiry));
            Parsed::Expiry { id, expiry, sub }
        }
        kind if kind == Kind::Order as u8 || kind == Kind::Tree as u8 => Parsed::Reserved { id },
        _ => return None,
    };
    Some((slot, parsed))
}

/// Where a slot's rows of `kind` begin; those of one kind end where [`slot_after`] of it begins.
pub fn slot_rows(slot: Slot, kind: Kind) -> [u8; 3] {
    let [high, low] = slot.0.to_be_bytes();
    [high, low, kind as u8]
}

/// Where the slot's rows after `kind` begin.
pub fn slot_after(slot: Slot, kind: Kind) -> [u8; 3] {
    let [high, low] = slot.0.to_be_bytes();
    [high, low, kind as u8 + 1]
}

/// The row of a key.
pub fn metadata_row(key: &[u8]) -> RowBuf {
    metadata_row_in(Slot::of(key), key)
}

/// The row of a key whose slot is known.
pub fn metadata_row_in(slot: Slot, key: &[u8]) -> RowBuf {
    joined(&slot_rows(slot, Kind::Metadata), key)
}

/// Both after each other. Every command builds rows, and growing a vector by parts costs more than this copy.
#[inline]
fn joined(front: &[u8], back: &[u8]) -> RowBuf {
    let length = front.len() + back.len();
    let mut row = [0; ROW_INLINE];
    match row.get_mut(..length) {
        Some(whole) => {
            let (first, second) = whole.split_at_mut(front.len());
            first.copy_from_slice(front);
            second.copy_from_slice(back);
            RowBuf::from_buf_and_len(row, length)
        }
        None => RowBuf::from_vec([front, back].concat()),
    }
}

/// An object's rows of `kind`: what they all begin with.
pub fn object_rows(slot: Slot, kind: Kind, id: ObjectId) -> RowBuf {
    joined(&object_prefix(slot, kind, id), b"")
}

fn object_prefix(slot: Slot, kind: Kind, id: ObjectId) -> [u8; 3 + ObjectId::LENGTH] {
    let mut prefix = [0; 3 + ObjectId::LENGTH];
    prefix[..3].copy_from_slice(&slot_rows(slot, kind));
    prefix[3..].copy_from_slice(&id.encode());
    prefix
}

/// The row that names an object's key.
pub fn identity_row(slot: Slot, id: ObjectId) -> RowBuf {
    object_rows(slot, Kind::Identity, id)
}

/// The row of a part of an object.
pub fn element_row(slot: Slot, id: ObjectId, sub: &[u8]) -> RowBuf {
    joined(&object_prefix(slot, Kind::Element, id), sub)
}

/// The row of a part's expiry.
pub fn expiry_row(slot: Slot, id: ObjectId, expiry: Timestamp, sub: &[u8]) -> RowBuf {
    let mut row = object_rows(slot, Kind::Expiry, id);
    row.extend_from_slice(&expiry.0.to_be_bytes());
    row.extend_from_slice(sub);
    row
}

/// The value of an identity row.
pub fn identity_value(key: &[u8]) -> [&[u8]; 2] {
    [&[VERSION], key]
}

/// The key in an identity row's value.
pub fn identity_key(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(&[VERSION])
}

/// The value of an expiry row.
pub(crate) const EXPIRY_VALUE: &[&[u8]] = &[&[VERSION]];

/// The lowest row above every row that begins with `prefix`. No prefix of a key's row is all `FF`.
pub fn after_prefix(prefix: &[u8]) -> RowBuf {
    let mut row = RowBuf::from_slice(prefix);
    while let Some(last) = row.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        row.pop();
    }
    row
}

/// The lowest row above `row`.
pub fn just_after(row: &[u8]) -> RowBuf {
    let mut next = RowBuf::from_slice(row);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ObjectId = ObjectId {
        decree: Decree(7),
        index: 3,
    };

    #[test]
    fn rows_read_back_as_written() {
        let slot = Slot::of(b"key");
        assert_eq!(
            parse(&metadata_row(b"key")),
            Some((slot, Parsed::Metadata { key: b"key" }))
        );
        assert_eq!(
            parse(&identity_row(slot, ID)),
            Some((slot, Parsed::Identity { id: ID }))
        );
        assert_eq!(
            parse(&element_row(slot, ID, b"f")),
            Some((slot, Parsed::Element { id: ID, sub: b"f" }))
        );
        let expiry = Timestamp(99);
        assert_eq!(
            parse(&expiry_row(slot, ID, expiry, b"f")),
            Some((
                slot,
                Parsed::Expiry {
                    id: ID,
                    expiry,
                    sub: b"f"
                }
            ))
        );
        assert_eq!(parse(own::APPLIED), None);
        assert_eq!(parse(b"\x01"), None);
        assert_eq!(parse(b"\x01\x01\x03short"), None);
    }

    #[test]
    fn what_follows_a_prefix_is_above_all_that_begin_with_it() {
        assert_eq!(after_prefix(b"ab").as_slice(), b"ac");
        assert_eq!(after_prefix(b"a\xFF\xFF").as_slice(), b"b");
    }
}
