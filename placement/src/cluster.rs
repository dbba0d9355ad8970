//! The state and the one entrance. What each event does stands in the file of its subject; nothing is decided here.

use crate::balance::{Moving, Nudge};
use crate::birth::Birth;
use crate::duty::Waiting;
use crate::guardian::Learn;
use crate::nodes::Node;
use crate::outbox::Outbox;
use crate::unfinished::Rebuilding;
use crate::{
    Action, Balancing, Event, Refusal, Request, Settings, Shift, Soundness, Table, ToNode, Token,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{
    Ballot, Configuration, Decree, Instant, LearnSignature, NodeId, PartitionId, TableId, Timestamp,
};

/// How often silence, repeated requests and delays are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The cluster as the meta leader knows it.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) epoch: u64,
    /// Numbers below were given out.
    pub(crate) next_table: TableId,
    pub(crate) tables: BTreeMap<TableId, TableState>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// What the stored configurations give each node to hold.
    pub(crate) shares: BTreeMap<NodeId, Share>,
    pub(crate) outbox: Outbox,
    /// Partitions of tables in service that await their first configuration.
    pub(crate) unborn: BTreeSet<PartitionId>,
    /// Partitions with fewer members than wanted, and from when on a node without a copy may get one.
    pub(crate) short: BTreeMap<PartitionId, Instant>,
    /// Where the next look through `short` begins.
    pub(crate) short_cursor: PartitionId,
    /// Learns asked for.
    pub(crate) learns: BTreeMap<PartitionId, Learn>,
    /// Partitions with more members than wanted.
    pub(crate) surplus: BTreeSet<PartitionId>,
    /// Where the next look through `surplus` begins.
    pub(crate) surplus_cursor: PartitionId,
    /// How many of them may still be asked to get rid of one before the next tick.
    pub(crate) sheds_left: usize,
    /// What their primaries were asked for last.
    pub(crate) nudges: BTreeMap<PartitionId, Nudge>,
    /// Replicas and leads on their way elsewhere.
    pub(crate) moves: BTreeMap<PartitionId, Moving>,
    /// Where moves were given up, and until when none is planned there again.
    pub(crate) barred: BTreeMap<(PartitionId, NodeId), Instant>,
    /// Whether the balancer starts any by itself.
    pub(crate) balancing: Balancing,
    /// When a node or a member last came or went.
    pub(crate) unrest: Instant,
    /// Until then planning again would find nothing.
    pub(crate) plan_after: Instant,
    /// What of a rebuild is still to be stored.
    pub(crate) rebuilding: Rebuilding,
    /// Operators who wait for a document.
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) started: Instant,
    pub(crate) last_tick: Instant,
}

/// A table: what it should be, and its partitions.
#[derive(Debug)]
pub(crate) struct TableState {
    /// As stored; of a table not yet created, as it will be.
    pub(crate) properties: Table,
    /// Whether the table's document is stored. Until then nobody sees the table.
    pub(crate) created: bool,
    /// A change that waits for the store. A second one is refused meanwhile.
    pub(crate) change: Option<Change>,
    /// Who waits for all first configurations.
    pub(crate) creator: Option<Token>,
    /// How many first configurations are missing.
    pub(crate) unborn: u32,
    pub(crate) partitions: Vec<Partition>,
}

/// What a table becomes when the store has it.
#[derive(Debug)]
pub(crate) enum Change {
    /// Dropped or recalled.
    Properties(Table, Token),
    /// Its retention has ended.
    Removal,
}

/// One partition: truth, what is on its way to be truth, and what nodes report.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) stored: Option<Configuration>,
    pub(crate) pending: Option<Pending>,
    /// Nodes that proposed while something was pending: they are told what was stored.
    pub(crate) waiting: Vec<NodeId>,
    /// Nodes with streams that have a replica of it.
    pub(crate) holders: Vec<Holder>,
    pub(crate) birth: Option<Birth>,
}

