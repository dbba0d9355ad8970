//! Some lives of a log with crashes and power losses in between, then damage, then the question what is left of it.
//!
//! A mark says up to where the log was on disk when a batch was made. What was appended below the highest mark that the damage has left
//! must come back or be reported missing; above it a torn tail cannot be told from damage.

use super::model::{self, Done, Opened, State, options};
use arbitrary::Arbitrary;
use bytes::Bytes;
use commit_log::{Appended, Disk, Position, SimulatedDisk};
use std::cell::RefCell;
use std::collections::BTreeMap;
use types::{
    Ballot, Decree, Durability, Incarnation, LearnKind, LearnSignature, Mutation, PartitionId,
    Record, RecordBody, Timestamp,
};

#[derive(Arbitrary, Debug)]
pub struct Life {
    synced: bool,
    steps: Vec<Step>,
    damage: Vec<Damage>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Append {
        partition: u8,
        kind: u8,
        size: u16,
    },
    /// Ten of the same.
    Fill {
        partition: u8,
        size: u16,
    },
    Drive(u8),
    Sync,
    Settle,
    /// RocksDB takes what is synced.
    Flush(u8),
    FlushLaggards,
    /// The process is killed.
    Kill,
    PowerLoss(u64),
    /// The disk fails after so many operations.
    FailAfter(u8),
}

#[derive(Arbitrary, Debug)]
enum Damage {
    /// Bits of a byte.
    Byte {
        file: u8,
        at: u16,
        mask: u8,
    },
    /// Some bytes become others: what a lost or misdirected write leaves.
    Stretch {
        file: u8,
        at: u16,
        length: u8,
        mask: u8,
    },
    Remove {
        file: u8,
    },
    /// Up to a whole segment of an older life, or of another.
    Copy {
        from: u8,
        to: u8,
        at: u8,
        blocks: u8,
    },
}

/// A partition as its owner knows it.
#[derive(Default)]
struct Partition {
    /// After each append since the last opening, and from which mark on it is known to be on disk.
    states: Vec<(State, Option<Position>)>,
    safe: usize,
    ballot: u64,
    last: u64,
    durable: u64,
    resets: u64,
}

const PARTITIONS: u8 = 4;

fn id(partition: u8) -> PartitionId {
    PartitionId::new(1, u32::from(partition % PARTITIONS))
}

impl Partition {
    fn now(&self) -> State {
        self.states
            .last()
            .map(|(state, _)| state.clone())
            .unwrap_or_default()
    }

    /// The next append of a life that keeps the rules.
    fn next(&mut self, partition: PartitionId, kind: u8, size: u16) -> Vec<Record> {
        let record = |body| Record { partition, body };
        let ballot = |ballot| record(RecordBody::Ballot(Ballot(ballot)));
        let mutation = |ballot, decree, effects: Bytes| {
            record(RecordBody::Mutation(Mutation {
                ballot: Ballot(ballot),
                decree: Decree(decree),
                timestamp: Timestamp(decree),
                effects,
            }))
        };
        let reset = |counter, base| {
            let signature = LearnSignature {
                ballot: Ballot(counter),
                incarnation: Incarnation(counter),
                counter,
            };
            record(RecordBody::Reset {
                signature,
                base: Decree(base),
                kind: LearnKind::Log,
                epoch: 0,
            })
        };
        if self.ballot == 0 {
            self.ballot = 1;
            return vec![reset(0, 0), ballot(1)];
        }
        match kind % 16 {
            0 => {
                // A takeover: truncate, then the list anew.
                self.ballot += 1;
                let cut = self
                    .last
                    .saturating_sub(u64::from(self.last > self.durable));
                let truncate = RecordBody::Truncate {
                    ballot: Ballot(self.ballot),
                    decree: Decree(cut),
                };
                let mut records = vec![ballot(self.ballot), record(truncate)];
                self.last = cut;
                let state = self.now();
                for decree in (self.durable + 1).max(cut.saturating_sub(2))..=cut {
                    if let Some((_, effects)) = state.mutations.get(&decree) {
                        records.push(mutation(self.ballot, decree, effects.clone()));
                    }
                }
                records
            }
            1 => {
                self.resets += 1;
                self.ballot += 1;
                let base = self.last.saturating_sub(3).max(self.durable);
                self.last = base;
                vec![reset(self.resets, base), ballot(self.ballot)]
            }
            _ => {
                self.last += 1;
                let size = usize::from(size % 5000);
                let effects = vec![(self.last as u8) ^ kind; size];
                vec![mutation(self.ballot, self.last, effects.into())]
            }
        }
    }

