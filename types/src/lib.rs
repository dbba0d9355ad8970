//! The words every part of Tulpar speaks: ids, ballots, decrees, slots, configurations, mutations, log records, time.
//!
//! Plain values only. Nothing here does IO, reads a clock, draws a random number or hashes in an unstable order; nothing
//! here decides anything. Encodings belong to `proto` (between processes) and `commit-log` (on disk).
//!
//! Reading order: [`ids`], [`versions`], [`slot`], [`configuration`], [`mutation`], [`record`], [`table`], [`time`], [`size`].

#![warn(missing_docs)]

pub mod configuration;
pub mod ids;
pub mod mutation;
pub mod record;
pub mod size;
pub mod slot;
pub mod table;
pub mod time;
pub mod versions;

pub use configuration::{Configuration, LearnSignature, Member};
pub use ids::{BootId, Incarnation, NodeId, PartitionId, TableId};
pub use mutation::Mutation;
pub use record::{LearnKind, Record, RecordBody};
pub use size::ByteSize;
pub use slot::{SLOTS, Slot, SlotRange};
pub use table::{Access, TableRules, Throttle};
pub use time::{Instant, Timestamp};
pub use versions::{Ballot, Decree};

use std::time::Duration;

/// How safely a table's writes are on disk before they are acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Durability {
    /// Every member has synced the write to its disk: survives power loss of every machine at once.
    #[default]
    Sync,
    /// Every member has handed the write to its operating system, which is made to sync every [`BUFFERED_SYNC_INTERVAL`].
    Buffered,
}

/// The longest a buffered write stays unsynced while its process lives.
pub const BUFFERED_SYNC_INTERVAL: Duration = Duration::from_secs(1);

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Buffered => "buffered",
        })
    }
}

impl std::str::FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sync" => Ok(Self::Sync),
            "buffered" => Ok(Self::Buffered),
            other => Err(format!("durability is 'sync' or 'buffered', not '{other}'")),
        }
    }
}
