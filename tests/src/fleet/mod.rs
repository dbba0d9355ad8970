//! A cluster of separate processes that a fault-injecting program owns piece by piece: their network, their disks, their connections.
//!
//! Reading order: [`network`] where each server lives (a namespace of its own, or loopback), [`disk`] what it stores on, [`clock`] what
//! time it believes, [`proxy`] what may stand before its ports, [`server`] one process from start to death, [`cluster`] all of them and their table.
//!
//! `tulpar onebox` is not used: it starts dead servers again by itself, and here that is for the program to decide.

pub mod clock;
pub mod cluster;
pub mod disk;
pub mod network;
pub mod proxy;
pub mod server;

pub use cluster::{Fleet, FleetOptions};
pub use server::{Role, Server};
