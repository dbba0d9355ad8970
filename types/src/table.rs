//! What commands on a table must obey beside Redis' own rules: how much of them is taken, whether writes are, how long keys live.
//!
//! Where they are enforced is the replica server's affair; who may change them, the meta leader's.

use std::time::Duration;

/// What an operator may change at any time. The default restricts nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableRules {
    /// How long a key lives that a write creates or replaces without saying so itself; `None`: for ever.
    pub default_ttl: Option<Duration>,
    /// Whether writes are taken.
    pub access: Access,
    /// How much is taken in a second.
    pub throttle: Throttle,
}

/// Whether clients may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Yes.
    #[default]
    ReadWrite,
    /// No: writes are refused for good. Keys go on expiring.
    ReadOnly,
}

/// The most of a kind that a whole table takes in a second; 0: any number. Each partition takes its equal share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// Commands that read.
    pub read_operations: u64,
    /// Commands that write.
    pub write_operations: u64,
    /// Bytes of replies to commands that read.
    pub read_bytes: u64,
    /// Bytes of commands that write, their arguments counted.
    pub write_bytes: u64,
}
