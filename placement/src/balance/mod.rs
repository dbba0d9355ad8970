//! The balancer: who has too much gives to who has too little, in small moves.
//!
//! ```text
//!   configurations, nodes ──► picture ──► plan ──steps──► moves ──► AddLearner, RemoveSecondary, HandOver
//! ```
//!
//! `picture` is what would be if all moves under way were done, `plan` says what should be moved next and why (`misplaced` replicas
//! first, then `evenness`, then `leads`) and to which of the `takers`, `moves` carries a few steps out at a time (`under_way` knows how many), those
//! too that were `asked` for. A replica is moved by adding one elsewhere first: there are never fewer than the table wants.

mod asked;
mod evenness;
mod leads;
mod members;
mod misplaced;
mod moves;
mod picture;
mod plan;
mod step;
mod takers;
mod under_way;

pub use moves::{BalanceStatus, MoveStatus};
pub(crate) use moves::{Moving, Nudge};
pub(crate) use picture::crowding;
pub use step::{Reason, Shift, Step};
