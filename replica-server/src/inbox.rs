//! What reaches the worker from other threads and from its own services.

use crate::peers::checkpoint::Ended;
use crate::services::digest::DigestAsked;
use engine::EngineEvent;
use proto::meta::ToNode;
use replication::LogRead;
use std::path::PathBuf;
use types::{Decree, Incarnation, LearnSignature, NodeId, PartitionId};

/// One thing for the worker to do.
pub(crate) enum Input {
    /// Appends that are as safe as was asked.
    Flushed(Vec<u64>),
    /// A log cannot go on: the node stops.
    LogFailed(String),
    Engine(EngineEvent),
    /// The log was read for a learner.
    LogRead {
        partition: PartitionId,
        learner: NodeId,
        signature: LearnSignature,
        outcome: LogRead,
    },
    /// The transfer of a checkpoint to a learner is over.
    CheckpointSent {
        partition: PartitionId,
        learner: NodeId,
        signature: LearnSignature,
        ended: Ended,
    },
    /// A checkpoint for a learner of this node is here.
    CheckpointReceived {
        partition: PartitionId,
        signature: LearnSignature,
        decree: Decree,
        dir: PathBuf,
        installed: tokio::sync::oneshot::Sender<Result<Decree, String>>,
    },
    PeerLost(NodeId),
    /// The peer is in a new life.
    PeerRestarted(NodeId, Incarnation),
    ExceptionsAcknowledged(Vec<PartitionId>),
    MetaUp,
    MetaDown,
    Meta(ToNode),
    Digest(DigestAsked),
}
