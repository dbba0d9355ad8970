//! Leases, exceptions, and time (rules R1, R2, R4, R5).

use super::act::{Act, LeaseModel};
use super::state::{Exception, Held, Partition, State, Vouch};
use crate::Omission;
use crate::node::{NODES, Node, nodes};

impl LeaseModel {
    pub(super) fn beacon_acts(&self, state: &State, grantor: Node, acts: &mut Vec<Act>) {
        for holder in nodes().filter(|&holder| holder != grantor) {
            // Who leads nothing has no use for a lease, and gets one whenever it does.
            let mut led = state
                .partitions
                .iter()
                .filter(|partition| partition.leads(holder));
            if led.any(|partition| self.obeys(partition, holder, grantor)) {
                acts.push(Act::Grant(grantor, holder));
            }
            acts.push(Act::Notice(grantor, holder));
            for (index, partition) in state.partitions.iter().enumerate() {
                let exception = partition.exceptions[usize::from(grantor)][usize::from(holder)];
                if exception.ballot > 0 && !exception.acknowledged {
                    acts.push(Act::Settle(index, grantor, holder));
                }
            }
        }
    }

    /// Time passes. What has run out leaves nothing behind.
    pub(super) fn tick(state: &mut State, slow: Option<Node>) {
        state.missed -= u8::from(slow.is_some());
        for node in nodes().filter(|&node| Some(node) != slow).map(usize::from) {
            for held in &mut state.held[node] {
                held.left = held.left.saturating_sub(1);
                if held.left == 0 {
                    *held = Held::default();
                }
            }
            for left in &mut state.granted[node] {
                *left = left.saturating_sub(1);
            }
            for partition in &mut state.partitions {
                for exception in &mut partition.exceptions[node] {
                    exception.until = exception.until.saturating_sub(1);
                }
            }
            state.forgotten[node] = state.forgotten[node].saturating_sub(1);
        }
    }

    /// A beacon is answered. R2: a grant never travels without the exceptions to it.
    pub(super) fn grant(&self, state: &mut State, grantor: Node, holder: Node) {
        let (g, h) = (usize::from(grantor), usize::from(holder));
        state.granted[g][h] = self.bounds.grace;
        state.held[h][g] = Held {
            left: self.bounds.lease,
            life: state.lives[g],
        };
        if self.keeps(Omission::R2Alone) {
            self.notice(state, grantor, holder);
        }
        if !self.keeps(Omission::R2Expires) {
            for partition in &mut state.partitions {
                if partition.exceptions[g][h].acknowledged {
                    partition.barred[h][g] = 0;
                }
            }
        }
    }

    /// Exceptions arrive that were not acknowledged yet.
    pub(super) fn notice(&self, state: &mut State, grantor: Node, holder: Node) {
        let (g, h) = (usize::from(grantor), usize::from(holder));
        for partition in &mut state.partitions {
            let exception = partition.exceptions[g][h];
            let sent = !exception.acknowledged && self.keeps(Omission::R2None);
            if sent && exception.ballot > partition.barred[h][g] {
                partition.barred[h][g] = exception.ballot;
                partition.promised[h][g] = partition.promised[h][g].max(exception.ballot);
            }
        }
    }

    /// R2: nobody whom this node vouched to counts it for a lower ballot any more.
    pub(super) fn except_all(&self, state: &mut State, index: usize, node: Node, ballot: u8) {
        let n = usize::from(node);
        let partition = &mut state.partitions[index];
        for holder in nodes().map(usize::from) {
            if partition.vouched[n][holder] != Vouch::Given {
                continue;
            }
            partition.vouched[n][holder] = Vouch::Excepted(ballot);
            let before = partition.exceptions[n][holder];
            if before.ballot < ballot {
                partition.exceptions[n][holder] = Exception {
                    ballot,
                    until: state.granted[n][holder],
                    acknowledged: before.acknowledged && !self.keeps(Omission::R5Ballot)
                        || !self.keeps(Omission::R5Sent),
                };
            }
        }
    }

    /// The node has forgotten what it granted and what it was granted, and leads nothing (L3).
    pub(super) fn restart(&self, state: &mut State, node: Node) {
        let n = usize::from(node);
        state.restarts -= 1;
        state.lives[n] += 1;
        state.held[n] = [Held::default(); NODES];
        state.granted[n] = [0; NODES];
        // R4.
        let grace = self.bounds.grace * u8::from(self.keeps(Omission::R4Forgets));
        state.forgotten[n] = grace;
        for partition in &mut state.partitions {
            let bit = 1 << node;
            partition.leads &= !bit;
            partition.serves &= !bit;
            partition.grace_over &= !bit;
            partition.proposal[n] = None;
            partition.vouched[n] = [Vouch::Never; NODES];
            partition.exceptions[n] = [Exception::default(); NODES];
            partition.barred[n] = [0; NODES];
        }
    }
}

impl Partition {
    /// R5: the grantor hears that the holder heeds its exception.
    pub(super) fn settle(&mut self, grantor: Node, holder: Node) {
        let (g, h) = (usize::from(grantor), usize::from(holder));
        let promised = self.promised[h][g];
        let exception = &mut self.exceptions[g][h];
        if promised >= exception.ballot {
            exception.acknowledged = true;
            exception.until = 0;
        }
    }
}
