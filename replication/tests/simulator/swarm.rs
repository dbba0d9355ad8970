//! What one seed may go through: its own choice of faults, their strength and their rhythm.
//!
//! A seed that has everything a little has nothing enough: half of the faults are left out of each, the others are strong or
//! weak. When which fault strikes is drawn later, in `faults` and `scenes`.

use crate::chance::Chance;
use crate::network::{KINDS, Kind};
use crate::world::MS;
use replication::{LeaseSettings, Settings};
use types::{ByteSize, Durability};

pub(crate) const REPLICAS: usize = 3;

/// How a run begins, before anything else goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    Calm,
    /// The primary's disk hangs, and nothing else.
    HungDisk,
    /// All meta servers are gone, and nothing else.
    NoMeta,
    /// The primary and a secondary end at the same time, and do not come back.
    OneIsLeft,
    /// The first partition's primary hands over, again and again, and nothing else.
    HandOvers,
}

/// Who decides in the meta servers' place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deciding {
    Model,
    Placement,
}

/// What a replica is shown of its log at a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shown {
    /// What the log shows: live records alone.
    Live,
    /// Everything that the log still has, as it was appended. The log never does so, but a replica must not rely on that.
    Appended,
}

/// Single faults (`faults`) and structured ones (`scenes`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Kill,
    LosePower,
    Pause,
    CutOneWay,
    CutBothWays,
    Isolate,
    Weather,
    MetaDown,
    MetaDeaf,
    PauseLeader,
    Hint,
    HandOver,
    Damage,
    HangDisk,
    StepWall,
    PausePrimary,
    DeposePrimary,
    KillPrimary,
    KillOneByOne,
    HandOverAndLose,
    LoseMember,
    Blackout,
    Forget,
    Mute,
    ReturnToPower,
    ChangeDurability,
}

const FAULTS: [Fault; 26] = [
    Fault::Kill,
    Fault::LosePower,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::CutBothWays,
    Fault::Isolate,
    Fault::Weather,
    Fault::MetaDown,
    Fault::MetaDeaf,
    Fault::PauseLeader,
    Fault::Hint,
    Fault::HandOver,
    Fault::Damage,
    Fault::HangDisk,
    Fault::StepWall,
    Fault::PausePrimary,
    Fault::DeposePrimary,
    Fault::KillPrimary,
    Fault::KillOneByOne,
    Fault::HandOverAndLose,
    Fault::LoseMember,
    Fault::Blackout,
    Fault::Forget,
    Fault::Mute,
    Fault::ReturnToPower,
    Fault::ChangeDurability,
];

/// A table of one partition. A node has a log for each durability, and two tables never have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) durability: Durability,
    /// The log's segments, and what all of them should not exceed.
    pub(crate) segment: ByteSize,
    pub(crate) log_budget: ByteSize,
}

impl Table {
    /// The same table, had it been given the other durability.
    pub(crate) fn of_other_durability(self) -> Self {
        let (durability, segment) = match self.durability {
            Durability::Sync => (Durability::Buffered, ByteSize::kib(16)),
            Durability::Buffered => (Durability::Sync, ByteSize::kib(32)),
        };
        Self {
            durability,
            segment,
            log_budget: ByteSize(segment.0 * (self.log_budget.0 / self.segment.0)),
        }
    }

    /// Room for a few batches in a segment: a log that syncs fills whole blocks, and giving a segment up takes two.
    fn segment(durability: Durability, chance: &mut Chance) -> ByteSize {
        ByteSize::kib(match durability {
            Durability::Sync => 32,
            Durability::Buffered => chance.pick(&[4, 16]),
        })
    }

