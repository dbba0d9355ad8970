//! Request ids on the primary: what was done before is answered again, what is done is remembered in the same mutation.
//!
//! The windows are `commands::requests`'; here is when they are restored, asked and written. They are this replica's only while it is
//! primary: whoever takes over restores them from the rows, and so does this one should it be primary again.

use crate::worker::Worker;
use crate::worker::execute::{Effect, Tried};
use crate::worker::hosted::Hosted;
use crate::worker::reply::{Outcome, Refused};
use commands::requests::{Attempt, RequestId, Verdict, Windows};
use commands::{CommandSpec, Interrupt, Reply};
use std::collections::VecDeque;
use types::{Configuration, Decree, Instant, Timestamp};

/// What a primary knows of requests while it serves.
pub(crate) struct Requests {
    windows: Windows,
    own: Own,
}

/// The names of writes that came in at this node's own port. Nobody but this node sends them again, and only when it was deposed with them in
/// flight: by then the mutation that has their effects must have their names too.
struct Own {
    /// Drawn anew whenever the node begins to serve, so that what is still being asked of others is never given up by what is done here.
    client: u64,
    next: u64,
    /// The first sequence of each mutation in flight.
    in_flight: VecDeque<(Decree, u64)>,
}

impl Own {
    fn new() -> Self {
        Self {
            client: rand::random(),
            next: 1,
            in_flight: VecDeque::new(),
        }
    }

    fn name(&mut self, decree: Decree, committed: Decree, sent: Timestamp) -> RequestId {
        while self
            .in_flight
            .front()
            .is_some_and(|&(of, _)| of <= committed)
        {
            self.in_flight.pop_front();
        }
        let sequence = self.next;
        self.next += 1;
        if self.in_flight.back().is_none_or(|&(of, _)| of < decree) {
            self.in_flight.push_back((decree, sequence));
        }
        RequestId {
            client: self.client,
            sequence,
            first_incomplete: self.in_flight.front().map_or(sequence, |&(_, first)| first),
            sent,
            attempt: Attempt::First,
        }
    }
}

impl Requests {
    /// Of a primary that stays one: what is in flight it commits under its next ballot, the open mutation never was.
    pub(super) fn under_next_ballot(mut self) -> Self {
        self.windows.forget_open();
        self.own = Own::new();
        self
    }
}

impl Worker {
    /// A write of this node's own port.
    pub(super) fn write_here(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        let others = |known: &Configuration| !known.secondaries.is_empty();
        if !h.core.configuration().is_some_and(others) {
            // Nobody else could be asked.
            return self.write(h, now, spec, args);
        }
        if let Err(instead) = self.restore_requests(h, now) {
            return instead;
        }
        match self.write(h, now, spec, args) {
            Tried::Wait(decree, reply, Effect::Some) => {
                let (committed, time) = (h.core.committed(), h.opened_at);
                let Some(requests) = &mut h.requests else {
                    return Tried::Wait(decree, reply, Effect::Some);
                };
                let id = requests.own.name(decree, committed, time);
                requests.windows.record(&id, decree, &reply);
                Tried::Wait(decree, reply, Effect::Named(id))
            }
            tried => tried,
        }
    }

    /// A write with a request id: evaluated, unless it was done before.
    pub(super) fn write_named(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        id: &RequestId,
    ) -> Tried {
        match self.done_before(h, now, id) {
            Some(instead) => instead,
            None => self.write_and_remember(h, now, spec, args, id),
        }
    }

    /// What becomes of a request that is not to be evaluated; nothing for a new one.
    pub(super) fn done_before(
        &self,
        h: &mut Hosted,
        now: Instant,
        id: &RequestId,
    ) -> Option<Tried> {
        if let Err(instead) = self.restore_requests(h, now) {
            return Some(instead);
        }
        let time = self.partition_now(h, now);
        let Some(requests) = &mut h.requests else {
            return Some(Tried::Hold(None));
        };
        Some(match requests.windows.judge(id, time) {
            Verdict::New => return None,
            // It needs no lease: what it says is past, and stays true.
            Verdict::Done {
                decree,
                reply: Some(reply),
            } if decree <= h.core.committed() => Tried::Answer(Outcome::Reply(reply)),
            Verdict::Done {
                decree,
                reply: Some(reply),
            } => Tried::Wait(decree, reply, Effect::Some),
            Verdict::Done { reply: None, .. } => {
                let text = "the write was done, but its reply was too long to be kept";
                Tried::Answer(Outcome::Refused(Refused::TooLate(text)))
            }
            Verdict::TooLate => {
                let text = "the request is too old to be done, or its sender had given it up";
                Tried::Answer(Outcome::Refused(Refused::TooLate(text)))
            }
            Verdict::NoRoom => {
                let text = "more requests are to be remembered than there is room for";
                Tried::Answer(Outcome::Refused(Refused::Busy(text.into())))
            }
        })
    }

