//! A request of a lane, and what an answer to it means.

use crate::Error;
use crate::completion::{Completion, Deliveries, Outcome};
use crate::conflict::Order;
use crate::request_id::RequestId;
use proto::data::{Refusal, refusal, request::Operation, response};
use std::time::{Duration, Instant};
use types::NodeId;

/// Whether an operation changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Changes nothing: it may be evaluated as often as need be.
    Read,
    /// May change something.
    Write,
}

/// One request.
pub(crate) struct Op {
    /// Its place in the lane.
    pub(crate) sequence: u64,
    /// With whose other requests it keeps its order, if with any.
    pub(crate) order: Option<Order>,
    pub(crate) operation: Operation,
    /// Encoded length of the operation.
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    /// Of a write that may be sent again.
    pub(crate) name: Option<Name>,
    /// An attempt had no answer, and may have had an effect.
    pub(crate) lost: bool,
    pub(crate) deadline: Instant,
    /// How often it was put off because it could not be done.
    pub(crate) put_off: u32,
    /// None when its waiter was told that the deadline has passed.
    pub(crate) completion: Option<Completion>,
    pub(crate) cost: u32,
    /// Of a read that a secondary was asked.
    pub(crate) aside: Option<Aside>,
}

/// A read that allows for an age, at a secondary: outside the lane's order, and back in it if that refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aside {
    pub(super) staleness: Duration,
    pub(super) secondary: NodeId,
}

impl Aside {
    /// As the protocol has it.
    pub(crate) fn milliseconds(&self) -> u32 {
        u32::try_from(self.staleness.as_millis()).unwrap_or(u32::MAX)
    }
}

/// Under which request id a write is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    /// The lane's own.
    Own {
        sequence: u64,
        /// When it was first sent, by the server's clock.
        sent: Option<u64>,
    },
    Given(RequestId),
}

impl Op {
    pub(super) fn end(&mut self, outcome: Outcome, out: &mut Deliveries) {
        if let Some(completion) = self.completion.take() {
            out.settle(completion, self.cost, outcome);
        }
    }

    /// Whether an attempt before the next may have had an effect.
    pub(crate) fn is_again(&self) -> bool {
        self.lost || matches!(self.name, Some(Name::Given(_)))
    }

    /// How it ends when nothing is known of the last attempt but that it had no effect: so `otherwise`, if there was no other attempt.
    pub(crate) fn without_effect(&self, otherwise: Error) -> Error {
        if self.is_again() {
            Error::OutcomeUnknown(otherwise.to_string())
        } else {
            otherwise
        }
    }

    /// How it ends when an answer is missing.
    pub(crate) fn without_answer(&self, reason: String) -> Error {
        match self.kind {
            Kind::Read => Error::Unavailable(reason),
            Kind::Write => Error::OutcomeUnknown(reason),
        }
    }
}

/// What an answer means.
pub(super) enum Verdict {
    Ended(Outcome),
    /// It had no effect: it is sent again.
    Again(Refusal),
    /// It had no effect, and there are no writes for now.
    Unable(Refusal),
    /// It may have had an effect: it is sent again by its id.
    Unsure(Refusal),
}

pub(super) fn judge(result: Option<response::Result>, op: &Op) -> Verdict {
    let refusal = match result {
        Some(response::Result::Refusal(refusal)) => refusal,
        Some(result) => return Verdict::Ended(Ok(result)),
        None => {
            let reason = "the server answered with something newer than this client".into();
            return Verdict::Ended(Err(op.without_answer(reason)));
        }
    };
    let ended = |error| Verdict::Ended(Err(error));
    match refusal.kind() {
        refusal::Kind::NotPrimary | refusal::Kind::Busy | refusal::Kind::NotFresh => {
            Verdict::Again(refusal)
        }
        refusal::Kind::Unable => Verdict::Unable(refusal),
        refusal::Kind::OutcomeUnknown if op.name.is_some() => Verdict::Unsure(refusal),
        // An answer like any other: the same in every attempt.
        refusal::Kind::Rejected => ended(Error::Rejected(refusal.message)),
        refusal::Kind::Unauthorized => {
            ended(op.without_effect(Error::Unauthorized(refusal.message)))
        }
        refusal::Kind::NoSuchTable => ended(op.without_effect(Error::NoSuchTable(refusal.message))),
        refusal::Kind::TooLate if !op.is_again() => ended(Error::Timeout(refusal.message)),
        refusal::Kind::OutcomeUnknown | refusal::Kind::Unknown | refusal::Kind::TooLate => {
            ended(op.without_answer(refusal.message))
        }
    }
}
