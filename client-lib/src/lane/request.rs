//! A request of a lane, and what an answer to it means.

use crate::Error;
use crate::completion::{Completion, Deliveries, Outcome};
use proto::data::{Refusal, refusal, request::Operation, response};
use std::time::Instant;

/// Whether an operation changes anything: a read may be sent again when its connection is lost, a write may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Changes nothing.
    Read,
    /// May change something.
    Write,
}

/// One request.
pub(crate) struct Op {
    /// Its place in the lane.
    pub(crate) sequence: u64,
    pub(crate) operation: Operation,
    /// Encoded length of the operation.
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) deadline: Instant,
    /// None when its waiter was told that the deadline has passed.
    pub(crate) completion: Option<Completion>,
    pub(crate) cost: u32,
}

impl Op {
    pub(super) fn end(&mut self, outcome: Outcome, out: &mut Deliveries) {
        if let Some(completion) = self.completion.take() {
            out.settle(completion, self.cost, outcome);
        }
    }
}

/// What an answer means.
pub(super) enum Verdict {
    Ended(Outcome),
    Again(Refusal),
}

pub(super) fn judge(result: Option<response::Result>, kind: Kind) -> Verdict {
    let unknown = |message: String| {
        Verdict::Ended(Err(match kind {
            Kind::Read => Error::Unavailable(message),
            Kind::Write => Error::OutcomeUnknown(message),
        }))
    };
    let refusal = match result {
        Some(response::Result::Refusal(refusal)) => refusal,
        Some(result) => return Verdict::Ended(Ok(result)),
        None => return unknown("the server answered with something newer than this client".into()),
    };
    match refusal.kind() {
        refusal::Kind::NotPrimary | refusal::Kind::Busy => Verdict::Again(refusal),
        refusal::Kind::Rejected => Verdict::Ended(Err(Error::Rejected(refusal.message))),
        refusal::Kind::Unauthorized => Verdict::Ended(Err(Error::Unauthorized(refusal.message))),
        refusal::Kind::NoSuchTable => Verdict::Ended(Err(Error::NoSuchTable(refusal.message))),
        refusal::Kind::OutcomeUnknown | refusal::Kind::Unknown => unknown(refusal.message),
    }
}
