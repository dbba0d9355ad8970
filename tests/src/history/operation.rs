//! One operation of one client on one key.

use serde::{Deserialize, Serialize};

/// Nanoseconds since the recorder was made.
pub type Nanos = u64;

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// GET.
    Get,
    /// SET to a number.
    Set(i64),
    /// DEL.
    Delete,
    /// INCR.
    Increment,
}

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To GET.
    Value(Option<i64>),
    /// To SET.
    Done,
    /// To DEL: whether there was anything.
    Deleted(bool),
    /// To INCR.
    Number(i64),
}

/// How it ended for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// With an answer.
    Replied(Reply),
    /// With the promise that nothing took effect.
    Refused,
    /// Nobody can say: it may take effect now, at any later time, or never.
    Unknown,
}

/// A call, its outcome, and the span in which it must have taken effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// What.
    pub call: Call,
    /// Taken before the request was sent.
    pub invoked: Nanos,
    /// Taken after the reply was read.
    pub returned: Nanos,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether it can have left a trace that a check must explain: refused calls promise none, and a read without an answer says nothing.
    pub fn counts(&self) -> bool {
        match self.outcome {
            Outcome::Replied(_) => true,
            Outcome::Refused => false,
            Outcome::Unknown => self.call != Call::Get,
        }
    }
}
