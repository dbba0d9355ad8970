//! Members that come and go, as their primary sees them: who is out of sight, disowned or behind, and whose removal it proposes for that
//! (rules R1, C5).
//!
//! The change of configuration itself is `proposing`'s.

use crate::planted::{Bug, planted};
use crate::replica::{Replica, Role};
use crate::{Action, Leases, Message};
use types::{Ballot, Instant, NodeId};

impl Replica {
    /// Proposes the removal of the first member that is lost and gave no sign of life since.
    pub(crate) fn remove_lost(&mut self, now: Instant, leases: &Leases, actions: &mut Vec<Action>) {
        let can_spare_one = self.can_spare_one();
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let mut gone = None;
        for peer in primary.peers.iter_mut().filter(|peer| !peer.is_learner()) {
            if !peer.disowned
                && peer
                    .lost
                    .is_some_and(|lost| leases.heard_since(peer.node, lost))
            {
                peer.lost = None;
            }
            let lags = can_spare_one && peer.lags_at(&self.settings).is_some_and(|at| at <= now);
            if gone.is_none() && (peer.lost.is_some() || lags) {
                gone = Some(peer.node);
            }
        }
        if let Some(node) = gone {
            self.propose_removal(now, node, actions);
        }
    }

    /// Lag alone never takes a table below the members that its writes need.
    pub(crate) fn can_spare_one(&self) -> bool {
        self.configuration
            .as_ref()
            .is_some_and(|known| known.len() > self.settings.min_replicas)
    }

    /// C5: a member's disk disowns it, or a learner's learn is lost.
    pub(crate) fn on_not_member(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Ballot,
        actions: &mut Vec<Action>,
    ) {
        let obeyed = self.obeys(from);
        let Role::Primary(primary) = &mut self.role else {
            // A primary that its own disk disowns will never serve.
            return self.on_resign(now, from, ballot, actions);
        };
        if primary.ballot != ballot {
            return;
        }
        if let Some(peer) = primary.peer(from).filter(|peer| !peer.is_learner()) {
            (peer.lost, peer.disowned, peer.life) = (Some(now), true, None);
        } else if !obeyed {
            self.dismiss(from, actions);
        }
    }

    /// A secondary has no stream.
    pub(crate) fn on_join(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Ballot,
        actions: &mut Vec<Action>,
    ) {
        if ballot < self.ballot() {
            return self.send_stale(from, actions);
        }
        let disowned = !self.is_member();
        let Some(configuration) = self
            .configuration
            .as_ref()
            .filter(|known| known.ballot == ballot)
        else {
            // Whoever thinks that this replica leads a ballot that it never heard of, or lost, must not wait if it never can.
            if self.standing.whole().is_none() {
                let message = Message::NotMember { ballot };
                actions.push(Action::Send { to: from, message });
            }
            return;
        };
        match &mut self.role {
            Role::Primary(primary) if primary.persisted => {
                let last = primary.last;
                if let Some(peer) = primary.peer(from).filter(|peer| !peer.is_learner()) {
                    // Whatever vouched or took prepares before was another life of it.
                    peer.life = None;
                    peer.rewind();
                    peer.attempted(now);
                    actions.push(peer.truncate(configuration, last));
                }
            }
            Role::Inactive if configuration.primary.node == self.identity.me && disowned => {
                let message = Message::Resign { ballot };
                actions.push(Action::Send { to: from, message });
            }
            Role::Inactive | Role::Follower(_) | Role::Primary(_) => {}
        }
    }

    /// A member or learner is out of sight.
    pub(crate) fn lose_peer(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        let obeyed = self.obeys(node);
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(peer) = primary.peer(node) else {
            return;
        };
        // R1: a node that restarted must vouch again; C4: a learner must have flushed everything in this session.
        if !planted(Bug::CountsAnyLife) {
            peer.life = None;
        }
        if !peer.is_learner() {
            peer.lost.get_or_insert(now);
        } else if !obeyed {
            self.dismiss(node, actions);
        }
    }
}
