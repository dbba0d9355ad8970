//! A commit log: the real one, on a disk in memory that loses what was not synced, tears what was being written and fails on
//! demand. It moves when the node's shell says so, in the caller's thread.

use crate::chance::Chance;
use crate::node::Power;
use crate::swarm::Table;
use bytes::Bytes;
use commit_log::{
    Appended, ChangeError, Completions, Driving, Log, LogError, LogOptions, SimulatedDisk,
    change_log,
};
use replication::Flush;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{ByteSize, Decree, Mutation, PartitionId, Record, RecordBody};

/// Up to which ticket appends are durable. They come back in their order.
#[derive(Clone, Default)]
struct Done(Arc<AtomicU64>);

impl Completions for Done {
    fn flushed(&self, tickets: &[u64]) {
        // Of what the log deletes by itself nobody waits for the ticket.
        for &ticket in tickets.iter().filter(|&&ticket| ticket != u64::MAX) {
            self.0.fetch_max(ticket, Ordering::Relaxed);
        }
    }

    /// The shell that made it fail knows.
    fn failed(&self, _reason: &str) {}
}

/// What opening a log found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<(PartitionId, RecordBody)>,
    /// Of these something that was synced may be missing.
    pub(crate) quarantined: Vec<PartitionId>,
    /// So may any that the log does not mention.
    pub(crate) lost_track: bool,
    /// Why it could not be opened.
    pub(crate) failure: Option<String>,
}

impl Found {
    /// A partition's records, in the log's order.
    pub(crate) fn of(&self, partition: PartitionId) -> Vec<RecordBody> {
        let records = self.records.iter().filter(|(of, _)| *of == partition);
        records.map(|(_, body)| body.clone()).collect()
    }

    /// Whether something may be missing of the partition.
    pub(crate) fn is_damaged(&self, partition: PartitionId) -> bool {
        let mentioned = self.records.iter().any(|(of, _)| *of == partition);
        self.quarantined.contains(&partition) || self.lost_track && !mentioned
    }
}

pub(crate) struct CommitLog {
    disk: SimulatedDisk,
    options: LogOptions,
    /// While the process lives.
    log: Option<Log>,
    done: Done,
    /// Segments released in earlier lives, and bytes copied forward.
    released: u64,
    carried: u64,
}

impl CommitLog {
    /// An empty one, open.
    pub(crate) fn new(table: Table, carry: ByteSize) -> Self {
        let mut log = Self {
            disk: SimulatedDisk::new(),
            options: LogOptions {
                segment_size: table.segment,
                budget: table.log_budget,
                carry,
                driving: Driving::Caller,
                ..LogOptions::new(table.durability)
            },
            log: None,
            done: Done::default(),
            released: 0,
            carried: 0,
        };
        log.open(&|_| Decree::ZERO);
        log
    }

    /// The process starts: what is left.
    pub(crate) fn open(&mut self, durable: &dyn Fn(PartitionId) -> Decree) -> Found {
        let mut found = Found::default();
        let mut visit = |record: Record| found.records.push((record.partition, record.body));
        let opened = Log::open(
            Arc::new(self.disk.clone()),
            self.options.clone(),
            durable,
            &mut visit,
            Box::new(self.done.clone()),
        );
        match opened {
            Ok((log, recovery)) => {
                found.quarantined = recovery.quarantined.into_iter().collect();
                found.lost_track = recovery.lost_track;
                self.log = Some(log);
            }
            Err(error) => found.failure = Some(error.to_string()),
        }
        found
    }

    /// The process starts, and dies before it got far.
    pub(crate) fn fail_to_open(
        &mut self,
        durable: &dyn Fn(PartitionId) -> Decree,
        chance: &mut Chance,
    ) {
        self.disk.fail_after(chance.within(0..8));
        self.open(durable);
        self.end(Power::Kept, chance);
    }

    pub(crate) fn append(
        &self,
        partition: PartitionId,
        body: RecordBody,
        ticket: u64,
        flush: Flush,
    ) -> Result<(), LogError> {
        let record = [Record { partition, body }];
        let Some(log) = &self.log else {
            return Ok(());
        };
        let taken = match flush {
            Flush::Written => log.append(&record, ticket),
            Flush::Synced => log.append_synced(&record, ticket),
        };
        taken.map(|_: Appended| ())
    }

