//! A partition as its owner knows it: what it appends next, what it has been, and from which mark on that is on disk.

use super::model::State;
use bytes::Bytes;
use commit_log::Position;
use types::{
    Ballot, Decree, Incarnation, LearnKind, LearnSignature, Mutation, PartitionId, Record,
    RecordBody, Timestamp,
};

/// A partition as its owner knows it.
#[derive(Default)]
pub struct Partition {
    /// After each append since the last opening, and from which mark on it is known to be on disk.
    pub states: Vec<(State, Option<Position>)>,
    pub safe: usize,
    pub ballot: u64,
    pub last: u64,
    pub durable: u64,
    pub resets: u64,
}

const PARTITIONS: u8 = 4;

/// One of a few.
pub fn id(partition: u8) -> PartitionId {
    PartitionId::new(1, u32::from(partition % PARTITIONS))
}

impl Partition {
    pub fn now(&self) -> State {
        self.states
            .last()
            .map(|(state, _)| state.clone())
            .unwrap_or_default()
    }

    /// The next append of a life that keeps the rules.
    pub fn next(&mut self, partition: PartitionId, kind: u8, size: u16) -> Vec<Record> {
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
    pub fn returned(&self, found: &State, first: usize) -> Option<State> {
        let mut possible = self.states[first..].iter().rev();
        let (state, _) = possible.find(|(state, _)| state.above(self.durable) == *found)?;
        Some(state.clone())
    }
}
