//! The two clocks of a node: `CLOCK_BOOTTIME` for spans (leases count through a suspend), and a wall clock that runs on it and is
//! only slewed towards the system's, so that a step of the system clock does not enter.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};
use types::{Instant, Timestamp};

/// This machine's `CLOCK_BOOTTIME`.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// How fast the wall clock may be corrected: by so many milliseconds in a second.
const SLEW_MS_PER_S: u64 = 5;

/// A wall clock that starts from the system's and never steps.
pub(crate) struct WallClock {
    /// Wall time in ms at `from`.
    base: Cell<u64>,
    from: Cell<Instant>,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        Self {
            base: Cell::new(system_ms()),
            from: Cell::new(now()),
        }
    }

    /// The wall time at `now`.
    pub(crate) fn at(&self, now: Instant) -> Timestamp {
        let span = now.since(self.from.get());
        if span.as_secs() >= 1 {
            self.slew(now, span.as_millis() as u64);
        }
        Timestamp(self.base.get() + now.since(self.from.get()).as_millis() as u64)
    }

    fn slew(&self, now: Instant, elapsed_ms: u64) {
        let ran = self.base.get() + elapsed_ms;
        let system = system_ms();
        let most = (elapsed_ms * SLEW_MS_PER_S / 1000).max(1);
        let corrected = if system > ran {
            ran + (system - ran).min(most)
        } else {
            ran - (ran - system).min(most)
        };
        self.base.set(corrected);
        self.from.set(now);
    }
}

fn system_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
