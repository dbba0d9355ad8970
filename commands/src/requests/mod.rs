//! Request ids: how a write that is sent again takes effect once.
//!
//! ```text
//!  request with an id ──▶ Windows::judge ──New──▶ evaluated ──▶ Windows::record ─┐
//!                             │                                                  │ when the mutation is closed
//!                             └─Done──▶ the first reply, again                   ▼
//!                                              one row per client: Windows::close, in the same batch as the effects
//! ```
//!
//! The primary keeps for each client a window: which of its sequences are done, and the replies that are not plain OK. The rows are the
//! truth and are replicated like any; a new primary restores the windows from them. So a request that took effect under one primary is
//! answered, not repeated, by the next.
//!
//! What is forgotten cannot be repeated either: a request that was first sent more than [`RETRY_WINDOW`] ago is refused, and what was
//! done is remembered for [`LIFE`]. A sender says with each request below which sequence it will never ask again; that much is forgotten
//! at once, and refused should it still arrive.
//!
//! Reading order: [`id`], `windows` (all clients of a partition), `window` (one client), `row` (its bytes), `kept` (bytes of a
//! reply), `budget` (memory).
//! When a reply may leave, who draws sequences, and when something is sent again is decided elsewhere.

mod budget;
mod id;
mod kept;
mod row;
mod window;
mod windows;

pub use budget::Budget;
pub use id::{Attempt, LIFE, RETRY_WINDOW, RequestId};
pub use windows::{Verdict, Windows};

pub(crate) use row::is_over;
