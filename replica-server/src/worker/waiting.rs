//! Replies that wait for a commit: any reply, even "nothing done", leaves only when every decree it saw is committed.

use crate::worker::bucket::{Again, Bucket, Extent, Waiter};
use crate::worker::reply::{ReplyTo, Sender};
use bytes::Bytes;
use commands::requests::RequestId;
use commands::{CommandSpec, Reply};
use std::collections::{BTreeSet, VecDeque};
use types::{Decree, Instant};

/// A read that waits for a sealed mutation cannot be evaluated again after this primary if a write of this node's own port to one of its
/// keys came after it and was sent too: that may be done by now, and must not be seen by a command that was before it on its
/// connection. (Which connection it came from is not known here. Clients know what they wrote: they do not repeat a refused read when an answer
/// to a later write comes after the refusal.)
pub(crate) fn mark_overtaken(buckets: &mut [(Decree, Bucket)], sent: Decree) {
    let (mut written, mut everything) = (BTreeSet::<Bytes>::new(), false);
    for (_, bucket) in buckets
        .iter_mut()
        .rev()
        .skip_while(|(decree, _)| *decree > sent)
    {
        let mut waiters = std::mem::take(&mut bucket.waiters);
        for waiter in waiters.iter_mut().rev() {
            if let ReplyTo::Stream(_) = waiter.to {
                continue;
            }
            let overtaken = match &waiter.again {
                &Again::ById(_, kept) => {
                    let command = bucket.command(kept);
                    everything |= command.keys().next().is_none();
                    written.extend(command.keys().cloned());
                    false
                }
                Again::Evaluate(command) => {
                    let mut keys = command.keys().peekable();
                    match keys.peek() {
                        Some(_) => everything || keys.any(|key| written.contains(key)),
                        None => everything || !written.is_empty(),
                    }
                }
                // A write that has no name, because nobody else had a copy when it came.
                Again::BySender(_) => {
                    everything = true;
                    false
                }
                Again::Never => false,
            };
            if overtaken {
                waiter.again = Again::Never;
            }
        }
        bucket.waiters = waiters;
    }
}

/// Replies whose decrees are committed and that only a missing lease keeps from being answered: reads, and the writes that their senders sent
/// behind them. Who learns that its write is done while a read before it can still be refused could not place that read any more.
#[derive(Default)]
pub(crate) struct Unleased {
    queue: Bucket,
    senders: BTreeSet<Sender>,
    since: Instant,
}

impl Unleased {
    pub(crate) fn len(&self) -> usize {
        self.queue.waiters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.waiters.is_empty()
    }

    /// Since when there is something.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether a read waits of the one who is to get this reply.
    pub(crate) fn holds_up(&self, to: &ReplyTo) -> bool {
        !self.is_empty() && self.senders.contains(&to.sender())
    }

    /// Takes in a waiter of a bucket.
    pub(crate) fn push(&mut self, now: Instant, of: &Bucket, mut waiter: Waiter) {
        if self.is_empty() {
            self.since = now;
        }
        self.senders.insert(waiter.to.sender());
        waiter.again = waiter.again.moved(of, &mut self.queue);
        self.queue.waiters.push(waiter);
    }

    /// Takes everything, in order.
    pub(crate) fn take(&mut self) -> Bucket {
        std::mem::take(self).queue
    }
}

/// The waiting replies of one partition, by the decree they wait for.
#[derive(Default)]
pub(crate) struct Waiting {
    /// The decree of the first bucket.
    first: Decree,
    buckets: VecDeque<Bucket>,
    /// Emptied buckets, kept for their capacity.
    spare: Vec<Bucket>,
}

const SPARE: usize = 4;
/// The largest buffer that is kept for its capacity.
const SPARE_BYTES: usize = 1 << 20;

impl Waiting {
    /// Lets a reply wait until `decree` is committed.
    pub(crate) fn push(&mut self, decree: Decree, waiter: Waiter) {
        self.bucket(decree).waiters.push(waiter);
    }

    /// The same for a command that is kept: whole under an id, for a write of this node's own port, which may have to be asked of another;
    /// else shortened, should it turn out to be slow.
    pub(crate) fn push_kept(
        &mut self,
        decree: Decree,
        (to, reply, came): (ReplyTo, Reply, Instant),
        id: Option<RequestId>,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) {
        let bucket = self.bucket(decree);
        let again = match id {
            Some(id) => Again::ById(id, bucket.keep(spec, args, Extent::Whole)),
            None => Again::BySender(Some(bucket.keep(spec, args, Extent::Shortened))),
        };
        bucket.waiters.push(Waiter {
            to,
            reply,
            again,
            came,
        });
    }

