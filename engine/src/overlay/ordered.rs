//! Rows in byte order, sorted only when somebody asks: writes append, a range read sorts what was appended since the last one and
//! merges runs as they grow alike. So a loop of writes and range reads costs O(log n) a write, and writes alone cost nothing.

use super::history::{History, Place};
use commands::Direction;
use types::Decree;

/// A place, relative to the generation's first decree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Near {
    delta: u32,
    offset: u32,
}

/// Places of distinct rows.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    runs: Vec<Vec<Near>>,
    tail: Vec<Near>,
}

/// A walk through one run.
pub(crate) struct Cursor<'a> {
    first: Decree,
    run: std::borrow::Cow<'a, [Near]>,
    /// Forward: the next one's position. Backward: one above it.
    at: usize,
    end: usize,
    direction: Direction,
}

impl Near {
    fn place(self, first: Decree) -> Place {
        Place {
            decree: Decree(first.0 + u64::from(self.delta)),
            offset: self.offset,
        }
    }
}

impl Ordered {
    pub(crate) fn push(&mut self, first: Decree, place: Place) {
        self.tail.push(Near {
            delta: (place.decree.0 - first.0) as u32,
            offset: place.offset,
        });
    }

    /// How many were appended and not yet sorted.
    pub(crate) fn unsorted(&self) -> usize {
        self.tail.len()
    }

    /// Takes back the last ones appended, all but `keep`.
    pub(crate) fn truncate(&mut self, keep: usize) {
        self.tail.truncate(keep);
    }

    /// Sorts all but the last `except`, which may yet be taken back.
    pub(crate) fn sort(&mut self, first: Decree, history: &History, except: usize) {
        let stable = self.tail.len().saturating_sub(except);
        if stable == 0 {
            return;
        }
        let mut run: Vec<Near> = self.tail.drain(..stable).collect();
        run.sort_unstable_by(|a, b| history.compare(a.place(first), b.place(first)));
        while let Some(previous) = self.runs.pop_if(|previous| previous.len() <= 2 * run.len()) {
            run = merge(&previous, &run, first, history);
        }
        self.runs.push(run);
    }

    /// Walks over `[from, to)` of every run, and of what could not be sorted for good.
    pub(crate) fn cursors<'a>(
        &'a self,
        first: Decree,
        history: &History,
        (from, to): (&[u8], &[u8]),
        direction: Direction,
        cursors: &mut Vec<Cursor<'a>>,
    ) {
        let mut add = |run: std::borrow::Cow<'a, [Near]>| {
            let row = |near: &Near| history.row(near.place(first));
            let low = run.partition_point(|near| row(near) < from);
            let high = low + run[low..].partition_point(|near| row(near) < to);
            if low < high {
                let (at, end) = match direction {
                    Direction::Forward => (low, high),
                    Direction::Backward => (high, low),
                };
                cursors.push(Cursor {
                    first,
                    run,
                    at,
                    end,
                    direction,
                });
            }
        };
        for run in &self.runs {
            add(run.into());
        }
        if !self.tail.is_empty() {
            let mut tail = self.tail.clone();
            tail.sort_unstable_by(|a, b| history.compare(a.place(first), b.place(first)));
            add(tail.into());
        }
    }
}

fn merge(a: &[Near], b: &[Near], first: Decree, history: &History) -> Vec<Near> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if history
            .compare(a[i].place(first), b[j].place(first))
            .is_le()
        {
            merged.push(a[i]);
            i += 1;
        } else {
            merged.push(b[j]);
            j += 1;
        }
    }
    merged.extend_from_slice(&a[i..]);
    merged.extend_from_slice(&b[j..]);
    merged
}

impl Cursor<'_> {
    /// Where it stands; nothing at its end.
    pub(crate) fn place(&self) -> Option<Place> {
        if self.at == self.end {
            return None;
        }
        let at = match self.direction {
            Direction::Forward => self.at,
            Direction::Backward => self.at - 1,
        };
        Some(self.run[at].place(self.first))
    }

    pub(crate) fn advance(&mut self) {
        match self.direction {
            Direction::Forward => self.at += 1,
            Direction::Backward => self.at -= 1,
        }
    }
}
