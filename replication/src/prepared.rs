//! The prepared list: mutations that are in the log, or on their way there, but not known to be committed, in decree order
//! and without a gap; and, while the primary has a learner, the last ones that were.
//!
//! It knows nothing of peers, leases or disks. It drops nothing by itself but old committed mutations: cutting is the
//! decision of `following` (C2) and `learning` (L4).

use std::collections::VecDeque;
use types::{Ballot, Decree, Mutation};

#[derive(Debug, Default)]
pub(crate) struct PreparedList {
    committed: Decree,
    /// Decrees committed+1, committed+2, ...
    list: VecDeque<Mutation>,
    list_bytes: usize,
    /// Decrees ..., committed-1, committed.
    recent: VecDeque<Mutation>,
    recent_bytes: usize,
    /// Ballot of the newest mutation ever in the list (C6 compares copies by it).
    last_ballot: Ballot,
}

/// What a mutation weighs in every bound: its bytes, and something for itself so that empty ones are bounded too.
pub(crate) fn weight(mutation: &Mutation) -> usize {
    mutation.effects.len() + 64
}

impl PreparedList {
    /// What a restart found.
    pub(crate) fn recovered(committed: Decree, last_ballot: Ballot) -> Self {
        Self {
            committed,
            last_ballot,
            ..Self::default()
        }
    }

    pub(crate) fn committed(&self) -> Decree {
        self.committed
    }

    pub(crate) fn prepared(&self) -> Decree {
        Decree(self.committed.0 + self.list.len() as u64)
    }

    pub(crate) fn last_ballot(&self) -> Ballot {
        self.last_ballot
    }

    /// How many mutations are not committed, and their bytes.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.list.len(), self.list_bytes)
    }

    /// The mutation of that decree, uncommitted or recent.
    pub(crate) fn get(&self, decree: Decree) -> Option<&Mutation> {
        if decree > self.committed {
            return self.list.get((decree.0 - self.committed.0 - 1) as usize);
        }
        let back = (self.committed.0 - decree.0) as usize;
        let index = self.recent.len().checked_sub(back + 1)?;
        self.recent.get(index)
    }

    /// Appends the next decree.
    pub(crate) fn push(&mut self, mutation: Mutation) {
        debug_assert_eq!(mutation.decree, self.prepared().next());
        self.last_ballot = self.last_ballot.max(mutation.ballot);
        self.list_bytes += weight(&mutation);
        self.list.push_back(mutation);
    }

    /// An uncommitted mutation is prepared again under a higher ballot.
    pub(crate) fn raise(&mut self, decree: Decree, ballot: Ballot) {
        let index = (decree.0 - self.committed.0 - 1) as usize;
        if let Some(mutation) = self.list.get_mut(index) {
            mutation.ballot = ballot;
            self.last_ballot = self.last_ballot.max(ballot);
        }
    }

    /// All uncommitted mutations are prepared again under a higher ballot (C3).
    pub(crate) fn raise_all(&mut self, ballot: Ballot) {
        for mutation in &mut self.list {
            mutation.ballot = ballot;
            self.last_ballot = self.last_ballot.max(ballot);
        }
    }

    /// Everything up to `decree`, which is in the list, is committed. Of it, `keep` bytes of the newest stay at hand.
    pub(crate) fn commit(&mut self, decree: Decree, keep: usize) {
        while self.committed < decree
            && let Some(mutation) = self.list.pop_front()
        {
            self.list_bytes -= weight(&mutation);
            self.committed = mutation.decree;
            if keep > 0 {
                self.recent_bytes += weight(&mutation);
                self.recent.push_back(mutation);
            }
        }
        self.trim_recent(keep);
    }

    /// Keeps no more than `keep` bytes of committed mutations.
    pub(crate) fn trim_recent(&mut self, keep: usize) {
        while self.recent_bytes > keep
            && let Some(mutation) = self.recent.pop_front()
        {
            self.recent_bytes -= weight(&mutation);
        }
    }

    /// Drops the uncommitted mutations above `decree` that `cancels` names, which are the list's end. Says whether there were any.
    pub(crate) fn cut(&mut self, decree: Decree, cancels: impl Fn(&Mutation) -> bool) -> bool {
        let before = self.list.len();
        while let Some(mutation) = self.list.pop_back() {
            if mutation.decree <= decree || !cancels(&mutation) {
                self.list.push_back(mutation);
                break;
            }
            self.list_bytes -= weight(&mutation);
        }
        self.list.len() < before
    }

    /// A learner starts from another base.
    pub(crate) fn restart(&mut self, committed: Decree) {
        *self = Self::recovered(committed, self.last_ballot);
    }
}
