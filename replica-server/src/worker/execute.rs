//! Commands: evaluated when they come, straight into the open mutation; answered when what they saw is committed.

use crate::clock;
use crate::room::Room;
use crate::slow_log::{shown, shown_command};
use crate::worker::Worker;
use crate::worker::bucket::{Again, Waiter};
use crate::worker::held::Held;
use crate::worker::hosted::Hosted;
use crate::worker::reply::{
    Command, Delivery, Named, Outcome, Refused, ReplyTo, refuse, send_on, turn_away,
};
use crate::worker::stale::patience;
use bytes::Bytes;
use commands::requests::{Attempt, RequestId};
use commands::{CommandSpec, Flags, Interrupt, Reply};
use engine::Ticket;
use replication::Refusal;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;
use types::{Decree, Instant};

/// What became of a command that was tried.
pub(super) enum Tried {
    Answer(Outcome),
    /// Evaluated without effects; it may be answered at once. With the time at which that was so.
    Evaluated(Reply, Instant),
    /// The reply waits for this decree.
    Wait(Decree, Reply, Effect),
    /// It cannot run yet; if rows are being fetched for it, under this ticket.
    Hold(Option<Ticket>),
}

/// Whether a command left effects: without any it needs the lease to be answered (R1), and may be asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Some,
    /// And they are remembered under an id of this node's own.
    Named(RequestId),
}

/// Final: whoever asks again gets it again, until an operator changes the table.
const READ_ONLY: &str = "ERR the table is read-only: nothing was written";

fn no_room() -> Refused {
    Refused::Unable("MISCONF the disk of this server is nearly full: it takes no new data until there is room (budgets.disk_reserve)".into())
}

pub(super) fn not_in_time() -> Refused {
    Refused::Busy("the partition was not able to serve it in time".into())
}

impl Worker {
    /// Runs a command on a replica of this node. The answer may come before this returns.
    pub(crate) fn execute(
        &self,
        hosted: &Rc<RefCell<Hosted>>,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        to: ReplyTo,
    ) {
        let now = clock::now();
        let delivery = {
            let mut h = hosted.borrow_mut();
            h.traffic.came(spec);
            h.heat.came(now, spec);
            if let Some(age) = to.age().filter(|_| !spec.is_write()) {
                self.reader_came(&mut h, now, age);
            }
            let delivery = self.start(&mut h, now, spec, args, to);
            self.seal_later(&mut h);
            if !h.held.is_empty() {
                self.schedule(&mut h);
            }
            delivery
        };
        if let Some(delivery) = delivery {
            self.deliver(delivery);
        }
    }

    /// Tries a command; what cannot run yet is held.
    fn start(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        to: ReplyTo,
    ) -> Option<Delivery> {
        let admitted = if h.serves() || h.follows() {
            h.rules.admit(now, spec, args)
        } else {
            Ok(())
        };
        let tried = if let Err(refused) = admitted {
            match (to.named(), refused) {
                // Another attempt of it may be done: if it was, that is no new work.
                (Named::By(id), Refused::Unable(reason)) if id.attempt == Attempt::Again => {
                    let serves = h.serves();
                    let done = serves.then(|| self.done_before(h, now, id)).flatten();
                    done.unwrap_or(Tried::Answer(Outcome::Refused(Refused::Unknown(reason))))
                }
                (_, refused) => Tried::Answer(Outcome::Refused(refused)),
            }
        } else if h.held.blocks(spec, args) || h.is_changing() {
            Tried::Hold(None)
        } else {
            self.attempt(h, now, spec, args, &to)
        };
        match tried {
            Tried::Answer(Outcome::Refused(refused)) if refused.is_elsewhere() => {
                let mut out = Vec::new();
                send_on(to, h.id, Command::of(spec, args), None, refused, &mut out);
                out.pop()
            }
            Tried::Answer(outcome) => {
                self.answered(h.id, (now, clock::now()), &to, || shown(args));
                Some(Delivery::Answer(to, outcome))
            }
            Tried::Evaluated(reply, at) => {
                self.answered(h.id, (now, at), &to, || shown(args));
                Some(Delivery::Answer(to, Outcome::Reply(reply)))
            }
            Tried::Wait(decree, reply, effect) => {
                self.wait(h, decree, (to, reply, now), effect, spec, args);
                None
            }
            Tried::Hold(cold) => {
                let command = Command::of(spec, args);
                let mut out = Vec::new();
                h.hold(
                    Held {
                        command,
                        to,
                        came: now,
                        since: now,
                        cold,
                    },
                    &mut out,
                );
                out.pop()
            }
        }
    }