    /// The same for one that waited in another bucket.
    pub(crate) fn push_moved(&mut self, decree: Decree, of: &Bucket, mut waiter: Waiter) {
        let bucket = self.bucket(decree);
        waiter.again = waiter.again.moved(of, bucket);
        bucket.waiters.push(waiter);
    }

    fn bucket(&mut self, decree: Decree) -> &mut Bucket {
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
        &mut self.buckets[index]
    }

    /// Takes the replies of the lowest decree that is committed.
    pub(crate) fn pop(&mut self, committed: Decree) -> Option<Bucket> {
        if self.buckets.is_empty() || self.first > committed {
            return None;
        }
        self.first = self.first.next();
        self.buckets.pop_front()
    }

    /// Gives back a bucket that was popped.
    pub(crate) fn recycle(&mut self, mut bucket: Bucket) {
        bucket.waiters.clear();
        bucket.arguments.clear();
        if self.spare.len() < SPARE && bucket.arguments.capacity() <= SPARE_BYTES {
            self.spare.push(bucket);
        }
    }

    /// Takes everything, each bucket with its decree.
    pub(crate) fn take(&mut self) -> Vec<(Decree, Bucket)> {
        let buckets = std::mem::take(&mut self.buckets).into_iter();
        (self.first.0..).map(Decree).zip(buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::reply::{Command, Nowhere};
    use resp_gateway::Sink;
    use std::rc::Rc;

    fn waiter(number: i64) -> Waiter {
        Waiter {
            to: ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None),
            reply: Reply::Integer(number),
            again: Again::BySender(None),
            came: Instant::default(),
        }
    }

    fn request() -> RequestId {
        RequestId {
            client: 1,
            sequence: 1,
            first_incomplete: 1,
            sent: types::Timestamp(1),
            attempt: commands::requests::Attempt::First,
        }
    }

    fn pop(waiting: &mut Waiting, committed: u64) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(bucket) = waiting.pop(Decree(committed)) {
            replies.extend(bucket.waiters.into_iter().map(|waiter| waiter.reply));
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
    fn a_command_that_may_have_to_be_asked_again_is_kept_as_it_was() {
        let mut waiting = Waiting::default();
        let commands: [&[&[u8]]; 2] = [&[b"SET", b"k", b""], &[b"INCR", b"n"]];
        let id = request();
        for args in commands {
            let to = ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None);
            let spec = commands::resolve(args).unwrap();
            let answer = (to, Reply::Ok, Instant::default());
            waiting.push_kept(Decree(3), answer, Some(id), spec, args);
        }
        let (_, bucket) = waiting.take().remove(0);
        for (waiter, args) in bucket.waiters.iter().zip(commands) {
            let Again::ById(_, kept) = waiter.again else {
                panic!("it has an id");
            };
            assert_eq!(bucket.command(kept).args, args);
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Writes {
        Named,
        Unnamed,
    }

    /// What becomes of commands that waited for a decree each, of which those up to 5 were sent.
    fn overtaken(commands: &[(u64, &[&[u8]])]) -> Vec<bool> {
        overtaken_by(Writes::Named, commands)
    }

    fn overtaken_by(writes: Writes, commands: &[(u64, &[&[u8]])]) -> Vec<bool> {
        let mut waiting = Waiting::default();
        for &(decree, args) in commands {
            let to = ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None);
            let spec = commands::resolve(args).unwrap();
            if spec.is_write() && writes == Writes::Unnamed {
                waiting.push(Decree(decree), waiter(1));
            } else if spec.is_write() {
                let answer = (to, Reply::Ok, Instant::default());
                waiting.push_kept(Decree(decree), answer, Some(request()), spec, args);
            } else {
                let again = Again::Evaluate(Command::of(spec, args));
                let (reply, came) = (Reply::Nil, Instant::default());
                let waiter = Waiter {
                    to,
                    reply,
                    again,
                    came,
                };
                waiting.push(Decree(decree), waiter);
            }
        }
        let mut buckets = waiting.take();
        mark_overtaken(&mut buckets, Decree(5));
        let waiters = buckets.into_iter().flat_map(|(_, bucket)| bucket.waiters);
        waiters
            .map(|waiter| matches!(waiter.again, Again::Never))
            .collect()
    }

    #[test]
    fn a_read_is_asked_again_unless_a_later_write_to_its_key_was_sent() {
        let (get, set) = ([&b"GET"[..], b"k"], [&b"SET"[..], b"k", b"v"]);
        let other = [&b"SET"[..], b"other", b"v"];
        assert_eq!(overtaken(&[(4, &set), (4, &get)]), [false, false]);
        assert_eq!(overtaken(&[(4, &get), (4, &set)]), [true, false]);
        assert_eq!(overtaken(&[(4, &get), (5, &set)]), [true, false]);
        assert_eq!(overtaken(&[(4, &get), (5, &other)]), [false, false]);
        // It was never sent, and follows the read to wherever that goes.
        assert_eq!(overtaken(&[(4, &get), (6, &set)]), [false, false]);
        let (size, flush) = ([&b"DBSIZE"[..]], [&b"FLUSHDB"[..]]);
        assert_eq!(overtaken(&[(4, &size), (5, &other)]), [true, false]);
        assert_eq!(overtaken(&[(4, &get), (5, &flush)]), [true, false]);
    }

    #[test]
    fn a_read_is_not_asked_again_either_behind_a_later_write_that_has_no_name() {
        let (get, set) = ([&b"GET"[..], b"k"], [&b"SET"[..], b"k", b"v"]);
        let overtaken = |commands: &[_]| overtaken_by(Writes::Unnamed, commands);
        assert_eq!(overtaken(&[(4, &get), (5, &set)]), [true, false]);
        assert_eq!(overtaken(&[(4, &set), (4, &get)]), [false, false]);
        assert_eq!(overtaken(&[(4, &get), (6, &set)]), [false, false]);
    }

    #[test]
    fn a_write_waits_behind_a_read_of_its_sender_and_keeps_its_command() {
        let get = [&b"GET"[..], b"k"];
        let set = [&b"SET"[..], b"k", b"v"];
        let (now, spec) = (Instant::default(), commands::resolve(&set).unwrap());
        let id = request();
        let mut waiting = Waiting::default();
        let again = Again::Evaluate(Command::of(commands::resolve(&get).unwrap(), &get));
        waiting.push(Decree(1), Waiter { again, ..waiter(1) });
        let answer = (waiter(2).to, Reply::Ok, now);
        waiting.push_kept(Decree(1), answer, Some(id), spec, &set);
        let mut unleased = Unleased::default();
        assert!(!unleased.holds_up(&waiter(3).to));
        let mut bucket = waiting.pop(Decree(1)).unwrap();
        for waiter in std::mem::take(&mut bucket.waiters) {
            unleased.push(now, &bucket, waiter);
        }
        waiting.recycle(bucket);
        assert!(unleased.holds_up(&waiter(3).to));
        let queue = unleased.take();
        assert!(unleased.is_empty() && !unleased.holds_up(&waiter(3).to));
        let [read, write] = &queue.waiters[..] else {
            panic!("{} waited", queue.waiters.len());
        };
        assert!(matches!(read.again, Again::Evaluate(_)));
        let Again::ById(named, kept) = write.again else {
            panic!("a write is asked for by its id");
        };
        assert_eq!(named, id);
        assert_eq!(queue.command(kept).args, [&b"SET"[..], b"k", b"v"]);
    }

    #[test]
    fn what_may_be_shown_as_slow_is_kept_shortened_wherever_it_waits() {
        let long = vec![b'v'; 1000];
        let set = [&b"SET"[..], b"k", &long];
        let spec = commands::resolve(&set).unwrap();
        let mut waiting = Waiting::default();
        for _ in 0..2 {
            let answer = (waiter(1).to, Reply::Ok, Instant::default());
            waiting.push_kept(Decree(1), answer, None, spec, &set);
        }
        let mut bucket = waiting.pop(Decree(1)).unwrap();
        assert!(bucket.arguments.len() < 500, "{}", bucket.arguments.len());
        let cut = [&long[..128], b"... (872 more bytes)"].concat();
        let expected = [&b"SET"[..], b"k", &cut];
        let waiters = std::mem::take(&mut bucket.waiters);
        assert_eq!(bucket.shown(&waiters[1]), expected);
        for waiter in waiters {
            waiting.push_moved(Decree(4), &bucket, waiter);
        }
        let moved = waiting.pop(Decree(4)).unwrap_or_default();
        assert_eq!(moved.waiters.len(), 2);
        assert_eq!(moved.shown(&moved.waiters[1]), expected);
    }

    #[test]
    fn what_is_taken_carries_the_decree_it_waited_for() {
        let mut waiting = Waiting::default();
        waiting.push(Decree(8), waiter(1));
        waiting.push(Decree(10), waiter(2));
        let taken: Vec<_> = waiting
            .take()
            .into_iter()
            .flat_map(|(decree, bucket)| {
                let replies = bucket.waiters.into_iter().map(|waiter| waiter.reply);
                replies.map(move |reply| (decree, reply))
            })
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
