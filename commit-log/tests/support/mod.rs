//! What the tests share: records, a list of completed tickets, opening, and a small random sequence.
#![allow(dead_code, unreachable_pub)]

use bytes::Bytes;
use commit_log::{Completions, Disk, Driving, Log, LogOptions, OpenError, Recovery, SimulatedDisk};
use std::sync::{Arc, Mutex};
use types::{
    Ballot, ByteSize, Decree, Durability, Incarnation, LearnKind, LearnSignature, Mutation,
    PartitionId, Record, RecordBody, Timestamp,
};

pub const P: PartitionId = PartitionId::new(1, 0);
pub const Q: PartitionId = PartitionId::new(1, 1);

pub fn mutation(
    partition: PartitionId,
    ballot: u64,
    decree: u64,
    effects: impl Into<Bytes>,
) -> Record {
    let mutation = Mutation {
        ballot: Ballot(ballot),
        decree: Decree(decree),
        timestamp: Timestamp(decree),
        effects: effects.into(),
    };
    Record {
        partition,
        body: RecordBody::Mutation(mutation),
    }
}

pub fn record(partition: PartitionId, body: RecordBody) -> Record {
    Record { partition, body }
}

pub fn ballot(partition: PartitionId, ballot: u64) -> Record {
    record(partition, RecordBody::Ballot(Ballot(ballot)))
}

pub fn truncate(partition: PartitionId, ballot: u64, decree: u64) -> Record {
    record(
        partition,
        RecordBody::Truncate {
            ballot: Ballot(ballot),
            decree: Decree(decree),
        },
    )
}

pub fn created(partition: PartitionId) -> Record {
    let signature = LearnSignature::default();
    record(
        partition,
        RecordBody::Reset {
            signature,
            base: Decree::ZERO,
            kind: LearnKind::Log,
            epoch: 0,
        },
    )
}

pub fn reset(partition: PartitionId, counter: u64, base: u64, kind: LearnKind) -> Record {
    let signature = LearnSignature {
        ballot: Ballot(1),
        incarnation: Incarnation(1),
        counter,
    };
    record(
        partition,
        RecordBody::Reset {
            signature,
            base: Decree(base),
            kind,
            epoch: 0,
        },
    )
}

/// Tickets and failures as they come.
#[derive(Clone, Default)]
pub struct Done {
    pub tickets: Arc<Mutex<Vec<u64>>>,
    pub failures: Arc<Mutex<Vec<String>>>,
}

impl Done {
    pub fn tickets(&self) -> Vec<u64> {
        self.tickets.lock().unwrap().clone()
    }

    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.tickets.lock().unwrap())
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }
}

impl Completions for Done {
    fn flushed(&self, tickets: &[u64]) {
        self.tickets.lock().unwrap().extend(tickets);
    }

    fn failed(&self, reason: &str) {
        self.failures.lock().unwrap().push(reason.to_owned());
    }
}

/// Small segments, driven by the test.
pub fn options(durability: Durability) -> LogOptions {
    let segment = match durability {
        Durability::Sync => 64,
        Durability::Buffered => 16,
    };
    LogOptions {
        segment_size: ByteSize::kib(segment),
        budget: ByteSize::kib(segment * 8),
        carry: ByteSize::kib(2),
        pinned: ByteSize::kib(segment * 4),
        driving: Driving::Caller,
        ..LogOptions::new(durability)
    }
}

pub struct Opened {
    pub log: Log,
    pub recovery: Recovery,
    pub records: Vec<Record>,
    pub done: Done,
}

pub fn try_open(
    disk: Arc<dyn Disk>,
    options: &LogOptions,
    durable: &dyn Fn(PartitionId) -> Decree,
) -> Result<Opened, OpenError> {
    let (mut records, done) = (Vec::new(), Done::default());
    let (log, recovery) = Log::open(
        disk,
        options.clone(),
        durable,
        &mut |record| records.push(record),
        Box::new(done.clone()),
    )?;
    Ok(Opened {
        log,
        recovery,
        records,
        done,
    })
}

pub fn open(disk: &SimulatedDisk, options: &LogOptions) -> Opened {
    try_open(Arc::new(disk.clone()), options, &|_| Decree::ZERO).unwrap()
}

/// Lets the log do all it has to do.
pub fn settle(log: &Log) {
    while log.drive() {}
}

/// Decrees and ballots of a partition's mutations among `records`, in order.
pub fn decrees(records: &[Record], partition: PartitionId) -> Vec<(u64, u64)> {
    records
        .iter()
        .filter(|record| record.partition == partition)
        .filter_map(|record| record.body.mutation())
        .map(|mutation| (mutation.decree.0, mutation.ballot.0))
        .collect()
}

pub fn marks(records: &[Record], partition: PartitionId) -> Vec<RecordBody> {
    records
        .iter()
        .filter(|record| record.partition == partition && record.body.mutation().is_none())
        .map(|record| record.body.clone())
        .collect()
}

/// splitmix64: the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// Where these bytes are.
pub fn find(disk: &SimulatedDisk, needle: &[u8]) -> (String, usize) {
    for (name, _) in disk.files() {
        let contents = disk.contents(&name).unwrap();
        if let Some(at) = contents
            .windows(needle.len())
            .position(|window| window == needle)
        {
            return (name, at);
        }
    }
    panic!("{needle:?} is nowhere");
}
