//! What one key does: the sequential truth that a history is compared with.
//!
//! A key is a register and a counter at once, as in Redis: INCR of a key that is not there makes 1.

use super::operation::{Call, Reply};

/// The number under the key, if it exists.
pub type State = Option<i64>;

/// The key after the call, and the only reply that is true.
pub fn apply(state: State, call: Call) -> (State, Reply) {
    match call {
        Call::Get => (state, Reply::Value(state)),
        Call::Set(value) => (Some(value), Reply::Done),
        Call::Delete => (None, Reply::Deleted(state.is_some())),
        Call::Increment => {
            let number = state.unwrap_or(0) + 1;
            (Some(number), Reply::Number(number))
        }
    }
}
