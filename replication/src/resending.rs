//! The primary's timers: who is told of commits when the partition goes quiet, and what is sent again because no answer came.

use crate::peer::{Peer, Stage};
use crate::primary::Primary;
use crate::replica::{Replica, Role};
use crate::{Action, Leases, Message};
use types::{Configuration, Decree, Instant};

impl Primary {
    pub(crate) fn deadline(&self, replica: &Replica) -> Option<Instant> {
        if !self.persisted {
            return None;
        }
        let (committed, settings) = (replica.committed(), &replica.settings);
        let quiet = self.quiet();
        let grace = (!self.grace_over).then_some(self.grace_check);
        let lag_matters = replica.proposal.is_none() && replica.can_spare_one();
        let peers = self.peers.iter().flat_map(|peer| {
            let lag = peer.lags_at(settings).filter(|_| lag_matters);
            [
                peer.resend_at(committed, quiet, settings),
                lag,
                peer.despair_at(settings),
            ]
        });
        peers.chain([grace, self.quiet_at]).flatten().min()
    }
}

impl Replica {
    /// The primary's timers.
    pub(crate) fn primary_tick(
        &mut self,
        now: Instant,
        leases: &Leases,
        actions: &mut Vec<Action>,
    ) {
        let committed = self.prepared.committed();
        let (Role::Primary(primary), Some(configuration)) = (&mut self.role, &self.configuration)
        else {
            return;
        };
        if !primary.persisted {
            return;
        }
        let (ballot, last) = (primary.ballot, primary.last);
        let due = primary.quiet_at.is_some_and(|at| at <= now);
        if due {
            primary.quiet_at = None;
        }
        let quiet = primary.quiet();
        for peer in &mut primary.peers {
            let untold = peer.told < committed && peer.hears_commits();
            if due && untold {
                peer.told = committed;
                // What it owes it owes since before.
                if !peer.owes() {
                    peer.advanced(now);
                }
                let message = Message::Committed { ballot, committed };
                actions.push(Action::Send {
                    to: peer.node,
                    message,
                });
            } else if peer
                .resend_at(committed, quiet, &self.settings)
                .is_some_and(|at| at <= now)
            {
                // It may have fallen silent before this ballot, and nobody says that again.
                if leases.silent(peer.node, now) {
                    peer.lost.get_or_insert(now);
                }
                peer.resend(now, (configuration, last), committed, actions);
            }
        }
        self.despair(now, actions);
    }
}

impl Peer {
    fn hears_commits(&self) -> bool {
        matches!(
            self.stage,
            Stage::Member | Stage::Following | Stage::Completing | Stage::Ready
        )
    }

    /// Sends again what got no answer. Prepares go out again with the next pumping.
    fn resend(
        &mut self,
        now: Instant,
        (configuration, last): (&Configuration, Decree),
        committed: Decree,
        actions: &mut Vec<Action>,
    ) {
        self.attempted(now);
        let owing = self.sent > self.acked;
        self.rewind();
        if !self.truncated || self.life.is_none() && !self.is_learner() {
            return actions.push(self.truncate(configuration, last));
        }
        if self.is_learner() && self.resend_to_learner(configuration, actions) {
            return;
        }
        if !owing {
            self.told = committed;
            let message = Message::Committed {
                ballot: configuration.ballot,
                committed,
            };
            actions.push(Action::Send {
                to: self.node,
                message,
            });
        }
    }
}
