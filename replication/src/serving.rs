//! When a primary may commit, take a write, answer a read: the rules R1, R3, R4, R5, C1, C2, C3 as far as they say *not yet*.
//!
//! Nothing is sent or changed here but what a primary knows of its own readiness. What it does while it waits is in `primary`.

use crate::peer::Peer;
use crate::planted::{Bug, planted};
use crate::primary::Primary;
use crate::proposing::Obeyed;
use crate::replica::{Replica, Role, Vouched};
use crate::{Leases, Refusal, Settled};
use std::time::Duration;
use types::{Ballot, Configuration, Decree, Instant, PartitionId};

/// How soon to look again whether an exception has been made, should the shell be slow to make it.
const EXCEPTION_POLL: Duration = Duration::from_millis(5);

impl Primary {
    /// Whether reads and writes may be taken.
    pub(crate) fn serves(&self) -> bool {
        self.persisted && (self.grace_over || planted(Bug::ReadsInGrace)) && self.reconciled
    }

    /// Up to where every member that gates commits (C1), and this one's own log, have the list under this ballot (C3).
    pub(crate) fn committable(&self, obeyed: Obeyed<'_>) -> Decree {
        let gates = self.peers.iter().filter(|peer| obeyed.contains(peer.node));
        let gates = gates.skip(usize::from(planted(Bug::CommitsWithoutOne)));
        let own = if planted(Bug::CommitsBeforeFlush) {
            self.appended
        } else {
            self.flushed
        };
        gates.map(|peer| peer.acked).fold(own, Decree::min)
    }

    /// R3: whether every lease that this node granted for the partition under a lower ballot has run out, or was given back (R5).
    pub(crate) fn settle_grace(
        &mut self,
        now: Instant,
        partition: PartitionId,
        vouched: &[Vouched],
        leases: &Leases,
    ) {
        if self.grace_over {
            return;
        }
        // R4: an earlier life's grants are not remembered, only that there may have been some.
        let mut until = leases.forgotten_until();
        for vouched in vouched {
            // R5: who acknowledged this ballot's truncate serves nothing below it.
            let released = self
                .peers
                .iter()
                .any(|peer| peer.node == vouched.holder && peer.truncated);
            let below = vouched.excepted.unwrap_or(self.ballot);
            until = until.max(
                match leases.settled(vouched.holder, partition, below, now) {
                    _ if released => continue,
                    Settled::Yes => continue,
                    Settled::At(end) => end,
                    Settled::NotExcepted => now + EXCEPTION_POLL,
                },
            );
        }
        self.grace_over = until <= now;
        self.grace_check = until;
    }

    /// C2: whether the duties of a new primary are done.
    pub(crate) fn reconcile(&mut self, committed: Decree, obeyed: Obeyed<'_>) {
        let mut members = self.peers.iter().filter(|peer| obeyed.contains(peer.node));
        let grace_over = self.grace_over || planted(Bug::ReadsInGrace);
        let listed = committed >= self.last || planted(Bug::ServesBeforeList);
        let truncated = members.all(|peer| peer.truncated) || planted(Bug::NeedsNoTruncate);
        self.reconciled |= grace_over && listed && truncated;
    }
}

impl Replica {
    /// The decree that the next `Event::Submit` gets, if it may come now.
    pub fn accepts_write(&self) -> Result<Decree, Refusal> {
        let Role::Primary(primary) = &self.role else {
            let known = self.configuration.clone();
            return Err(Refusal::NotPrimary { known });
        };
        // C2: no new decree before the list is committed and every member has cut what is not in it.
        if !primary.serves() {
            return Err(Refusal::Reconciling);
        }
        let needed = self.settings.min_replicas;
        let members = self.configuration.as_ref().map_or(0, Configuration::len);
        if members < needed {
            return Err(Refusal::TooFewMembers { members, needed });
        }
        let (count, bytes) = self.prepared.in_flight();
        if count > 0
            && (count >= self.settings.window || bytes >= self.settings.window_bytes.bytes())
        {
            return Err(Refusal::WindowFull);
        }
        Ok(self.prepared.prepared().next())
    }

    /// The ballot since which this replica has been the primary, with no other one's between: as nobody else took a write meanwhile, reads
    /// that were evaluated here under any ballot from there on stay good (R1).
    pub fn leads_since(&self) -> Option<Ballot> {
        match &self.role {
            Role::Primary(primary) => Some(primary.since),
            _ => None,
        }
    }

    /// R1: whether what was evaluated here, under a ballot no lower than `leads_since()`, may be answered now. To be asked after evaluating,
    /// with a reading of the clock taken after it; other evaluations must be done again.
    pub fn may_serve_read(&self, now: Instant, leases: &Leases) -> Result<(), Refusal> {
        let Role::Primary(primary) = &self.role else {
            let known = self.configuration.clone();
            return Err(Refusal::NotPrimary { known });
        };
        if !primary.serves() {
            return Err(Refusal::Reconciling);
        }
        // C1: of both configurations, while the next may be stored already.
        let partition = self.identity.partition;
        let leased = |peer: &Peer| {
            peer.life
                .is_some_and(|life| leases.counts(peer.node, life, partition, primary.ballot, now))
        };
        let mut members = primary.peers.iter().filter(|peer| self.obeys(peer.node));
        let all = if planted(Bug::ReadsOnOneLease) {
            members.clone().next().is_none() || members.any(leased)
        } else {
            members.all(leased)
        };
        if all || planted(Bug::ReadsWithoutLease) {
            Ok(())
        } else {
            Err(Refusal::LeaseMissing)
        }
    }
}
