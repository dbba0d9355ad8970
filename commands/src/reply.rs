//! Replies as values. Their bytes, in RESP2 or RESP3 or the SDK's messages, are made by those who speak these.

use bytes::Bytes;
use std::borrow::Cow;

/// What a command answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// Another status.
    Simple(&'static str),
    /// An error with its code in front; one line.
    Error(Bytes),
    /// A number.
    Integer(i64),
    /// A float; in RESP2 its text as a bulk string.
    Double(f64),
    /// In RESP2 0 or 1.
    Boolean(bool),
    /// A string.
    Bulk(Bytes),
    /// A text for people: verbatim in RESP3, a bulk string in RESP2.
    Text(Bytes),
    /// No value: the null bulk string in RESP2, null in RESP3.
    Nil,
    /// No array: the null array in RESP2, null in RESP3.
    NilArray,
    /// A list of replies.
    Array(Vec<Reply>),
    /// Keys and values: a map in RESP3, a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Pairs: an array of arrays of two in RESP3, a flat array in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// A set in RESP3, an array in RESP2.
    Set(Vec<Reply>),
    /// An out-of-band message in RESP3, an array in RESP2.
    Push(Vec<Reply>),
}

impl Reply {
    /// An error of a text that begins with its code.
    pub fn error(text: impl Into<Bytes>) -> Self {
        Self::Error(text.into())
    }

    /// A string, copied.
    pub fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(Bytes::copy_from_slice(bytes))
    }

    /// A string of a number's digits.
    pub fn digits(number: i64) -> Self {
        Self::bulk(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Whether the command failed, so that it must leave nothing behind.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The key holds another type.
    pub fn wrong_type() -> Self {
        Refusal::WRONG_TYPE.into()
    }

    /// The command's keys are not in one slot.
    pub fn cross_slot() -> Self {
        Refusal::CROSS_SLOT.into()
    }

    /// The command's effects do not fit into a mutation.
    pub fn too_large() -> Self {
        Refusal::TOO_LARGE.into()
    }
}

/// Why a command is refused: a text with its code in front, as Redis words it where Redis has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal(pub(crate) Cow<'static, str>);

impl Refusal {
    pub(crate) const WRONG_TYPE: Self =
        Self::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub(crate) const CROSS_SLOT: Self =
        Self::new("CROSSSLOT Keys in request don't hash to the same slot");
    pub(crate) const TOO_LARGE: Self =
        Self::new("ERR the effects of this command are larger than a mutation may be");
    pub(crate) const KEY_TOO_LONG: Self = Self::new("ERR key or field is longer than the limit");
    pub(crate) const VALUE_TOO_LONG: Self =
        Self::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    pub(crate) const SYNTAX: Self = Self::new("ERR syntax error");
    pub(crate) const NOT_AN_INTEGER: Self =
        Self::new("ERR value is not an integer or out of range");
    pub(crate) const NOT_A_FLOAT: Self = Self::new("ERR value is not a valid float");
    pub(crate) const OUT_OF_RANGE: Self = Self::new("ERR value is out of range");
    pub(crate) const NO_SUCH_KEY: Self = Self::new("ERR no such key");
    pub(crate) const OVERFLOW: Self = Self::new("ERR increment or decrement would overflow");
    pub(crate) const NOT_FINITE: Self = Self::new("ERR increment would produce NaN or Infinity");

    pub(crate) const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub(crate) fn arity(command: &str) -> Self {
        Self(format!("ERR wrong number of arguments for '{command}' command").into())
    }

    pub(crate) fn expire_time(command: &str) -> Self {
        Self(format!("ERR invalid expire time in '{command}' command").into())
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Error(match refusal.0 {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        })
    }
}
