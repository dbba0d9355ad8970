//! The log model: writes, changes of configuration, restarts, learns, power loss (rules L1 to L4, C1 to C6).
//!
//! In reading order: `state`, `message`, `bounds`, `act` (what can happen), then what it leads to: `install` (a new
//! configuration, a restart), `follow` (secondaries and learners), `lead` (the primary), `propose` (changes of configuration),
//! `learn`, `fault`; and what must hold, `properties`.
//!
//! Abstractions, each of which allows no less than the code does:
//! - A follower appends, flushes and acknowledges in one step: between them nobody sees anything of it, and what it does next waits
//!   for the flush. A primary, who sends before it flushes, does so in two.
//! - Acknowledgements are not received but looked up, at the commit that they allow: the primary's own memory of them adds nothing.
//! - Any node may hear of any stored configuration at any time, or never: answers to proposals, routes and the words of other
//!   replicas are all alike. A proposal that was made may be stored as long as its ballot is free.
//! - On a restart the applied decree is any up to the committed one: RocksDB may lag behind as far as it likes.
//! - The log is never trimmed, so a learner without a good prefix starts from nothing instead of from a checkpoint.
//! - No time and no reads: who may read is the lease model's affair. Here a primary that serves must only have what it would answer.

mod act;
mod bounds;
mod fault;
mod follow;
mod install;
mod lead;
mod learn;
mod message;
mod properties;
mod propose;
mod state;

pub use act::{Act, LogModel};
pub use bounds::{Bounds, Durability, OldPrimary};
pub use state::Faults;
