//! Whom a command is answered to, and what there is to answer besides a reply.

use crate::services::data::StreamReply;
use bytes::Bytes;
use commands::{CommandSpec, Reply};
use resp_gateway::Sink;
use types::Configuration;

/// Where a reply goes.
pub(crate) enum ReplyTo {
    /// A connection of this node's RESP port.
    Resp(Sink),
    /// A client's stream.
    Stream(StreamReply),
}

impl ReplyTo {
    /// Whether an earlier command of the same sender for the same partition was refused: then this one is not to overtake it.
    pub(crate) fn refused_before(&self) -> bool {
        match self {
            Self::Resp(_) => false,
            Self::Stream(reply) => reply.refused_before(),
        }
    }
}

/// Refuses a command; those behind it in the same stream are known to be refused from here on, before any of them is tried.
pub(crate) fn refuse(to: ReplyTo, refused: Refused, out: &mut Vec<Delivery>) {
    if let (ReplyTo::Stream(reply), Refused::Busy(_) | Refused::NotPrimary(_)) = (&to, &refused) {
        reply.will_be_refused();
    }
    out.push((to, Outcome::Refused(refused)));
}

/// Why a command was not done. Nothing of it took effect, but for [`Refused::Unknown`].
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// Another node's affair.
    NotPrimary(Option<Configuration>),
    /// Ask again, soon.
    Busy(String),
    /// It may or may not have taken effect.
    Unknown,
}

/// What came of a command.
pub(crate) enum Outcome {
    Reply(Reply),
    Refused(Refused),
}

/// A command with arguments of its own, for when it cannot run at once.
pub(crate) struct Command {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: Vec<Bytes>,
}

impl Command {
    pub(crate) fn of(spec: &'static CommandSpec, args: &[&[u8]]) -> Self {
        // One allocation for all arguments: each is a slice of it.
        let mut whole = Vec::with_capacity(args.iter().map(|arg| arg.len()).sum());
        for arg in args {
            whole.extend_from_slice(arg);
        }
        let whole = Bytes::from(whole);
        let mut at = 0;
        let slice = |arg: &&[u8]| {
            at += arg.len();
            whole.slice(at - arg.len()..at)
        };
        Self {
            spec,
            args: args.iter().map(slice).collect(),
        }
    }

    /// How much memory it holds, roughly.
    pub(crate) fn bytes(&self) -> usize {
        64 + self.args.iter().map(|arg| arg.len() + 32).sum::<usize>()
    }

    /// The keys it names; nothing: it concerns the whole partition.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let positions = self.spec.key_positions(self.args.len());
        positions.filter_map(|position| self.args.get(position))
    }
}

/// An answer on its way out: sent when no partition is borrowed any more, for the receiver may start its next command at once.
pub(crate) type Delivery = (ReplyTo, Outcome);
