//! A cluster of separate processes that a fault-injecting program owns piece by piece: their network, their disks, their connections.
//!
//! Reading order: [`network`] where each server lives (a namespace of its own, or loopback), [`disk`] what it stores on, [`volatile`]
//! the same in memory, which forgets what was not synced, [`clock`] what time it believes, [`boot`] in which
//! boot of the machine (both by [`preload`]), [`proxy`] what may stand before its ports,
//! [`server`] one process from start to death, [`cluster`] all of them and their table.
//!
//! `tulpar onebox` is not used: it starts dead servers again by itself, and here that is for the program to decide.

pub mod boot;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod network;
pub mod preload;
pub mod proxy;
pub mod server;
pub mod volatile;

pub use cluster::{Fleet, FleetOptions};
pub use server::{Role, Server};
pub use volatile::VolatileDisk;
