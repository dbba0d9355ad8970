//! PacificA and the read lease: one replica of one partition, as a function from what happened to what to do.
//!
//! ```text
//!              Event                                       Action
//!   worker ──── Submit ───────────────┐       ┌──── AppendLog ────────── commit log
//!   peers ───── Received ─────────────┤       ├──── Send ─────────────── peers
//!   log ─────── LogFlushed ───────────┼─ step ┼──── Stage, Commit ────── engine
//!   clock ───── Tick ─────────────────┤       ├──── Propose ──────────── meta leader
//!   meta ────── ConfigurationKnown ...┘       └──── Became, Except ...── the shell itself
//! ```
//!
//! Nothing here does IO, waits, reads a clock, draws a random number or hashes in an unstable order. What takes time goes out as
//! an [`Action`] and comes back as an [`Event`], and until then counts for nothing; so the shell needs to know no rule of order
//! but "in the order given". The same core runs in the server and in the simulator (`tests/simulator`).
//!
//! Deliberately not here: evaluating commands, moving bytes, encoding messages (`proto`) and records (`commit-log`), deciding
//! where copies should be (`placement`), noticing that this node hangs (R6, the server's), and expiry (R7, the evaluator's).
//!
//! Reading order: [`Event`], [`Action`], [`Message`], then `replica` (the entrance), `install` (new configurations), `primary`,
//! `members` and `resending` beside it, `serving`, `follower`, `freshness`, `lag`, `proposing`, `teaching` and `learning` (the two sides of a
//! learn), `recovery`, `changing` (another durability), and [`Leases`] beside them.
//!
//! # The rules
//!
//! The code that holds a rule names its letter. `docs/replication.md` says of each where it is held and how it is tested.
//!
//! **Log**
//! - **L1** Prepares of one ballot enter the log in decree order, each once; of several records of a decree the latest wins, and
//!   it cancels nothing above it. *Else a re-prepared decree would take its successors with it, which may be acknowledged.*
//! - **L2** A ballot is on disk before anything is acknowledged, sent or served under it, and lower ones are rejected for ever
//!   after. *Else a replica that crashed could help two primaries of which it knew that one had replaced the other.*
//! - **L3** A replica never leads under a ballot that it finds on its disk when it starts; a restarted primary proposes itself
//!   again. *Else it could give a decree that it had given before to another mutation.*
//! - **L4** A restart keeps everything prepared and the ready mark; only the reset record of a new learn cuts a copy back. *Else
//!   what others count as a copy would silently shrink.*
//!
//! **Reading**
//! - **R1** A primary answers a read only if, after evaluating it, it holds the lease of every other member, under the ballot of
//!   the evaluation, or under one that this primary went on to without another between, and in the life in which that member
//!   vouched. *Else a successor may have written since.*
//! - **R2** Whoever knows a higher ballot excepts the partition from its leases, and repeats that until it is acknowledged. *Else a
//!   deposed primary would read on, on the strength of a lease that is about other partitions.*
//! - **R3** A new primary commits nothing, answers nothing and adds nobody before every lease that it granted for the partition
//!   has run out. *Else its predecessor may still be answering.*
//! - **R4** A restarted node acts as if it had granted every lease in the moment of its start. *Because it has forgotten.*
//! - **R5** An acknowledged exception, or the old primary's own step to the new ballot, settles R3 towards it. *It is a promise to
//!   serve nothing lower; waiting longer would gain nothing.*
//!
//! **Configurations**
//! - **C1** From sending a proposal until a higher ballot is known, a primary obeys both configurations, and the proposal never
//!   changes. *Else it would commit without, or read beside, members that it does not know it has.*
//! - **C2** A new primary takes no write and serves nothing before every member has cut what it does not have, and its own list is
//!   committed under its ballot. *Else it would evaluate over effects that may turn out never to have existed.*
//! - **C3** Everything uncommitted is prepared again under every new ballot, and only acknowledgements of that ballot count. *Else
//!   copies of a lower ballot, which a truncate may remove, would count as safe.*
//! - **C4** Learns start only while serving; an addition is proposed only with the meta leader in reach and when the learner has
//!   flushed, in this session, all that is committed. *Else a member would have a hole.*
//! - **C5** A replica is a member if the configuration and its own disk name the same learn, and the disk has the ready mark. *Else
//!   an emptied or half-taught copy would pass for a whole one.*
//! - **C6** In `buffered`, whoever proposes syncs first and acknowledges only what is synced until a higher ballot is known; a copy
//!   whose machine stopped with unsynced prepares is no member. *Else it would have forgotten what it acknowledged.*

#![warn(missing_docs)]

mod action;
mod appends;
mod changing;
mod event;
mod follower;
mod freshness;
mod install;
mod lag;
mod learning;
mod lease;
mod members;
mod message;
mod peer;
pub mod planted;
mod prepared;
mod primary;
mod proposing;
mod recovery;
mod refusal;
mod replica;
mod resending;
mod serving;
mod settings;
mod standing;
mod teaching;

pub use event::{Afterwards, Deletion, Event, LogRead, MetaStream};

pub use action::{Action, Flush, RoleKind};

pub use message::Message;

pub use freshness::Asked;

pub use replica::{Identity, Replica, Survey};

pub use recovery::Recovered;

pub use refusal::Refusal;

pub use lag::Lag;
pub use lease::{Answer, Beacon, BeaconReply, Exception, Leases, ReplyOutcome, Settled};

pub use settings::{LeaseSettings, Settings};

pub(crate) use standing::Standing;
