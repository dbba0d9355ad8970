//! Histories: what clients asked, when, and what they were told; and whether all of it can be true.
//!
//! Reading order: [`operation`] is one question with its outcome, [`recorder`] gathers them from many threads by key,
//! [`object`] says what a key does when its operations come one after another, [`linearizable`] looks for an order in which they may
//! have come.
//!
//! Keys are checked each by itself: linearizability is local, and a search over one key is short where one over all keys has no end.
//! What spans keys (MSET, EXEC) is not looked at here.

pub mod linearizable;
pub mod object;
pub mod operation;
pub mod recorder;

pub use operation::{Call, Operation, Outcome, Reply};
pub use recorder::Recorder;
