//! How an operation can end other than well. One enum, because every operation ends in the same few ways.

/// Why an operation did not end well. The variants are what the caller does next; the texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Never ask again in this form. The message has Redis' form: `ERR ...`, `WRONGTYPE ...`.
    #[error("{0}")]
    Rejected(String),
    /// A write that may or may not have taken effect: read before writing again.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// The deadline passed, and nothing took effect. Says what stood in the way.
    #[error("not done before the deadline: {0}")]
    Timeout(String),
    /// The table wants a password, or another one.
    #[error("{0}")]
    Unauthorized(String),
    /// No such table (any more).
    #[error("there is no table '{0}'")]
    NoSuchTable(String),
    /// Nothing took effect; ask again later.
    #[error("{0}")]
    Unavailable(String),
}
