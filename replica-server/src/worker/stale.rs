//! Reads that allow for an age, at a secondary: answered from what is committed here while that is fresh enough, else the primary's.
//!
//! Whether it is, the core says (`replication`, freshness.rs); here is what makes it ask, and what waits for the answer. A partition at
//! which nobody reads costs nothing: its primary is not asked, and its rows are not indexed.

use crate::clock;
use crate::worker::Worker;
use crate::worker::execute::Tried;
use crate::worker::hosted::Hosted;
use crate::worker::positioned;
use crate::worker::reply::{Age, Delivery, Outcome, Refused};
use commands::{CommandSpec, Interrupt, Reply};
use replication::{Event, Refusal, RoleKind};
use std::cell::Cell;
use std::time::Duration;
use types::Instant;

/// How long a read waits for the primary's answer, at most; then it is the primary's. A round trip takes a small part of it.
const PATIENCE: Duration = Duration::from_millis(100);
/// A copy at which nobody has read for so long is no longer kept ready for it.
const UNREAD: Duration = Duration::from_mins(1);

/// What became of such reads, since the node's start.
#[derive(Default)]
pub(crate) struct StaleReads {
    /// Answered from a secondary's copy.
    pub(crate) answered: Cell<u64>,
    /// Left to the primary.
    pub(crate) passed_on: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// How long a command may be held that allows for that age.
pub(super) fn patience(age: Age) -> Duration {
    age.map_or(super::held::PATIENCE, |age| age.min(PATIENCE))
}

impl Hosted {
    /// Whether reads that allow for an age may be evaluated here, though writes may not.
    pub(crate) fn follows(&self) -> bool {
        self.role == RoleKind::Secondary && self.broken.is_none()
    }
}

impl Worker {
    /// Such a read came: the primary is asked how fresh this copy is, if that is not known well enough.
    pub(super) fn reader_came(&self, h: &mut Hosted, now: Instant, age: Duration) {
        if h.follows() {
            h.stale_read = Some((now, age));
            // Asking commits nothing and changes no role: it answers nobody.
            self.ask(h, now, age, &mut Vec::new());
        }
    }

    /// Reads still wait: the question or its answer may be lost.
    pub(super) fn ask_again(&self, h: &mut Hosted, now: Instant, out: &mut Vec<Delivery>) {
        if let Some((_, age)) = h.stale_read.filter(|_| !h.held.is_empty()) {
            self.ask(h, now, age, out);
        }
    }

    fn ask(&self, h: &mut Hosted, now: Instant, bound: Duration, out: &mut Vec<Delivery>) {
        if h.core.wants_freshness(now, bound) {
            self.drive(h, Event::FreshnessWanted { bound }, out);
        }
    }

    pub(super) fn read_stale(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        age: Duration,
    ) -> Tried {
        let may = h.core.may_serve_stale(now, age, &self.leases.lock());
        let time = match may {
            Ok(time) => time,
            Err(Refusal::NotFresh) => return Tried::Hold(None),
            Err(_) => return Tried::Answer(Outcome::Refused(h.refusal())),
        };
        if h.storage.committed() < h.core.committed() {
            // In the middle of the core's actions: the storage follows at once.
            return Tried::Hold(None);
        }
        h.storage.read_committed();
        match positioned::read(&mut h.storage, spec, args, time) {
            // R7: that something has expired is the primary's to say, for it can make it certain.
            Ok(read) if read.depends_on_expiry => {
                count(&self.stale_reads.passed_on);
                Tried::Answer(Outcome::Refused(h.refusal()))
            }
            Ok(read) if read.seen > h.storage.committed() => Tried::Hold(None),
            Ok(read) => {
                count(&self.stale_reads.answered);
                h.charge_read(&read.reply);
                Tried::Evaluated(read.reply, clock::now())
            }
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(Interrupt::Full) => Tried::Answer(Outcome::Reply(Reply::too_large())),
            Err(Interrupt::Failed(reason)) => Self::failed(&reason),
        }
    }

    /// What waited too long here.
    pub(super) fn impatience(&self, age: Age) -> Refused {
        match age {
            Some(_) => {
                count(&self.stale_reads.passed_on);
                Refused::NotFresh
            }
            None => super::execute::not_in_time(),
        }
    }

    /// Something is committed here: if nobody reads any more, its rows need not be found.
    pub(super) fn forget_readers(h: &mut Hosted, now: Instant) {
        let unread = |(at, _): &(Instant, Duration)| now.since(*at) >= UNREAD;
        if h.follows() && h.stale_read.as_ref().is_some_and(unread) {
            h.stale_read = None;
            h.storage.demote();
        }
    }
}
