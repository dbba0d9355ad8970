//! A node's disk: a log that forgets what is not synced, a RocksDB that is a hash, and the log as an independent reader of the
//! rules would read it, against which the replica's own reading is held.

use std::collections::BTreeMap;
use types::{
    Ballot, BootId, Decree, Durability, LearnKind, LearnSignature, Mutation, RecordBody, Timestamp,
};

/// What a partition's data is, here: up to where it is applied, a hash chained over everything applied, and its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub(crate) applied: Decree,
    pub(crate) hash: u64,
    pub(crate) time: Timestamp,
}

impl State {
    pub(crate) fn after(self, mutation: &Mutation) -> Self {
        Self {
            applied: mutation.decree,
            hash: (self.hash ^ digest(mutation)).rotate_left(9),
            time: mutation.timestamp,
        }
    }
}

/// A mutation without its ballot.
pub(crate) fn digest(mutation: &Mutation) -> u64 {
    let start = mutation.timestamp.0.rotate_left(17) ^ mutation.decree.0;
    mutation.effects.iter().fold(start, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// What records mean, read one after the other.
#[derive(Default)]
pub(crate) struct Reading {
    /// The latest record of each decree: its ballot and digest.
    pub(crate) mutations: BTreeMap<Decree, (Ballot, u64)>,
    pub(crate) ballot: Ballot,
    /// The newest learn (all zero for a member from the beginning), and the newest that ended.
    pub(crate) learn: Option<LearnSignature>,
    pub(crate) ready: Option<LearnSignature>,
    pub(crate) quarantined: bool,
    pub(crate) boot: BootId,
    /// All records before this number are in.
    next: u64,
}

impl Reading {
    fn take(&mut self, record: &RecordBody) {
        match record {
            RecordBody::Mutation(mutation) => {
                let value = (mutation.ballot, digest(mutation));
                self.mutations.insert(mutation.decree, value);
            }
            RecordBody::Truncate { ballot, decree } => {
                self.mutations
                    .retain(|at, (prepared, _)| at <= decree || *prepared >= *ballot);
            }
            RecordBody::Reset {
                signature,
                base,
                kind,
                ..
            } => {
                self.mutations.retain(|at, _| at <= base);
                self.learn = Some(*signature);
                self.ready = None;
                self.quarantined &= *kind == LearnKind::Log;
            }
            RecordBody::Ready { signature, .. } => self.ready = Some(*signature),
            RecordBody::Configuration(known) => self.ballot = self.ballot.max(known.ballot),
            RecordBody::Boot(boot) => self.boot = *boot,
            RecordBody::Quarantined => self.quarantined = true,
            RecordBody::Deleted => {
                let next = self.next;
                *self = Self {
                    next,
                    ..Self::default()
                };
            }
            RecordBody::Ballot(_) | RecordBody::Proposed(_) => {}
        }
    }

    /// The learn by which the disk says that its copy is whole.
    pub(crate) fn whole(&self) -> Option<LearnSignature> {
        let learn = self.learn?;
        let done = learn == LearnSignature::default() || self.ready == Some(learn);
        (done && !self.quarantined).then_some(learn)
    }
}

pub(crate) struct Disk {
    durability: Durability,
    /// Numbered; recycling leaves gaps.
    log: Vec<(u64, RecordBody)>,
    next: u64,
    /// Records below this number survive a loss of power.
    synced: u64,
    /// As far as others rely on it: what is synced, or in `buffered` what is written.
    pub(crate) safe: Reading,
    pub(crate) rocksdb: State,
    /// The log has every decree from here on.
    pub(crate) oldest: Decree,
    /// The newest prepare of this life, if nothing else came after it (L1).
    pub(crate) last_prepared: Option<(Ballot, Decree)>,
    /// Something on it cannot be read.
    pub(crate) damaged: bool,
    /// The copy that was last lost that way: whatever still names it names nothing.
    pub(crate) ruined: Option<LearnSignature>,
    /// Nothing is written before this true time.
    pub(crate) hangs_until: u64,
    pub(crate) hangs_since: u64,
}

impl Disk {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            durability,
            log: Vec::new(),
            next: 0,
            synced: 0,
            safe: Reading::default(),
            rocksdb: State::default(),
            oldest: Decree(1),
            last_prepared: None,
            damaged: false,
            ruined: None,
            hangs_until: 0,
            hangs_since: 0,
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &RecordBody> {
        self.log.iter().map(|(_, record)| record)
    }

    /// Takes a record, and says what syncing it means.
    pub(crate) fn append(&mut self, record: RecordBody) -> u64 {
        if record.mutation().is_none() {
            self.last_prepared = None;
        }
        self.log.push((self.next, record));
        self.next += 1;
        if self.durability == Durability::Buffered {
            self.rely_on(self.next);
        }
        self.next
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    pub(crate) fn sync(&mut self, end: u64) {
        self.synced = self.synced.max(end.min(self.next));
        self.rely_on(self.synced);
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced == self.next
    }

    fn rely_on(&mut self, end: u64) {
        let from = self.first_from(self.safe.next);
        for (number, record) in self.log[from..].iter().take_while(|(at, _)| *at < end) {
            self.safe.take(record);
            self.safe.next = number + 1;
        }
    }

    fn first_from(&self, number: u64) -> usize {
        self.log.partition_point(|(at, _)| *at < number)
    }

    /// How many records a loss of power may take.
    pub(crate) fn unsynced(&self) -> usize {
        self.log.len() - self.first_from(self.synced)
    }

    /// Only so many of the unsynced records reached the disk.
    pub(crate) fn tear(&mut self, survivors: usize) {
        let keep = self.first_from(self.synced) + survivors;
        self.log.truncate(keep);
        self.synced = self.next;
        self.read_again();
    }

    /// A failed fsync that nobody heard of: what it was to sync is in no cache and on no disk.
    pub(crate) fn lose_unsynced(&mut self, end: u64) {
        let (from, to) = (self.first_from(self.synced), self.first_from(end));
        self.log.drain(from..to.max(from));
        self.sync(end);
    }

    /// So many of the newest mutations, synced or not, cannot be read any more.
    pub(crate) fn damage(&mut self, mut newest: usize) {
        self.damaged = true;
        self.ruined = self.safe.learn;
        for at in (0..self.log.len()).rev() {
            if newest > 0 && self.log[at].1.mutation().is_some() {
                self.log.remove(at);
                newest -= 1;
            }
        }
        self.read_again();
    }

    /// Nothing is left on it. Numbers go on, so that no late word of a sync is taken for a newer one.
    pub(crate) fn wipe(&mut self) {
        let (next, hangs) = (self.next, (self.hangs_since, self.hangs_until));
        *self = Self {
            ruined: self.ruined,
            ..Self::new(self.durability)
        };
        (self.next, self.safe.next) = (next, next);
        (self.hangs_since, self.hangs_until) = hangs;
    }

    fn read_again(&mut self) {
        self.safe = Reading::default();
        self.last_prepared = None;
        self.rely_on(self.synced);
        if self.durability == Durability::Buffered {
            self.rely_on(self.next);
        }
    }

    /// Drops mutations that nothing needs any more.
    pub(crate) fn recycle(&mut self, durable: Decree) {
        self.log.retain(|(_, record)| {
            record
                .mutation()
                .is_none_or(|mutation| mutation.decree > durable)
        });
        self.oldest = self.oldest.max(durable.next());
    }

    /// A checkpoint takes the place of everything.
    pub(crate) fn install(&mut self, state: State) {
        self.rocksdb = state;
        self.oldest = state.applied.next();
        self.log.retain(|(_, record)| record.mutation().is_none());
        self.damaged = false;
        self.read_again();
    }

    /// The latest record of each decree from `from` on, without a gap.
    pub(crate) fn read(&self, from: Decree, most: usize) -> Vec<Mutation> {
        let mut latest: BTreeMap<Decree, &Mutation> = BTreeMap::new();
        for record in self.records() {
            match record {
                RecordBody::Mutation(mutation) if mutation.decree >= from => {
                    latest.insert(mutation.decree, mutation);
                }
                RecordBody::Truncate { ballot, decree } => {
                    latest.retain(|at, mutation| at <= decree || mutation.ballot >= *ballot);
                }
                RecordBody::Reset { base, .. } => latest.retain(|at, _| at <= base),
                _ => {}
            }
        }
        let mut next = from;
        let in_order = latest.into_values().take_while(|mutation| {
            let fits = mutation.decree == next;
            next = next.next();
            fits
        });
        in_order.take(most).cloned().collect()
    }
}
