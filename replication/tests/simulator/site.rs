//! A site: what one node has of one partition. A disk, an engine that is a hash, and the real `Replica`. What all partitions of a node
//! share is `node`'s.

use crate::chance::Chance;
use crate::disk::Disk;
use crate::node::{Life, Power};
use crate::reading::State;
use crate::swarm::{Swarm, Table};
use replication::{Action, Event, Identity, Leases, Recovered, Replica, RoleKind, Settings};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use types::{Ballot, BootId, Decree, Durability, Instant, LearnSignature, Mutation, PartitionId};

/// Where in the world a site is: which node, which partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) node: usize,
    pub(crate) partition: usize,
}

impl At {
    /// The same partition on another node.
    pub(crate) fn on(self, node: usize) -> Self {
        Self { node, ..self }
    }
}

impl fmt::Display for At {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.node, self.partition)
    }
}

pub(crate) struct Site {
    id: PartitionId,
    settings: Arc<Settings>,
    pub(crate) disk: Disk,
    pub(crate) replica: Option<Replica>,
    pub(crate) state: State,
    pub(crate) staged: BTreeMap<Decree, Mutation>,
    pub(crate) incoming: Option<(LearnSignature, State)>,
    /// Under which ballot this life of the node last deleted its copy.
    pub(crate) deleted: Ballot,
    /// When its next tick is planned, in true time.
    pub(crate) tick_at: Option<u64>,
    /// Whether its lease would have let a read out when the last one was asked: what a planted bug relies on.
    pub(crate) checked: bool,
    /// The highest ballot under which anything left this site since its disk was empty.
    pub(crate) promised: Ballot,
}

impl Site {
    pub(crate) fn new(id: PartitionId, table: Table, swarm: &Swarm) -> Self {
        Self {
            id,
            settings: Arc::new(swarm.settings.clone()),
            disk: Disk::new(id, table, swarm),
            replica: None,
            state: State::default(),
            staged: BTreeMap::new(),
            incoming: None,
            deleted: Ballot::ZERO,
            tick_at: None,
            checked: false,
            promised: Ballot::ZERO,
        }
    }

    fn identity(&self, life: Life) -> Identity {
        Identity {
            me: life.node,
            incarnation: life.incarnation,
            boot: life.boot,
            partition: self.id,
            durability: self.disk.durability(),
            deleted: self.deleted,
        }
    }

    pub(crate) fn blank_replica(&self, life: Life) -> Replica {
        Replica::new(self.identity(life), self.settings.clone())
    }

    /// Its copy is whole and a member's, or would be if the node ran.
    pub(crate) fn is_whole(&self, boot: BootId) -> bool {
        let certain = !self.disk.damaged && !self.disk.may_be_in_either();
        certain && !self.lost_unsynced(boot) && self.disk.safe.whole().is_some()
    }

    /// In `buffered`: its machine stopped with prepares unsynced (C6).
    pub(crate) fn lost_unsynced(&self, boot: BootId) -> bool {
        self.disk.durability() == Durability::Buffered
            && self.disk.safe.boot != BootId::default()
            && self.disk.safe.boot != boot
    }

    /// The node's process is gone, and what only it had in memory.
    pub(crate) fn end(&mut self, power: Power, hangs: bool, chance: &mut Chance) {
        self.replica = None;
        self.staged.clear();
        self.tick_at = None;
        self.incoming = None;
        self.state = State::default();
        self.disk.end(power, hangs, chance);
    }

    /// The node's process starts on what is on disk. Nothing if there is no replica.
    pub(crate) fn start(&mut self, life: Life, chance: &mut Chance) -> Vec<Action> {
        self.deleted = Ballot::ZERO;
        let (found, records) = self.disk.start(chance);
        self.state = self.disk.rocksdb;
        let mut actions = Vec::new();
        if records.is_empty() && !found.quarantined.contains(&self.id) {
            self.disown();
            return actions;
        }
        let mut recovered = Recovered::new();
        recovered.applied(self.disk.rocksdb.applied);
        for record in records {
            recovered.record(record);
        }
        if self.disk.damaged {
            // It answers for nothing any more, and its ballots may be gone too.
            self.promised = Ballot::ZERO;
            recovered.quarantine();
        }
        let (identity, settings) = (self.identity(life), self.settings.clone());
        let replica = Replica::recover(identity, settings, recovered, &mut actions);
        if replica.is_blank() {
            self.disown();
        } else {
            self.replica = Some(replica);
        }
        actions
    }

    /// The copy was deleted.
    pub(crate) fn wipe(&mut self) {
        self.disk.wipe();
        self.disown();
    }

    /// There is no copy here.
    fn disown(&mut self) {
        self.promised = Ballot::ZERO;
        self.replica = None;
        self.staged.clear();
        self.state = State::default();
        self.disk.disown();
    }

    pub(crate) fn step(&mut self, now: Instant, leases: &Leases, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(replica) = &mut self.replica {
            replica.step(now, leases, event, &mut actions);
        }
        actions
    }

    /// Whether a replica here may answer a read at that local time.
    pub(crate) fn may_serve_read(&self, now: Instant, leases: &Leases) -> bool {
        // Asked at every step of the world: the refusal of one that does not lead would be a copy of its configuration.
        let leads = |role| matches!(role, RoleKind::Serving | RoleKind::Reconciling);
        let replica = self.replica.as_ref();
        let replica = replica.filter(|replica| leads(replica.role()));
        replica.is_some_and(|replica| replica.may_serve_read(now, leases).is_ok())
    }

    /// RocksDB flushes.
    pub(crate) fn flush(&mut self) {
        let learning = self.incoming.is_some();
        if self.replica.is_some() && !learning {
            self.disk.flush_rocksdb(self.state);
        }
    }
}
