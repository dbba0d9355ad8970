//! What a new configuration makes of a replica, and what is left of it after a restart (rules L2, L3, L4, C3, C5, C6).

use super::act::LogModel;
use super::message::Message;
use super::state::{Configuration, Role, Standing, State};
use crate::Omission;
use crate::node::Node;

impl LogModel {
    /// C5: whether a configuration names this copy, by the learn that its disk knows, and the copy is whole.
    pub(super) fn is_member(
        &self,
        state: &State,
        node: Node,
        configuration: Configuration,
    ) -> bool {
        let standing = state.at(node).standing;
        if !self.keeps(Omission::C5Configuration) {
            return configuration.contains(node) && !matches!(standing, Standing::Unsynced(_));
        }
        if !self.keeps(Omission::C5Learn) {
            return configuration.contains(node) && matches!(standing, Standing::Whole(_));
        }
        state.is_member_of(node, configuration)
    }

    /// Whether the replica is a member of the newest configuration it knows.
    pub(super) fn belongs(&self, state: &State, node: Node) -> bool {
        let known = state.configuration(state.at(node).known);
        known.is_some_and(|known| self.is_member(state, node, *known))
    }

    /// Goes over to a higher ballot, which is on disk before anything else happens under it (L2), and with it whatever was appended
    /// before.
    pub(super) fn install(&self, state: &mut State, node: Node, ballot: u8) {
        let Some(&configuration) = state.configuration(ballot) else {
            return;
        };
        let before = state.configuration(state.at(node).known).copied();
        let replica = state.at_mut(node);
        let follows_own = replica.known + 1 == ballot;
        replica.known = ballot;
        if self.keeps(Omission::L2Forgets) {
            replica.ballot = ballot;
        }
        self.flush(replica);
        replica.proposal = None;
        let role = std::mem::replace(&mut replica.role, Role::Inactive);
        // C6: all members lost power, and this one goes on alone.
        let alone = configuration.primary == node
            && configuration
                .learns
                .iter()
                .filter(|&&learn| learn != 0)
                .count()
                == 1;
        if let Standing::Unsynced(learn) = replica.standing
            && (configuration.epoch > replica.epoch && alone)
            && configuration.learns[usize::from(node)] == learn
        {
            replica.standing = Standing::Whole(learn);
        }
        let member = self.is_member(state, node, configuration);
        let teacher = before.map(|before| before.primary);
        let replica = state.at_mut(node);
        if member {
            replica.epoch = configuration.epoch;
        }
        let taught = matches!(role, Role::Follower { .. })
            && (!replica.served && teacher == Some(configuration.primary));
        replica.served |= member;
        match (member, configuration.primary == node) {
            (true, true) => {
                let done = match role {
                    Role::Primary { .. } if !self.keeps(Omission::C2Duty) => true,
                    Role::Primary { .. } if follows_own => {
                        self.reconciled(state, node, ballot - 1, role)
                    }
                    _ => false,
                };
                let taught = follows_own.then_some(role);
                Self::begin(state, node, done, taught, configuration);
            }
            (true, false) => replica.role = Role::Follower { next: 0 },
            (false, _) if taught => replica.role = Role::Follower { next: 0 },
            (false, _) => {}
        }
    }

    /// Begins a ballot as its primary: everything uncommitted is prepared again (C3), and everybody is told where the list ends (C2).
    fn begin(
        state: &mut State,
        node: Node,
        reconciled: bool,
        before: Option<Role>,
        configuration: Configuration,
    ) {
        let replica = state.at_mut(node);
        let (ballot, committed, last) = (replica.known, replica.committed, replica.log.prepared());
        let (learner, learn) = match before {
            Some(Role::Primary { learner, learn, .. }) if !configuration.contains(learner) => {
                (learner, learn)
            }
            _ => (0, 0),
        };
        replica.log.raise(committed, ballot);
        replica.role = Role::Primary {
            last,
            reconciled,
            learner,
            learn,
            offers: 0,
        };
        let first = committed + 1;
        state.network.send(Message::Truncate {
            ballot,
            first,
            last,
        });
        let from = if learn == 0 { first } else { 1 };
        Self::send_list(state, node, from);
    }

    /// Sends the primary's mutations from a decree on.
    pub(super) fn send_list(state: &mut State, node: Node, from: u8) {
        let (ballot, log) = (state.at(node).known, state.at(node).log);
        for decree in from..=log.prepared() {
            let Some(mutation) = log.get(decree) else {
                return;
            };
            state.network.send(Message::Prepare {
                ballot,
                decree,
                value: mutation.value,
                base: mutation.base,
            });
        }
    }

    /// The process starts again: what is in memory is lost, and in `sync` what was not flushed.
    pub(super) fn restart(&self, state: &mut State, node: Node, applied: u8) {
        state.left.restarts -= 1;
        if !self.buffered() {
            state.at_mut(node).log = state.at(node).disk;
        }
        self.wake(state, node, applied);
    }

    /// What a replica makes of what it finds on its disk.
    pub(super) fn wake(&self, state: &mut State, node: Node, applied: u8) {
        let replica = state.at_mut(node);
        replica.known = replica.ballot;
        replica.committed = applied;
        replica.proposal = None;
        replica.role = Role::Inactive;
        let goes_on = self.recover_learner(replica);
        if !matches!(replica.standing, Standing::Learning(_)) {
            // A hole shows that what is above it is no part of the copy.
            let prepared = replica.log.prepared();
            replica.log.cut(prepared);
        }
        if !self.keeps(Omission::L4Cuts) {
            replica.log.cut(applied);
        }
        if !self.buffered() {
            replica.disk = replica.log;
        }
        let member = self.belongs(state, node);
        state.at_mut(node).served = member;
        let Some(&configuration) = state.configuration(state.at(node).known) else {
            return;
        };
        if member && configuration.primary != node {
            state.at_mut(node).role = Role::Follower { next: 0 };
        } else if member && !self.keeps(Omission::L3Leads) {
            Self::begin(state, node, false, None, configuration);
        } else if goes_on && configuration.primary != node {
            let next = state.at(node).log.highest() + 1;
            state.at_mut(node).role = Role::Follower { next };
            Self::acknowledge(state, node, state.at(node).known);
        }
    }
}
