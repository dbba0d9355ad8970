//! The cluster's brain against simulated nodes, a simulated store and the passing of time, from a seed: tables come and go, nodes die and return,
//! streams break, leaders crash in the middle of a write. Promises are checked at each step; after healing everything must be whole.
//!
//! Data is not simulated: what replicas do with it is the crate `replication`'s affair.

#[path = "../driver/mod.rs"]
mod driver;
mod nodes;
mod promises;

use driver::{address, seconds, specification};
use placement::{
    Action, BatchId, Cluster, Document, Entry, Event, Key, ReplicaReport, Request, Settings,
    ToNode, Token, Write,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use types::{
    Ballot, Configuration, Incarnation, Instant, LearnSignature, NodeId, PartitionId, TableId,
    Timestamp,
};

const NODES: u64 = 5;
const MOST_TABLES: u32 = 6;

/// Windows so narrow that they matter.
fn settings() -> Settings {
    Settings {
        errands_per_node: 4,
        learns_per_node: 2,
        ..Settings::default()
    }
}

struct World {
    rng: SmallRng,
    now: Instant,
    cluster: Cluster,
    term: u64,
    writing: Option<(BatchId, Vec<Write>)>,
    nodes: BTreeMap<NodeId, Node>,
    // What is true.
    store: BTreeMap<Key, (u64, Document)>,
    // What was ever true.
    history: BTreeMap<(PartitionId, Ballot), Configuration>,
    names: BTreeMap<TableId, String>,
}

#[derive(Default)]
struct Node {
    incarnation: u64,
    up: bool,
    joined: bool,
    replicas: BTreeMap<PartitionId, Replica>,
    inbox: VecDeque<ToNode>,
    outbox: VecDeque<Event>,
    learns: u64,
}

#[derive(Clone, Default, Debug)]
struct Replica {
    ballot: Ballot,
    configuration: Option<Configuration>,
    learnt: Option<LearnSignature>,
    learner: Option<NodeId>,
    proposed: Option<Configuration>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant(1_000_000_000_000);
        let cluster = Cluster::restore(settings(), 1, vec![], now).unwrap();
        let nodes = (1..=NODES)
            .map(|n| {
                (
                    NodeId(n),
                    Node {
                        up: true,
                        ..Node::default()
                    },
                )
            })
            .collect();
        Self {
            rng: SmallRng::seed_from_u64(seed),
            now,
            cluster,
            term: 1,
            writing: None,
            nodes,
            store: BTreeMap::new(),
            history: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.now.0 / 1_000_000)
    }

    fn some_node(&mut self) -> NodeId {
        NodeId(self.rng.random_range(1..=NODES))
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.cluster.step(self.now, event, &mut actions);
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Store { batch, writes } => {
                assert!(self.writing.is_none(), "one batch is outstanding at a time");
                self.writing = Some((batch, writes));
            }
            Action::ToNode { node, message } => {
                self.check_message(node, &message);
                let node = self.nodes.get_mut(&node).unwrap();
                assert!(node.joined, "only nodes with streams are spoken to");
                node.inbox.push_back(message);
            }
            Action::RoutesChanged { table, partitions } => {
                for (index, configuration) in partitions {
                    self.check_told(PartitionId { table, index }, &configuration);
                }
            }
            Action::Disconnect { node, .. } => self.break_stream(node),
            Action::Report(finding) => panic!("nothing is wrong here: {finding}"),
            Action::Answer { .. } | Action::RoutesEnded { .. } | Action::NodeMoved(_) => {}
        }
    }

    /// The store takes a batch, if each version is the expected one.
    fn apply(&mut self, writes: Vec<Write>) {
        for write in &writes {
            let version = self
                .store
                .get(&write.key)
                .map_or(0, |(version, _)| *version);
            assert_eq!(version, write.expected, "{:?}", write.key);
        }
        for write in writes {
            match write.document {
                None => drop(self.store.remove(&write.key)),
                Some(document) => {
                    self.check_document(write.key, &document);
                    self.store.insert(write.key, (write.expected + 1, document));
                }
            }
        }
    }

    // What happens.

    fn finish_write(&mut self) {
        if let Some((batch, writes)) = self.writing.take() {
            self.apply(writes);
            self.step(Event::Stored { batch });
        }
    }

    /// The leader dies; what it was writing is there or not. The next one knows what is stored, and nobody.
    fn change_leader(&mut self) {
        if let Some((_, writes)) = self.writing.take()
            && self.one_in(2)
        {
            self.apply(writes);
        }
        for node in self.nodes.values_mut() {
            node.joined = false;
            node.inbox.clear();
            node.outbox.clear();
        }
        self.term += 1;
        self.cluster = self.restored();
    }

    fn restored(&self) -> Cluster {
        let entry = |(&key, (version, document)): (&Key, &(u64, Document))| Entry {
            key,
            version: *version,
            document: document.clone(),
        };
        let entries = self.store.iter().map(entry).collect();
        Cluster::restore(settings(), self.term, entries, self.now).unwrap()
    }

    fn pass_time(&mut self) {
        self.now = self.now + seconds(1);
        let joined: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.joined)
            .map(|(&id, _)| id)
            .collect();
        for node in joined {
            self.step(Event::Beat {
                node,
                disk_bytes: 1,
            });
        }
        let wall = self.wall();
        self.step(Event::Tick { wall });
    }

    fn kill(&mut self, id: NodeId) {
        self.break_stream(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.up = false;
        for replica in node.replicas.values_mut() {
            replica.learner = None;
            replica.proposed = None;
        }
    }

    fn break_stream(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.inbox.clear();
        node.outbox.clear();
        if std::mem::take(&mut node.joined) {
            self.step(Event::NodeLost { node: id });
        }
    }

    fn join(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.joined {
            return;
        }
        node.incarnation += u64::from(!node.up);
        node.up = true;
        node.joined = true;
        let incarnation = Incarnation(node.incarnation);
        let replicas: Vec<ReplicaReport> = node
            .replicas
            .iter()
            .map(|(&id, replica)| replica.report(id))
            .collect();
        node.outbox.push_back(Event::Reported {
            node: id,
            replicas,
            complete: true,
        });
        self.step(Event::NodeJoined {
            address: address(id.0),
            incarnation,
        });
    }

    fn administer(&mut self) {
        let name = format!("t{}", self.rng.random_range(0..3u32));
        let request = match self.rng.random_range(0..4u32) {
            0 | 1 if self.names.len() < MOST_TABLES as usize => {
                let (partitions, replicas) =
                    (self.rng.random_range(1..100), self.rng.random_range(1..=3));
                Request::CreateTable(specification(&name, partitions, replicas))
            }
            2 => Request::DropTable {
                name,
                wall: self.wall(),
            },
            _ => Request::RecallTable { name },
        };
        self.step(Event::Asked {
            token: Token(1),
            request,
        });
    }

    fn anything(&mut self) {
        let id = self.some_node();
        match self.rng.random_range(0..1000u32) {
            0..3 => self.kill(id),
            3..6 => self.break_stream(id),
            6..8 => self.change_leader(),
            8..12 => self.administer(),
            12..40 => self.join(id),
            40..60 => self.pass_time(),
            60..250 => self.finish_write(),
            250..500 => self.hear(id),
            500..750 => self.obey(id),
            750..753 => self.act(id, true),
            _ => self.act(id, false),
        }
    }

    /// Everything works again, for so many seconds.
    fn heal(&mut self, span: u64) {
        for _ in 0..span {
            for id in (1..=NODES).map(NodeId) {
                self.join(id);
                for _ in 0..self.nodes[&id].replicas.len() * 2 {
                    self.act(id, false);
                }
                while !self.nodes[&id].inbox.is_empty()
                    || !self.nodes[&id].outbox.is_empty()
                    || self.writing.is_some()
                {
                    self.obey(id);
                    self.hear(id);
                    self.finish_write();
                }
            }
            self.pass_time();
        }
    }
}

