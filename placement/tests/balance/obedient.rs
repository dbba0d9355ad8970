//! A cluster whose store keeps everything at once and whose nodes do at once what they are asked, as far as a correct node may.

use crate::driver::*;
use placement::{
    Action, Answered, Cluster, Document, Entry, Event, Key, NodeAddress, Refusal, ReplicaReport,
    Request, Settings, ToNode, Token, Write,
};
use std::collections::{BTreeMap, VecDeque};
use types::{
    Ballot, Configuration, Incarnation, Instant, LearnSignature, Member, NodeId, PartitionId,
    TableId,
};

/// How unevenly something is spread: the most less the least.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) replicas: usize,
    pub(crate) leads: usize,
}

pub(crate) struct Obedient {
    pub(crate) driver: Driver,
    /// Configurations stored after the first ones.
    pub(crate) changes: usize,
    /// How many seconds a copy takes.
    pub(crate) learns_last: u64,
    settings: Settings,
    store: BTreeMap<Key, (u64, Document)>,
    nodes: BTreeMap<NodeId, NodeAddress>,
    /// Members below which no partition of the table may fall.
    least: BTreeMap<TableId, usize>,
    learns: u64,
    learning: BTreeMap<(PartitionId, NodeId), Learning>,
    /// How many bytes a copy of a partition has, if it has any.
    bytes: BTreeMap<PartitionId, u64>,
    answer: Option<Result<Answered, Refusal>>,
}

/// A copy being made.
struct Learning {
    primary: NodeId,
    signature: LearnSignature,
    arrives: Instant,
}

