//! Effects: the rows that a mutation writes, in the bytes of a `RocksDB` write batch, so that what is evaluated is logged, shipped
//! and applied without being encoded again.
//!
//! The format is `RocksDB`'s `write_batch.cc`: an 8-byte sequence number (zero here), a u32 LE count, then records of a tag and
//! varint32-prefixed strings. Only the default column family's put, delete and range delete are made or accepted. The engine's tests
//! hold it against `WriteBatch::from_data`.

use bytes::{Bytes, BytesMut};
use std::ops::Range;

const HEADER: usize = 12;
const DELETE: u8 = 0;
const PUT: u8 = 1;
const DELETE_RANGE: u8 = 15;
const VARINT32: usize = 5;

/// Where a put landed in the builder's buffer, and lands in the frozen bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The row.
    pub key: Range<usize>,
    /// Its value.
    pub value: Range<usize>,
}

/// A state of a builder to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    length: usize,
    count: u32,
}

/// Builds a batch.
#[derive(Debug)]
pub struct Effects {
    buffer: BytesMut,
    count: u32,
}

impl Default for Effects {
    fn default() -> Self {
        Self::new()
    }
}

impl Effects {
    /// An empty batch.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty batch with room for `capacity` bytes of records.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER + capacity);
        buffer.extend_from_slice(&[0; HEADER]);
        Self { buffer, count: 0 }
    }

    /// Appends a put of the concatenated pieces.
    pub fn put(&mut self, row: &[u8], value: &[&[u8]]) -> Written {
        let length = value.iter().map(|piece| piece.len()).sum::<usize>();
        self.buffer.reserve(1 + 2 * VARINT32 + row.len() + length);
        self.count += 1;
        self.buffer.extend_from_slice(&[PUT]);
        let key = self.append(row);
        self.append_length(length);
        let start = self.buffer.len();
        for piece in value {
            self.buffer.extend_from_slice(piece);
        }
        Written {
            key,
            value: start..self.buffer.len(),
        }
    }

    /// Appends a delete; tells where the row landed.
    pub fn delete(&mut self, row: &[u8]) -> Range<usize> {
        self.count += 1;
        self.buffer.extend_from_slice(&[DELETE]);
        self.append(row)
    }

    /// Appends a delete of the rows of `[from, to)`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.count += 1;
        self.buffer.extend_from_slice(&[DELETE_RANGE]);
        self.append(from);
        self.append(to);
    }

    /// The state now.
    pub fn mark(&self) -> Mark {
        Mark {
            length: self.buffer.len(),
            count: self.count,
        }
    }

    /// Back to an earlier state.
    pub fn rollback(&mut self, mark: Mark) {
        self.buffer.truncate(mark.length);
        self.count = mark.count;
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, the header included.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes so far, into which [`Written`] points. The header's count is not yet filled in.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// The finished batch.
    pub fn freeze(mut self) -> Bytes {
        self.finish();
        self.buffer.freeze()
    }

    /// The finished batch; the builder starts anew in what is left of its buffer.
    pub fn take(&mut self) -> Bytes {
        self.finish();
        let batch = self.buffer.split().freeze();
        self.count = 0;
        self.buffer.extend_from_slice(&[0; HEADER]);
        batch
    }

    fn finish(&mut self) {
        self.buffer[8..HEADER].copy_from_slice(&self.count.to_le_bytes());
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        self.append_length(bytes.len());
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }

    /// Rows and values are far below 4 GiB: `Limits` sees to it.
    fn append_length(&mut self, length: usize) {
        let mut rest = length as u32;
        let mut varint = [0; VARINT32];
        let mut used = 0;
        while rest >= 0x80 {
            varint[used] = rest as u8 | 0x80;
            rest >>= 7;
            used += 1;
        }
        varint[used] = rest as u8;
        self.buffer.extend_from_slice(&varint[..=used]);
    }
}

/// What a record does to its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Sets it.
    Put,
    /// Removes it.
    Delete,
    /// Removes all rows from `key` up to, without, `value`.
    DeleteRange,
}

/// One record of a batch; its bytes are slices of the batch's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// What is done.
    pub operation: Operation,
    /// To which row.
    pub key: Bytes,
    /// The new value, the end of a range, or nothing.
    pub value: Bytes,
}

