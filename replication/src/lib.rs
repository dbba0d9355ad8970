//! PacificA and the read lease, as a function from what happened to what to do.
#![warn(missing_docs)]
mod action;
mod appends;
mod event;
mod follower;
mod install;
mod learning;
mod lease;
mod message;
mod peer;
mod prepared;
mod primary;
mod proposing;
mod recovery;
mod refusal;
mod replica;
mod settings;
mod standing;
mod teaching;
pub use action::{Action, Flush, RoleKind};
pub use event::{Afterwards, Deletion, Event, LogRead, MetaStream};
pub use lease::{Answer, Beacon, BeaconReply, Exception, Leases, ReplyOutcome, Settled};
pub use message::Message;
pub use recovery::Recovered;
pub use refusal::Refusal;
pub use replica::{Identity, Replica, Survey};
pub use settings::{LeaseSettings, Settings};
pub(crate) use standing::Standing;
