//! A replica server: the shell around the protocol's core, the commit log and the storage engine.
//!
//! Reading order: `run` (what is started), `ports` and `storage` (what is opened for it), `ending` and `hand_over`, `directory` and `cluster` (who this node is, what it knows of others),
//! `worker` (replicas and commands), `services` (the ports), `peers` (other replica servers), `meta_link` (the meta leader),
//! `stream_queue` and `inbox` (what connects them), `clock` and `clock_watch`, `room` (whether the disk has any), `scrub` and `compare` (damage is looked for), [`metrics`] (what it shows of itself), `heat` (which replicas are busy), `slow_log` (which commands took long), `settings` (what the server is set to). [`remote`] is a gateway's way to all replica servers.
//!
//! Not here: what may be acknowledged, served or proposed, and when (`replication`); what commands mean (`commands`); how rows are
//! kept (`engine`).

#![warn(missing_docs)]

mod clock;
mod clock_watch;
mod cluster;
mod compare;
mod config;
mod directory;
mod disk_use;
mod ending;
mod hand_over;
mod heat;
mod inbox;
mod meta_link;
pub mod metrics;
mod peers;
mod ports;
pub mod remote;
mod room;
mod run;
mod scrub;
mod services;
mod settings;
mod slow_log;
mod storage;
mod stream_queue;
mod worker;

pub use config::{
    Budgets, Digest, Garbage, Learn, Leases, ReplicaConfig, RespLimits, Scrub, SlowLog,
};
pub use directory::DirectoryError;
pub use ending::Ending;
pub use ports::Listening;
pub use run::{StartError, run};
