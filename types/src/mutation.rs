//! One replicated batch.

use crate::{Ballot, Decree, Timestamp};
use bytes::Bytes;

/// What the primary made of the commands it evaluated together: replicated, logged and applied as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutation {
    /// Under which it was last prepared. Re-preparing raises it; decree, timestamp and effects never change with it.
    pub ballot: Ballot,
    /// Its place in the partition's history.
    pub decree: Decree,
    /// The primary's partition time when it evaluated; never falls from decree to decree.
    pub timestamp: Timestamp,
    /// A write batch in `RocksDB`'s own format. May be empty (no rows): a mutation that only orders or advances time.
    pub effects: Bytes,
}
