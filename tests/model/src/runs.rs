//! What is searched: the models with all rules kept, and for each part of a rule the bounds in which leaving it out breaks something.

use crate::check::Subject;
use crate::log::Durability::{Buffered, Sync};
use crate::{Omission, expiry, hang, lease, log};

/// A model with all rules kept.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What it is about.
    pub name: &'static str,
    /// The model and its bounds.
    pub subject: Subject,
    /// How long it takes.
    pub length: Length,
}

/// How long a search takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// Seconds: it is made with the tests.
    Short,
    /// Minutes.
    Long,
}

/// Three members.
const LOG: log::Bounds = log::Bounds::new(3, Sync);
/// Two members, and a node that may learn.
const PAIR: log::Bounds = log::Bounds::new(2, Sync);
/// One member, and nodes that learn with holes in their logs, and restart.
const HOLES: log::Bounds = log::Bounds::new(1, Sync).learns(1).restarts(1).holes();
/// A member, and a deposed one that learns anew.
const OLD_COPY: log::Bounds = PAIR.ballots(4).decrees(2).learns(1).restarts(1).deposed();
const BUFFERED: log::Bounds = log::Bounds::new(2, Buffered);
const LEASE: lease::Bounds = lease::Bounds::new(2);
const EXPIRY: expiry::Bounds = expiry::Bounds {
    expires: 2,
    latest: 3,
};

const HANG_TWO: hang::Bounds = hang::Bounds { replicas: 2 };
const HANG_THREE: hang::Bounds = hang::Bounds { replicas: 3 };

/// The models with all rules kept.
pub const RUNS: &[Run] = &[
    short("takeovers", Subject::Log(LOG.decrees(2))),
    short("restarts", Subject::Log(LOG.restarts(1))),
    long("restarts", Subject::Log(LOG.decrees(2).restarts(1))),
    long("restarts", Subject::Log(LOG.ballots(4).restarts(2))),
    long(
        "takeovers and hand-overs",
        Subject::Log(LOG.ballots(5).hand_over()),
    ),
    long(
        "restarts and hand-overs",
        Subject::Log(LOG.ballots(2).decrees(3).restarts(1).hand_over()),
    ),
    short("learns", Subject::Log(PAIR.learns(1))),
    long("learns", Subject::Log(PAIR.learns(2).restarts(1))),
    long(
        "learns of removed members",
        Subject::Log(LOG.ballots(4).learns(1)),
    ),
    long(
        "emptied disks",
        Subject::Log(PAIR.learns(2).emptied(1).restarts(1)),
    ),
    short(
        "power loss",
        Subject::Log(BUFFERED.decrees(2).power_losses(2)),
    ),
    long(
        "power loss",
        Subject::Log(log::Bounds::new(3, Buffered).power_losses(3)),
    ),
    long(
        "power loss and restarts",
        Subject::Log(BUFFERED.ballots(4).decrees(2).power_losses(2).restarts(1)),
    ),
    long(
        "power loss and learns",
        Subject::Log(
            log::Bounds::new(1, Buffered)
                .ballots(4)
                .decrees(2)
                .power_losses(2)
                .learns(2),
        ),
    ),
    short(
        "learners with holes",
        Subject::Log(HOLES.ballots(2).decrees(2)),
    ),
    long(
        "learners with holes",
        Subject::Log(HOLES.ballots(2).decrees(3)),
    ),
    long("learners with holes", Subject::Log(HOLES.decrees(2))),
    long(
        "learners with holes",
        Subject::Log(HOLES.ballots(2).decrees(2).learns(2)),
    ),
    long(
        "checkpoints and takeovers",
        Subject::Log(PAIR.learns(1).restarts(1).holes()),
    ),
    long("old copies", Subject::Log(OLD_COPY)),
    long(
        "old copies, learners with holes",
        Subject::Log(OLD_COPY.holes()),
    ),
    short("leases", Subject::Lease(LEASE)),
    short(
        "leases and restarts",
        Subject::Lease(LEASE.ballots(2).restarts(1)),
    ),
    long(
        "leases and restarts",
        Subject::Lease(LEASE.ticks(2, 4).missed(1).restarts(1)),
    ),
    long(
        "leases and restarts",
        Subject::Lease(lease::Bounds::new(3).ballots(2).missed(1).restarts(1)),
    ),
    long("leases and learns", Subject::Lease(LEASE.learns(1))),
    long(
        "leases, learns and restarts",
        Subject::Lease(LEASE.learns(1).restarts(1)),
    ),
    long(
        "leases of 2 partitions",
        Subject::Lease(LEASE.partitions(2).ballots(2).restarts(1)),
    ),
    short("expiry", Subject::Expiry(EXPIRY)),
    short("hanging disks", Subject::Hang(HANG_TWO)),
    short("hanging disks", Subject::Hang(HANG_THREE)),
];

