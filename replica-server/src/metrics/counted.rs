//! What the worker counts while it works. Its thread alone writes and reads here, so counting is an addition.

use crate::worker::reply::{Outcome, Refused};
use commands::{CommandSpec, Reply};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::TableId;

/// All counts of the worker.
#[derive(Default)]
pub(crate) struct Counted {
    tables: RefCell<BTreeMap<TableId, Rc<Traffic>>>,
    errors: Cell<u64>,
    refused: [Cell<u64>; REASONS.len()],
}

/// Why commands were refused, in the order of their counters.
pub(crate) const REASONS: [&str; 6] = [
    "not_primary",
    "not_fresh",
    "busy",
    "unable",
    "unknown",
    "too_late",
];

/// What was done for one table here.
#[derive(Default)]
pub(crate) struct Traffic {
    reads: Cell<u64>,
    writes: Cell<u64>,
    written_bytes: Cell<u64>,
}

/// The same, taken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TrafficCounts {
    /// Commands that only read.
    pub(crate) reads: u64,
    /// Commands that may write.
    pub(crate) writes: u64,
    /// What replicated effects come to.
    pub(crate) written_bytes: u64,
}

fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

impl Counted {
    /// The counters of a table, for its replicas to keep.
    pub(crate) fn traffic(&self, table: TableId) -> Rc<Traffic> {
        self.tables.borrow_mut().entry(table).or_default().clone()
    }

    /// Counts what became of a command.
    pub(crate) fn outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Reply(Reply::Error(_)) => add(&self.errors, 1),
            Outcome::Reply(_) => {}
            Outcome::Refused(refused) => add(&self.refused[reason(refused)], 1),
        }
    }

    /// Replies that were errors.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.get()
    }

    /// How often each of [`REASONS`] was the reason.
    pub(crate) fn refused(&self) -> [u64; REASONS.len()] {
        self.refused.each_ref().map(Cell::get)
    }

    /// What was done for each table. Those without a replica here are forgotten.
    pub(crate) fn tables(&self) -> Vec<(TableId, TrafficCounts)> {
        let mut tables = self.tables.borrow_mut();
        tables.retain(|_, traffic| Rc::strong_count(traffic) > 1);
        tables
            .iter()
            .map(|(&table, traffic)| (table, traffic.counts()))
            .collect()
    }
}

/// The place in [`REASONS`].
fn reason(refused: &Refused) -> usize {
    match refused {
        Refused::NotPrimary(_) => 0,
        Refused::NotFresh => 1,
        Refused::Busy(_) => 2,
        Refused::Unable(_) => 3,
        Refused::Unknown(_) => 4,
        Refused::TooLate(_) => 5,
    }
}

impl Traffic {
    /// Counts a command that came.
    pub(crate) fn came(&self, spec: &CommandSpec) {
        let counter = if spec.is_write() {
            &self.writes
        } else {
            &self.reads
        };
        add(counter, 1);
    }

    /// Counts a mutation's effects.
    pub(crate) fn wrote(&self, bytes: usize) {
        add(&self.written_bytes, bytes as u64);
    }

    fn counts(&self) -> TrafficCounts {
        TrafficCounts {
            reads: self.reads.get(),
            writes: self.writes.get(),
            written_bytes: self.written_bytes.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_counted_by_table_and_forgotten_with_the_last_replica() {
        let counted = Counted::default();
        let spec = |name: &str| commands::resolve(&[name.as_bytes(), b"k", b"v"]).unwrap();
        let (first, second) = (counted.traffic(TableId(1)), counted.traffic(TableId(1)));
        first.came(spec("SET"));
        second.came(commands::resolve(&[b"GET", b"k"]).unwrap());
        second.wrote(30);
        drop(counted.traffic(TableId(2)));
        let expected = TrafficCounts {
            reads: 1,
            writes: 1,
            written_bytes: 30,
        };
        assert_eq!(counted.tables(), [(TableId(1), expected)]);
    }

    #[test]
    fn errors_and_refusals_are_counted_apart() {
        let counted = Counted::default();
        counted.outcome(&Outcome::Reply(Reply::Ok));
        counted.outcome(&Outcome::Reply(Reply::error("ERR no")));
        counted.outcome(&Outcome::Refused(Refused::Busy("wait".into())));
        counted.outcome(&Outcome::Refused(Refused::TooLate("late")));
        assert_eq!(counted.errors(), 1);
        assert_eq!(counted.refused(), [0, 0, 1, 0, 0, 1]);
        assert_eq!(REASONS[2], "busy");
    }
}
