//! The real `placement` as the meta servers: leaders one after the other over a metadata store whose answers come late or not at all.
//!
//! A leader whose write is not answered is thrown away, and the next one restores from the store. One that stands still is replaced,
//! too; when it goes on it speaks to the nodes as if it led, until it tries to write: the store takes nothing of an earlier term. What
//! nodes say to a leader is in `streams`.

use crate::invariants::one_configuration;
use crate::meta::Brain;
use crate::network::META;
use crate::node::index;
use crate::partition;
use crate::shell::Local;
use crate::site::At;
use crate::swarm::{Opening, REPLICAS, Swarm};
use crate::world::{MS, Scheduled, World};
use placement::{
    Action, BatchId, Cluster, Document, Entry, Event, Key, ReplicaReport, Request, Settings,
    TableSpecification, ToNode, Token, Write,
};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{Ballot, Configuration, Incarnation, Instant, NodeId, PartitionId, Timestamp};

/// A leader as its term numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Term(u64);

#[derive(Default)]
struct Store {
    documents: BTreeMap<Key, (u64, Document)>,
    /// Who may write.
    term: u64,
}

/// A meta server that leads, or thinks so.
pub(crate) struct Leader {
    cluster: Cluster,
    /// What waits while it stands still.
    paused: Option<Vec<Event>>,
    /// The lives of nodes that have a stream to it, and what they reported last.
    pub(crate) sessions: BTreeMap<usize, (Incarnation, Vec<ReplicaReport>)>,
}

pub(crate) struct Leaders {
    settings: Settings,
    /// The tables that an operator wants, one after the other.
    specifications: Vec<TableSpecification>,
    store: Store,
    /// Of the terms that are not over, the last is the one that nodes find.
    pub(crate) terms: BTreeMap<Term, Leader>,
}

impl Leaders {
    pub(crate) fn new(swarm: &Swarm) -> Self {
        let again = Duration::from_nanos(swarm.repairs.min(100 * MS));
        // Where one partition must be readable at every moment the balancer may not hand it over: that is a pause.
        let balance_after = match swarm.opening {
            Opening::HandOvers => Duration::from_mins(1),
            Opening::Calm | Opening::HungDisk | Opening::NoMeta | Opening::OneIsLeft => 10 * again,
        };
        Self {
            settings: Settings {
                repair_delay: 5 * again,
                beat_timeout: Duration::from_secs(1),
                ask_again: again,
                settle: again,
                errands_per_node: 1,
                learns_per_node: 1,
                // A learner that hangs must not keep a copy that is whole from its turn for longer than `availability` waits.
                learn_patience: 20 * again,
                balance_after,
                ..Settings::default()
            },
            specifications: swarm
                .tables
                .iter()
                .map(|table| TableSpecification {
                    name: format!("{:?}", table.durability),
                    partitions: 1,
                    replicas: REPLICAS as u32,
                    durability: table.durability,
                    min_replicas: swarm.settings.min_replicas as u32,
                    password: String::new(),
                    rules: types::TableRules::default(),
                })
                .collect(),
            store: Store::default(),
            terms: BTreeMap::new(),
        }
    }

    /// Whom nodes find.
    pub(crate) fn current(&self) -> Option<(Term, &Leader)> {
        let (&term, leader) = self.terms.last_key_value()?;
        (term.0 == self.store.term && leader.paused.is_none()).then_some((term, leader))
    }
}

impl Store {
    /// All writes or none.
    fn take(&mut self, writes: &[Write]) -> bool {
        let version = |key| self.documents.get(key).map_or(0, |&(version, _)| version);
        if writes
            .iter()
            .any(|write| version(&write.key) != write.expected)
        {
            return false;
        }
        for write in writes {
            match &write.document {
                Some(document) => {
                    let next = (write.expected + 1, document.clone());
                    self.documents.insert(write.key, next);
                }
                None => drop(self.documents.remove(&write.key)),
            }
        }
        true
    }
}

/// The configurations that a batch makes the stored ones.
fn configurations(writes: &[Write]) -> impl Iterator<Item = (usize, &Configuration)> {
    writes
        .iter()
        .filter_map(|write| match (&write.key, &write.document) {
            (Key::Page { table, .. }, Some(Document::Page(page))) => {
                let only = PartitionId::new(table.0, 0);
                Some((partition::number(only), page.first()?.as_ref()?))
            }
            _ => None,
        })
}

