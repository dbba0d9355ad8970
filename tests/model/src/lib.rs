//! Models of replication, small enough to be searched to the end, and what breaks in them when a part of a rule is left out.
//!
//! The rules are those of `docs/replication.md`; the models are not the code of the crate `replication`, but written a second time from
//! the rules, with everything left out that no rule is about. The simulator checks the code, by chance; these check the rules, in every
//! order. In reading order: [`node`] and [`rule`], which all models share; [`log`], [`lease`], [`expiry`] and [`hang`], each of which says
//! what it abstracts from; [`check`], a search, and [`ways`], one back; [`runs`], what is searched.

pub mod check;
pub mod expiry;
pub mod hang;
pub mod lease;
pub mod log;
pub mod node;
pub mod rule;
pub mod runs;
pub mod ways;

pub use rule::Omission;
