//! One small move: of what, from where to where, and what for.

use std::fmt;
use types::{NodeId, PartitionId};

/// One small move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Of what.
    pub partition: PartitionId,
    /// From where to where.
    pub shift: Shift,
    /// What for.
    pub reason: Reason,
    /// Only when this partition's copy has arrived, with which it changes places.
    pub after: Option<PartitionId>,
}

/// What is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// A replica: a new one is made, then the old one removed.
    Replica {
        /// A member.
        from: NodeId,
        /// No member yet.
        to: NodeId,
    },
    /// Only the lead, to a secondary.
    Lead {
        /// The primary.
        from: NodeId,
        /// A secondary.
        to: NodeId,
    },
}

/// What a move is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// The node is drained.
    Drain,
    /// Two members are in one zone, and another zone has none.
    Zones,
    /// One node has more replicas than another.
    Replicas,
    /// One disk holds more than another.
    Disks,
    /// One node leads more than another.
    Primaries,
    /// Somebody asked for it.
    Operator,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Zones => "zones",
            Self::Replicas => "replicas",
            Self::Disks => "disks",
            Self::Primaries => "primaries",
            Self::Operator => "operator",
        })
    }
}
