//! What an operator may turn in the protocol, with the defaults of the measured design.
//!
//! Plain values: reading them from a file is the server's affair.

use std::time::Duration;
use types::ByteSize;

/// How one replica behaves. Shared by all partitions of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// A partition with fewer members than this refuses writes.
    pub min_replicas: usize,
    /// How many mutations may be in flight (appended by the primary, not yet committed).
    pub window: usize,
    /// How many bytes of effects may be in flight; one mutation always may.
    pub window_bytes: ByteSize,
    /// How long after the last commit the secondaries are told of it, if no prepare did so before.
    pub quiet: Duration,
    /// How long a message may stay unanswered before it is sent again.
    pub resend: Duration,
    /// How long a secondary may acknowledge nothing of what it owes before it is removed for lag.
    pub lag: Duration,
    /// How much longer than the secondary before it each secondary waits before it proposes itself.
    pub succession: Duration,
    /// How long a proposal may stay unanswered before it is sent again, unchanged (C1).
    pub proposal_retry: Duration,
    /// How much of the log one message to a learner carries, and how many bytes of re-prepares a peer may owe.
    pub chunk: ByteSize,
    /// How many bytes of committed mutations the primary keeps at hand while it has a learner.
    pub recent: ByteSize,
    /// How long a learner may make no progress (its checkpoint's transfer apart) before its learn is given up.
    pub learn_patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_replicas: 2,
            window: 2,
            window_bytes: ByteSize::mib(64),
            quiet: Duration::from_millis(10),
            resend: Duration::from_millis(200),
            lag: Duration::from_secs(3),
            succession: Duration::from_millis(100),
            proposal_retry: Duration::from_millis(500),
            chunk: ByteSize::mib(1),
            recent: ByteSize::mib(8),
            learn_patience: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The defaults for a table of `replicas` copies: writes need a majority of them.
    pub fn of_replicas(replicas: usize) -> Self {
        Self {
            min_replicas: replicas / 2 + 1,
            ..Self::default()
        }
    }
}

/// How nodes lease reads to each other. The same on all nodes of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseSettings {
    /// How often a beacon is sent to every peer.
    pub beacon: Duration,
    /// How long after sending the beacon that was granted the holder may rely on it.
    pub lease: Duration,
    /// How long after receiving that beacon the grantor keeps its word.
    pub grace: Duration,
    /// How much faster or slower than true time a clock may run, in percent.
    pub drift_percent: u32,
    /// How many exceptions one reply carries. A peer that has more to acknowledge is granted nothing until it has.
    pub exceptions: usize,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            beacon: Duration::from_millis(100),
            lease: Duration::from_millis(500),
            grace: Duration::from_millis(650),
            drift_percent: 5,
            exceptions: 4096,
        }
    }
}

impl LeaseSettings {
    /// Says why these settings would allow a stale read, or would never hold a lease.
    pub fn check(&self) -> Result<(), String> {
        let drift = self.drift_percent;
        if drift >= 100 {
            return Err(format!("drift_percent is {drift}, but must be below 100"));
        }
        if self.lease * (100 + drift) >= self.grace * (100 - drift) {
            let (lease, grace) = (self.lease, self.grace);
            return Err(format!(
                "with clocks {drift} % off, a lease of {lease:?} may outlive a grace of {grace:?}: lease * (1 + drift) must be less than grace * (1 - drift)"
            ));
        }
        if self.beacon >= self.lease {
            return Err(format!(
                "a beacon every {:?} never renews a lease of {:?} in time",
                self.beacon, self.lease
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_may_outlive_its_grace_is_refused() {
        assert_eq!(LeaseSettings::default().check(), Ok(()));
        let lease = Duration::from_millis(590);
        assert!(
            LeaseSettings {
                lease,
                ..LeaseSettings::default()
            }
            .check()
            .is_err()
        );
        let beacon = Duration::from_millis(500);
        assert!(
            LeaseSettings {
                beacon,
                ..LeaseSettings::default()
            }
            .check()
            .is_err()
        );
        assert!(
            LeaseSettings {
                drift_percent: 100,
                ..LeaseSettings::default()
            }
            .check()
            .is_err()
        );
    }
}
