//! The value of a key's row: a string's bytes, or what is known of a larger object.

use super::{EXPIRES, ObjectId, VERSION};
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use types::Timestamp;

const STRING: u8 = 0;
const HASH: u8 = 1;
const TYPE_MASK: u8 = 0x07;

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A string and when it expires.
    String {
        /// When.
        expiry: Option<Timestamp>,
        /// The bytes.
        value: Bytes,
    },
    /// A hash; its fields are rows of their own.
    Hash(Hash),
}

/// A hash's metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash {
    /// The object.
    pub id: ObjectId,
    /// When the key expires.
    pub expiry: Option<Timestamp>,
    /// Fields, those that have expired and were not yet collected included.
    pub size: u64,
    /// Of the fields that expire, if there are any.
    pub volatile: Option<Volatile>,
}

/// What is known of a hash's expiring fields without looking at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Volatile {
    /// How many there are. Never zero.
    pub fields: u64,
    /// None expires before.
    pub earliest: Timestamp,
    /// None expires after.
    pub latest: Timestamp,
}

impl Entry {
    /// When the key expires.
    pub fn expiry(&self) -> Option<Timestamp> {
        match self {
            Self::String { expiry, .. } => *expiry,
            Self::Hash(hash) => hash.expiry,
        }
    }

    /// As TYPE names it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Hash(_) => "hash",
        }
    }

    /// Reads a row's value; `None` if it is of no format known here.
    pub fn decode(mut value: Bytes) -> Option<Self> {
        let (kind, expiry, rest) = decode_header(&value)?;
        match kind {
            STRING => {
                value.advance(value.len() - rest.len());
                Some(Self::String { expiry, value })
            }
            HASH => Hash::decode(expiry, rest).map(Self::Hash),
            _ => None,
        }
    }

    /// As [`Self::decode`] of borrowed bytes, without a string's bytes.
    pub fn peek(value: &[u8]) -> Option<Self> {
        let (kind, expiry, rest) = decode_header(value)?;
        match kind {
            STRING => Some(Self::String {
                expiry,
                value: Bytes::new(),
            }),
            HASH => Hash::decode(expiry, rest).map(Self::Hash),
            _ => None,
        }
    }
}

impl Hash {
    fn decode(expiry: Option<Timestamp>, value: &[u8]) -> Option<Self> {
        let (id, mut value) = ObjectId::decode(value)?;
        let size = value.try_get_u64().ok()?;
        let volatile = if value.is_empty() {
            None
        } else {
            Some(Volatile {
                fields: value.try_get_u64().ok()?,
                earliest: Timestamp(value.try_get_u64().ok()?),
                latest: Timestamp(value.try_get_u64().ok()?),
            })
        };
        Some(Self {
            id,
            expiry,
            size,
            volatile,
        })
    }

    /// The row's value.
    pub fn encode(&self) -> SmallVec<[u8; 64]> {
        let mut value = SmallVec::new();
        value.extend_from_slice(&header(HASH, self.expiry));
        value.extend_from_slice(&self.id.encode());
        value.extend_from_slice(&self.size.to_be_bytes());
        if let Some(volatile) = self.volatile {
            value.extend_from_slice(&volatile.fields.to_be_bytes());
            value.extend_from_slice(&volatile.earliest.0.to_be_bytes());
            value.extend_from_slice(&volatile.latest.0.to_be_bytes());
        }
        value
    }

    /// Whether a field that never expires keeps the hash alive.
    pub fn has_lasting_fields(&self) -> bool {
        self.size > self.volatile.map_or(0, |volatile| volatile.fields)
    }
}

/// The type, the expiry, and what follows them.
fn decode_header(value: &[u8]) -> Option<(u8, Option<Timestamp>, &[u8])> {
    let (&format, mut rest) = value.split_first()?;
    if format & 0xF0 != VERSION {
        return None;
    }
    let expiry = if format & EXPIRES == 0 {
        None
    } else {
        Some(Timestamp(rest.try_get_u64().ok()?))
    };
    Some((format & TYPE_MASK, expiry, rest))
}

/// What stands before a string's bytes.
pub(crate) fn string_header(expiry: Option<Timestamp>) -> SmallVec<[u8; 16]> {
    header(STRING, expiry)
}

fn header(kind: u8, expiry: Option<Timestamp>) -> SmallVec<[u8; 16]> {
    let mut header = SmallVec::new();
    match expiry {
        None => header.push(VERSION | kind),
        Some(expiry) => {
            header.push(VERSION | EXPIRES | kind);
            header.extend_from_slice(&expiry.0.to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Decree;

    #[test]
    fn entries_read_back_as_written() {
        for expiry in [None, Some(Timestamp(5))] {
            let mut value = string_header(expiry).to_vec();
            value.extend_from_slice(b"text");
            let entry = Entry::String {
                expiry,
                value: Bytes::from_static(b"text"),
            };
            assert_eq!(Entry::decode(value.into()), Some(entry));
            for volatile in [
                None,
                Some(Volatile {
                    fields: 2,
                    earliest: Timestamp(1),
                    latest: Timestamp(9),
                }),
            ] {
                let hash = Hash {
                    id: ObjectId {
                        decree: Decree(4),
                        index: 1,
                    },
                    expiry,
                    size: 3,
                    volatile,
                };
                let value = Bytes::copy_from_slice(&hash.encode());
                assert_eq!(Entry::decode(value.clone()), Some(Entry::Hash(hash)));
                assert_eq!(Entry::decode(value.slice(..value.len() - 1)), None);
            }
        }
    }

    #[test]
    fn an_unknown_format_is_no_entry() {
        for bytes in [&b""[..], b"\x00", b"\x20text", b"\x17", b"\x18short"] {
            assert_eq!(Entry::decode(Bytes::copy_from_slice(bytes)), None);
        }
    }
}
