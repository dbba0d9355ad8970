//! The window of one client: which of its requests are done, in which rows that stands, and the replies.

use super::kept::{self, put_number};
use super::row::{self, Done, Row};
use crate::reply::Reply;
use std::collections::{BTreeSet, VecDeque};
use types::{Decree, Timestamp};

/// What a window and a row of it cost in memory beyond their replies, about.
const WINDOW_COST: usize = 320;
const ROW_COST: usize = 160;
const SPAN_COST: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Told by the client: it never asks again for what is below.
    first_incomplete: u64,
    highest: u64,
    /// Done in the mutation that is still open.
    open: Done,
    open_in: Decree,
    /// In the order of their mutations; the last one carries the stored first incomplete sequence.
    rows: VecDeque<Closed>,
    /// Numbers below this one were used.
    next: u32,
    /// Of those, the ones that no row has now.
    free: BTreeSet<u32>,
    /// Of those, the ones under which an old row still stands on disk.
    stale: BTreeSet<u32>,
    /// What all this costs.
    bytes: usize,
}

/// What a closed mutation did.
#[derive(Debug)]
struct Closed {
    number: u32,
    /// Zero if it was restored: then it is committed.
    decree: Decree,
    time: Timestamp,
    highest: u64,
    done: Done,
}

impl Closed {
    fn cost(&self) -> usize {
        ROW_COST + self.done.spans.len() * SPAN_COST + self.done.replies.len()
    }
}

/// A request that is done.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Answer {
    pub(super) decree: Decree,
    /// Nothing: it was not kept.
    pub(super) reply: Option<Reply>,
}

impl Window {
    /// From the client's rows, in any order. Rows under the numbers of `dead` stand on disk too, but mean nothing.
    pub(super) fn restored(mut found: Vec<Row>, dead: Vec<u32>) -> Self {
        found.sort_by_key(|row| (row.first_incomplete, row.done.highest(), row.number));
        let mut window = Self {
            bytes: WINDOW_COST,
            next: dead.iter().max().map_or(0, |number| number + 1),
            stale: BTreeSet::from_iter(dead),
            ..Self::default()
        };
        for row in found {
            window.next = window.next.max(row.number + 1);
            window.first_incomplete = row.first_incomplete;
            window.push(Closed {
                number: row.number,
                decree: Decree::ZERO,
                time: row.time,
                highest: row.done.highest(),
                done: row.done,
            });
        }
        let used: BTreeSet<u32> = window.rows.iter().map(|row| row.number).collect();
        window.free = (0..window.next)
            .filter(|number| !used.contains(number))
            .collect();
        window.let_go();
        window
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_incomplete(&self) -> u64 {
        self.first_incomplete
    }

    /// Whether nothing was done in the open mutation.
    pub(super) fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// The client will not ask again for what is below `first_incomplete`.
    pub(super) fn advance(&mut self, first_incomplete: u64) {
        if first_incomplete > self.first_incomplete {
            self.first_incomplete = first_incomplete;
            self.let_go();
        }
    }

    /// What came of a request, if it was done.
    pub(super) fn find(&self, sequence: u64) -> Option<Answer> {
        if sequence > self.highest {
            return None;
        }
        let answer = |done: &Done, decree| Answer {
            decree,
            reply: done.reply(sequence).map_or(Some(Reply::Ok), kept::read),
        };
        if self.open.contains(sequence) {
            return Some(answer(&self.open, self.open_in));
        }
        let row = self.rows.iter().find(|row| row.done.contains(sequence))?;
        Some(answer(&row.done, row.decree))
    }

    /// The request was done in the open mutation; tells how many bytes its reply takes.
    pub(super) fn record(&mut self, sequence: u64, decree: Decree, reply: Option<&Reply>) -> usize {
        self.open_in = decree;
        self.highest = self.highest.max(sequence);
        self.open.add(sequence);
        if matches!(reply, Some(Reply::Ok)) {
            return 0;
        }
        let mut encoded = Vec::new();
        kept::put(
            reply.unwrap_or(&Reply::Simple("too much to keep")),
            &mut encoded,
        );
        let replies = &mut self.open.replies;
        let before = replies.len();
        put_number(sequence, replies);
        put_number(encoded.len() as u64, replies);
        replies.extend_from_slice(&encoded);
        let grown = replies.len() - before;
        self.bytes += grown;
        grown
    }

    /// The open mutation will never be: what it did is not done.
    pub(super) fn forget_open(&mut self) {
        self.bytes -= self.open.replies.len();
        self.open = Done::default();
    }

    /// The open mutation is closed at `time`: `put` gets the row with what was done in it, `delete` those that mean nothing any more.
    pub(super) fn close(
        &mut self,
        time: Timestamp,
        put: impl FnOnce(u32, &[&[u8]]),
        delete: impl FnMut(u32),
    ) {
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.stale.remove(&number);
        let mut done = std::mem::take(&mut self.open);
        self.bytes -= done.replies.len();
        let head = row::head(time, self.first_incomplete, &mut done);
        put(number, &[&head, &done.replies]);
        self.push(Closed {
            number,
            decree: self.open_in,
            time,
            highest: done.highest(),
            done,
        });
        self.let_go();
        std::mem::take(&mut self.stale).into_iter().for_each(delete);
    }

    fn push(&mut self, closed: Closed) {
        self.highest = self.highest.max(closed.highest);
        self.bytes += closed.cost();
        self.rows.push_back(closed);
    }

    /// Forgets rows of which the client will not ask any more; the last stays for the first incomplete sequence that it carries.
    fn let_go(&mut self) {
        while self.rows.len() > 1
            && self
                .rows
                .front()
                .is_some_and(|row| row.highest < self.first_incomplete)
        {
            self.pop();
        }
    }

    /// Forgets rows that are `over`.
    pub(super) fn expire(&mut self, over: impl Fn(Timestamp) -> bool) {
        while self.rows.front().is_some_and(|row| over(row.time)) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(row) = self.rows.pop_front() {
            self.bytes -= row.cost();
            self.free.insert(row.number);
            self.stale.insert(row.number);
        }
    }

    /// Whether there is nothing left to know.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.open.is_empty()
    }

    /// Numbers under which rows stand on disk that mean nothing any more.
    pub(super) fn stale(&self) -> impl Iterator<Item = u32> + '_ {
        self.stale.iter().copied()
    }
}
