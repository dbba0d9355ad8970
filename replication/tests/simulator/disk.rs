//! What a node's disk has of a partition: the commit log, a RocksDB that is a hash, and what must be on it: every record that was
//! appended, up to where each may be relied upon. What the log finds at a start is held against that.

use crate::chance::Chance;
use crate::log::Found;
use crate::logs::{Change, Logs};
use crate::node::Power;
use crate::reading::{Reading, State};
use crate::swarm::{Shown, Swarm, Table};
use bytes::Bytes;
use replication::Flush;
use types::{Ballot, Decree, Durability, LearnSignature, Mutation, PartitionId, RecordBody};

/// What a power failure left of a copy.
#[derive(Clone, Copy)]
pub(crate) struct Remains {
    /// The highest ballot of the records that are left.
    pub(crate) last_ballot: Ballot,
    /// Up to where it has mutations, in the log or in `RocksDB`.
    pub(crate) prepared: Decree,
    /// Up to where `RocksDB` has them.
    pub(crate) applied: Decree,
}

pub(crate) struct Disk {
    partition: PartitionId,
    shown: Shown,
    log: Logs,
    /// What was appended. Numbered; what RocksDB has leaves gaps.
    appended: Vec<(u64, RecordBody)>,
    /// What that is in the log of the other durability, if it went over and was cut short.
    going: Option<Vec<(u64, RecordBody)>>,
    next: u64,
    /// Records below this number survive a loss of power.
    synced: u64,
    /// How its last process ended, and which records survived that for certain: those below this number.
    ended: Power,
    surviving: u64,
    /// As far as others rely on it: what is synced, or in `buffered` what is written.
    pub(crate) safe: Reading,
    pub(crate) rocksdb: State,
    /// The newest prepare of this life, if nothing else came after it (L1).
    pub(crate) last_prepared: Option<(Ballot, Decree)>,
    /// Something on it cannot be read.
    pub(crate) damaged: bool,
    /// So perhaps can the record of the copy's deletion, which stood beside it: the log may find damage and no deletion.
    deletion_damaged: bool,
    /// All that the log had of a copy could not be read once.
    lost_track: bool,
    /// The copy that was last lost that way: whatever still names it names nothing.
    pub(crate) ruined: Option<LearnSignature>,
    /// The highest ballot of a mutation that the last start was shown.
    last_ballot: Ballot,
    /// At the last start the log found what it should not have, or did not find what it should have.
    pub(crate) contradiction: Option<String>,
}

impl Disk {
    pub(crate) fn new(partition: PartitionId, table: Table, swarm: &Swarm) -> Self {
        Self {
            partition,
            shown: swarm.shown,
            log: Logs::new(table, swarm),
            going: None,
            appended: Vec::new(),
            next: 1,
            synced: 1,
            ended: Power::Kept,
            surviving: 1,
            safe: Reading::default(),
            rocksdb: State::default(),
            last_prepared: None,
            damaged: false,
            deletion_damaged: false,
            lost_track: false,
            ruined: None,
            last_ballot: Ballot::ZERO,
            contradiction: None,
        }
    }

    /// Takes a record; the number says what syncing it means. Nothing, if the log has failed and nobody cares.
    pub(crate) fn append(&mut self, record: RecordBody, flush: Flush) -> Option<u64> {
        if record.mutation().is_none() {
            self.last_prepared = None;
        }
        let number = self.next;
        let taken = self
            .log
            .append(self.partition, record.clone(), number, flush);
        taken.ok()?;
        self.appended.push((number, record));
        self.next += 1;
        if self.durability() == Durability::Buffered {
            self.rely_on(self.next);
        }
        Some(number)
    }

    /// Of the log that it is in.
    pub(crate) fn durability(&self) -> Durability {
        self.log.durability()
    }

    /// Going over was cut short: where it is, and so whether it is whole in this boot, the next start tells.
    pub(crate) fn may_be_in_either(&self) -> bool {
        self.going.is_some()
    }

    /// Whether it ever was in the other, or tried.
    pub(crate) fn has_gone_over(&self) -> bool {
        self.log.has_other()
    }

    /// It goes over to the log of the other durability, or fails in the middle.
    pub(crate) fn change(
        &mut self,
        anew: Vec<RecordBody>,
        fails: bool,
        chance: &mut Chance,
    ) -> Change {
        let left_out =
            |body: &RecordBody| matches!(body, RecordBody::Boot(_) | RecordBody::Proposed(_));
        let appended = self.appended.iter();
        let kept = appended.filter(|(_, body)| !left_out(body)).cloned();
        let new = (self.next..).zip(anew.iter().cloned());
        let changed: Vec<_> = kept.chain(new).collect();
        let change = self.log.change(self.partition, anew, fails, chance);
        match change {
            Change::Done => self.went_over(changed),
            Change::Cut => self.going = Some(changed),
            Change::Refused(_) => {}
        }
        change
    }

