//! The simulated world: true time, the network, the metadata store, the nodes' shells, clients. One event at a time.
//!
//! What goes wrong when is in `faults`, what must hold in `invariants`.

use crate::node::{Node, PARTITION, Power, State};
use crate::rng::Rng;
use bytes::Bytes;
use replication::{
    Action, Beacon, BeaconReply, Event, Flush, LogRead, Message, MetaStream, RoleKind, Settings,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use types::{
    Ballot, Configuration, Decree, Durability, Incarnation, LearnSignature, Member, Mutation,
    NodeId, RecordBody, Timestamp,
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const REPLICAS: usize = 3;

/// Something that happens at a node.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Event(Event),
    Beacon(NodeId, Beacon),
    Reply(NodeId, BeaconReply),
    Flushed {
        number: u64,
        position: usize,
    },
    Checkpoint {
        from: NodeId,
        signature: LearnSignature,
        state: State,
    },
    /// A read was evaluated; now it is to be answered.
    Answer {
        ballot: Ballot,
        read: Decree,
        floor: Decree,
    },
}

#[derive(Clone, Debug)]
enum Scheduled {
    /// At a node, in one of its lives (any, if none is named).
    Node {
        node: usize,
        life: Option<Incarnation>,
        happening: Happening,
    },
    Tick {
        node: usize,
    },
    BeaconDue {
        node: usize,
    },
    Start {
        node: usize,
    },
    Resume {
        node: usize,
    },
    Proposal {
        from: usize,
        ballot: Ballot,
        configuration: Configuration,
    },
    Created {
        node: usize,
    },
    Flush {
        node: usize,
    },
    Repair,
    Write,
    Read,
    Fault,
    Heal {
        link: (usize, usize),
    },
    MetaBack,
}

pub(crate) struct Network {
    /// One in how many percent is lost, or comes twice.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    /// Percent of messages that take long.
    pub(crate) slow: u64,
    /// Ordered pairs that cannot reach each other.
    pub(crate) cut: Vec<(usize, usize)>,
    /// When the last message of each ordered pair arrives: they keep their order, but for the slow ones.
    arrivals: BTreeMap<(usize, usize), u64>,
}

impl Network {
    fn faultless() -> Self {
        Self {
            loss: 0,
            duplication: 0,
            slow: 0,
            cut: Vec::new(),
            arrivals: BTreeMap::new(),
        }
    }
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) stored: Option<Configuration>,
    pub(crate) history: BTreeMap<Ballot, Configuration>,
    pub(crate) meta_up: bool,
    pub(crate) faults: bool,
    healing: bool,
    created: Vec<usize>,
    queue: BTreeMap<(u64, u64), Scheduled>,
    sequence: u64,
    /// What was committed, by decree, and the state after it.
    pub(crate) truth: BTreeMap<Decree, (Mutation, State)>,
    pub(crate) acknowledged: Decree,
    pub(crate) read_up_to: Decree,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) takeovers: u64,
    pub(crate) learns: u64,
    pub(crate) failure: Option<String>,
    pub(crate) hash: u64,
    pub(crate) trace: Trace,
    pub(crate) steps: u64,
}

