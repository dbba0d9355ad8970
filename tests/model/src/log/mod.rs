//! The log model: writes, changes of configuration, restarts, learns, power loss (rules L1 to L4, C1 to C6).
//!
//! In reading order: `state`, `message`, `bounds`, `act` (what can happen), then what it leads to: `install` (a new
//! configuration, a restart), `follow` (secondaries and learners), `lead` (the primary), `propose` (changes of configuration),
//! `learn`, `hole` (what a learner's log lacks, and checkpoints), `fault`; and what must hold, `properties`.
//!
//! Abstractions, each of which allows no less than the code does:
//! - A follower appends, flushes and acknowledges in one step: between them nobody sees anything of it, and what it does next waits
//!   for the flush. A primary, who sends before it flushes, does so in two.
//! - Acknowledgements are not received but looked up, at the commit that they allow: the primary's own memory of them adds nothing.
//! - Any node may hear of any stored configuration at any time, or never: answers to proposals, routes and the words of other
//!   replicas are all alike. A proposal that was made may be stored as long as its ballot is free.
//! - On a restart the applied decree is any up to the committed one: RocksDB may lag behind as far as it likes.
//! - A learner starts from its own prefix or from nothing, and takes everything in order, unless the bounds say that its log may have
//!   holes. Then a primary may send a checkpoint of any decree that it committed, at any time during a learn and as often as it likes, and
//!   all of its log beside it: one that is trimmed sends less, as messages may be lost. And a learner, while it learns, appends whatever
//!   prepares arrive, above what it lacks too, with and without a base. (In the code it takes none before its base is there, and none out of
//!   order.) A checkpoint is what clients were told; so there is no power loss with holes, which could take that back. What RocksDB
//!   had of an old copy and what its log had are one, and while a checkpoint is put in place, a crash finds the old or the new.
//! - No time and no reads: who may read is the lease model's affair. Here a primary that serves must only have what it would answer.

mod act;
mod bounds;
mod fault;
mod follow;
mod hole;
mod install;
mod lead;
mod learn;
mod message;
mod properties;
mod propose;
mod state;

pub use act::{Act, LogModel};
pub use bounds::{Bounds, Durability, Learners, OldPrimary, Start};
pub use state::Faults;
