//! What records mean, as an independent reader of the rules would read them, and what they amount to once applied. The replica's own
//! reading, and what the log finds again, are held against it.

use crate::requests::{Requests, id_of};
use std::collections::BTreeMap;
use types::{Ballot, BootId, Decree, LearnKind, LearnSignature, Mutation, RecordBody, Timestamp};

/// What a partition's data is, here: up to where it is applied, a hash chained over everything applied, its time, and the requests
/// that took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub(crate) applied: Decree,
    pub(crate) hash: u64,
    pub(crate) time: Timestamp,
    pub(crate) requests: Requests,
}

impl State {
    pub(crate) fn after(self, mutation: &Mutation) -> Self {
        let mut requests = self.requests;
        requests.take(id_of(mutation));
        Self {
            applied: mutation.decree,
            hash: (self.hash ^ digest(mutation)).rotate_left(9),
            time: mutation.timestamp,
            requests,
        }
    }
}

/// A mutation without its ballot.
pub(crate) fn digest(mutation: &Mutation) -> u64 {
    let start = mutation.timestamp.0.rotate_left(17) ^ mutation.decree.0;
    mutation.effects.chunks(8).fold(start, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ mixed >> 32
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
    /// Up to there a checkpoint takes the place of all records (L4): that they cannot be read any more is no loss.
    replaced: Decree,
    /// All records before this number are in.
    pub(super) next: u64,
}

impl Reading {
    pub(crate) fn take(&mut self, record: &RecordBody) {
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
                self.replaced = match kind {
                    LearnKind::Checkpoint => *base,
                    LearnKind::Log => Decree::ZERO,
                };
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

    /// What the log shows at a start: resets, then the mutations that nothing cancels, then the other marks. A truncate has had its
    /// effect, and mutations that came after it are shown before it.
    pub(crate) fn shown(records: &[RecordBody]) -> Self {
        let mut reading = Self::default();
        for record in records {
            if !matches!(record, RecordBody::Truncate { .. }) {
                reading.take(record);
            }
        }
        reading
    }

    /// Whether two say the same of everything above what RocksDB has.
    pub(crate) fn agrees(&self, other: &Self, applied: Decree) -> bool {
        let marks = |of: &Self| (of.ballot, of.learn, of.ready, of.boot, of.quarantined);
        let above = applied.max(self.replaced).next();
        marks(self) == marks(other)
            && self
                .mutations
                .range(above..)
                .eq(other.mutations.range(above..))
    }
}
