//! Changes of configuration: who proposes which, and how a proposal is pursued (rules C1, C4, C6).
//!
//! Whether one is accepted is the meta leader's decision; what an accepted one leads to is in `install`.

use crate::appends::Written;
use crate::follower::Succession;
use crate::planted::{Bug, planted};
use crate::replica::{Replica, Role};
use crate::{Action, Afterwards, Flush, Leases, Message, MetaStream};
use std::time::Duration;
use types::{Ballot, Configuration, Durability, Incarnation, Instant, NodeId, RecordBody};

/// How often a replica that its own disk disowns says so.
const RESIGN_INTERVAL: Duration = Duration::from_secs(1);

/// A proposal that was made and may have been stored: there is one per ballot, and it never changes (C1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proposal {
    pub(crate) from: Ballot,
    pub(crate) configuration: Configuration,
    /// C6: its record is on disk.
    recorded: bool,
    retry_at: Instant,
}

/// Whom a primary obeys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obeyed<'a> {
    pub(crate) stored: Option<&'a Configuration>,
    pub(crate) proposed: Option<&'a Proposal>,
}

impl Obeyed<'_> {
    /// C1: a member of the configuration in force, or of the one that may have replaced it, gates commits and must lease reads.
    pub(crate) fn contains(self, node: NodeId) -> bool {
        let stored = !planted(Bug::ObeysOnlyProposed) || self.proposed.is_none();
        let proposed = !planted(Bug::ObeysOnlyStored);
        stored && self.stored.is_some_and(|stored| stored.contains(node))
            || proposed
                && self
                    .proposed
                    .is_some_and(|proposed| proposed.configuration.contains(node))
    }
}

