//! What a secondary or a learner does with what it is told (rules L1, L2, C2, C6).

use super::act::{Act, LogModel};
use super::message::Message;
use super::state::{Mutation, Role, Standing, State};
use crate::Omission;
use crate::node::Node;

impl LogModel {
    pub(super) fn follow_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        for message in state.network.iter() {
            let heeded = match message {
                Message::Truncate { ballot, .. } => {
                    ballot >= replica.known && self.is_follower_of(state, node, ballot)
                }
                Message::Prepare { ballot, .. } => {
                    ballot == replica.known
                        || ballot < replica.known && !self.keeps(Omission::L2Lower)
                }
                Message::Offer { to, .. } => to == node,
                Message::Checkpoint { learn, .. } => replica.standing == Standing::Learning(learn),
                Message::Complete { ballot, learn } => {
                    ballot == replica.known && learn == replica.standing.learn()
                }
                Message::Committed { .. }
                | Message::TruncateAck { .. }
                | Message::Ack { .. }
                | Message::Ready { .. } => false,
            };
            if heeded {
                acts.push(Act::Receive(node, message));
            }
        }
        if let Role::Follower { next } = replica.role
            && replica.committed + 1 < next
            && replica.committed < state.network.committed(replica.known)
        {
            acts.push(Act::FollowCommit(node));
        }
        let nothing_here =
            replica.standing == Standing::Blank && self.keeps(Omission::C5Configuration);
        if !nothing_here {
            let newer = replica.known + 1..=state.newest();
            acts.extend(newer.map(|ballot| Act::Hear(node, ballot)));
        }
    }

    /// Whether the node could follow the primary of a ballot.
    fn is_follower_of(&self, state: &State, node: Node, ballot: u8) -> bool {
        let other = state
            .configuration(ballot)
            .is_some_and(|known| known.primary != node);
        let blank = state.at(node).standing == Standing::Blank;
        other && (!blank || !self.keeps(Omission::C5Configuration))
    }

    /// C2: a primary makes itself known under its ballot.
    pub(super) fn take_truncate(
        &self,
        state: &mut State,
        node: Node,
        ballot: u8,
        first: u8,
        last: u8,
    ) {
        if ballot > state.at(node).known {
            self.install(state, node, ballot);
        }
        let replica = state.at_mut(node);
        let Role::Follower { next } = replica.role else {
            return;
        };
        if next == 0 && !replica.awaits_checkpoint() {
            let Some(next) = self.begin_stream(state, node, ballot, first, last) else {
                return;
            };
            state.at_mut(node).role = Role::Follower { next };
            self.advance(state, node);
            Self::acknowledge(state, node, ballot);
        }
        let learn = state.at(node).standing.learn();
        state.network.send(Message::TruncateAck {
            ballot,
            from: node,
            learn,
        });
    }

    /// Cuts what the new primary does not have, and says which of its decrees comes next. Says no if that cannot be right.
    fn begin_stream(
        &self,
        state: &mut State,
        node: Node,
        ballot: u8,
        first: u8,
        last: u8,
    ) -> Option<u8> {
        let replica = state.at_mut(node);
        let prepared = replica.log.prepared();
        if matches!(replica.standing, Standing::Learning(_)) {
            return Some(first.max(replica.committed + 1).min(prepared + 1));
        }
        if replica.committed > last.max(first - 1) {
            return None;
        }
        // C2: only records of lower ballots.
        let mut end = prepared;
        while end > last.max(replica.committed)
            && replica
                .log
                .get(end)
                .is_some_and(|mutation| mutation.ballot < ballot || !self.keeps(Omission::C2Lower))
        {
            end -= 1;
        }
        if end < prepared {
            replica.log.cut(end);
            replica.disk = replica.log;
        }
        if first > end + 1 {
            return None;
        }
        // L1: what is in the log under this ballot already is acknowledged, not appended again.
        let mut next = first;
        while next > replica.committed
            && replica
                .log
                .get(next)
                .is_some_and(|known| known.ballot == ballot)
        {
            next += 1;
        }
        Some(next)
    }

    /// L1: appends the next mutation of the stream.
    pub(super) fn take_prepare(
        &self,
        state: &mut State,
        node: Node,
        ballot: u8,
        decree: u8,
        (value, base): (u8, u8),
    ) {
        if ballot < state.at(node).known {
            return self.take_lower(
                state,
                node,
                ballot,
                decree,
                Mutation {
                    ballot,
                    value,
                    base,
                },
            );
        }
        if self.holes() && matches!(state.at(node).standing, Standing::Learning(_)) {
            let mutation = Mutation {
                ballot,
                value,
                base,
            };
            return self.take_anywhere(state, node, decree, mutation);
        }
        let replica = state.at_mut(node);
        let Role::Follower { next } = replica.role else {
            return;
        };
        let in_order = decree == next || decree > next && !self.keeps(Omission::L1Gaps);
        if next == 0 || !in_order {
            return;
        }
        if replica
            .log
            .get(decree)
            .is_some_and(|known| (known.value, known.base) != (value, base))
        {
            // Two mutations for one decree: this copy is not what it believes to be. It goes no further.
            return;
        }
        if decree > replica.committed {
            replica.log.put(
                decree,
                Mutation {
                    ballot,
                    value,
                    base,
                },
            );
        }
        // C6: where a proposal may have been made, nothing unsynced is acknowledged.
        let promised = replica.promised >= replica.known && self.keeps(Omission::C6Promise);
        if !self.buffered() || promised {
            self.flush(replica);
            if !self.keeps(Omission::L1Cancels) {
                replica.disk.cut(decree);
            }
        }
        replica.role = Role::Follower { next: decree + 1 };
        Self::acknowledge(state, node, ballot);
    }

    /// L2 left out: a prepare of a lower ballot is appended and acknowledged, whatever this replica knows.
    fn take_lower(
        &self,
        state: &mut State,
        node: Node,
        ballot: u8,
        decree: u8,
        mutation: Mutation,
    ) {
        let replica = state.at_mut(node);
        if self.keeps(Omission::L2Lower) || decree != replica.log.prepared() + 1 {
            return;
        }
        replica.log.put(decree, mutation);
        replica.disk = replica.log;
        let learn = replica.standing.learn();
        state.network.send(Message::Ack {
            ballot,
            from: node,
            learn,
            prepared: decree,
        });
    }

    /// C3, C4: says how far the stream has come, under which ballot and by which learn.
    pub(super) fn acknowledge(state: &mut State, node: Node, ballot: u8) {
        let replica = state.at(node);
        if let Role::Follower { next: next @ 1.. } = replica.role {
            let learn = replica.standing.learn();
            state.network.send(Message::Ack {
                ballot,
                from: node,
                learn,
                prepared: next - 1,
            });
        }
    }
}
