//! Commands: evaluated when they come, straight into the open mutation; answered when what they saw is committed.

use crate::clock;
use crate::worker::Worker;
use crate::worker::held::Held;
use crate::worker::hosted::Hosted;
use crate::worker::reply::{Command, Delivery, Outcome, Refused, ReplyTo};
use crate::worker::waiting::Waiter;
use bytes::Bytes;
use commands::{CommandSpec, Interrupt, Reply};
use replication::{Refusal, RoleKind};
use std::cell::RefCell;
use std::rc::Rc;
use types::{Decree, Instant};

/// What became of a command that was tried.
enum Tried {
    Answer(Outcome),
    /// The reply waits for this decree.
    Wait(Decree, Reply, Effect),
    Hold,
}

/// Whether a command left effects: without any it needs the lease to be answered (R1), and may be asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    Some,
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
            let delivery = self.start(&mut h, now, spec, args, to);
            self.seal_later(&mut h);
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
        let tried = if h.held.blocks(spec, args) || h.role == RoleKind::Reconciling {
            Tried::Hold
        } else {
            self.attempt(h, now, spec, args)
        };
        match tried {
            Tried::Answer(outcome) => Some((to, outcome)),
            Tried::Wait(decree, reply, effect) => {
                let read = (effect == Effect::None).then(|| Command::of(spec, args));
                h.waiting.push(decree, Waiter { to, reply, read });
                None
            }
            Tried::Hold => self.hold(
                h,
                Held {
                    command: Command::of(spec, args),
                    to,
                    since: now,
                },
            ),
        }
    }

    fn hold(&self, h: &mut Hosted, held: Held) -> Option<Delivery> {
        match h.held.push(held) {
            Ok(()) => {
                self.schedule(h);
                None
            }
            Err((to, refused)) => Some((to, Outcome::Refused(refused))),
        }
    }

    fn attempt(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        if !h.serves() {
            return Tried::Answer(Outcome::Refused(h.refusal()));
        }
        if spec.is_write() {
            self.write(h, now, spec, args)
        } else {
            self.read(h, now, spec, args)
        }
    }

    fn write(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        if let Err(instead) = self.open_mutation(h, now) {
            return instead;
        }
        match h.storage.write(spec, args, rand::random()) {
            Ok(written) if written.wrote => {
                h.awaited = true;
                Tried::Wait(written.seen, written.reply, Effect::Some)
            }
            Ok(written) if written.depends_on_expiry => Self::await_expiry(h, args, written.reply),
            Ok(written) if written.seen > h.core.committed() => {
                Tried::Wait(written.seen, written.reply, Effect::None)
            }
            Ok(written) => self.answer_read(h, written.reply),
            Err(Interrupt::Full) if h.storage.open_bytes() == 0 => {
                Tried::Answer(Outcome::Reply(Reply::too_large()))
            }
            // The open mutation has no room for it: it waits for the next one, which a commit opens.
            Err(Interrupt::Full) => Tried::Hold,
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(Interrupt::Failed(reason)) => Self::failed(h, reason),
        }
    }

    fn read(
        &self,
        h: &mut Hosted,
        now: Instant,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Tried {
        let wall = self.wall.at(now).max(h.storage.partition_time());
        match crate::worker::positioned::read(&mut h.storage, spec, args, wall) {
            Ok(read) if read.depends_on_expiry => match self.open_mutation(h, now) {
                Ok(()) => Self::await_expiry(h, args, read.reply),
                // Without writes the expiry cannot be made certain.
                Err(instead) => instead,
            },
            Ok(read) if read.seen > h.core.committed() => {
                Tried::Wait(read.seen, read.reply, Effect::None)
            }
            Ok(read) => self.answer_read(h, read.reply),
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(Interrupt::Full) => Tried::Answer(Outcome::Reply(Reply::too_large())),
            Err(Interrupt::Failed(reason)) => Self::failed(h, reason),
        }
    }

    /// R1: after evaluating, before replying.
    fn answer_read(&self, h: &Hosted, reply: Reply) -> Tried {
        let leases = self.leases.lock();
        match h.core.may_serve_read(clock::now(), &leases) {
            Ok(()) => Tried::Answer(Outcome::Reply(reply)),
            Err(Refusal::LeaseMissing | Refusal::Reconciling) => Tried::Hold,
            Err(_) => Tried::Answer(Outcome::Refused(h.refusal())),
        }
    }

    /// R7: what a reply says to have expired is deleted first, and the reply waits for that.
    fn await_expiry(h: &mut Hosted, args: &[&[u8]], reply: Reply) -> Tried {
        // Where there is nothing to delete, the mutation's timestamp alone makes the expiry certain.
        let deleted = args
            .get(1)
            .map_or(Ok(false), |key| h.storage.lazy_delete(key));
        match deleted {
            Ok(_) => {
                h.awaited = true;
                Tried::Wait(h.storage.last().next(), reply, Effect::Some)
            }
            Err(Interrupt::Cold) => Self::fetch(h),
            Err(_) => Tried::Hold,
        }
    }

    /// Makes sure that a mutation is open for a write to go into, or says what becomes of the command instead.
    fn open_mutation(&self, h: &mut Hosted, now: Instant) -> Result<(), Tried> {
        if h.awaited {
            return Ok(());
        }
        match h.core.accepts_write() {
            // Writes come faster than the disk takes them: they wait for it, so that their senders slow down.
            Ok(_) | Err(Refusal::WindowFull) if self.engine.overloaded() => Err(Tried::Hold),
            Ok(_) | Err(Refusal::WindowFull) => {
                // One that nothing waits for is begun again, so that it has the time of now.
                let decree = h.storage.last().next();
                h.storage.begin(h.core.ballot(), decree, self.wall.at(now));
                Ok(())
            }
            Err(Refusal::TooFewMembers { members, needed }) => {
                let text = format!(
                    "NOREPLICAS {members} of the {needed} members that writes need are there; nothing was written"
                );
                Err(Tried::Answer(Outcome::Reply(Reply::error(Bytes::from(
                    text,
                )))))
            }
            Err(_) => Err(Tried::Answer(Outcome::Refused(h.refusal()))),
        }
    }

    fn fetch(h: &mut Hosted) -> Tried {
        h.storage.fetch();
        Tried::Hold
    }

    fn failed(h: &mut Hosted, reason: String) -> Tried {
        h.storage_failed(reason);
        Tried::Answer(Outcome::Refused(h.refusal()))
    }

    /// Closes the open mutation and hands it to the protocol, if the window has room for it.
    pub(crate) fn seal(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        if let Some(event) = h.closed_mutation() {
            self.drive(h, event, out);
        }
    }

    /// Everything up to `committed` is committed: what waited for it is answered.
    pub(crate) fn release(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        let committed = h.core.committed();
        while let Some(mut bucket) = h.waiting.pop(committed) {
            for waiter in bucket.drain(..) {
                match waiter.read {
                    None => out.push((waiter.to, Outcome::Reply(waiter.reply))),
                    Some(command) => match self.answer_read(h, waiter.reply) {
                        Tried::Answer(outcome) => out.push((waiter.to, outcome)),
                        _ => out.extend(self.hold(
                            h,
                            Held {
                                command,
                                to: waiter.to,
                                since: clock::now(),
                            },
                        )),
                    },
                }
            }
            h.waiting.recycle(bucket);
        }
    }

    /// Something changed: tries the held commands again, in order.
    pub(crate) fn retry_held(&self, h: &mut Hosted, out: &mut Vec<Delivery>) {
        if h.held.is_empty() || h.role == RoleKind::Reconciling {
            return;
        }
        let now = clock::now();
        for held in h.held.take() {
            let Held { command, to, since } = held;
            if now.since(since) >= crate::worker::held::PATIENCE {
                let busy = Refused::Busy("the partition was not able to serve it in time".into());
                out.push((to, Outcome::Refused(busy)));
                continue;
            }
            let args: smallvec::SmallVec<[&[u8]; 8]> =
                command.args.iter().map(|arg| &arg[..]).collect();
            let tried = if h.held.blocks(command.spec, &args) {
                Tried::Hold
            } else {
                self.attempt(h, now, command.spec, &args)
            };
            drop(args);
            match tried {
                Tried::Answer(outcome) => out.push((to, outcome)),
                Tried::Wait(decree, reply, effect) => {
                    let read = (effect == Effect::None).then_some(command);
                    h.waiting.push(decree, Waiter { to, reply, read });
                }
                Tried::Hold => out.extend(self.hold(h, Held { command, to, since })),
            }
        }
    }
}
