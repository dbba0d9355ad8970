//! What replicas of one partition say to each other. Values only; their bytes are `proto`'s.
//!
//! Every message carries what its receiver needs to reject it: the ballot, and from learners and members their learn
//! signature. None is trusted to arrive once, in order, or at all. Beacons are not here: they are between nodes (`lease`).

use crate::Asked;
use types::{Ballot, Configuration, Decree, Incarnation, LearnSignature, Mutation, Timestamp};

/// A message between two replicas of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Primary to member or learner: `configuration` is stored. Drop what you have above `last` from lower ballots; my prepares
    /// to you begin at `first` (C2).
    Truncate {
        /// The primary's configuration.
        configuration: Configuration,
        /// Where the stream of prepares to this receiver begins: all before is committed.
        first: Decree,
        /// The primary's last decree when its ballot began.
        last: Decree,
    },
    /// The answer, when it is on disk. It also vouches: this node's leases count for the sender's reads, while the node lives.
    TruncateAck {
        /// Of the truncate.
        ballot: Ballot,
        /// What the sender's own disk says it is (C5).
        signature: LearnSignature,
        /// The life of the node that vouches.
        incarnation: Incarnation,
    },
    /// Primary to member or learner: append this.
    Prepare {
        /// The primary's ballot is the mutation's.
        mutation: Mutation,
        /// Everything up to here is committed.
        committed: Decree,
    },
    /// Primary to member or learner: everything up to here is committed, and how far are you? Sent when the partition goes quiet.
    Committed {
        /// The primary's ballot.
        ballot: Ballot,
        /// Up to where.
        committed: Decree,
    },
    /// Everything up to `prepared` is flushed here; under this ballot's stream, all of it that was not yet committed (C3).
    PrepareAck {
        /// Of the prepares.
        ballot: Ballot,
        /// Up to where.
        prepared: Decree,
        /// What the sender knows to be committed.
        committed: Decree,
        /// The sender's learn (C4, C5).
        signature: LearnSignature,
    },
    /// Secondary to its primary: somebody reads here. How far must I be to have all that was acknowledged before I asked?
    AskFreshness(Asked),
    /// The answer of a primary that could have answered a read itself.
    Fresh {
        /// What it answers.
        asked: Asked,
        /// Everything up to here is committed, and nothing above it was acknowledged before the asking.
        committed: Decree,
        /// When the primary would have evaluated a read.
        time: Timestamp,
    },
    /// The sender knows a higher ballot than the message it answers.
    Stale {
        /// What it knows.
        configuration: Configuration,
    },
    /// Secondary to the primary it believes in, when it has no stream of prepares from it: begin one, or say what became of you.
    Join {
        /// What the sender knows.
        ballot: Ballot,
    },
    /// The sender is no member of the configuration that the message assumes: it must learn (C5, C6).
    NotMember {
        /// Of the message it answers.
        ballot: Ballot,
    },
    /// A primary that cannot or will not serve tells its secondaries not to wait for its node's silence (R6).
    Resign {
        /// Its ballot.
        ballot: Ballot,
    },
    /// Planned hand-over: propose yourself.
    TakeOver {
        /// The primary's ballot.
        ballot: Ballot,
        /// Whether the primary stays, as a secondary.
        then: crate::Afterwards,
    },
    /// Primary to secondary: at one decree your copy is not what a majority of the members has. Learn anew (C5).
    Differs {
        /// The primary's ballot: a copy that was learnt anew is a member of a later one.
        ballot: Ballot,
    },
    /// Primary to a node without a copy: become my learner.
    LearnOffer {
        /// The primary's configuration.
        configuration: Configuration,
        /// Counts the primary's offers under its ballot: becomes the signature's counter, so that an offer that comes twice is
        /// known for what it is, also after a restart.
        attempt: u64,
    },
    /// The learner's answer, when its reset record is on disk (L4).
    LearnRequest {
        /// Names the learn from now on.
        signature: LearnSignature,
        /// Up to where the learner's own copy is good; nothing if it must have a checkpoint.
        base: Option<Decree>,
    },
    /// A piece of the log for a learner: committed mutations, gap-free.
    LearnLog {
        /// The primary's ballot.
        ballot: Ballot,
        /// Of the learn.
        signature: LearnSignature,
        /// In order, as the primary's log has them.
        mutations: Vec<Mutation>,
        /// Everything up to here is committed.
        committed: Decree,
    },
    /// Primary to learner: you have everything; put that on disk (C5).
    LearnComplete {
        /// The primary's ballot.
        ballot: Ballot,
        /// Of the learn.
        signature: LearnSignature,
    },
    /// The learner's answer, when its ready mark is on disk. It also vouches, as `TruncateAck` does.
    LearnReady {
        /// The primary's ballot.
        ballot: Ballot,
        /// Of the learn.
        signature: LearnSignature,
        /// The life of the node that vouches.
        incarnation: Incarnation,
    },
}

impl Message {
    /// What a node answers for a partition of which it has no replica. An offer to learn has no such answer: it makes one.
    pub fn answer_of_nobody(&self) -> Option<Self> {
        let ballot = match self {
            Self::Truncate { configuration, .. } => configuration.ballot,
            Self::Prepare { mutation, .. } => mutation.ballot,
            Self::Committed { ballot, .. }
            | Self::Join { ballot }
            | Self::LearnLog { ballot, .. }
            | Self::LearnComplete { ballot, .. } => *ballot,
            Self::AskFreshness(asked) | Self::Fresh { asked, .. } => asked.ballot,
            Self::TruncateAck { .. }
            | Self::PrepareAck { .. }
            | Self::Stale { .. }
            | Self::NotMember { .. }
            | Self::Resign { .. }
            | Self::TakeOver { .. }
            | Self::Differs { .. }
            | Self::LearnOffer { .. }
            | Self::LearnRequest { .. }
            | Self::LearnReady { .. } => return None,
        };
        Some(Self::NotMember { ballot })
    }

    /// Whether taking it in makes the log grow by more than marks.
    pub fn brings_data(&self) -> bool {
        matches!(
            self,
            Self::Prepare { .. } | Self::LearnOffer { .. } | Self::LearnLog { .. }
        )
    }
}
