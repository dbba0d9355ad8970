//! The cluster's brain: which node should hold which partition, and who may say so.
//!
//! [`Cluster::step`] takes what happened (a node joined, a replica proposed, an operator asked) and appends what the shell must do
//! (write to the metadata store, tell a node, answer). It is a function of its events: no clock, no IO, no randomness, and
//! every map is ordered.
//!
//! ```text
//!   nodes ──reports, proposals──►┌─────────┐──Store──►  metadata store ──Stored──┐
//!   operators ──requests────────►│ Cluster │◄────────────────────────────────────┘
//!   time ──Tick─────────────────►└─────────┘──ToNode, Answer, RoutesChanged──►  nodes, operators, clients
//! ```
//!
//! Three kinds of state, never mixed: *intent* (tables and their replica counts), *stored* configurations (the truth that replicas
//! obey; changed only by compare-and-set, one per ballot) and *observed* reports (hints, forgotten when a node's stream ends).
//! Nothing is announced before it is stored. When a store write fails the shell throws the `Cluster` away, reads the store again
//! and starts a new one: there is no other way back.
//!
//! Reading order: [`event`](Event), [`action`](Action), [`document`](Document), `cluster`, `nodes`, `tables`, `birth`, `choose`,
//! `proposals`, `guardian`, `errands`, `outbox`, `queries`, `health`.
//!
//! Deliberately absent: deciding membership (replicas propose every change of a configuration in force; a node that fell silent here may well
//! serve), moving primaries or replicas for balance (the protocol has no planned hand-over yet), and the encoding of documents.

#![warn(missing_docs)]

mod action;
mod birth;
mod choose;
mod cluster;
mod document;
mod errands;
mod event;
mod guardian;
mod health;
mod nodes;
mod outbox;
mod proposals;
mod queries;
mod settings;
mod tables;

pub use action::{Action, Answer, BatchId, Finding, Refusal, ToNode};
pub use cluster::{Cluster, RestoreError};
pub use document::{Document, Entry, Key, NodeAddress, PAGE_PARTITIONS, Table, Write};
pub use event::{Event, ReplicaReport, Request, Soundness, TableSpecification, Token};
pub use health::{Ailment, Condition, Cure, Health};
pub use queries::{NodeStatus, Routes};
pub use settings::Settings;