    /// What comes back must be a state it was in, and none before `first`.
    fn returned(&self, found: &State, first: usize) -> Option<State> {
        let mut possible = self.states[first..].iter().rev();
        let (state, _) = possible.find(|(state, _)| state.above(self.durable) == *found)?;
        Some(state.clone())
    }
}

struct Lives {
    disk: SimulatedDisk,
    durability: Durability,
    known: RefCell<BTreeMap<PartitionId, Partition>>,
    appended: Vec<Record>,
    tickets: Vec<Vec<(PartitionId, usize)>>,
}

pub fn run(life: &Life) {
    let durability = if life.synced {
        Durability::Sync
    } else {
        Durability::Buffered
    };
    let mut lives = Lives {
        disk: SimulatedDisk::new(),
        durability,
        known: RefCell::default(),
        appended: Vec::new(),
        tickets: Vec::new(),
    };
    let Some(mut opened) = lives.open() else {
        return;
    };
    for step in life.steps.iter().take(40) {
        let went = lives.step(&opened, step);
        lives.complete(&opened.done, opened.log.stats().synced);
        let power_loss = match step {
            Step::PowerLoss(seed) => Some(*seed),
            _ => None,
        };
        if went.is_none() || matches!(step, Step::Kill | Step::PowerLoss(_)) {
            drop(opened);
            lives.crash(power_loss);
            let Some(next) = lives.open() else {
                return;
            };
            opened = next;
        }
    }
    lives.complete(&opened.done, opened.log.stats().synced);
    drop(opened);
    lives.disk.mend();
    lives.damage(&life.damage);
}

impl Lives {
    fn durable(&self, id: PartitionId) -> Decree {
        Decree(
            self.known
                .borrow()
                .get(&id)
                .map_or(0, |partition| partition.durable),
        )
    }

    /// Nothing is damaged yet: everything safe comes back.
    fn open(&mut self) -> Option<Opened> {
        let opened = match model::open(&self.disk, &options(self.durability), &|id| {
            self.durable(id)
        }) {
            Ok(opened) => opened,
            // The disk was told to fail.
            Err(_) => return None,
        };
        assert!(
            opened.recovery.quarantined.is_empty() && !opened.recovery.lost_track,
            "{:?}",
            opened.recovery
        );
        let synced = Some(opened.log.stats().synced);
        for (&id, partition) in &mut *self.known.borrow_mut() {
            let found = State::recovered(&opened.records, id);
            let safe = partition.safe.saturating_sub(1);
            let nothing = partition.safe == 0 && found == State::default();
            let Some(was) = partition
                .returned(&found, safe)
                .or(nothing.then(State::default))
            else {
                panic!(
                    "{id} came back as {found:?}, not as one of {:?}",
                    &partition.states[safe..]
                );
            };
            let last = was.mutations.keys().next_back().copied().unwrap_or(0);
            partition.last = last.max(partition.durable);
            // Ballots only grow: the next one is above any that was used.
            partition.ballot = if was.ballot.is_none() {
                0
            } else {
                partition.ballot + 1
            };
            (partition.states, partition.safe) = (vec![(was, synced)], 1);
        }
        self.tickets.clear();
        Some(opened)
    }

