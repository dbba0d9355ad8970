//! Why a replica does not take a write or answer a read. The variants are what the caller does next.

use std::fmt;
use types::Configuration;

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Ask the primary, if one is known.
    NotPrimary {
        /// The newest configuration known here.
        known: Option<Configuration>,
    },
    /// Ask again here, soon: the primary is new and has to make sure that nobody else serves.
    Reconciling,
    /// Ask again here, soon: a secondary's lease is missing. Reads only.
    LeaseMissing,
    /// Ask again here when the primary has answered, or ask the primary: how old this copy is, is not known well enough. Reads at
    /// secondaries only.
    NotFresh,
    /// Ask again later: copies are missing. Writes only.
    TooFewMembers {
        /// How many there are.
        members: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Wait for a commit, then submit. Writes only.
    WindowFull,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrimary { .. } => f.write_str("this node is not the partition's primary"),
            Self::Reconciling => f.write_str("the partition's new primary is not ready yet"),
            Self::LeaseMissing => f.write_str("a secondary has not leased reads to this primary"),
            Self::NotFresh => f.write_str("this secondary may be older than the read allows"),
            Self::TooFewMembers { members, needed } => write!(
                f,
                "the partition has {members} of the {needed} members that writes need"
            ),
            Self::WindowFull => f.write_str("too many mutations are in flight"),
        }
    }
}

impl std::error::Error for Refusal {}
