//! Models of replication, small enough to be searched to the end.
pub mod log;
pub mod node;
pub mod rule;
pub use rule::Omission;
