//! The RESP gateway: Redis clients in front, a [`Backend`] behind.
//!
//! A listener ([`serve`]) runs on a single-threaded tokio runtime, one local task per connection. A connection parses every
//! command that its buffer holds, gives each to the session or routes it by slot to the partitions it concerns, and writes the
//! replies in order, all that are ready at once. Nothing on this way is copied, allocated or spawned for a single command.
//!
//! Absent on purpose: evaluation of commands (crate `commands`), where partitions live and what is retried (the backend), data of
//! any kind. A gateway has no state but its sessions and the SCAN cursors it has given out.
//!
//! Reading order: [`backend`] (the contract), [`sink`] and `outbox` (how replies find back in order), [`codec`], [`limits`],
//! [`server`] (listening), `connection` (one socket), `session` (what concerns only the connection), `route` (what concerns data),
//! [`pages`] (the backend's half of SCAN).

#![warn(missing_docs)]

pub mod backend;
pub mod codec;
pub mod limits;
pub mod pages;
pub mod server;
pub mod sink;

mod clients;
mod connection;
mod outbox;
mod route;
mod session;

pub use backend::{
    Address, Backend, ClusterNode, InfoSection, Intent, OpenTableError, Request, Shard,
    SlowCommand, Topology, encode_resp3,
};
pub use limits::Limits;
pub use server::{Mode, Options, Statistics, bind, serve};
pub use sink::{Answer, Sink};
