//! Appends under way: what went to the log and has not come back.
//!
//! An append counts only when all before it count, in whatever order the shell reports them: in durability `buffered` a
//! prepare is written at once while the ballot before it is still being synced, and L2 wants the ballot first.

use crate::{Action, Flush};
use std::collections::VecDeque;
use types::{Ballot, Decree, LearnSignature, RecordBody};

/// What an append means to the replica when it has come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// A mutation, under the ballot whose stream (or own list) it belongs to.
    Mutation {
        ballot: Ballot,
        decree: Decree,
        acknowledge: bool,
    },
    Configuration(Ballot),
    Truncate,
    Reset(LearnSignature),
    Ready(LearnSignature),
    Proposed(Ballot),
    Boot,
    Quarantined,
    Deleted,
}

#[derive(Debug, Default)]
pub(crate) struct Appends {
    /// Number of the first in `pending`.
    first: u64,
    pending: VecDeque<(Written, bool)>,
}

impl Appends {
    /// Orders an append.
    pub(crate) fn append(
        &mut self,
        body: RecordBody,
        written: Written,
        flush: Flush,
        actions: &mut Vec<Action>,
    ) {
        let number = self.next();
        self.pending.push_back((written, false));
        actions.push(Action::AppendLog {
            number,
            body,
            flush,
        });
    }

    /// The number of the append to come: everything below it being flushed is what a barrier waits for.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.pending.len() as u64
    }

    /// Whether all appends below `number` have come back.
    pub(crate) fn flushed_below(&self, number: u64) -> bool {
        self.first >= number
    }

    /// The append of this number came back.
    pub(crate) fn flushed(&mut self, number: u64) {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some((_, flushed)) = index.and_then(|index| self.pending.get_mut(index)) {
            *flushed = true;
        }
    }

    /// The oldest append, if it has come back. Each is handed out once.
    pub(crate) fn pop_flushed(&mut self) -> Option<Written> {
        let &(written, flushed) = self.pending.front()?;
        flushed.then(|| {
            self.pending.pop_front();
            self.first += 1;
            written
        })
    }
}