/// A configuration that is not stored yet. There is one at most: the first proposal of a ballot wins.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) configuration: Configuration,
    /// Whether the batch in flight carries it.
    pub(crate) sent: bool,
}

/// A replica as its node reported it last.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) node: NodeId,
    pub(crate) ballot: Ballot,
    pub(crate) epoch: u64,
    pub(crate) prepared: Decree,
    pub(crate) last_ballot: Ballot,
    pub(crate) committed: Decree,
    pub(crate) soundness: Soundness,
    pub(crate) learning: bool,
    pub(crate) ready: bool,
    pub(crate) diverged: bool,
    pub(crate) signature: LearnSignature,
    pub(crate) bytes: u64,
}

/// What a node has by the stored configurations.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) partitions: BTreeSet<PartitionId>,
    pub(crate) primaries: usize,
}

impl Cluster {
    /// Takes in one event at `now` and appends to `actions` what must be done, in order.
    pub fn step(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::NodeJoined {
                address,
                incarnation,
            } => self.join(now, address, incarnation, actions),
            Event::NodeLost { node } => self.lose(now, node, actions),
            Event::Reported {
                node,
                replicas,
                complete,
            } => self.report(now, node, replicas, complete, actions),
            Event::Knows {
                node,
                tables,
                nodes,
            } => self.knows(node, tables, nodes),
            Event::Beat { node, disk_bytes } => self.beat(now, node, disk_bytes),
            Event::Proposed { node, proposals } => self.propose(now, node, proposals, actions),
            Event::Opened { node, partition } => self.opened(now, node, partition, actions),
            Event::Deleted { node, partition } => self.deleted(now, node, partition, actions),
            Event::Stored { batch } => self.stored(now, batch, actions),
            Event::Asked { token, request } => match request {
                Request::CreateTable(specification) => {
                    self.create_table(token, specification, actions);
                }
                Request::DropTable { name, wall } => self.drop_table(token, &name, wall, actions),
                Request::RecallTable { name } => self.recall_table(token, &name, actions),
                Request::AlterTable { name, changes } => {
                    self.alter_table(token, &name, &changes, actions);
                }
                Request::SetBalancing(balancing) => self.set_balancing(token, balancing),
                Request::SetDuty { node, duty } => self.set_duty(now, token, node, duty, actions),
                Request::ForgetNode(node) => self.forget_node(token, node, actions),
                Request::Move {
                    table,
                    index,
                    from,
                    to,
                } => {
                    let shift = |_: &Configuration| Shift::Replica { from, to };
                    self.move_asked(now, token, (&table, index), shift, actions);
                }
                Request::Lead { table, index, to } => {
                    let shift = |stored: &Configuration| Shift::Lead {
                        from: stored.primary.node,
                        to,
                    };
                    self.move_asked(now, token, (&table, index), shift, actions);
                }
                Request::Rescue {
                    table,
                    index,
                    choice,
                } => self.rescue_asked(now, token, (&table, index), choice, actions),
                Request::Rebuild {
                    missing,
                    wall,
                    word,
                } => self.rebuild_asked(token, &missing, wall, word.as_deref(), actions),
                Request::RenameTable { name, to } => self.rename_table(token, &name, &to, actions),
            },
            Event::Tick { wall } => self.tick(now, wall, actions),
        }
        self.flush(actions);
    }

    /// When [`Event::Tick`] is wanted next; `None` while nothing can need it.
    pub fn deadline(&self) -> Option<Instant> {
        let busy = self.nodes.values().any(|node| node.session.is_some())
            || !self.unborn.is_empty()
            || self
                .tables
                .values()
                .any(|table| table.properties.dropped_at.is_some());
        busy.then(|| self.last_tick + TICK)
    }

    fn tick(&mut self, now: Instant, wall: Timestamp, actions: &mut Vec<Action>) {
        self.excuse(now, now.since(self.last_tick + TICK));
        self.last_tick = now;
        self.disconnect_silent(now, actions);
        self.expire_tables(wall);
        self.plan_births(now, actions);
        self.repeat_errands(now, actions);
        self.repair_some(now, actions);
        self.shed_some(now, actions);
        self.balance(now, actions);
    }

    /// Tables in service.
    pub(crate) fn live(&self) -> impl Iterator<Item = &TableState> {
        self.tables.values().filter(|table| table.is_live())
    }

    /// Tables that can be recalled.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = &TableState> {
        let dropped = |table: &&TableState| table.properties.dropped_at.is_some();
        self.tables.values().filter(dropped)
    }

    /// The partition that an operator names.
    pub(crate) fn find_partition(&self, table: &str, index: u32) -> Result<PartitionId, Refusal> {
        let known = self
            .table(table)
            .ok_or_else(|| Refusal::NoSuchTable(table.into()))?;
        if index >= known.partitions {
            return Err(Refusal::Invalid(format!(
                "table '{table}' has partitions 0 to {}",
                known.partitions - 1
            )));
        }
        Ok(PartitionId {
            table: known.id,
            index,
        })
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.tables
            .get(&id.table)?
            .partitions
            .get(id.index as usize)
    }

    pub(crate) fn partition_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.tables
            .get_mut(&id.table)?
            .partitions
            .get_mut(id.index as usize)
    }

    /// Sends to a node if it has a stream.
    pub(crate) fn tell(&self, node: NodeId, message: ToNode, actions: &mut Vec<Action>) {
        if self.is_alive(node) {
            actions.push(Action::ToNode { node, message });
        }
    }

    /// Sends to all nodes with streams.
    pub(crate) fn tell_all(&self, message: &ToNode, actions: &mut Vec<Action>) {
        actions.extend(self.alive().map(|node| Action::ToNode {
            node,
            message: message.clone(),
        }));
    }
}

