//! The nodes' shells: what a server does with events and actions, here on simulated time, disks and engines.

use crate::node::{PARTITION, index};
use crate::world::{Happening, MS, Scheduled, World};
use replication::{Action, Event, Flush, LogRead, Message, MetaStream, RoleKind};
use types::{Decree, LearnSignature, NodeId, RecordBody};

impl World {
    pub(crate) fn watch_all(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        let peers: Vec<_> = self.nodes.iter().map(|peer| peer.id).collect();
        let node = &mut self.nodes[node];
        for peer in peers.into_iter().filter(|&peer| peer != node.id) {
            node.leases.watch(peer, now);
        }
    }

    /// Something reaches a node: it waits while the node is paused.
    pub(crate) fn happen(&mut self, node: usize, happening: Happening) {
        if self.nodes[node].paused {
            self.nodes[node].waiting.push_back(happening);
            return;
        }
        let now = self.now;
        match happening {
            Happening::Event(event) => self.step(node, event),
            Happening::Beacon(from, beacon) => {
                let local = self.nodes[node].local(now);
                let answer = self.nodes[node].leases.on_beacon(from, local, &beacon);
                let reply = Happening::Reply(self.nodes[node].id, answer.reply);
                self.transmit(node, from, &reply);
                if answer.restarted {
                    self.step(node, Event::PeerLost { node: from });
                }
                if !answer.settled.is_empty() {
                    self.step(node, Event::ExceptionAcknowledged);
                }
            }
            Happening::Reply(from, reply) => {
                let local = self.nodes[node].local(now);
                let outcome = self.nodes[node].leases.on_reply(from, local, &reply);
                if outcome.answer_now {
                    self.beacon(node, from);
                }
                if outcome.restarted {
                    self.step(node, Event::PeerLost { node: from });
                }
            }
            Happening::Flushed { number, position } => {
                self.nodes[node].disk.sync(position);
                crate::invariants::note_synced_ballot(self, node);
                self.step(node, Event::LogFlushed { number });
            }
            Happening::Checkpoint {
                from,
                signature,
                state,
            } => {
                let decree = state.applied;
                self.nodes[node].incoming = Some((signature, state));
                self.step(node, Event::CheckpointReceived { signature, decree });
                let _ = from;
            }
            Happening::Answer {
                ballot,
                read,
                floor,
            } => self.answer(node, ballot, read, floor),
        }
    }

    pub(crate) fn beacon_due(&mut self, node: usize) {
        self.at(100 * MS, Scheduled::BeaconDue { node });
        if !self.nodes[node].up || self.nodes[node].paused {
            return;
        }
        let peers: Vec<_> = self.nodes.iter().map(|peer| peer.id).collect();
        let me = self.nodes[node].id;
        for peer in peers.into_iter().filter(|&peer| peer != me) {
            self.beacon(node, peer);
        }
        let local = self.nodes[node].local(self.now);
        for lost in self.nodes[node].leases.lapsed(local) {
            self.step(node, Event::PeerLost { node: lost });
        }
    }

    pub(crate) fn beacon(&mut self, node: usize, peer: NodeId) {
        let local = self.nodes[node].local(self.now);
        let beacon = self.nodes[node].leases.make_beacon(peer, local);
        let from = self.nodes[node].id;
        self.transmit(node, peer, &Happening::Beacon(from, beacon));
    }

    pub(crate) fn step(&mut self, node: usize, event: Event) {
        if !self.nodes[node].up {
            return;
        }
        if self.nodes[node].replica.is_none() {
            if let Event::Received {
                message: Message::LearnOffer { .. },
                ..
            } = &event
            {
                self.nodes[node].replica = Some(self.nodes[node].blank_replica());
                let meta = if self.meta_up {
                    MetaStream::Up
                } else {
                    MetaStream::Down
                };
                self.step(node, Event::MetaStream(meta));
            } else if let Event::Received { from, message } = &event {
                if let Some(answer) = message.answer_of_nobody() {
                    self.send(node, *from, answer);
                }
                return;
            } else {
                return;
            }
        }
        let actions = self.nodes[node].step(self.now, event);
        self.perform(node, actions);
    }

    pub(crate) fn send(&mut self, node: usize, to: NodeId, message: Message) {
        let from = self.nodes[node].id;
        self.transmit(
            node,
            to,
            &Happening::Event(Event::Received { from, message }),
        );
    }

