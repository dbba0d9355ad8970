//! A learn, from the offer to the proposal that makes the learner a member (rules L4, C4, C5, C6).

use super::act::{Act, LogModel};
use super::message::{self, Message};
use super::state::{Base, Configuration, Log, Reset, Role, Standing, State};
use crate::Omission;
use crate::node::{Node, nodes};

/// How many learns a primary may offer under one ballot.
const OFFERS: u8 = 3;

impl LogModel {
    pub(super) fn learn_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        let Role::Primary {
            learner,
            learn,
            offers,
            ..
        } = replica.role
        else {
            return;
        };
        if learn != 0 {
            acts.push(Act::Complete(node));
            if state.left.learns > 0
                && (!self.obeys(state, node, learner) || !self.keeps(Omission::C4Member))
            {
                acts.push(Act::Dismiss(node));
            }
        }
        // C4: learns start only while serving, and for no member of either configuration.
        if learn == 0 && offers < OFFERS && state.left.learns > 0 && self.serves(state, node) {
            let stored = |of| {
                state
                    .configuration(replica.known)
                    .is_some_and(|c| c.contains(of))
            };
            let free = |&of: &Node| {
                of != node
                    && !stored(of)
                    && (!self.obeys(state, node, of) || !self.keeps(Omission::C4Member))
            };
            acts.extend(nodes().filter(free).map(|of| Act::Offer(node, of)));
        }
    }

    /// The primary offers a node to learn. The log will follow, then prepares: it is all in the network at once, in any order.
    pub(super) fn offer(state: &mut State, node: Node, to: Node) {
        state.left.learns -= 1;
        let ballot = state.at(node).known;
        if let Role::Primary {
            learner,
            learn,
            offers,
            ..
        } = &mut state.at_mut(node).role
        {
            *offers += 1;
            (*learner, *learn) = (to, message::learn(ballot, *offers));
            let learn = *learn;
            state.network.send(Message::Offer { ballot, to, learn });
        }
        Self::send_list(state, node, 1);
    }

    /// L4: every learn starts with a durable reset record, and an offer that comes twice starts nothing.
    pub(super) fn take_offer(&self, state: &mut State, node: Node, ballot: u8, learn: u8) {
        let Some(&configuration) = state.configuration(ballot) else {
            return;
        };
        let known = state.at(node).standing.learn();
        let again = known == learn && !self.keeps(Omission::L4Offer);
        if ballot < state.at(node).known || configuration.contains(node) || known >= learn && !again
        {
            return;
        }
        if ballot > state.at(node).known {
            self.install(state, node, ballot);
        }
        let replica = state.at_mut(node);
        // C6: a copy of an older epoch is discarded whole.
        let sound = replica.epoch == configuration.epoch || !self.keeps(Omission::C6Epoch);
        let awaits = replica.standing != Standing::Blank && !replica.base.is_good();
        if replica.standing == Standing::Blank || !sound || awaits {
            replica.log = Log::default();
            replica.committed = 0;
        }
        replica.log.cut(replica.committed);
        self.flush(replica);
        (replica.reset, replica.base) = if awaits {
            (Reset::Checkpoint(0), Base::Awaited)
        } else {
            (Reset::Log, Base::Good)
        };
        replica.epoch = configuration.epoch;
        replica.standing = Standing::Learning(learn);
        replica.served = false;
        let next = if awaits { 0 } else { replica.committed + 1 };
        replica.role = Role::Follower { next };
        Self::acknowledge(state, node, ballot);
    }

    /// C4: the learner has flushed everything that is committed, by this learn and under this ballot.
    fn whole(&self, state: &State, node: Node, learner: Node, learn: u8) -> bool {
        let (ballot, committed) = (state.at(node).known, state.at(node).committed);
        state.network.iter().any(|message| match message {
            Message::Ack {
                ballot: b,
                from,
                learn: l,
                prepared,
            } => {
                let this_learn = l == learn || !self.keeps(Omission::C4Learn);
                b == ballot && from == learner && this_learn && prepared >= committed
            }
            _ => false,
        })
    }

    /// The primary tells its learner that nothing is missing.
    pub(super) fn complete(&self, state: &mut State, node: Node) {
        let ballot = state.at(node).known;
        if let Role::Primary { learner, learn, .. } = state.at(node).role
            && self.whole(state, node, learner, learn)
        {
            state.network.send(Message::Complete { ballot, learn });
        }
    }

    /// C5: the learner writes its ready mark.
    pub(super) fn mark(&self, state: &mut State, node: Node, ballot: u8, learn: u8) {
        let may = self.may_mark(state.at(node));
        let replica = state.at_mut(node);
        if !matches!(replica.role, Role::Follower { next: 1.. }) {
            return;
        }
        if replica.standing == Standing::Learning(learn) && may {
            replica.standing = Standing::Whole(learn);
            self.flush(replica);
        }
        if state.at(node).standing == Standing::Whole(learn) {
            state.network.send(Message::Ready { ballot, learn });
        }
    }

    /// C4, C5: the configuration with the learner, if it may be proposed.
    pub(super) fn promotion(
        &self,
        state: &State,
        node: Node,
        now: Configuration,
    ) -> Option<Configuration> {
        let ballot = state.at(node).known;
        let Role::Primary {
            learner,
            learn: learn @ 1..,
            ..
        } = state.at(node).role
        else {
            return None;
        };
        let complete = Message::Complete { ballot, learn };
        let ready = state.network.has(Message::Ready { ballot, learn })
            || !self.keeps(Omission::C5Mark) && state.network.has(complete);
        let whole = self.whole(state, node, learner, learn) || !self.keeps(Omission::C4Whole);
        let mut with = now;
        with.learns[usize::from(learner)] = learn;
        (ready && whole && self.serves(state, node)).then_some(with)
    }

    /// The primary gives its learner up; it may be offered another learn.
    pub(super) fn dismiss(state: &mut State, node: Node) {
        if let Role::Primary { learner, learn, .. } = &mut state.at_mut(node).role {
            (*learner, *learn) = (0, 0);
        }
    }
}
