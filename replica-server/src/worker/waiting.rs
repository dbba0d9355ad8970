//! Replies that wait for a commit: any reply, even "nothing done", leaves only when every decree it saw is committed.

use crate::worker::reply::{Command, ReplyTo};
use bytes::Bytes;
use commands::requests::RequestId;
use commands::{CommandSpec, Reply};
use foldhash::fast::FixedState;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use types::{Decree, Instant};

/// One reply that waits.
pub(crate) struct Waiter {
    pub(crate) to: ReplyTo,
    pub(crate) reply: Reply,
    pub(crate) again: Again,
}

/// How a command is asked again whose reply is not to be had here any more.
pub(crate) enum Again {
    /// By its sender, if at all. It wrote this.
    BySender(Touched),
    /// It had no effects: it needs the lease when it is answered (R1), and can be evaluated again instead.
    Evaluate(Command),
    /// It had effects: the new primary knows it by this id. The command is among those that its bucket keeps.
    ById(RequestId, Kept, Touched),
    /// Not at all: a later write may have been seen by its sender already. See [`mark_overtaken`].
    Never,
}

/// A command in a bucket: what it is, and where its arguments are.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    spec: &'static CommandSpec,
    at: usize,
}

/// What waits for one decree.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) waiters: Vec<Waiter>,
    /// Arguments of commands that may have to be asked again: one buffer for all, since hardly ever one is needed.
    arguments: Vec<u8>,
}

impl Bucket {
    /// Of reads alone.
    pub(crate) fn of(waiters: Vec<Waiter>) -> Self {
        Self {
            waiters,
            arguments: Vec::new(),
        }
    }

    fn keep(&mut self, spec: &'static CommandSpec, args: &[&[u8]]) -> Kept {
        let at = self.arguments.len();
        let mut append = |bytes: &[u8]| self.arguments.extend_from_slice(bytes);
        append(&args.len().to_le_bytes());
        for arg in args {
            append(&arg.len().to_le_bytes());
            append(arg);
        }
        Kept { spec, at }
    }

    /// A command that is kept here.
    pub(crate) fn command(&self, kept: Kept) -> Command {
        let mut rest = &self.arguments[kept.at..];
        let count = take_length(&mut rest);
        let mut args = Vec::with_capacity(count);
        for _ in 0..count {
            let length = take_length(&mut rest);
            let (arg, after) = rest.split_at(length);
            args.push(arg);
            rest = after;
        }
        Command::of(kept.spec, &args)
    }
}

/// A length as [`Bucket::keep`] wrote it.
fn take_length(from: &mut &[u8]) -> usize {
    let Some((length, rest)) = from.split_first_chunk() else {
        return 0;
    };
    *from = rest;
    usize::from_le_bytes(*length)
}

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
                &Again::ById(_, kept, _) => {
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
                Again::BySender(_) | Again::Never => false,
            };
            if overtaken {
                waiter.again = Again::Never;
            }
        }
        bucket.waiters = waiters;
    }
}

/// A read whose decrees are committed and that only a missing lease keeps from being answered.
pub(crate) struct Unleased {
    pub(crate) waiter: Waiter,
    pub(crate) since: Instant,
}

/// What a command is about, as far as it takes to tell that two have nothing to do with each other: the hash of its key, or nothing if it has
/// several or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Touched(Option<u64>);

impl Touched {
    /// By the arguments, the command's name first.
    pub(crate) fn by(spec: &CommandSpec, args: &[impl AsRef<[u8]>]) -> Self {
        let mut positions = spec.key_positions(args.len());
        let key = positions.next().and_then(|position| args.get(position));
        let alone = positions.next().is_none();
        Self(
            key.filter(|_| alone)
                .map(|key| KEY_HASHES.hash_one(key.as_ref())),
        )
    }
}

/// A seed of this process: clients cannot aim keys at one hash.
static KEY_HASHES: LazyLock<FixedState> =
    LazyLock::new(|| FixedState::with_seed(RandomState::new().hash_one(0u8)));

/// What was written, and told to be done, while reads waited for a lease.
#[derive(Default)]
pub(crate) struct Overtaking {
    written: Vec<Touched>,
    /// There was more of it than is kept.
    more: bool,
}

/// How many writes are kept while reads wait.
const WRITTEN: usize = 1 << 16;

