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
//! Reading order: [`event`](Event), [`action`](Action), [`document`](Document), `cluster`, `restore`, `nodes`, `tables`, `alter`, `birth`, `choose`,
//! `proposals`, `guardian`, `balance`, `duty`, `errands`, `outbox`, `health`, `rescue`, `rebuild`, `unfinished`, `queries`.
//!
//! Deliberately absent: deciding membership (replicas propose every change of a configuration in force; a node that fell silent here may well
//! serve), and the encoding of documents.

#![warn(missing_docs)]

mod action;
mod alter;
mod balance;
mod birth;
mod choose;
mod cluster;
mod document;
mod duty;
mod errands;
mod event;
mod guardian;
mod health;
mod nodes;
mod outbox;
mod proposals;
mod queries;
mod rebuild;
mod rescue;
mod restore;
mod settings;
mod tables;
mod unfinished;

pub use action::{Action, Answer, Answered, BatchId, Finding, Refusal, ToNode};
pub use balance::{BalanceStatus, MoveStatus, Reason, Shift, Step};
pub use cluster::Cluster;
pub use document::{
    Balancing, Document, Duty, Entry, Key, NodeAddress, PAGE_PARTITIONS, Table, Write,
};
pub use event::{
    Choice, Event, ReplicaReport, Request, Soundness, TableChanges, TableSpecification, Token,
};
pub use health::{Ailment, Condition, Cure, Health, Loss};
pub use queries::{NodeStatus, Routes};
pub use rebuild::Rebuild;
pub use rescue::{Rescue, Rescuer};
pub use restore::RestoreError;
pub use settings::Settings;
