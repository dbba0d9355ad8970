//! Faults in an order that is worth more than chance would make of them: what the rules were written against.

use crate::network::{KINDS, Kind, META};
use crate::node::{Power, index};
use crate::shell::Local;
use crate::site::{At, Site};
use crate::world::{MS, Scheduled, World};
use replication::{Event, MetaStream};
use types::{Configuration, Durability};

impl World {
    /// The primary stands still for longer than its lease, is replaced, and goes on where it stood.
    pub(crate) fn pause_primary(&mut self, partition: usize, span: u64) {
        let primary = self.partitions[partition].primary();
        let Some(primary) = primary.filter(|&node| self.nodes[node].runs()) else {
            return;
        };
        self.pause(primary, 400 * MS + span);
        self.doubt(primary);
    }

    /// The primary runs on, out of reach of some or all, one way or both, and the others think that it is gone.
    pub(crate) fn depose_primary(&mut self, partition: usize, span: u64) {
        let Some(primary) = self.partitions[partition].primary() else {
            return;
        };
        let span = 200 * MS + span;
        let (inwards, outwards) = (self.chance.percent(70), self.chance.percent(70));
        for other in (0..self.nodes.len()).filter(|&other| other != primary) {
            if self.chance.percent(15) {
                continue;
            }
            if inwards {
                self.cut((other, primary), span);
            }
            if outwards {
                self.cut((primary, other), span);
            }
        }
        self.cut_from_meta(primary, span);
        if self.chance.percent(20) {
            let span = self.chance.within(100..900) * MS;
            self.freeze(primary, span);
        }
        self.doubt(primary);
    }

    /// Who is cut off from the others often is from the meta servers, too.
    pub(crate) fn cut_from_meta(&mut self, node: usize, span: u64) {
        if self.chance.percent(50) {
            let span = span + self.chance.within(0..1500) * MS;
            self.cut_both_ways(node, META, span);
        }
    }

    /// Nothing of one kind arrives for a while.
    pub(crate) fn mute(&mut self, span: u64) {
        self.network.muted = Some(self.chance.pick(&KINDS));
        self.at(span.min(800 * MS), Scheduled::Unmute);
    }

    /// The primary is deposed without knowing it; while it is away power goes from hand to hand, and perhaps back to it.
    pub(crate) fn return_to_power(&mut self, partition: usize, span: u64) {
        let Some(primary) = self.partitions[partition].primary() else {
            return;
        };
        let away = self.chance.pick(&[300, 600, 3000]) * MS;
        self.depose_primary(partition, span.min(away));
        let restless = self.chance.percent(50);
        for later in 1..7 {
            let to = if restless {
                self.chance.index(self.nodes.len())
            } else {
                primary
            };
            let to = At {
                node: to,
                partition,
            };
            self.at(later * 500 * MS, Scheduled::HandOver { to });
            if restless && self.chance.percent(30) {
                let soon = later * 500 * MS + self.chance.within(0..500) * MS;
                let node = self.another(primary);
                self.at(soon, Scheduled::Die { node });
            }
        }
    }

    /// A node has begun to learn, and may not end: it dies, or its teacher loses sight of it and begins again.
    pub(crate) fn disturb_learn(&mut self, at: At) {
        if !self.faults() || !self.chance.percent(self.swarm.learner_deaths) {
            return;
        }
        let soon = self.chance.within(1..60_000) * 1000;
        if self.chance.percent(50) {
            return self.at(soon, Scheduled::Die { node: at.node });
        }
        if let Some(teacher) = self.partitions[at.partition].primary() {
            let lost = Event::PeerLost { node: self.id(at) };
            self.reach(soon, at.on(teacher), None, Local::Event(lost));
        }
    }

    /// Everybody, or all but some, thinks that a node is gone.
    fn doubt(&mut self, doubted: usize) {
        let lost = self.nodes[doubted].id;
        let share = self.chance.pick(&[0, 50, 100]);
        for node in (0..self.nodes.len()).filter(|&node| node != doubted) {
            if self.chance.percent(share) {
                self.hint(node, lost);
            }
        }
    }

    /// The primary ends, or its machine does, and may be back before anybody replaced it.
    pub(crate) fn kill_primary(&mut self, partition: usize, span: u64) {
        let primary = self.partitions[partition].primary();
        if let Some(primary) = primary.filter(|&node| self.nodes[node].up) {
            let power = if self.chance.percent(50) && self.may_lose_power(primary) {
                Power::Lost
            } else {
                Power::Kept
            };
            self.crash(primary, power, span);
        }
    }

    /// All end, one shortly after the other, and come back in another order.
    pub(crate) fn kill_one_by_one(&mut self, span: u64) {
        for node in 0..self.nodes.len() {
            if self.chance.percent(70) && self.nodes[node].up {
                let back = self.chance.within(MS..2 * span + 2 * MS);
                self.crash(node, Power::Kept, back);
            }
        }
    }