    /// Lets an evaluated command's reply wait for its decree.
    fn wait(
        &self,
        h: &mut Hosted,
        decree: Decree,
        (to, reply, came): (ReplyTo, Reply, Instant),
        effect: Effect,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) {
        let id = match effect {
            Effect::Named(id) => Some(id),
            Effect::Some | Effect::None => None,
        };
        let again = match effect {
            Effect::None => Again::Evaluate(Command::of(spec, args)),
            Effect::Some if !self.slow_commands.is_on() => Again::BySender(None),
            Effect::Some | Effect::Named(_) => {
                let answer = (to, reply, came);
                return h.waiting.push_kept(decree, answer, id, spec, args);
            }
        };
        let waiter = Waiter {
            to,
            reply,
            again,
            came,
        };
        h.waiting.push(decree, waiter);
    }

    fn attempt(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        to: &ReplyTo,
    ) -> Tried {
        if !h.serves() {
            return match to.age() {
                Some(age) if h.follows() && !spec.is_write() => {
                    self.read_stale(h, now, spec, args, age)
                }
                _ => Tried::Answer(Outcome::Refused(h.refusal())),
            };
        }
        match to.named() {
            _ if !spec.is_write() => self.read(h, now, spec, args),
            Named::By(id) => self.write_named(h, now, spec, args, id),
            Named::Here => self.write_here(h, now, spec, args),
            Named::Nothing => self.write(h, now, spec, args),
        }
    }

    pub(super) fn write(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        // As Redis without memory: what makes room is taken.
        if self.room.get() != Room::Enough && spec.flags.contains(Flags::DENYOOM) {
            return Tried::Answer(Outcome::Refused(no_room()));
        }
        if h.rules.is_read_only() {
            return Tried::Answer(Outcome::Reply(Reply::error(READ_ONLY)));
        }
        if let Err(instead) = self.open_mutation(h, now) {
            return instead;
        }
        match h.storage.write(spec, args, rand::random()) {
            Ok(written) if written.wrote => {
                h.awaited = true;
                Tried::Wait(written.seen, written.reply, Effect::Some)
            }
            Ok(written) if written.depends_on_expiry => {
                Self::await_expiry(h, args, written.reply, Effect::Some)
            }
            Ok(written) if written.seen > h.core.committed() => {
                Tried::Wait(written.seen, written.reply, Effect::None)
            }
            Ok(written) => self.answer_read(h, written.reply),
            Err(Interrupt::Full) if h.storage.open_bytes() == 0 => {
                Tried::Answer(Outcome::Reply(Reply::too_large()))
            }
            // The open mutation has no room for it: it waits for the next one, which a commit opens.
            Err(Interrupt::Full) => Tried::Hold(None),
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(Interrupt::Failed(reason)) => Self::failed(&reason),
        }
    }

    fn read(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        // R7: while a mutation is open reads see its time, for what has expired by then is made certain in it.
        let wall = if h.awaited {
            h.opened_at
        } else {
            self.wall.at(now).max(h.storage.partition_time())
        };
        let read = crate::worker::positioned::read(&mut h.storage, spec, args, wall);
        let tried = match read {
            Ok(read) if read.depends_on_expiry => match self.open_mutation(h, now) {
                // Of a read nothing is left: whoever takes over can be asked instead.
                Ok(()) => Self::await_expiry(h, args, read.reply, Effect::None),
                // Without writes the expiry cannot be made certain.
                Err(instead) => instead,
            },
            Ok(read) if read.seen > h.core.committed() => {
                Tried::Wait(read.seen, read.reply, Effect::None)
            }
            Ok(read) => self.answer_read(h, read.reply),
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(Interrupt::Full) => Tried::Answer(Outcome::Reply(Reply::too_large())),
            Err(Interrupt::Failed(reason)) => Self::failed(&reason),
        };
        // One that is held is evaluated again: it costs once.
        if let Tried::Evaluated(reply, _) | Tried::Wait(_, reply, _) = &tried {
            h.charge_read(reply);
        }
        tried
    }

