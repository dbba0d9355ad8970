//! What the wall clocks of other nodes show, as their answers to beacons tell, and whether this node's is the odd one out.
//!
//! What follows from that is `clock_watch`'s; safety never depends on it (leases count spans, and an expiry waits for its mutation).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use types::{Instant, NodeId, Timestamp};

/// An answer that took longer says too little about now.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// A clock not heard of for so long is left out.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Clocks further from the median than this are off.
pub(crate) const TOLERANCE_MS: i64 = 10_000;

/// By how many milliseconds each node's clock is before this node's.
#[derive(Default)]
pub(crate) struct Clocks(Mutex<BTreeMap<NodeId, Heard>>);

struct Heard {
    ahead_ms: i64,
    at: Instant,
}

/// How this node's clock stands to the others'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Agreement {
    /// It is near the median, or nobody else was heard.
    Agreed,
    /// The two clocks that are known differ: nobody can say which is right.
    Undecided {
        /// By how many milliseconds the other's is before this one.
        ahead_ms: i64,
    },
    /// It is this node's that is off.
    Off {
        /// By how many milliseconds it is before the median.
        ahead_ms: i64,
        /// Of how many clocks, its own included.
        nodes: usize,
        /// Whose clocks are near the median.
        right: Vec<NodeId>,
    },
}

impl Clocks {
    /// Takes in what `node` says its clock shows, in answer to a beacon sent at `asked`; `wall` is this node's own at `now`.
    pub(crate) fn heard(
        &self,
        node: NodeId,
        said: Timestamp,
        asked: Instant,
        now: Instant,
        wall: Timestamp,
    ) {
        if now.since(asked) <= ANSWERED_WITHIN {
            let ahead_ms = said.0.wrapping_sub(wall.0) as i64;
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.insert(node, Heard { ahead_ms, at: now });
        }
    }

    /// See the type.
    pub(crate) fn agreement(&self, now: Instant) -> Agreement {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, heard| now.since(heard.at) < FORGOTTEN);
        let mut all: Vec<i64> = heard.values().map(|heard| heard.ahead_ms).collect();
        all.push(0);
        all.sort_unstable();
        let median = median(&all);
        let off = |ahead_ms: i64| ahead_ms.saturating_sub(median).saturating_abs() > TOLERANCE_MS;
        match all.as_slice() {
            [] | [_] => Agreement::Agreed,
            [first, second] => {
                let ahead_ms = first.saturating_add(*second);
                if ahead_ms.saturating_abs() > TOLERANCE_MS {
                    Agreement::Undecided { ahead_ms }
                } else {
                    Agreement::Agreed
                }
            }
            _ if off(0) => Agreement::Off {
                ahead_ms: median.saturating_neg(),
                nodes: all.len(),
                right: heard
                    .iter()
                    .filter(|(_, heard)| !off(heard.ahead_ms))
                    .map(|(&node, _)| node)
                    .collect(),
            },
            _ => Agreement::Agreed,
        }
    }
}

/// Of sorted values, at least one; of an even number the mean of the middle two.
fn median(sorted: &[i64]) -> i64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    low.midpoint(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(100_000_000_000);
    const WALL: Timestamp = Timestamp(1_800_000_000_000);

    fn clocks(ahead: &[i64]) -> Clocks {
        let clocks = Clocks::default();
        for (node, &ahead) in (2..).zip(ahead) {
            let said = Timestamp(WALL.0.saturating_add_signed(ahead));
            clocks.heard(NodeId(node), said, NOW, NOW, WALL);
        }
        clocks
    }

    #[test]
    fn the_clock_that_is_far_from_the_median_is_off() {
        let off = |ahead_ms, nodes, right: &[u64]| Agreement::Off {
            ahead_ms,
            nodes,
            right: right.iter().copied().map(NodeId).collect(),
        };
        for (others, expected) in [
            (&[10_000, 10_000][..], Agreement::Agreed),
            (&[10_001, 10_001], off(-10_001, 3, &[2, 3])),
            (&[-60_000, -60_050], off(60_000, 3, &[2, 3])),
            (&[60_000, 0], Agreement::Agreed),
            (&[20_000, 40_000], off(-20_000, 3, &[2])),
            (&[60_000, 60_000, 0], off(-30_000, 4, &[])),
        ] {
            assert_eq!(clocks(others).agreement(NOW), expected, "{others:?}");
        }
    }

    #[test]
    fn two_clocks_are_no_majority() {
        assert_eq!(clocks(&[]).agreement(NOW), Agreement::Agreed);
        assert_eq!(clocks(&[-10_000]).agreement(NOW), Agreement::Agreed);
        let undecided = Agreement::Undecided { ahead_ms: -10_001 };
        assert_eq!(clocks(&[-10_001]).agreement(NOW), undecided);
    }

    #[test]
    fn what_was_said_long_ago_or_answered_late_does_not_count() {
        let clocks = clocks(&[60_000, 60_000]);
        assert_eq!(clocks.agreement(NOW + FORGOTTEN), Agreement::Agreed);
        let late = NOW + ANSWERED_WITHIN + Duration::from_nanos(1);
        for node in [NodeId(2), NodeId(3)] {
            clocks.heard(node, Timestamp(0), NOW, late, WALL);
        }
        assert_eq!(clocks.agreement(NOW), Agreement::Agreed);
    }

    #[test]
    fn clocks_may_show_anything() {
        let clocks = Clocks::default();
        for (node, said) in (2..).zip([0, u64::MAX, u64::MAX / 2, 1 << 63]) {
            clocks.heard(NodeId(node), Timestamp(said), NOW, NOW, WALL);
            clocks.agreement(NOW);
        }
    }
}
