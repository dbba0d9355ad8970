//! What goes wrong, and how often.

use crate::node::{Power, index};
use crate::world::{MS, World};
use replication::{Afterwards, Event};
use types::{Durability, NodeId};

impl World {
    pub(crate) fn fault(&mut self) {
        let node = self.rng.index(self.nodes.len());
        let other = (node + 1 + self.rng.index(self.nodes.len() - 1)) % self.nodes.len();
        let span = match self.rng.within(0..10) {
            0..3 => self.rng.within(1..40),
            3..8 => self.rng.within(40..400),
            _ => self.rng.within(400..4000),
        } * MS;
        match self.rng.within(0..14) {
            0..3 if self.nodes[node].up => self.crash(node, Power::Kept, span),
            3 if self.nodes[node].up && self.may_lose_power(node) => {
                self.crash(node, Power::Lost, span);
            }
            4..6 if self.nodes[node].up && !self.nodes[node].paused => self.pause(node, span),
            6 => self.cut((node, other), span),
            7 => {
                self.cut((node, other), span);
                self.cut((other, node), span);
            }
            8 => self.isolate(node, span),
            9 => {
                self.network.loss = if self.rng.percent(50) {
                    0
                } else {
                    self.rng.within(0..20)
                };
                self.network.duplication = if self.rng.percent(50) {
                    0
                } else {
                    self.rng.within(0..20)
                };
                self.network.slow = if self.rng.percent(50) {
                    0
                } else {
                    self.rng.within(0..15)
                };
            }
            10 if self.meta_up => self.meta_down(span),
            11 => {
                let lost = self.nodes[other].id;
                self.step_if_running(node, Event::PeerLost { node: lost });
            }
            12 => self.hand_over(other),
            _ => {}
        }
    }

    /// The process or its machine ends while something is on its way to the disk, and comes back soon.
    pub(crate) fn die(&mut self, node: usize) {
        if self.faults && self.nodes[node].up {
            let power = if self.may_lose_power(node) && self.rng.percent(50) {
                Power::Lost
            } else {
                Power::Kept
            };
            let span = self.rng.within(1..200) * MS;
            self.crash(node, power, span);
        }
    }

    /// In `buffered`, a loss of power may cost a copy its membership; of all copies, some writes. Only the first is no loss.
    fn may_lose_power(&self, node: usize) -> bool {
        let Some(stored) = &self.stored else {
            return false;
        };
        if self.nodes[node].durability == Durability::Sync {
            return true;
        }
        let whole = |id: NodeId| {
            let peer = &self.nodes[index(id)];
            let replica = peer.replica.as_ref();
            replica.is_some_and(|replica| replica.is_member() && !replica.survey().unsynced)
        };
        // Every configuration that may be in force, now or by a proposal under way, keeps all others.
        let me = self.nodes[node].id;
        self.history.values().rev().take(3).all(|known| {
            known
                .members()
                .all(|member| member.node == me || whole(member.node))
                && known.len() > 1
        }) && stored.len() > 1
    }

    fn isolate(&mut self, node: usize, span: u64) {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.cut((node, other), span);
            self.cut((other, node), span);
        }
    }

    fn hand_over(&mut self, to: usize) {
        let to = self.nodes[to].id;
        let then = if self.rng.percent(50) {
            Afterwards::Stay
        } else {
            Afterwards::Leave
        };
        if let Some(primary) = self.stored.as_ref().map(|stored| stored.primary.node) {
            let primary = index(primary);
            self.step_if_running(primary, Event::HandOver { to, then });
        }
    }

    fn step_if_running(&mut self, node: usize, event: Event) {
        if self.nodes[node].up && !self.nodes[node].paused {
            self.step(node, event);
        }
    }
}
