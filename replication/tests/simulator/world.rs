//! The simulated world: true time, the network, the metadata store, the nodes' shells, clients. One event at a time.
//!
//! What nodes do is in `shell`, the metadata store in `meta`, clients in `clients`; what goes wrong when is in `faults`, what must
//! hold in `invariants`.

use crate::node::{Node, Power, State, index};
use crate::rng::Rng;
use replication::{Beacon, BeaconReply, Event, MetaStream, Settings};
use std::collections::BTreeMap;
use types::{
    Ballot, Configuration, Decree, Durability, Incarnation, LearnSignature, Mutation, NodeId,
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
pub(crate) enum Scheduled {
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
    Die {
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
    pub(crate) healing: bool,
    pub(crate) created: Vec<usize>,
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

    pub(crate) fn at(&mut self, delay: u64, scheduled: Scheduled) {
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
            Scheduled::Die { node } => self.die(node),
            Scheduled::Resume { node } => self.resume(node),
            Scheduled::Proposal {
                from,
                ballot,
                configuration,
            } => self.decide(from, ballot, configuration),
            Scheduled::Created { node } => self.created(node),
            Scheduled::Flush { node } => {
                let recycle = self.rng.percent(30);
                if self.nodes[node].up && self.rng.percent(50) {
                    let end = self.nodes[node].disk.end();
                    self.nodes[node].disk.sync(end);
                }
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

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
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

    /// Puts something on the wire: it may get lost, come twice, or late.
    pub(crate) fn transmit(&mut self, from: usize, to: NodeId, happening: &Happening) {
        let to = index(to);
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
}
