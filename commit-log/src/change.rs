//! A partition goes over from one log to another, because its table's durability changes: the barrier between the two.
//!
//! The order is what keeps its records safe. All that the old log has of it is synced; what of that still counts is copied into the
//! new one, its reset record last, and synced; then its deletion is in the old one, and synced. Nobody may append anything of the
//! partition meanwhile. So whenever it is cut short, a start finds
//! - no reset record in the new log: that copy is not whole, and the old log is right;
//! - one in each: they say the same.
//!
//! Which of two logs to believe by that, and to clear the other, is whoever opens both.

use crate::codec::encoded_size;
use crate::log::Log;
use crate::options::{LogError, ReadError};
use crate::partition::MarkKind;
use crate::shared::Shared;
use crate::tail::{Append, lock};
use types::{PartitionId, Record, RecordBody};

/// Copied in one batch: other partitions' writes wait that long.
const BATCH: usize = 256 << 10;

/// Why a partition stays where it is, or may be in both logs.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was changed: the old log's records of the partition are not all there.
    #[error("the commit log's records of partition {partition} are not whole: {reason}")]
    NotWhole {
        /// Of which partition.
        partition: PartitionId,
        /// What is missing.
        reason: String,
    },
    /// Stop: one of the logs has failed, and only a start tells which of them has the partition.
    #[error(transparent)]
    Failed(#[from] LogError),
}

/// Moves a partition's records; when it returns, they are on disk in the new log and deleted in the old one. Blocks on the disk. Records of a
/// boot and of a proposal, which mean something only where prepares may be unsynced, are left out: `anew` is written in their place.
pub fn change_log(
    from: &Log,
    to: &Log,
    partition: PartitionId,
    anew: Vec<RecordBody>,
) -> Result<(), ChangeError> {
    from.wait_synced()?;
    let mut records = live(from.shared(), partition)?;
    let reset = records.pop_if(|record| matches!(record.body, RecordBody::Reset { .. }));
    let Some(reset) = reset else {
        return Err(not_whole(partition, "the reset record is missing"));
    };
    records.extend(anew.into_iter().map(|body| Record { partition, body }));
    records.push(reset);
    // A beginning: whatever the new log has had of it, and lost, says nothing of what comes now.
    to.delete(partition)?;
    let mut rest = &records[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let more = rest.iter().take_while(|record| {
            bytes += encoded_size(record);
            bytes <= BATCH
        });
        let (batch, behind) = rest.split_at(more.count().max(1));
        to.shared().adopt(batch)?;
        rest = behind;
    }
    to.wait_synced()?;
    let durable = lock(&from.shared().index)
        .partitions
        .get(&partition)
        .map(|known| known.durable);
    to.set_durable(partition, durable.unwrap_or_default());
    from.delete(partition)?;
    // It may have been all that held a segment back.
    from.shared().wake_tidier();
    Ok(())
}

impl Log {
    /// Nothing of the partition counts any more; on disk when it returns.
    pub fn delete(&self, partition: PartitionId) -> Result<(), LogError> {
        /// Nobody waits for it by ticket.
        const NOBODYS: u64 = u64::MAX;
        let deleted = Record {
            partition,
            body: RecordBody::Deleted,
        };
        let _ = self.append_synced(&[deleted], NOBODYS)?;
        self.wait_synced()
    }
}

fn not_whole(partition: PartitionId, reason: &str) -> ChangeError {
    let reason = reason.to_owned();
    ChangeError::NotWhole { partition, reason }
}

/// What a start would be shown of the partition: its mutations, its marks, the reset record last.
fn live(log: &Shared, id: PartitionId) -> Result<Vec<Record>, ChangeError> {
    let (first, last, mut marks) = {
        let index = lock(&log.index);
        let Some(known) = index.partitions.get(&id) else {
            return Err(not_whole(id, "there are none"));
        };
        if known.mark(MarkKind::Quarantined).is_some() {
            return Err(not_whole(id, "they are damaged"));
        }
        (known.durable.next(), known.last(), known.marks.clone())
    };
    let mut records = Vec::new();
    let mut next = first;
    while last.is_some_and(|last| next <= last) {
        let before = next;
        let piece = log.read(id, next, BATCH);
        let piece = piece.map_err(|error: ReadError| not_whole(id, &error.to_string()))?;
        for mutation in piece {
            if mutation.decree != next {
                return Err(not_whole(id, &format!("decree {next} is missing")));
            }
            next = next.next();
            records.push(Record {
                partition: id,
                body: RecordBody::Mutation(mutation),
            });
        }
        if next == before {
            return Err(not_whole(id, &format!("decree {next} is missing")));
        }
    }
    marks.sort_unstable_by_key(|mark| (mark.kind == MarkKind::Reset, mark.kind));
    let kept = |kind| {
        !matches!(
            kind,
            MarkKind::Boot | MarkKind::Proposed | MarkKind::Deleted
        )
    };
    let bodies = marks.into_iter().filter(|mark| kept(mark.kind));
    records.extend(bodies.filter_map(|mark| {
        let body = mark.body?;
        Some(Record {
            partition: id,
            body,
        })
    }));
    Ok(records)
}

impl Shared {
    /// Appends records that another log has shown: they cancel nothing, having done so where they first stood.
    fn adopt(&self, records: &[Record]) -> Result<(), LogError> {
        let mut tail = self.lock_tail();
        self.check()?;
        let appends = records.iter().map(|record| Append {
            record,
            restated: true,
        });
        let written = self.watched(&self.writing_since, || {
            tail.append(&self.writing(), appends)
        });
        let end = written.map_err(|error| self.fail("write", &error))?;
        self.wrote(end);
        Ok(())
    }
}
