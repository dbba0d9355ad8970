//! What is searched: the models with all rules kept, and for each part of a rule the bounds in which leaving it out breaks something.

use crate::check::Subject;
use crate::log::{Durability, Faults};
use crate::{Omission, expiry, lease, log};

/// A model with all rules kept.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What it is about.
    pub name: &'static str,
    /// The model and its bounds.
    pub subject: Subject,
    /// Whether it is small enough to be run with the tests.
    pub short: bool,
}

const NO_FAULTS: Faults = Faults {
    restarts: 0,
    power_losses: 0,
    emptied: 0,
    learns: 0,
};

const LOG: log::Bounds = log::Bounds {
    members: 3,
    ballots: 3,
    decrees: 1,
    durability: Durability::Sync,
    hand_over: false,
    faults: NO_FAULTS,
};

const LEASE: lease::Bounds = lease::Bounds {
    partitions: 1,
    members: 2,
    ballots: 3,
    lease: 1,
    grace: 2,
    missed: 0,
    restarts: 0,
    learns: 0,
};

/// The models with all rules kept.
pub const RUNS: &[Run] = &[
    short("takeovers", Subject::Log(log::Bounds { decrees: 2, ..LOG })),
    short(
        "restarts",
        log_with(
            LOG,
            Faults {
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "restarts, 2 decrees",
        log_with(
            log::Bounds { decrees: 2, ..LOG },
            Faults {
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "2 restarts, 4 ballots",
        log_with(
            log::Bounds { ballots: 4, ..LOG },
            Faults {
                restarts: 2,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "5 ballots",
        Subject::Log(log::Bounds {
            ballots: 5,
            hand_over: true,
            ..LOG
        }),
    ),
    long(
        "3 decrees",
        log_with(
            log::Bounds {
                ballots: 2,
                decrees: 3,
                hand_over: true,
                ..LOG
            },
            Faults {
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    short(
        "learns",
        log_with(
            log::Bounds { members: 2, ..LOG },
            Faults {
                learns: 1,
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "2 learns",
        log_with(
            log::Bounds { members: 2, ..LOG },
            Faults {
                learns: 2,
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "members removed and learnt anew",
        log_with(
            log::Bounds { ballots: 4, ..LOG },
            Faults {
                learns: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "emptied disks",
        log_with(
            log::Bounds { members: 2, ..LOG },
            Faults {
                learns: 2,
                emptied: 1,
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    short(
        "power loss",
        log_with(
            BUFFERED,
            Faults {
                power_losses: 2,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "power loss of all",
        log_with(
            log::Bounds {
                members: 3,
                decrees: 1,
                ..BUFFERED
            },
            Faults {
                power_losses: 3,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "power loss and restart",
        log_with(
            log::Bounds {
                ballots: 4,
                ..BUFFERED
            },
            Faults {
                power_losses: 2,
                restarts: 1,
                ..NO_FAULTS
            },
        ),
    ),
    long(
        "power loss and learns",
        log_with(
            log::Bounds {
                members: 1,
                ballots: 4,
                ..BUFFERED
            },
            Faults {
                power_losses: 2,
                learns: 2,
                ..NO_FAULTS
            },
        ),
    ),
    short(
        "leases",
        Subject::Lease(lease::Bounds {
            restarts: 1,
            ..LEASE
        }),
    ),
    long(
        "leases, slow clocks",
        Subject::Lease(lease::Bounds {
            lease: 2,
            grace: 4,
            missed: 1,
            restarts: 1,
            ..LEASE
        }),
    ),
    long(
        "leases, 3 members",
        Subject::Lease(lease::Bounds {
            members: 3,
            ballots: 2,
            restarts: 1,
            missed: 1,
            ..LEASE
        }),
    ),
    long(
        "leases, learns",
        Subject::Lease(lease::Bounds { learns: 1, ..LEASE }),
    ),
    long(
        "leases, learns and restarts",
        Subject::Lease(lease::Bounds {
            learns: 1,
            restarts: 1,
            ..LEASE
        }),
    ),
    long(
        "leases, 2 partitions",
        Subject::Lease(lease::Bounds {
            partitions: 2,
            ballots: 2,
            restarts: 1,
            ..LEASE
        }),
    ),
    short("expiry", EXPIRY),
];

const BUFFERED: log::Bounds = log::Bounds {
    members: 2,
    decrees: 2,
    durability: Durability::Buffered,
    ..LOG
};

const EXPIRY: Subject = Subject::Expiry(expiry::Bounds {
    expires: 2,
    latest: 3,
});

const fn short(name: &'static str, subject: Subject) -> Run {
    Run {
        name,
        subject,
        short: true,
    }
}

const fn long(name: &'static str, subject: Subject) -> Run {
    Run {
        name,
        subject,
        short: false,
    }
}

const fn log_with(bounds: log::Bounds, faults: Faults) -> Subject {
    Subject::Log(log::Bounds { faults, ..bounds })
}

/// What comes of leaving something out.
pub enum Consequence {
    /// Something breaks, within these bounds.
    Breaks(&'static [Subject]),
    /// Nothing breaks within these bounds, and why not.
    Covered(Subject, &'static str),
}

/// What comes of leaving this out.
pub fn consequence(omission: Omission) -> Consequence {
    use Consequence::{Breaks, Covered};
    const RESTART: Faults = Faults {
        restarts: 1,
        ..NO_FAULTS
    };
    const LEARN: Faults = Faults {
        learns: 1,
        ..NO_FAULTS
    };
    const LEARNS: Faults = Faults {
        learns: 2,
        ..NO_FAULTS
    };
    const POWER_LOSS: Faults = Faults {
        power_losses: 1,
        ..NO_FAULTS
    };
    const TWO: log::Bounds = log::Bounds { members: 2, ..LOG };
    const DECREES: log::Bounds = log::Bounds { decrees: 2, ..LOG };
    const LEASES: Subject = Subject::Lease(LEASE);
    const LIVES: Subject = Subject::Lease(lease::Bounds {
        restarts: 1,
        ..LEASE
    });
    const ADDED: lease::Bounds = lease::Bounds { learns: 1, ..LEASE };
    match omission {
        Omission::L1Gaps | Omission::C2Serves | Omission::C2Duty | Omission::C3AnyBallot => {
            Breaks(&[Subject::Log(DECREES)])
        }
        Omission::L1Cancels
        | Omission::L2Forgets
        | Omission::L2Lower
        | Omission::L3Leads
        | Omission::L4Cuts
        | Omission::C2Lower => Breaks(const { &[log_with(DECREES, RESTART)] }),
        Omission::C2Acks => Covered(
            log_with(DECREES, RESTART),
            "members take prepares only after they have cut (L1), and vouch for reads with the acknowledgement (R1)",
        ),
        Omission::C1Stored => Breaks(&[Subject::Log(DECREES), LEASES]),
        Omission::C1Proposed => Breaks(const { &[log_with(TWO, LEARN), Subject::Lease(ADDED)] }),
        Omission::C1Changes | Omission::C4Whole | Omission::C5Mark | Omission::L4Offer => Breaks(
            const {
                &[log_with(
                    TWO,
                    Faults {
                        restarts: 1,
                        ..LEARN
                    },
                )]
            },
        ),
        Omission::C4Learn | Omission::C4Member => Breaks(const { &[log_with(TWO, LEARNS)] }),
        Omission::C5Learn => Covered(
            log_with(
                TWO,
                Faults {
                    restarts: 1,
                    learns: 2,
                    ..NO_FAULTS
                },
            ),
            "no node that a proposal may name is offered another learn (C4)",
        ),
        Omission::C5Configuration => Breaks(
            const {
                &[log_with(
                    TWO,
                    Faults {
                        emptied: 1,
                        ..NO_FAULTS
                    },
                )]
            },
        ),
        Omission::C6Boot | Omission::C6Promise => {
            Breaks(const { &[log_with(BUFFERED, POWER_LOSS)] })
        }
        Omission::C6Largest => Breaks(
            const {
                &[log_with(
                    BUFFERED,
                    Faults {
                        power_losses: 2,
                        ..NO_FAULTS
                    },
                )]
            },
        ),
        Omission::C6Epoch => Breaks(
            const {
                &[log_with(
                    log::Bounds {
                        members: 1,
                        ..BUFFERED
                    },
                    Faults {
                        power_losses: 1,
                        learns: 2,
                        ..NO_FAULTS
                    },
                )]
            },
        ),
        Omission::R1Lease
        | Omission::R2None
        | Omission::R2Alone
        | Omission::R2Expires
        | Omission::R3Waits
        | Omission::R5Sent => Breaks(&[LEASES]),
        Omission::R1Life | Omission::R4Forgets | Omission::R5Ballot => Breaks(&[LIVES]),
        Omission::R1Vouch => Breaks(&[Subject::Lease(ADDED)]),
        Omission::R3Adds => Breaks(
            const {
                &[Subject::Lease(lease::Bounds {
                    ballots: 4,
                    ..ADDED
                })]
            },
        ),
        Omission::R7Commit => Breaks(&[EXPIRY]),
    }
}
