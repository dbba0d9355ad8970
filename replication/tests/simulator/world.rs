//! The simulated world: true time, what is to happen when, and who takes part. One thing at a time.

use crate::chance::Chance;
use crate::invariants::{self, Violation};
use crate::leaders::{Leaders, Term};
use crate::meta::{Brain, Meta};
use crate::network::Network;
use crate::node::Node;
use crate::partition::Partition;
use crate::shell::{Happening, Local};
use crate::site::{At, Site};
use crate::swarm::{Deciding, Swarm};
use placement::{BatchId, Write};
use replication::{Event, MetaStream};
use std::collections::BTreeMap;
use types::{Ballot, Configuration, Incarnation, NodeId};

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
        at: At,
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
        from: At,
        ballot: Ballot,
        configuration: Configuration,
    },
    Created {
        at: At,
    },
    Flush {
        at: At,
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
    Write {
        partition: usize,
    },
    Read {
        partition: usize,
    },
    Fault,
    Mend {
        link: (usize, usize),
    },
    MetaBack,
    MetaHears,
    /// The meta leader tells a node what is stored.
    Tell {
        at: At,
    },
    HandOver {
        to: At,
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
    /// Partitions beside the first.
    pub(crate) neighbours: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) swarm: Swarm,
    pub(crate) nodes: Vec<Node>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) network: Network,
    pub(crate) meta: Meta,
    pub(crate) phase: Phase,
    pub(crate) figures: Figures,
    pub(crate) violation: Option<Violation>,
    pub(crate) digest: u64,
    trace: Trace,
    /// By time, then by order. Boxed, for the map moves its values about.
    queue: BTreeMap<(u64, u64), Box<Scheduled>>,
    sequence: u64,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let swarm = Swarm::draw(&mut chance);
        let nodes = (1..=swarm.nodes)
            .map(|id| Node::new(id, &swarm, &mut chance))
            .collect();
        let neighbours = swarm.tables.len() as u64 - 1;
        let partitions = (0..swarm.tables.len()).map(Partition::new).collect();
        let brain = match swarm.deciding {
            Deciding::Model => Brain::Model,
            Deciding::Placement => Brain::Placement(Leaders::new(&swarm)),
        };
        let mut world = Self {
            now: 0,
            chance,
            swarm,
            nodes,
            partitions,
            network: Network::default(),
            meta: Meta::new(brain),
            phase: Phase::Opening,
            figures: Figures {
                neighbours,
                ..Figures::default()
            },
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
                    self.open_first(node);
                    self.happen(node, Happening::All(Event::MetaStream(MetaStream::Up)));
                }
                Deciding::Placement => self.at(MS, Scheduled::Beat { node }),
            }
            for partition in 0..self.partitions.len() {
                let at = At { node, partition };
                self.at(300 * MS, Scheduled::Flush { at });
            }
        }
        self.lead();
        self.at(50 * MS, Scheduled::Repair);
        for partition in 0..self.partitions.len() {
            self.at(20 * MS, Scheduled::Write { partition });
            self.at(20 * MS, Scheduled::Read { partition });
        }
    }

    pub(crate) fn site(&self, at: At) -> &Site {
        &self.nodes[at.node].sites[at.partition]
    }

    pub(crate) fn site_mut(&mut self, at: At) -> &mut Site {
        &mut self.nodes[at.node].sites[at.partition]
    }

    pub(crate) fn id(&self, at: At) -> NodeId {
        self.nodes[at.node].id
    }

    pub(crate) fn at(&mut self, delay: u64, scheduled: Scheduled) {
        self.sequence += 1;
        self.queue
            .insert((self.now + delay, self.sequence), Box::new(scheduled));
    }

    /// Something comes to a site in that life of its node, or in any.
    pub(crate) fn reach(&mut self, delay: u64, at: At, life: Option<Incarnation>, local: Local) {
        self.reach_node(delay, at.node, life, Happening::At(at.partition, local));
    }

    /// Something comes to a node in that life of it, or in any.
    pub(crate) fn reach_node(
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
            self.nodes[node].hangs_until = 0;
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
        self.let_happen(*scheduled);
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
            Scheduled::Tick { at } => {
                if self.site(at).tick_at == Some(self.now) {
                    self.site_mut(at).tick_at = None;
                    self.happen_at(at, Local::Event(Event::Tick));
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
                Brain::Model => self.decide(from, ballot, &configuration),
                Brain::Placement(_) => self.proposed(from, &configuration),
            },
            Scheduled::Created { at } => self.created(at),
            Scheduled::Flush { at } => {
                self.flush(at);
                let next = self.chance.within(100..1500) * MS;
                self.at(next, Scheduled::Flush { at });
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
            Scheduled::Write { partition } => self.write(partition),
            Scheduled::Read { partition } => self.read(partition),
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
            Scheduled::Tell { at } => {
                let stored = self.partitions[at.partition].stored.clone();
                if let Some(stored) = stored.filter(|_| self.meta.up) {
                    self.happen_at(at, Local::Event(Event::ConfigurationKnown(stored)));
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