impl World {
    pub(crate) fn leaders(&mut self) -> Option<&mut Leaders> {
        match &mut self.meta.brain {
            Brain::Model => None,
            Brain::Placement(leaders) => Some(leaders),
        }
    }

    /// A new leader, from what is stored. Who led before it may not know.
    pub(crate) fn lead(&mut self) {
        let now = Instant(self.now);
        let up = self.meta.up;
        let Some(leaders) = self.leaders().filter(|_| up) else {
            return;
        };
        leaders.store.term += 1;
        leaders.terms.retain(|_, leader| leader.paused.is_some());
        let documents = leaders.store.documents.iter();
        let entries = documents.map(|(&key, (version, document))| Entry {
            key,
            version: *version,
            document: document.clone(),
        });
        let term = leaders.store.term;
        let restored = Cluster::restore(leaders.settings.clone(), term, entries.collect(), now);
        match restored {
            Ok(cluster) => {
                let leader = Leader {
                    cluster,
                    paused: None,
                    sessions: BTreeMap::new(),
                };
                leaders.terms.insert(Term(term), leader);
                self.figures.terms += 1;
            }
            Err(error) => self.violate(one_configuration::NAME, error.to_string()),
        }
    }

    /// The meta servers are gone.
    pub(crate) fn end_terms(&mut self) {
        if let Some(leaders) = self.leaders() {
            leaders.terms.retain(|_, leader| leader.paused.is_some());
        }
    }

    /// Healing: somebody leads.
    pub(crate) fn ensure_leader(&mut self) {
        let leaderless = self
            .leaders()
            .is_some_and(|leaders| leaders.current().is_none());
        if leaderless {
            self.lead();
        }
    }

    /// The leader stands still, and is replaced as soon as that is noticed.
    pub(crate) fn pause_leader(&mut self, span: u64) {
        let noticed = self.chance.within(20..600) * MS;
        let Some(leaders) = self.leaders() else {
            return;
        };
        let Some((term, _)) = leaders.current() else {
            return;
        };
        if let Some(leader) = leaders.terms.get_mut(&term) {
            leader.paused = Some(Vec::new());
            self.at(noticed, Scheduled::Lead);
            self.at(noticed + span, Scheduled::LeaderResumes { term });
        }
    }

    pub(crate) fn leader_resumes(&mut self, term: Term) {
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        let waiting = leader.and_then(|leader| leader.paused.take());
        for event in waiting.unwrap_or_default() {
            self.step_leader(term, event);
        }
        let wall = Timestamp(self.now / MS);
        self.step_leader(term, Event::Tick { wall });
    }

    /// A leader takes something in, and what it wants is done.
    pub(crate) fn step_leader(&mut self, term: Term, event: Event) {
        let now = Instant(self.now);
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        let Some(leader) = leader else { return };
        if let Some(waiting) = &mut leader.paused {
            return waiting.push(event);
        }
        let mut actions = Vec::new();
        leader.cluster.step(now, event, &mut actions);
        for action in actions {
            self.note(|| format!("    {term:?}: {action:?}"));
            self.obey_leader(term, action);
        }
    }

    fn obey_leader(&mut self, term: Term, action: Action) {
        match action {
            Action::Store { batch, writes } => {
                let delay = self.meta_delay() / 4;
                let write = Scheduled::StoreWrite {
                    term,
                    batch,
                    writes,
                };
                self.at(delay, write);
            }
            Action::ToNode { node, message } => self.tell_node(term, node, message),
            Action::Disconnect { node, .. } => {
                let leader = self
                    .leaders()
                    .and_then(|leaders| leaders.terms.get_mut(&term));
                if let Some(leader) = leader {
                    leader.sessions.remove(&index(node));
                }
            }
            // Nobody watches routes, and an operator asks again.
            Action::Answer { .. }
            | Action::RoutesChanged { .. }
            | Action::RoutesEnded { .. }
            | Action::NodeMoved(_)
            | Action::Report(_) => {}
        }
    }