    /// Nothing: the disk has failed.
    fn step(&mut self, opened: &Opened, step: &Step) -> Option<()> {
        match step {
            Step::Append {
                partition,
                kind,
                size,
            } => self.append(opened, id(*partition), *kind, *size),
            Step::Fill { partition, size } => {
                (0..10).try_for_each(|_| self.append(opened, id(*partition), 2, *size))
            }
            Step::Drive(times) => {
                (0..times % 8).all(|_| opened.log.drive());
                Some(())
            }
            Step::Settle => {
                (0..200).all(|_| opened.log.drive());
                Some(())
            }
            Step::Sync => {
                let ticket = self.tickets.len() as u64;
                let known = self.known.borrow();
                let all = known
                    .iter()
                    .map(|(&id, partition)| (id, partition.states.len()));
                self.tickets.push(all.collect());
                drop(known);
                match opened.log.sync(ticket).ok()? {
                    Appended::Done => self.complete_one(ticket, opened.log.stats().synced),
                    Appended::Pending => {}
                }
                Some(())
            }
            Step::Flush(partition) => {
                self.flush(opened, id(*partition));
                Some(())
            }
            Step::FlushLaggards => {
                for laggard in opened.log.laggards() {
                    self.flush(opened, laggard.partition);
                }
                Some(())
            }
            Step::FailAfter(operations) => {
                self.disk.fail_after(u64::from(*operations));
                Some(())
            }
            Step::Kill | Step::PowerLoss(_) => Some(()),
        }
    }

    fn append(&mut self, opened: &Opened, id: PartitionId, kind: u8, size: u16) -> Option<()> {
        let mut known = self.known.borrow_mut();
        let partition = known.entry(id).or_insert_with(|| Partition {
            states: vec![(State::default(), Some(opened.log.stats().synced))],
            safe: 1,
            ..Partition::default()
        });
        let records = partition.next(id, kind, size);
        let mut state = partition.now();
        records.iter().for_each(|record| state.apply(record));
        partition.states.push((state, None));
        let ticket = self.tickets.len() as u64;
        self.tickets.push(vec![(id, partition.states.len())]);
        drop(known);
        let appended = opened.log.append(&records, ticket);
        self.appended.extend(records);
        appended.ok().map(drop)
    }

    fn complete(&mut self, done: &Done, synced: Position) {
        for ticket in done.take() {
            self.complete_one(ticket, synced);
        }
    }

    fn complete_one(&mut self, ticket: u64, synced: Position) {
        let mut known = self.known.borrow_mut();
        for &(id, states) in &self.tickets[ticket as usize] {
            let Some(partition) = known.get_mut(&id) else {
                continue;
            };
            partition.safe = partition.safe.max(states);
            for (_, mark) in &mut partition.states[..states] {
                mark.get_or_insert(synced);
            }
        }
    }

    fn flush(&mut self, opened: &Opened, id: PartitionId) {
        let mut known = self.known.borrow_mut();
        let Some(partition) = known.get_mut(&id) else {
            return;
        };
        let safe = partition.states.get(partition.safe.saturating_sub(1));
        let Some(&decree) = safe.and_then(|(state, _)| state.mutations.keys().next_back()) else {
            return;
        };
        // What is flushed was committed: no later truncate goes below it.
        let decree = decree.min(partition.last);
        if partition.now().mutations.contains_key(&decree)
            && opened.log.is_synced(id, Decree(decree))
        {
            partition.durable = partition.durable.max(decree);
            opened.log.set_durable(id, Decree(decree));
        }
    }

    fn crash(&self, power_loss: Option<u64>) {
        match power_loss {
            Some(seed) => self.disk.power_loss(seed),
            None => self.disk.mend(),
        }
    }

