//! A node as the simulator has it: a clock, a disk that forgets what is not synced, an engine that is a hash, and the real
//! `Leases` and `Replica`.

use crate::rng::Rng;
use replication::{Event, Identity, LeaseSettings, Leases, Recovered, Replica, Settings};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use types::{
    BootId, Decree, Durability, Incarnation, Instant, LearnSignature, Mutation, NodeId,
    PartitionId, RecordBody,
};

pub(crate) const PARTITION: PartitionId = PartitionId::new(1, 0);

/// What a partition's data is, here: up to where it is applied, and a hash chained over everything applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub(crate) applied: Decree,
    pub(crate) hash: u64,
}

impl State {
    pub(crate) fn after(self, mutation: &Mutation) -> Self {
        let mut hash = self.hash ^ mutation.timestamp.0.rotate_left(17) ^ mutation.decree.0;
        for &byte in &mutation.effects {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Self {
            applied: mutation.decree,
            hash: hash.rotate_left(9),
        }
    }
}

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) log: Vec<RecordBody>,
    /// How many records of the log survive a loss of power.
    pub(crate) synced: usize,
    /// How many records were dropped before those.
    dropped: usize,
    pub(crate) rocksdb: State,
    /// The log has every decree from here on.
    pub(crate) oldest: Decree,
}

impl Disk {
    /// Where the log ends, in records since it began.
    pub(crate) fn end(&self) -> usize {
        self.dropped + self.log.len()
    }

    /// The log is synced up to that end.
    pub(crate) fn sync(&mut self, end: usize) {
        self.synced = self
            .synced
            .max(end.saturating_sub(self.dropped))
            .min(self.log.len());
    }

    /// Drops records that nothing needs any more.
    pub(crate) fn drop_records(&mut self, obsolete: impl Fn(&RecordBody) -> bool) {
        let before = self.log.len();
        self.log.retain(|record| !obsolete(record));
        let dropped = before - self.log.len();
        self.dropped += dropped;
        self.synced = self.synced.saturating_sub(dropped);
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
    /// Local time = origin + true time * rate / 1000.
    rate: u64,
    origin: u64,
    pub(crate) disk: Disk,
    pub(crate) leases: Leases,
    pub(crate) replica: Option<Replica>,
    pub(crate) state: State,
    pub(crate) staged: BTreeMap<Decree, Mutation>,
    /// What waits while the node is paused.
    pub(crate) waiting: VecDeque<crate::world::Happening>,
    /// When its next tick is planned, in true time.
    pub(crate) tick_at: Option<u64>,
    pub(crate) incoming: Option<(LearnSignature, State)>,
    pub(crate) durability: Durability,
    settings: Arc<Settings>,
    /// The highest ballot that was ever synced here.
    pub(crate) highest_ballot: types::Ballot,
}

impl Node {
    pub(crate) fn new(id: u64, durability: Durability, settings: &Settings, rng: &mut Rng) -> Self {
        let mut node = Self {
            id: NodeId(id),
            up: true,
            paused: false,
            incarnation: Incarnation(1),
            boot: BootId(u128::from(id) << 32 | 1),
            rate: rng.within(955..1046),
            origin: rng.within(0..10_000_000_000),
            disk: Disk {
                oldest: Decree(1),
                ..Disk::default()
            },
            leases: Leases::new(
                LeaseSettings::default(),
                Incarnation(1),
                Instant(0),
                Duration::ZERO,
            ),
            replica: None,
            state: State::default(),
            staged: BTreeMap::new(),
            waiting: VecDeque::new(),
            tick_at: None,
            incoming: None,
            durability,
            settings: Arc::new(settings.clone()),
            highest_ballot: types::Ballot::ZERO,
        };
        let now = node.local(0);
        node.leases = Leases::new(
            LeaseSettings::default(),
            node.incarnation,
            now,
            Duration::ZERO,
        );
        node
    }

    /// What its `CLOCK_BOOTTIME` shows.
    pub(crate) fn local(&self, true_time: u64) -> Instant {
        Instant(self.origin.wrapping_add(true_time * self.rate / 1000))
    }

    /// When its clock will show `local`.
    pub(crate) fn true_time(&self, local: Instant) -> u64 {
        (u128::from(local.0.wrapping_sub(self.origin)) * 1000).div_ceil(u128::from(self.rate))
            as u64
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            me: self.id,
            incarnation: self.incarnation,
            boot: self.boot,
            partition: PARTITION,
            durability: self.durability,
        }
    }

