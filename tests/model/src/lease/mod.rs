//! The lease model: who may answer reads, with time (rules R1 to R5, and C1 for reads).
//!
//! In reading order: `state`, `bounds`, `act` (what can happen), `change` (configurations, vouching, serving), `beacon`
//! (leases, exceptions, time), and what must hold, `properties`.
//!
//! Time is counted in ticks that all clocks see, but that a slow clock may miss once. Timers hold what is left of them, so there is
//! no bound on how long anything goes on. Abstractions, each of which allows no less than the code does:
//! - A beacon and its answer take no time: one that travels longer grants less to the holder and no less to wait for to the grantor.
//!   It may be lost, and exceptions may arrive without a grant. The acknowledgement of an exception may be on its way for ever.
//! - Writes are a mark on those who have seen the newest one. A primary writes when all members it obeys follow it, and a new one has
//!   seen everything when it begins to serve: the log model shows that this is so.
//! - A learn is a step: the learner hears of the ballot, and vouches.
//! - A read is answered in the moment in which it is allowed. (Evaluated before, as R1 has it, it could only have seen less.)

mod act;
mod beacon;
mod bounds;
mod change;
mod properties;
mod state;

pub use act::{Act, LeaseModel};
pub use bounds::Bounds;
