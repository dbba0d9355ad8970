//! What waits to be written, and the one batch on its way.
//!
//! While a batch is in flight changes gather; the next batch takes them all, so that a thousand proposals cost one write per page.

use crate::cluster::{Change, Pending};
use crate::{Action, BatchId, Cluster, Document, Key, PAGE_PARTITIONS, Write};
use std::collections::{BTreeMap, BTreeSet};
use types::{Configuration, Instant, PartitionId, TableId};

/// Bytes of one batch at most, by [`Document::size`]; ZooKeeper takes no request of a megabyte, and a page of 64 members each is some 150 KiB.
const BATCH_BYTES: usize = 640 << 10;
/// What else a document costs: its key, its version, its place in a request.
const BESIDE: usize = 128;

/// Versions of all documents, and those to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    versions: BTreeMap<Key, u64>,
    dirty: BTreeSet<Key>,
    in_flight: Option<InFlight>,
    last_batch: u64,
}

#[derive(Debug)]
struct InFlight {
    batch: BatchId,
    /// The version that each will have; `None` if it is being removed.
    documents: Vec<(Key, Option<u64>)>,
}

impl Outbox {
    /// Notes a document that is in the store; returns the version noted before, which there should not be.
    pub(crate) fn restore(&mut self, key: Key, version: u64) -> Option<u64> {
        self.versions.insert(key, version)
    }

    /// Whether the store does not have it.
    pub(crate) fn is_new(&self, key: Key) -> bool {
        !self.versions.contains_key(&key)
    }

    /// What belongs to tables, of what is in the store.
    pub(crate) fn tables_and_pages(&self) -> BTreeSet<Key> {
        let keys = self.versions.keys().copied();
        keys.filter(|key| matches!(key, Key::Table(_) | Key::Page { .. }))
            .collect()
    }

    /// The document is to be written as it will be then.
    pub(crate) fn touch(&mut self, key: Key) {
        self.dirty.insert(key);
    }
}

impl Cluster {
    /// Sends the next batch if none is in flight.
    pub(crate) fn flush(&mut self, actions: &mut Vec<Action>) {
        if self.outbox.in_flight.is_some() {
            return;
        }
        let mut writes = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(key) = self.outbox.dirty.pop_first()
        {
            let expected = self.outbox.versions.get(&key).copied().unwrap_or(0);
            let document = self.document(key);
            if document.is_some() || expected > 0 {
                bytes += BESIDE + document.as_ref().map_or(0, Document::size);
                writes.push(Write {
                    key,
                    expected,
                    document,
                });
            }
        }
        if writes.is_empty() {
            return;
        }
        self.outbox.last_batch += 1;
        let batch = BatchId(self.outbox.last_batch);
        let after = |write: &Write| {
            (
                write.key,
                write.document.is_some().then_some(write.expected + 1),
            )
        };
        self.outbox.in_flight = Some(InFlight {
            batch,
            documents: writes.iter().map(after).collect(),
        });
        actions.push(Action::Store { batch, writes });
    }

    /// The batch is durable: what it carried is true now and is told to everybody.
    pub(crate) fn stored(&mut self, now: Instant, batch: BatchId, actions: &mut Vec<Action>) {
        let Some(done) = self
            .outbox
            .in_flight
            .take_if(|in_flight| in_flight.batch == batch)
        else {
            return;
        };
        let mut pages = Vec::new();
        for (key, version) in done.documents {
            match version {
                Some(version) => self.outbox.versions.insert(key, version),
                None => self.outbox.versions.remove(&key),
            };
            match key {
                Key::Root => {
                    self.end_rebuild(now, actions);
                    self.confirm(key, actions);
                }
                Key::Node(_) => self.confirm(key, actions),
                // Not in service before all others are whole, too.
                Key::Table(_) if self.rebuilding.is_incomplete() => {}
                Key::Table(table) => self.table_stored(now, table, actions),
                Key::Page { table, page } => pages.push((table, page)),
            }
            self.rebuilding.stored(key);
        }
        self.pages_stored(now, &pages, actions);
        self.complete_rebuild();
    }

    /// A document as it should be stored; `None`: it should not be.
    fn document(&mut self, key: Key) -> Option<Document> {
        self.document_sent(key);
        match key {
            Key::Root => Some(Document::Root {
                next_table: self.next_table,
                balancing: self.balancing,
                rebuilding: self.rebuilding.is_incomplete(),
            }),
            Key::Node(node) => self.nodes.get(&node).map(|node| Document::Node {
                address: node.address.clone(),
                incarnation: node.incarnation,
                duty: node.duty,
            }),
            Key::Table(table) => {
                let table = self.tables.get(&table)?;
                match &table.change {
                    Some(Change::Removal) => None,
                    Some(Change::Properties(changed, _)) => Some(Document::Table(changed.clone())),
                    None => Some(Document::Table(table.properties.clone())),
                }
            }
            Key::Page { table, page } => self.page(table, page).map(Document::Page),
        }
    }

    fn page(&mut self, table: TableId, page: u32) -> Option<Vec<Option<Configuration>>> {
        let partitions = &mut self.tables.get_mut(&table)?.partitions;
        let first = page as usize * PAGE_PARTITIONS as usize;
        let beyond = partitions.len().min(first + PAGE_PARTITIONS as usize);
        let configurations = partitions
            .get_mut(first..beyond)?
            .iter_mut()
            .map(|partition| {
                if let Some(Pending {
                    configuration,
                    sent,
                }) = &mut partition.pending
                {
                    *sent = true;
                    return Some(configuration.clone());
                }
                partition.stored.clone()
            });
        Some(configurations.collect())
    }

    /// The page of a partition has to be written.
    pub(crate) fn touch_page(&mut self, id: PartitionId) {
        self.outbox.touch(Key::Page {
            table: id.table,
            page: id.index / PAGE_PARTITIONS,
        });
    }
}
