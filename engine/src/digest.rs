//! A summary of a partition's logical state at one decree, for comparing replicas.
//!
//! Which rows count is `commands::logical`'s; here they are read from a snapshot that the apply thread took between two mutations, so
//! nobody else waits.

use crate::event::{Digest, EngineEvent, Ticket};
use crate::node::Node;
use crate::rocks::{Database, Frozen};
use crate::store::Store;
use commands::logical::LogicalRows;
use rocksdb::ReadOptions;
use std::sync::Arc;
use types::Decree;

/// Called on the apply thread with nothing above `at` applied.
pub(crate) fn begin(
    node: &Arc<Node>,
    store: &Arc<Store>,
    database: &Arc<Database>,
    ticket: Ticket,
    at: Decree,
) {
    let (store, life) = (Arc::clone(store), store.life());
    let state = Frozen::of(database);
    let weak = node.weak();
    node.background.run(move || {
        let digest = sum_up(&state, at);
        drop(state);
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
}

fn sum_up(state: &Frozen, at: Decree) -> Result<Digest, NoDigest> {
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
