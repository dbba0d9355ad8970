//! The cluster's brain against simulated nodes, a simulated store and the passing of time, from a seed: tables come and go, nodes die and return,
//! streams break, leaders crash in the middle of a write. Promises are checked at each step; after healing everything must be whole.
//!
//! Data is not simulated: what replicas do with it is the crate `replication`'s affair.

mod driver;

use driver::{address, seconds, specification};
use placement::{
    Action, BatchId, Cluster, Document, Entry, Event, Key, ReplicaReport, Request, Settings,
    ToNode, Token, Write,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use types::{
    Ballot, Configuration, Decree, Incarnation, Instant, LearnSignature, Member, NodeId,
    PartitionId, TableId, Timestamp,
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

    fn check_message(&self, node: NodeId, message: &ToNode) {
        match message {
            ToNode::Stored(told) => {
                for (id, configuration) in told {
                    self.check_told(*id, configuration);
                }
            }
            ToNode::Delete {
                partition,
                table_gone: true,
                ..
            } => assert!(
                !self.store.contains_key(&Key::Table(partition.table)),
                "{partition} is not gone"
            ),
            ToNode::Delete {
                partition, ballot, ..
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                assert_eq!(stored.ballot, *ballot, "a delete names the stored ballot");
                assert!(!stored.contains(node), "a member is never deleted");
                assert!(
                    stored.len() >= self.replicas(partition.table),
                    "enough members hold it"
                );
            }
            ToNode::Open(partition) => assert!(
                self.stored(*partition).is_none(),
                "{partition} is born already"
            ),
            ToNode::AddLearner {
                partition,
                node: learner,
                ..
            } => {
                let stored = self.stored(*partition).expect("it has a configuration");
                assert!(!stored.contains(*learner) && stored.primary.node == node);
            }
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
        }
    }

    /// Nothing is announced before it is stored.
    fn check_told(&self, id: PartitionId, configuration: &Configuration) {
        assert_eq!(
            self.history.get(&(id, configuration.ballot)),
            Some(configuration)
        );
    }

    fn stored(&self, id: PartitionId) -> Option<&Configuration> {
        let page = Key::Page {
            table: id.table,
            page: id.index / placement::PAGE_PARTITIONS,
        };
        let Document::Page(configurations) = &self.store.get(&page)?.1 else {
            panic!("a page is a page");
        };
        configurations
            .get((id.index % placement::PAGE_PARTITIONS) as usize)?
            .as_ref()
    }

    fn replicas(&self, table: TableId) -> usize {
        match self.store.get(&Key::Table(table)) {
            Some((_, Document::Table(table))) => table.replicas as usize,
            other => panic!("{table} should be there, is {other:?}"),
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

    fn check_document(&mut self, key: Key, document: &Document) {
        match (key, document) {
            (Key::Table(id), Document::Table(table)) => {
                let name = self.names.entry(id).or_insert_with(|| table.name.clone());
                assert_eq!(
                    *name, table.name,
                    "a table's number is never given to another"
                );
            }
            (Key::Page { table, page }, Document::Page(configurations)) => {
                for (index, configuration) in
                    (page * placement::PAGE_PARTITIONS..).zip(configurations)
                {
                    let id = PartitionId { table, index };
                    match (self.stored(id).cloned(), configuration) {
                        (None, None) => {}
                        (Some(_), None) => panic!("{id} lost its configuration"),
                        (before, Some(after)) => self.check_change(id, before.as_ref(), after),
                    }
                }
            }
            _ => {}
        }
    }

    /// One configuration per ballot, one ballot after the other; the first only when each member has its replica.
    fn check_change(
        &mut self,
        id: PartitionId,
        before: Option<&Configuration>,
        after: &Configuration,
    ) {
        if before == Some(after) {
            return;
        }
        let ballot = before.map_or(Ballot::ZERO, |before| before.ballot);
        assert_eq!(after.ballot, ballot.next(), "{id}");
        let mut members: Vec<NodeId> = after.members().map(|member| member.node).collect();
        members.sort_unstable();
        members.dedup();
        assert_eq!(members.len(), after.len(), "{id}: a node is a member once");
        if before.is_none() {
            for member in &members {
                assert!(
                    self.nodes[member].replicas.contains_key(&id),
                    "{id} is on {member}'s disk"
                );
            }
        }
        let earlier = self.history.insert((id, after.ballot), after.clone());
        assert_eq!(earlier, None, "{id}: one configuration per ballot");
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

    fn hear(&mut self, id: NodeId) {
        if let Some(event) = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.outbox.pop_front())
        {
            self.step(event);
        }
    }

    fn obey(&mut self, id: NodeId) {
        let Some(message) = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.inbox.pop_front())
        else {
            return;
        };
        let node = self.nodes.get_mut(&id).unwrap();
        match message {
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
            ToNode::Open(partition) => {
                let replica = node.replicas.entry(partition).or_default();
                // A late request for a partition that was born meanwhile: the node knows better, and does not answer.
                if replica.ballot == Ballot::ZERO {
                    node.outbox.push_back(Event::Opened {
                        node: id,
                        partition,
                    });
                }
            }
            ToNode::Stored(told) => {
                for (partition, configuration) in told {
                    let Some(replica) = node.replicas.get_mut(&partition) else {
                        continue;
                    };
                    if configuration.ballot > replica.ballot {
                        replica.ballot = configuration.ballot;
                        replica.proposed = None;
                        replica.learner = None;
                        replica.configuration = Some(configuration);
                        let replicas = vec![replica.report(partition)];
                        node.outbox.push_back(Event::Reported {
                            node: id,
                            replicas,
                            complete: false,
                        });
                    }
                }
            }
            ToNode::AddLearner {
                partition,
                ballot,
                node: learner,
            } => {
                if let Some(replica) = node.replicas.get_mut(&partition)
                    && replica.ballot == ballot
                    && replica.proposed.is_none()
                {
                    replica.learner = Some(learner);
                }
            }
            ToNode::Delete {
                partition,
                ballot,
                table_gone,
            } => {
                let refused = node
                    .replicas
                    .get(&partition)
                    .is_some_and(|replica| replica.ballot > ballot && !table_gone);
                if !refused {
                    node.replicas.remove(&partition);
                    node.outbox.push_back(Event::Deleted {
                        node: id,
                        partition,
                    });
                }
            }
        }
    }

    /// One replica of a node does what its role asks for.
    fn act(&mut self, id: NodeId, spurious: bool) {
        let node = &self.nodes[&id];
        if !node.up || node.replicas.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..node.replicas.len());
        let (&partition, replica) = node.replicas.iter().nth(index).unwrap();
        let Some(configuration) = replica.configuration.clone() else {
            return;
        };
        let Some(me) = configuration.member(id).copied() else {
            return;
        };
        let proposal = if let Some(proposed) = replica.proposed.clone() {
            Some(proposed)
        } else if configuration.primary.node == id {
            self.as_primary(id, partition, &configuration)
        } else if spurious || !self.has_copy(configuration.primary.node, partition) {
            let mut takeover = configuration.clone();
            takeover.ballot = takeover.ballot.next();
            takeover.primary = me;
            takeover.secondaries.retain(|member| *member != me);
            Some(takeover)
        } else {
            None
        };
        let node = self.nodes.get_mut(&id).unwrap();
        if let (Some(proposal), Some(replica)) = (proposal, node.replicas.get_mut(&partition)) {
            replica.proposed = Some(proposal.clone());
            if node.joined {
                let proposals = vec![(partition, proposal)];
                node.outbox.push_back(Event::Proposed {
                    node: id,
                    proposals,
                });
            }
        }
    }

    fn has_copy(&self, node: NodeId, id: PartitionId) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|node| node.up && node.replicas.contains_key(&id))
    }

    /// Removes a secondary that is gone, or adds the learner.
    fn as_primary(
        &mut self,
        id: NodeId,
        partition: PartitionId,
        configuration: &Configuration,
    ) -> Option<Configuration> {
        let mut next = configuration.clone();
        next.ballot = next.ballot.next();
        if let Some(gone) = configuration
            .secondaries
            .iter()
            .position(|member| !self.has_copy(member.node, partition))
        {
            next.secondaries.remove(gone);
            return Some(next);
        }
        let learner = self.nodes[&id].replicas[&partition].learner?;
        let node = self.nodes.get_mut(&learner).unwrap();
        if !node.up || configuration.contains(learner) {
            return None;
        }
        node.learns += 1;
        let signature = LearnSignature {
            ballot: configuration.ballot,
            incarnation: Incarnation(node.incarnation),
            counter: node.learns,
        };
        let replica = node.replicas.entry(partition).or_default();
        if replica.ballot > configuration.ballot {
            return None;
        }
        replica.ballot = configuration.ballot;
        replica.learnt = Some(signature);
        next.secondaries.push(Member {
            node: learner,
            signature,
        });
        Some(next)
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

    /// Each partition in service has its members, each member its replica, and nobody else has one.
    fn check_whole(&self) {
        for table in self
            .cluster
            .tables()
            .filter(|table| table.dropped_at.is_none())
        {
            for index in 0..table.partitions {
                let id = PartitionId {
                    table: table.id,
                    index,
                };
                let stored = self
                    .stored(id)
                    .unwrap_or_else(|| panic!("{id} was never born"));
                assert!(
                    stored.len() >= table.replicas as usize,
                    "{id} is short: {stored:?}"
                );
                for (&node, known) in &self.nodes {
                    let replica = known.replicas.get(&id);
                    assert_eq!(replica.is_some(), stored.contains(node), "{id} on {node}");
                    assert!(
                        replica
                            .is_none_or(|replica| replica.configuration.as_ref() == Some(stored))
                    );
                }
            }
        }
    }

    /// Nothing is left of dropped tables.
    fn check_clean(&self) {
        let live = |table: TableId| self.cluster.routes(table).is_some();
        for key in self.store.keys() {
            match key {
                Key::Table(table) | Key::Page { table, .. } => {
                    assert!(live(*table), "{key:?} is left")
                }
                Key::Root | Key::Node(_) => {}
            }
        }
        for node in self.nodes.values() {
            assert!(node.replicas.keys().all(|id| live(id.table)));
        }
    }
}

impl Replica {
    fn report(&self, partition: PartitionId) -> ReplicaReport {
        ReplicaReport {
            partition,
            ballot: self.ballot,
            epoch: 0,
            prepared: Decree(0),
            last_ballot: self.ballot,
            quarantined: false,
            learning: false,
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
