//! A node as the simulator has it: clocks, a disk, an engine that is a hash, and the real `Leases` and `Replica`.

use crate::chance::Chance;
use crate::disk::Disk;
use crate::reading::State;
use crate::shell::Happening;
use crate::swarm::Swarm;
use crate::world::MS;
use replication::planted::{Bug, planted};
use replication::{Event, Identity, LeaseSettings, Leases, MetaStream, Recovered, Replica};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use types::{
    Ballot, BootId, Decree, Durability, Incarnation, Instant, LearnSignature, Mutation, NodeId,
    PartitionId,
};

pub(crate) const PARTITION: PartitionId = PartitionId::new(1, 0);

/// How long a disk may hang before its node vouches for nothing any more (R6).
pub(crate) const STALL_TIMEOUT: u64 = 3_000 * MS;

/// What `CLOCK_BOOTTIME` shows when nothing else is said: far enough from zero to step back.
const LONG_AGO: u64 = 1_000_000 * MS;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) incarnation: Incarnation,
    /// Under which ballot this life of it last deleted its copy.
    pub(crate) deleted: Ballot,
    boot: BootId,
    /// Local time = origin + true time * rate / 1000.
    rate: u64,
    origin: u64,
    /// By how much the wall clock is fast.
    skew: u64,
    pub(crate) disk: Disk,
    pub(crate) leases: Leases,
    pub(crate) replica: Option<Replica>,
    pub(crate) state: State,
    pub(crate) staged: BTreeMap<Decree, Mutation>,
    /// What waits while the node is paused.
    pub(crate) waiting: VecDeque<Happening>,
    /// When its next tick is planned, in true time.
    pub(crate) tick_at: Option<u64>,
    pub(crate) incoming: Option<(LearnSignature, State)>,
    pub(crate) durability: Durability,
    settings: Arc<replication::Settings>,
    pub(crate) meta: MetaStream,
    /// Whether its lease would have let a read out when the last one was asked: what a planted bug relies on.
    pub(crate) checked: bool,
    /// The highest ballot under which anything left this node since its disk was empty.
    pub(crate) promised: Ballot,
}

impl Node {
    pub(crate) fn new(id: u64, swarm: &Swarm, chance: &mut Chance) -> Self {
        let rate = if swarm.drift {
            chance.pick(&[952, 1000, 1048])
        } else {
            chance.within(995..1006)
        };
        let incarnation = Incarnation(1);
        let mut node = Self {
            id: NodeId(id),
            up: true,
            paused: false,
            incarnation,
            deleted: Ballot::ZERO,
            boot: BootId(u128::from(id) << 32 | 1),
            rate,
            origin: LONG_AGO + chance.within(0..10_000 * MS),
            skew: chance.within(0..2000) * MS,
            disk: Disk::new(swarm),
            leases: Leases::new(lease_settings(), incarnation, Instant(0), Duration::ZERO),
            replica: None,
            state: State::default(),
            staged: BTreeMap::new(),
            waiting: VecDeque::new(),
            tick_at: None,
            incoming: None,
            durability: swarm.durability,
            settings: Arc::new(swarm.settings.clone()),
            meta: MetaStream::Down,
            checked: false,
            promised: Ballot::ZERO,
        };
        let now = node.local(0);
        node.leases = Leases::new(lease_settings(), incarnation, now, Duration::ZERO);
        node
    }

    /// What its `CLOCK_BOOTTIME` shows.
    pub(crate) fn local(&self, true_time: u64) -> Instant {
        Instant(self.origin.wrapping_add(true_time * self.rate / 1000))
    }

    /// When its clock will show `local`.
    pub(crate) fn true_time(&self, local: Instant) -> u64 {
        let passed = u128::from(local.0.wrapping_sub(self.origin));
        (passed * 1000).div_ceil(u128::from(self.rate)) as u64
    }

    /// What its wall clock shows, in milliseconds.
    pub(crate) fn wall(&self, true_time: u64) -> u64 {
        (true_time + self.skew) / MS
    }

