//! When partitions want to be called: one heap for all, nothing for a partition that waits for nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use types::Instant;

/// Deadlines of partitions, by their place in the worker.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Timers {
    /// Calls `place` at `deadline`. A call too many does no harm: whoever is called looks at what is due.
    pub(crate) fn add(&mut self, deadline: Instant, place: u32) {
        self.heap.push(Reverse((deadline, place)));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Who is due, and since when. An entry that its partition no longer goes by is to be passed over.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, u32)> {
        (self.next()? <= now).then(|| self.heap.pop().map(|Reverse(due)| due))?
    }
}
