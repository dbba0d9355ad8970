//! A partition's requests in order: what is waiting, what is in flight, what was refused; where they go, and when again.
//!
//! All of a lane's requests in flight are on one stream and of one epoch. After the first retryable refusal nothing more is sent until
//! every request of the epoch is answered (the server refuses the later ones of the epoch as well); then those refused go again, in
//! their first order and ahead of all others, under the next epoch.
//!
//! ```text
//!             submit                    refusal, other primary          all answered
//!  Detached ─────────▶ Flowing(stream) ───────────────────────▶ Draining ─────────▶ Paused or Detached
//!     │  ▲ no stream yet                                                               │ pause over
//!     ▼  │ opened / routed                                                             ▼
//!  Opening, Unrouted ◀──────────────────────────────────────────────────────────── Detached
//! ```
//!
//! A write has a request id, unless its sender wants it sent at most once. When its answer is lost, it is sent again like what was refused: the
//! id sees to it that it takes effect once.
//!
//! Locks are taken in the order lane, link, stream, never the other way; completions are delivered when none is held.
//!
//! Reading order: [`request`] (a request, and what an answer to it means), `sequences` (of writes),
//! [`state`] (what a lane knows and in which phase it is),
//! [`events`] (what happens to it), [`sending`] (what it then does), `aside` (reads that a secondary may answer).

mod aside;
mod events;
mod request;
mod sending;
mod sequences;
mod state;

pub use request::Kind;
pub use state::Route;

pub(crate) use events::Lane;
pub(crate) use request::{Aside, Name, Op};
