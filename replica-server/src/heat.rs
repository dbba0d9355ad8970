//! How busy each replica has been in the last seconds, so that an operator can ask for the busiest.
//!
//! A command costs its replica a comparison and an addition. A replica that nobody uses costs nothing, not even time: its counts are old, and
//! whoever asks sees that.

use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use crate::{clock, services::inspect};
use commands::CommandSpec;
use proto::inspect::{HotBy, HotReplica, HotRequest, HotResponse};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use types::{Instant, TableId};

/// Rates are averages over the window that is over and what has passed of the current one.
const WINDOW: Duration = Duration::from_secs(10);
/// Replicas in one answer.
const MOST: usize = 1000;

/// One replica's counts: in the current window, and in the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heat {
    since: Instant,
    current: Counts,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    reads: u64,
    writes: u64,
    bytes: u64,
}

/// What it comes to in a second.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Rates {
    reads: f64,
    writes: f64,
    bytes: f64,
}

impl Heat {
    /// A command came.
    pub(crate) fn came(&mut self, now: Instant, spec: &CommandSpec) {
        if now.since(self.since) >= WINDOW {
            self.turn(now);
        }
        if spec.is_write() {
            self.current.writes += 1;
        } else {
            self.current.reads += 1;
        }
    }

    /// A command that came found so much, or a mutation of such commands has so many bytes of effects.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.current.bytes += bytes as u64;
    }

    /// The current window is over.
    #[cold]
    fn turn(&mut self, now: Instant) {
        if now.since(self.since) < WINDOW * 2 {
            self.before = self.current;
            self.since = self.since + WINDOW;
        } else {
            self.before = Counts::default();
            self.since = now;
        }
        self.current = Counts::default();
    }

    fn rates(mut self, now: Instant) -> Rates {
        if now.since(self.since) >= WINDOW {
            self.turn(now);
        }
        let span = (WINDOW + now.since(self.since)).as_secs_f64();
        let rate = |of: fn(&Counts) -> u64| (of(&self.before) + of(&self.current)) as f64 / span;
        Rates {
            reads: rate(|counts| counts.reads),
            writes: rate(|counts| counts.writes),
            bytes: rate(|counts| counts.bytes),
        }
    }
}

impl Rates {
    fn by(&self, by: HotBy) -> f64 {
        match by {
            HotBy::Commands => self.reads + self.writes,
            HotBy::Reads => self.reads,
            HotBy::Writes => self.writes,
            HotBy::Bytes => self.bytes,
        }
    }
}

impl Worker {
    /// The busiest replicas here. Looks at each.
    pub(crate) fn hottest(&self, request: &HotRequest) -> HotResponse {
        let now = clock::now();
        let limit = match request.limit as usize {
            limit @ 1..=MOST => limit,
            _ => MOST,
        };
        let by = request.by();
        let mut warm: Vec<(Rates, Rc<RefCell<Hosted>>)> = Vec::new();
        for hosted in self.hosted_all() {
            let h = hosted.borrow();
            let wanted = request.table == 0 || h.id.table == TableId(request.table);
            let rates = h.heat.rates(now);
            drop(h);
            if wanted && rates.by(by) > 0.0 {
                warm.push((rates, hosted));
            }
        }
        warm.sort_unstable_by(|(a, _), (b, _)| b.by(by).total_cmp(&a.by(by)));
        let more = warm.len().saturating_sub(limit) as u64;
        let known = self.known.borrow();
        let replica = |(rates, hosted): &(Rates, Rc<RefCell<Hosted>>)| {
            let h = hosted.borrow();
            HotReplica {
                partition: Some(h.id.into()),
                table: known.table_name(h.id.table),
                role: inspect::role(h.core.role()).into(),
                reads: rates.reads,
                writes: rates.writes,
                bytes: rates.bytes,
            }
        };
        HotResponse {
            replicas: warm.iter().take(limit).map(replica).collect(),
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Instant {
        Instant(1_000_000_000_000) + Duration::from_secs(seconds)
    }

    fn spec(args: &[&[u8]]) -> &'static CommandSpec {
        commands::resolve(args).unwrap()
    }

    #[test]
    fn rates_are_averages_of_the_last_ten_to_twenty_seconds() {
        let (get, set) = (spec(&[b"GET", b"k"]), spec(&[b"SET", b"k", b"v"]));
        let mut heat = Heat::default();
        for second in 0..40 {
            for _ in 0..100 {
                heat.came(s(second), get);
                heat.came(s(second), set);
                heat.moved(7);
            }
        }
        let expected = Rates {
            reads: 100.0,
            writes: 100.0,
            bytes: 700.0,
        };
        assert_eq!(heat.rates(s(40)), expected);
        assert!((expected.by(HotBy::Commands) - 200.0).abs() < 0.001);
        let cooling = heat.rates(s(45));
        assert!(cooling.reads < 100.0 && cooling.reads > 50.0, "{cooling:?}");
    }

    #[test]
    fn a_replica_that_nobody_uses_any_more_is_cold() {
        let mut heat = Heat::default();
        heat.came(s(0), spec(&[b"GET", b"k"]));
        assert!(heat.rates(s(19)).reads > 0.0);
        for cold in [heat.rates(s(20)), Heat::default().rates(s(0))] {
            assert!(cold.by(HotBy::Commands) <= 0.0, "{cold:?}");
        }
    }
}
