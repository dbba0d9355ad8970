//! The partition's own rows, under slot FFFF: no key's, never cleared, and no garbage but for request ids of which nobody asks any more.
//!
//! What request ids look like is decided in `requests`; only their range is set aside here.

use super::VERSION;
use types::{Ballot, Decree, Timestamp};

/// How far the batches in this `RocksDB` reach: an [`Applied`].
pub const APPLIED: &[u8] = &[0xFF, 0xFF, 1];
/// Which version of this layout the partition is written in: one byte.
pub const FORMAT: &[u8] = &[0xFF, 0xFF, 2];
/// Rows of request ids begin with this.
pub const REQUESTS: &[u8] = &[0xFF, 0xFF, 3];
/// Rows that belong to one replica alone begin with this: no part of the logical state.
pub const LOCAL: &[u8] = &[0xFF, 0xFF, 4];
/// Notes of garbage begin with this, among what is a replica's own: each takes them away as it collects.
pub const GARBAGE: &[u8] = &[0xFF, 0xFF, 4, 1];

/// The version of the layout that this crate reads and writes.
pub const LAYOUT: u8 = 1;

/// The row of the note that is in the mutation `decree`.
pub fn garbage_row(decree: Decree) -> [u8; 12] {
    let mut row = [0; 12];
    row[..4].copy_from_slice(GARBAGE);
    row[4..].copy_from_slice(&decree.0.to_be_bytes());
    row
}

/// Of which mutation a row is the note, if it is one.
pub fn garbage_noted_by(row: &[u8]) -> Option<Decree> {
    let decree = row.strip_prefix(GARBAGE)?.try_into().ok()?;
    Some(Decree(u64::from_be_bytes(decree)))
}

/// How many rows became garbage by a note's value.
pub fn noted_garbage(value: &[u8]) -> u64 {
    value
        .first_chunk()
        .map_or(0, |rows| u64::from_be_bytes(*rows))
}

/// Behind all notes.
pub fn after_garbage() -> Vec<u8> {
    crate::rows::after_prefix(GARBAGE).to_vec()
}

/// The last mutation of which a partition's rows tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Its decree.
    pub decree: Decree,
    /// The ballot it was last prepared under.
    pub ballot: Ballot,
    /// Its timestamp, which is the partition's time.
    pub timestamp: Timestamp,
}

impl Applied {
    /// Bytes of an encoded one.
    pub const LENGTH: usize = 25;

    /// The row's value.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut value = [0; Self::LENGTH];
        value[0] = VERSION;
        value[1..9].copy_from_slice(&self.decree.0.to_be_bytes());
        value[9..17].copy_from_slice(&self.ballot.0.to_be_bytes());
        value[17..].copy_from_slice(&self.timestamp.0.to_be_bytes());
        value
    }

    /// Reads a row's value.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; Self::LENGTH] = value.try_into().ok()?;
        let number = |at: usize| {
            value[at..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        (value[0] == VERSION).then(|| Self {
            decree: Decree(number(1)),
            ballot: Ballot(number(9)),
            timestamp: Timestamp(number(17)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_garbage_tells_its_mutation_and_lies_among_the_replicas_own_rows() {
        let row = garbage_row(Decree(7));
        assert_eq!(garbage_noted_by(&row), Some(Decree(7)));
        assert!(row.starts_with(LOCAL) && row[..] < after_garbage()[..]);
        assert_eq!(garbage_noted_by(APPLIED), None);
        assert_eq!(noted_garbage(&9u64.to_be_bytes()), 9);
        assert_eq!(noted_garbage(b"x"), 0);
    }

    #[test]
    fn the_applied_row_reads_back_as_written() {
        let applied = Applied {
            decree: Decree(1),
            ballot: Ballot(2),
            timestamp: Timestamp(3),
        };
        assert_eq!(Applied::decode(&applied.encode()), Some(applied));
        assert_eq!(Applied::decode(&applied.encode()[1..]), None);
    }
}
