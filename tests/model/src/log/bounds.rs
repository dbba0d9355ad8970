//! How far the log model goes.

use super::state::Faults;

/// What an acknowledgement waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The disk: a crash loses what is not there.
    Sync,
    /// The operating system: a crash loses nothing, a power loss what is not on the disk.
    Buffered,
}

/// Who may be the members after a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldPrimary {
    /// It leaves.
    Leaves,
    /// It leaves, or stays as a secondary as in a planned hand-over.
    MayStay,
}

/// How a learner's log grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learners {
    /// From its own prefix or from nothing, in decree order.
    InOrder,
    /// In any order, and with checkpoints.
    WithHoles,
}

/// What there was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Nothing: everybody follows the first primary.
    Fresh,
    /// A secondary took over from the first primary, which has two writes that nobody else has, and knows of nothing.
    Deposed,
}

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Members of the first configuration; the other nodes have no copy.
    pub members: u8,
    /// The highest ballot.
    pub ballots: u8,
    /// The highest decree.
    pub decrees: u8,
    /// What writes wait for.
    pub durability: Durability,
    /// What a takeover may make of the old primary.
    pub old_primary: OldPrimary,
    /// How a learner's log grows.
    pub learners: Learners,
    /// What there was before.
    pub start: Start,
    /// How many faults.
    pub faults: Faults,
}

impl Bounds {
    /// One decree under up to three ballots, and no faults but what the network and the metadata store do.
    pub const fn new(members: u8, durability: Durability) -> Self {
        Self {
            members,
            ballots: 3,
            decrees: 1,
            durability,
            old_primary: OldPrimary::Leaves,
            learners: Learners::InOrder,
            start: Start::Fresh,
            faults: Faults {
                restarts: 0,
                power_losses: 0,
                emptied: 0,
                learns: 0,
            },
        }
    }

    /// Takeovers may keep the old primary.
    #[must_use]
    pub const fn hand_over(self) -> Self {
        Self {
            old_primary: OldPrimary::MayStay,
            ..self
        }
    }

    /// Learners' logs may have holes.
    #[must_use]
    pub const fn holes(self) -> Self {
        Self {
            learners: Learners::WithHoles,
            ..self
        }
    }

    /// The first primary was deposed.
    #[must_use]
    pub const fn deposed(self) -> Self {
        Self {
            start: Start::Deposed,
            ..self
        }
    }

    /// Another highest ballot.
    #[must_use]
    pub const fn ballots(self, ballots: u8) -> Self {
        Self { ballots, ..self }
    }

    /// Another highest decree.
    #[must_use]
    pub const fn decrees(self, decrees: u8) -> Self {
        Self { decrees, ..self }
    }

    /// Crashes of processes.
    #[must_use]
    pub const fn restarts(self, restarts: u8) -> Self {
        Self {
            faults: Faults {
                restarts,
                ..self.faults
            },
            ..self
        }
    }

    /// Crashes of machines.
    #[must_use]
    pub const fn power_losses(self, power_losses: u8) -> Self {
        Self {
            faults: Faults {
                power_losses,
                ..self.faults
            },
            ..self
        }
    }

    /// Disks replaced by empty ones.
    #[must_use]
    pub const fn emptied(self, emptied: u8) -> Self {
        Self {
            faults: Faults {
                emptied,
                ..self.faults
            },
            ..self
        }
    }

    /// Learns.
    #[must_use]
    pub const fn learns(self, learns: u8) -> Self {
        Self {
            faults: Faults {
                learns,
                ..self.faults
            },
            ..self
        }
    }
}
