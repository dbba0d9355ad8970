//! The primary's daily work (rules L3, C1, C2, C3, C6).

use super::act::{Act, LogModel};
use super::message::Message;
use super::state::{Configuration, Mutation, Role, State};
use crate::Omission;
use crate::node::{Node, nodes};

/// How many mutations may be in flight.
const WINDOW: u8 = 2;

impl LogModel {
    pub(super) fn lead_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        if replica.disk != replica.log {
            acts.push(Act::Sync(node));
        }
        if !matches!(replica.role, Role::Primary { .. }) {
            return;
        }
        if self.commits(state, node) {
            acts.push(Act::Commit(node));
        }
        let prepared = replica.log.prepared();
        if prepared < self.bounds.decrees
            && prepared < replica.committed + WINDOW
            && self.serves(state, node)
        {
            acts.push(Act::Write(node));
        }
    }

    /// C1: by which learns a node is a member of the configuration in force or of the one that may have replaced it.
    fn obeyed(&self, state: &State, node: Node, of: Node) -> impl Iterator<Item = u8> {
        let replica = state.at(node);
        let learn = |configuration: Option<&Configuration>| {
            configuration
                .map(|configuration| configuration.learns[usize::from(of)])
                .filter(|&learn| learn != 0)
        };
        let (mut stored, mut proposed) = (
            learn(state.configuration(replica.known)),
            learn(replica.proposal.as_ref()),
        );
        if !self.keeps(Omission::C1Proposed) {
            proposed = None;
        }
        if !self.keeps(Omission::C1Stored) && replica.proposal.is_some() {
            stored = None;
        }
        stored.into_iter().chain(proposed)
    }

    /// Whether a node is a member of either configuration.
    pub(super) fn obeys(&self, state: &State, node: Node, of: Node) -> bool {
        self.obeyed(state, node, of).next().is_some()
    }

    /// Whether all other members that the primary obeys have done something.
    fn all_members(&self, state: &State, node: Node, done: impl Fn(Node, u8) -> bool) -> bool {
        nodes().filter(|&other| other != node).all(|other| {
            self.obeyed(state, node, other)
                .all(|learn| done(other, learn))
        })
    }

    /// C3: whether every member that gates commits, and the primary's own log, have the next decree under this ballot.
    fn commits(&self, state: &State, node: Node) -> bool {
        let replica = state.at(node);
        let (ballot, decree) = (replica.known, replica.committed + 1);
        let synced = replica.disk.get(decree) == replica.log.get(decree);
        let must_sync =
            !self.buffered() || replica.promised >= ballot && self.keeps(Omission::C6Promise);
        if replica.log.get(decree).is_none() || must_sync && !synced {
            return false;
        }
        self.all_members(state, node, |member, learn| {
            let mut acks = state.network.iter();
            acks.any(|message| match message {
                Message::Ack {
                    ballot: b,
                    from,
                    learn: l,
                    prepared,
                } => {
                    let this_ballot = b == ballot || !self.keeps(Omission::C3AnyBallot);
                    let this_learn = l == learn || !self.keeps(Omission::C4Learn);
                    from == member && prepared >= decree && this_ballot && this_learn
                }
                _ => false,
            })
        })
    }

    /// C2: whether the duties of a new primary are done.
    pub(super) fn reconciled(&self, state: &State, node: Node, ballot: u8, role: Role) -> bool {
        let Role::Primary {
            last, reconciled, ..
        } = role
        else {
            return false;
        };
        let listed = state.at(node).committed >= last || !self.keeps(Omission::C2Serves);
        let truncated = |member, learn| {
            let ack = Message::TruncateAck {
                ballot,
                from: member,
                learn,
            };
            state.network.has(ack) || !self.keeps(Omission::C2Acks)
        };
        reconciled || listed && self.all_members(state, node, truncated)
    }

    /// Whether it takes reads and writes.
    pub(super) fn serves(&self, state: &State, node: Node) -> bool {
        let replica = state.at(node);
        self.reconciled(state, node, replica.known, replica.role)
    }

    /// A write: sent at once, flushed later.
    pub(super) fn write(state: &mut State, node: Node) {
        let replica = state.at_mut(node);
        let (ballot, last) = (replica.known, replica.log.prepared());
        let decree = last + 1;
        let base = replica.log.value(last);
        let given = |value| {
            let prepare = Message::Prepare {
                ballot,
                decree,
                value,
                base,
            };
            state.network.has(prepare)
        };
        // Only who leads twice under one ballot can give a decree twice.
        let value = 2 * ballot + u8::from(given(2 * ballot));
        state.at_mut(node).log.put(
            decree,
            Mutation {
                ballot,
                value,
                base,
            },
        );
        Self::send_list(state, node, decree);
    }

    /// The next decree is committed, and its client is told.
    pub(super) fn commit(&self, state: &mut State, node: Node) {
        let replica = state.at_mut(node);
        replica.committed += 1;
        let (ballot, decree) = (replica.known, replica.committed);
        let Some(mutation) = replica.log.get(decree) else {
            return;
        };
        state.network.send(Message::Committed {
            ballot,
            up_to: decree,
        });
        let slot = usize::from(decree - 1);
        let before = state.acknowledged[slot];
        state.diverged |= before != 0 && before != mutation.value;
        let predecessor = slot
            .checked_sub(1)
            .map_or(0, |slot| state.acknowledged[slot]);
        state.ungrounded |= predecessor != mutation.base;
        if before == 0 {
            let members = nodes().filter(|&other| other == node || self.obeys(state, node, other));
            let witnesses: u8 = members.map(|member| 1 << member).sum();
            state.witnesses[slot] = witnesses;
            // Who acknowledged it may have lost it before the primary heard.
            state.young[slot] = nodes()
                .filter(|&node| witnesses & 1 << node != 0)
                .any(|node| state.at(node).log.value(decree) != mutation.value);
        }
        state.acknowledged[slot] = mutation.value;
    }
}
