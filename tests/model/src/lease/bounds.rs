//! How far the lease model goes. How long it lasts has no bound.

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many partitions the nodes share.
    pub partitions: u8,
    /// Members of the first configuration.
    pub members: u8,
    /// The highest ballot of a partition.
    pub ballots: u8,
    /// For how many ticks a lease holds from when it was asked for.
    pub lease: u8,
    /// For how many ticks it is kept from when it was granted.
    pub grace: u8,
    /// How many ticks a slow clock may miss.
    pub missed: u8,
    /// How many restarts.
    pub restarts: u8,
    /// How many learns.
    pub learns: u8,
}

impl Bounds {
    /// One partition under up to three ballots, leases of one tick, and no faults but what the network and the metadata store do.
    pub const fn new(members: u8) -> Self {
        Self {
            partitions: 1,
            members,
            ballots: 3,
            lease: 1,
            grace: 2,
            missed: 0,
            restarts: 0,
            learns: 0,
        }
    }

    /// Another length of lease and grace.
    #[must_use]
    pub const fn ticks(self, lease: u8, grace: u8) -> Self {
        Self {
            lease,
            grace,
            ..self
        }
    }

    /// Another number of partitions.
    #[must_use]
    pub const fn partitions(self, partitions: u8) -> Self {
        Self { partitions, ..self }
    }

    /// Another highest ballot.
    #[must_use]
    pub const fn ballots(self, ballots: u8) -> Self {
        Self { ballots, ..self }
    }

    /// Ticks that a slow clock misses.
    #[must_use]
    pub const fn missed(self, missed: u8) -> Self {
        Self { missed, ..self }
    }

    /// Restarts.
    #[must_use]
    pub const fn restarts(self, restarts: u8) -> Self {
        Self { restarts, ..self }
    }

    /// Learns.
    #[must_use]
    pub const fn learns(self, learns: u8) -> Self {
        Self { learns, ..self }
    }
}
