//! The rows of request ids: one for each client and mutation.
//!
//! ```text
//! FFFF 03 | client u64 BE | number u32 BE
//!   -> version | partition time u64 BE | first incomplete | count | (gap, length) ... | (sequence, length, reply) ...
//! ```
//!
//! A row's number means nothing: it is the lowest that the client does not use, so that rows are overwritten and `RocksDB` does not fill
//! up with tombstones.

use super::id::{LIFE, is_past};
use super::kept::{put_number, take_bytes, take_number};
use crate::rows::RowBuf;
use crate::rows::own::REQUESTS;
use smallvec::SmallVec;
use types::Timestamp;

/// Numbers are drawn from below, and memory bounds how many there are: a higher one is not ours.
const HIGHEST_NUMBER: u32 = 1 << 20;

/// The layout of a value.
const VERSION: u8 = 0x10;

/// Sequences from the first to the last, both included.
pub(super) type Span = (u64, u64);

/// What one mutation did for one client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Done {
    /// In the order in which they were done.
    pub(super) spans: SmallVec<[Span; 2]>,
    /// Replies that are not plain OK: sequence, length, bytes.
    pub(super) replies: Vec<u8>,
}

/// A row as it was read.
pub(super) struct Row {
    pub(super) client: u64,
    pub(super) number: u32,
    pub(super) time: Timestamp,
    pub(super) first_incomplete: u64,
    pub(super) done: Done,
}

/// The key of a row.
pub(super) fn key(client: u64, number: u32) -> RowBuf {
    let mut row = RowBuf::from_slice(REQUESTS);
    row.extend_from_slice(&client.to_be_bytes());
    row.extend_from_slice(&number.to_be_bytes());
    row
}

/// The value of a row, without the replies that follow it. Sorts what was done.
pub(super) fn head(time: Timestamp, first_incomplete: u64, done: &mut Done) -> Vec<u8> {
    done.sort();
    let mut value = vec![VERSION];
    value.extend_from_slice(&time.0.to_be_bytes());
    put_number(first_incomplete, &mut value);
    put_number(done.spans.len() as u64, &mut value);
    let mut end = 0;
    for &(from, to) in &done.spans {
        put_number(from - end, &mut value);
        put_number(to - from, &mut value);
        end = to;
    }
    value
}

/// Reads a row; nothing if it is none of this version.
pub(super) fn read(key: &[u8], value: &[u8]) -> Option<Row> {
    let (client, number) = key.strip_prefix(REQUESTS)?.split_first_chunk()?;
    let number = u32::from_be_bytes(number.try_into().ok()?);
    if number > HIGHEST_NUMBER {
        return None;
    }
    let time = time(value)?;
    let mut rest = value.get(9..)?;
    let first_incomplete = take_number(&mut rest)?;
    let count = take_number(&mut rest)?;
    let mut spans = SmallVec::new();
    let mut end = 0u64;
    for _ in 0..count {
        let from = end.checked_add(take_number(&mut rest)?)?;
        end = from.checked_add(take_number(&mut rest)?)?;
        spans.push((from, end));
    }
    Some(Row {
        client: u64::from_be_bytes(*client),
        number,
        time,
        first_incomplete,
        done: Done {
            spans,
            replies: rest.to_vec(),
        },
    })
}

fn time(value: &[u8]) -> Option<Timestamp> {
    let (&version, rest) = value.split_first()?;
    let time = rest.first_chunk()?;
    (version == VERSION).then(|| Timestamp(u64::from_be_bytes(*time)))
}

/// Whether a row of request ids means nothing any more at partition time `at`. Compaction drops such rows and digests pass over them.
pub(crate) fn is_over(key: &[u8], value: &[u8], at: Timestamp) -> bool {
    key.starts_with(REQUESTS) && time(value).is_some_and(|time| is_past(time, LIFE, at))
}

impl Done {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Takes a sequence in.
    pub(super) fn add(&mut self, sequence: u64) {
        match self.spans.last_mut() {
            Some((_, to)) if sequence == to.wrapping_add(1) => *to = sequence,
            _ => self.spans.push((sequence, sequence)),
        }
    }

    pub(super) fn contains(&self, sequence: u64) -> bool {
        self.spans
            .iter()
            .any(|&(from, to)| (from..=to).contains(&sequence))
    }

    pub(super) fn highest(&self) -> u64 {
        self.spans.iter().map(|&(_, to)| to).max().unwrap_or(0)
    }

    /// The bytes of the reply to `sequence`, if it is not plain OK.
    pub(super) fn reply(&self, sequence: u64) -> Option<&[u8]> {
        let mut rest = &self.replies[..];
        while !rest.is_empty() {
            let found = take_number(&mut rest)?;
            let length = take_number(&mut rest)?;
            let reply = take_bytes(&mut rest, length)?;
            if found == sequence {
                return Some(reply);
            }
        }
        None
    }

    /// Neighbours become one span.
    fn sort(&mut self) {
        if self.spans.len() < 2 {
            return;
        }
        self.spans.sort_unstable();
        self.spans.dedup_by(|next, before| {
            let touches = next.0 <= before.1.saturating_add(1);
            if touches {
                before.1 = before.1.max(next.1);
            }
            touches
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_read_back_as_written(
            client in any::<u64>(),
            number in 0..HIGHEST_NUMBER,
            time in any::<u64>(),
            first_incomplete in any::<u64>(),
            sequences in prop::collection::btree_set(0u64..200, 1..100),
        ) {
            let mut done = Done::default();
            // in any order, here backwards
            for &sequence in sequences.iter().rev() {
                done.add(sequence);
            }
            done.replies = vec![3, 1, 9];
            let mut value = head(Timestamp(time), first_incomplete, &mut done);
            value.extend_from_slice(&done.replies);
            let row = read(&key(client, number), &value).unwrap();
            prop_assert_eq!((row.client, row.number, row.time.0, row.first_incomplete), (client, number, time, first_incomplete));
            prop_assert_eq!(&row.done, &done);
            for sequence in 0..201 {
                prop_assert_eq!(row.done.contains(sequence), sequences.contains(&sequence));
            }
            let gaps = (0..200u64).filter(|s| sequences.contains(s) && !sequences.contains(&(s + 1))).count();
            prop_assert_eq!(row.done.spans.len(), gaps, "neighbours share a span");
        }

        #[test]
        fn any_bytes_are_a_row_or_none_and_never_a_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&key(1, 2), &value);
            let versioned: Vec<u8> = [&[VERSION], &value[..]].concat();
            if let Some(row) = read(&key(1, 2), &versioned) {
                let _ = row.done.reply(7);
            }
        }
    }
}