const fn short(name: &'static str, subject: Subject) -> Run {
    Run {
        name,
        subject,
        length: Length::Short,
    }
}

const fn long(name: &'static str, subject: Subject) -> Run {
    Run {
        name,
        subject,
        length: Length::Long,
    }
}

/// What comes of leaving something out.
#[derive(Clone, Copy, Debug)]
pub enum Consequence {
    /// Something breaks, within these bounds.
    Breaks(&'static [Subject]),
    /// Nothing breaks within these bounds, and why not.
    Covered(Subject, &'static str),
    /// Within these bounds, these things never happen any more that otherwise do.
    Stops(&'static [(Subject, &'static [&'static str])]),
}

/// What comes of leaving this out.
pub fn consequence(omission: Omission) -> Consequence {
    use Consequence::{Breaks, Covered, Stops};
    use Subject::{Expiry, Hang, Lease, Log};
    match omission {
        Omission::L1Gaps | Omission::C2Serves | Omission::C2Duty | Omission::C3AnyBallot => {
            const { Breaks(&[Log(LOG.decrees(2))]) }
        }
        Omission::L1Cancels
        | Omission::L2Forgets
        | Omission::L3Leads
        | Omission::L4Cuts
        | Omission::C2Lower => const { Breaks(&[Log(LOG.decrees(2).restarts(1))]) },
        Omission::L2Lower => const { Breaks(&[Log(PAIR)]) },
        Omission::L4Keeps => const { Breaks(&[Log(OLD_COPY)]) },
        // Without restarts, which would make a copy with a hole none before a write is missed.
        Omission::C4Gap => const { Breaks(&[Log(HOLES.ballots(2).decrees(2).restarts(0))]) },
        Omission::L4Behind | Omission::C5Hole | Omission::C5Restart => {
            const { Breaks(&[Log(HOLES.ballots(2).decrees(2))]) }
        }
        Omission::L4Counts => const { Breaks(&[Log(HOLES)]) },
        Omission::L4Discards => Covered(
            Log(HOLES.ballots(2).decrees(2).learns(2)),
            "nobody counts the copy of a learner, and a learn by checkpoint that was cut off starts anew",
        ),
        Omission::L4Offer | Omission::C1Changes | Omission::C4Whole | Omission::C5Mark => {
            const { Breaks(&[Log(PAIR.learns(1).restarts(1))]) }
        }
        Omission::C1Stored => const { Breaks(&[Log(LOG), Lease(LEASE)]) },
        Omission::C1Proposed => const { Breaks(&[Log(PAIR.learns(1)), Lease(LEASE.learns(1))]) },
        Omission::C2Acks => Covered(
            Log(LOG.decrees(2).restarts(1)),
            "members take prepares only after they have cut (L1), and vouch for reads with the acknowledgement (R1)",
        ),
        Omission::C4Learn | Omission::C4Member => const { Breaks(&[Log(PAIR.learns(2))]) },
        Omission::C5Configuration => const { Breaks(&[Log(PAIR.emptied(1))]) },
        Omission::C5Learn => Covered(
            Log(PAIR.learns(2).restarts(1)),
            "no node that a proposal may name is offered another learn (C4)",
        ),
        Omission::C6Boot | Omission::C6Promise => {
            const { Breaks(&[Log(BUFFERED.power_losses(1))]) }
        }
        Omission::C6Largest => Covered(
            Log(BUFFERED.ballots(4).decrees(2).power_losses(2).restarts(1)),
            "each copy has what was synced on all members; the largest loses the least of the last second",
        ),
        Omission::C6Epoch => {
            const { Breaks(&[Log(log::Bounds::new(1, Buffered).power_losses(1).learns(2))]) }
        }
        Omission::R1Lease
        | Omission::R2None
        | Omission::R2Alone
        | Omission::R2Expires
        | Omission::R3Waits
        | Omission::R5Sent => const { Breaks(&[Lease(LEASE)]) },
        Omission::R1Life | Omission::R4Forgets | Omission::R5Ballot => {
            const { Breaks(&[Lease(LEASE.restarts(1))]) }
        }
        Omission::R1Vouch => const { Breaks(&[Lease(LEASE.learns(1))]) },
        Omission::R3Adds => const { Breaks(&[Lease(LEASE.ballots(4).learns(1))]) },
        Omission::R6Vouches => {
            const {
                Stops(&[
                    (
                        Hang(HANG_TWO),
                        &[
                            hang::AFTER_PRIMARY,
                            hang::AFTER_SECONDARY,
                            hang::AFTER_PRIMARY_AMID_CHANGE,
                            hang::AFTER_SECONDARY_AMID_CHANGE,
                        ],
                    ),
                    (Hang(HANG_THREE), &[hang::AFTER_PRIMARY]),
                ])
            }
        }
        Omission::R7Commit => const { Breaks(&[Expiry(EXPIRY)]) },
    }
}
