//! What waits for one decree: replies, each with how its command is asked again, and what is kept of those commands.
//!
//! When they are answered, `waiting` says; how they are shown when that took long, `slow_log`.

use crate::slow_log::{ARGUMENT_BYTES, ARGUMENTS, shortened, shown_command};
use crate::worker::reply::{Command, ReplyTo};
use bytes::Bytes;
use commands::requests::RequestId;
use commands::{CommandSpec, Reply};
use types::Instant;

/// One reply that waits.
pub(crate) struct Waiter {
    pub(crate) to: ReplyTo,
    pub(crate) reply: Reply,
    pub(crate) again: Again,
    /// When its command came.
    pub(crate) came: Instant,
}

/// How a command is asked again whose reply is not to be had here any more.
pub(crate) enum Again {
    /// By its sender, if at all: a write that has no name. What it was is among what its bucket keeps, shortened, if slow commands are remembered.
    BySender(Option<Kept>),
    /// It had no effects: it needs the lease when it is answered (R1), and can be evaluated again instead.
    Evaluate(Command),
    /// It had effects: the new primary knows it by this id. The command is among those that its bucket keeps.
    ById(RequestId, Kept),
    /// Not at all: a later write may have been seen by its sender already. See [`mark_overtaken`].
    Never,
}

impl Again {
    /// The same in another bucket.
    pub(super) fn moved(self, of: &Bucket, to: &mut Bucket) -> Self {
        match self {
            Self::BySender(Some(kept)) => Self::BySender(Some(to.keep_from(of, kept))),
            Self::ById(id, kept) => Self::ById(id, to.keep_from(of, kept)),
            same @ (Self::BySender(None) | Self::Evaluate(_) | Self::Never) => same,
        }
    }
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
    /// Arguments of commands that may have to be asked again, or shown as slow: one buffer for all, since hardly ever one is needed.
    pub(super) arguments: Vec<u8>,
}

impl Bucket {
    /// Keeps a command: how many arguments it has and how many of them follow, and of each its length, how much of it follows, and that.
    pub(super) fn keep(
        &mut self,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        extent: Extent,
    ) -> Kept {
        let at = self.arguments.len();
        let (most, most_bytes) = match extent {
            Extent::Whole => (usize::MAX, usize::MAX),
            Extent::Shortened => (ARGUMENTS, ARGUMENT_BYTES),
        };
        let mut append = |bytes: &[u8]| self.arguments.extend_from_slice(bytes);
        append(&args.len().to_le_bytes());
        append(&args.len().min(most).to_le_bytes());
        for arg in args.iter().take(most) {
            let part = &arg[..arg.len().min(most_bytes)];
            append(&arg.len().to_le_bytes());
            append(&part.len().to_le_bytes());
            append(part);
        }
        Kept { spec, at }
    }

    /// Keeps what another bucket keeps.
    fn keep_from(&mut self, of: &Self, kept: Kept) -> Kept {
        let mut rest = of.arguments_of(kept);
        while rest.next().is_some() {}
        let bytes = &of.arguments[kept.at..of.arguments.len() - rest.rest.len()];
        let at = self.arguments.len();
        self.arguments.extend_from_slice(bytes);
        Kept { at, ..kept }
    }

    fn arguments_of(&self, kept: Kept) -> Arguments<'_> {
        let mut rest = &self.arguments[kept.at..];
        let count = take_length(&mut rest);
        let left = take_length(&mut rest);
        Arguments { count, left, rest }
    }

    /// A command that is kept here whole.
    pub(crate) fn command(&self, kept: Kept) -> Command {
        let args: Vec<&[u8]> = self.arguments_of(kept).map(|(_, arg)| arg).collect();
        Command::of(kept.spec, &args)
    }

    /// The command of a waiter of this bucket, as the slow log shows it.
    pub(crate) fn shown(&self, waiter: &Waiter) -> Vec<Bytes> {
        match &waiter.again {
            &(Again::BySender(Some(kept)) | Again::ById(_, kept)) => {
                let args = self.arguments_of(kept);
                shortened(args.count, args)
            }
            Again::Evaluate(command) => shown_command(command),
            Again::BySender(None) | Again::Never => Vec::new(),
        }
    }
}

/// How much of a command is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Shortened,
}

/// The arguments of a command that is kept: the length of each, and as much of it as there is.
struct Arguments<'a> {
    count: usize,
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Arguments<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let length = take_length(&mut self.rest);
        let here = take_length(&mut self.rest);
        let (arg, after) = self.rest.split_at(here);
        self.rest = after;
        Some((length, arg))
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
