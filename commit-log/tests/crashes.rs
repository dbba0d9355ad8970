//! Random lives of a log on a disk that loses power: whatever happens, recovery yields every flushed record, in a state that the
//! partition was once in, and reports no damage.

mod support;

use commit_log::{Appended, SimulatedDisk};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::*;
use types::{Ballot, Decree, Durability, LearnKind, PartitionId, Record, RecordBody};

/// What a partition's records amount to.
#[derive(Clone, Default, PartialEq, Debug)]
struct State {
    mutations: BTreeMap<u64, (u64, Vec<u8>)>,
    ballot: Option<u64>,
    reset: Option<RecordBody>,
    truncate: Option<RecordBody>,
}

impl State {
    fn apply(&mut self, record: &Record) {
        match &record.body {
            RecordBody::Mutation(mutation) => {
                self.mutations.insert(
                    mutation.decree.0,
                    (mutation.ballot.0, mutation.effects.to_vec()),
                );
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
            other => panic!("not in this test: {other:?}"),
        }
    }

    fn above(&self, durable: u64) -> Self {
        let mut state = self.clone();
        state.mutations.retain(|decree, _| *decree > durable);
        state
    }

    fn recovered(records: &[Record], partition: PartitionId) -> Self {
        let mut state = Self::default();
        for record in records
            .iter()
            .filter(|record| record.partition == partition)
        {
            state.apply(record);
        }
        state
    }
}

/// A partition as the test knows it.
#[derive(Default)]
struct Partition {
    /// The state after each append since the last recovery; which of them are known to be safe.
    states: Vec<State>,
    safe: usize,
    ballot: u64,
    last: u64,
    durable: u64,
    resets: u64,
}

impl Partition {
    fn now(&self) -> State {
        self.states.last().cloned().unwrap_or_default()
    }

