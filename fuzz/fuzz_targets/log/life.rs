//! Some lives of a log with crashes and power losses in between, then damage, then the question what is left of it.
//!
//! A mark says up to where the log was on disk when a batch was made. What was appended below the highest mark that the damage has left
//! must come back or be reported missing; above it a torn tail cannot be told from damage.

use super::damage::{Damage, marks, raw};
use super::model::{self, Done, Opened, State, options};
use super::owner::{Partition, id};
use arbitrary::Arbitrary;
use commit_log::{Appended, Position, SimulatedDisk};
use std::cell::RefCell;
use std::collections::BTreeMap;
use types::{Decree, Durability, PartitionId, Record};

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