    /// R1: after evaluating, before replying.
    fn answer_read(&self, h: &Hosted, reply: Reply) -> Tried {
        let leases = self.leases.lock();
        let now = clock::now();
        match h.core.may_serve_read(now, &leases) {
            Ok(()) => Tried::Evaluated(reply, now),
            Err(Refusal::LeaseMissing | Refusal::Reconciling) => Tried::Hold(None),
            Err(_) => Tried::Answer(Outcome::Refused(h.refusal())),
        }
    }

    /// R7: what a reply says to have expired is deleted first, and the reply waits for that.
    fn await_expiry(h: &mut Hosted, args: &[&[u8]], reply: Reply, effect: Effect) -> Tried {
        // Where there is nothing to delete, the mutation's timestamp alone makes the expiry certain.
        let deleted = args
            .get(1)
            .map_or(Ok(false), |key| h.storage.lazy_delete(key));
        match deleted {
            Ok(_) => {
                h.awaited = true;
                Tried::Wait(h.storage.last().next(), reply, effect)
            }
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(_) => Tried::Hold(None),
        }
    }

    /// Makes sure that a mutation is open for a write to go into, or says what becomes of the command instead.
    fn open_mutation(&self, h: &mut Hosted, now: Instant) -> Result<(), Tried> {
        if h.awaited {
            return Ok(());
        }
        match h.core.accepts_write() {
            // Writes come faster than the disk takes them: they wait for it, so that their senders slow down.
            Ok(_) | Err(Refusal::WindowFull) if self.engine.overloaded() => Err(Tried::Hold(None)),
            Ok(_) | Err(Refusal::WindowFull) => {
                // One that nothing waits for is begun again, so that it has the time of now.
                let decree = h.storage.last().next();
                h.opened_at = self.wall.at(now).max(h.storage.partition_time());
                h.storage.begin(h.core.ballot(), decree, h.opened_at);
                h.commit_times.opened(now);
                Ok(())
            }
            Err(Refusal::TooFewMembers { members, needed }) => {
                let text = format!(
                    "NOREPLICAS {members} of the {needed} members that writes need are there; nothing was written"
                );
                Err(Tried::Answer(Outcome::Refused(Refused::Unable(text))))
            }
            Err(_) => Err(Tried::Answer(Outcome::Refused(h.refusal()))),
        }
    }

    pub(super) fn fetch(h: &mut Hosted) -> Tried {
        let ticket = h.storage.fetch();
        h.fetching.extend(ticket);
        Tried::Hold(ticket)
    }

    /// The command is the victim; whether the storage as a whole is broken, the engine says by an event.
    pub(super) fn failed(reason: &str) -> Tried {
        let text = format!("ERR the storage failed: {reason}").replace(['\r', '\n'], " ");
        Tried::Answer(Outcome::Reply(Reply::error(Bytes::from(text))))
    }

    /// Closes the open mutation and hands it to the protocol, if the window has room for it.
    pub(crate) fn seal(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        if let Some(event) = h.closed_mutation() {
            self.drive(h, event, out);
        }
    }

    /// Everything up to `committed` is committed: what waited for it is answered.
    pub(crate) fn release(&self, h: &mut Hosted, now: Instant, out: &mut Vec<Delivery>) {
        self.release_unleased(h, out);
        let committed = h.core.committed();
        let mut leased = None;
        while let Some(mut bucket) = h.waiting.pop(committed) {
            let mut waiters = std::mem::take(&mut bucket.waiters);
            for waiter in waiters.drain(..) {
                let waits = match waiter.again {
                    Again::BySender(_) | Again::ById(..) => h.unleased.holds_up(&waiter.to),
                    // R1: the clock is read after the evaluation.
                    Again::Evaluate(_) | Again::Never => {
                        !h.unleased.is_empty() || !*leased.get_or_insert_with(|| self.may_read(h))
                    }
                };
                if waits {
                    h.unleased.push(clock::now(), &bucket, waiter);
                } else {
                    self.answered(h.id, (waiter.came, now), &waiter.to, || {
                        bucket.shown(&waiter)
                    });
                    out.push(Delivery::Answer(waiter.to, Outcome::Reply(waiter.reply)));
                }
            }
            bucket.waiters = waiters;
            h.waiting.recycle(bucket);
        }
    }

