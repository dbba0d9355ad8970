//! Histograms of durations that are cheap to fill: some counters, whose bounds double.
//!
//! The bounds are the same everywhere, so that counts of several servers can be added up, and are part of what nodes report to the meta
//! leader. A quantile read from them is right to within its bucket, half of it on average.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of all buckets but the last, which has none: 50 us, doubled sixteen times, to 3.3 s.
pub const BOUNDS: [Duration; BUCKETS - 1] = bounds();
/// How many buckets there are.
pub const BUCKETS: usize = 18;

const FIRST: Duration = Duration::from_micros(50);

const fn bounds() -> [Duration; BUCKETS - 1] {
    let mut bounds = [FIRST; BUCKETS - 1];
    let mut index = 1;
    while index < bounds.len() {
        bounds[index] = bounds[index - 1].saturating_mul(2);
        index += 1;
    }
    bounds
}

/// Counts durations. Filled by one thread or few, read by any.
#[derive(Debug, Default)]
pub struct Latencies {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Latencies {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let nanoseconds = took.as_nanos() as u64;
        let firsts = nanoseconds.saturating_sub(1) / FIRST.as_nanos() as u64;
        let bucket = (u64::BITS - firsts.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            buckets: array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

/// How many durations fell into each bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// By bucket, not added up.
    pub buckets: [u64; BUCKETS],
    /// All of them together.
    pub sum: Duration,
}

impl Counts {
    /// How many.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came after `earlier`, which is an earlier reading of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: array::from_fn(|bucket| {
                self.buckets[bucket].saturating_sub(earlier.buckets[bucket])
            }),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// Adds what others counted.
    pub fn add(&mut self, others: &Self) {
        for (own, other) in self.buckets.iter_mut().zip(others.buckets) {
            *own = own.saturating_add(other);
        }
        self.sum = self.sum.saturating_add(others.sum);
    }

    /// Below which duration a share of all lies, from 0 to 1; nothing if nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let wanted = share * total as f64;
        let mut below = 0.0;
        let mut floor = Duration::ZERO;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            let Some(&bound) = BOUNDS.get(bucket) else {
                break;
            };
            let upto = below + count as f64;
            if count > 0 && upto >= wanted {
                let part = ((wanted - below) / count as f64).clamp(0.0, 1.0);
                return Some(floor + bound.saturating_sub(floor).mul_f64(part));
            }
            (below, floor) = (upto, bound);
        }
        // Whatever it is, it is longer than the last bound.
        Some(floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(milliseconds: &[u64]) -> Counts {
        let latencies = Latencies::default();
        for &ms in milliseconds {
            latencies.record(Duration::from_millis(ms));
        }
        latencies.counts()
    }

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_whose_bound_it_does_not_pass() {
        for (bucket, bound) in BOUNDS.iter().enumerate() {
            let latencies = Latencies::default();
            latencies.record(*bound);
            latencies.record(*bound + Duration::from_nanos(1));
            let counts = latencies.counts();
            assert_eq!(
                (counts.buckets[bucket], counts.buckets[bucket + 1]),
                (1, 1),
                "{bound:?}"
            );
        }
        assert_eq!(counted(&[0]).buckets[0], 1);
        assert_eq!(counted(&[100_000]).buckets[BUCKETS - 1], 1);
        assert_eq!(BOUNDS[BUCKETS - 2], Duration::from_micros(50 << 16));
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_that_reaches_its_share() {
        assert_eq!(Counts::default().quantile(0.5), None);
        let counts = counted(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 90]);
        let within = |share, low, high| {
            let found = counts.quantile(share).unwrap().as_micros();
            assert!((low..=high).contains(&found), "{share}: {found} us");
        };
        within(0.5, 800, 1600);
        within(0.9, 800, 1600);
        within(0.99, 51_200, 102_400);
        assert_eq!(counted(&[100_000]).quantile(0.5), Some(BOUNDS[BUCKETS - 2]));
    }

    #[test]
    fn counts_of_several_servers_add_up_and_earlier_ones_are_taken_off() {
        let (early, late) = (counted(&[1, 2]), counted(&[1, 2, 3, 4]));
        let mut whole = late.since(&early);
        assert_eq!((whole.total(), whole.sum), (2, Duration::from_millis(7)));
        whole.add(&early);
        assert_eq!(whole, late);
    }
}
