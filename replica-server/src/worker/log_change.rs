//! A table's durability has changed: its replicas here go over to the log of the new one, one after the other, each when it can.
//!
//! What a log must not keep is flushed first, so that little is left to carry over; then the worker stands still while that is done and
//! synced, some milliseconds, and has as much time for itself before the next one. What a start finds in both logs is `found`'s.

use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use commit_log::ChangeError;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use types::Decree;

/// So many mutations at most are carried over, unless flushing does not get there.
const FEW: u64 = 200;
/// How often a partition that is written to is flushed for that.
const FLUSHES: u8 = 3;

/// How far a replica is on its way to the other log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogChange {
    /// It is where its table wants it, or cannot go yet.
    Rests,
    /// Its turn will come; it was flushed so often.
    Waits(u8),
    /// Its storage is being flushed up to there, for which time.
    Flushes(Decree, u8),
    /// Its records are not whole where they are. If it learns anew it can.
    Stuck,
}

/// Replicas whose turn it will be.
#[derive(Default)]
pub(crate) struct LogChanges {
    places: RefCell<VecDeque<u32>>,
    came: Notify,
}

impl Hosted {
    /// Whether its table wants another durability than its log is of.
    pub(crate) fn wants_another_log(&self) -> bool {
        self.rules.durability() != self.core.durability() && !self.core.is_blank()
    }

    /// Whether it is a copy to go on with, that nobody is reading.
    fn may_change_log(&self) -> bool {
        let teaches = self.teaching.values().any(|one| one.transfer.is_some());
        let learns = self.received.is_some();
        self.core.may_change_durability() && self.broken.is_none() && !learns && !teaches
    }

    /// Mutations that its storage does not have on disk.
    fn unflushed(&self) -> u64 {
        let last = self.storage.last();
        last.0.saturating_sub(self.storage.durable().0)
    }

    /// After a start it is not known what is committed, and only that can be flushed.
    fn can_get_less(&self) -> bool {
        self.unflushed() <= FEW || self.storage.committed() > self.storage.durable()
    }
}

impl Worker {
    /// Has the replica's turn come, if it is wanted elsewhere and can go. Belongs behind every step.
    pub(super) fn begin_log_change(&self, h: &mut Hosted) {
        let begins = h.log_change == LogChange::Rests && h.wants_another_log();
        if begins && h.may_change_log() && h.can_get_less() {
            self.queue_log_change(h, 0);
        }
    }

    fn queue_log_change(&self, h: &mut Hosted, flushed: u8) {
        h.log_change = LogChange::Waits(flushed);
        self.log_changes.places.borrow_mut().push_back(h.place);
        self.log_changes.came.notify_one();
    }

    /// Its storage has been flushed up to its durable decree.
    pub(super) fn log_change_flushed(&self, h: &mut Hosted) {
        if let LogChange::Flushes(wanted, flushed) = h.log_change
            && h.storage.durable() >= wanted
        {
            self.queue_log_change(h, flushed);
        }
    }

    /// Gives replicas their turns, for ever.
    pub(crate) async fn change_logs(self: Rc<Self>) {
        loop {
            let next = self.log_changes.places.borrow_mut().pop_front();
            let Some(place) = next else {
                self.log_changes.came.notified().await;
                continue;
            };
            let begun = Instant::now();
            if let Some(hosted) = self.at(place) {
                self.take_turn(&mut hosted.borrow_mut());
            }
            tokio::time::sleep(begun.elapsed().max(Duration::from_millis(1))).await;
        }
    }

    fn take_turn(&self, h: &mut Hosted) {
        let LogChange::Waits(flushed) = h.log_change else {
            return;
        };
        h.log_change = LogChange::Rests;
        if !h.wants_another_log() || !h.may_change_log() || !h.can_get_less() {
            return;
        }
        let behind = h.storage.committed() > h.storage.durable();
        if behind && (flushed == 0 || h.unflushed() > FEW && flushed < FLUSHES) {
            h.log_change = LogChange::Flushes(h.storage.committed(), flushed + 1);
            h.storage.flush();
        } else {
            self.change_log(h);
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
            // Only a start tells where it is: until then nothing more is appended, or acknowledged.
            Err(ChangeError::Failed(error)) => self.fail_log(&error),
            Err(error @ ChangeError::NotWhole { .. }) => {
                h.log_change = LogChange::Stuck;
                tracing::error!(partition = %h.id, %from, %to, %error, "the replica stays in the log of its old durability");
            }
        }
    }
}
