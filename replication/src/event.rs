//! What can happen to a replica. Each variant says who tells it.
//!
//! Times are not in here: `Replica::step` is told the time beside the event.

use crate::{Message, Settings};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use types::{
    Ballot, Configuration, Decree, Incarnation, LearnSignature, Mutation, NodeId, Timestamp,
};

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The partition's worker closed a mutation. Its decree is what `Replica::accepts_write` said, in the same turn.
    Submit {
        /// The partition time of its evaluation.
        timestamp: Timestamp,
        /// Its write batch, which the worker has staged in the engine already.
        effects: Bytes,
    },
    /// A peer's replica of this partition sent a message. It may be late, repeated or out of order.
    Received {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Somebody reads at this secondary and wants a copy no older than that: `Replica::wants_freshness` said that it is worth asking.
    FreshnessWanted {
        /// The read's bound.
        bound: Duration,
    },
    /// The append of this number is as safe as its action asked for.
    LogFlushed {
        /// The number in the action.
        number: u64,
    },
    /// `Replica::deadline` has passed.
    Tick,
    /// The stream to this node was reset, its lease lapsed, or nothing was heard from it for a grace. A hint, never a proof of death.
    PeerLost {
        /// Which.
        node: NodeId,
    },
    /// The node is in a new life: it is lost, but for what it has begun in this life, of which the news may have come first.
    PeerRestarted {
        /// Which.
        node: NodeId,
        /// The new one.
        life: Incarnation,
    },
    /// A holder acknowledged an exception that this partition made (R5).
    ExceptionAcknowledged,
    /// Somebody who knows says that this configuration is stored: the answer to a proposal (accepted or not), or unasked.
    ConfigurationKnown(Configuration),
    /// The stream to the current meta leader came up or went down (C4).
    MetaStream(MetaStream),
    /// The meta leader wants a new, empty replica here, for the partition's first configuration.
    Create,
    /// The meta leader asks the primary to make a copy on this node.
    AddLearner {
        /// The newest configuration it knew when it decided that: nothing happens under a later one.
        ballot: Ballot,
        /// Where.
        node: NodeId,
    },
    /// The meta leader wants one member less: the primary proposes to go on without this secondary, though it is well.
    RemoveSecondary {
        /// The configuration for which that was decided: nothing happens under a later one.
        ballot: Ballot,
        /// Which.
        node: NodeId,
    },
    /// The table's properties have changed.
    SettingsChanged(Arc<Settings>),
    /// The answer to `Action::ReadLog`.
    LogRead {
        /// For whom.
        learner: NodeId,
        /// For which learn.
        signature: LearnSignature,
        /// What the log has.
        outcome: LogRead,
    },
    /// The answer to `Action::SendCheckpoint`: the learner's node said that it installed the checkpoint.
    CheckpointDelivered {
        /// Who has it.
        learner: NodeId,
        /// For which learn.
        signature: LearnSignature,
        /// The checkpoint's applied decree. The shell pins the log from here on while it makes the checkpoint.
        decree: Decree,
    },
    /// The other answer to `Action::SendCheckpoint`.
    CheckpointFailed {
        /// Who does not have it.
        learner: NodeId,
        /// For which learn.
        signature: LearnSignature,
    },
    /// On the learner: the primary's checkpoint is here, whole and synced beside the replica's own data.
    CheckpointReceived {
        /// For which learn.
        signature: LearnSignature,
        /// Its applied decree.
        decree: Decree,
    },
    /// The answer to `Action::InstallCheckpoint`: it has durably taken the place of what was there.
    CheckpointInstalled {
        /// For which learn.
        signature: LearnSignature,
        /// Its applied decree.
        decree: Decree,
    },
    /// Balancing, or this node's end: let the secondary on that node become the primary.
    HandOver {
        /// The successor.
        to: NodeId,
        /// Whether this replica remains, as a secondary.
        then: Afterwards,
    },
    /// On the primary: digests of one decree say that this secondary's copy is not what a majority of the members has.
    CopyDiffers {
        /// Whose.
        node: NodeId,
    },
    /// What this node has of the replica cannot be read, or is not what the others have.
    Damaged,
    /// The process ends in an orderly way: what the log has is synced from here on.
    Shutdown,
    /// The replica is to go.
    Delete(Deletion),
}

/// Whether the meta leader can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaStream {
    /// Yes.
    Up,
    /// No.
    Down,
}

/// What a log holds for a learner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogRead {
    /// The latest record of each decree, without a gap, from the decree asked for; as many as the bytes asked for allow, at least
    /// one if there is one.
    Mutations(Vec<Mutation>),
    /// The log does not reach back that far.
    Gone,
}

/// What becomes of a primary that hands over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Afterwards {
    /// It stays a member.
    Stay,
    /// It leaves the configuration.
    Leave,
}

/// Why a replica is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// This configuration is stored and does not name the node.
    Excluded(Configuration),
    /// The table was dropped; the deletion is refused if the replica knows a higher ballot than this.
    Dropped(Ballot),
}
