//! What a new configuration makes of a replica (rules L2, L3, C5, C6), and what is left of it after a restart.
//!
//! Every ballot enters here and nowhere else, always with its configuration, and is on its way to the disk before anything
//! else happens under it.

use crate::appends::Written;
use crate::follower::Follower;
use crate::planted::{Bug, planted};
use crate::primary::Primary;
use crate::replica::{Replica, Role, Vouched};
use crate::{Action, Deletion, Flush, Message, Standing};
use types::{Ballot, Configuration, Instant, LearnSignature, NodeId, RecordBody};

impl Replica {
    /// Somebody says that `configuration` is stored.
    pub(crate) fn configuration_known(
        &mut self,
        configuration: Configuration,
        actions: &mut Vec<Action>,
    ) {
        if configuration.ballot == self.ballot() && planted(Bug::OldBallotSettles) {
            self.proposal = None;
        }
        let nothing_here = matches!(self.standing, Standing::Blank | Standing::Deleting);
        if configuration.ballot > self.ballot() && !nothing_here {
            self.install(configuration, actions);
        }
    }

    /// Goes over to a higher ballot.
    pub(crate) fn install(&mut self, configuration: Configuration, actions: &mut Vec<Action>) {
        let (ballot, primary) = (configuration.ballot, configuration.primary.node);
        self.except_all(ballot, actions);
        self.survive(&configuration, actions);
        let old = self.configuration.replace(configuration);
        // L2: the record is appended before anything that happens under the ballot, and everything waits for it.
        self.append_configuration(actions);
        if self.is_member() {
            // A learner that was ready may have ended and started since, in good order: then no boot is marked.
            self.append_boot(actions);
        }
        // C1: only a higher ballot settles a proposal.
        self.proposal = None;
        self.restart_at = None;
        let role = std::mem::replace(&mut self.role, Role::Inactive);
        self.role = self.next_role(old.as_ref(), role, actions);
        self.served |= self.is_member();
        if primary == self.identity.me && !self.is_member() {
            // Named as the primary after its copy was lost (C6): it cannot lead, and its secondaries must hear of it.
            self.restart_at = Some(Instant::default());
        }
    }

    pub(crate) fn append_configuration(&mut self, actions: &mut Vec<Action>) {
        if let Some(configuration) = self.configuration.clone() {
            let written = Written::Configuration(configuration.ballot);
            let body = RecordBody::Configuration(configuration);
            self.appends.append(body, written, Flush::Synced, actions);
        }
    }

    /// R2: nobody counts this node for a lower ballot any more, from whoever was told that it could.
    fn except_all(&mut self, ballot: types::Ballot, actions: &mut Vec<Action>) {
        for vouched in &mut self.vouched {
            if vouched.excepted.is_none() {
                vouched.excepted = Some(ballot);
                let holder = vouched.holder;
                actions.push(Action::Except { holder, ballot });
            }
        }
    }

    /// From now on `holder` may count this node's leases under the present ballot. R2 takes it back at the next, for `holder` too: under
    /// that one it must be vouched for again.
    pub(crate) fn vouch(&mut self, holder: NodeId) {
        match self
            .vouched
            .iter_mut()
            .find(|vouched| vouched.holder == holder)
        {
            Some(vouched) => vouched.excepted = None,
            None => self.vouched.push(Vouched {
                holder,
                excepted: None,
            }),
        }
    }

    /// C6: all members lost what they had not synced, and this copy was found to be the largest: it is the truth now.
    fn survive(&mut self, configuration: &Configuration, actions: &mut Vec<Action>) {
        let me = self.identity.me;
        if let Standing::Unsynced(signature) = self.standing
            && configuration.epoch > self.epoch
            && configuration.len() == 1
            && configuration.primary
                == (types::Member {
                    node: me,
                    signature,
                })
        {
            self.standing = Standing::Whole(signature);
            self.append_boot(actions);
        }
        if self.is_member_of(configuration) {
            self.epoch = configuration.epoch;
        }
    }

    fn next_role(
        &mut self,
        old: Option<&Configuration>,
        role: Role,
        actions: &mut Vec<Action>,
    ) -> Role {
        let Some(configuration) = &self.configuration else {
            return Role::Inactive;
        };
        let primary = configuration.primary.node;
        if self.is_member() && primary == self.identity.me {
            let follows_own = old.is_some_and(|old| old.ballot.next() == configuration.ballot);
            // C3: everything uncommitted is prepared again under the new ballot.
            self.prepared.raise_all(configuration.ballot);
            return match role {
                Role::Primary(before) if follows_own => {
                    let next = before.succeed(configuration, &self.prepared, actions);
                    Role::Primary(Box::new(next))
                }
                role => {
                    end_learns(&role, actions);
                    Role::Primary(Box::new(Primary::begin(configuration, &self.prepared)))
                }
            };
        }
        end_learns(&role, actions);
        tell_followers(&role, configuration, actions);
        if self.is_member() {
            return Role::Follower(Follower::of(primary));
        }
        match role {
            // The teacher goes on under its next ballot.
            Role::Follower(follower) if follower.primary == primary && !self.served => {
                Role::Follower(Follower::of(primary))
            }
            _ => Role::Inactive,
        }
    }

