//! Evaluation, on the primary (and of reads at a secondary: see [`Partition::read_committed`]): commands become the open mutation's effects and replies.
//!
//! A command leaves its effects or nothing. Every answer says up to which decree it looked: the server holds the reply until that is
//! committed.

use super::Partition;
use super::rows::Rows;
use crate::event::Ticket;
use crate::fetch::{self, Asked, Fetched};
use crate::overlay::RowHash;
use bytes::Bytes;
use commands::rows::own::{self, Applied};
use commands::{CommandSpec, Interrupt, Limits, Moment, Reply, View, ViewMut};
use std::time::Duration;
use types::{Ballot, Decree, Timestamp};

/// How many notes tell of as much garbage as makes a collection worth while.
const NOTES: u64 = 16;

/// What came of a write.
#[derive(Clone, PartialEq, Debug)]
pub struct Written {
    /// The answer.
    pub reply: Reply,
    /// It may leave when this is committed: the open mutation if the command wrote, else the highest uncommitted one that it saw. Zero:
    /// at once.
    pub seen: Decree,
    /// Whether anything was written.
    pub wrote: bool,
    /// Whether it depends on something having expired (rule R7); see [`Partition::lazy_delete`].
    pub depends_on_expiry: bool,
    /// Rows that became garbage, an estimate.
    pub garbage: u64,
}

/// What came of a read.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// The answer.
    pub reply: Reply,
    /// It may leave when this is committed. Zero: at once.
    pub seen: Decree,
    /// Whether it depends on something having expired (rule R7).
    pub depends_on_expiry: bool,
}

/// A mutation to be prepared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// As it was begun.
    pub ballot: Ballot,
    /// As it was begun.
    pub decree: Decree,
    /// As it was begun, or later.
    pub timestamp: Timestamp,
    /// A write batch; no bytes at all if nothing was written.
    pub effects: Bytes,
}

fn not_promoted() -> Interrupt {
    Interrupt::Failed("the partition is not promoted on this node".to_owned())
}

impl Partition {
    /// Opens a mutation. `decree` is the one after [`Self::last`]. Its timestamp is never below an earlier one's.
    pub fn begin(&mut self, ballot: Ballot, decree: Decree, timestamp: Timestamp) {
        debug_assert_eq!(decree, self.last().next());
        self.settle();
        self.retain = true;
        let timestamp = timestamp.max(self.partition_time());
        self.overlay.begin(ballot, timestamp);
    }

    /// From the next command on, what is written without saying how long it lives lives so long.
    pub fn set_default_ttl(&mut self, ttl: Option<Duration>) {
        self.default_ttl = ttl;
    }

    /// Whether a mutation is open.
    pub fn is_open(&self) -> bool {
        self.overlay.open().is_some()
    }

    /// Bytes of the open mutation; zero if nothing was written.
    pub fn open_bytes(&self) -> usize {
        self.overlay.open_bytes()
    }

    /// Commands evaluated into the open mutation.
    pub fn open_commands(&self) -> u32 {
        self.overlay.open().map_or(0, |open| open.commands)
    }

    /// Evaluates a command into the open mutation, over the newest rows.
    pub fn write(
        &mut self,
        spec: &CommandSpec,
        args: &[&[u8]],
        random: u64,
    ) -> Result<Written, Interrupt> {
        let clears = self.overlay.open().is_some_and(|open| open.clears);
        if clears && spec.is_write() {
            // a clear is alone in its mutation
            return Err(Interrupt::Full);
        }
        let (evaluated, seen) = self.evaluate(random, |rows, moment| {
            let evaluated = commands::evaluate_write(spec, args, rows, moment)?;
            let keep = !evaluated.reply.is_error();
            Ok((evaluated, keep))
        })?;
        self.garbage += evaluated.garbage;
        self.unnoted += evaluated.garbage;
        Ok(Written {
            seen: match self.overlay.open() {
                Some(open) if evaluated.wrote => open.decree,
                _ => seen,
            },
            reply: evaluated.reply,
            wrote: evaluated.wrote,
            depends_on_expiry: evaluated.depends_on_expiry,
            garbage: evaluated.garbage,
        })
    }

    /// Removes what has expired at `key`, into the open mutation; tells whether there was anything.
    pub fn lazy_delete(&mut self, key: &[u8]) -> Result<bool, Interrupt> {
        if self.overlay.open().is_some_and(|open| open.clears) {
            return Err(Interrupt::Full);
        }
        let (wrote, _) = self.evaluate(0, |rows, moment| {
            Ok((commands::lazy_delete(key, rows, moment)?, true))
        })?;
        Ok(wrote)
    }

    /// Writes rows of the partition's own into the open mutation, beside what commands wrote.
    pub fn write_own(&mut self, f: impl FnOnce(&mut dyn ViewMut)) -> Result<(), Interrupt> {
        self.evaluate(0, |rows, _| {
            f(rows);
            Ok(((), true))
        })
        .map(drop)
    }