    /// Somebody sets its wall clock.
    pub(crate) fn step_wall(&mut self, chance: &mut Chance) {
        let skew = chance.within(0..4000) * MS;
        if planted(Bug::ClockSteps) {
            self.origin = self.origin.wrapping_add(skew).wrapping_sub(self.skew);
        }
        self.skew = skew;
    }

    fn identity(&self) -> Identity {
        Identity {
            me: self.id,
            incarnation: self.incarnation,
            boot: self.boot,
            partition: PARTITION,
            durability: self.durability,
            deleted: self.deleted,
        }
    }

    pub(crate) fn blank_replica(&self) -> Replica {
        Replica::new(self.identity(), self.settings.clone())
    }

    pub(crate) fn runs(&self) -> bool {
        self.up && !self.paused
    }

    /// Its copy is whole and a member's, or would be if it ran.
    pub(crate) fn is_whole(&self) -> bool {
        !self.disk.damaged
            && (self.durability == Durability::Sync || self.disk.safe.boot == self.boot)
            && self.disk.safe.whole().is_some()
    }

    /// In `buffered`: its machine stopped with prepares unsynced (C6).
    pub(crate) fn lost_unsynced(&self) -> bool {
        self.durability == Durability::Buffered
            && self.disk.safe.boot != BootId::default()
            && self.disk.safe.boot != self.boot
    }

    /// The process is gone; what only it had in memory too.
    pub(crate) fn kill(&mut self, power: Power, true_time: u64, chance: &mut Chance) {
        self.up = false;
        self.paused = false;
        self.replica = None;
        self.staged.clear();
        self.waiting.clear();
        self.tick_at = None;
        self.incoming = None;
        self.state = State::default();
        let hangs = self.disk.hangs_until > true_time;
        self.disk.end(power, hangs, chance);
        if power == Power::Lost {
            self.boot.0 += 1;
            // The clock starts anew with the machine.
            self.origin = LONG_AGO
                .wrapping_sub(true_time * self.rate / 1000)
                .wrapping_add(chance.within(0..1_000 * MS));
        }
    }

    /// The process starts on what is on disk. Nothing if there is no replica.
    pub(crate) fn start(
        &mut self,
        true_time: u64,
        chance: &mut Chance,
        actions: &mut Vec<replication::Action>,
    ) {
        self.up = true;
        self.incarnation.0 += 1;
        self.deleted = Ballot::ZERO;
        let (found, records) = self.disk.start(chance);
        let now = self.local(true_time);
        let settings = lease_settings();
        let grace = settings.grace;
        self.leases = Leases::new(settings, self.incarnation, now, grace);
        self.state = self.disk.rocksdb;
        if records.is_empty() && !found.quarantined.contains(&PARTITION) {
            return self.disown();
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
        let replica = Replica::recover(self.identity(), self.settings.clone(), recovered, actions);
        if replica.is_blank() {
            self.disown();
        } else {
            self.replica = Some(replica);
        }
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

    pub(crate) fn step(&mut self, true_time: u64, event: Event) -> Vec<replication::Action> {
        let mut actions = Vec::new();
        let now = self.local(true_time);
        if let Some(replica) = &mut self.replica {
            replica.step(now, &self.leases, event, &mut actions);
        }
        actions
    }

    /// R6: whether its beacon thread vouches.
    pub(crate) fn vouches(&self, true_time: u64) -> bool {
        let disk = &self.disk;
        let hangs = disk.hangs_until > true_time && true_time >= disk.hangs_since + STALL_TIMEOUT;
        !hangs || planted(Bug::HangsAndVouches)
    }

    /// RocksDB flushes.
    pub(crate) fn flush(&mut self) {
        let learning = self.incoming.is_some();
        if self.up && self.replica.is_some() && !learning {
            self.disk.flush_rocksdb(self.state);
        }
    }
}

fn lease_settings() -> LeaseSettings {
    let mut settings = LeaseSettings::default();
    if planted(Bug::LeaseOutlivesGrace) {
        settings.lease = settings.grace + settings.beacon;
    }
    settings
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
