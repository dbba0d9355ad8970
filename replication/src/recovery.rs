//! What a restart makes of the records in the log (rules L1 to L4, C5, C6).
//!
//! The log hands over records in an order in which they still mean what they meant when written: a reset before what was
//! appended after it. Reading bytes, torn tails and damage are the log's affair.

use crate::Standing;
use crate::learning::{Learn, Progress};
use crate::planted::{Bug, planted};
use crate::replica::Identity;
use std::collections::BTreeMap;
use types::{
    Ballot, BootId, Configuration, Decree, Durability, LearnKind, LearnSignature, Mutation,
    RecordBody,
};

/// Gathers what log and RocksDB have of one replica.
#[derive(Debug, Default)]
pub struct Recovered {
    applied: Decree,
    mutations: BTreeMap<Decree, Mutation>,
    last_ballot: Ballot,
    configuration: Option<Configuration>,
    reset: Option<Reset>,
    ready: Option<LearnSignature>,
    proposed: Option<Ballot>,
    boot: BootId,
    quarantined: bool,
    storage_unknown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reset {
    signature: LearnSignature,
    base: Decree,
    kind: LearnKind,
    epoch: u64,
}

/// What `Replica::recover` starts from.
pub(crate) struct Restart {
    pub(crate) standing: Standing,
    pub(crate) sound: bool,
    pub(crate) epoch: u64,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) committed: Decree,
    pub(crate) last_ballot: Ballot,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) proposed: Option<Ballot>,
    pub(crate) boot: BootId,
}

impl Recovered {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// RocksDB durably has everything up to `decree`.
    pub fn applied(&mut self, decree: Decree) {
        self.applied = decree;
    }

    /// The log could not be read whole where this partition had records: it must learn anew.
    pub fn quarantine(&mut self) {
        self.quarantined = !planted(Bug::DamagedIsMember);
    }

    /// It is not known whether RocksDB had anything of this copy: what the log does not have from its first decree on may be gone.
    pub fn storage_unknown(&mut self) {
        self.storage_unknown = true;
    }

    /// How far these records are to be believed, of those that two logs have of one replica: 2, they are whole; 1, they were damaged; 0, they
    /// never were a replica's, for that begins with a reset record.
    pub fn trust(&self) -> u8 {
        match (self.quarantined, self.reset.is_some()) {
            (false, true) => 2,
            (true, _) => 1,
            (false, false) => 0,
        }
    }

    /// The next record of the log.
    pub fn record(&mut self, body: RecordBody) {
        match body {
            RecordBody::Mutation(mutation) => {
                self.last_ballot = self.last_ballot.max(mutation.ballot);
                if planted(Bug::RecordsCancel) {
                    self.mutations.split_off(&mutation.decree);
                }
                if mutation.decree > self.applied {
                    // L1: the latest record of a decree wins and cancels nothing above it.
                    self.mutations.insert(mutation.decree, mutation);
                }
            }
            // A replica never knows a ballot without its configuration, whose record says more.
            RecordBody::Ballot(_) => {}
            RecordBody::Truncate { ballot, decree } => self
                .mutations
                .retain(|&at, mutation| at <= decree || mutation.ballot >= ballot),
            RecordBody::Reset {
                signature,
                base,
                kind,
                epoch,
            } => {
                if !planted(Bug::ResetKeepsTail) {
                    self.mutations.retain(|&at, _| at <= base);
                }
                self.reset = Some(Reset {
                    signature,
                    base,
                    kind,
                    epoch,
                });
                self.ready = None;
                // C5: what was damaged is replaced.
                self.quarantined &= kind == LearnKind::Log;
            }
            RecordBody::Ready { .. } if planted(Bug::ForgetsReady) => {}
            RecordBody::Ready { signature, .. } => self.ready = Some(signature),
            RecordBody::Configuration(configuration) => {
                let known = self.configuration.as_ref().map(|known| known.ballot);
                if known < Some(configuration.ballot) {
                    self.configuration = Some(configuration);
                }
            }
            RecordBody::Proposed(ballot) => self.proposed = self.proposed.max(Some(ballot)),
            RecordBody::Boot(boot) => self.boot = boot,
            RecordBody::Quarantined => self.quarantine(),
            RecordBody::Deleted => {
                let applied = self.applied;
                *self = Self {
                    applied,
                    ..Self::default()
                };
            }
        }
    }

    pub(crate) fn finish(self, identity: &Identity) -> Restart {
        let standing = self.standing(identity);
        let learnt_by_log = self.reset.is_some_and(|reset| reset.kind == LearnKind::Log);
        let sound = match standing {
            Standing::Whole(_) | Standing::Unsynced(_) => true,
            Standing::Learning(_) => learnt_by_log,
            _ => false,
        };
        let mut epoch = self.reset.map_or(0, |reset| reset.epoch);
        let copy = match standing {
            Standing::Whole(signature) | Standing::Unsynced(signature) => Some(signature),
            _ => None,
        };
        if let (Some(signature), Some(configuration)) = (copy, &self.configuration) {
            // C6: a sole survivor's copy became the truth of a new epoch with its configuration, and stays of it if power fails again.
            let member = configuration.member(identity.me);
            if member.is_some_and(|member| member.signature == signature) {
                epoch = configuration.epoch;
            }
        }
        // A learn that never ended, or power lost under unsynced prepares, may leave a hole; a whole copy has none.
        let mut next = self.applied;
        let contiguous = |mutation: &Mutation| {
            next = next.next();
            mutation.decree == next
        };
        let mutations = self
            .mutations
            .into_values()
            .take_while(contiguous)
            .take_while(|_| !planted(Bug::ForgetsPrepared))
            .collect();
        Restart {
            standing,
            sound,
            epoch,
            configuration: self.configuration,
            committed: self.applied,
            last_ballot: self.last_ballot,
            mutations,
            proposed: self.proposed,
            boot: self.boot,
        }
    }

    /// L4: the disk's own word. C6: what another boot left unsynced is gone.
    fn standing(&self, identity: &Identity) -> Standing {
        if self.quarantined {
            return Standing::Damaged;
        }
        let Some(reset) = self.reset else {
            return Standing::Blank;
        };
        let original = reset.signature == LearnSignature::default();
        if !original && self.ready != Some(reset.signature) {
            return Standing::Learning(Learn {
                signature: reset.signature,
                progress: Progress::Abandoned,
            });
        }
        if reset.kind == LearnKind::Checkpoint && self.applied < reset.base {
            return Standing::Damaged;
        }
        let from_the_first = self.applied > Decree::ZERO || self.mutations.contains_key(&Decree(1));
        if self.storage_unknown && !from_the_first {
            return Standing::Damaged;
        }
        let lost_unsynced = identity.durability == Durability::Buffered
            && self.boot != BootId::default()
            && self.boot != identity.boot
            && !planted(Bug::IgnoresBoot);
        if lost_unsynced {
            return Standing::Unsynced(reset.signature);
        }
        if self.has_hole() {
            return Standing::Damaged;
        }
        Standing::Whole(reset.signature)
    }

    fn has_hole(&self) -> bool {
        if planted(Bug::DamagedIsMember) {
            return false;
        }
        let last = self.mutations.last_key_value().map(|(&decree, _)| decree);
        last.is_some_and(|last| last.0 - self.applied.0 != self.mutations.len() as u64)
    }
}
