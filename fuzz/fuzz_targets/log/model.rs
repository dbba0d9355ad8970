//! What a log's owner knows: opening, and what a partition's records amount to.

use bytes::Bytes;
use commit_log::{Completions, Disk, Driving, Log, LogOptions, OpenError, Recovery, SimulatedDisk};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use types::{ByteSize, Decree, Durability, PartitionId, Record, RecordBody};

/// Small segments, driven by the target.
pub fn options(durability: Durability) -> LogOptions {
    let segment = 16;
    LogOptions {
        segment_size: ByteSize::kib(segment),
        budget: ByteSize::kib(segment * 6),
        carry: ByteSize::kib(2),
        pinned: ByteSize::kib(segment * 4),
        driving: Driving::Caller,
        ..LogOptions::new(durability)
    }
}

/// The tickets that came back.
#[derive(Clone, Default)]
pub struct Done(Arc<Mutex<Vec<u64>>>);

impl Done {
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Completions for Done {
    fn flushed(&self, tickets: &[u64]) {
        self.0.lock().unwrap().extend(tickets);
    }

    fn failed(&self, _: &str) {}
}

pub struct Opened {
    pub log: Log,
    pub recovery: Recovery,
    pub records: Vec<Record>,
    pub done: Done,
}

pub fn open(
    disk: &SimulatedDisk,
    options: &LogOptions,
    durable: &dyn Fn(PartitionId) -> Decree,
) -> Result<Opened, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut records, done) = (Vec::new(), Done::default());
    let completions = Box::new(done.clone());
    let (log, recovery) = Log::open(
        disk,
        options.clone(),
        durable,
        &mut |record| records.push(record),
        completions,
    )?;
    Ok(Opened {
        log,
        recovery,
        records,
        done,
    })
}

/// What a partition's records amount to.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct State {
    pub mutations: BTreeMap<u64, (u64, Bytes)>,
    pub ballot: Option<u64>,
    pub reset: Option<RecordBody>,
    pub truncate: Option<RecordBody>,
}

impl State {
    pub fn apply(&mut self, record: &Record) {
        match &record.body {
            RecordBody::Mutation(mutation) => {
                let entry = (mutation.ballot.0, mutation.effects.clone());
                self.mutations.insert(mutation.decree.0, entry);
            }
            RecordBody::Ballot(ballot) => self.ballot = Some(ballot.0),
            RecordBody::Truncate { ballot, decree } => {
                self.mutations
                    .retain(|at, (under, _)| *at <= decree.0 || *under >= ballot.0);
                self.truncate = Some(record.body.clone());
            }
            RecordBody::Reset { base, .. } => {
                self.mutations.retain(|at, _| *at <= base.0);
                self.truncate = None;
                self.reset = Some(record.body.clone());
            }
            other => panic!("never appended here: {other:?}"),
        }
    }

    /// Without what RocksDB has.
    pub fn above(&self, durable: u64) -> Self {
        let mut state = self.clone();
        state.mutations.retain(|decree, _| *decree > durable);
        state
    }

    pub fn recovered(records: &[Record], partition: PartitionId) -> Self {
        let mut state = Self::default();
        let own = records
            .iter()
            .filter(|record| record.partition == partition);
        own.for_each(|record| state.apply(record));
        state
    }
}
