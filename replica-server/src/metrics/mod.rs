//! What a replica server shows of itself over HTTP.
//!
//! ```text
//!  worker ──counts──► Counted ──(asked)──► Snapshot ──┐
//!  worker, logs ──times──► Timings (shared) ──────────┼─► Shown ─► telemetry (its own thread) ─► Prometheus
//!  engine, logs, leases ──(asked)─────────────────────┘
//!                  └──(every beat)──► Report ─► the meta leader
//! ```
//!
//! Reading order: `counted` (what the worker counts while it works: plain numbers of its own thread), `timings`, `snapshot` (what the worker
//! answers), `shown` and `front` (health, readiness, all metrics with their names), `report` (what the meta leader gets with each beat).
//!
//! A partition costs nothing here: metrics are by table, by peer and by role, and replicas are looked at only when somebody asks.

mod counted;
mod front;
mod report;
mod shown;
mod snapshot;
mod timings;

pub(crate) use counted::{Counted, Traffic};
pub use front::{describe_resp, describe_routes};
pub(crate) use report::Report;
pub(crate) use shown::{Parts, Shown};
pub(crate) use snapshot::answer;
pub(crate) use timings::{CommitTimes, Timings};