    fn new(durability: Durability, segment: ByteSize, chance: &mut Chance) -> Self {
        Self {
            durability,
            segment,
            log_budget: ByteSize(segment.0 * chance.within(4..10)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Swarm {
    /// The nodes have one partition of each.
    pub(crate) tables: Vec<Table>,
    pub(crate) nodes: u64,
    /// How many exceptions one beacon's reply carries.
    pub(crate) exceptions: usize,
    pub(crate) settings: Settings,
    pub(crate) opening: Opening,
    pub(crate) deciding: Deciding,
    /// How long faults go on.
    pub(crate) faults_for: u64,
    /// At most that long from one to the next.
    pub(crate) interval: u64,
    /// Each as often as it is likely.
    pub(crate) faults: Vec<Fault>,
    /// Percent lost, repeated, late; and how late.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) lateness: u64,
    pub(crate) late: u64,
    /// Kinds of messages that fare worse: percent lost, percent late.
    pub(crate) unlucky: Vec<(Kind, u64, u64)>,
    /// Percent of the meta leader's answers lost, and how long one takes at most.
    pub(crate) unanswered: u64,
    pub(crate) answer_within: u64,
    /// Percent of the metadata store's answers lost.
    pub(crate) store_unanswered: u64,
    /// A process dies once in so many appends, while they are on their way to the disk; an fsync is slow, or fails.
    pub(crate) deaths: u64,
    pub(crate) slow_syncs: u64,
    /// Whether a node whose disk hangs asks for no leases either.
    pub(crate) hangs_silently: bool,
    pub(crate) failed_syncs: u64,
    /// Percent of takeovers in which the new primary, or another node, is killed or paused.
    pub(crate) takeover_deaths: u64,
    /// Percent of changes of a role upon which old messages come once more.
    pub(crate) echoes: u64,
    /// Percent of learns in which the learner is killed.
    pub(crate) learner_deaths: u64,
    /// Percent of connections reset when a process dies; else the others find out by silence.
    pub(crate) resets: u64,
    /// Clocks run at different rates, up to the allowed drift.
    pub(crate) drift: bool,
    /// At most that long between client operations of one sort, and a read's evaluation.
    pub(crate) operations: u64,
    pub(crate) reads_held: u64,
    /// Percent of writes that were sent before.
    pub(crate) retries: u64,
    /// How soon the meta leader's guardian looks again, and how often (percent) it clears superfluous copies away.
    pub(crate) repairs: u64,
    pub(crate) deletions: u64,
    /// Percent of the real guardian's looks at which an operator wants something moved.
    pub(crate) orders: u64,
    /// Percent of looks at which RocksDB flushes, so that the log may let go of something.
    pub(crate) flushes: u64,
    /// How little of a log is copied forward rather than flushed.
    pub(crate) carry: ByteSize,
    pub(crate) shown: Shown,
}

impl Swarm {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut often = |values: &[u64]| {
            if chance.percent(50) {
                chance.pick(values)
            } else {
                0
            }
        };
        let (loss, duplication, lateness) = (
            often(&[1, 5, 20]),
            often(&[1, 5, 20, 50]),
            often(&[1, 5, 15]),
        );
        let (unanswered, deaths) = (often(&[10, 40, 80]), often(&[100, 300, 1000]));
        let (slow_syncs, failed_syncs) = (often(&[1, 5, 20]), often(&[200, 1000]));
        let (takeover_deaths, learner_deaths) = (often(&[10, 30, 60]), often(&[10, 30, 60]));
        let echoes = often(&[30, 100]);
        let reads_held = often(&[30, 300, 2000, 5000]) * MS;
        let mut faults = Vec::new();
        for fault in FAULTS {
            for _ in 0..often(&[1, 2, 4, 8]) {
                faults.push(fault);
            }
        }
        if faults.is_empty() {
            faults.push(Fault::Kill);
        }
        let unlucky = (0..chance.pick(&[0, 0, 1, 2, 4]))
            .map(|_| {
                let kind = chance.pick(&KINDS);
                let worse = [0, 0, 20, 60];
                (kind, chance.pick(&worse), chance.pick(&worse))
            })
            .collect();
        let opening = match chance.within(0..40) {
            0 => Opening::HungDisk,
            1 => Opening::NoMeta,
            2 => Opening::OneIsLeft,
            _ => Opening::Calm,
        };
        let durability = if chance.percent(55) {
            Durability::Sync
        } else {
            Durability::Buffered
        };
        let segment = Table::segment(durability, chance);
        let mut swarm = Self {
            exceptions: LeaseSettings::default().exceptions,
            nodes: REPLICAS as u64 + chance.within(0..3),
            settings: Settings {
                window: 1 + chance.index(3),
                min_replicas: chance.pick(&[1, 2, 2]),
                ..Settings::of_replicas(REPLICAS)
            },
            opening,
            deciding: chance.pick(&[Deciding::Model, Deciding::Placement]),
            faults_for: chance.within(3_000..9_000) * MS,
            interval: chance.pick(&[100, 300, 800, 2000]) * MS,
            faults,
            loss,
            duplication,
            lateness,
            late: chance.pick(&[20, 200, 800, 2500]) * MS,
            unlucky,
            unanswered,
            store_unanswered: chance.pick(&[0, 5, 20]),
            answer_within: chance.pick(&[20, 20, 100, 1500]) * MS,
            deaths,
            slow_syncs,
            hangs_silently: chance.percent(30),
            failed_syncs,
            takeover_deaths,
            echoes,
            learner_deaths,
            resets: chance.pick(&[0, 50, 80, 100]),
            drift: chance.percent(60),
            operations: chance.pick(&[10, 25, 25]) * MS,
            reads_held,
            retries: chance.pick(&[0, 5, 30]),
            repairs: chance.pick(&[20, 100, 400]) * MS,
            deletions: chance.pick(&[0, 5, 30, 80]),
            orders: chance.pick(&[0, 0, 2, 10]),
            flushes: chance.pick(&[10, 40, 100]),
            tables: vec![Table::new(durability, segment, chance)],
            carry: ByteSize::kib(chance.pick(&[1, 4])),
            shown: chance.pick(&[Shown::Live, Shown::Live, Shown::Appended]),
        };
        if chance.percent(25) {
            swarm.add_neighbour(chance);
        }
        swarm
    }

    /// A second partition on the same nodes, by the same leases.
    fn add_neighbour(&mut self, chance: &mut Chance) {
        let durability = match self.tables[0].durability {
            Durability::Sync => Durability::Buffered,
            Durability::Buffered => Durability::Sync,
        };
        let segment = Table::segment(durability, chance);
        self.tables.push(Table::new(durability, segment, chance));
        // One at a time: a grant waits for as many replies as there are exceptions to it.
        self.exceptions = chance.pick(&[1, self.exceptions]);
        if chance.percent(10) {
            self.opening = Opening::HandOvers;
        }
    }
}
