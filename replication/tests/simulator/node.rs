//! A node as the simulator has it: clocks, the real `Leases`, and a site for each partition.

use crate::chance::Chance;
use crate::partition;
use crate::shell::Happening;
use crate::site::Site;
use crate::swarm::Swarm;
use crate::world::MS;
use replication::planted::{Bug, planted};
use replication::{Action, Event, LeaseSettings, Leases, MetaStream, Replica};
use std::collections::VecDeque;
use std::time::Duration;
use types::{BootId, Incarnation, Instant, NodeId};

/// How long a disk may hang before its node vouches for nothing any more (R6).
pub(crate) const STALL_TIMEOUT: u64 = 3_000 * MS;

/// What `CLOCK_BOOTTIME` shows when nothing else is said: far enough from zero to step back.
const LONG_AGO: u64 = 1_000_000 * MS;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) incarnation: Incarnation,
    boot: BootId,
    /// Local time = origin + true time * rate / 1000.
    rate: u64,
    origin: u64,
    /// By how much the wall clock is fast.
    skew: u64,
    lease_settings: LeaseSettings,
    pub(crate) leases: Leases,
    /// In the order of the world's partitions.
    pub(crate) sites: Vec<Site>,
    /// What waits while the node is paused.
    pub(crate) waiting: VecDeque<Happening>,
    pub(crate) meta: MetaStream,
    /// Nothing is written before this true time.
    pub(crate) hangs_until: u64,
    pub(crate) hangs_since: u64,
}

/// A node in one of its lives, as its replicas are told.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
}

impl Node {
    pub(crate) fn new(id: u64, swarm: &Swarm, chance: &mut Chance) -> Self {
        let rate = if swarm.drift {
            chance.pick(&[952, 1000, 1048])
        } else {
            chance.within(995..1006)
        };
        let incarnation = Incarnation(1);
        let tables = swarm.tables.iter().enumerate();
        let sites = tables.map(|(number, table)| Site::new(partition::id(number), *table, swarm));
        let lease_settings = lease_settings(swarm);
        let mut node = Self {
            id: NodeId(id),
            up: true,
            paused: false,
            incarnation,
            boot: BootId(u128::from(id) << 32 | 1),
            rate,
            origin: LONG_AGO + chance.within(0..10_000 * MS),
            skew: chance.within(0..2000) * MS,
            leases: Leases::new(
                lease_settings.clone(),
                incarnation,
                Instant(0),
                Duration::ZERO,
            ),
            lease_settings,
            sites: sites.collect(),
            waiting: VecDeque::new(),
            meta: MetaStream::Down,
            hangs_until: 0,
            hangs_since: 0,
        };
        node.forget_leases(node.local(0), Duration::ZERO);
        node
    }

    fn forget_leases(&mut self, now: Instant, longest_grace: Duration) {
        let settings = self.lease_settings.clone();
        self.leases = Leases::new(settings, self.incarnation, now, longest_grace);
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

    fn life(&self) -> Life {
        Life {
            node: self.id,
            incarnation: self.incarnation,
            boot: self.boot,
        }
    }

    pub(crate) fn blank_replica(&self, partition: usize) -> Replica {
        self.sites[partition].blank_replica(self.life())
    }

    pub(crate) fn runs(&self) -> bool {
        self.up && !self.paused
    }

    /// Its copy is whole and a member's, or would be if it ran.
    pub(crate) fn is_whole(&self, partition: usize) -> bool {
        self.sites[partition].is_whole(self.boot)
    }

    /// In `buffered`: its machine stopped with prepares unsynced (C6).
    pub(crate) fn lost_unsynced(&self, partition: usize) -> bool {
        self.sites[partition].lost_unsynced(self.boot)
    }

    /// Whether its replica may answer a read.
    pub(crate) fn may_serve_read(&self, partition: usize, true_time: u64) -> bool {
        self.sites[partition].may_serve_read(self.local(true_time), &self.leases)
    }

    /// The process is gone; what only it had in memory too.
    pub(crate) fn kill(&mut self, power: Power, true_time: u64, chance: &mut Chance) {
        self.up = false;
        self.paused = false;
        self.waiting.clear();
        let hangs = self.hangs_until > true_time;
        for site in &mut self.sites {
            site.end(power, hangs, chance);
        }
        if power == Power::Lost {
            self.boot.0 += 1;
            // The clock starts anew with the machine.
            self.origin = LONG_AGO
                .wrapping_sub(true_time * self.rate / 1000)
                .wrapping_add(chance.within(0..1_000 * MS));
        }
    }

    /// The process starts on what is on disk. With what the replica of each partition wants done, if there is one.
    pub(crate) fn start(&mut self, true_time: u64, chance: &mut Chance) -> Vec<Vec<Action>> {
        self.up = true;
        self.incarnation.0 += 1;
        self.forget_leases(self.local(true_time), self.lease_settings.grace);
        let life = self.life();
        let sites = self.sites.iter_mut();
        sites.map(|site| site.start(life, chance)).collect()
    }

    pub(crate) fn step(&mut self, partition: usize, true_time: u64, event: Event) -> Vec<Action> {
        let now = self.local(true_time);
        self.sites[partition].step(now, &self.leases, event)
    }

    /// R6: whether its beacon thread vouches.
    pub(crate) fn vouches(&self, true_time: u64) -> bool {
        let hangs = self.hangs_until > true_time && true_time >= self.hangs_since + STALL_TIMEOUT;
        !hangs || planted(Bug::HangsAndVouches)
    }
}

fn lease_settings(swarm: &Swarm) -> LeaseSettings {
    let mut settings = LeaseSettings {
        exceptions: swarm.exceptions,
        ..LeaseSettings::default()
    };
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
