//! Clients that record what they see while faults drawn from a seed are done to a cluster of real processes.
//!
//! Reading order: [`keys`] which keys clients use and for how long, [`clients`] what they ask and through which doors, [`fault`] what
//! can go wrong and how it is drawn, [`inject`] how it is done and undone, [`damage`] how files are damaged, [`run`] rounds of all that
//! with a verdict at the end of each, [`power`] the same for one fault alone: the power of all servers fails.
//!
//! ```text
//! seed ─► fault ─► inject ─► fleet (servers, links, disks, clocks)
//!                              ▲
//! keys ◄─► clients ────────────┘ ─► history ─► run: linearizable? all there? copies equal?
//! ```

pub mod clients;
pub mod damage;
pub mod fault;
pub mod inject;
pub mod keys;
pub mod power;
pub mod run;
