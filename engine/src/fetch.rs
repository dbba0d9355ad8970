//! Reading what is not in memory, on the fetch threads: the rows that an evaluation found cold.

use crate::event::{EngineEvent, Ticket};
use crate::node::{Node, NotOpen, Patience};
use crate::row_cache::Space;
use crate::store::Store;
use bytes::Bytes;
use commands::Direction;
use rocksdb::{DB, ReadOptions};
use std::sync::Arc;
use types::PartitionId;

/// What was missing.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// A row, or that there is none.
    Row(Bytes),
    /// Rows of `[from, to)`: their blocks.
    Range {
        from: Bytes,
        to: Bytes,
        direction: Direction,
    },
}

/// What a fetch brought. Hand it to the partition it is of.
#[derive(Debug)]
pub struct Fetched {
    /// Whose.
    pub partition: PartitionId,
    /// As `Partition::fetch` gave it.
    pub ticket: Ticket,
    pub(crate) asked: Asked,
    pub(crate) rows: Vec<(Bytes, Option<Bytes>)>,
}

/// The state of the partition when it asked: an answer to an older one is not cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) space: Space,
    /// Generations dropped until then.
    pub(crate) dropped: u64,
}

/// How many rows and bytes of a range are brought into memory at once.
const RANGE_ROWS: usize = 16 << 10;
const RANGE_BYTES: usize = 8 << 20;

pub(crate) fn begin(
    node: &Arc<Node>,
    store: &Arc<Store>,
    ticket: Ticket,
    asked: Asked,
    wants: Vec<Want>,
) {
    let weak = node.weak();
    let store = Arc::clone(store);
    node.fetchers.run(move || {
        let Some(node) = weak.upgrade() else { return };
        let life = store.life();
        let rows = match fetch(&node, &store, &wants) {
            Ok(rows) => rows,
            Err(reason) => {
                if store.life() == life
                    && !store.slot().gone
                    && !node.stopping.load(std::sync::atomic::Ordering::Acquire)
                {
                    node.fail(&store, reason);
                }
                Vec::new()
            }
        };
        node.tell(EngineEvent::Fetched(Fetched {
            partition: store.id,
            ticket,
            asked,
            rows,
        }));
    });
}

/// Opens the files of a partition in use before anybody waits for that, if there is room: whoever takes over reads from them before
/// its first write.
pub(crate) fn warm_up(node: &Arc<Node>, store: &Arc<Store>) {
    let weak = node.weak();
    let store = Arc::clone(store);
    node.opener.run(move || {
        let Some(node) = weak.upgrade() else { return };
        if node.may_open_more() {
            let life = store.life();
            if let Err(NotOpen::Broken(reason)) = node.open(&store, Patience::Never)
                && store.life() == life
            {
                node.fail(&store, reason);
            }
        }
    });
}

fn fetch(
    node: &Arc<Node>,
    store: &Arc<Store>,
    wants: &[Want],
) -> Result<Vec<(Bytes, Option<Bytes>)>, String> {
    let database = match node.open(store, Patience::Wait) {
        Ok(database) => database,
        Err(NotOpen::Busy | NotOpen::Gone) => {
            return Err("the partition is being closed".to_owned());
        }
        Err(NotOpen::Broken(reason)) => return Err(reason),
    };
    let mut rows = Vec::new();
    for want in wants {
        match want {
            Want::Row(row) => {
                let value = database
                    .db
                    .get_pinned(row)
                    .map_err(|error| error.to_string())?;
                rows.push((
                    row.clone(),
                    value.map(|value| Bytes::copy_from_slice(&value)),
                ));
            }
            Want::Range {
                from,
                to,
                direction,
            } => warm(&database.db, from, to, *direction)?,
        }
    }
    Ok(rows)
}

/// Brings the blocks of a range into memory.
fn warm(db: &DB, from: &[u8], to: &[u8], direction: Direction) -> Result<(), String> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options.set_readahead_size(256 << 10);
    let mut iterator = db.raw_iterator_opt(options);
    match direction {
        Direction::Forward => iterator.seek_to_first(),
        Direction::Backward => iterator.seek_to_last(),
    }
    let mut bytes = 0;
    for _ in 0..RANGE_ROWS {
        let Some((row, value)) = iterator.item() else {
            break;
        };
        bytes += row.len() + value.len();
        if bytes > RANGE_BYTES {
            break;
        }
        match direction {
            Direction::Forward => iterator.next(),
            Direction::Backward => iterator.prev(),
        }
    }
    iterator.status().map_err(|error| error.to_string())
}
