//! The two clocks of a node: `CLOCK_BOOTTIME` for spans (leases count through a suspend), and a wall clock that runs on it and is
//! only slewed towards the system's, so that a step of the system clock does not enter.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::{Instant, Timestamp};

/// This machine's `CLOCK_BOOTTIME`.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// How fast the wall clock may be corrected: by so many milliseconds in a second.
const SLEW_MS_PER_S: u64 = 5;

/// A wall clock that starts from the system's and never steps. All threads of a node read the same one.
pub(crate) struct WallClock {
    /// Wall time in ms when `CLOCK_BOOTTIME` was zero. Wraps: a system clock may begin long before the machine did.
    zero: AtomicU64,
    /// When `zero` was corrected last, in ns of `CLOCK_BOOTTIME`.
    corrected: AtomicU64,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        let now = now();
        Self {
            zero: AtomicU64::new(system_ms().wrapping_sub(ms(now))),
            corrected: AtomicU64::new(now.0),
        }
    }

    /// The wall time at `now`.
    pub(crate) fn at(&self, now: Instant) -> Timestamp {
        let corrected = self.corrected.load(Ordering::Relaxed);
        let span = now.since(Instant(corrected));
        if span >= Duration::from_secs(1) {
            let mine = self.corrected.compare_exchange(
                corrected,
                now.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if mine.is_ok() {
                self.slew(now, span.as_millis() as u64);
            }
        }
        Timestamp(self.zero.load(Ordering::Relaxed).wrapping_add(ms(now)))
    }

    fn slew(&self, now: Instant, elapsed_ms: u64) {
        let zero = self.zero.load(Ordering::Relaxed);
        let wanted = system_ms().wrapping_sub(ms(now));
        let most = (elapsed_ms * SLEW_MS_PER_S / 1000).max(1) as i64;
        let by = (wanted.wrapping_sub(zero) as i64).clamp(-most, most);
        self.zero
            .store(zero.wrapping_add_signed(by), Ordering::Relaxed);
    }
}

fn ms(instant: Instant) -> u64 {
    instant.0 / 1_000_000
}

fn system_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
