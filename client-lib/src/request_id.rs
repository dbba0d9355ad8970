//! The name of a write: what an application gives that wants to send a command again itself.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names one write to one partition, so that it takes effect once however often it is sent.
///
/// The client library names its own writes. An application needs this only if it wants to go on asking where the library gave up
/// ([`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown)), perhaps in another process: then it keeps the same value and passes it with the
/// same command.
///
/// A request can be asked again for a minute from when its id was made; servers go by their own clocks, so the application's must not
/// differ much.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId {
    /// Who asks: a random number that nobody else uses.
    pub client: u64,
    /// Which of its writes to this partition. Each has a number of its own.
    pub sequence: u64,
    /// What is below will not be asked again, so that servers need not remember it. A client of one request at a time gives the sequence
    /// itself.
    pub first_incomplete: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made: u64,
}

impl RequestId {
    /// The name of a write that is asked for the first time now, when all with a lower sequence have ended.
    pub fn new(client: u64, sequence: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            client,
            sequence,
            first_incomplete: sequence,
            made: now.map_or(0, |now| now.as_millis() as u64),
        }
    }
}

/// Whether a write may be sent again when nobody knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    /// Under a name that the lane gives it.
    ById,
    Never,
    /// Under a name that the application gave.
    As(RequestId),
}
