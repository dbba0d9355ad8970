//! What a replica writes to its commit log, as values. The bytes on disk are `commit-log`'s; what the records mean to each
//! other is `replication`'s (rules L1 to L4, C5, C6).

use crate::{Ballot, BootId, Configuration, Decree, LearnSignature, Mutation, PartitionId};

/// One entry of the commit log: a partition and what it must not forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose.
    pub partition: PartitionId,
    /// What.
    pub body: RecordBody,
}

/// How a learner got its base.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnKind {
    /// Its own copy up to the base decree is good, the rest came as log: records above the base are dropped.
    Log,
    /// A checkpoint replaces everything it had: all earlier records are dropped once it is installed.
    Checkpoint,
}

/// The kinds of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordBody {
    /// A prepared mutation. The latest record of a decree wins and cancels nothing above it (L1).
    Mutation(Mutation),
    /// The replica acts under no ballot below this one ever again (L2).
    Ballot(Ballot),
    /// Records above `decree` prepared under ballots below `ballot` are gone (C2).
    Truncate {
        /// Under which the new primary truncates.
        ballot: Ballot,
        /// The new primary's last decree.
        decree: Decree,
    },
    /// A new empty replica, or the start of a learn: what was there above `base` no longer counts (L4).
    Reset {
        /// Which learn; all zero for a new empty replica of a partition's first configuration.
        signature: LearnSignature,
        /// What is kept: everything up to this decree is committed. Zero for a new empty replica.
        base: Decree,
        /// How the base came.
        kind: LearnKind,
        /// The recovery epoch of the configuration learnt under (C6).
        epoch: u64,
    },
    /// The learner has everything it needs to be proposed (C5).
    Ready {
        /// Which learn.
        signature: LearnSignature,
        /// Up to where it was whole.
        decree: Decree,
    },
    /// The newest configuration this replica knows to be stored.
    Configuration(Configuration),
    /// A proposal was sent at this ballot; until a higher one is known only what is synced may be acknowledged (C6).
    Proposed(Ballot),
    /// The machine boot under which the unsynced records that follow were written (C6).
    Boot(BootId),
    /// What the node has of the replica is damaged: it is no copy any more, until a checkpoint replaces it (C5).
    Quarantined,
    /// The replica was deleted from this node; earlier records of the partition are worthless.
    Deleted,
}

impl RecordBody {
    /// The decree of a mutation record.
    pub fn mutation(&self) -> Option<&Mutation> {
        match self {
            Self::Mutation(mutation) => Some(mutation),
            _ => None,
        }
    }

    /// Whether the record must be on disk before anything relies on it, in every durability (section "Log" of ARCHITECTURE.md:
    /// only prepares may be unsynced).
    pub fn always_synced(&self) -> bool {
        !matches!(self, Self::Mutation(_))
    }
}
