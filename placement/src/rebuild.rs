//! An empty store, made again from what nodes have: their replicas know each partition's configuration, and they themselves the tables.
//!
//! It needs an answer from every node that any of them has heard of, or an operator who names the others as lost: what only those knew is lost with
//! them. Every decree that was committed is on all members of the highest configuration that any of these knows (rules C1, C2), so its whole
//! members go on; ballots go on far above any that a lost node may know. Told first, with a word; done when the word comes back.

use crate::cluster::{Holder, Partition, Pending, TableState};
use crate::nodes::Node;
use crate::unfinished::Rebuilding;
use crate::{
    Action, Answered, Cluster, Duty, Finding, Key, NodeAddress, Refusal, ReplicaReport, Soundness,
    Table, Token,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use types::{Ballot, Configuration, Incarnation, Member, NodeId, PartitionId, TableId, Timestamp};

/// How far above the highest known ballot the rebuilt ones are: no lost node has proposed so many.
const LEAP: u64 = 1 << 20;

/// What a node has and knows, as long as the store is empty.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    replicas: BTreeMap<PartitionId, ReplicaReport>,
    tables: Vec<Table>,
    nodes: Vec<NodeAddress>,
    told: bool,
}

/// What the nodes' replicas make of an empty store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    /// The tables that nodes know.
    pub tables: Vec<Table>,
    /// Nodes that answered, and how many replicas each has.
    pub answered: Vec<(NodeId, usize)>,
    /// Nodes that somebody has heard of and that have not answered; all of them must, or be named as lost.
    pub unanswered: Vec<NodeAddress>,
    /// Partitions that go on with a whole copy.
    pub found: usize,
    /// Partitions of which no whole copy is there: they wait for one.
    pub without_whole_copy: Vec<PartitionId>,
    /// Partitions of which nobody has anything: they begin empty.
    pub empty: Vec<PartitionId>,
    /// Tables of which there are replicas, but which no node knows any more: they were dropped. Their replicas go.
    pub dropped: Vec<TableId>,
    /// What says that all this is known.
    pub word: String,
}

/// A rebuilt store, to be written.
struct Found {
    told: Rebuild,
    configurations: BTreeMap<PartitionId, Configuration>,
    next_table: TableId,
}

