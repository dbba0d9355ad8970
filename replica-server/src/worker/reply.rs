//! Whom a command is answered to, and what there is to answer besides a reply.

use crate::services::data::StreamReply;
use bytes::Bytes;
use commands::requests::RequestId;
use commands::{CommandSpec, Reply};
use resp_gateway::Sink;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use types::{Configuration, PartitionId};

/// Where a reply goes.
pub(crate) enum ReplyTo {
    /// A connection of this node's RESP port; where another node must be asked, this is the way there.
    Resp(Sink, Rc<dyn Elsewhere>, Age),
    /// A client's stream.
    Stream(StreamReply),
}

/// How old the answer of a read may be; nothing: it sees every acknowledged write.
pub(crate) type Age = Option<Duration>;

/// See [`ReplyTo::sender`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sender {
    Here,
    /// A client's stream, by where it is in memory.
    Stream(usize),
}

/// The way to a partition's primary when that is another node.
pub(crate) trait Elsewhere {
    /// Asks there; under the id that the command was evaluated with here, if it was.
    fn ask(
        self: Rc<Self>,
        partition: PartitionId,
        command: &Command,
        id: Option<&RequestId>,
        sink: Sink,
    );
}

/// Under what name a write is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum Named<'a> {
    /// One of this node's own: nobody sends it again but this node.
    Here,
    By(&'a RequestId),
    /// Its sender does not want it sent again.
    Nothing,
}

impl ReplyTo {
    /// How a write is known again.
    pub(crate) fn named(&self) -> Named<'_> {
        match self {
            Self::Resp(..) => Named::Here,
            Self::Stream(reply) => reply.request_id().map_or(Named::Nothing, Named::By),
        }
    }

    /// Where the command came from, as far as is known here.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        match self {
            Self::Resp(sink, ..) => sink.client(),
            Self::Stream(reply) => reply.client(),
        }
    }

    /// Whose order of commands there is to keep. Connections of this node's own port are not told apart here.
    pub(crate) fn sender(&self) -> Sender {
        match self {
            Self::Resp(..) => Sender::Here,
            Self::Stream(reply) => Sender::Stream(reply.stream()),
        }
    }

    /// How old the command's answer may be. Means nothing for a write.
    pub(crate) fn age(&self) -> Age {
        match self {
            Self::Resp(_, _, age) => *age,
            Self::Stream(reply) => reply.age(),
        }
    }

    /// Whether an earlier command of the same sender for the same partition was refused: then this one is not to overtake it.
    pub(crate) fn refused_before(&self) -> bool {
        match self {
            Self::Resp(..) => false,
            Self::Stream(reply) => reply.refused_before(),
        }
    }
}

/// Refuses a command; those behind it in the same stream are known to be refused from here on, before any of them is tried.
pub(crate) fn refuse(to: ReplyTo, refused: Refused, out: &mut Vec<Delivery>) {
    if let ReplyTo::Stream(reply) = &to {
        reply.will_be_refused(&refused);
    }
    out.push(Delivery::Answer(to, Outcome::Refused(refused)));
}

/// Refuses a command that was not evaluated here, or whose fate the new primary knows by its id. One of this node's own port is asked for
/// there; others' senders do that themselves.
pub(crate) fn send_on(
    to: ReplyTo,
    partition: PartitionId,
    command: Command,
    id: Option<RequestId>,
    refused: Refused,
    out: &mut Vec<Delivery>,
) {
    match to {
        ReplyTo::Resp(sink, way, _) => out.push(Delivery::Elsewhere {
            sink,
            way,
            partition,
            command,
            id,
        }),
        ReplyTo::Stream(_) => refuse(to, refused, out),
    }
}

/// Refuses a command that was not evaluated here; if it is another node's affair, that one is asked where this node can.
pub(crate) fn turn_away(
    to: ReplyTo,
    partition: PartitionId,
    command: Command,
    refused: Refused,
    out: &mut Vec<Delivery>,
) {
    if refused.is_elsewhere() {
        send_on(to, partition, command, None, refused, out);
    } else {
        refuse(to, refused, out);
    }
}

/// Why a command was not done. Nothing of it took effect, but for [`Refused::Unknown`] and attempts before.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// Another node's affair.
    NotPrimary(Option<Configuration>),
    /// The primary's affair: how old this secondary's copy is, is not known well enough for the read.
    NotFresh,
    /// Ask again, soon.
    Busy(String),
    /// No writes are taken for now: too few members, no room. The text is in Redis' form (`NOREPLICAS ...`).
    Unable(String),
    /// It may or may not have taken effect; of a read: it is not to be asked again.
    Unknown(String),
    /// This attempt did nothing and none will any more; an earlier one may have.
    TooLate(&'static str),
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

impl Refused {
    /// Whether it is another node that has to be asked.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NotPrimary(_) | Self::NotFresh)
    }
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
pub(crate) enum Delivery {
    Answer(ReplyTo, Outcome),
    /// Another node has to answer.
    Elsewhere {
        sink: Sink,
        way: Rc<dyn Elsewhere>,
        partition: PartitionId,
        command: Command,
        id: Option<RequestId>,
    },
}

/// The way of connections that no test asks on.
#[cfg(test)]
pub(crate) struct Nowhere;

#[cfg(test)]
impl Elsewhere for Nowhere {
    fn ask(self: Rc<Self>, _: PartitionId, _: &Command, _: Option<&RequestId>, _: Sink) {}
}
