//! Counts now and then what the node's replicas take on the disk, and lets the meta leader know of those that have grown or shrunk much.

use crate::worker::Worker;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::PartitionId;

const EVERY: Duration = Duration::from_mins(1);

/// A change by less than this, or by less than an eighth, is not worth a word.
const WORTH_TELLING: u64 = 16 << 20;

/// Bytes of each partition's files, as they were counted last.
#[derive(Default)]
pub(crate) struct DiskUse {
    counted: RefCell<BTreeMap<PartitionId, u64>>,
    told: RefCell<BTreeMap<PartitionId, u64>>,
}

impl DiskUse {
    /// Of one partition; what it is said to be now.
    pub(crate) fn tell(&self, partition: PartitionId) -> u64 {
        let counted = self.counted.borrow();
        let bytes = counted.get(&partition).copied().unwrap_or(0);
        self.told.borrow_mut().insert(partition, bytes);
        bytes
    }

    /// Of all.
    pub(crate) fn total(&self) -> u64 {
        self.counted.borrow().values().sum()
    }

    /// Takes in a new count; what is no longer as it was told.
    fn count(&self, counted: BTreeMap<PartitionId, u64>) -> Vec<PartitionId> {
        let mut told = self.told.borrow_mut();
        told.retain(|partition, _| counted.contains_key(partition));
        let differs = |(partition, &bytes): (&PartitionId, &u64)| {
            let before = told.get(partition).copied().unwrap_or(0);
            let apart = bytes.abs_diff(before);
            (apart >= WORTH_TELLING && apart >= before / 8).then_some(*partition)
        };
        let differing = counted.iter().filter_map(differs).collect();
        *self.counted.borrow_mut() = counted;
        differing
    }
}

/// Counts, for ever.
pub(crate) async fn watch(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let engine = worker.engine.clone();
        // A slow disk must not stop the worker.
        let counted = tokio::task::spawn_blocking(move || engine.disk_use()).await;
        match counted {
            Ok(Ok(counted)) => {
                for partition in worker.disk_use.count(counted) {
                    if let Some(hosted) = worker.find(partition)
                        && worker.meta.is_up()
                    {
                        worker.meta.report(&hosted.borrow(), &worker.disk_use);
                    }
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot count what replicas take on the disk"),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_much_is_told_again() {
        let disk = DiskUse::default();
        let id = PartitionId::new(1, 0);
        let count = |bytes: u64| disk.count(BTreeMap::from([(id, bytes)]));
        assert_eq!(count(WORTH_TELLING - 1), []);
        assert_eq!(count(WORTH_TELLING), [id]);
        assert_eq!(disk.tell(id), WORTH_TELLING);
        assert_eq!(count(WORTH_TELLING * 2 - 1), []);
        assert_eq!(count(WORTH_TELLING * 20), [id]);
        disk.tell(id);
        assert_eq!(count(WORTH_TELLING * 21), [], "less than an eighth");
        assert_eq!(disk.total(), WORTH_TELLING * 21);
    }
}
