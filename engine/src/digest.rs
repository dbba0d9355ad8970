//! A summary of a partition's logical state at one decree, for comparing replicas.
//!
//! Which rows count is `commands::logical`'s; here they are read from a snapshot that the apply thread took between two mutations, so
//! nobody else waits. Whoever is in no haste reads slowly, on a thread that does nothing else. A snapshot keeps its instance open: when the
//! contents are replaced or removed, the digests that wait give theirs up at once, and the one that is being read ends soon.

use crate::event::{Digest, EngineEvent, Haste, Ticket};
use crate::node::Node;
use crate::rocks::{Database, Frozen};
use crate::store::{Store, lock};
use commands::logical::LogicalRows;
use rocksdb::ReadOptions;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use types::Decree;

/// Called on the apply thread with nothing above `at` applied.
pub(crate) fn begin(
    node: &Arc<Node>,
    store: &Arc<Store>,
    database: &Arc<Database>,
    ticket: Ticket,
    (at, haste): (Decree, Haste),
) {
    let (store, life) = (Arc::clone(store), store.life());
    let state = Arc::new(Mutex::new(Some(Frozen::of(database))));
    store.keep(&state);
    let weak = node.weak();
    let pool = match haste {
        Haste::Now => &node.background,
        Haste::Paced => &node.digester,
    };
    pool.run(move || {
        let state = lock(&state).take();
        let digest = state.ok_or(NoDigest::Replaced).and_then(|state| {
            let mut pace = Pace::new(weak.clone(), haste, (Arc::clone(&store), life));
            sum_up(&state, at, &mut pace)
        });
        let Some(node) = weak.upgrade() else { return };
        if let Err(NoDigest::Unreadable(reason)) = &digest
            && store.life() == life
        {
            node.fail(&store, reason.clone());
        }
        node.tell(EngineEvent::Digested {
            partition: store.id,
            ticket,
            digest: digest.map_err(|reason| reason.to_string()),
        });
    });
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
enum NoDigest {
    #[error("decree {wanted} is past: {applied} was applied")]
    Past { wanted: Decree, applied: Decree },
    /// The files are damaged: a digest reads every block.
    #[error("{0}")]
    Unreadable(String),
    #[error("the server is stopping")]
    Stopping,
    #[error("the partition's contents were replaced or removed")]
    Replaced,
}

/// Spreads what is read over the time that it may take.
struct Pace {
    node: Weak<Node>,
    /// What is read, and in which of its lives.
    store: (Arc<Store>, u64),
    /// Bytes a second; zero: without waiting.
    rate: u64,
    began: Instant,
    read: u64,
    /// What will have been read when it looks again whether to go on.
    look_at: u64,
}

impl Pace {
    /// Shorter waits are put off: they would be inexact, and many.
    const SHORTEST: Duration = Duration::from_millis(10);
    /// Longer ones are interrupted by a look whether to go on.
    const LONGEST: Duration = Duration::from_millis(100);
    /// Bytes between two looks of who does not wait.
    const LOOK_EVERY: u64 = 1 << 20;

    fn new(node: Weak<Node>, haste: Haste, store: (Arc<Store>, u64)) -> Self {
        let rate = node.upgrade().map_or(0, |node| node.options.digest_rate);
        Self {
            node,
            store,
            rate: match haste {
                Haste::Now => 0,
                Haste::Paced => rate,
            },
            began: Instant::now(),
            read: 0,
            look_at: 0,
        }
    }

    fn look(&self) -> Result<(), NoDigest> {
        let stopping = |node: Arc<Node>| node.stopping.load(Ordering::Acquire);
        if self.node.upgrade().is_none_or(stopping) {
            return Err(NoDigest::Stopping);
        }
        let (store, life) = &self.store;
        if store.life() != *life {
            return Err(NoDigest::Replaced);
        }
        Ok(())
    }

    /// Waits until so many more bytes may be read.
    fn wait(&mut self, bytes: usize) -> Result<(), NoDigest> {
        self.read += bytes as u64;
        if self.read >= self.look_at {
            self.look()?;
            self.look_at = self.read + Self::LOOK_EVERY;
        }
        if self.rate == 0 {
            return Ok(());
        }
        let due = Duration::from_secs_f64(self.read as f64 / self.rate as f64);
        loop {
            let ahead = due.saturating_sub(self.began.elapsed());
            if ahead < Self::SHORTEST {
                return Ok(());
            }
            self.look()?;
            std::thread::sleep(ahead.min(Self::LONGEST));
        }
    }
}

fn sum_up(state: &Frozen, at: Decree, pace: &mut Pace) -> Result<Digest, NoDigest> {
    let applied = state.applied().map_err(NoDigest::Unreadable)?;
    if applied.decree != at {
        return Err(NoDigest::Past {
            wanted: at,
            applied: applied.decree,
        });
    }
    let mut logical = LogicalRows::new(applied.timestamp);
    let mut sum = Sum::new();
    let mut rows = 0;
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(1 << 20);
    let mut iterator = state.snapshot().raw_iterator_opt(options);
    iterator.seek_to_first();
    while let Some((row, value)) = iterator.item() {
        pace.wait(row.len() + value.len())?;
        if logical.contains(row, value) {
            sum.add(row);
            sum.add(value);
            rows += 1;
        }
        iterator.next();
    }
    iterator
        .status()
        .map_err(|error| NoDigest::Unreadable(error.to_string()))?;
    Ok(Digest {
        decree: at,
        value: sum.0,
        rows,
    })
}

/// A 128-bit multiplicative hash, eight bytes at a time. Its own, because replicas of different versions must agree on it.
struct Sum(u128);

impl Sum {
    const FACTOR: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

    fn new() -> Self {
        Self(Self::FACTOR)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ u128::from(word)).wrapping_mul(Self::FACTOR);
        self.0 = mixed ^ (mixed >> 67);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: &[&[u8]]) -> u128 {
        let mut sum = Sum::new();
        for part in parts {
            sum.add(part);
        }
        sum.0
    }

    #[test]
    fn sums_tell_what_stands_where() {
        let sums = [
            sum(&[]),
            sum(&[b""]),
            sum(&[b"", b""]),
            sum(&[b"ab", b"c"]),
            sum(&[b"a", b"bc"]),
            sum(&[b"a\0", b"bc"]),
            sum(&[b"bc", b"a"]),
        ];
        for (i, a) in sums.iter().enumerate() {
            assert!(sums[i + 1..].iter().all(|b| a != b), "{i}");
        }
    }
}