    pub(crate) fn perform(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            self.note(|| format!("    {node}: {action:?}"));
            self.act(node, action);
        }
        self.plan_tick(node);
    }

    pub(crate) fn plan_tick(&mut self, node: usize) {
        let (now, this) = (self.now, &self.nodes[node]);
        let deadline = this
            .replica
            .as_ref()
            .and_then(replication::Replica::deadline);
        let at = deadline.map(|local| {
            if local <= this.local(now) {
                now
            } else {
                this.true_time(local).max(now)
            }
        });
        if let Some(at) = at
            && this.tick_at.is_none_or(|planned| at < planned)
        {
            self.nodes[node].tick_at = Some(at);
            self.at(at - now, Scheduled::Tick { node });
        }
    }

    pub(crate) fn act(&mut self, node: usize, action: Action) {
        let life = Some(self.nodes[node].incarnation);
        match action {
            Action::AppendLog {
                number,
                body,
                flush,
            } => self.append(node, number, body, flush),
            Action::Send { to, message } => self.send(node, to, message),
            Action::Stage(mutation) => {
                self.nodes[node].staged.insert(mutation.decree, mutation);
            }
            Action::Unstage { above } => {
                self.nodes[node].staged.split_off(&above.next());
            }
            Action::Commit { up_to } => self.commit(node, up_to),
            Action::Propose {
                from: ballot,
                configuration,
            } => {
                if self.meta_up && !self.rng.percent(self.network.loss) {
                    let delay = self.rng.within(1..20) * MS;
                    self.at(
                        delay,
                        Scheduled::Proposal {
                            from: node,
                            ballot,
                            configuration,
                        },
                    );
                }
            }
            Action::Except { holder, ballot } => {
                let local = self.nodes[node].local(self.now);
                self.nodes[node]
                    .leases
                    .except(holder, PARTITION, ballot, local);
                if let Some(notice) = self.nodes[node].leases.notice(holder) {
                    let from = self.nodes[node].id;
                    self.transmit(node, holder, &Happening::Reply(from, notice));
                }
            }
            Action::ReadLog {
                learner,
                signature,
                from,
                max_bytes,
            } => {
                let outcome = self.read_log(node, from, max_bytes);
                let happening = Happening::Event(Event::LogRead {
                    learner,
                    signature,
                    outcome,
                });
                let delay = self.rng.within(1..5) * MS;
                self.at(
                    delay,
                    Scheduled::Node {
                        node,
                        life,
                        happening,
                    },
                );
            }
            Action::SendCheckpoint { learner, signature } => {
                self.send_checkpoint(node, learner, signature);
            }
            Action::InstallCheckpoint { signature, decree } => {
                let this = &mut self.nodes[node];
                if let Some((_, state)) = this
                    .incoming
                    .take()
                    .filter(|incoming| incoming.0 == signature)
                {
                    this.disk.rocksdb = state;
                    this.disk.oldest = decree.next();
                    this.disk.drop_records(|record| record.mutation().is_some());
                    this.state = state;
                    this.staged.clear();
                    let happening =
                        Happening::Event(Event::CheckpointInstalled { signature, decree });
                    self.at(
                        MS,
                        Scheduled::Node {
                            node,
                            life,
                            happening,
                        },
                    );
                }
            }
            Action::ReportCreated => self.at(MS, Scheduled::Created { node }),
            Action::Delete => self.nodes[node].wipe(),
            Action::Became(role) => {
                if role == RoleKind::Serving {
                    self.takeovers += 1;
                }
            }
            Action::EndLearn { .. } => self.learns += 1,
            Action::Refuse(refusal) => {
                self.fail(format!("a write that was accepted is refused: {refusal}"));
            }
        }
    }

    pub(crate) fn append(&mut self, node: usize, number: u64, body: RecordBody, flush: Flush) {
        self.nodes[node].disk.log.push(body);
        let position = self.nodes[node].disk.end();
        let life = Some(self.nodes[node].incarnation);
        if self.faults && self.rng.within(0..250) == 0 {
            // The worst moment to die: something is on its way to the disk.
            let dies = self.rng.within(1..2000) * 1000;
            self.at(dies, Scheduled::Die { node });
        }
        let (delay, position) = match flush {
            Flush::Synced if self.faults && self.rng.percent(2) => {
                (self.rng.within(10..300) * MS, position)
            }
            Flush::Synced => (self.rng.within(100..3000) * 1000, position),
            // The operating system has it at once; the disk, at some time.
            Flush::Written => (1, 0),
        };
        let happening = Happening::Flushed { number, position };
        self.at(
            delay,
            Scheduled::Node {
                node,
                life,
                happening,
            },
        );
    }

    /// A replica says that everything up to `up_to` is committed.
    pub(crate) fn commit(&mut self, node: usize, up_to: Decree) {
        loop {
            let this = &mut self.nodes[node];
            let next = this.state.applied.next();
            if next > up_to {
                break;
            }
            let Some(mutation) = this.staged.remove(&next) else {
                return self.fail(format!(
                    "node {node} commits decree {next}, which it does not have"
                ));
            };
            let over = format!("over {:016x}", this.state.hash);
            if !mutation.effects.ends_with(over.as_bytes()) {
                return self.fail(format!(
                    "node {node} commits {mutation:?}, which was not evaluated {over}"
                ));
            }
            this.state = this.state.after(&mutation);
            let state = this.state;
            if let Some((known, truth)) = self.truth.get(&next) {
                if known.effects != mutation.effects || *truth != state {
                    return self.fail(format!("decree {next} was committed as {known:?}, and at node {node} as {mutation:?}"));
                }
            } else {
                self.truth.insert(next, (mutation, state));
            }
        }
        let replica = self.nodes[node].replica.as_ref();
        if replica.is_some_and(|replica| {
            matches!(replica.role(), RoleKind::Serving | RoleKind::Reconciling)
        }) {
            // The primary's clients hear of it.
            self.acknowledged = self.acknowledged.max(up_to);
            crate::invariants::on_acknowledged(self, up_to);
        }
    }

    pub(crate) fn read_log(&mut self, node: usize, from: Decree, max_bytes: usize) -> LogRead {
        let this = &self.nodes[node];
        if from < this.disk.oldest {
            return LogRead::Gone;
        }
        let logged = this.logged(this.disk.log.len());
        let mut next = from;
        let (mut mutations, mut bytes) = (Vec::new(), 0);
        while let Some(&mutation) = logged.get(&next)
            && bytes < max_bytes
            && mutations.len() < 5
        {
            mutations.push(mutation.clone());
            bytes += mutation.effects.len();
            next = next.next();
        }
        LogRead::Mutations(mutations)
    }

    pub(crate) fn send_checkpoint(
        &mut self,
        node: usize,
        learner: NodeId,
        signature: LearnSignature,
    ) {
        let state = self.nodes[node].state;
        let to = index(learner);
        let from = self.nodes[node].id;
        let life = Some(self.nodes[node].incarnation);
        let arrives = self.nodes[to].up
            && !self.network.cut.contains(&(node, to))
            && !self.rng.percent(self.network.loss);
        let delay = self.rng.within(5..300) * MS;
        let answer = if arrives {
            let happening = Happening::Checkpoint {
                from,
                signature,
                state,
            };
            let life = Some(self.nodes[to].incarnation);
            self.at(
                delay,
                Scheduled::Node {
                    node: to,
                    life,
                    happening,
                },
            );
            Event::CheckpointDelivered {
                learner,
                signature,
                decree: state.applied,
            }
        } else {
            Event::CheckpointFailed { learner, signature }
        };
        let later = delay + self.rng.within(1..50) * MS;
        self.at(
            later,
            Scheduled::Node {
                node,
                life,
                happening: Happening::Event(answer),
            },
        );
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        let mut actions = Vec::new();
        self.nodes[node].start(self.now, &mut actions);
        self.watch_all(node);
        self.perform(node, actions);
        crate::invariants::on_start(self, node);
        let meta = if self.meta_up {
            MetaStream::Up
        } else {
            MetaStream::Down
        };
        self.step(node, Event::MetaStream(meta));
        if self.faults && self.rng.percent(30) {
            // Somebody it knew may be gone by now.
            let lost = self.rng.index(self.nodes.len());
            let lost = self.nodes[lost].id;
            self.step(node, Event::PeerLost { node: lost });
        }
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        let waiting = std::mem::take(&mut self.nodes[node].waiting);
        for happening in waiting {
            self.happen(node, happening);
        }
    }
}