impl Obedient {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            driver: Driver::with(settings.clone()),
            changes: 0,
            learns_last: 0,
            settings,
            store: BTreeMap::from([(
                Key::Root,
                (
                    1,
                    Document::Root {
                        next_table: TableId(1),
                        balancing: placement::Balancing::Running,
                        rebuilding: false,
                    },
                ),
            )]),
            nodes: BTreeMap::new(),
            least: BTreeMap::new(),
            learns: 0,
            learning: BTreeMap::new(),
            bytes: BTreeMap::new(),
            answer: None,
        }
    }

    pub(crate) fn join_all(
        &mut self,
        nodes: std::ops::RangeInclusive<u64>,
        zone: impl Fn(u64) -> String,
    ) {
        for n in nodes {
            let address = NodeAddress {
                zone: zone(n),
                ..address(n)
            };
            self.nodes.insert(node(n), address.clone());
            let incarnation = Incarnation(1);
            self.happens(Event::NodeJoined {
                address,
                incarnation,
            });
            self.happens(Event::Reported {
                node: node(n),
                replicas: vec![],
                complete: true,
            });
        }
    }

    /// The node's stream ends.
    pub(crate) fn leave(&mut self, n: u64) {
        self.nodes.remove(&node(n));
        self.happens(Event::NodeLost { node: node(n) });
    }

    pub(crate) fn create(&mut self, name: &str, partitions: u32, replicas: u32) {
        let request = Request::CreateTable(specification(name, partitions, replicas));
        assert_eq!(self.ask(request), None);
        self.wants(name, replicas as usize);
        self.changes = 0;
    }

    pub(crate) fn wants(&mut self, name: &str, replicas: usize) {
        let id = self.table(name);
        self.least.insert(id, replicas);
    }

    /// Asks; why it was refused, if it was.
    pub(crate) fn ask(&mut self, request: Request) -> Option<Refusal> {
        self.happens(Event::Asked {
            token: Token(1),
            request,
        });
        self.answer.take().expect("an answer").err()
    }

    /// Seconds pass; everybody lives.
    pub(crate) fn pass(&mut self, span: u64) {
        for _ in 0..span {
            self.driver.after(seconds(1));
            let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
            for node in nodes {
                self.happens(Event::Beat {
                    node,
                    disk_bytes: 0,
                });
            }
            let mut events = VecDeque::new();
            self.arrive(&mut events);
            for event in events {
                self.happens(event);
            }
            self.happens(Event::Tick { wall: wall(0) });
        }
    }

    /// Copies whose time is over become members.
    fn arrive(&mut self, events: &mut VecDeque<Event>) {
        let now = self.driver.now;
        let due = |_: &_, learning: &mut Learning| learning.arrives <= now;
        let due: Vec<_> = self.learning.extract_if(.., due).collect();
        for ((id, node), learning) in due {
            let signature = learning.signature;
            self.propose(learning.primary, (id, signature.ballot), events, |next| {
                next.secondaries.push(Member { node, signature });
            });
        }
    }

    /// From now on every copy of the partition has so many bytes, and its nodes say so.
    pub(crate) fn grow(&mut self, name: &str, index: u32, bytes: u64) {
        let table = self.table(name);
        let id = PartitionId { table, index };
        self.bytes.insert(id, bytes);
        let stored = self.stored(id);
        for member in stored.members() {
            self.happens(Event::Reported {
                node: member.node,
                replicas: vec![self.report(id, stored.ballot)],
                complete: false,
            });
        }
    }

    /// What a copy of it has.
    pub(crate) fn bytes(&self, name: &str, index: u32) -> u64 {
        let table = self.table(name);
        self.bytes
            .get(&PartitionId { table, index })
            .copied()
            .unwrap_or(0)
    }

    fn report(&self, id: PartitionId, ballot: Ballot) -> ReplicaReport {
        ReplicaReport {
            bytes: self.bytes.get(&id).copied().unwrap_or(0),
            ..replica(id, ballot.0)
        }
    }

    /// Until for two minutes nothing has changed. How long that took.
    pub(crate) fn run_until_still(&mut self) -> u64 {
        let (mut ticks, mut still, mut changes) = (0, 0, self.changes);
        while still < 120 {
            self.pass(1);
            ticks += 1;
            still = if self.changes == changes {
                still + 1
            } else {
                0
            };
            changes = self.changes;
            assert!(ticks < 50_000, "it never ends");
        }
        ticks - still
    }

    /// What another leader would start with.
    pub(crate) fn restored(&self) -> Cluster {
        let entry = |(&key, (version, document)): (&Key, &(u64, Document))| Entry {
            key,
            version: *version,
            document: document.clone(),
        };
        let entries = self.store.iter().map(entry).collect();
        Cluster::restore(self.settings.clone(), 8, entries, self.driver.now).unwrap()
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.driver.step(event) {
                self.carry_out(action, &mut events);
            }
        }
    }

    fn carry_out(&mut self, action: Action, events: &mut VecDeque<Event>) {
        match action {
            Action::Store { batch, writes } => {
                for write in writes {
                    self.keep(write);
                }
                events.push_back(Event::Stored { batch });
            }
            Action::ToNode { node, message } => self.obey(node, message, events),
            Action::Answer { answer, .. } => self.answer = Some(answer),
            Action::Report(finding) => panic!("nothing is wrong here: {finding}"),
            Action::Disconnect { .. }
            | Action::RoutesChanged { .. }
            | Action::RoutesEnded { .. }
            | Action::NodeMoved(_) => {}
        }
    }

    fn keep(&mut self, write: Write) {
        if let (Key::Page { table, page }, Some(Document::Page(after))) =
            (write.key, &write.document)
        {
            let before = match self.store.get(&write.key) {
                Some((_, Document::Page(before))) => before.clone(),
                _ => vec![],
            };
            let least = self.least.get(&table).copied().unwrap_or(0);
            for (index, after) in after.iter().enumerate() {
                let before = before.get(index).cloned().flatten();
                let Some(after) = after
                    .as_ref()
                    .filter(|after| Some(*after) != before.as_ref())
                else {
                    continue;
                };
                self.changes += 1;
                let grown = before.is_some_and(|before| before.len() < after.len());
                assert!(!grown || after.len() <= least + 1, "one at a time");
                assert!(
                    after.len() >= least,
                    "partition {index} of page {page} of {table} has {} members, {least} are wanted: {after:?}",
                    after.len()
                );
            }
        }
        match write.document {
            Some(document) => self.store.insert(write.key, (write.expected + 1, document)),
            None => self.store.remove(&write.key),
        };
    }

    fn obey(&mut self, node: NodeId, message: ToNode, events: &mut VecDeque<Event>) {
        match message {
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
            ToNode::Open(partition) => events.push_back(Event::Opened { node, partition }),
            ToNode::Stored(told) => {
                let replicas = told
                    .into_iter()
                    .filter(|(_, configuration)| configuration.contains(node))
                    .map(|(id, configuration)| self.report(id, configuration.ballot))
                    .collect();
                events.push_back(Event::Reported {
                    node,
                    replicas,
                    complete: false,
                });
            }
            ToNode::AddLearner {
                partition,
                ballot,
                node: learner,
            } => {
                self.learns += 1;
                let signature = LearnSignature {
                    ballot,
                    incarnation: Incarnation(1),
                    counter: self.learns,
                };
                let learning = Learning {
                    primary: node,
                    signature,
                    arrives: self.driver.now + seconds(self.learns_last),
                };
                self.learning
                    .entry((partition, learner))
                    .or_insert(learning);
                self.arrive(events);
            }
            ToNode::RemoveSecondary {
                partition,
                ballot,
                node: leaver,
            } => self.propose(node, (partition, ballot), events, |next| {
                next.secondaries.retain(|member| member.node != leaver);
            }),
            ToNode::HandOver {
                partition,
                ballot,
                node: successor,
            } => self.propose(successor, (partition, ballot), events, |next| {
                let member = *next.member(successor).expect("a secondary");
                next.secondaries.retain(|known| *known != member);
                let old = std::mem::replace(&mut next.primary, member);
                next.secondaries.push(old);
            }),
            ToNode::Delete { partition, .. } => {
                events.push_back(Event::Deleted { node, partition });
            }
        }
    }

    fn propose(
        &self,
        node: NodeId,
        (id, ballot): (PartitionId, Ballot),
        events: &mut VecDeque<Event>,
        change: impl FnOnce(&mut Configuration),
    ) {
        let mut next = self.stored(id);
        if next.ballot == ballot {
            next.ballot = ballot.next();
            change(&mut next);
            let proposals = vec![(id, next)];
            events.push_back(Event::Proposed { node, proposals });
        }
    }

    fn stored(&self, id: PartitionId) -> Configuration {
        let routes = self.driver.cluster.routes(id.table).expect("a table");
        let found = routes.configurations().nth(id.index as usize);
        found.flatten().expect("a configuration").clone()
    }

    fn table(&self, name: &str) -> TableId {
        self.driver.cluster.table(name).expect("a table").id
    }

    pub(crate) fn configuration(&self, name: &str, index: u32) -> Configuration {
        let table = self.table(name);
        self.stored(PartitionId { table, index })
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Configuration> + use<'a> {
        let id = self.table(name);
        let pages =
            self.store
                .iter()
                .filter_map(move |(key, (_, document))| match (key, document) {
                    (Key::Page { table, .. }, Document::Page(page)) if *table == id => Some(page),
                    _ => None,
                });
        pages.flatten().flatten()
    }

    fn spread_of<'a>(&self, all: impl Iterator<Item = &'a Configuration>) -> Spread {
        let taking = |node: &placement::NodeStatus| node.duty == placement::Duty::Serves;
        let nodes = self.driver.cluster.nodes();
        let mut counts: BTreeMap<NodeId, (usize, usize)> = nodes
            .iter()
            .filter(|node| taking(node))
            .map(|node| (node.address.node, (0, 0)))
            .collect();
        for configuration in all {
            for member in configuration.members() {
                counts.entry(member.node).or_default().0 += 1;
            }
            counts.entry(configuration.primary.node).or_default().1 += 1;
        }
        let apart = |of: fn(&(usize, usize)) -> usize| {
            counts.values().map(of).max().unwrap() - counts.values().map(of).min().unwrap()
        };
        Spread {
            replicas: apart(|count| count.0),
            leads: apart(|count| count.1),
        }
    }

    pub(crate) fn spread(&self, name: &str) -> Spread {
        self.spread_of(self.all(name))
    }

    pub(crate) fn total_spread(&self) -> Spread {
        let names: Vec<String> = self
            .driver
            .cluster
            .tables()
            .map(|table| table.name.clone())
            .collect();
        self.spread_of(names.iter().flat_map(|name| self.all(name)))
    }

    /// The bytes of all copies on each node.
    pub(crate) fn disks(&self) -> BTreeMap<NodeId, u64> {
        let mut disks: BTreeMap<NodeId, u64> = self.nodes.keys().map(|&node| (node, 0)).collect();
        for (&id, bytes) in &self.bytes {
            for member in self.stored(id).members() {
                *disks.entry(member.node).or_default() += bytes;
            }
        }
        disks
    }

    pub(crate) fn replicas_on(&self, n: u64) -> usize {
        let nodes = self.driver.cluster.nodes();
        let found = nodes.iter().find(|known| known.address.node == node(n));
        found.map_or(0, |node| node.primaries + node.secondaries)
    }

    /// Partitions with two members in one zone, though there is a zone without one.
    pub(crate) fn crowded(&self) -> usize {
        let mut zones: Vec<&str> = self
            .driver
            .cluster
            .nodes()
            .iter()
            .filter(|known| known.duty == placement::Duty::Serves)
            .map(|known| &self.nodes[&known.address.node].zone[..])
            .collect();
        zones.sort_unstable();
        zones.dedup();
        let crowded = |configuration: &&Configuration| {
            let mut of_members: Vec<&str> = configuration
                .members()
                .map(|member| &self.nodes[&member.node].zone[..])
                .collect();
            of_members.sort_unstable();
            of_members.dedup();
            of_members.len() < configuration.len().min(zones.len())
        };
        let names: Vec<String> = self
            .driver
            .cluster
            .tables()
            .map(|table| table.name.clone())
            .collect();
        if zones == [""] {
            return 0;
        }
        names
            .iter()
            .flat_map(|name| self.all(name))
            .filter(crowded)
            .count()
    }
}