    /// Lets the log write and sync until the ticket is done; says whether it is.
    pub(crate) fn flush(&self, ticket: u64) -> bool {
        let done = || self.done.0.load(Ordering::Relaxed) >= ticket;
        while !done() && self.log.as_ref().is_some_and(Log::drive) {}
        done()
    }

    /// Lets the log do all it has to do: write, sync, mark, copy forward, release. Says whether it could.
    pub(crate) fn settle(&self) -> bool {
        while self.log.as_ref().is_some_and(Log::drive) {}
        self.log.as_ref().is_some_and(|log| log.failure().is_none())
    }

    /// The same on a disk that fails soon.
    pub(crate) fn settle_badly(&self, chance: &mut Chance) {
        self.fail_soon(chance);
        self.settle();
    }

    /// The disk fails soon.
    pub(crate) fn fail_soon(&self, chance: &mut Chance) {
        self.disk.fail_after(chance.within(0..6));
    }

    /// It does not, after all.
    pub(crate) fn mend(&self) {
        self.disk.mend();
    }

    /// A partition goes over to another log.
    pub(crate) fn change_to(
        &self,
        other: &Self,
        partition: PartitionId,
        anew: Vec<RecordBody>,
    ) -> Result<(), ChangeError> {
        match (&self.log, &other.log) {
            (Some(from), Some(to)) => change_log(from, to, partition, anew),
            _ => Err(ChangeError::Failed(LogError::Failed(
                "it is not open".into(),
            ))),
        }
    }

    /// Nothing of the partition counts any more.
    pub(crate) fn delete(&self, partition: PartitionId) {
        let deleted = self.log.as_ref().map(|log| log.delete(partition));
        debug_assert!(deleted.is_none_or(|deleted| deleted.is_ok()));
    }

    /// The process ends.
    pub(crate) fn end(&mut self, power: Power, chance: &mut Chance) {
        if let Some(log) = self.log.take() {
            let stats = log.stats();
            self.released += stats.released;
            self.carried += stats.carried_bytes;
        }
        match power {
            Power::Kept => self.disk.mend(),
            Power::Lost => self.disk.power_loss(chance.within(0..u64::MAX)),
        }
    }

    /// RocksDB has the partition up to `decree` on disk.
    pub(crate) fn set_durable(&self, partition: PartitionId, decree: Decree) {
        if let Some(log) = &self.log {
            log.set_durable(partition, decree);
        }
    }

    pub(crate) fn is_synced(&self, partition: PartitionId, decree: Decree) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| log.is_synced(partition, decree))
    }

    /// Whether everything above `durable` that was written is there.
    pub(crate) fn reaches_back(&self, partition: PartitionId, durable: Decree) -> bool {
        let oldest = self.log.as_ref().and_then(|log| log.oldest(partition));
        oldest.is_none_or(|oldest| oldest <= durable.next())
    }

    /// A piece of the log for a learner; `None` if it is not there any more.
    pub(crate) fn read(&self, partition: PartitionId, from: Decree) -> Option<Vec<Mutation>> {
        self.log.as_ref()?.read(partition, from, 200).ok()
    }

    /// The places on disk that hold these effects cannot be read any more. Says how many there were.
    pub(crate) fn damage(&self, effects: &[Bytes]) -> usize {
        let mut places = 0;
        for (name, _) in self.disk.files() {
            let bytes = self.disk.contents(&name).unwrap_or_default();
            for wanted in effects {
                let first = wanted.first();
                for at in 0..bytes.len() {
                    if bytes.get(at) == first && bytes[at..].starts_with(wanted) {
                        self.disk.corrupt(&name, at, 1);
                        places += 1;
                    }
                }
            }
        }
        places
    }

    /// Segments released and bytes copied forward, in all lives.
    pub(crate) fn tidied(&self) -> (u64, u64) {
        let stats = self.log.as_ref().map(Log::stats).unwrap_or_default();
        (
            self.released + stats.released,
            self.carried + stats.carried_bytes,
        )
    }
}
