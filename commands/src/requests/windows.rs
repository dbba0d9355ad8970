//! The windows of all clients of one partition, as its primary keeps them.
//!
//! What they may cost in memory is bounded, for the partition and for its node. Beyond the bound the windows of clients that have been quiet
//! for [`EARLY`] are forgotten, which is safe since their requests would be refused by age; if that does not help, requests are refused
//! until it does.

use super::budget::{Budget, Share};
use super::id::{LIFE, RETRY_WINDOW, RequestId, is_past};
use super::row;
use super::window::Window;
use crate::reply::Reply;
use crate::rows::after_prefix;
use crate::rows::own::REQUESTS;
use crate::view::{Direction, Interrupt, View, ViewMut};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use types::{Decree, Timestamp};

/// What the windows of a partition may cost in memory: some 60,000 clients of one request each, or what fewer of them have in flight.
const MOST: usize = 32 << 20;
/// Replies of one mutation that are kept; what the row adds must not make a mutation too long.
const MOST_REPLIES: usize = 4 << 20;
/// When memory is short, windows go that were quiet for so long: twice the retry window, for clocks that differ.
const EARLY: Duration = RETRY_WINDOW.saturating_mul(2);
/// How many windows one mutation looks at whether they are over.
const SWEPT: usize = 2;
/// And how many one refused request does.
const SWEPT_IN_NEED: usize = 256;
/// How many rows of forgotten windows one mutation removes.
const REMOVED: usize = 64;

/// What becomes of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It is to be evaluated.
    New,
    /// It took effect before, in this mutation (zero: one long committed). The first reply, unless that was too long to keep.
    Done {
        /// The reply may leave when this is committed.
        decree: Decree,
        /// What was answered.
        reply: Option<Reply>,
    },
    /// Too old, or given up by its sender: it will not be done. Whether an earlier attempt was is not told.
    TooLate,
    /// There is no room to remember it: ask again later.
    NoRoom,
}

/// See the module.
#[derive(Debug)]
pub struct Windows {
    clients: BTreeMap<u64, Window>,
    /// Clients with something done in the open mutation.
    open: Vec<u64>,
    open_replies: usize,
    /// Rows of windows that are forgotten, by client and number; still on disk.
    doomed: BTreeSet<(u64, u32)>,
    /// The sweep goes on behind this client.
    swept: u64,
    share: Share,
    most: usize,
}

impl Windows {
    /// Of a partition at which nobody has written anything.
    pub fn new(budget: &Rc<Budget>) -> Self {
        Self {
            clients: BTreeMap::new(),
            open: Vec::new(),
            open_replies: 0,
            doomed: BTreeSet::new(),
            swept: 0,
            share: Share::of(budget),
            most: MOST,
        }
    }

    /// As the partition's rows have them, at partition time `now`.
    pub fn restore(
        view: &mut dyn View,
        now: Timestamp,
        budget: &Rc<Budget>,
    ) -> Result<Self, Interrupt> {
        let mut found: BTreeMap<u64, Vec<row::Row>> = BTreeMap::new();
        let mut windows = Self::new(budget);
        let mut foreign = false;
        view.scan(
            REQUESTS,
            &after_prefix(REQUESTS),
            Direction::Forward,
            &mut |key, value| {
                match row::read(key, value) {
                    Some(row) if is_past(row.time, LIFE, now) => {
                        windows.doomed.insert((row.client, row.number));
                    }
                    Some(row) => found.entry(row.client).or_default().push(row),
                    None => foreign = true,
                }
                ControlFlow::Continue(())
            },
        )?;
        if foreign {
            return Err(Interrupt::Failed(
                "a row of request ids is not of this version".into(),
            ));
        }
        for (client, rows) in found {
            // its own dead rows are the window's to overwrite
            let dead = windows.take_doomed(client);
            let window = Window::restored(rows, dead);
            windows.share.change(0, window.bytes());
            windows.clients.insert(client, window);
        }
        Ok(windows)
    }