    /// After a restart: a secondary goes on as one, waiting for the primary's truncate; a primary is none any more (L3).
    pub(crate) fn wake(&mut self, actions: &mut Vec<Action>) {
        let Some(configuration) = &self.configuration else {
            return;
        };
        let primary = configuration.primary.node;
        let member = self.is_member();
        self.served = member;
        if primary == self.identity.me {
            if planted(Bug::LeadsOn) && member {
                let mut primary = Primary::begin(configuration, &self.prepared);
                (primary.persisted, primary.reconciled) = (true, true);
                self.role = Role::Primary(Box::new(primary));
                return;
            }
            // L3: it proposes its own configuration again, or, if it cannot, lets the secondaries know.
            let proposes = !planted(Bug::NeverProposesAgain);
            self.restart_at = proposes.then(Instant::default);
        } else if member {
            let mut follower = Follower::of(primary);
            follower.resumed = true;
            self.role = Role::Follower(follower);
        }
        if member {
            self.append_boot(actions);
        }
    }

    /// C5: what is on this disk is no copy any more. It leaves the others and learns anew from them, by checkpoint. One that has no others
    /// stays what it is: what is left of it may be all that there is, and an operator decides.
    pub(crate) fn damaged(&mut self, actions: &mut Vec<Action>) {
        let alone = self
            .configuration
            .as_ref()
            .is_some_and(|known| known.len() == 1 && known.contains(self.identity.me));
        let nothing_here = matches!(
            self.standing,
            Standing::Blank | Standing::Creating | Standing::Damaged | Standing::Deleting
        );
        if alone || nothing_here || planted(Bug::DamagedIsMember) {
            return;
        }
        // R2: a node grants nothing where its own disk does not make it a member.
        self.except_all(self.ballot().next(), actions);
        end_learns(&std::mem::replace(&mut self.role, Role::Inactive), actions);
        self.ruined = self.standing.whole().unwrap_or(self.ruined);
        self.standing = Standing::Damaged;
        self.sound = false;
        // It may be stored already; asked for again, it would make a damaged copy lead.
        self.proposal = None;
        self.appends.append(
            RecordBody::Quarantined,
            Written::Quarantined,
            Flush::Synced,
            actions,
        );
        // The others are told, until they know.
        self.restart_at = Some(Instant::default());
    }

    /// Only the copy itself can stop being one: its disk must know before anybody does without it.
    pub(crate) fn copy_differs(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let ballot = primary.ballot;
        let secondary = self.configuration.as_ref().is_some_and(|known| {
            known.ballot == ballot && known.secondaries.iter().any(|member| member.node == node)
        });
        if secondary && primary.serves() {
            let message = Message::Differs { ballot };
            actions.push(Action::Send { to: node, message });
        }
    }

    pub(crate) fn on_differs(&mut self, from: NodeId, ballot: Ballot, actions: &mut Vec<Action>) {
        if self.follows(from, ballot, actions) && self.is_member() {
            self.damaged(actions);
        }
    }

    /// C5: a replica that some proposal may still name goes only under a stored configuration that shuts that out.
    pub(crate) fn delete(&mut self, deletion: Deletion, actions: &mut Vec<Action>) {
        if self.standing == Standing::Deleting {
            return;
        }
        if self.standing == Standing::Blank {
            actions.push(Action::Delete);
            return;
        }
        let before = self.ballot();
        let agreed = match deletion {
            Deletion::Dropped(ballot) => ballot >= before,
            Deletion::Excluded(configuration) => {
                let (ballot, me) = (configuration.ballot, self.identity.me);
                let excluded = ballot >= before && !configuration.contains(me);
                let unproposed =
                    self.standing.signature() == LearnSignature::default() || self.served;
                if excluded && ballot > before {
                    self.install(configuration, actions);
                }
                excluded && (ballot > before || unproposed || planted(Bug::DeletesProposed))
            }
        };
        if agreed {
            self.except_all(self.ballot().next(), actions);
            self.role = Role::Inactive;
            self.proposal = None;
            self.restart_at = None;
            self.standing = Standing::Deleting;
            self.appends.append(
                RecordBody::Deleted,
                Written::Deleted,
                Flush::Synced,
                actions,
            );
        }
    }
}

/// A primary that is none any more teaches nobody.
fn end_learns(role: &Role, actions: &mut Vec<Action>) {
    if let Role::Primary(primary) = role {
        for peer in &primary.peers {
            peer.end_learn(actions);
        }
    }
}

/// A primary that is none any more tells those who followed it why: the new one may be among them and not know.
fn tell_followers(role: &Role, configuration: &Configuration, actions: &mut Vec<Action>) {
    if let Role::Primary(primary) = role {
        for peer in primary.peers.iter().filter(|peer| !peer.is_learner()) {
            let message = Message::Stale {
                configuration: configuration.clone(),
            };
            actions.push(Action::Send {
                to: peer.node,
                message,
            });
        }
    }
}
