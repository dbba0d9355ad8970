//! What the windows of all partitions of a node may cost in memory together, and what each partition takes of it.
//!
//! Who has little is never refused because others have much: up to an equal part each may always have.

use std::cell::Cell;
use std::rc::Rc;

/// Memory in bytes for the windows of several partitions. What is taken may be more than `most` by what a takeover brings along, and by what
/// those take that have less than an equal part.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    taken: Cell<usize>,
    partitions: Cell<usize>,
}

impl Budget {
    /// Windows are refused more when they take `most` bytes together, but for those that have less than an equal part of it.
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self {
            most,
            taken: Cell::new(0),
            partitions: Cell::new(0),
        })
    }

    /// Whether more than half is taken: then windows that nobody writes to are worth looking at ([`super::Windows::relieve`]).
    pub fn is_short(&self) -> bool {
        self.taken.get() > self.most / 2
    }

    /// What is taken, in bytes.
    pub fn taken(&self) -> usize {
        self.taken.get()
    }
}

/// What one partition takes of a budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Share {
    pub(super) fn of(budget: &Rc<Budget>) -> Self {
        budget.partitions.set(budget.partitions.get() + 1);
        Self {
            budget: budget.clone(),
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something that took `before` bytes takes `after` now.
    pub(super) fn change(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        let taken = &self.budget.taken;
        taken.set(taken.get() + after - before);
    }

    /// Whether it may be more.
    pub(super) fn may_grow(&self) -> bool {
        let Budget {
            most,
            taken,
            partitions,
        } = &*self.budget;
        taken.get() < *most || self.bytes < most / partitions.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Budget {
            taken, partitions, ..
        } = &*self.budget;
        taken.set(taken.get() - self.bytes);
        partitions.set(partitions.get() - 1);
    }
}
