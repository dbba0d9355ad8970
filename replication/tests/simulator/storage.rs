//! The shells' slow side: the log, checkpoints, and the start and end of processes.

use crate::invariants::{commits, promises, recovery, same_bytes};
use crate::node::{Power, index};
use crate::shell::{Happening, Local};
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use replication::planted::{Bug, planted};
use replication::{Event, Flush, LogRead};
use types::{Decree, LearnSignature, NodeId, RecordBody};

impl World {
    /// Something that this life of the node waits for.
    fn later(&mut self, at: At, delay: u64, local: Local) {
        let life = Some(self.nodes[at.node].incarnation);
        self.reach(delay, at, life, local);
    }

    pub(crate) fn append(&mut self, at: At, number: u64, body: RecordBody, flush: Flush) {
        if let RecordBody::Mutation(mutation) = &body {
            same_bytes::on_append(self, at, mutation);
        }
        // The last step of a learn is the one for which most depends on how long it takes.
        let ready = matches!(body, RecordBody::Ready { .. });
        let slow = self.swarm.slow_syncs * if ready { 5 } else { 1 };
        let taken = self.site_mut(at).disk.append(body, flush);
        // A log that has failed takes nothing: only a planted bug goes on with one.
        let end = taken.unwrap_or_default();
        if self.faults() && self.chance.once_in(self.swarm.deaths) {
            // The worst moment to die: something is on its way to the disk.
            let dies = self.chance.within(1..2000) * 1000;
            self.at(dies, Scheduled::Die { node: at.node });
        }
        let (delay, end) = match flush {
            Flush::Synced if self.faults() && self.chance.percent(slow) => {
                (self.chance.within(10..300) * MS, end)
            }
            Flush::Synced => (self.chance.within(100..3000) * 1000, end),
            // The operating system has it at once; the disk, at some time.
            Flush::Written => (1, 0),
        };
        let fails = self.faults()
            && flush == Flush::Synced
            && self.chance.once_in(self.swarm.failed_syncs)
            && self.may_damage(at);
        let local = if fails {
            Local::FsyncFailed { number }
        } else {
            Local::Flushed { number, end }
        };
        self.later(at, delay, local);
    }

    pub(crate) fn flushed(&mut self, at: At, number: u64, end: u64) {
        let hangs_until = self.nodes[at.node].hangs_until;
        if hangs_until > self.now {
            return self.later(at, hangs_until - self.now, Local::Flushed { number, end });
        }
        let synced = planted(Bug::SkipsFsync) || self.site_mut(at).disk.flush(end);
        if !synced && !planted(Bug::IgnoresFailedFsync) {
            self.violate(recovery::NAME, format!("the log of {at} does not flush"));
        }
        self.step(at, Event::LogFlushed { number });
    }

    /// It is never tried again: the node stops, and starts with what is on its disk.
    pub(crate) fn fsync_failed(&mut self, at: At, number: u64) {
        let disk = &mut self.nodes[at.node].sites[at.partition].disk;
        disk.fail(&mut self.chance);
        if planted(Bug::IgnoresFailedFsync) {
            return self.step(at, Event::LogFlushed { number });
        }
        let span = self.chance.within(5..500) * MS;
        self.crash(at.node, Power::Kept, span);
    }

    pub(crate) fn read_log(
        &mut self,
        at: At,
        learner: NodeId,
        signature: LearnSignature,
        from: Decree,
    ) {
        let read = self.site(at).disk.read(from);
        let outcome = read.map_or(LogRead::Gone, LogRead::Mutations);
        let event = Event::LogRead {
            learner,
            signature,
            outcome,
        };
        let delay = self.chance.within(1..5) * MS;
        self.later(at, delay, Local::Event(event));
    }

    pub(crate) fn send_checkpoint(&mut self, at: At, learner: NodeId, signature: LearnSignature) {
        let state = self.site(at).state;
        let to = index(learner);
        let arrives = self.nodes[to].up
            && !self.network.is_cut(at.node, to)
            && !self.chance.percent(self.network.loss);
        let delay = self.chance.within(5..300) * MS;
        let answer = if arrives {
            self.later(at.on(to), delay, Local::Checkpoint(signature, state));
            let decree = state.applied;
            Event::CheckpointDelivered {
                learner,
                signature,
                decree,
            }
        } else {
            Event::CheckpointFailed { learner, signature }
        };
        let then = delay + self.chance.within(1..50) * MS;
        self.later(at, then, Local::Event(answer));
    }

    pub(crate) fn install_checkpoint(&mut self, at: At, signature: LearnSignature, decree: Decree) {
        let site = self.site_mut(at);
        let incoming = site.incoming.take();
        if let Some((_, state)) = incoming.filter(|incoming| incoming.0 == signature) {
            site.disk.install(state);
            site.state = state;
            site.staged.clear();
            commits::on_checkpoint(self, at, state);
            let event = Event::CheckpointInstalled { signature, decree };
            self.later(at, MS, Local::Event(event));
        }
    }

    /// RocksDB flushes; the log writes what waits, and lets go of what RocksDB has.
    pub(crate) fn flush(&mut self, at: At) {
        let node = &mut self.nodes[at.node];
        let works = node.up && node.hangs_until <= self.now;
        let site = &mut node.sites[at.partition];
        if works && self.chance.percent(50) {
            site.disk.settle();
        }
        if self.chance.percent(self.swarm.flushes) {
            site.flush();
        }
    }

    pub(crate) fn crash(&mut self, node: usize, power: Power, span: u64) {
        self.nodes[node].kill(power, self.now, &mut self.chance);
        let lost = self.nodes[node].id;
        for peer in 0..self.nodes.len() {
            // The others' connections are reset, unless the machine went with the process.
            let resets = power == Power::Kept && self.chance.percent(self.swarm.resets);
            if peer != node && resets {
                self.hint(peer, lost);
            }
        }
        // A stream that is not reset ends when the leader has heard nothing for a while.
        if self.chance.percent(self.swarm.resets) {
            self.stream_ends(node);
        }
        self.at(span, Scheduled::Start { node });
    }

    /// A node gets the impression that another is gone.
    pub(crate) fn hint(&mut self, node: usize, lost: NodeId) {
        let delay = self.chance.within(1..5) * MS;
        let life = None;
        let happening = Happening::All(Event::PeerLost { node: lost });
        self.reach_node(delay, node, life, happening);
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        let started = self.nodes[node].start(self.now, &mut self.chance);
        self.watch_all(node);
        for (partition, actions) in started.into_iter().enumerate() {
            self.figures.recoveries += 1;
            let at = At { node, partition };
            let staged: Vec<_> = actions
                .iter()
                .filter_map(|action| match action {
                    replication::Action::Stage(mutation) => Some(mutation.clone()),
                    _ => None,
                })
                .collect();
            recovery::on_start(self, at, &staged);
            promises::on_start(self, at);
            self.perform(at, actions);
        }
        let stream = self.meta_stream(node);
        self.step_all(node, &Event::MetaStream(stream));
        if self.faults() && self.chance.percent(30) {
            // Somebody it knew may be gone by now.
            let lost = self.nodes[self.chance.index(self.nodes.len())].id;
            self.step_all(node, &Event::PeerLost { node: lost });
        }
    }

    pub(crate) fn pause(&mut self, node: usize, span: u64) {
        self.nodes[node].paused = true;
        self.at(span, Scheduled::Resume { node });
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        let waiting = std::mem::take(&mut self.nodes[node].waiting);
        for happening in waiting {
            self.happen(node, happening);
        }
    }
}
