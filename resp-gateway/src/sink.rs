//! Where a backend puts the reply of one command, whenever it has it.
//!
//! Replies of one connection leave in the order of its commands, in whatever order they come in here; the ordering is the
//! outbox's (`outbox.rs`), the putting together of scattered commands `route::gather`'s.

use crate::outbox::{Outbox, Style};
use bytes::Bytes;
use commands::Reply;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

/// What a server answered to a command.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// As a value.
    Reply(Reply),
    /// As RESP3 bytes from another server.
    Encoded(Bytes),
}

/// Takes the answer of one command, once. It never calls the backend, so it may be answered from anywhere in it. Dropped without one, it answers that the outcome is unknown.
pub struct Sink(Target);

/// Whose command a sink answers, if it is a connection's.
#[derive(Clone)]
pub(crate) struct Origin(Option<Rc<Outbox>>);

enum Target {
    Connection {
        outbox: Rc<Outbox>,
        sequence: u64,
        style: Style,
    },
    Function(Box<dyn FnOnce(Answer)>, Origin),
    Answered,
}

impl Sink {
    /// A sink that gives the answer to a function: for what is not a connection.
    pub fn new(take: impl FnOnce(Answer) + 'static) -> Self {
        Self::of_part(Origin(None), take)
    }

    /// The same for a part of what is to be answered to somebody.
    pub(crate) fn of_part(origin: Origin, take: impl FnOnce(Answer) + 'static) -> Self {
        Self(Target::Function(Box::new(take), origin))
    }

    /// Who waits for the answer.
    pub(crate) fn origin(&self) -> Origin {
        match &self.0 {
            Target::Connection { outbox, .. } => Origin(Some(Rc::clone(outbox))),
            Target::Function(_, origin) => origin.clone(),
            Target::Answered => Origin(None),
        }
    }

    pub(crate) fn of_connection(outbox: Rc<Outbox>, sequence: u64, style: Style) -> Self {
        Self(Target::Connection {
            outbox,
            sequence,
            style,
        })
    }

    /// The client that waits for the answer, if it is one of this listener's.
    pub fn client(&self) -> Option<SocketAddr> {
        match &self.0 {
            Target::Connection { outbox, .. } => outbox.client(),
            Target::Function(_, Origin(outbox)) => outbox.as_ref()?.client(),
            Target::Answered => None,
        }
    }

    /// Answers with a value.
    pub fn reply(self, reply: Reply) {
        self.answer(Answer::Reply(reply));
    }

    /// Answers with the RESP3 bytes that another server made of its reply. They are checked as they are turned into what the
    /// connection speaks; if they are not exactly one reply the client gets an error.
    pub fn reply_encoded(self, resp3: Bytes) {
        self.answer(Answer::Encoded(resp3));
    }

    /// Answers with either.
    pub fn answer(mut self, answer: Answer) {
        match std::mem::replace(&mut self.0, Target::Answered) {
            Target::Connection {
                outbox,
                sequence,
                style,
            } => outbox.answer(sequence, answer, style),
            Target::Function(take, _) => take(answer),
            Target::Answered => {}
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !matches!(self.0, Target::Answered) {
            let target = std::mem::replace(&mut self.0, Target::Answered);
            Self(target).reply(Reply::error(
                "ERR the server gave this command up; its outcome is unknown",
            ));
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Connection { sequence, .. } => write!(f, "Sink(reply {sequence})"),
            Target::Function(..) => f.write_str("Sink(function)"),
            Target::Answered => f.write_str("Sink(answered)"),
        }
    }
}
