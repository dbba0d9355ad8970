//! What a replica wants done. The shell does it in the order given.
//!
//! An action that takes time (an append, a read of the log, a checkpoint) goes out here and comes back as an `Event`; until
//! then the replica relies on nothing. So the shell needs to know no order but that of the list.

use crate::{Asked, Message, Refusal};
use types::{Ballot, Configuration, Decree, LearnSignature, Mutation, NodeId, RecordBody};

/// What the shell must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Append to the log, after all earlier appends; answer `Event::LogFlushed` with the number. Several may be under way.
    AppendLog {
        /// Counts the replica's appends since its start.
        number: u64,
        /// What.
        body: RecordBody,
        /// When to answer.
        flush: Flush,
    },
    /// Send to this partition's replica on another node. It may get lost; the replica sends again what matters.
    Send {
        /// Whither.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Send `Message::Fresh` with these, and with the time at which this node would evaluate a read now.
    Echo {
        /// Whither.
        to: NodeId,
        /// What is answered.
        asked: Asked,
        /// Up to where everything is committed.
        committed: Decree,
    },
    /// The copy is known to be fresher than before: reads that waited for that may be tried.
    Refreshed,
    /// Give a mutation's effects to the engine, invisible until committed. Decrees come in order. Never for what this
    /// replica itself was told to `Submit`: those effects are staged since their evaluation.
    Stage(Mutation),
    /// Take back the effects of all mutations above this decree; none of them was committed.
    Unstage {
        /// The last that remains.
        above: Decree,
    },
    /// Everything up to here is committed: its effects are visible, its replies leave.
    Commit {
        /// Up to where.
        up_to: Decree,
    },
    /// Ask the meta leader to store `configuration` in place of the one with ballot `from`. The answer is
    /// `Event::ConfigurationKnown` with what is stored then. It is asked again until a higher ballot is known (C1).
    Propose {
        /// The ballot that must be stored.
        from: Ballot,
        /// Its successor.
        configuration: Configuration,
    },
    /// The replica is something else now. What a primary had in flight when it stops being one may still be committed by its
    /// successor.
    Became(RoleKind),
    /// Put an exception into `Leases` (`Leases::except`), before any later beacon is answered, and tell its holder at once (R2).
    Except {
        /// Who must not count this node for the partition.
        holder: NodeId,
        /// Below which ballot.
        ballot: Ballot,
    },
    /// Read mutations from the log for a learner; answer `Event::LogRead`. Also keeps the log from `from` on until the next such
    /// action or `EndLearn`.
    ReadLog {
        /// For whom.
        learner: NodeId,
        /// For which learn.
        signature: LearnSignature,
        /// The first decree wanted.
        from: Decree,
        /// How many bytes of effects at most (at least one mutation).
        max_bytes: usize,
    },
    /// Make a checkpoint and bring it to the learner's shell; answer `CheckpointDelivered` or `CheckpointFailed`. The log is
    /// kept from the checkpoint's decree on.
    SendCheckpoint {
        /// To whom.
        learner: NodeId,
        /// For which learn.
        signature: LearnSignature,
    },
    /// A learn is over, well or not: what was pinned for it may go, a transfer under way may stop.
    EndLearn {
        /// Whose.
        learner: NodeId,
        /// Which learn, if it got that far.
        signature: LearnSignature,
    },
    /// On the learner: put the checkpoint received for this learn durably in the place of the replica's data, drop what is
    /// staged, then answer `Event::CheckpointInstalled`.
    InstallCheckpoint {
        /// For which learn.
        signature: LearnSignature,
        /// Its applied decree.
        decree: Decree,
    },
    /// Tell the meta leader that the empty replica is on disk.
    ReportCreated,
    /// The deletion is on disk: remove the partition's data and this object.
    Delete,
    /// A `Submit` came when `accepts_write` says no: nothing of it was kept.
    Refuse(Refusal),
}

/// What an append waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The disk has it.
    Synced,
    /// The operating system has it (durability `buffered`).
    Written,
}

/// What a replica is, for the shell: what it may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleKind {
    /// No member of a configuration, as far as it knows.
    Inactive,
    /// On its way to become one.
    Learner,
    /// A member that follows the primary.
    Secondary,
    /// The primary, not yet reconciled: no writes, no reads (C2, R3).
    Reconciling,
    /// The primary: writes and, under the lease, reads.
    Serving,
}