/// The bytes are no batch that [`Effects`] could have made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed effects at byte {at}")]
pub struct Malformed {
    /// Where.
    pub at: usize,
}

/// The records of a batch, first to last. Bytes that are no batch end it with an error; empty bytes are a batch without records.
pub fn rows(batch: &Bytes) -> Rows {
    let count = batch
        .get(8..HEADER)
        .and_then(|count| count.try_into().ok())
        .map_or(0, u32::from_le_bytes);
    Rows {
        batch: batch.clone(),
        at: HEADER.min(batch.len()),
        left: count,
        done: batch.is_empty(),
    }
}

/// See [`rows`].
#[derive(Clone, Debug)]
pub struct Rows {
    batch: Bytes,
    at: usize,
    left: u32,
    done: bool,
}

impl Rows {
    fn next_row(&mut self) -> Option<Row> {
        let tag = *self.batch.get(self.at)?;
        self.at += 1;
        let operation = match tag {
            PUT => Operation::Put,
            DELETE => Operation::Delete,
            DELETE_RANGE => Operation::DeleteRange,
            _ => return None,
        };
        let key = self.next_string()?;
        let value = match operation {
            Operation::Delete => Bytes::new(),
            Operation::Put | Operation::DeleteRange => self.next_string()?,
        };
        self.left = self.left.checked_sub(1)?;
        Some(Row {
            operation,
            key,
            value,
        })
    }

    fn next_string(&mut self) -> Option<Bytes> {
        let mut length = 0u64;
        for shift in (0..).step_by(7).take(VARINT32) {
            let byte = *self.batch.get(self.at)?;
            self.at += 1;
            length |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let end = self.at.checked_add(usize::try_from(length).ok()?)?;
                if end > self.batch.len() {
                    return None;
                }
                let string = self.batch.slice(self.at..end);
                self.at = end;
                return Some(string);
            }
        }
        None
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.at == self.batch.len() && self.left == 0 && self.at >= HEADER {
            self.done = true;
            return None;
        }
        let at = self.at;
        let row = self.next_row().ok_or(Malformed { at });
        self.done = row.is_err();
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_has_the_bytes_that_rocksdb_writes() {
        let mut effects = Effects::new();
        let written = effects.put(b"row", &[b"va", b"lue"]);
        assert_eq!(effects.delete(b"gone"), 25..29);
        effects.delete_range(b"a", b"b");
        assert_eq!(&effects.as_slice()[written.key], b"row");
        assert_eq!(&effects.as_slice()[written.value], b"value");
        assert_eq!(
            effects.freeze().as_ref(),
            b"\0\0\0\0\0\0\0\0\x03\0\0\0\x01\x03row\x05value\x00\x04gone\x0f\x01a\x01b"
        );
    }

    #[test]
    fn a_rollback_leaves_what_was_there_at_the_mark() {
        let mut effects = Effects::new();
        effects.put(b"kept", &[b"1"]);
        let mark = effects.mark();
        effects.put(b"lost", &[&[7; 300]]);
        effects.rollback(mark);
        let kept = rows(&effects.take())
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].key, "kept");
        assert!(effects.is_empty());
        assert_eq!(rows(&effects.freeze()).count(), 0);
    }

    proptest! {
        #[test]
        fn batches_read_back_as_written(puts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)), 0..20)) {
            let mut effects = Effects::new();
            for (row, value) in &puts {
                effects.put(row, &[value]);
            }
            let read = rows(&effects.freeze()).collect::<Result<Vec<_>, _>>().unwrap();
            prop_assert_eq!(read.len(), puts.len());
            for (row, put) in read.iter().zip(&puts) {
                prop_assert_eq!((row.operation, &row.key[..], &row.value[..]), (Operation::Put, &put.0[..], &put.1[..]));
            }
        }

        #[test]
        fn any_bytes_end_in_rows_or_an_error_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let read = rows(&bytes).collect::<Vec<_>>();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }

        #[test]
        fn a_cut_batch_is_malformed(cut in 1usize..60) {
            let mut effects = Effects::new();
            effects.put(b"row", &[&[1; 20]]);
            effects.put(b"other", &[&[2; 20]]);
            let whole = effects.freeze();
            let cut = whole.slice(..whole.len() - cut.min(whole.len() - 1));
            prop_assert!(rows(&cut).any(|row| row.is_err()));
        }
    }
}