    /// A hand-over, and at once something happens to one of the two.
    pub(crate) fn hand_over_and_lose(&mut self, partition: usize, span: u64) {
        let Some(primary) = self.partitions[partition].primary() else {
            return;
        };
        let successor = self.another(primary);
        self.hand_over(At {
            node: successor,
            partition,
        });
        let victim = self.chance.pick(&[primary, successor]);
        match self.chance.within(0..4) {
            0 => {
                let soon = self.chance.within(1..40) * MS;
                self.at(soon, Scheduled::Die { node: victim });
            }
            1 => self.isolate(victim, span),
            2 => self.freeze(victim, span),
            _ => {}
        }
    }

    /// A secondary is lost to the primary alone; sometimes the meta leader's answer to its removal is, too.
    pub(crate) fn lose_member(&mut self, partition: usize, span: u64) {
        let Some(stored) = self.partitions[partition].stored.clone() else {
            return;
        };
        let secondaries: Vec<_> = stored
            .secondaries
            .iter()
            .map(|member| member.node)
            .collect();
        if secondaries.is_empty() {
            return;
        }
        let lost = self.chance.pick(&secondaries);
        let (primary, node) = (index(stored.primary.node), index(lost));
        match self.chance.within(0..3) {
            0 => self.cut_both_ways(primary, node, span),
            1 => self.cut((node, primary), span),
            _ => {}
        }
        if self.chance.percent(50) {
            self.meta_deaf(span);
        }
        self.hint(primary, lost);
        if self.chance.percent(40) {
            // Another secondary hears of it before the primary can tell it, and loses the primary.
            let other = index(self.chance.pick(&secondaries));
            let (told, silenced) = (self.chance.within(1..60), self.chance.within(1..60));
            let other = At {
                node: other,
                partition,
            };
            self.at(told * MS, Scheduled::Tell { at: other });
            self.network.muted = Some(Kind::Truncate);
            self.at(300 * MS, Scheduled::Unmute);
            let node = self.nodes[primary].id;
            let lost = Local::Event(Event::PeerLost { node });
            self.reach((told + silenced) * MS, other, None, lost);
        }
        if self.chance.percent(30) {
            // The primary goes too, before it knows what became of that.
            let soon = self.chance.within(1..60) * MS;
            self.at(soon, Scheduled::Die { node: primary });
        }
    }

    /// The meta leader decides, and nobody hears of it.
    pub(crate) fn meta_deaf(&mut self, span: u64) {
        self.meta.unanswered = 100;
        self.at(span, Scheduled::MetaHears);
    }

    /// All machines lose their power at once. In `sync` that costs nothing; in `buffered` what no copy has synced. (If one is damaged
    /// besides, an operator must decide.)
    pub(crate) fn blackout(&mut self) {
        let undecidable = |partition: usize| {
            let sites = || self.nodes.iter().map(move |node| &node.sites[partition]);
            let stored = self.partitions[partition].stored.as_ref();
            let mut members = stored.into_iter().flat_map(Configuration::members);
            // Damaged, or gone with all that the log had of it.
            let lost = |site: &Site| site.disk.damaged || site.disk.safe.whole().is_none();
            sites().any(|site| site.disk.durability() == Durability::Buffered)
                && (sites().any(|site| site.disk.damaged)
                    || members.any(|member| lost(&self.nodes[index(member.node)].sites[partition])))
        };
        if (0..self.partitions.len()).any(undecidable) {
            return;
        }
        for partition in &mut self.partitions {
            partition.observer.at_risk = true;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                let span = self.chance.within(1..500) * MS;
                self.crash(node, Power::Lost, span);
            }
        }
    }

    /// The meta leader's stream to one node breaks, and comes again: it asks once more for what was asked.
    pub(crate) fn forget(&mut self, node: usize) {
        if self.nodes[node].runs() && self.has_stream(node) {
            self.stream_ends(node);
            self.step_all(node, &Event::MetaStream(MetaStream::Down));
            let stream = self.meta_stream(node);
            self.step_all(node, &Event::MetaStream(stream));
        }
    }

    /// A new primary has hardly begun: it, or one that it needs, is lost again.
    pub(crate) fn disturb_takeover(&mut self, node: usize) {
        if !self.faults() || !self.chance.percent(self.swarm.takeover_deaths) {
            return;
        }
        let victim = if self.chance.percent(50) {
            node
        } else {
            self.another(node)
        };
        let soon = self.chance.within(0..8_000) * 1000;
        let span = self.chance.within(1..1500) * MS;
        match self.chance.within(0..4) {
            0 | 1 => self.at(soon, Scheduled::Die { node: victim }),
            2 => self.isolate(victim, span),
            _ => self.meta_deaf(span),
        }
    }
}