/// What becomes of the trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    Off,
    Hashed,
    Printed,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let durability = if rng.percent(60) {
            Durability::Sync
        } else {
            Durability::Buffered
        };
        let settings = Settings {
            window: 1 + rng.index(3),
            ..Settings::of_replicas(REPLICAS)
        };
        let count = REPLICAS as u64 + rng.within(0..3);
        let nodes = (1..=count)
            .map(|id| Node::new(id, durability, &settings, &mut rng))
            .collect();
        let mut world = Self {
            seed,
            now: 0,
            rng,
            nodes,
            network: Network::faultless(),
            stored: None,
            history: BTreeMap::new(),
            meta_up: true,
            faults: false,
            healing: false,
            created: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            truth: BTreeMap::new(),
            acknowledged: Decree::ZERO,
            read_up_to: Decree::ZERO,
            reads: 0,
            writes: 0,
            takeovers: 0,
            learns: 0,
            failure: None,
            hash: seed,
            trace,
            steps: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.watch_all(node);
            let jitter = self.rng.within(0..100 * MS);
            self.at(jitter, Scheduled::BeaconDue { node });
            if node < REPLICAS {
                self.nodes[node].replica = Some(self.nodes[node].blank_replica());
                self.happen(node, Happening::Event(Event::Create));
            }
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Up)));
            self.at(300 * MS, Scheduled::Flush { node });
        }
        self.at(50 * MS, Scheduled::Repair);
        self.at(20 * MS, Scheduled::Write);
        self.at(20 * MS, Scheduled::Read);
    }

    fn watch_all(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        let peers: Vec<_> = self.nodes.iter().map(|peer| peer.id).collect();
        let node = &mut self.nodes[node];
        for peer in peers.into_iter().filter(|&peer| peer != node.id) {
            node.leases.watch(peer, now);
        }
    }

    fn at(&mut self, delay: u64, scheduled: Scheduled) {
        self.sequence += 1;
        self.queue
            .insert((self.now + delay, self.sequence), scheduled);
    }

    pub(crate) fn begin_faults(&mut self) {
        self.faults = true;
        self.at(MS, Scheduled::Fault);
    }

    /// Everything works from now on.
    pub(crate) fn heal(&mut self) {
        (self.faults, self.healing) = (false, true);
        self.network = Network::faultless();
        if !self.meta_up {
            self.meta_back();
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.start(node);
            }
            self.resume(node);
        }
    }

    /// Lets one thing happen. Says no when something is wrong.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(((time, _), scheduled)) = self.queue.pop_first() else {
            return false;
        };
        self.now = time;
        self.steps += 1;
        self.note(|| format!("{scheduled:?}"));
        match scheduled {
            Scheduled::Node {
                node,
                life,
                happening,
            } => {
                let target = &self.nodes[node];
                if life.is_none_or(|life| life == target.incarnation) && target.up {
                    self.happen(node, happening);
                }
            }
            Scheduled::Tick { node } => {
                if self.nodes[node].tick_at == Some(time) {
                    self.nodes[node].tick_at = None;
                    self.happen(node, Happening::Event(Event::Tick));
                }
            }
            Scheduled::BeaconDue { node } => self.beacon_due(node),
            Scheduled::Start { node } => self.start(node),
            Scheduled::Resume { node } => self.resume(node),
            Scheduled::Proposal {
                from,
                ballot,
                configuration,
            } => self.decide(from, ballot, configuration),
            Scheduled::Created { node } => self.created(node),
            Scheduled::Flush { node } => {
                let recycle = self.rng.percent(30);
                self.nodes[node].flush(recycle);
                let next = self.rng.within(100..1500) * MS;
                self.at(next, Scheduled::Flush { node });
            }
            Scheduled::Repair => self.repair(),
            Scheduled::Write => self.write(),
            Scheduled::Read => self.read(),
            Scheduled::Fault => {
                if self.faults {
                    self.fault();
                    let next = self.rng.within(1..400) * MS;
                    self.at(next, Scheduled::Fault);
                }
            }
            Scheduled::Heal { link } => self.network.cut.retain(|&cut| cut != link),
            Scheduled::MetaBack => self.meta_back(),
        }
        if self.failure.is_none() {
            self.failure = crate::invariants::check(self).err();
        }
        self.failure.is_none()
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        match self.trace {
            Trace::Off => {}
            Trace::Hashed => self.mix(&line()),
            Trace::Printed => println!("{:>12.3} {}", self.now as f64 / MS as f64, line()),
        }
    }

    fn mix(&mut self, line: &str) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    pub(crate) fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    /// The node's shell.
    fn happen(&mut self, node: usize, happening: Happening) {
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
                self.transmit(node, from, reply);
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

    fn beacon_due(&mut self, node: usize) {
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

    fn beacon(&mut self, node: usize, peer: NodeId) {
        let local = self.nodes[node].local(self.now);
        let beacon = self.nodes[node].leases.make_beacon(peer, local);
        let from = self.nodes[node].id;
        self.transmit(node, peer, Happening::Beacon(from, beacon));
    }

    pub(crate) fn index(&self, id: NodeId) -> usize {
        id.0 as usize - 1
    }

    /// Puts something on the wire: it may get lost, come twice, or late.
    fn transmit(&mut self, from: usize, to: NodeId, happening: Happening) {
        let to = self.index(to);
        if self.network.cut.contains(&(from, to)) || self.rng.percent(self.network.loss) {
            return;
        }
        let copies = 1 + u64::from(self.rng.percent(self.network.duplication));
        for _ in 0..copies {
            let slow = self.rng.percent(self.network.slow);
            let delay = if slow {
                self.rng.within(1..800) * MS
            } else {
                let arrival = self.network.arrivals.entry((from, to)).or_default();
                *arrival = (self.now + self.rng.within(50..1500) * 1000).max(*arrival);
                *arrival - self.now
            };
            // Connections die with the process that had them, but the last bytes may arrive in the next life.
            let life = (!self.rng.percent(30)).then_some(self.nodes[to].incarnation);
            self.at(
                delay,
                Scheduled::Node {
                    node: to,
                    life,
                    happening: happening.clone(),
                },
            );
        }
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

    fn send(&mut self, node: usize, to: NodeId, message: Message) {
        let from = self.nodes[node].id;
        self.transmit(
            node,
            to,
            Happening::Event(Event::Received { from, message }),
        );
    }

    fn perform(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            self.note(|| format!("    {node}: {action:?}"));
            self.act(node, action);
        }
        self.plan_tick(node);
    }

    fn plan_tick(&mut self, node: usize) {
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

    fn act(&mut self, node: usize, action: Action) {
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
                    self.transmit(node, holder, Happening::Reply(from, notice));
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
                self.send_checkpoint(node, learner, signature)
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
                self.fail(format!("a write that was accepted is refused: {refusal}"))
            }
        }
    }

    fn append(&mut self, node: usize, number: u64, body: RecordBody, flush: Flush) {
        self.nodes[node].disk.log.push(body);
        let position = self.nodes[node].disk.end();
        let life = Some(self.nodes[node].incarnation);
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
    fn commit(&mut self, node: usize, up_to: Decree) {
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
            crate::invariants::on_acknowledged(self, node, up_to);
        }
    }

    fn read_log(&mut self, node: usize, from: Decree, max_bytes: usize) -> LogRead {
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

    fn send_checkpoint(&mut self, node: usize, learner: NodeId, signature: LearnSignature) {
        let state = self.nodes[node].state;
        let to = self.index(learner);
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

    fn start(&mut self, node: usize) {
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
    }

    fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        let waiting = std::mem::take(&mut self.nodes[node].waiting);
        for happening in waiting {
            self.happen(node, happening);
        }
    }

    pub(crate) fn pause(&mut self, node: usize, span: u64) {
        self.nodes[node].paused = true;
        self.at(span, Scheduled::Resume { node });
    }

    pub(crate) fn crash(&mut self, node: usize, power: Power, span: u64) {
        self.nodes[node].kill(power, self.now, &mut self.rng);
        let lost = self.nodes[node].id;
        for peer in 0..self.nodes.len() {
            // The others' connections are reset, unless the machine went with the process.
            if peer != node && power == Power::Kept && self.rng.percent(80) {
                let delay = self.rng.within(1..5) * MS;
                let happening = Happening::Event(Event::PeerLost { node: lost });
                self.at(
                    delay,
                    Scheduled::Node {
                        node: peer,
                        life: None,
                        happening,
                    },
                );
            }
        }
        self.at(span, Scheduled::Start { node });
    }

    pub(crate) fn cut(&mut self, link: (usize, usize), span: u64) {
        self.network.cut.push(link);
        self.at(span, Scheduled::Heal { link });
    }

    pub(crate) fn meta_down(&mut self, span: u64) {
        self.meta_up = false;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Down)));
        }
        self.at(span, Scheduled::MetaBack);
    }

    fn meta_back(&mut self) {
        self.meta_up = true;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Up)));
        }
    }

    /// The meta leader: compare and set, and an answer that may get lost.
    fn decide(&mut self, from: usize, ballot: Ballot, configuration: Configuration) {
        if !self.meta_up {
            return;
        }
        if self
            .stored
            .as_ref()
            .is_some_and(|stored| stored.ballot == ballot)
        {
            crate::invariants::on_stored(self, &configuration);
            self.history
                .insert(configuration.ballot, configuration.clone());
            self.stored = Some(configuration);
        }
        if self.rng.percent(self.network.loss * 2) {
            return;
        }
        if let Some(stored) = self.stored.clone() {
            let delay = self.rng.within(1..20) * MS;
            let happening = Happening::Event(Event::ConfigurationKnown(stored));
            self.at(
                delay,
                Scheduled::Node {
                    node: from,
                    life: None,
                    happening,
                },
            );
        }
    }

    fn created(&mut self, node: usize) {
        if self.stored.is_some() || self.created.contains(&node) {
            return;
        }
        self.created.push(node);
        if self.created.len() == REPLICAS {
            let member = |node: usize| Member::original(self.nodes[node].id);
            let first = Configuration {
                ballot: Ballot(1),
                epoch: 0,
                primary: member(0),
                secondaries: (1..REPLICAS).map(member).collect(),
            };
            self.history.insert(first.ballot, first.clone());
            self.stored = Some(first.clone());
            let happening = Happening::Event(Event::ConfigurationKnown(first));
            self.at(
                MS,
                Scheduled::Node {
                    node: 0,
                    life: None,
                    happening,
                },
            );
        }
    }

    /// The meta leader's guardian: asks for missing copies, clears away superfluous ones, tells somebody what is stored.
    fn repair(&mut self) {
        let next = self.rng.within(50..400) * MS;
        self.at(next, Scheduled::Repair);
        let Some(stored) = self.stored.clone() else {
            return;
        };
        if !self.meta_up {
            return;
        }
        let outside: Vec<_> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].up && !stored.contains(self.nodes[node].id))
            .collect();
        let delay = self.rng.within(1..20) * MS;
        if stored.len() < REPLICAS && !outside.is_empty() {
            let node = self.nodes[outside[self.rng.index(outside.len())]].id;
            let primary = self.index(stored.primary.node);
            // Every request of the meta leader says what is stored.
            let known = Event::ConfigurationKnown(stored);
            for event in [known, Event::AddLearner { node }] {
                let (life, happening) = (None, Happening::Event(event));
                self.at(
                    delay,
                    Scheduled::Node {
                        node: primary,
                        life,
                        happening,
                    },
                );
            }
        } else if !outside.is_empty() && self.rng.percent(30) {
            let node = outside[self.rng.index(outside.len())];
            let happening =
                Happening::Event(Event::Delete(replication::Deletion::Excluded(stored)));
            // An old meta leader may be slow.
            let delay = self.rng.within(1..500) * MS;
            self.at(
                delay,
                Scheduled::Node {
                    node,
                    life: None,
                    happening,
                },
            );
        } else if self.rng.percent(20) {
            let node = self.rng.index(self.nodes.len());
            let happening = Happening::Event(Event::ConfigurationKnown(stored));
            self.at(
                delay,
                Scheduled::Node {
                    node,
                    life: None,
                    happening,
                },
            );
        }
    }

    fn write(&mut self) {
        // In the end, seldom enough for the secondaries to hear of every commit.
        let most = if self.healing { 500 } else { 25 };
        let next = self.rng.within(1..most) * MS;
        self.at(next, Scheduled::Write);
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            let accepted = this
                .replica
                .as_ref()
                .map(replication::Replica::accepts_write);
            if let (Some(Ok(decree)), true, false) = (accepted, this.up, this.paused) {
                self.writes += 1;
                let mut effects = String::new();
                let _ = write!(
                    effects,
                    "write {} at node {node} in life {}",
                    self.writes, this.incarnation.0
                );
                let effects = Bytes::from(effects);
                let timestamp = Timestamp(self.now / MS);
                let ballot = this
                    .replica
                    .as_ref()
                    .map_or(Ballot::ZERO, replication::Replica::ballot);
                let mutation = Mutation {
                    ballot,
                    decree,
                    timestamp,
                    effects: effects.clone(),
                };
                self.nodes[node].staged.insert(decree, mutation);
                self.step(node, Event::Submit { timestamp, effects });
            }
        }
    }

    /// A client reads at every node that lets it; what it gets must be no older than what anybody knew before it asked.
    fn read(&mut self) {
        let next = self.rng.within(1..25) * MS;
        self.at(next, Scheduled::Read);
        let floor = self.acknowledged.max(self.read_up_to);
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            let Some(replica) = this.replica.as_ref().filter(|_| this.up && !this.paused) else {
                continue;
            };
            if replica.role() == RoleKind::Serving {
                let (ballot, read, life) =
                    (replica.ballot(), this.state.applied, Some(this.incarnation));
                let delay = if self.rng.percent(80) {
                    1
                } else {
                    self.rng.within(1..30) * MS
                };
                let happening = Happening::Answer {
                    ballot,
                    read,
                    floor,
                };
                self.at(
                    delay,
                    Scheduled::Node {
                        node,
                        life,
                        happening,
                    },
                );
            }
        }
    }

    fn answer(&mut self, node: usize, ballot: Ballot, read: Decree, floor: Decree) {
        let this = &self.nodes[node];
        let local = this.local(self.now);
        let Some(replica) = &this.replica else { return };
        if replica.ballot() == ballot && replica.may_serve_read(local, &this.leases).is_ok() {
            self.reads += 1;
            self.read_up_to = self.read_up_to.max(read);
            if read < floor {
                self.fail(format!("node {node} read decree {read} under ballot {ballot}, but {floor} was known before"));
            }
        }
    }
}
