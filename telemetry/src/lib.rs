//! What a server shows of itself over HTTP: whether it is alive, whether it can serve, its metrics, and pages of its own.
//!
//! ```text
//!  load balancer ── /health, /ready ──►┐
//!  Prometheus ───── /metrics ─────────►├─ a thread of its own ─► Subject (the server)
//!  people ───────── pages ────────────►┘
//! ```
//!
//! The port has its own thread and runtime: a server that is busy is still said to be alive, and one that hangs is said to hang. Nothing is
//! gathered until somebody asks, so metrics cost a server next to nothing while it works.
//!
//! Reading order: [`subject`](Subject) (what a server answers), [`port`](PortOptions) and `serve` (who may connect, and how much of it), `routes`,
//! `guard` (the secret), [`exposition`](Exposition) (the metrics' text), [`latency`](Latencies) (histograms), [`heart`](Heart), `process`.
//!
//! Absent on purpose: what the metrics of a server are, and when it is ready: that is the server's own knowledge.

#![warn(missing_docs)]

mod exposition;
mod guard;
mod heart;
mod latency;
mod port;
mod process;
mod routes;
mod serve;
mod subject;

pub use axum;
pub use exposition::{Exposition, Family, Value};
pub use heart::Heart;
pub use latency::{BOUNDS, BUCKETS, Counts, Latencies};
pub use port::{PortError, PortOptions, bind};
pub use process::resident_bytes;
pub use serve::{HttpPort, serve};
pub use subject::{Role, Subject};
