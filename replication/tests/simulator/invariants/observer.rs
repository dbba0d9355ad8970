//! What somebody knows who sees everything: what was committed, and what clients were told. It checks nothing.

use crate::reading::State;
use std::collections::{BTreeMap, VecDeque};
use types::{Ballot, Decree};

/// What an answer says: everything up to a decree, and what has expired by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) decree: Decree,
    pub(crate) expired: u64,
}

#[derive(Default)]
pub(crate) struct Observer {
    /// What was committed, by decree: the mutation's digest, and the state after it.
    pub(crate) truth: BTreeMap<Decree, (u64, State)>,
    /// As which decree each request took effect.
    pub(crate) requests: BTreeMap<u64, Decree>,
    /// Up to where writes were acknowledged.
    pub(crate) acknowledged: Decree,
    /// What clients know, by acknowledgements and by reads.
    pub(crate) told: Seen,
    /// Since when they know it, newest last.
    pub(crate) tellings: VecDeque<(u64, Seen)>,
    /// All machines lost their power at once, in `buffered`: what was not synced at every member may be gone.
    pub(crate) at_risk: bool,
    /// The digest of everything that was ever in a log, by ballot and decree.
    pub(crate) bytes: BTreeMap<(Ballot, Decree), u64>,
}

impl Observer {
    /// All members lost what was not synced: of what was said, that which the best copy does not have does not bind any more.
    pub(crate) fn forgive(&mut self, best: Decree) {
        if !std::mem::take(&mut self.at_risk) {
            return;
        }
        self.truth.split_off(&best.next());
        self.requests.retain(|_, decree| *decree <= best);
        self.acknowledged = self.acknowledged.min(best);
        let time = |(_, state): &(u64, State)| state.time.0;
        let tellings = self.tellings.iter_mut().map(|(_, seen)| seen);
        for told in tellings.chain([&mut self.told]) {
            told.decree = told.decree.min(best);
            let expired = self.truth.get(&told.decree).map_or(0, time);
            told.expired = told.expired.min(expired);
        }
    }
}
