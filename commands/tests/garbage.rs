//! Compaction at any moment changes no reply and no logical state, and leaves nothing of what is gone.

mod support;

use commands::logical::LogicalRows;
use proptest::prelude::*;
use support::{Partition, shown};

fn command() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["{t}a", "{t}b", "{t}c", "x"]);
    let field = || prop::sample::select(vec!["f", "g", "h"]);
    prop_oneof![
        key().prop_map(|k| format!("SET {k} v")),
        (key(), 1u64..50).prop_map(|(k, t)| format!("SET {k} v PX {t}")),
        (key(), field()).prop_map(|(k, f)| format!("HSET {k} {f} v")),
        (key(), field(), 1u64..50).prop_map(|(k, f, t)| format!("HPEXPIRE {k} {t} FIELDS 1 {f}")),
        (key(), field()).prop_map(|(k, f)| format!("HDEL {k} {f}")),
        (key(), 1u64..50).prop_map(|(k, t)| format!("PEXPIRE {k} {t}")),
        key().prop_map(|k| format!("DEL {k}")),
        (key(), key()).prop_map(|(k, j)| format!("RENAME {k} {j}")),
        (key(), key()).prop_map(|(k, j)| format!("COPY {k} {j} REPLACE")),
        key().prop_map(|k| format!("HGETALL {k}")),
        key().prop_map(|k| format!("GET {k}")),
        key().prop_map(|k| format!("HLEN {k}")),
        Just("DBSIZE".to_owned()),
        Just("KEYS *".to_owned()),
        (1u64..30).prop_map(|t| format!("+{t}")),
    ]
}

fn logical(partition: &Partition) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = LogicalRows::new(partition.moment.now);
    partition
        .open
        .rows
        .rows()
        .filter(|(row, value)| rows.contains(row, value))
        .map(|(row, value)| (row.to_vec(), value.to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(support::config(1500))]

    #[test]
    fn replies_are_the_same_whatever_was_compacted_when(
        steps in prop::collection::vec((command(), prop::bool::weighted(0.2)), 1..60),
    ) {
        let mut lazy = Partition::default();
        let mut eager = Partition::default();
        for (command, compact) in steps {
            if let Some(time) = command.strip_prefix('+') {
                let time = time.parse().unwrap();
                lazy.advance(time);
                eager.advance(time);
            } else {
                prop_assert_eq!(shown(&lazy.run(&command)), shown(&eager.run(&command)), "{}", command);
            }
            if compact {
                let before = logical(&eager);
                eager.compact();
                prop_assert_eq!(&logical(&eager), &before);
                let left = eager.open.rows.rows().count();
                prop_assert_eq!(left, before.len(), "a compaction leaves logical rows only");
            }
        }
    }

    #[test]
    fn replicas_that_compact_at_different_moments_have_one_logical_state(
        steps in prop::collection::vec((command(), prop::bool::weighted(0.2)), 1..60),
    ) {
        let mut primary = Partition::default();
        let mut compacted = commands::memory::MemoryView::new();
        for (command, compact) in steps {
            if let Some(time) = command.strip_prefix('+') {
                primary.advance(time.parse().unwrap());
                continue;
            }
            let args = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
            primary.evaluate(&args);
            if let Some(batch) = primary.last_batch.take() {
                compacted.apply(&batch).unwrap();
            }
            if compact {
                support::compact(&mut compacted, primary.moment.now);
            }
        }
        let mut rows = LogicalRows::new(primary.moment.now);
        let left = compacted
            .rows()
            .filter(|(row, value)| rows.contains(row, value))
            .map(|(row, value)| (row.to_vec(), value.to_vec()))
            .collect::<Vec<_>>();
        prop_assert_eq!(left, logical(&primary));
    }
}

#[test]
fn deleting_a_large_hash_writes_one_row_and_tells_how_much_became_garbage() {
    let mut partition = Partition::default();
    for field in 0..100 {
        partition.run(&format!("HSET h f{field} v"));
    }
    let evaluated = partition.evaluate(&[b"DEL", b"h"]);
    assert_eq!(evaluated.garbage, 101);
    let batch = partition.last_batch.take().unwrap();
    assert_eq!(commands::effects::rows(&batch).count(), 1);
    partition.compact();
    assert_eq!(partition.open.rows.rows().count(), 0);
}
