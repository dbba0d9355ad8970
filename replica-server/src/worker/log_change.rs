//! A table's durability has changed: its replicas here go over to the log of the new one, each when it can.
//!
//! What a log must not keep is flushed first, so that little is left to carry over; then the worker stands still while that is done and
//! synced, some milliseconds. What a start finds in both logs is `catalogue`'s (`Finder`).

use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use commit_log::ChangeError;

/// How far a replica is on its way to the other log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogChange {
    /// It is where its table wants it, or cannot go yet.
    Rests,
    /// Its storage is being flushed.
    Flushes,
    /// Its records are not whole where they are: the next start finds that, and has it learn anew.
    Stuck,
}

impl Hosted {
    /// Whether its table wants another durability than its log is of.
    pub(crate) fn wants_another_log(&self) -> bool {
        self.rules.durability() != self.core.durability()
    }
}

impl Worker {
    /// Begins to take the replica over, if that is wanted and it is a copy to go on with.
    pub(super) fn begin_log_change(&self, h: &mut Hosted) {
        let can = h.core.may_change_durability() && h.broken.is_none() && h.received.is_none();
        if h.log_change != LogChange::Rests || !h.wants_another_log() || !can {
            return;
        }
        if h.storage.durable() >= h.storage.committed() {
            return self.change_log(h);
        }
        h.log_change = LogChange::Flushes;
        h.storage.flush();
    }

    /// What was committed when it began is flushed: now it goes.
    pub(super) fn end_log_change(&self, h: &mut Hosted) {
        if h.log_change == LogChange::Flushes {
            h.log_change = LogChange::Rests;
            let can = h.core.may_change_durability() && h.broken.is_none() && h.received.is_none();
            if h.wants_another_log() && can {
                self.change_log(h);
            }
        }
    }

    fn change_log(&self, h: &mut Hosted) {
        let (from, to) = (h.core.durability(), h.rules.durability());
        let log = self.logs.of(to).clone();
        match commit_log::change_log(&h.log, &log, h.id, h.core.records_for(to)) {
            Ok(()) => {
                h.log = log;
                h.core.change_durability(to);
                tracing::info!(partition = %h.id, %from, %to, "the replica has gone over to the log of the other durability");
            }
            Err(ChangeError::Failed(error)) => self.fail(&error.to_string()),
            Err(error @ ChangeError::NotWhole { .. }) => {
                h.log_change = LogChange::Stuck;
                tracing::error!(partition = %h.id, %from, %to, %error, "the replica stays in the log of its old durability: start the server again, and it learns anew");
            }
        }
    }
}
