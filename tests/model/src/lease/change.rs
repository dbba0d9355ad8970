//! Configurations, and who may serve under them (rules R1, R2, R3, R5, C1).

use super::act::{Act, LeaseModel};
use super::state::{Configuration, Follows, Partition, State, Vouch};
use crate::Omission;
use crate::node::{Node, nodes};

impl LeaseModel {
    pub(super) fn change_acts(&self, state: &State, index: usize, node: Node, acts: &mut Vec<Act>) {
        let partition = &state.partitions[index];
        let known = partition.known[usize::from(node)];
        for ballot in known.max(1)..=partition.newest() {
            let Some(configuration) = partition.configuration(ballot) else {
                continue;
            };
            let member = configuration.contains(node);
            if ballot > known && (member || known > 0) {
                acts.push(Act::Hear(index, node, ballot));
            }
            let primary = configuration.primary;
            let led = partition.known[usize::from(primary)] >= ballot;
            if led && member && primary != node {
                acts.push(Act::Follow(index, node, ballot));
            }
        }
        self.propose_acts(partition, index, node, acts);
        if !partition.leads(node) {
            return;
        }
        let all_follow = self.all_members(partition, node, |member| {
            partition.known[usize::from(member)] == known && partition.follows(known, member, None)
        });
        let grace_over = partition.grace_over & 1 << node != 0;
        if all_follow && grace_over {
            let act = if partition.serves(node) {
                Act::Write(index, node)
            } else {
                Act::Serve(index, node)
            };
            acts.push(act);
        }
        if state.learns > 0 && (partition.serves(node) || !self.keeps(Omission::R3Adds)) {
            let free = nodes().filter(|&of| of != node && !self.obeys(partition, node, of));
            let behind = free.filter(|&of| partition.known[usize::from(of)] <= known);
            acts.extend(behind.map(|of| Act::Teach(index, node, of)));
        }
    }

    fn propose_acts(&self, partition: &Partition, index: usize, node: Node, acts: &mut Vec<Act>) {
        let known = partition.known[usize::from(node)];
        let Some(&now) = partition.configuration(known) else {
            return;
        };
        // C1: only once.
        let free = partition.proposal[usize::from(node)].is_none();
        if known >= self.bounds.ballots || !free || !now.contains(node) {
            return;
        }
        let mut propose = |proposed| acts.push(Act::Propose(index, node, proposed));
        if partition.leads(node) {
            for gone in nodes().filter(|&gone| gone != node && now.contains(gone)) {
                propose(Configuration {
                    members: now.members & !(1 << gone),
                    ..now
                });
            }
            // R3: nobody is added before the grace is over.
            if partition.serves(node) || !self.keeps(Omission::R3Adds) {
                let taught = |of: &Node| !now.contains(*of) && partition.follows(known, *of, None);
                for learner in nodes().filter(taught) {
                    propose(Configuration {
                        members: now.members | 1 << learner,
                        ..now
                    });
                }
            }
        } else if now.primary == node {
            propose(now);
        } else {
            let members = now.members & !(1 << now.primary);
            propose(Configuration {
                primary: node,
                members,
            });
            propose(Configuration {
                primary: node,
                ..now
            });
        }
    }

    /// C1: whether a node is a member of the configuration in force, or of the one that may have replaced it.
    pub(super) fn obeys(&self, partition: &Partition, node: Node, of: Node) -> bool {
        let proposal = partition.proposal[usize::from(node)];
        let stored = partition
            .known(node)
            .is_some_and(|known| known.contains(of));
        let proposed = proposal.is_some_and(|proposed| proposed.contains(of));
        let obeys_stored = proposal.is_none() || self.keeps(Omission::C1Stored);
        stored && obeys_stored || proposed && self.keeps(Omission::C1Proposed)
    }

    /// Whether something is true of all other members that a primary obeys.
    pub(super) fn all_members(
        &self,
        partition: &Partition,
        node: Node,
        is: impl Fn(Node) -> bool,
    ) -> bool {
        nodes()
            .filter(|&other| other != node && self.obeys(partition, node, other))
            .all(is)
    }