impl Share {
    /// What of it is of one table.
    pub(crate) fn of(&self, table: TableId) -> impl Iterator<Item = PartitionId> + '_ {
        let first = PartitionId { table, index: 0 };
        let last = PartitionId {
            table,
            index: u32::MAX,
        };
        self.partitions.range(first..=last).copied()
    }
}

impl TableState {
    pub(crate) fn is_live(&self) -> bool {
        self.created && self.properties.dropped_at.is_none()
    }
}

impl Holder {
    /// Whether it is a copy at all, and not what is there of one because its learn never ended. Who was left out of the configuration has one
    /// all the same.
    pub(crate) fn is_copy(&self) -> bool {
        !self.learning && (self.ready || self.soundness == Soundness::Unsynced)
    }
}

impl Partition {
    pub(crate) fn holder(&self, node: NodeId) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.node == node)
    }

    /// What a copy of it takes on a disk.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = self.holders.iter().map(|holder| holder.bytes);
        bytes.max().unwrap_or(0)
    }

    /// Whether its members' copies differ and no majority says which is right. Until an operator chooses, no copy is made, moved or removed of it for
    /// order's sake: that would choose for him.
    pub(crate) fn is_diverged(&self) -> bool {
        let primary = self.stored.as_ref().map(|stored| stored.primary.node);
        primary
            .and_then(|primary| self.holder(primary))
            .is_some_and(|holder| holder.diverged)
    }
}

/// Counts a configuration's members in.
pub(crate) fn share(
    shares: &mut BTreeMap<NodeId, Share>,
    id: PartitionId,
    configuration: &Configuration,
) {
    for member in configuration.members() {
        shares.entry(member.node).or_default().partitions.insert(id);
    }
    shares
        .entry(configuration.primary.node)
        .or_default()
        .primaries += 1;
}

/// Counts a configuration's members out.
pub(crate) fn unshare(
    shares: &mut BTreeMap<NodeId, Share>,
    id: PartitionId,
    configuration: &Configuration,
) {
    for member in configuration.members() {
        if let Some(share) = shares.get_mut(&member.node) {
            share.partitions.remove(&id);
            share.primaries -= usize::from(member.node == configuration.primary.node);
        }
    }
}