    fn damage(&self, damage: &[Damage]) {
        let newest = marks(&self.disk)
            .into_iter()
            .map(|(position, _)| position >> 32)
            .max();
        let disk = self.disk.copy();
        let damaged = damage
            .iter()
            .take(8)
            .filter(|damage| damage.done(&disk))
            .count()
            > 0;
        // The newest segment must say of itself that something of it was synced: if all of it is gone, nobody can miss it.
        let mark = marks(&disk).into_iter().map(|(_, synced)| synced).max();
        let mark = mark.filter(|mark| Some(mark >> 32) == newest);

        let durable = |id| self.durable(id);
        let Ok(opened) = model::open(&disk, &options(self.durability), &durable) else {
            assert!(damaged, "a log that nobody damaged cannot be opened");
            return;
        };
        for record in &opened.records {
            assert!(
                self.appended.contains(record),
                "{record:?} was never appended"
            );
        }
        let lost = |opened: &Opened, id| {
            opened.recovery.lost_track || opened.recovery.quarantined.contains(&id)
        };
        for (&id, partition) in &*self.known.borrow() {
            assert!(
                damaged || !lost(&opened, id),
                "{id} is reported, and nothing is wrong"
            );
            let below = |at: &Position| mark.is_some_and(|mark| raw(*at) <= mark);
            let first = partition
                .states
                .iter()
                .rposition(|(_, at)| at.as_ref().is_some_and(below));
            let Some(first) = first.filter(|_| !lost(&opened, id)) else {
                continue;
            };
            let found = State::recovered(&opened.records, id);
            assert!(
                partition.returned(&found, first).is_some(),
                "{id} came back as {found:?} without a word, not as one of {:?}",
                &partition.states[first..]
            );
            if let Some(oldest) = opened.log.oldest(id) {
                let read = opened.log.read(id, oldest, 1 << 20).unwrap_or_default();
                assert!(
                    read.iter()
                        .zip(oldest.0..)
                        .all(|(mutation, decree)| mutation.decree.0 == decree)
                );
            }
        }
        let states = |opened: &Opened| -> Vec<State> {
            let known = self.known.borrow();
            known
                .keys()
                .map(|id| State::recovered(&opened.records, *id))
                .collect()
        };
        let (before, reported) = (states(&opened), opened.recovery.clone());
        drop(opened);
        // What was found once is found again, and what was reported stays so.
        let again =
            model::open(&disk, &options(self.durability), &durable).expect("it was opened before");
        assert_eq!(
            states(&again),
            before,
            "a second opening finds something else"
        );
        assert!(
            reported.quarantined.is_subset(&again.recovery.quarantined),
            "a quarantine is forgotten"
        );
    }
}

impl Damage {
    /// Whether it has changed anything.
    fn done(&self, disk: &SimulatedDisk) -> bool {
        let files = disk.files();
        let file = |number: u8| files.get(usize::from(number) % files.len().max(1));
        match *self {
            Self::Byte {
                file: number,
                at,
                mask,
            } => file(number).is_some_and(|(name, size)| {
                mask != 0 && disk.corrupt(name, usize::from(at) % size, mask)
            }),
            Self::Stretch {
                file: number,
                at,
                length,
                mask,
            } => file(number).is_some_and(|(name, size)| {
                let from = usize::from(at) % size;
                let bytes = from..(from + usize::from(length)).min(*size);
                mask != 0 && bytes.filter(|&at| disk.corrupt(name, at, mask)).count() > 0
            }),
            Self::Remove { file: number } => {
                file(number).is_some_and(|(name, _)| disk.remove(name).is_ok())
            }
            Self::Copy {
                from,
                to,
                at,
                blocks,
            } => {
                let (Some((from, _)), Some((to, size))) = (file(from), file(to)) else {
                    return false;
                };
                let (Some(new), Some(old)) = (disk.contents(from), disk.contents(to)) else {
                    return false;
                };
                let start = (usize::from(at) * 512) % size;
                let places = start..(start + usize::from(blocks) * 512).min(*size);
                places
                    .filter(|&at| {
                        new.get(at).is_some_and(|new| {
                            *new != old[at] && disk.corrupt(to, at, new ^ old[at])
                        })
                    })
                    .count()
                    > 0
            }
        }
    }
}

fn raw(position: Position) -> u64 {
    // It shows itself as SEQUENCE:OFFSET.
    let shown = position.to_string();
    let (sequence, offset) = shown.split_once(':').expect("a position has two parts");
    sequence.parse::<u64>().expect("a number") << 32 | offset.parse::<u64>().expect("a number")
}

/// Position and mark of every batch on the disk that is intact, by the description in `commit-log/src/batch.rs`.
fn marks(disk: &SimulatedDisk) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (name, _) in disk.files() {
        let bytes = disk.contents(&name).unwrap_or_default();
        for at in (0..bytes.len().saturating_sub(31)).step_by(8) {
            let word = |from: usize| {
                let bytes = bytes[at + from..].first_chunk().expect("a header is there");
                u64::from(u32::from_le_bytes(*bytes))
            };
            let position = word(16) | word(20) << 32;
            let end = at + word(8) as usize;
            if word(0) == 0x474c_5054
                && position as u32 as usize == at
                && (at + 32..=bytes.len()).contains(&end)
                && word(4) as u32 == crc32c::crc32c(&bytes[at + 8..end])
            {
                found.push((position, word(24) | word(28) << 32));
            }
        }
    }
    found
}
