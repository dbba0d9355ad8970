//! Checkpoints of which a learner got a part: kept for a while, with the log after them, so that its next attempt finds the same files and
//! goes on where it was. By then `RocksDB` may long have compacted its own into others.
//!
//! At most one of each partition, and none where the disk or the log has no room for it. Sending them is `checkpoint`'s.

use commit_log::Pin;
use engine::Checkpoint;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use types::{Instant, NodeId, PartitionId};

/// A checkpoint for a learner and the log that follows it. Its files are removed with it.
pub(crate) struct Outgoing {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) pin: Arc<Pin>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let dir = std::mem::take(&mut self.checkpoint.dir);
        // Without a runtime the server is at its end; its next start removes what is left.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn_blocking(move || {
            if let Err(error) = std::fs::remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a checkpoint that nobody needs was not removed");
            }
        });
    }
}

struct Kept {
    learner: NodeId,
    outgoing: Outgoing,
    until: Instant,
}

/// What is kept, by partition.
pub(crate) struct KeptCheckpoints {
    keep: Duration,
    all: RefCell<BTreeMap<PartitionId, Kept>>,
}

impl KeptCheckpoints {
    /// Keeps each for so long; zero: not at all.
    pub(crate) fn new(keep: Duration) -> Self {
        Self {
            keep,
            all: RefCell::default(),
        }
    }

    /// The transfer to `learner` was cut off.
    pub(crate) fn put(
        &self,
        partition: PartitionId,
        learner: NodeId,
        outgoing: Outgoing,
        now: Instant,
    ) {
        let until = now + self.keep;
        if until > now && !outgoing.pin.broken() {
            let kept = Kept {
                learner,
                outgoing,
                until,
            };
            self.all.borrow_mut().insert(partition, kept);
        }
    }

    /// What the learner got a part of, if it is still worth going on with: the log reaches back to it.
    pub(crate) fn take(&self, partition: PartitionId, learner: NodeId) -> Option<Outgoing> {
        let mut all = self.all.borrow_mut();
        if all.get(&partition)?.learner != learner {
            return None;
        }
        let kept = all.remove(&partition)?;
        (!kept.outgoing.pin.broken()).then_some(kept.outgoing)
    }

    /// This replica leads no more: what it has is not what others are taught.
    pub(crate) fn forget(&self, partition: PartitionId) {
        self.all.borrow_mut().remove(&partition);
    }

    /// Gives up what was kept for long enough, and what the log could not be kept for.
    pub(crate) fn expire(&self, now: Instant) {
        let lasts = |kept: &Kept| kept.until > now && !kept.outgoing.pin.broken();
        self.all.borrow_mut().retain(|_, kept| lasts(kept));
    }

    /// The disk has no room for any.
    pub(crate) fn clear(&self) {
        self.all.borrow_mut().clear();
    }
}