    fn write_and_remember(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        id: &RequestId,
    ) -> Tried {
        let tried = self.write(h, now, spec, args);
        let decree = h.storage.last().next();
        match (tried, id.attempt) {
            (Tried::Wait(at, reply, Effect::Some), _) => {
                h.remember(id, &reply);
                Tried::Wait(at, reply, Effect::Some)
            }
            // Remembered although it changed nothing: the other attempt must not, later.
            (Tried::Wait(_, reply, Effect::None) | Tried::Evaluated(reply, _), Attempt::Again) => {
                h.remember(id, &reply);
                h.awaited = true;
                Tried::Wait(decree, reply, Effect::Some)
            }
            // This attempt was not evaluated; the other one may be.
            (Tried::Answer(outcome), Attempt::Again) => Self::unsure(outcome),
            (tried, _) => tried,
        }
    }

    /// What a refusal means for a write of which another attempt may have had an effect.
    fn unsure(outcome: Outcome) -> Tried {
        let reason = match outcome {
            Outcome::Reply(Reply::Error(text)) => String::from_utf8_lossy(&text).into_owned(),
            Outcome::Refused(Refused::Unable(reason)) => reason,
            other => return Tried::Answer(other),
        };
        let reason = format!("the write was sent before, and now this: {reason}");
        Tried::Answer(Outcome::Refused(Refused::Unknown(reason)))
    }

    /// Before anything is written the windows are as the rows have them.
    pub(super) fn restore_requests(&self, h: &mut Hosted, now: Instant) -> Result<(), Tried> {
        if h.requests.is_some() {
            return Ok(());
        }
        // Each evaluation of a cold range counts as one try to make it warm.
        if let Some(ticket) = h.restoring.filter(|ticket| h.fetching.contains(ticket)) {
            return Err(Tried::Hold(Some(ticket)));
        }
        let time = self.partition_now(h, now);
        let restored = h.storage.view(time, 0, |view, moment| {
            Windows::restore(view, moment.now, &self.request_memory)
        });
        match restored {
            // What is restored is taken for committed.
            Ok((_, seen)) if seen > h.core.committed() => Err(Tried::Hold(None)),
            Ok((windows, _)) => {
                let own = Own::new();
                h.requests = Some(Requests { windows, own });
                Ok(())
            }
            Err(Interrupt::Cold) => {
                h.restoring = h.storage.fetch();
                h.fetching.extend(h.restoring);
                Err(Tried::Hold(h.restoring))
            }
            Err(interrupt) => Err(Self::failed(&interrupt.to_string())),
        }
    }

    /// When memory for request ids is short: what quiet clients left at partitions to which nobody writes may be forgotten.
    pub(crate) fn relieve_requests(&self, now: Instant) {
        if !self.request_memory.is_short() {
            return;
        }
        for hosted in self.hosted_all() {
            let mut h = hosted.borrow_mut();
            let time = self.partition_now(&h, now);
            if let Some(requests) = &mut h.requests {
                requests.windows.relieve(time);
            }
        }
    }

    fn partition_now(&self, h: &Hosted, now: Instant) -> Timestamp {
        self.wall.at(now).max(h.storage.partition_time())
    }
}

impl Hosted {
    /// It was evaluated into the open mutation.
    fn remember(&mut self, id: &RequestId, reply: &commands::Reply) {
        let decree = self.storage.last().next();
        if let Some(requests) = &mut self.requests {
            requests.windows.record(id, decree, reply);
        }
    }

    /// Writes what is to be remembered into the open mutation, which is about to be closed. Whether that is done.
    pub(super) fn write_requests(&mut self) -> bool {
        let Some(Requests { windows, .. }) = &mut self.requests else {
            return true;
        };
        if !windows.is_open() {
            return true;
        }
        let time = self.opened_at;
        let written = self.storage.write_own(|rows| windows.close(time, rows));
        if let Err(interrupt) = written {
            // The storage has failed: an event on its way here says so, and ends all waiting.
            tracing::error!(partition = %self.id, %interrupt, "request ids were not written");
            return false;
        }
        true
    }
}
