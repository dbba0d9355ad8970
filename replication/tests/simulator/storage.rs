//! The shells' slow side: the log, checkpoints, and the start and end of processes.

use crate::invariants::{commits, promises, recovery, same_bytes};
use crate::node::{Power, index};
use crate::shell::Happening;
use crate::world::{MS, Scheduled, World};
use replication::planted::{Bug, planted};
use replication::{Event, Flush, LogRead};
use types::{Decree, LearnSignature, NodeId, RecordBody};

impl World {
    /// Something that this life of the node waits for.
    fn later(&mut self, node: usize, delay: u64, happening: Happening) {
        let life = Some(self.nodes[node].incarnation);
        self.reach(delay, node, life, happening);
    }

    pub(crate) fn append(&mut self, node: usize, number: u64, body: RecordBody, flush: Flush) {
        if let RecordBody::Mutation(mutation) = &body {
            same_bytes::on_append(self, node, mutation);
        }
        // The last step of a learn is the one for which most depends on how long it takes.
        let ready = matches!(body, RecordBody::Ready { .. });
        let slow = self.swarm.slow_syncs * if ready { 5 } else { 1 };
        let taken = self.nodes[node].disk.append(body, flush);
        // A log that has failed takes nothing: only a planted bug goes on with one.
        let end = taken.unwrap_or_default();
        if self.faults() && self.chance.once_in(self.swarm.deaths) {
            // The worst moment to die: something is on its way to the disk.
            let dies = self.chance.within(1..2000) * 1000;
            self.at(dies, Scheduled::Die { node });
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
            && self.may_damage(node);
        let happening = if fails {
            Happening::FsyncFailed { number }
        } else {
            Happening::Flushed { number, end }
        };
        self.later(node, delay, happening);
    }

    pub(crate) fn flushed(&mut self, node: usize, number: u64, end: u64) {
        let disk = &mut self.nodes[node].disk;
        if disk.hangs_until > self.now {
            let delay = disk.hangs_until - self.now;
            return self.later(node, delay, Happening::Flushed { number, end });
        }
        let synced = planted(Bug::SkipsFsync) || disk.flush(end);
        if !synced && !planted(Bug::IgnoresFailedFsync) {
            self.violate(recovery::NAME, format!("the log of {node} does not flush"));
        }
        self.step(node, Event::LogFlushed { number });
    }

    /// It is never tried again: the node stops, and starts with what is on its disk.
    pub(crate) fn fsync_failed(&mut self, node: usize, number: u64) {
        self.nodes[node].disk.fail(&mut self.chance);
        if planted(Bug::IgnoresFailedFsync) {
            return self.step(node, Event::LogFlushed { number });
        }
        let span = self.chance.within(5..500) * MS;
        self.crash(node, Power::Kept, span);
    }

    pub(crate) fn read_log(
        &mut self,
        node: usize,
        learner: NodeId,
        signature: LearnSignature,
        from: Decree,
    ) {
        let read = self.nodes[node].disk.read(from);
        let outcome = read.map_or(LogRead::Gone, LogRead::Mutations);
        let event = Event::LogRead {
            learner,
            signature,
            outcome,
        };
        let delay = self.chance.within(1..5) * MS;
        self.later(node, delay, Happening::Event(event));
    }

    pub(crate) fn send_checkpoint(
        &mut self,
        node: usize,
        learner: NodeId,
        signature: LearnSignature,
    ) {
        let state = self.nodes[node].state;
        let to = index(learner);
        let arrives = self.nodes[to].up
            && !self.network.is_cut(node, to)
            && !self.chance.percent(self.network.loss);
        let delay = self.chance.within(5..300) * MS;
        let answer = if arrives {
            self.later(to, delay, Happening::Checkpoint(signature, state));
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
        self.later(node, then, Happening::Event(answer));
    }

    pub(crate) fn install_checkpoint(
        &mut self,
        node: usize,
        signature: LearnSignature,
        decree: Decree,
    ) {
        let this = &mut self.nodes[node];
        let incoming = this.incoming.take();
        if let Some((_, state)) = incoming.filter(|incoming| incoming.0 == signature) {
            this.disk.install(state);
            this.state = state;
            this.staged.clear();
            commits::on_checkpoint(self, node, state);
            let event = Event::CheckpointInstalled { signature, decree };
            self.later(node, MS, Happening::Event(event));
        }
    }

    /// RocksDB flushes; the log writes what waits, and lets go of what RocksDB has.
    pub(crate) fn flush(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let works = this.up && this.disk.hangs_until <= self.now;
        if works && self.chance.percent(50) {
            this.disk.settle();
        }
        if self.chance.percent(self.swarm.flushes) {
            this.flush();
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
        let happening = Happening::Event(Event::PeerLost { node: lost });
        self.reach(delay, node, life, happening);
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        let mut actions = Vec::new();
        self.figures.recoveries += 1;
        self.nodes[node].start(self.now, &mut self.chance, &mut actions);
        self.watch_all(node);
        let staged: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                replication::Action::Stage(mutation) => Some(mutation.clone()),
                _ => None,
            })
            .collect();
        recovery::on_start(self, node, &staged);
        promises::on_start(self, node);
        self.perform(node, actions);
        self.tell_meta_stream(node);
        if self.faults() && self.chance.percent(30) {
            // Somebody it knew may be gone by now.
            let lost = self.nodes[self.chance.index(self.nodes.len())].id;
            self.step(node, Event::PeerLost { node: lost });
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