    /// What becomes of a request at partition time `now`.
    pub fn judge(&mut self, id: &RequestId, now: Timestamp) -> Verdict {
        if id.is_late(now) {
            return Verdict::TooLate;
        }
        if let Some(window) = self.clients.get_mut(&id.client) {
            let before = window.bytes();
            window.advance(id.first_incomplete);
            self.share.change(before, window.bytes());
            if id.sequence < window.first_incomplete() {
                return Verdict::TooLate;
            }
            if let Some(answer) = window.find(id.sequence) {
                return Verdict::Done {
                    decree: answer.decree,
                    reply: answer.reply,
                };
            }
        }
        if !self.has_room() {
            self.sweep(SWEPT_IN_NEED, EARLY, now);
            if !self.has_room() {
                return Verdict::NoRoom;
            }
        }
        Verdict::New
    }

    /// Looks at some windows for such as need not be kept while memory is short: nobody may be writing here, who would.
    pub fn relieve(&mut self, now: Timestamp) {
        self.sweep(SWEPT_IN_NEED, EARLY, now);
    }

    fn has_room(&self) -> bool {
        self.share.bytes() < self.most && self.share.may_grow()
    }

    /// The request was evaluated into the open mutation, which is this decree.
    pub fn record(&mut self, id: &RequestId, decree: Decree, reply: &Reply) {
        if !self.clients.contains_key(&id.client) {
            let dead = self.take_doomed(id.client);
            let window = Window::restored(Vec::new(), dead);
            self.share.change(0, window.bytes());
            self.clients.insert(id.client, window);
        }
        let Some(window) = self.clients.get_mut(&id.client) else {
            return;
        };
        if window.is_closed() {
            self.open.push(id.client);
        }
        let reply = (self.open_replies < MOST_REPLIES).then_some(reply);
        let before = window.bytes();
        self.open_replies += window.record(id.sequence, decree, reply);
        window.advance(id.first_incomplete);
        self.share.change(before, window.bytes());
    }

    /// Whether something was recorded since the last [`Self::close`].
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The open mutation will never be: what was recorded since the last [`Self::close`] is not done.
    pub fn forget_open(&mut self) {
        self.open_replies = 0;
        for client in std::mem::take(&mut self.open) {
            if let Some(window) = self.clients.get_mut(&client) {
                let before = window.bytes();
                window.forget_open();
                self.share.change(before, window.bytes());
            }
        }
    }

    /// Writes what was recorded into the open mutation, whose timestamp is `time`: one row for each client.
    pub fn close(&mut self, time: Timestamp, rows: &mut dyn ViewMut) {
        self.open_replies = 0;
        for client in std::mem::take(&mut self.open) {
            let Some(window) = self.clients.get_mut(&client) else {
                continue;
            };
            let before = window.bytes();
            let mut stale = Vec::new();
            window.close(
                time,
                |number, value| rows.put(&row::key(client, number), value),
                |number| stale.push(number),
            );
            for number in stale {
                rows.delete(&row::key(client, number));
            }
            self.share.change(before, window.bytes());
        }
        self.sweep(SWEPT, LIFE, time);
        for _ in 0..REMOVED {
            let Some((client, number)) = self.doomed.pop_first() else {
                break;
            };
            rows.delete(&row::key(client, number));
        }
    }

    /// The numbers of a client's rows that are to be removed: they are its own affair again.
    fn take_doomed(&mut self, client: u64) -> Vec<u32> {
        let all = (client, 0)..=(client, u32::MAX);
        let numbers: Vec<u32> = self.doomed.range(all).map(|&(_, number)| number).collect();
        for &number in &numbers {
            self.doomed.remove(&(client, number));
        }
        numbers
    }

    /// Looks at the next windows, and forgets what is older than `life`.
    fn sweep(&mut self, windows: usize, life: Duration, now: Timestamp) {
        for _ in 0..windows.min(self.clients.len()) {
            let next = self.swept.wrapping_add(1);
            let Some((&client, window)) = self.clients.range_mut(next..).next() else {
                self.swept = u64::MAX;
                continue;
            };
            self.swept = client;
            let before = window.bytes();
            window.expire(|time| is_past(time, life, now));
            self.share.change(before, window.bytes());
            if window.is_empty() {
                self.share.change(window.bytes(), 0);
                self.doomed
                    .extend(window.stale().map(|number| (client, number)));
                self.clients.remove(&client);
            }
        }
    }

    #[cfg(test)]
    fn with_most(most: usize) -> Self {
        Self {
            most,
            ..Self::new(&Budget::new(MOST))
        }
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
