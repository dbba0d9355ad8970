//! What goes wrong, one thing at a time. Faults that only together are worth anything are in `scenes`.

use crate::node::{Power, index};
use crate::swarm::Fault;
use crate::world::{MS, World};
use replication::{Afterwards, Event};
use types::Durability;

impl World {
    pub(crate) fn fault(&mut self) {
        let fault = self.swarm.faults[self.chance.index(self.swarm.faults.len())];
        let node = self.chance.index(self.nodes.len());
        let other = self.another(node);
        let span = self.span();
        self.note(|| format!("{fault:?}"));
        self.figures.faults += 1;
        match fault {
            Fault::Kill => self.kill(node, span),
            Fault::LosePower => self.lose_power(node, span),
            Fault::Pause => self.freeze(node, span),
            Fault::CutOneWay => self.cut((node, other), span),
            Fault::CutBothWays => self.cut_both_ways(node, other, span),
            Fault::Isolate => self.isolate(node, span),
            Fault::Weather => self.change_weather(),
            Fault::MetaDown if self.meta.up => self.meta_down(span),
            Fault::MetaDown => {}
            Fault::PauseLeader => self.pause_leader(span),
            Fault::MetaDeaf => self.meta_deaf(span),
            Fault::Hint => self.hint(node, self.nodes[other].id),
            Fault::HandOver => self.hand_over(other),
            Fault::Damage => self.damage(node),
            Fault::HangDisk => self.hang_disk(node, span),
            Fault::StepWall => {
                for node in &mut self.nodes {
                    node.step_wall(&mut self.chance);
                }
            }
            Fault::PausePrimary => self.pause_primary(span),
            Fault::DeposePrimary => self.depose_primary(span),
            Fault::KillPrimary => self.kill_primary(span),
            Fault::KillOneByOne => self.kill_one_by_one(span),
            Fault::HandOverAndLose => self.hand_over_and_lose(span),
            Fault::LoseMember => self.lose_member(span),
            Fault::Blackout => self.blackout(),
            Fault::Forget => self.forget(node),
            Fault::Mute => self.mute(span),
            Fault::ReturnToPower => self.return_to_power(span),
        }
    }

    pub(crate) fn another(&mut self, than: usize) -> usize {
        (than + 1 + self.chance.index(self.nodes.len() - 1)) % self.nodes.len()
    }

    fn span(&mut self) -> u64 {
        let most = match self.chance.within(0..10) {
            0..3 => 1..40,
            3..8 => 40..400,
            _ => 400..4000,
        };
        self.chance.within(most) * MS
    }

    pub(crate) fn kill(&mut self, node: usize, span: u64) {
        if self.nodes[node].up {
            self.crash(node, Power::Kept, span);
        }
    }

    fn lose_power(&mut self, node: usize, span: u64) {
        if self.nodes[node].up && self.may_lose_power(node) {
            self.crash(node, Power::Lost, span);
        }
    }

    pub(crate) fn freeze(&mut self, node: usize, span: u64) {
        if self.nodes[node].runs() {
            self.pause(node, span);
        }
    }

    pub(crate) fn isolate(&mut self, node: usize, span: u64) {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.cut_both_ways(node, other, span);
        }
        self.cut_from_meta(node, span);
    }

    /// The network as bad as this seed's may be.
    pub(crate) fn worsen(&mut self) {
        let swarm = &self.swarm;
        let network = &mut self.network;
        (network.loss, network.duplication) = (swarm.loss, swarm.duplication);
        (network.lateness, network.late) = (swarm.lateness, swarm.late);
        network.unlucky.clone_from(&swarm.unlucky);
        self.meta.unanswered = swarm.unanswered;
    }

    fn change_weather(&mut self) {
        self.worsen();
        let network = &mut self.network;
        for rate in [
            &mut network.loss,
            &mut network.duplication,
            &mut network.lateness,
        ] {
            *rate = self.chance.within(0..*rate + 1);
        }
        if self.chance.percent(50) {
            network.unlucky.clear();
        }
    }

    pub(crate) fn hand_over(&mut self, to: usize) {
        let to = self.nodes[to].id;
        let then = if self.chance.percent(50) {
            Afterwards::Stay
        } else {
            Afterwards::Leave
        };
        if let Some(primary) = self.primary()
            && self.nodes[primary].runs()
        {
            self.step(primary, Event::HandOver { to, then });
        }
    }

    /// The primary of the configuration in force.
    pub(crate) fn primary(&self) -> Option<usize> {
        let stored = self.meta.stored.as_ref()?;
        Some(index(stored.primary.node))
    }

    /// The members of the configuration in force, the primary first.
    pub(crate) fn members(&self) -> Vec<usize> {
        let stored = self.meta.stored.iter();
        let members = stored.flat_map(types::Configuration::members);
        members.map(|member| index(member.node)).collect()
    }

    pub(crate) fn hang_disk(&mut self, node: usize, span: u64) {
        let disk = &mut self.nodes[node].disk;
        if disk.hangs_until <= self.now {
            (disk.hangs_since, disk.hangs_until) = (self.now, self.now + span);
        }
    }

    /// Some of the newest records become unreadable: noticed while the node runs, or at its next start.
    fn damage(&mut self, node: usize) {
        let empty = self.nodes[node].disk.safe.learn.is_none();
        if empty || !self.may_damage(node) || !self.nodes[node].runs() {
            return;
        }
        let newest = 1 + self.chance.index(6);
        // An idle log says that all of it is synced: what breaks then is no torn tail.
        self.nodes[node].disk.settle();
        if self.chance.percent(50) {
            let span = self.chance.within(5..300) * MS;
            self.crash(node, Power::Kept, span);
            self.nodes[node].disk.damage(newest);
        } else if self.nodes[node].disk.damage(newest) {
            self.step(node, Event::Damaged);
        }
    }

    /// The process or its machine ends while something is on its way to the disk, and comes back soon.
    pub(crate) fn die(&mut self, node: usize) {
        if self.faults() && self.nodes[node].up {
            let power = if self.chance.percent(50) && self.may_lose_power(node) {
                Power::Lost
            } else {
                Power::Kept
            };
            let span = self.chance.within(1..200) * MS;
            self.figures.faults += 1;
            self.crash(node, power, span);
        }
    }

    /// In `sync` nothing is lost with the power. In `buffered` it may cost a copy its membership; of all copies, some writes: only
    /// the first is no loss. Whoever proposed itself alone, and has not heard whether that is stored, is no exception (C6).
    pub(crate) fn may_lose_power(&self, node: usize) -> bool {
        let this = &self.nodes[node];
        let alone = this.replica.as_ref().is_some_and(|replica| {
            replica
                .configuration()
                .is_some_and(|known| known.len() == 1 && known.contains(this.id))
        });
        this.durability == Durability::Sync || !alone && self.others_are_whole(node, 0)
    }

    /// Damage may cost a copy; never the last.
    pub(crate) fn may_damage(&self, node: usize) -> bool {
        self.others_are_whole(node, 1)
    }

    /// Whether all other members of every configuration that may be in force, now or by a proposal under way, are whole, and that many
    /// there are at least.
    fn others_are_whole(&self, node: usize, least: usize) -> bool {
        let me = self.nodes[node].id;
        let mut recent = self.meta.history.values().rev().take(3).peekable();
        recent.peek().is_some()
            && recent.chain(&self.meta.asked).all(|known| {
                let mut others = known.members().filter(|member| member.node != me);
                known.len() > least
                    && others.all(|member| self.nodes[index(member.node)].is_whole())
            })
    }
}
