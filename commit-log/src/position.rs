//! A place in the log: segment sequence and byte offset in one ordered number.

use std::fmt;

/// A byte of the log. Later bytes have larger positions; segments follow each other, though not every number is in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    pub(crate) const fn new(sequence: u32, offset: u32) -> Self {
        Self((sequence as u64) << 32 | offset as u64)
    }

    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence(), self.offset())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