fn run(seed: u64) -> World {
    println!("replay: TULPAR_PLACEMENT_SEED={seed} cargo test -p placement --test seeded");
    let mut world = World::new(seed);
    for _ in 0..20_000 {
        world.anything();
    }
    world.heal(60);
    world.check_whole();
    world.now = world.now + settings().drop_retention;
    world.change_leader();
    world.heal(60);
    world.check_whole();
    world.check_clean();
    let again = world.restored();
    for table in world.cluster.tables() {
        let known: Vec<_> = world
            .cluster
            .routes(table.id)
            .unwrap()
            .configurations()
            .cloned_all();
        let read: Vec<_> = again
            .routes(table.id)
            .unwrap()
            .configurations()
            .cloned_all();
        assert_eq!(known, read, "the next leader knows the same");
    }
    world
}

trait ClonedAll {
    fn cloned_all(self) -> Vec<Option<Configuration>>;
}

impl<'a, I: Iterator<Item = Option<&'a Configuration>>> ClonedAll for I {
    fn cloned_all(self) -> Vec<Option<Configuration>> {
        self.map(Option::<&Configuration>::cloned).collect()
    }
}

#[test]
fn whatever_happens_the_promises_hold_and_all_is_whole_in_the_end() {
    let read = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seeds = match read("TULPAR_PLACEMENT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..read("TULPAR_SIM_SEEDS").unwrap_or(100),
    };
    let (mut changes, mut tables) = (0, 0);
    for seed in seeds {
        let world = run(seed);
        changes += world.history.len();
        tables += world.names.len();
    }
    println!("{changes} configurations of {tables} tables");
}

#[test]
fn the_same_seed_is_the_same_story() {
    let (one, other) = (run(3), run(3));
    assert_eq!(one.history, other.history);
    assert_eq!(one.store, other.store);
}