    /// The next append of a life that keeps the rules.
    fn next(&mut self, id: PartitionId, random: &mut Random) -> Vec<Record> {
        let mut effects = |decree: u64| {
            let size = if random.chance(40) {
                9000
            } else {
                random.below(300)
            };
            vec![(decree ^ random.next()) as u8; size as usize]
        };
        if self.ballot == 0 {
            self.ballot = 1;
            return vec![created(id), ballot(id, 1)];
        }
        let kind = effects(0).first().copied().unwrap_or(1) % 16;
        match kind {
            0 => {
                // A takeover: truncate, then the list anew.
                self.ballot += 1;
                let cut = self
                    .last
                    .saturating_sub(u64::from(self.last > self.durable));
                let mut records = vec![ballot(id, self.ballot), truncate(id, self.ballot, cut)];
                self.last = cut;
                let state = self.now();
                let again = (self.durable + 1).max(cut.saturating_sub(2))..=cut;
                for decree in again {
                    if let Some((_, effects)) = state.mutations.get(&decree) {
                        records.push(mutation(id, self.ballot, decree, effects.clone()));
                    }
                }
                records
            }
            1 => {
                self.resets += 1;
                self.ballot += 1;
                let base = self.last.saturating_sub(3).max(self.durable);
                self.last = base;
                vec![
                    reset(id, self.resets, base, LearnKind::Log),
                    ballot(id, self.ballot),
                ]
            }
            _ => {
                self.last += 1;
                vec![mutation(id, self.ballot, self.last, effects(self.last))]
            }
        }
    }
}

fn live(seed: u64, durability: Durability, power_loss: bool) -> u64 {
    let mut released = 0;
    let mut random = Random(seed);
    let (disk, options) = (SimulatedDisk::new(), options(durability));
    let ids: Vec<PartitionId> = (0..6).map(|index| PartitionId::new(1, index)).collect();
    let known: RefCell<BTreeMap<PartitionId, Partition>> = RefCell::default();
    for life in 0..12 {
        let durable = |id| {
            Decree(
                known
                    .borrow()
                    .get(&id)
                    .map_or(0, |partition| partition.durable),
            )
        };
        if random.chance(4) {
            // A crash while starting.
            disk.fail_after(random.below(6));
            drop(try_open(Arc::new(disk.clone()), &options, &durable));
            crash(&disk, &mut random, power_loss);
        }
        let opened = try_open(Arc::new(disk.clone()), &options, &durable).unwrap();
        assert!(
            opened.recovery.quarantined.is_empty(),
            "seed {seed} life {life}: {:?}",
            opened.recovery
        );
        assert!(!opened.recovery.lost_track, "seed {seed} life {life}");
        for (&id, partition) in &mut *known.borrow_mut() {
            let found = State::recovered(&opened.records, id);
            let possible = partition.states[partition.safe.saturating_sub(1)..].iter();
            let was = possible
                .rev()
                .find(|state| state.above(partition.durable) == found);
            let Some(was) = was
                .cloned()
                .or((partition.safe == 0 && found == State::default()).then(State::default))
            else {
                panic!(
                    "seed {seed} life {life}: {id} came back as {found:#?}, not as one of {:#?}",
                    &partition.states[partition.safe.saturating_sub(1)..]
                );
            };
            partition.last = was
                .mutations
                .keys()
                .next_back()
                .copied()
                .unwrap_or(0)
                .max(partition.durable);
            if was == State::default() {
                *partition = Partition::default();
            } else {
                // Ballots only grow: the next one is above any that was used.
                partition.ballot += 1;
                (partition.states, partition.safe) = (vec![was], 1);
            }
        }
        disk.fail_after(random.below(400));
        let mut tickets: Vec<Vec<(PartitionId, usize)>> = Vec::new();
        for _ in 0..500 {
            let mut known = known.borrow_mut();
            let id = ids[(random.below(36) as f64).sqrt() as usize];
            let partition = known.entry(id).or_default();
            match random.below(12) {
                0 => drop((0..random.below(8)).all(|_| opened.log.drive())),
                1 => {
                    for laggard in opened.log.laggards() {
                        let partition = known.get_mut(&laggard.partition).unwrap();
                        flush(&opened.log, laggard.partition, partition);
                    }
                }
                2 if random.chance(3) => flush(&opened.log, id, partition),
                3 if random.chance(2) => {
                    let ticket = tickets.len() as u64;
                    let all = known
                        .iter()
                        .map(|(&id, partition)| (id, partition.states.len()));
                    tickets.push(all.collect());
                    match opened.log.sync(ticket) {
                        Ok(Appended::Done) => opened.done.tickets.lock().unwrap().push(ticket),
                        Ok(Appended::Pending) => {}
                        Err(_) => break,
                    }
                }
                _ => {
                    let records = partition.next(id, &mut random);
                    let mut state = partition.now();
                    for record in &records {
                        state.apply(record);
                    }
                    partition.states.push(state);
                    let ticket = tickets.len() as u64;
                    tickets.push(vec![(id, partition.states.len())]);
                    match opened.log.append(&records, ticket) {
                        // In `buffered` what is written survives the process, not the machine.
                        Ok(Appended::Done) if !power_loss => {
                            partition.safe = partition.states.len();
                        }
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            }
            for ticket in opened.done.take() {
                for &(id, states) in &tickets[ticket as usize] {
                    let partition = known.get_mut(&id).unwrap();
                    partition.safe = partition.safe.max(states);
                }
            }
        }
        released += opened.log.stats().released;
        drop(opened);
        crash(&disk, &mut random, power_loss);
    }
    released
}

/// RocksDB takes what is synced.
fn flush(log: &commit_log::Log, id: PartitionId, partition: &mut Partition) {
    let safe = partition.states.get(partition.safe.saturating_sub(1));
    let Some(&decree) = safe.and_then(|state| state.mutations.keys().next_back()) else {
        return;
    };
    // What is flushed was committed: no later truncate goes below it.
    let decree = decree.min(partition.last);
    if partition.now().mutations.contains_key(&decree) && log.is_synced(id, Decree(decree)) {
        partition.durable = partition.durable.max(decree);
        log.set_durable(id, Decree(decree));
    }
}

fn crash(disk: &SimulatedDisk, random: &mut Random, power_loss: bool) {
    if power_loss {
        disk.power_loss(random.next());
    } else {
        disk.mend();
    }
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("TULPAR_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => {
            0..std::env::var("TULPAR_SEEDS")
                .ok()
                .and_then(|seeds| seeds.parse().ok())
                .unwrap_or(12)
        }
    }
}

/// Many lives; segments must have been released in them, or they show less than they should.
fn lives(durability: Durability, power_loss: bool) {
    let released: u64 = seeds().map(|seed| live(seed, durability, power_loss)).sum();
    assert!(released > 0);
    println!("{released} segments were released");
}

#[test]
fn sync_yields_every_flushed_record_after_a_power_loss() {
    lives(Durability::Sync, true);
}

#[test]
fn sync_yields_every_flushed_record_after_a_kill() {
    lives(Durability::Sync, false);
}

#[test]
fn buffered_yields_every_synced_record_after_a_power_loss() {
    lives(Durability::Buffered, true);
}

#[test]
fn buffered_yields_every_written_record_after_a_kill() {
    lives(Durability::Buffered, false);
}

#[test]
fn a_ballot_survives_any_crash_once_its_ticket_is_back() {
    for seed in seeds() {
        let disk = SimulatedDisk::new();
        let options = options(Durability::Buffered);
        let opened = open(&disk, &options);
        assert_eq!(
            opened.log.append(&[ballot(P, 7)], 1).unwrap(),
            Appended::Pending
        );
        settle(&opened.log);
        assert_eq!(opened.done.tickets(), [1]);
        drop(opened);
        disk.power_loss(seed);
        assert_eq!(
            marks(&open(&disk, &options).records, P),
            [RecordBody::Ballot(Ballot(7))]
        );
    }
}
