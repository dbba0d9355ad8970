//! Storage of a node's partitions: a `RocksDB` each, opened when needed, under an overlay that makes effects visible before they get
//! there.
//!
//! ```text
//!            worker (one thread, never waits for a disk)                    engine threads
//!   evaluate -> open mutation -> in flight -> committed  --- apply ----->  RocksDB memtable   apply.rs
//!        |          `------- overlay, its index -------'                        | flush       flush.rs
//!        |--> row cache --> block cache                                    RocksDB files  --> catalogue.rs
//!        `--> cold: asks, and evaluates again          <--- fetch ------        |             fetch.rs
//! ```
//!
//! Reading order: [`EngineOptions`], [`EngineEvent`], `partition` (what a worker does), `overlay`, `row_cache`; then `node` and
//! `store` (what threads share), `apply`, `flush`, `fetch`, `collect`, `checkpoint`, `digest`, `scrub`, `filter`; `catalogue`, `rocks`, `batch`.
//!
//! Deliberately absent: replication, the log (it is asked to sync through a hook), the meaning of rows (that is `commands`), async.

#![warn(missing_docs)]

mod apply;
mod batch;
mod catalogue;
mod checkpoint;
mod collect;
mod digest;
mod disk_use;
mod engine;
mod event;
mod fetch;
mod filter;
mod flush;
mod node;
mod options;
mod overlay;
mod partition;
mod pool;
mod rocks;
mod row_cache;
mod scrub;
mod state;
mod store;

pub use batch::Malformed;
pub use commands::rows::own::Applied;
pub use engine::{Engine, EngineStats, Memory, OpenError};
pub use event::{
    Checkpoint, Digest, EngineEvent, EventHook, Haste, Hooks, SyncHook, SyncedHook, Ticket,
};
pub use fetch::Fetched;
pub use options::EngineOptions;
pub use partition::{Partition, PartitionStats, Read, Sealed, StageError, Written};
pub use pool::contains_panics;
pub use scrub::Scrubbed;
pub use state::RocksState;
