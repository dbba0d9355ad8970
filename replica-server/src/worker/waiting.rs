//! Replies that wait for a commit: any reply, even "nothing done", leaves only when every decree it saw is committed.

use crate::worker::reply::{Command, ReplyTo};
use commands::Reply;
use commands::requests::RequestId;
use std::collections::VecDeque;
use types::{Decree, Instant};

/// One reply that waits.
pub(crate) struct Waiter {
    pub(crate) to: ReplyTo,
    pub(crate) reply: Reply,
    pub(crate) again: Again,
}

/// How a command is asked again whose reply is not to be had here any more.
pub(crate) enum Again {
    /// By its sender, if at all.
    BySender,
    /// It had no effects: it needs the lease when it is answered (R1), and can be evaluated again instead.
    Evaluate(Command),
    /// It had effects: the new primary knows it by this id.
    ById(RequestId, Command),
}

/// A read whose decrees are committed and that only a missing lease keeps from being answered.
pub(crate) struct Unleased {
    pub(crate) to: ReplyTo,
    pub(crate) reply: Reply,
    pub(crate) since: Instant,
}

/// The waiting replies of one partition, by the decree they wait for.
#[derive(Default)]
pub(crate) struct Waiting {
    /// The decree of the first bucket.
    first: Decree,
    buckets: VecDeque<Vec<Waiter>>,
    /// Emptied buckets, kept for their capacity.
    spare: Vec<Vec<Waiter>>,
}

const SPARE: usize = 4;

impl Waiting {
    /// Lets a reply wait until `decree` is committed.
    pub(crate) fn push(&mut self, decree: Decree, waiter: Waiter) {
        if self.buckets.is_empty() {
            self.first = decree;
        }
        while decree < self.first {
            self.first = self.first.previous();
            self.buckets
                .push_front(self.spare.pop().unwrap_or_default());
        }
        let index = (decree.0 - self.first.0) as usize;
        while self.buckets.len() <= index {
            self.buckets.push_back(self.spare.pop().unwrap_or_default());
        }
        self.buckets[index].push(waiter);
    }

    /// Takes the replies of the lowest decree that is committed.
    pub(crate) fn pop(&mut self, committed: Decree) -> Option<Vec<Waiter>> {
        if self.buckets.is_empty() || self.first > committed {
            return None;
        }
        self.first = self.first.next();
        self.buckets.pop_front()
    }

    /// Gives back a bucket that was popped.
    pub(crate) fn recycle(&mut self, mut bucket: Vec<Waiter>) {
        bucket.clear();
        if self.spare.len() < SPARE {
            self.spare.push(bucket);
        }
    }

    /// Takes everything, each with its decree.
    pub(crate) fn take(&mut self) -> Vec<(Decree, Waiter)> {
        let mut decree = self.first;
        let mut all = Vec::new();
        for bucket in self.buckets.drain(..) {
            all.extend(bucket.into_iter().map(|waiter| (decree, waiter)));
            decree = decree.next();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::reply::Nowhere;
    use resp_gateway::Sink;
    use std::rc::Rc;

    fn waiter(number: i64) -> Waiter {
        Waiter {
            to: ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere)),
            reply: Reply::Integer(number),
            again: Again::BySender,
        }
    }

    fn pop(waiting: &mut Waiting, committed: u64) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(bucket) = waiting.pop(Decree(committed)) {
            replies.extend(bucket.into_iter().map(|waiter| waiter.reply));
        }
        replies
    }

    #[test]
    fn replies_leave_when_their_decree_is_committed_and_not_before() {
        let mut waiting = Waiting::default();
        for (decree, number) in [(5, 1), (5, 2), (7, 3), (6, 4), (4, 5)] {
            waiting.push(Decree(decree), waiter(number));
        }
        assert_eq!(pop(&mut waiting, 3), []);
        assert_eq!(
            pop(&mut waiting, 5),
            [Reply::Integer(5), Reply::Integer(1), Reply::Integer(2)]
        );
        assert_eq!(pop(&mut waiting, 6), [Reply::Integer(4)]);
        assert_eq!(pop(&mut waiting, 9), [Reply::Integer(3)]);
        waiting.push(Decree(12), waiter(6));
        assert_eq!(pop(&mut waiting, 11), []);
        assert_eq!(pop(&mut waiting, 12), [Reply::Integer(6)]);
    }

    #[test]
    fn what_is_taken_carries_the_decree_it_waited_for() {
        let mut waiting = Waiting::default();
        waiting.push(Decree(8), waiter(1));
        waiting.push(Decree(10), waiter(2));
        let taken: Vec<_> = waiting
            .take()
            .into_iter()
            .map(|(decree, waiter)| (decree, waiter.reply))
            .collect();
        assert_eq!(
            taken,
            [
                (Decree(8), Reply::Integer(1)),
                (Decree(10), Reply::Integer(2))
            ]
        );
        assert_eq!(pop(&mut waiting, 99), []);
    }
}