impl Replica {
    pub(crate) fn obeyed(&self) -> Obeyed<'_> {
        Obeyed {
            stored: self.configuration.as_ref(),
            proposed: self.proposal.as_ref(),
        }
    }

    pub(crate) fn obeys(&self, node: NodeId) -> bool {
        self.obeyed().contains(node)
    }

    /// The configuration in force, changed and with the next ballot.
    fn next_configuration(&self, change: impl FnOnce(&mut Configuration)) -> Option<Configuration> {
        let mut next = self.configuration.clone()?;
        next.ballot = next.ballot.next();
        change(&mut next);
        Some(next)
    }

    /// Makes the proposal of this ballot, unless one was made.
    pub(crate) fn propose(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Configuration),
        actions: &mut Vec<Action>,
    ) {
        // C5: only a member proposes; C1: only once.
        let outstanding = self.proposal.is_some() && !planted(Bug::ProposesAgain);
        if outstanding || !self.is_member() {
            return;
        }
        let Some(configuration) = self.next_configuration(change) else {
            return;
        };
        let from = self.ballot();
        let recorded =
            self.identity.durability == Durability::Sync || planted(Bug::ProposesUnsynced);
        let retry_at = now + self.settings.proposal_retry;
        self.proposal = Some(Proposal {
            from,
            configuration,
            recorded,
            retry_at,
        });
        // C6: until a higher ballot is known, nothing unsynced is acknowledged: a proposer must not forget what it promised.
        self.proposed = self.proposed.max(Some(from));
        if recorded {
            self.send_proposal(now, actions);
        } else {
            let body = RecordBody::Proposed(from);
            self.appends
                .append(body, Written::Proposed(from), Flush::Synced, actions);
        }
    }

    /// C6: the record of the proposal, and all prepares before it, are on disk.
    pub(crate) fn proposal_recorded(
        &mut self,
        now: Instant,
        ballot: Ballot,
        actions: &mut Vec<Action>,
    ) {
        if let Some(proposal) = self
            .proposal
            .as_mut()
            .filter(|proposal| proposal.from == ballot)
        {
            proposal.recorded = true;
            self.send_proposal(now, actions);
        }
    }

    /// C1: sends it, again and unchanged.
    fn send_proposal(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let retry_at = now + self.settings.proposal_retry;
        if let Some(proposal) = self.proposal.as_mut().filter(|proposal| proposal.recorded) {
            proposal.retry_at = retry_at;
            let (from, configuration) = (proposal.from, proposal.configuration.clone());
            actions.push(Action::Propose {
                from,
                configuration,
            });
        }
    }

    pub(crate) fn proposal_deadline(&self) -> Option<Instant> {
        let proposal = self
            .proposal
            .as_ref()
            .filter(|proposal| proposal.recorded)?;
        (self.meta == MetaStream::Up).then_some(proposal.retry_at)
    }

    pub(crate) fn meta_stream(
        &mut self,
        now: Instant,
        meta: MetaStream,
        actions: &mut Vec<Action>,
    ) {
        self.meta = meta;
        if meta == MetaStream::Up {
            self.send_proposal(now, actions);
        }
    }

    /// A node seems to be gone: a hint that starts work and proves nothing.
    pub(crate) fn peer_lost(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        match &mut self.role {
            Role::Primary(_) => self.lose_peer(now, node, actions),
            Role::Follower(follower) if follower.primary == node => {
                self.succeed(now, Some(now), actions);
            }
            Role::Follower(_) | Role::Inactive => {}
        }
    }

    /// A node's earlier lives are over. A learner that has begun in this one must not be sent away for it.
    pub(crate) fn peer_restarted(
        &mut self,
        now: Instant,
        node: NodeId,
        life: Incarnation,
        actions: &mut Vec<Action>,
    ) {
        if let Role::Primary(primary) = &mut self.role
            && primary.peer(node).is_some_and(|peer| peer.lives(life))
        {
            return;
        }
        self.peer_lost(now, node, actions);
    }

    /// The primary says itself that it will not serve.
    pub(crate) fn on_resign(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Ballot,
        actions: &mut Vec<Action>,
    ) {
        if ballot < self.ballot() {
            // It lost what it knew with its machine; until it hears of the ballot that it leads it cannot resign that.
            return self.send_stale(from, actions);
        }
        // Otherwise never answered but by a proposal: two replicas that disown each other would go on for ever.
        let primary = matches!(&self.role, Role::Follower(follower) if follower.primary == from);
        if primary && ballot == self.ballot() {
            self.succeed(now, None, actions);
        }
    }

    /// The first secondary proposes itself at once, each other one a little later.
    fn succeed(
        &mut self,
        now: Instant,
        unless_heard_since: Option<Instant>,
        actions: &mut Vec<Action>,
    ) {
        let me = self.identity.me;
        if !self.is_member() || self.proposal.is_some() {
            return;
        }
        let secondaries = self
            .configuration
            .iter()
            .flat_map(|known| &known.secondaries);
        let before = secondaries.take_while(|member| member.node != me).count();
        if before == 0 {
            return self.take_over(now, Afterwards::Leave, actions);
        }
        let at = now + self.settings.succession * before as u32;
        if let Role::Follower(follower) = &mut self.role {
            let succession = Succession {
                at,
                unless_heard_since,
            };
            match &mut follower.succession {
                Some(planned) if unless_heard_since.is_some() => planned.at = planned.at.min(at),
                planned => *planned = Some(succession),
            }
        }
    }

    /// Proposes this secondary as the primary.
    fn take_over(&mut self, now: Instant, old_primary: Afterwards, actions: &mut Vec<Action>) {
        let me = self.identity.me;
        let change = |next: &mut Configuration| {
            let Some(&member) = next.secondaries.iter().find(|member| member.node == me) else {
                return;
            };
            next.secondaries.retain(|member| member.node != me);
            let old = std::mem::replace(&mut next.primary, member);
            if old_primary == Afterwards::Stay {
                next.secondaries.push(old);
            }
        };
        if let Role::Follower(follower) = &mut self.role {
            follower.succession = None;
            self.propose(now, change, actions);
        }
    }

    /// Planned hand-over: the primary serves on until the successor has excepted it (R5).
    pub(crate) fn hand_over(&mut self, to: NodeId, then: Afterwards, actions: &mut Vec<Action>) {
        let ballot = self.ballot();
        let secondary = self
            .configuration
            .as_ref()
            .is_some_and(|known| known.secondaries.iter().any(|member| member.node == to));
        if matches!(self.role, Role::Primary(_)) && secondary {
            let message = Message::TakeOver { ballot, then };
            actions.push(Action::Send { to, message });
        }
    }

    pub(crate) fn on_take_over(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Ballot,
        then: Afterwards,
        actions: &mut Vec<Action>,
    ) {
        if self.follows(from, ballot, actions) && self.is_member() {
            self.take_over(now, then, actions);
        }
    }

    /// The meta leader wants one member less. A primary that does not serve has other changes to wait for.
    pub(crate) fn remove_secondary(
        &mut self,
        now: Instant,
        ballot: Ballot,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) {
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let secondary = self.configuration.as_ref().is_some_and(|known| {
            known.ballot == ballot && known.secondaries.iter().any(|member| member.node == node)
        });
        if primary.ballot == ballot && primary.serves() && secondary {
            self.propose_removal(now, node, actions);
        }
    }

    /// The primary wants this secondary out.
    pub(crate) fn propose_removal(
        &mut self,
        now: Instant,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) {
        let change =
            |next: &mut Configuration| next.secondaries.retain(|member| member.node != node);
        self.propose(now, change, actions);
    }

    /// The time for something that is not the primary's daily work.
    pub(crate) fn tick(&mut self, now: Instant, leases: &Leases, actions: &mut Vec<Action>) {
        if self.proposal_deadline().is_some_and(|at| at <= now) {
            self.send_proposal(now, actions);
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart(now, actions);
        }
        self.join(now, leases, actions);
        match &mut self.role {
            Role::Inactive => {}
            Role::Follower(follower) => {
                let due = follower
                    .succession
                    .filter(|succession| succession.at <= now);
                let Some(due) = due else { return };
                let primary = follower.primary;
                follower.succession = None;
                let alive = due
                    .unless_heard_since
                    .is_some_and(|lost| leases.heard_since(primary, lost));
                if !alive {
                    self.take_over(now, Afterwards::Leave, actions);
                }
            }
            Role::Primary(_) => self.primary_tick(now, leases, actions),
        }
    }

    /// L3: a primary that restarted proposes its own configuration again; under the ballot that it finds on its disk it does
    /// nothing. One that is no member by its own disk cannot, and resigns; a secondary or learner that is damaged says so.
    fn restart(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.restart_at = None;
        if self.is_member() {
            return self.propose(now, |_| (), actions);
        }
        let Some(configuration) = &self.configuration else {
            return;
        };
        let (ballot, primary) = (configuration.ballot, configuration.primary.node);
        if primary != self.identity.me {
            let message = Message::NotMember { ballot };
            actions.push(Action::Send {
                to: primary,
                message,
            });
            let named = configuration.contains(self.identity.me);
            self.restart_at = named.then_some(now + RESIGN_INTERVAL);
            return;
        }
        for member in &configuration.secondaries {
            // They may not know the ballot that it resigns.
            let known = Message::Stale {
                configuration: configuration.clone(),
            };
            for message in [known, Message::Resign { ballot }] {
                let to = member.node;
                actions.push(Action::Send { to, message });
            }
            self.restart_at = Some(now + RESIGN_INTERVAL);
        }
    }
}
