//! The table's durability changes, and this copy's records go over to the log of the other one.
//!
//! Moving them is the shell's, in one go: between [`Replica::records_for`] and [`Replica::change_durability`] nothing happens here. The
//! members of a partition go over one by one; each keeps its own promise, and is asked no other.

use crate::Replica;
use crate::Standing;
use crate::learning::ALL_SYNCED;
use crate::planted::{Bug, planted};
use types::{Durability, RecordBody};

impl Replica {
    /// How safely this copy's writes are on disk before they count.
    pub fn durability(&self) -> Durability {
        self.identity.durability
    }

    /// Whether this copy may go over: it is whole, and its node goes on. (One that is learning, or will have to, starts anew in any case.)
    pub fn may_change_durability(&self) -> bool {
        matches!(self.standing, Standing::Whole(_)) && !self.has_stopped()
    }

    /// What the new log must say besides what the old one did, before anything unsynced counts in it (C6).
    pub fn records_for(&self, durability: Durability) -> Vec<RecordBody> {
        if durability == Durability::Sync {
            return Vec::new();
        }
        let boot = RecordBody::Boot(self.identity.boot);
        let boot = Some(boot).filter(|_| !planted(Bug::ChangesUnmarked));
        let proposed = self
            .proposed
            .filter(|&proposed| proposed >= self.ballot())
            .map(RecordBody::Proposed);
        boot.into_iter().chain(proposed).collect()
    }

    /// All records are in the log of that durability, those of [`Self::records_for`] too, and synced.
    pub fn change_durability(&mut self, durability: Durability) {
        self.identity.durability = durability;
        self.boot_marked = match durability {
            Durability::Sync => ALL_SYNCED,
            Durability::Buffered => self.identity.boot,
        };
    }
}