    /// All of it is synced, in the log that it is in now.
    fn went_over(&mut self, appended: Vec<(u64, RecordBody)>) {
        self.next = appended
            .last()
            .map_or(self.next, |(number, _)| self.next.max(number + 1));
        self.appended = appended;
        self.synced = self.next;
        self.read_again(self.next);
    }

    /// Makes the log sync up to and including that record, and says whether it did.
    pub(crate) fn flush(&mut self, number: u64) -> bool {
        // What went over from the other log was synced then.
        let flushed = number < self.synced || self.log.flush(number);
        if flushed {
            self.rely_on_synced(number + 1);
        }
        flushed
    }

    /// The log does all it has to do.
    pub(crate) fn settle(&mut self) {
        if self.log.settle() {
            self.rely_on_synced(self.next);
        }
    }

    /// The log does something of that, and fails in the middle.
    pub(crate) fn fail(&mut self, chance: &mut Chance) {
        self.log.settle_badly(chance);
    }

    fn rely_on_synced(&mut self, end: u64) {
        self.synced = self.synced.max(end.min(self.next));
        self.rely_on(self.synced);
    }

    fn rely_on(&mut self, end: u64) {
        let from = self.first_from(self.safe.next);
        for (number, record) in self.appended[from..].iter().take_while(|(at, _)| *at < end) {
            self.safe.take(record);
            self.safe.next = number + 1;
        }
    }

    fn first_from(&self, number: u64) -> usize {
        self.appended.partition_point(|(at, _)| *at < number)
    }

    /// The process ends, in the middle of something or not. A log that syncs has its queue in memory.
    pub(crate) fn end(&mut self, power: Power, hangs: bool, chance: &mut Chance) {
        if !hangs && chance.percent(50) {
            self.log.settle_badly(chance);
        }
        self.log.end(power, chance);
        let written = power == Power::Kept && self.durability() == Durability::Buffered;
        self.ended = power;
        self.surviving = if written { self.next } else { self.synced };
        self.read_again(self.surviving);
    }

    /// The process starts. What the log finds is the truth from now on, unless it is too little or too much. With what the replica
    /// is shown of it.
    pub(crate) fn start(&mut self, chance: &mut Chance) -> (Found, Vec<RecordBody>) {
        let applied = self.rocksdb.applied;
        let durable = |_| applied;
        if chance.percent(5) {
            self.log.fail_to_open(&durable, chance);
        }
        let (found, went) = self.log.open(self.partition, &durable);
        if let (true, Some(going)) = (went, self.going.take()) {
            self.went_over(going);
            self.surviving = self.next;
        }
        self.going = None;
        let records = found.of(self.partition);
        self.contradiction = if found.is_damaged(self.partition) {
            let mentioned = found.quarantined.contains(&self.partition);
            self.expect_damage(&records, mentioned)
        } else {
            self.expect_all(&records)
        };
        self.contradiction = found.failure.clone().or(self.contradiction.take());
        self.synced = self.next;
        self.last_prepared = None;
        self.read_again(self.next);
        let records = match self.shown {
            Shown::Live => records,
            Shown::Appended => self.appended.iter().map(|(_, body)| body.clone()).collect(),
        };
        let mutations = records.iter().filter_map(RecordBody::mutation);
        let last_ballot = mutations.map(|mutation| mutation.ballot).max();
        self.last_ballot = last_ballot.unwrap_or_default();
        (found, records)
    }

    /// What is left of a copy whose machine stopped with prepares unsynced, as C6 compares such copies.
    pub(crate) fn remains(&self) -> Remains {
        let applied = self.rocksdb.applied;
        let mutations = self.safe.mutations.range(applied.next()..);
        let above = mutations.zip(applied.next().0..);
        let unbroken = above.take_while(|((at, _), next)| at.0 == *next).count();
        Remains {
            last_ballot: self.last_ballot,
            prepared: Decree(applied.0 + unbroken as u64),
            applied,
        }
    }

    /// Only what was damaged may be found so.
    fn expect_damage(&mut self, records: &[RecordBody], mentioned: bool) -> Option<String> {
        // A log that has lost track says so until what it could not read is gone, and takes what it sees for the first time then for damaged.
        let known =
            self.damaged || self.deletion_damaged || self.safe.quarantined || self.lost_track;
        self.lost_track |= !mentioned;
        self.damaged = true;
        self.deletion_damaged = false;
        self.ruined = self.safe.learn.or(self.ruined);
        self.appended.clear();
        // A copy of which the log has nothing left is none.
        let mark = mentioned.then_some(&RecordBody::Quarantined);
        for record in records.iter().chain(mark) {
            self.appended.push((self.next, record.clone()));
            self.next += 1;
        }
        (!known).then(|| "the log says that it is damaged".to_owned())
    }

