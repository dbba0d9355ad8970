//! Changes of configuration: who proposes which (rules L3, C1, C4, C5, C6).

use super::act::{Act, LogModel};
use super::bounds::OldPrimary;
use super::state::{Configuration, Role, State};
use crate::Omission;
use crate::node::{Node, nodes};

impl LogModel {
    pub(super) fn propose_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        // A proposal for a ballot that is stored already, or out of bounds, comes to nothing; but it binds its proposer all the same.
        if replica.known >= self.bounds.ballots {
            return;
        }
        if replica.proposal.is_some() && !self.keeps(Omission::C1Changes) {
            acts.push(Act::GiveUp(node));
        }
        let Some(&now) = state.configuration(replica.known) else {
            return;
        };
        // C5: only a member proposes; C1: only once.
        if replica.proposal.is_some() || !self.is_member(state, node, now) {
            return;
        }
        match replica.role {
            Role::Primary { .. } => {
                for gone in nodes().filter(|&gone| gone != node && now.contains(gone)) {
                    acts.push(Act::Propose(node, less(now, gone)));
                }
                if let Some(with) = self.promotion(state, node, now) {
                    acts.push(Act::Propose(node, with));
                }
            }
            // L3: a restarted primary proposes its own configuration again.
            Role::Inactive if now.primary == node => acts.push(Act::Propose(node, now)),
            Role::Inactive => {}
            Role::Follower { .. } => {
                let taken = Configuration {
                    primary: node,
                    ..now
                };
                acts.push(Act::Propose(node, less(taken, now.primary)));
                if self.bounds.old_primary == OldPrimary::MayStay {
                    acts.push(Act::Propose(node, taken));
                }
            }
        }
    }

    /// C6: what a proposer acknowledged is on its disk before it proposes, and from then on before it acknowledges.
    pub(super) fn propose(&self, state: &mut State, node: Node, configuration: Configuration) {
        let buffered = self.buffered();
        let replica = state.at_mut(node);
        let free = replica.known;
        replica.proposal = Some(configuration);
        if buffered && self.keeps(Omission::C6Promise) {
            replica.promised = replica.promised.max(free);
            replica.disk = replica.log;
        }
        if free == state.newest() && !state.proposed.contains(&configuration) {
            state.proposed.push(configuration);
            state.proposed.sort_unstable();
        }
    }
}

/// A configuration without one of its members.
fn less(mut configuration: Configuration, gone: Node) -> Configuration {
    configuration.learns[usize::from(gone)] = 0;
    configuration
}
