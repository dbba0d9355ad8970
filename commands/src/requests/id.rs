//! What a request with an id says of itself.

use std::time::Duration;
use types::Timestamp;

/// A request that was first sent longer ago is refused.
pub const RETRY_WINDOW: Duration = Duration::from_mins(1);

/// How long what was done is remembered, in partition time. It is far longer than [`RETRY_WINDOW`], so that clocks that differ by minutes
/// do no harm.
pub const LIFE: Duration = Duration::from_mins(10);

/// Names one write of one sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId {
    /// The sender: a random number of its own.
    pub client: u64,
    /// Which of its writes to this partition: they are counted upwards.
    pub sequence: u64,
    /// Below this one the sender has given up or got its answer: it will never ask again.
    pub first_incomplete: u64,
    /// When it was first sent, by the clock of the primary to which it was: the same in every attempt.
    pub sent: Timestamp,
    /// Whether it was sent before.
    pub attempt: Attempt,
}

/// Whether another attempt of the same request may still be on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// None is: all earlier ones are known to have had no effect.
    First,
    /// One may be. So this one must be remembered even if it changes nothing: the other could change something later, after the sender
    /// was told that nothing was done.
    Again,
}

impl RequestId {
    /// Whether it is too old to be done at partition time `now`.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        is_past(self.sent, RETRY_WINDOW, now)
    }
}

/// Whether more than `span` has gone since `time`.
pub(super) fn is_past(time: Timestamp, span: Duration, now: Timestamp) -> bool {
    u128::from(now.0.saturating_sub(time.0)) > span.as_millis()
}
