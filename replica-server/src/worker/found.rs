//! What the logs hold of each replica at a start, gathered record by record, before there are any cores.
//!
//! A replica that was going over from one log to the other when the process ended may be in both (`commit_log::change_log`): the copy
//! without a reset record is not whole, and where both have one they say the same.

use replication::Recovered;
use std::collections::{BTreeMap, BTreeSet};
use types::{Decree, Durability, PartitionId, Record, RecordBody};

/// What the disk holds of one replica.
pub(crate) struct Found {
    pub(crate) partition: PartitionId,
    pub(crate) recovered: Recovered,
    pub(crate) durability: Durability,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Finder {
    /// By partition and log.
    found: BTreeMap<PartitionId, Vec<Found>>,
    /// Deleted, but perhaps not all of their files are.
    deleted: BTreeSet<PartitionId>,
}

impl Finder {
    pub(crate) fn record(
        &mut self,
        record: Record,
        durability: Durability,
        durable: &dyn Fn(PartitionId) -> Decree,
    ) {
        let Record { partition, body } = record;
        if body == RecordBody::Deleted {
            self.deleted.insert(partition);
            // What stands before it was on its way there when the replica was deleted.
            let found = self.found.entry(partition).or_default();
            found.retain(|found| found.durability != durability);
            return;
        }
        let found = self.entry(partition, durability, durable(partition));
        found.recovered.record(body);
    }

    /// The log of this replica is damaged, whether or not a record of it was left.
    pub(crate) fn quarantine(
        &mut self,
        partition: PartitionId,
        durability: Durability,
        durable: Decree,
    ) {
        let found = self.entry(partition, durability, durable);
        found.recovered.quarantine();
    }

    fn entry(
        &mut self,
        partition: PartitionId,
        durability: Durability,
        durable: Decree,
    ) -> &mut Found {
        let found = self.found.entry(partition).or_default();
        let at = found
            .iter()
            .position(|found| found.durability == durability);
        let at = at.unwrap_or_else(|| {
            let mut recovered = Recovered::new();
            recovered.applied(durable);
            found.push(Found {
                partition,
                recovered,
                durability,
            });
            found.len() - 1
        });
        // It is there: the lines above saw to it.
        &mut found[at]
    }

    /// RocksDB may have had more of any replica than it says.
    pub(crate) fn storage_unknown(&mut self) {
        for found in self.found.values_mut().flatten() {
            found.recovered.storage_unknown();
        }
    }

    /// Whether the logs have anything of the partition.
    pub(crate) fn knows(&self, partition: PartitionId) -> bool {
        self.found
            .get(&partition)
            .is_some_and(|found| !found.is_empty())
    }

    /// Whether a log says that it was deleted.
    pub(crate) fn was_deleted(&self, partition: PartitionId) -> bool {
        self.deleted.contains(&partition)
    }

    /// Replicas of which the logs have nothing but that they were deleted.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = PartitionId> + '_ {
        let deleted = self.deleted.iter().copied();
        deleted.filter(|&partition| !self.knows(partition))
    }

    /// Each replica as the log has it that is right about it, and from which logs others are to be deleted.
    pub(crate) fn finish(self) -> (Vec<Found>, Vec<(PartitionId, Durability)>) {
        let (mut right, mut others) = (Vec::new(), Vec::new());
        for mut found in self.found.into_values() {
            // A whole copy before a damaged one, and that before one that never was whole; of two whole ones that which needs no boot to be so.
            found.sort_by_key(|found| {
                (
                    found.recovered.trust(),
                    found.durability == Durability::Sync,
                )
            });
            right.extend(found.pop());
            others.extend(
                found
                    .into_iter()
                    .map(|found| (found.partition, found.durability)),
            );
        }
        (right, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Ballot, LearnKind, LearnSignature, Mutation, Timestamp};

    const P: PartitionId = PartitionId::new(1, 0);

    fn reset() -> RecordBody {
        RecordBody::Reset {
            signature: LearnSignature::default(),
            base: Decree::ZERO,
            kind: LearnKind::Log,
            epoch: 0,
        }
    }

    fn mutation() -> RecordBody {
        RecordBody::Mutation(Mutation {
            ballot: Ballot(1),
            decree: Decree(1),
            timestamp: Timestamp(1),
            effects: bytes::Bytes::new(),
        })
    }

    /// What a start makes of these records, by log: which one is right, and which others are not.
    fn found(
        sync: &[RecordBody],
        buffered: &[RecordBody],
    ) -> (Vec<Durability>, Vec<Durability>, bool) {
        let mut finder = Finder::default();
        for (durability, bodies) in [(Durability::Sync, sync), (Durability::Buffered, buffered)] {
            for body in bodies {
                let body = body.clone();
                finder.record(Record { partition: P, body }, durability, &|_| Decree::ZERO);
            }
        }
        let deleted = finder.deleted().next().is_some();
        let (right, others) = finder.finish();
        let right = right.into_iter().map(|found| found.durability).collect();
        (
            right,
            others.into_iter().map(|(_, log)| log).collect(),
            deleted,
        )
    }

    #[test]
    fn a_replica_that_was_going_over_is_where_its_reset_record_is() {
        use Durability::{Buffered, Sync};
        let (whole, part) = (
            [reset(), mutation()],
            [mutation(), RecordBody::Ballot(Ballot(1))],
        );
        let gone = [RecordBody::Deleted];
        assert_eq!(found(&whole, &part), (vec![Sync], vec![Buffered], false));
        assert_eq!(found(&part, &whole), (vec![Buffered], vec![Sync], false));
        assert_eq!(found(&gone, &whole), (vec![Buffered], vec![], false));
        assert_eq!(found(&whole, &gone), (vec![Sync], vec![], false));
        assert_eq!(found(&whole, &whole), (vec![Sync], vec![Buffered], false));
    }

    #[test]
    fn a_damaged_copy_is_right_only_where_there_is_no_whole_one() {
        use Durability::{Buffered, Sync};
        let (whole, part) = ([reset(), mutation()], [mutation()]);
        let damaged = [mutation(), RecordBody::Quarantined];
        assert_eq!(found(&damaged, &part), (vec![Sync], vec![Buffered], false));
        assert_eq!(found(&part, &damaged), (vec![Buffered], vec![Sync], false));
        assert_eq!(found(&damaged, &whole), (vec![Buffered], vec![Sync], false));
    }

    #[test]
    fn what_is_deleted_from_one_log_and_in_no_other_is_deleted() {
        let gone = [RecordBody::Deleted];
        assert_eq!(found(&gone, &[]), (vec![], vec![], true));
        assert_eq!(found(&[], &gone), (vec![], vec![], true));
        let tail = [mutation(), RecordBody::Deleted];
        assert_eq!(found(&tail, &[]), (vec![], vec![], true));
    }
}
