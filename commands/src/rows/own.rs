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

/// The version of the layout that this crate reads and writes.
pub const LAYOUT: u8 = 1;

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
