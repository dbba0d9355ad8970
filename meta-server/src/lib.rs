//! The meta server: the shell around [`placement`]. It gives the cluster's brain a clock, a store and streams, and asks it nothing twice.
//!
//! ```text
//!  replica servers ──Nodes.Join──►┐                     ┌──► MetadataStore (a thread that may block)
//!  operators ───────Admin────────►├─ commands ─► Leader ┤
//!  clients ─────────Routes───────►┤   (bounded) one task└──► one bounded queue per stream
//!  people ──────────HTTP─────────►┘
//! ```
//!
//! One task, the leader, owns the [`placement::Cluster`]; services turn requests into commands for it. Each stream has a bounded queue: a
//! peer that does not keep up loses its stream and starts over, it is never buffered for. When a write to the store fails, or the
//! store says that another may lead, the leader's term ends: all streams end, this server competes again, and with the next term the store is
//! read again. The process goes on. A server that does not lead refuses everything, and says who leads.
//!
//! Reading order: [`config`](MetaConfig), [`server`](MetaServer), `leader` (and in it `terms`), `streams`, `services`, `administration`, `convert`,
//! `store`, `unwell` (what is wrong, in words), `web` (health, metrics, the page of the cluster).
//!
//! Deliberately absent: every decision about tables, nodes and partitions (crate `placement`).

#![warn(missing_docs)]

mod administration;
mod config;
mod convert;
mod error;
mod leader;
mod server;
mod services;
mod store;
mod streams;
mod unwell;
mod web;

pub use config::{BalanceConfig, MetaConfig};
pub use error::StartError;
pub use server::{MetaServer, Running};
pub use store::{
    EmbeddedStore, InvalidEnsemble, Led, MetadataStore, OpenError, Term, WriteError,
    ZooKeeperOptions, ZooKeeperStore,
};

/// Largest gRPC message taken or sent.
pub const MAX_MESSAGE: usize = 16 << 20;