    /// A stream loses nothing: what does not arrive ends it, and the node comes back and reports.
    fn tell_node(&mut self, term: Term, node: NodeId, message: ToNode) {
        let node = index(node);
        let delay = self.meta_delay();
        let lost = self.network.is_cut(META, node) || self.chance.percent(self.meta.unanswered);
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        let Some(leader) = leader.filter(|leader| leader.sessions.contains_key(&node)) else {
            return;
        };
        if lost {
            // The leader hears of it when the node joins anew, or is silent for long.
            leader.sessions.remove(&node);
            return;
        }
        let site = |id| At {
            node,
            partition: partition::number(id),
        };
        match message {
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
            ToNode::Stored(stored) => {
                for (partition, configuration) in stored {
                    let known = replication::Event::ConfigurationKnown(configuration);
                    self.tell(site(partition), delay, known);
                }
            }
            ToNode::Open(partition) => self.reach(delay, site(partition), None, Local::Open),
            ToNode::AddLearner {
                partition,
                ballot,
                node,
            } => {
                let add = replication::Event::AddLearner { ballot, node };
                self.tell(site(partition), delay, add);
            }
            ToNode::RemoveSecondary {
                partition,
                ballot,
                node,
            } => {
                let remove = replication::Event::RemoveSecondary { ballot, node };
                self.tell(site(partition), delay, remove);
            }
            ToNode::HandOver {
                partition,
                ballot,
                node: to,
            } => {
                let asked = Local::HandOverAsked(ballot, to);
                self.reach(delay, site(partition), None, asked);
            }
            ToNode::Delete {
                ballot, partition, ..
            } => self.reach(delay, site(partition), None, Local::DeleteAsked(ballot)),
        }
    }

    /// The store compares and sets; its answer may get lost.
    pub(crate) fn store_write(&mut self, term: Term, batch: BatchId, writes: &[Write]) {
        let up = self.meta.up;
        let Some(leaders) = self.leaders().filter(|_| up) else {
            return;
        };
        if leaders.store.term != term.0 {
            leaders.terms.remove(&term);
            return;
        }
        if !leaders.store.take(writes) {
            let what = format!("{term:?} leads alone, and writes over {writes:?}");
            return self.violate(one_configuration::NAME, what);
        }
        for (partition, next) in configurations(writes) {
            self.page_stored(partition, next);
        }
        if self.faults() && self.chance.percent(self.swarm.store_unanswered) {
            let again = self.chance.within(20..500) * MS;
            if let Some(leaders) = self.leaders() {
                leaders.terms.remove(&term);
            }
            return self.at(again, Scheduled::Lead);
        }
        let delay = self.meta_delay() / 4;
        let event = Event::Stored { batch };
        self.at(delay, Scheduled::ToLeader { term, event });
    }

    fn page_stored(&mut self, partition: usize, next: &Configuration) {
        let before = self.partitions[partition].stored.as_ref();
        let (ballot, epoch) =
            before.map_or((Ballot::ZERO, 0), |stored| (stored.ballot, stored.epoch));
        if before == Some(next) {
            return;
        }
        if next.ballot != ballot.next() {
            let what = format!("{next:?} is stored over {before:?}");
            return self.violate(one_configuration::NAME, what);
        }
        if next.epoch == epoch {
            return self.store(partition, next);
        }
        let members = self.partitions[partition].members();
        self.store_survivor(partition, next, &members);
    }

    /// The leader looks around; an operator wants tables.
    pub(crate) fn tick_leader(&mut self) {
        let wall = Timestamp(self.now / MS);
        let Some(leaders) = self.leaders() else {
            return;
        };
        let Some((term, leader)) = leaders.current() else {
            return;
        };
        let joined = leader.sessions.len() >= REPLICAS;
        let keys = leaders.store.documents.keys();
        let tables = keys.filter(|key| matches!(key, Key::Table(_))).count();
        let wanted = leaders.specifications.get(tables).cloned();
        if let Some(specification) = wanted.filter(|_| joined) {
            let request = Request::CreateTable(specification);
            let token = Token(term.0);
            self.step_leader(term, Event::Asked { token, request });
        }
        if self.faults() && self.chance.percent(self.swarm.orders) {
            self.order(term);
        }
        self.step_leader(term, Event::Tick { wall });
    }
}