impl Overtaking {
    /// A write was answered.
    pub(crate) fn answered(&mut self, written: Touched) {
        if self.written.len() < WRITTEN {
            self.written.push(written);
        } else {
            self.more = true;
        }
    }

    /// No read waits any more.
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        self.more = false;
    }

    /// What a read is to whoever gives it up here.
    pub(crate) fn give_up(&self, read: Unleased) -> Waiter {
        let mut waiter = read.waiter;
        let about = match &waiter.again {
            Again::Evaluate(command) => command.touched(),
            _ => Touched(None),
        };
        let overtaken = |written: &Touched| match (written.0, about.0) {
            (Some(written), Some(read)) => written == read,
            (None, _) | (_, None) => true,
        };
        if self.more || self.written.iter().any(overtaken) {
            waiter.again = Again::Never;
        }
        waiter
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

    /// The same for a write of this node's own port, which may have to be asked of another.
    pub(crate) fn push_named(
        &mut self,
        decree: Decree,
        (to, reply): (ReplyTo, Reply),
        id: RequestId,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) {
        let bucket = self.bucket(decree);
        let again = Again::ById(id, bucket.keep(spec, args), Touched::by(spec, args));
        bucket.waiters.push(Waiter { to, reply, again });
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
    use crate::worker::reply::Nowhere;
    use resp_gateway::Sink;
    use std::rc::Rc;

    fn waiter(number: i64) -> Waiter {
        Waiter {
            to: ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None),
            reply: Reply::Integer(number),
            again: Again::BySender(Touched(None)),
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
        let id = RequestId {
            client: 1,
            sequence: 1,
            first_incomplete: 1,
            sent: types::Timestamp(1),
            attempt: commands::requests::Attempt::First,
        };
        for args in commands {
            let to = ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None);
            let spec = commands::resolve(args).unwrap();
            waiting.push_named(Decree(3), (to, Reply::Ok), id, spec, args);
        }
        let (_, bucket) = waiting.take().remove(0);
        for (waiter, args) in bucket.waiters.iter().zip(commands) {
            let Again::ById(_, kept, _) = waiter.again else {
                panic!("it has an id");
            };
            assert_eq!(bucket.command(kept).args, args);
        }
    }

    /// What becomes of commands that waited for a decree each, of which those up to 5 were sent.
    fn overtaken(commands: &[(u64, &[&[u8]])]) -> Vec<bool> {
        let mut waiting = Waiting::default();
        for &(decree, args) in commands {
            let to = ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None);
            let spec = commands::resolve(args).unwrap();
            if spec.is_write() {
                let id = RequestId {
                    client: 1,
                    sequence: 1,
                    first_incomplete: 1,
                    sent: types::Timestamp(1),
                    attempt: commands::requests::Attempt::First,
                };
                waiting.push_named(Decree(decree), (to, Reply::Ok), id, spec, args);
            } else {
                let again = Again::Evaluate(Command::of(spec, args));
                let reply = Reply::Nil;
                waiting.push(Decree(decree), Waiter { to, reply, again });
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
    fn a_read_without_a_lease_is_given_up_for_good_if_its_key_was_written_meanwhile() {
        let (get, many) = ([&b"GET"[..], b"k"], [&b"MGET"[..], b"k", b"l"]);
        let (set, other) = ([&b"SET"[..], b"k", b"v"], [&b"SET"[..], b"o", b"v"]);
        let flush = [&b"FLUSHDB"[..]];
        let for_good = |read: &[&[u8]], writes: &[&[&[u8]]]| {
            let mut overtaking = Overtaking::default();
            for write in writes {
                overtaking.answered(Touched::by(commands::resolve(write).unwrap(), write));
            }
            let command = Command::of(commands::resolve(read).unwrap(), read);
            let again = Again::Evaluate(command);
            let read = Unleased {
                waiter: Waiter { again, ..waiter(1) },
                since: Instant::default(),
            };
            matches!(overtaking.give_up(read).again, Again::Never)
        };
        assert!(!for_good(&get, &[]));
        assert!(!for_good(&get, &[&other]));
        assert!(for_good(&get, &[&other, &set]));
        assert!(for_good(&get, &[&flush]));
        assert!(for_good(&many, &[&other]));
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
