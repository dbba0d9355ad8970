//! What this replica's own disk says it is (rules L4, C5, C6), apart from what any configuration says.

use crate::learning::Learn;
use types::LearnSignature;

/// The replica's state by its own records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// There is nothing: not created, or deleted.
    Blank,
    /// A new partition's empty replica, its reset record not yet on disk.
    Creating,
    /// A whole copy, made by the learn of that signature (all zero: there from the first configuration).
    Whole(LearnSignature),
    /// A learn is under way, or was when the node stopped: no copy to count on.
    Learning(Learn),
    /// C6: whole but for what was not synced when the machine stopped.
    Unsynced(LearnSignature),
    /// The log is damaged or has a hole: what is missing is not known.
    Damaged,
    /// A deletion is on its way to the disk.
    Deleting,
}

impl Standing {
    /// The learn by which this copy may be a member (C5).
    pub(crate) fn whole(&self) -> Option<LearnSignature> {
        match self {
            Self::Whole(signature) => Some(*signature),
            _ => None,
        }
    }

    /// The newest learn that this copy knows of.
    pub(crate) fn signature(&self) -> LearnSignature {
        match self {
            Self::Whole(signature) | Self::Unsynced(signature) => *signature,
            Self::Learning(learn) => learn.signature,
            Self::Blank | Self::Creating | Self::Damaged | Self::Deleting => {
                LearnSignature::default()
            }
        }
    }
}
