//! What evaluation is told of the world: time, randomness, its place in history, and the bounds it must keep.

use std::time::Duration;
use types::{Decree, SlotRange, Timestamp};

/// The circumstances of one evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Partition time: for a write the timestamp of its mutation.
    pub now: Timestamp,
    /// The mutation that the effects go into.
    pub decree: Decree,
    /// The command's number in that mutation. With the decree it names the object that the command creates, so no two commands of
    /// one mutation may share it.
    pub index: u32,
    /// A fresh random number.
    pub random: u64,
    /// What the partition holds.
    pub slots: SlotRange,
    /// How long a string, or a hash's field, lives that is written without saying so; `None`: for ever.
    pub default_ttl: Option<Duration>,
    /// What is refused.
    pub limits: Limits,
}

/// Sizes above which a command is refused, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Of a key, and of a hash field.
    pub key: usize,
    /// Of a string, and of a hash field's value.
    pub value: usize,
    /// Of the effects of one command: the room that the open mutation has left.
    pub mutation: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key: 64 << 10,
            value: 512 << 20,
            mutation: 64 << 20,
        }
    }
}
