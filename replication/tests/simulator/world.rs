//! The simulated world: true time, what is to happen when, and who takes part. One thing at a time.

use crate::chance::Chance;
use crate::invariants::{self, Violation, observer::Observer};
use crate::leaders::{Leaders, Term};
use crate::meta::{Brain, Meta};
use crate::network::Network;
use crate::node::Node;
use crate::shell::Happening;
use crate::swarm::{Deciding, REPLICAS, Swarm};
use placement::{BatchId, Write};
use replication::{Event, MetaStream};
use std::collections::BTreeMap;
use types::{Ballot, Configuration, Incarnation};

pub(crate) const MS: u64 = 1_000_000;

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
    Beat {
        node: usize,
    },
    Lead,
    LeaderResumes {
        term: Term,
    },
    ToLeader {
        term: Term,
        event: placement::Event,
    },
    StoreWrite {
        term: Term,
        batch: BatchId,
        writes: Vec<Write>,
    },
    Write,
    Read,
    Fault,
    Mend {
        link: (usize, usize),
    },
    MetaBack,
    MetaHears,
    /// The meta leader tells a node what is stored.
    Tell {
        node: usize,
    },
    HandOver {
        to: usize,
    },
    Unmute,
}

/// What part of a run it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Opening,
    Faults,
    Healing,
}

/// What becomes of the trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    Off,
    Digested,
    Printed,
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) stale_reads: u64,
    pub(crate) faults: u64,
    pub(crate) takeovers: u64,
    /// Times that a meta leader began its term.
    pub(crate) terms: u64,
    pub(crate) learns: u64,
    /// Segments of commit logs released, bytes in them copied forward, and logs recovered.
    pub(crate) released: u64,
    pub(crate) carried: u64,
    pub(crate) recoveries: u64,
    pub(crate) steps: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) swarm: Swarm,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) meta: Meta,
    pub(crate) phase: Phase,
    pub(crate) observer: Observer,
    /// Requests that clients have made.
    pub(crate) requests: u64,
    pub(crate) figures: Figures,
    pub(crate) violation: Option<Violation>,
    pub(crate) digest: u64,
    trace: Trace,
    queue: BTreeMap<(u64, u64), Scheduled>,
    sequence: u64,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let swarm = Swarm::draw(&mut chance);
        let nodes = (1..=swarm.nodes)
            .map(|id| Node::new(id, &swarm, &mut chance))
            .collect();
        let brain = match swarm.deciding {
            Deciding::Model => Brain::Model {
                created: Vec::new(),
            },
            Deciding::Placement => Brain::Placement(Leaders::new(&swarm)),
        };
        let mut world = Self {
            now: 0,
            chance,
            swarm,
            nodes,
            network: Network::default(),
            meta: Meta::new(brain),
            phase: Phase::Opening,
            observer: Observer::default(),
            requests: 0,
            figures: Figures::default(),
            violation: None,
            digest: seed,
            trace,
            queue: BTreeMap::new(),
            sequence: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.watch_all(node);
            let jitter = self.chance.within(0..100 * MS);
            self.at(jitter, Scheduled::BeaconDue { node });
            match self.swarm.deciding {
                Deciding::Model => {
                    if node < REPLICAS {
                        self.open_replica(node);
                    }
                    self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Up)));
                }
                Deciding::Placement => self.at(MS, Scheduled::Beat { node }),
            }
            self.at(300 * MS, Scheduled::Flush { node });
        }
        self.lead();
        self.at(50 * MS, Scheduled::Repair);
        self.at(20 * MS, Scheduled::Write);
        self.at(20 * MS, Scheduled::Read);
    }

    pub(crate) fn at(&mut self, delay: u64, scheduled: Scheduled) {
        self.sequence += 1;
        self.queue
            .insert((self.now + delay, self.sequence), scheduled);
    }

    /// Something comes to a node in that life of it, or in any.
    pub(crate) fn reach(
        &mut self,
        delay: u64,
        node: usize,
        life: Option<Incarnation>,
        happening: Happening,
    ) {
        let reaches = Scheduled::Node {
            node,
            life,
            happening,
        };
        self.at(delay, reaches);
    }

    pub(crate) fn faults(&self) -> bool {
        self.phase == Phase::Faults
    }

    pub(crate) fn healing(&self) -> bool {
        self.phase == Phase::Healing
    }

    pub(crate) fn begin_faults(&mut self) {
        self.phase = Phase::Faults;
        self.worsen();
        self.at(MS, Scheduled::Fault);
    }

    /// Everything works from now on.
    pub(crate) fn heal(&mut self) {
        self.phase = Phase::Healing;
        self.network = Network::default();
        self.meta.unanswered = 0;
        if !self.meta.up {
            self.meta_back();
        }
        self.ensure_leader();
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.hangs_until = 0;
            self.start(node);
            self.resume(node);
        }
    }

    /// Lets one thing happen. Says no when something is wrong.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(((time, _), scheduled)) = self.queue.pop_first() else {
            return false;
        };
        self.now = time;
        self.figures.steps += 1;
        self.note(|| format!("{scheduled:?}"));
        self.let_happen(scheduled);
        invariants::check(self);
        self.violation.is_none()
    }

    fn let_happen(&mut self, scheduled: Scheduled) {
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
                if self.nodes[node].tick_at == Some(self.now) {
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
            } => match self.meta.brain {
                Brain::Model { .. } => self.decide(from, ballot, &configuration),
                Brain::Placement(_) => self.proposed(from, &configuration),
            },
            Scheduled::Created { node } => self.created(node),
            Scheduled::Flush { node } => {
                self.flush(node);
                let next = self.chance.within(100..1500) * MS;
                self.at(next, Scheduled::Flush { node });
            }
            Scheduled::Repair => self.repair(),
            Scheduled::Beat { node } => self.beat(node),
            Scheduled::Lead => self.ensure_leader(),
            Scheduled::LeaderResumes { term } => self.leader_resumes(term),
            Scheduled::ToLeader { term, event } => self.step_leader(term, event),
            Scheduled::StoreWrite {
                term,
                batch,
                writes,
            } => self.store_write(term, batch, &writes),
            Scheduled::Write => self.write(),
            Scheduled::Read => self.read(),
            Scheduled::Fault => {
                if self.faults() {
                    self.fault();
                    let next = self.chance.within(MS..self.swarm.interval);
                    self.at(next, Scheduled::Fault);
                }
            }
            Scheduled::Mend { link } => self.network.mend(link),
            Scheduled::MetaBack => self.meta_back(),
            Scheduled::MetaHears => self.meta.unanswered = 0,
            Scheduled::Tell { node } => {
                if let Some(stored) = self.meta.stored.clone().filter(|_| self.meta.up) {
                    self.happen(node, Happening::Event(Event::ConfigurationKnown(stored)));
                }
            }
            Scheduled::HandOver { to } => {
                if self.faults() {
                    self.hand_over(to);
                }
            }
            Scheduled::Unmute => self.network.muted = None,
        }
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        match self.trace {
            Trace::Off => {}
            Trace::Digested => {
                for byte in line().bytes() {
                    self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
                }
            }
            Trace::Printed => println!("{:>12.3} {}", self.now as f64 / MS as f64, line()),
        }
    }

    /// Something must not be. The first one counts.
    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }
}