    pub(crate) fn blank_replica(&self) -> Replica {
        Replica::new(self.identity(), self.settings.clone())
    }

    /// The process is gone; what only it had in memory too.
    pub(crate) fn kill(&mut self, power: Power, true_time: u64, rng: &mut Rng) {
        self.up = false;
        self.paused = false;
        self.replica = None;
        self.staged.clear();
        self.waiting.clear();
        self.tick_at = None;
        self.incoming = None;
        self.state = State::default();
        // A log that syncs has its queue in memory; what is not synced may or may not have got to the disk.
        if power == Power::Lost || self.durability == Durability::Sync {
            let torn = self.disk.log.len() - self.disk.synced;
            let survivors = self.disk.synced + rng.index(torn + 1);
            self.disk.log.truncate(survivors);
        }
        self.disk.synced = self.disk.synced.min(self.disk.log.len());
        if power == Power::Lost {
            self.disk.synced = self.disk.log.len();
            self.boot.0 += 1;
            // The clock starts anew with the machine.
            self.origin = 0u64
                .wrapping_sub(true_time * self.rate / 1000)
                .wrapping_add(rng.within(0..1_000_000_000));
        }
    }

    /// The process starts on what is on disk. Nothing if there is no replica.
    pub(crate) fn start(&mut self, true_time: u64, actions: &mut Vec<replication::Action>) {
        self.up = true;
        self.incarnation.0 += 1;
        // What a start finds in the log it may acknowledge: the log is synced before anything else happens.
        self.disk.synced = self.disk.log.len();
        let now = self.local(true_time);
        let settings = LeaseSettings::default();
        let grace = settings.grace;
        self.leases = Leases::new(settings, self.incarnation, now, grace);
        self.state = self.disk.rocksdb;
        if self.disk.log.is_empty() {
            return;
        }
        let mut recovered = Recovered::new();
        recovered.applied(self.disk.rocksdb.applied);
        for record in &self.disk.log {
            recovered.record(record.clone());
        }
        let replica = Replica::recover(self.identity(), self.settings.clone(), recovered, actions);
        if replica.is_blank() {
            self.wipe();
        } else {
            self.replica = Some(replica);
        }
    }

    /// Nothing of the partition is left here.
    pub(crate) fn wipe(&mut self) {
        self.highest_ballot = types::Ballot::ZERO;
        self.replica = None;
        self.staged.clear();
        self.state = State::default();
        self.disk = Disk {
            oldest: Decree(1),
            ..Disk::default()
        };
    }

    pub(crate) fn step(&mut self, true_time: u64, event: Event) -> Vec<replication::Action> {
        let mut actions = Vec::new();
        let now = self.local(true_time);
        if let Some(replica) = &mut self.replica {
            replica.step(now, &self.leases, event, &mut actions);
        }
        actions
    }

    /// The mutations that the log holds, the latest record of each decree, by an independent reading of the rules.
    pub(crate) fn logged(&self, records: usize) -> BTreeMap<Decree, &Mutation> {
        let mut mutations = BTreeMap::new();
        for record in &self.disk.log[..records] {
            match record {
                RecordBody::Mutation(mutation) => {
                    mutations.insert(mutation.decree, mutation);
                }
                RecordBody::Truncate { ballot, decree } => {
                    mutations.retain(|&at, mutation: &mut &Mutation| {
                        at <= *decree || mutation.ballot >= *ballot
                    });
                }
                RecordBody::Reset { base, .. } => mutations.retain(|at, _| at <= base),
                _ => {}
            }
        }
        mutations
    }

    /// RocksDB flushes, and the log may let go of what it no longer needs.
    pub(crate) fn flush(&mut self, recycle: bool) {
        let learning = self.incoming.is_some();
        if !self.up || self.replica.is_none() || learning || self.disk.synced < self.disk.log.len()
        {
            return;
        }
        if self.state.applied > self.disk.rocksdb.applied {
            self.disk.rocksdb = self.state;
        }
        if recycle {
            let durable = self.disk.rocksdb.applied;
            self.disk.drop_records(|record| {
                record
                    .mutation()
                    .is_some_and(|mutation| mutation.decree <= durable)
            });
            self.disk.oldest = self.disk.oldest.max(durable.next());
        }
    }
}

/// Where in the world's list the node of that id is.
pub(crate) fn index(id: NodeId) -> usize {
    id.0 as usize - 1
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    /// Killed: what the operating system has, stays.
    Kept,
    /// With its machine.
    Lost,
}
