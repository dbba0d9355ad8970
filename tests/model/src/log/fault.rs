//! Crashes of processes and machines, and disks that are replaced (rules L4, C5, C6).

use super::act::{Act, LogModel};
use super::message::Message;
use super::state::{Configuration, DECREES, Replica, Standing, State};
use crate::Omission;
use crate::node::{NODES, Node, nodes};

impl LogModel {
    pub(super) fn fault_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        if replica.standing != Standing::Blank {
            if state.left.restarts > 0 {
                let applied = Self::oldest_applied(replica)..=replica.committed;
                acts.extend(applied.map(|applied| Act::Restart(node, applied)));
            }
            if state.left.power_losses > 0 {
                // The log is synced up to a decree before RocksDB has it.
                let synced = |&decree: &u8| replica.disk.value(decree) == replica.log.value(decree);
                let synced = (1..=replica.committed).take_while(synced).count() as u8;
                acts.extend((0..=synced).map(|applied| Act::LosePower(node, applied)));
            }
            if state.left.emptied > 0 && Self::another_survives(state, node) {
                acts.push(Act::EmptyDisk(node));
            }
        }
        if state.newest() < self.bounds.ballots && self.may_survive(state, node) {
            acts.push(Act::Survive(node));
        }
    }

    /// Whether another member of the newest configuration has its disk: without one, nothing is promised.
    fn another_survives(state: &State, node: Node) -> bool {
        let Some(newest) = state.stored.last() else {
            return false;
        };
        nodes().any(|other| other != node && state.is_member_of(other, *newest))
    }

    /// C6: the machine stops, and what was not synced is gone. Its copies know it by their mark of the boot.
    pub(super) fn lose_power(&self, state: &mut State, node: Node, applied: u8) {
        state.left.power_losses -= 1;
        let replica = state.at_mut(node);
        let before = replica.log;
        replica.log = replica.disk;
        if let Standing::Whole(learn) = replica.standing
            && self.keeps(Omission::C6Boot)
        {
            replica.standing = Standing::Unsynced(learn);
        }
        self.wake(state, node, applied);
        for slot in 0..usize::from(state.acknowledged()) {
            let (decree, value) = (slot as u8 + 1, state.acknowledged[slot]);
            let had = state.witnesses[slot] & 1 << node != 0 && before.value(decree) == value;
            state.young[slot] |= had && state.at(node).log.value(decree) != value;
        }
    }

    /// A power loss of some machines may cost nothing. One of all machines that had a write may cost it if it was not synced on each of
    /// them when the client was told of it: the last second.
    fn excuse(state: &mut State, survivor: Node) {
        let lost = |slot: usize| {
            let witnesses = state.witnesses[slot];
            let mut had = nodes().filter(|&node| witnesses & 1 << node != 0);
            let all = had.all(|node| matches!(state.at(node).standing, Standing::Unsynced(_)));
            let kept = state.at(survivor).log.value(slot as u8 + 1) == state.acknowledged[slot];
            state.young[slot] && all && !kept
        };
        if let Some(slot) = (0..DECREES).find(|&slot| lost(slot)) {
            state.acknowledged[slot..].fill(0);
            state.witnesses[slot..].fill(0);
            state.young[slot..].fill(false);
        }
    }

    /// The node starts with an empty disk, and so as another node: what was offered to the old one is not for it (C5).
    pub(super) fn empty_disk(state: &mut State, node: Node) {
        state.left.emptied -= 1;
        state.emptied |= 1 << node;
        let offered = |message| matches!(message, Message::Offer { to, .. } if to == node);
        state.network.forget(offered);
        *state.at_mut(node) = Replica::fresh(Standing::Blank);
    }

    /// C6: whether all members of the newest configuration lost unsynced writes, and this copy is the largest.
    fn may_survive(&self, state: &State, node: Node) -> bool {
        let Some(newest) = state.stored.last().filter(|newest| newest.contains(node)) else {
            return false;
        };
        let size = |member: Node| {
            let log = state.at(member).log;
            (log.last_ballot(), log.prepared())
        };
        nodes()
            .filter(|&member| newest.contains(member))
            .all(|member| {
                let learn = newest.learns[usize::from(member)];
                let unsynced = state.at(member).standing == Standing::Unsynced(learn);
                let largest = size(member) <= size(node) || !self.keeps(Omission::C6Largest);
                unsynced && largest && state.at(member).epoch == newest.epoch
            })
    }

    /// C6: the largest copy becomes the only member, in a new epoch.
    pub(super) fn survive(state: &mut State, node: Node) {
        let Some(&newest) = state.stored.last() else {
            return;
        };
        Self::excuse(state, node);
        let mut learns = [0; NODES];
        learns[usize::from(node)] = newest.learns[usize::from(node)];
        state.stored.push(Configuration {
            primary: node,
            learns,
            epoch: newest.epoch + 1,
        });
        state.proposed.clear();
    }
}