    /// Everything that survived for certain, and of the rest what came first.
    fn expect_all(&mut self, records: &[RecordBody]) -> Option<String> {
        let shown = Reading::shown(records);
        let applied = self.rocksdb.applied;
        let certain = self.first_from(self.surviving);
        let mut reading = Reading::default();
        let mut agreed = None;
        for at in 0..=self.appended.len() {
            if at >= certain && reading.agrees(&shown, applied) {
                agreed = Some(at);
            }
            if let Some((_, record)) = self.appended.get(at) {
                reading.take(record);
            }
        }
        if let Some(agreed) = agreed {
            // What was damaged is not needed any more: the copy stands. One that was learnt anew since leaves it as it is.
            self.ruined = self.ruined.filter(|&ruined| shown.learn != Some(ruined));
            self.damaged = false;
            self.deletion_damaged = false;
            self.appended.truncate(agreed);
            return None;
        }
        if self.damaged && self.durability() == Durability::Buffered && self.ended == Power::Lost {
            // With the power went what told damage from a torn tail. Two faults at once are not promised to be survived.
            let contradiction = self.expect_damage(records, true);
            // The log, which does not know, is told: it must say so at the next start.
            return contradiction.or(self.remember_damage());
        }
        Some(format!(
            "the log shows {records:?}, but there was {:?}",
            self.appended
        ))
    }

    /// Makes the log keep the mark that it is damaged, which stands last. What went wrong, if anything did.
    fn remember_damage(&mut self) -> Option<String> {
        let number = self.next - 1;
        let mark = RecordBody::Quarantined;
        let taken = self.log.append(self.partition, mark, number, Flush::Synced);
        let kept = taken.is_ok() && self.log.flush(number);
        (!kept).then(|| "the log does not take a mark".to_owned())
    }

    /// So many of the newest mutations cannot be read any more; says whether any is.
    pub(crate) fn damage(&mut self, newest: usize) -> bool {
        let mutations = self.appended.iter().rev();
        let effects: Vec<Bytes> = mutations
            .filter_map(|(_, record)| Some(record.mutation()?.effects.clone()))
            .take(newest)
            .collect();
        let damaged = self.log.damage(&effects) > 0;
        if damaged {
            self.damaged = true;
            let last = self.appended.last().map(|(_, record)| record);
            self.deletion_damaged |= last == Some(&RecordBody::Deleted);
            self.ruined = self.safe.learn;
        }
        damaged
    }

    /// What the log mentions is no copy: no data belong to it.
    pub(crate) fn disown(&mut self) {
        self.rocksdb = State::default();
        self.damaged = false;
    }

    /// Nothing of the copy is left on it; what the log had of it counts no more.
    pub(crate) fn wipe(&mut self) {
        self.appended.clear();
        self.rocksdb = State::default();
        self.damaged = false;
        self.synced = self.next;
        self.read_again(self.next);
    }

    fn read_again(&mut self, end: u64) {
        self.safe = Reading::default();
        self.last_prepared = None;
        self.rely_on(end);
    }

    /// RocksDB has everything up to there on disk, and may only have what the log has synced.
    pub(crate) fn flush_rocksdb(&mut self, state: State) {
        if state.applied > self.rocksdb.applied && self.log.is_synced(self.partition, state.applied)
        {
            self.rocksdb = state;
            self.let_go();
        }
    }

    /// Below that the log needs nothing.
    fn let_go(&mut self) {
        let durable = self.rocksdb.applied;
        self.log.set_durable(self.partition, durable);
        self.appended.retain(|(_, record)| {
            record
                .mutation()
                .is_none_or(|mutation| mutation.decree > durable)
        });
    }

    /// A checkpoint takes the place of everything.
    pub(crate) fn install(&mut self, state: State) {
        self.rocksdb = state;
        self.damaged = false;
        self.let_go();
    }

    /// Whether the log has what RocksDB lacks.
    pub(crate) fn reaches_back(&self) -> bool {
        self.log.reaches_back(self.partition, self.rocksdb.applied)
    }

    /// A piece of the log for a learner; `None` if it is not there any more.
    pub(crate) fn read(&self, from: Decree) -> Option<Vec<Mutation>> {
        self.log.read(self.partition, from)
    }

    /// Segments released and bytes copied forward so far.
    pub(crate) fn tidied(&self) -> (u64, u64) {
        self.log.tidied()
    }
}
