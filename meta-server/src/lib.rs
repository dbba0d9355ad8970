//! The meta server: the shell around [`placement`]. It gives the cluster's brain a clock, a store and streams, and asks it nothing twice.
//!
//! ```text
//!  replica servers ──Nodes.Join──►┐                     ┌──► MetadataStore (a thread that may block)
//!  operators ───────Admin────────►├─ commands ─► Leader ┤
//!  clients ─────────Routes───────►┘   (bounded) one task└──► one bounded queue per stream
//! ```
//!
//! One task, the leader, owns the [`placement::Cluster`]; services turn requests into commands for it. Each stream has a bounded queue: a
//! peer that does not keep up loses its stream and starts over, it is never buffered for. When a write to the store fails
//! the leader's term ends: all streams end, the store is read again and a new term begins. The process goes on.
//!
//! Reading order: [`config`](MetaConfig), [`server`](MetaServer), `leader`, `streams`, `services`, `convert`, `store`.
//!
//! Deliberately absent: every decision about tables, nodes and partitions (crate `placement`), and several meta servers (the store's
//! trait is shaped for an ensemble, the embedded store serves one).

#![warn(missing_docs)]

mod config;
mod convert;
mod error;
mod leader;
mod server;
mod services;
mod store;
mod streams;

pub use config::MetaConfig;
pub use error::StartError;
pub use server::{MetaServer, Running};
pub use store::{EmbeddedStore, MetadataStore, OpenError, Term, WriteError};

/// Largest gRPC message taken or sent.
pub const MAX_MESSAGE: usize = 16 << 20;
