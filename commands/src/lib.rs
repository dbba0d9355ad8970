//! Redis commands as functions: arguments and the rows of a partition in, a reply and effects out.
//!
//! No IO, no clock, no randomness, nothing that hashes in an unstable order: what the world looks like comes in as a [`Moment`], the
//! rows through a [`View`]. Who may evaluate, when a reply may leave and how effects are replicated is decided elsewhere; so are
//! sessions, cursors, the splitting of commands over partitions and the protocols' bytes.
//!
//! Reading order: [`rows`] (the key layout), [`view`], [`moment`], [`reply`], [`effects`], [`table`], `evaluate`, `keyspace`; then
//! one file per family: `strings`, `strings_range`, `counters`, `keys`, `rename`, `expire`, [`scan`], [`object`], [`hash`] and
//! what it lists; then what the engine asks for: [`garbage`], [`logical`]; and [`requests`], by which a
//! write that is sent again takes effect once. [`memory`] is a view for tests.

#![warn(missing_docs)]

pub mod effects;
pub mod garbage;
pub mod glob;
pub mod hash;
pub mod logical;
pub mod memory;
pub mod moment;
pub mod object;
pub mod reply;
pub mod requests;
pub mod rows;
pub mod scan;
pub mod table;
pub mod view;

mod arguments;
mod counters;
mod evaluate;
mod expire;
mod keys;
mod keyspace;
mod long_double;
mod rename;
mod strings;
mod strings_range;

pub use evaluate::{Evaluated, evaluate_read, evaluate_write, lazy_delete};
pub use moment::{Limits, Moment};
pub use reply::Reply;
pub use table::{CommandSpec, Flags, lookup, resolve};
pub use view::{Direction, Interrupt, View, ViewMut};