    /// A node goes over to a higher ballot.
    pub(super) fn install(&self, state: &mut State, index: usize, node: Node, ballot: u8) {
        self.except_all(state, index, node, ballot);
        let n = usize::from(node);
        let partition = &mut state.partitions[index];
        let follows_own = partition.leads(node) && partition.known[n] + 1 == ballot;
        partition.known[n] = ballot;
        partition.proposal[n] = None;
        let leads = partition
            .known(node)
            .is_some_and(|known| known.primary == node);
        let bit = 1 << node;
        partition.leads = partition.leads & !bit | u8::from(leads) << node;
        if !(leads && follows_own) {
            partition.serves &= !bit;
            partition.grace_over &= !bit;
        }
    }

    /// A node takes the truncate of a ballot's primary, or is taught by it: it vouches for it, in this life.
    pub(super) fn follow(&self, state: &mut State, index: usize, node: Node, ballot: u8) {
        let n = usize::from(node);
        if ballot > state.partitions[index].known[n] {
            self.install(state, index, node, ballot);
        }
        let life = state.lives[n];
        let partition = &mut state.partitions[index];
        let Some(primary) = partition
            .configuration(ballot)
            .map(|c| usize::from(c.primary))
        else {
            return;
        };
        partition.vouched[n][primary] = Vouch::Given;
        let word = Follows {
            ballot,
            from: node,
            life,
        };
        if !partition.follows.contains(&word) {
            partition.follows.push(word);
            partition.follows.sort_unstable();
        }
    }

    /// R3: whether every lease that a new primary granted for the partition has run out, or was given back (R5).
    pub(super) fn settle_grace(&self, state: &mut State, index: usize) {
        for node in nodes() {
            let n = usize::from(node);
            let partition = &state.partitions[index];
            let ballot = partition.known[n];
            let settled = |holder: Node| {
                let h = usize::from(holder);
                let exception = partition.exceptions[n][h];
                let below = match partition.vouched[n][h] {
                    Vouch::Never => return true,
                    Vouch::Given => ballot,
                    Vouch::Excepted(below) => below,
                };
                let over = exception.acknowledged || exception.until == 0;
                let released = partition.follows(ballot, holder, None);
                released || exception.ballot >= below && over
            };
            // R4: an earlier life's grants are not remembered, only that there may have been some.
            let over =
                state.forgotten[n] == 0 && nodes().all(settled) || !self.keeps(Omission::R3Waits);
            if partition.leads(node) && over {
                state.partitions[index].grace_over |= 1 << node;
            }
        }
    }

    /// R1: whether a node may answer a read now.
    pub(super) fn may_read(&self, state: &State, index: usize, node: Node) -> bool {
        let n = usize::from(node);
        let partition = &state.partitions[index];
        let ballot = partition.known[n];
        let leased = |member: Node| {
            let m = usize::from(member);
            let held = state.held[n][m];
            let life = self.keeps(Omission::R1Life).then_some(held.life);
            let vouches = partition.follows(ballot, member, life)
                || !self.keeps(Omission::R1Vouch) && partition.follows(ballot - 1, member, life);
            held.left > 0 && vouches && partition.barred[n][m] <= ballot
        };
        let asks = self.keeps(Omission::R1Lease);
        partition.serves(node) && (!asks || self.all_members(partition, node, leased))
    }
}

impl Partition {
    /// Makes a proposal.
    pub(super) fn propose(&mut self, node: Node, proposed: Configuration) {
        self.proposal[usize::from(node)] = Some(proposed);
        let free = self.known[usize::from(node)] == self.newest();
        if free && !self.proposed.contains(&proposed) {
            self.proposed.push(proposed);
            self.proposed.sort_unstable();
        }
    }

    /// Drops words to primaries that lead no more.
    pub(super) fn tidy(&mut self) {
        let (stored, known, leads) = (self.stored.clone(), self.known, self.leads);
        self.follows.retain(|word| {
            let Some(configuration) = stored.get(usize::from(word.ballot) - 1) else {
                return false;
            };
            let primary = configuration.primary;
            let leads = leads & 1 << primary != 0;
            // One more ballot, for those who would carry a vouch over.
            leads && known[usize::from(primary)] <= word.ballot + 1
        });
    }
}
