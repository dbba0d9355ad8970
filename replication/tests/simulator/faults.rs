//! What goes wrong, one thing at a time. Faults that only together are worth anything are in `scenes`.

use crate::invariants::recovery;
use crate::logs::Change;
use crate::node::{Power, index};
use crate::site::At;
use crate::swarm::Fault;
use crate::world::{MS, World};
use replication::{Afterwards, Event, Replica};
use types::Durability;

impl World {
    pub(crate) fn fault(&mut self) {
        let fault = self.swarm.faults[self.chance.index(self.swarm.faults.len())];
        let node = self.chance.index(self.nodes.len());
        let other = self.another(node);
        let partition = self.some_partition();
        let at = At { node, partition };
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
            Fault::HandOver => self.hand_over(at.on(other)),
            Fault::Damage => self.damage(at),
            Fault::HangDisk => self.hang_disk(node, span),
            Fault::StepWall => {
                for node in &mut self.nodes {
                    node.step_wall(&mut self.chance);
                }
            }
            Fault::PausePrimary => self.pause_primary(partition, span),
            Fault::DeposePrimary => self.depose_primary(partition, span),
            Fault::KillPrimary => self.kill_primary(partition, span),
            Fault::KillOneByOne => self.kill_one_by_one(span),
            Fault::HandOverAndLose => self.hand_over_and_lose(partition, span),
            Fault::LoseMember => self.lose_member(partition, span),
            Fault::Blackout => self.blackout(),
            Fault::Forget => self.forget(node),
            Fault::Mute => self.mute(span),
            Fault::ReturnToPower => self.return_to_power(partition, span),
            Fault::ChangeDurability => self.change_durability(at, span),
        }
    }

    /// What strikes one partition strikes each as often.
    fn some_partition(&mut self) -> usize {
        match self.partitions.len() {
            1 => 0,
            several => self.chance.index(several),
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
            if self.nodes[node].runs() && self.chance.percent(20) {
                self.end_in_order(node);
            }
            self.crash(node, Power::Kept, span);
        }
    }

    /// The process is asked to end: its replicas say what is synced (C6).
    fn end_in_order(&mut self, node: usize) {
        self.step_all(node, &Event::Shutdown);
        if self.nodes[node].hangs_until <= self.now {
            for site in &mut self.nodes[node].sites {
                site.disk.settle();
            }
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

    pub(crate) fn hand_over(&mut self, successor: At) {
        let to = self.id(successor);
        let then = if self.chance.percent(50) {
            Afterwards::Stay
        } else {
            Afterwards::Leave
        };
        if let Some(primary) = self.partitions[successor.partition].primary()
            && self.nodes[primary].runs()
        {
            self.step(successor.on(primary), Event::HandOver { to, then });
        }
    }

    pub(crate) fn hang_disk(&mut self, node: usize, span: u64) {
        let node = &mut self.nodes[node];
        if node.hangs_until <= self.now {
            (node.hangs_since, node.hangs_until) = (self.now, self.now + span);
        }
    }

    /// A copy goes over to the log of the other durability. If a disk fails meanwhile, the process ends.
    fn change_durability(&mut self, at: At, span: u64) {
        let node = &self.nodes[at.node];
        let (works, site) = (node.runs() && node.hangs_until <= self.now, self.site(at));
        let may = |replica: &&Replica| replica.may_change_durability();
        let replica = site.replica.as_ref().filter(may);
        let Some(replica) = replica.filter(|_| works && site.incoming.is_none()) else {
            return;
        };
        let to = match site.disk.durability() {
            Durability::Sync => Durability::Buffered,
            Durability::Buffered => Durability::Sync,
        };
        let anew = replica.records_for(to);
        let fails = self.chance.percent(30);
        self.note(|| format!("{at} goes over to {to}"));
        let site = &mut self.nodes[at.node].sites[at.partition];
        match site.disk.change(anew, fails, &mut self.chance) {
            Change::Done => {
                if let Some(replica) = &mut site.replica {
                    replica.change_durability(to);
                }
            }
            Change::Cut => {
                // It may be in either log.
                let may = self.may_lose_power(at.node) && self.may_lose_unsynced(at);
                let lost = self.chance.percent(50) && may;
                let power = if lost { Power::Lost } else { Power::Kept };
                self.crash(at.node, power, span);
            }
            // What cannot be read has to be learnt anew.
            Change::Refused(_) if site.disk.damaged => {}
            Change::Refused(why) => self.violate(recovery::NAME, why),
        }
    }

    /// Some of the newest records become unreadable: noticed while the node runs, or at its next start.
    fn damage(&mut self, at: At) {
        let empty = self.site(at).disk.safe.learn.is_none();
        if empty || !self.may_damage(at) || !self.nodes[at.node].runs() {
            return;
        }
        let newest = 1 + self.chance.index(6);
        // An idle log says that all of it is synced: what breaks then is no torn tail.
        self.site_mut(at).disk.settle();
        if self.chance.percent(50) {
            let span = self.chance.within(5..300) * MS;
            self.crash(at.node, Power::Kept, span);
            self.site_mut(at).disk.damage(newest);
        } else if self.site_mut(at).disk.damage(newest) {
            self.step(at, Event::Damaged);
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

    /// In `sync` nothing is lost with the power. In `buffered` it may cost a copy its membership.
    pub(crate) fn may_lose_power(&self, node: usize) -> bool {
        let mut partitions = 0..self.partitions.len();
        partitions.all(|partition| {
            let at = At { node, partition };
            self.site(at).disk.durability() == Durability::Sync || self.may_lose_unsynced(at)
        })
    }

    /// Of all copies the power may cost some writes: only the first is no loss. Whoever proposed itself alone, and has not heard whether
    /// that is stored, is no exception (C6).
    fn may_lose_unsynced(&self, at: At) -> bool {
        let (me, site) = (self.id(at), self.site(at));
        let alone = site.replica.as_ref().is_some_and(|replica| {
            let known = replica.configuration();
            known.is_some_and(|known| known.len() == 1 && known.contains(me))
        });
        !alone && self.others_are_whole(at, 0)
    }

    /// Damage may cost a copy; never the last.
    pub(crate) fn may_damage(&self, at: At) -> bool {
        self.others_are_whole(at, 1)
    }

    /// Whether all other members of every configuration that may be in force, now or by a proposal under way, are whole, and that many
    /// there are at least.
    fn others_are_whole(&self, at: At, least: usize) -> bool {
        let (me, this) = (self.id(at), &self.partitions[at.partition]);
        let whole = |node| self.nodes[index(node)].is_whole(at.partition);
        let mut recent = this.history.values().rev().take(3).peekable();
        recent.peek().is_some()
            && recent.chain(&this.asked).all(|known| {
                let mut others = known.members().filter(|member| member.node != me);
                known.len() > least && others.all(|member| whole(member.node))
            })
    }
}