    /// Runs `f` over the newest rows; what it wrote stays only if it says so.
    fn evaluate<T>(
        &mut self,
        random: u64,
        f: impl FnOnce(&mut Rows<'_>, &Moment) -> Result<(T, bool), Interrupt>,
    ) -> Result<(T, Decree), Interrupt> {
        self.usable()?;
        let room = self
            .node()
            .options
            .limits
            .mutation
            .saturating_sub(self.overlay.open_bytes());
        let limits = Limits {
            mutation: room,
            ..self.node().options.limits
        };
        let (slots, default_ttl) = (self.slots, self.default_ttl);
        let Some(open) = self.overlay.open_mut() else {
            return Err(Interrupt::Failed("no mutation is open".to_owned()));
        };
        // counted also when it leaves nothing: two commands never share a number
        open.commands += 1;
        let moment = Moment {
            now: open.timestamp,
            decree: open.decree,
            index: open.commands,
            random,
            slots,
            default_ttl,
            limits,
        };
        let savepoint = self.overlay.savepoint();
        let mut rows = Rows::writing(self, savepoint);
        let evaluated = f(&mut rows, &moment);
        let (seen, refused) = rows.finish();
        match (evaluated, refused) {
            (Ok((value, true)), None) => {
                self.overlay.keep();
                Ok((value, seen))
            }
            (Ok((value, false)), None) => {
                self.overlay.rollback(savepoint);
                Ok((value, seen))
            }
            (_, Some(interrupt)) | (Err(interrupt), None) => {
                self.overlay.rollback(savepoint);
                Err(interrupt)
            }
        }
    }

    /// Evaluates a reading command over the newest rows, those in flight and in the open mutation included.
    pub fn read(
        &mut self,
        spec: &CommandSpec,
        args: &[&[u8]],
        now: Timestamp,
        random: u64,
    ) -> Result<Read, Interrupt> {
        let (evaluated, seen) = self.look(now, random, |rows, moment| {
            commands::evaluate_read(spec, args, rows, moment)
        })?;
        Ok(Read {
            reply: evaluated.reply,
            seen,
            depends_on_expiry: evaluated.depends_on_expiry,
        })
    }

    /// Any other reading of the newest rows; with what it read comes the decree whose commit it waits for.
    pub fn view<T>(
        &mut self,
        now: Timestamp,
        random: u64,
        f: impl FnOnce(&mut dyn View, &Moment) -> Result<T, Interrupt>,
    ) -> Result<(T, Decree), Interrupt> {
        self.look(now, random, |rows, moment| f(rows, moment))
    }

    fn look<T>(
        &mut self,
        now: Timestamp,
        random: u64,
        f: impl FnOnce(&mut Rows<'_>, &Moment) -> Result<T, Interrupt>,
    ) -> Result<(T, Decree), Interrupt> {
        self.usable()?;
        let moment = Moment {
            now: now.max(self.partition_time()),
            decree: self.last(),
            index: 0,
            random,
            slots: self.slots,
            default_ttl: None,
            limits: self.node().options.limits,
        };
        let mut rows = Rows::reading(self);
        let evaluated = f(&mut rows, &moment);
        match (evaluated, rows.finish()) {
            (Ok(value), (seen, None)) => Ok((value, seen)),
            (_, (_, Some(interrupt))) | (Err(interrupt), _) => Err(interrupt),
        }
    }

    fn usable(&self) -> Result<(), Interrupt> {
        if let Some(reason) = self.store.failure() {
            return Err(Interrupt::Failed(reason));
        }
        if !self.overlay.is_indexed() {
            return Err(not_promoted());
        }
        Ok(())
    }

    /// Closes the open mutation: it is in flight from here on. Nothing if none was open.
    pub fn seal(&mut self) -> Option<Sealed> {
        let noted = self.note_garbage();
        let (decree, held) = self.overlay.seal(noted)?;
        self.account();
        Some(Sealed {
            ballot: held.ballot,
            decree,
            timestamp: held.timestamp,
            effects: held.effects,
        })
    }

    /// Puts a note into the open mutation if there is enough to tell (see `collect`). One of which nothing comes is no matter: it is all an
    /// estimate.
    fn note_garbage(&mut self) -> u64 {
        let step = (self.node().options.garbage_rows / NOTES).max(1);
        let open = self
            .overlay
            .open()
            .filter(|open| !open.clears && self.unnoted >= step);
        let (Some(decree), true) = (open.map(|open| open.decree), self.open_bytes() > 0) else {
            return 0;
        };
        let garbage = self.unnoted;
        let written = self.write_own(|rows| {
            rows.put(&own::garbage_row(decree), &[&garbage.to_be_bytes()]);
        });
        if written.is_err() {
            return 0;
        }
        self.unnoted = 0;
        garbage
    }

    /// Asks for everything that evaluations found cold since the last time. `Fetched` with this ticket follows.
    pub fn fetch(&mut self) -> Option<Ticket> {
        if self.wanted.is_empty() {
            return None;
        }
        let ticket = self.node().next_ticket();
        let asked = Asked {
            space: self.space,
            dropped: self.dropped,
        };
        let wanted = std::mem::take(&mut self.wanted);
        fetch::begin(self.node(), &self.store, ticket, asked, wanted);
        Some(ticket)
    }

    /// Takes in fetched rows. Those that were written meanwhile are thrown away.
    pub fn install(&mut self, fetched: Fetched) {
        self.settle();
        // rows written since are in the overlay, unless something was dropped from it: then nobody knows
        if fetched.asked.space != self.space || fetched.asked.dropped != self.dropped {
            return;
        }
        for (row, value) in fetched.rows {
            let hash = RowHash::of(&row);
            if !self.overlay.contains(hash, &row) {
                self.owner.node.cache.insert(self.space, hash, &row, value);
                self.cached = true;
            }
        }
    }

    /// The state that committed mutations lead to, as far as ballot and time go.
    pub fn committed_state(&self) -> Applied {
        match self.overlay.get(self.committed) {
            Some(held) => Applied {
                decree: self.committed,
                ballot: held.ballot,
                timestamp: held.timestamp,
            },
            None => self.base,
        }
    }
}
