//! The value of a hash field's row.

use super::{EXPIRES, VERSION};
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use types::Timestamp;

/// A hash field's value and when the field expires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// When.
    pub expiry: Option<Timestamp>,
    /// The bytes.
    pub value: Bytes,
}

impl Element {
    /// Reads a row's value; `None` if it is of no format known here.
    pub fn decode(mut value: Bytes) -> Option<Self> {
        let (expiry, header) = Self::decode_header(&value)?;
        value.advance(header);
        Some(Self { expiry, value })
    }

    /// As [`Self::decode`] of borrowed bytes.
    pub fn decode_slice(value: &[u8]) -> Option<(Option<Timestamp>, &[u8])> {
        let (expiry, header) = Self::decode_header(value)?;
        Some((expiry, &value[header..]))
    }

    fn decode_header(value: &[u8]) -> Option<(Option<Timestamp>, usize)> {
        let (&format, rest) = value.split_first()?;
        match format {
            VERSION => Some((None, 1)),
            format if format == VERSION | EXPIRES => {
                let expiry = u64::from_be_bytes(*rest.first_chunk()?);
                Some((Some(Timestamp(expiry)), 9))
            }
            _ => None,
        }
    }

    /// What stands before the bytes.
    pub(crate) fn header(expiry: Option<Timestamp>) -> SmallVec<[u8; 16]> {
        let mut header = SmallVec::new();
        match expiry {
            None => header.push(VERSION),
            Some(expiry) => {
                header.push(VERSION | EXPIRES);
                header.extend_from_slice(&expiry.0.to_be_bytes());
            }
        }
        header
    }

    /// Whether the field is gone at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_read_back_as_written() {
        for expiry in [None, Some(Timestamp(5))] {
            let mut value = Element::header(expiry).to_vec();
            value.extend_from_slice(b"text");
            assert_eq!(Element::decode_slice(&value), Some((expiry, &b"text"[..])));
            let element = Element::decode(value.into()).unwrap();
            assert_eq!((element.expiry, &element.value[..]), (expiry, &b"text"[..]));
        }
        assert_eq!(Element::decode_slice(b"\x18short"), None);
        assert_eq!(Element::decode_slice(b""), None);
    }
}