impl Cluster {
    /// Whether the store never had a table.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.next_table == TableId(1)
    }

    pub(crate) fn knows(&mut self, node: NodeId, tables: Vec<Table>, nodes: Vec<NodeAddress>) {
        let empty = self.is_empty();
        if let Some(session) = self.session_mut(node).filter(|_| empty) {
            session.memory.tables = tables;
            session.memory.nodes = nodes;
            session.memory.told = true;
        }
    }

    /// Notes what a node has that the empty store does not know.
    pub(crate) fn remember(
        &mut self,
        node: NodeId,
        replicas: Vec<ReplicaReport>,
        complete: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.session_mut(node) else {
            return;
        };
        session.reported |= complete;
        let memory = &mut session.memory;
        for replica in replicas {
            memory.replicas.insert(replica.partition, replica);
        }
        let replicas = memory.replicas.len();
        if complete && replicas > 0 {
            actions.push(Action::Report(Finding::Amnesia { node, replicas }));
        }
    }

    /// A first table is refused while nodes have replicas of tables unknown here: it might get the number of one of them.
    pub(crate) fn check_memory(&self) -> Result<(), Refusal> {
        let remembers = |(&id, node): (&NodeId, &Node)| {
            let memory = &node.session.as_ref()?.memory;
            (!memory.replicas.is_empty()).then_some((id, memory.replicas.len()))
        };
        match self.nodes.iter().find_map(remembers) {
            Some((node, replicas)) if self.is_empty() => Err(Refusal::Unfit(format!(
                "node {node} has {replicas} replicas of tables that this empty store does not know: 'meta rebuild' first, or empty its data directory"
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn rebuild_asked(
        &mut self,
        token: Token,
        missing: &[NodeId],
        wall: Timestamp,
        word: Option<&str>,
        actions: &mut Vec<Action>,
    ) {
        let refuse = |refusal: Refusal, actions: &mut Vec<Action>| {
            let answer = Err(refusal);
            actions.push(Action::Answer { token, answer });
        };
        if let Err(refusal) = self.check_rebuilt() {
            return refuse(refusal, actions);
        }
        if !self.is_empty() {
            let why = "the metadata store is not empty: there is nothing to rebuild";
            return refuse(Refusal::Unfit(why.into()), actions);
        }
        let found = self.gather(wall);
        let Some(word) = word else {
            let answer = Ok(Answered::Rebuild(found.told));
            return actions.push(Action::Answer { token, answer });
        };
        let unnamed = found.told.unanswered.iter();
        let unnamed: Vec<String> = unnamed
            .filter(|address| !missing.contains(&address.node))
            .map(|address| format!("{} ({})", address.node, address.name))
            .collect();
        if !unnamed.is_empty() {
            let why = format!(
                "no answer yet from {}: wait for them, or name them as lost",
                unnamed.join(", ")
            );
            return refuse(Refusal::Unfit(why), actions);
        }
        if found.told.word != word {
            let why = "that word is not for this, or something has changed meanwhile: ask again, and look at it anew";
            return refuse(Refusal::Unfit(why.into()), actions);
        }
        let keys = self.adopt(found);
        for &key in &keys {
            self.outbox.touch(key);
        }
        self.rebuilding = Rebuilding::begun(keys, Some(token));
    }

    /// What all that was reported amounts to.
    fn gather(&self, wall: Timestamp) -> Found {
        let memories = || {
            let memory = |(&id, node): (&NodeId, &'_ Node)| {
                node.session
                    .as_ref()
                    .map(|session| (id, session.reported && session.memory.told))
            };
            self.nodes.iter().filter_map(memory)
        };
        let all = || {
            self.nodes
                .iter()
                .filter_map(|(&id, node)| Some((id, &node.session.as_ref()?.memory)))
        };
        let mut tables: BTreeMap<TableId, Table> = BTreeMap::new();
        let mut heard: BTreeMap<NodeId, NodeAddress> = BTreeMap::new();
        let mut reports: BTreeMap<PartitionId, Vec<(NodeId, &ReplicaReport)>> = BTreeMap::new();
        for (node, memory) in all() {
            for table in &memory.tables {
                let known = tables.entry(table.id).or_insert_with(|| table.clone());
                if table.version > known.version {
                    known.clone_from(table);
                }
            }
            for address in &memory.nodes {
                heard.entry(address.node).or_insert_with(|| address.clone());
            }
            for (&id, replica) in &memory.replicas {
                reports.entry(id).or_default().push((node, replica));
                for member in replica
                    .configuration
                    .iter()
                    .flat_map(Configuration::members)
                {
                    heard
                        .entry(member.node)
                        .or_insert_with(|| NodeAddress::unknown(member.node));
                }
            }
        }
        drop_doubles(&mut tables, wall);
        let answered: BTreeSet<NodeId> = memories()
            .filter_map(|(id, complete)| complete.then_some(id))
            .collect();
        let known = reports
            .keys()
            .map(|id| id.table)
            .chain(tables.keys().copied());
        let next_table = TableId(known.max().map_or(1, |last| last.0.saturating_add(1)));
        let mut told = Rebuild {
            answered: all()
                .filter(|(id, _)| answered.contains(id))
                .map(|(id, memory)| (id, memory.replicas.len()))
                .collect(),
            unanswered: heard
                .into_values()
                .filter(|address| !answered.contains(&address.node))
                .collect(),
            found: 0,
            without_whole_copy: vec![],
            empty: vec![],
            dropped: vec![],
            word: String::new(),
            tables: vec![],
        };
        let mut configurations = BTreeMap::new();
        for table in tables.values() {
            for index in 0..table.partitions {
                let id = PartitionId {
                    table: table.id,
                    index,
                };
                match reports.get(&id).and_then(|reports| goes_on(reports)) {
                    None => told.empty.push(id),
                    Some((configuration, whole)) => {
                        if whole {
                            told.found += 1;
                        } else {
                            told.without_whole_copy.push(id);
                        }
                        configurations.insert(id, configuration);
                    }
                }
            }
        }
        let mut dropped: Vec<TableId> = reports.keys().map(|id| id.table).collect();
        dropped.dedup();
        dropped.retain(|table| !tables.contains_key(table));
        told.dropped = dropped;
        told.tables = tables.into_values().collect();
        told.word = word(&told, &configurations);
        Found {
            told,
            configurations,
            next_table,
        }
    }

    /// Takes it for what is to be stored, and says what that is.
    fn adopt(&mut self, found: Found) -> BTreeSet<Key> {
        let mut keys = BTreeSet::from([Key::Root]);
        let Found {
            told,
            mut configurations,
            next_table,
        } = found;
        self.next_table = next_table;
        for table in told.tables {
            let id = table.id;
            let partition = |index| Partition {
                pending: configurations
                    .remove(&PartitionId { table: id, index })
                    .map(|configuration| Pending {
                        configuration,
                        sent: false,
                    }),
                ..Partition::default()
            };
            let partitions: Vec<Partition> = (0..table.partitions).map(partition).collect();
            keys.insert(Key::Table(id));
            keys.extend((0..table.pages()).map(|page| Key::Page { table: id, page }));
            let state = TableState {
                created: false,
                change: None,
                creator: None,
                unborn: table.partitions,
                partitions,
                properties: table,
            };
            self.tables.insert(id, state);
        }
        for address in told.unanswered {
            let id = address.node;
            self.nodes
                .entry(id)
                .or_insert_with(|| Node::known(address, Incarnation::default(), Duty::Serves));
            keys.insert(Key::Node(id));
        }
        let nodes: Vec<NodeId> = self.alive().collect();
        for node in nodes {
            let memory = self
                .session_mut(node)
                .map(|session| std::mem::take(&mut session.memory));
            for (id, replica) in memory.into_iter().flat_map(|memory| memory.replicas) {
                if let Some(partition) = self.partition_mut(id) {
                    partition.hold(Holder::of(node, &replica));
                }
                if let Some(session) = self.session_mut(node) {
                    session.holding.insert(id);
                }
            }
        }
        keys
    }
}

/// Of two tables with one name that nodes take to be in use the later is: the other was dropped while the node that still knows it was away. It can be recalled.
fn drop_doubles(tables: &mut BTreeMap<TableId, Table>, wall: Timestamp) {
    let mut names = BTreeSet::new();
    for table in tables.values_mut().rev() {
        if table.dropped_at.is_none() && !names.insert(table.name.clone()) {
            table.dropped_at = Some(wall);
        }
    }
}

/// With what configuration a partition goes on, and whether one of its members has a whole copy.
fn goes_on(reports: &[(NodeId, &ReplicaReport)]) -> Option<(Configuration, bool)> {
    let highest = reports
        .iter()
        .filter_map(|(_, replica)| replica.configuration.as_ref())
        .max_by_key(|configuration| configuration.ballot)?;
    let known = reports.iter().map(|(_, replica)| replica.ballot).max();
    let ballot = known.unwrap_or_default().max(highest.ballot);
    let of = |node| reports.iter().find(|(holder, _)| *holder == node);
    let whole = |member: &&Member| {
        of(member.node).is_some_and(|(_, replica)| {
            replica.soundness == Soundness::Whole
                && replica.ready
                && !replica.learning
                && replica.signature == member.signature
        })
    };
    let mut members: Vec<Member> = highest.members().filter(whole).copied().collect();
    let found = !members.is_empty();
    if found {
        // The primary stays one; else whoever has the most leads.
        members.sort_by_key(|member| {
            let prepared = of(member.node).map(|(_, replica)| replica.prepared);
            (member.node != highest.primary.node, Reverse(prepared))
        });
    } else {
        members = highest.members().copied().collect();
    }
    let primary = members.remove(0);
    let configuration = Configuration {
        ballot: Ballot(ballot.0.saturating_add(LEAP)),
        epoch: highest.epoch,
        primary,
        secondaries: members,
    };
    Some((configuration, found))
}

/// Changes with anything that the operator was told.
fn word(told: &Rebuild, configurations: &BTreeMap<PartitionId, Configuration>) -> String {
    let mut hasher = DefaultHasher::new();
    for (node, replicas) in &told.answered {
        (node, replicas).hash(&mut hasher);
    }
    for address in &told.unanswered {
        address.node.hash(&mut hasher);
    }
    for table in &told.tables {
        (table.id, table.version, table.dropped_at.is_some()).hash(&mut hasher);
    }
    for (id, configuration) in configurations {
        (id, configuration.ballot).hash(&mut hasher);
        for member in configuration.members() {
            member.node.hash(&mut hasher);
        }
    }
    told.empty.hash(&mut hasher);
    told.dropped.hash(&mut hasher);
    format!("rebuild-{:08x}", hasher.finish() as u32)
}
