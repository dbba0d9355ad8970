//! Names of things that live long: nodes, tables, partitions, starts of a node, boots of a machine.
//!
//! Addresses are not here: a node keeps its id when it moves, and routing carries id and address side by side.

use std::fmt;
use std::str::FromStr;

/// A server, for as long as its data directory lives. Drawn at random when the directory is first used (rule C5: an empty
/// directory is a new node). Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| format!("a node id is 16 hexadecimal digits, not '{text}'"))
    }
}

/// Number of a node's start, kept in its data directory and grown by one before anything is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

/// One boot of a machine: what it has not synced when this changes is gone (rule C6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BootId(pub u128);

/// A table's number. Never reused, also after a drop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TableId(pub u32);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one table, written `table.index`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionId {
    /// The table.
    pub table: TableId,
    /// Which of the table's slot ranges, from 0.
    pub index: u32,
}

impl PartitionId {
    /// The partition `index` of table number `table`.
    pub const fn new(table: u32, index: u32) -> Self {
        Self {
            table: TableId(table),
            index,
        }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table.0, self.index)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PartitionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(table, index)| Some(Self::new(table.parse().ok()?, index.parse().ok()?)))
            .ok_or_else(|| format!("a partition is written TABLE.INDEX, not '{text}'"))
    }
}
