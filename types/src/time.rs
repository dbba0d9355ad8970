//! The two clocks, as values: [`Instant`] measures spans on one machine, [`Timestamp`] is what expiry times are written in.
//!
//! Reading a clock is the shells' affair.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A reading of one machine's `CLOCK_BOOTTIME`, in nanoseconds. Means nothing on another machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_nanos() as u64))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_nanos() as u64))
    }
}

/// Milliseconds since the Unix epoch: partition time, expiry times, mutation timestamps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);
