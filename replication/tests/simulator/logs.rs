//! The logs of both durabilities, of which a partition is in one: it goes over to the other when its table's durability changes.

use crate::chance::Chance;
use crate::log::{CommitLog, Found};
use crate::node::Power;
use crate::swarm::{Swarm, Table};
use commit_log::ChangeError;
use replication::Recovered;
use std::ops::{Deref, DerefMut};
use types::{ByteSize, Decree, Durability, PartitionId, RecordBody};

/// What came of going over.
pub(crate) enum Change {
    Done,
    /// A disk failed in the middle: only a start tells where it is.
    Cut,
    /// Nothing was changed: its records are not whole.
    Refused(String),
}

pub(crate) struct Logs {
    /// The one that the partition is in.
    now: CommitLog,
    /// Made when it is first gone over to.
    other: Option<CommitLog>,
    table: Table,
    carry: ByteSize,
}

impl Deref for Logs {
    type Target = CommitLog;

    fn deref(&self) -> &CommitLog {
        &self.now
    }
}

impl DerefMut for Logs {
    fn deref_mut(&mut self) -> &mut CommitLog {
        &mut self.now
    }
}

impl Logs {
    pub(crate) fn new(table: Table, swarm: &Swarm) -> Self {
        Self {
            now: CommitLog::new(table, swarm.carry),
            other: None,
            table,
            carry: swarm.carry,
        }
    }

    pub(crate) fn durability(&self) -> Durability {
        self.table.durability
    }

    pub(crate) fn has_other(&self) -> bool {
        self.other.is_some()
    }

    fn swap(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.now, other);
            self.table = self.table.of_other_durability();
        }
    }

    /// The partition goes over, with `anew` (`Replica::records_for`); a disk may fail in the middle.
    pub(crate) fn change(
        &mut self,
        partition: PartitionId,
        anew: Vec<RecordBody>,
        fails: bool,
        chance: &mut Chance,
    ) -> Change {
        let (table, carry) = (self.table.of_other_durability(), self.carry);
        let other = self
            .other
            .get_or_insert_with(|| CommitLog::new(table, carry));
        if fails {
            let log = if chance.percent(50) {
                &self.now
            } else {
                &*other
            };
            log.fail_soon(chance);
        }
        let changed = self.now.change_to(other, partition, anew);
        if let Err(ChangeError::Failed(_)) = changed {
            return Change::Cut;
        }
        self.now.mend();
        other.mend();
        match changed {
            Ok(()) => self.swap(),
            Err(error) => return Change::Refused(error.to_string()),
        }
        Change::Done
    }

    /// The process starts: what is left in the log that is right, and whether that is the other one than was known. As the server does it.
    pub(crate) fn open(
        &mut self,
        partition: PartitionId,
        durable: &dyn Fn(PartitionId) -> Decree,
    ) -> (Found, bool) {
        let found = self.now.open(durable);
        let Some(other) = &mut self.other else {
            return (found, false);
        };
        let beside = other.open(durable);
        let trust = |found: &Found| {
            let mut recovered = Recovered::new();
            for body in found.of(partition) {
                recovered.record(body);
            }
            if found.is_damaged(partition) {
                recovered.quarantine();
            }
            recovered.trust()
        };
        let (here, there) = (trust(&found), trust(&beside));
        // Where both are whole they say the same: that counts which needs no boot to be so.
        let buffered = self.table.durability == Durability::Buffered;
        let went = there > here || (here, there) == (2, 2) && buffered;
        if went {
            self.swap();
        }
        let (right, wrong) = if went {
            (beside, found)
        } else {
            (found, beside)
        };
        let gone = wrong.of(partition).is_empty();
        if let (false, Some(other)) = (gone, &self.other) {
            other.delete(partition);
        }
        (right, went)
    }

    /// The process ends.
    pub(crate) fn end(&mut self, power: Power, chance: &mut Chance) {
        self.now.end(power, chance);
        if let Some(other) = &mut self.other {
            other.end(power, chance);
        }
    }

    /// Segments released and bytes copied forward, in both.
    pub(crate) fn tidied(&self) -> (u64, u64) {
        let (released, carried) = self.now.tidied();
        let (more, also) = self
            .other
            .as_ref()
            .map(CommitLog::tidied)
            .unwrap_or_default();
        (released + more, carried + also)
    }
}