    fn may_read(&self, h: &Hosted) -> bool {
        let leases = self.leases.lock();
        h.core.may_serve_read(clock::now(), &leases).is_ok()
    }

    /// Answers what waits for leases only, if they are there (R1). Else reads wait as they are: evaluated again, they would see writes that
    /// came after them.
    fn release_unleased(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        if h.unleased.is_empty() {
            return;
        }
        let now = clock::now();
        let may = h.core.may_serve_read(now, &self.leases.lock());
        match may {
            Ok(()) => {
                let mut queue = h.unleased.take();
                for waiter in std::mem::take(&mut queue.waiters) {
                    self.answered(h.id, (waiter.came, now), &waiter.to, || {
                        queue.shown(&waiter)
                    });
                    out.push(Delivery::Answer(waiter.to, Outcome::Reply(waiter.reply)));
                }
            }
            Err(Refusal::LeaseMissing | Refusal::Reconciling)
                if now.since(h.unleased.since()) < crate::worker::held::PATIENCE => {}
            Err(Refusal::LeaseMissing | Refusal::Reconciling) => {
                let queue = h.unleased.take();
                h.give_up(queue, &not_in_time(), out);
            }
            Err(_) => {
                let queue = h.unleased.take();
                h.give_up(queue, &h.refusal(), out);
            }
        }
    }

    /// Something changed: tries the held commands again, in order.
    pub(crate) fn retry_held(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        self.release_unleased(h, out);
        if h.held.is_empty() {
            return;
        }
        let now = clock::now();
        for Held {
            command,
            to,
            came,
            since,
            cold,
        } in h.held.take()
        {
            if to.refused_before() {
                let text = "an earlier request for the partition was refused; ask for both again, in order";
                refuse(to, Refused::Busy(text.into()), out);
                continue;
            }
            if now.since(since) >= patience(to.age()) {
                let refused = self.impatience(to.age());
                self.answered(h.id, (came, now), &to, || shown_command(&command));
                turn_away(to, h.id, command, refused, out);
                continue;
            }
            // What is still being fetched is not asked for again: each evaluation of a cold range counts as one try.
            let fetching = cold.is_some_and(|ticket| h.fetching.contains(&ticket));
            let args: SmallVec<[&[u8]; 8]> = command.args.iter().map(|arg| &arg[..]).collect();
            let tried = if fetching || h.is_changing() || h.held.blocks(command.spec, &args) {
                Tried::Hold(cold)
            } else {
                self.attempt(h, now, command.spec, &args, &to)
            };
            drop(args);
            match tried {
                Tried::Answer(Outcome::Refused(refused)) => {
                    turn_away(to, h.id, command, refused, out);
                }
                Tried::Answer(outcome) => {
                    self.answered(h.id, (came, clock::now()), &to, || shown_command(&command));
                    out.push(Delivery::Answer(to, outcome));
                }
                Tried::Evaluated(reply, at) => {
                    self.answered(h.id, (came, at), &to, || shown_command(&command));
                    out.push(Delivery::Answer(to, Outcome::Reply(reply)));
                }
                Tried::Wait(decree, reply, effect) => {
                    let args: SmallVec<[&[u8]; 8]> =
                        command.args.iter().map(|arg| &arg[..]).collect();
                    self.wait(h, decree, (to, reply, came), effect, command.spec, &args);
                }
                Tried::Hold(cold) => h.hold(
                    Held {
                        command,
                        to,
                        came,
                        since,
                        cold,
                    },
                    out,
                ),
            }
        }
    }
}
