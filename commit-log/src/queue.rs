//! Appends waiting for the writer (`sync`): bounded in bytes, in order within a partition, partitions in turn.

use crate::codec::encoded_size;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use types::{PartitionId, Record};

/// What an append completes.
pub(crate) enum Ticket {
    Whole(u64),
    /// One of several parts; the last one completes it.
    Part(Arc<Option<u64>>),
}

impl Ticket {
    /// The append is durable: the ticket to complete, if this was its last part.
    pub(crate) fn done(self) -> Option<u64> {
        match self {
            Self::Whole(ticket) => Some(ticket),
            Self::Part(part) => Arc::into_inner(part).flatten(),
        }
    }
}

/// One append.
pub(crate) struct Pending {
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: usize,
    pub(crate) ticket: Ticket,
}

/// Appends by partition.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: HashMap<PartitionId, VecDeque<Pending>, foldhash::fast::FixedState>,
    turn: VecDeque<PartitionId>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turn.is_empty()
    }

    pub(crate) fn push(&mut self, partition: PartitionId, pending: Pending) {
        self.bytes += pending.bytes;
        let waiting = self.waiting.entry(partition).or_default();
        if waiting.is_empty() {
            self.turn.push_back(partition);
        }
        waiting.push_back(pending);
    }

    /// An append that names several partitions: one part each.
    pub(crate) fn push_mixed(&mut self, records: &[Record], ticket: u64) {
        let whole = Arc::new(Some(ticket));
        let mut parts: BTreeMap<PartitionId, Vec<Record>> = BTreeMap::new();
        for record in records {
            parts
                .entry(record.partition)
                .or_default()
                .push(record.clone());
        }
        for (partition, records) in parts {
            let bytes = records.iter().map(encoded_size).sum();
            let ticket = Ticket::Part(whole.clone());
            self.push(
                partition,
                Pending {
                    records,
                    bytes,
                    ticket,
                },
            );
        }
    }

    /// `whole` is complete, that is held by nobody here, when all that waits now, and the batch being written, is durable.
    pub(crate) fn push_barrier(&mut self, whole: &Arc<Option<u64>>) {
        let mut waiting: Vec<PartitionId> = self.turn.iter().copied().collect();
        if waiting.is_empty() {
            waiting.push(PartitionId::default());
        }
        for partition in waiting {
            let ticket = Ticket::Part(whole.clone());
            self.push(
                partition,
                Pending {
                    records: Vec::new(),
                    bytes: 0,
                    ticket,
                },
            );
        }
    }

    /// The next appends, at most `limit` bytes of them but at least one: one of each partition, then the next of each.
    pub(crate) fn take(&mut self, limit: usize, batch: &mut Vec<Pending>) {
        let mut taken = 0;
        while let Some(partition) = self.turn.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&partition) else {
                continue;
            };
            let fits = waiting
                .front()
                .is_some_and(|next| taken == 0 || taken + next.bytes <= limit);
            if !fits {
                self.turn.push_front(partition);
                break;
            }
            if let Some(pending) = waiting.pop_front() {
                taken += pending.bytes;
                batch.push(pending);
            }
            if waiting.is_empty() {
                self.waiting.remove(&partition);
            } else {
                self.turn.push_back(partition);
            }
        }
        self.bytes -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(ticket: u64, bytes: usize) -> Pending {
        Pending {
            records: Vec::new(),
            bytes,
            ticket: Ticket::Whole(ticket),
        }
    }

    fn taken(queue: &mut Queue, limit: usize) -> Vec<u64> {
        let mut batch = Vec::new();
        queue.take(limit, &mut batch);
        batch
            .into_iter()
            .filter_map(|pending| pending.ticket.done())
            .collect()
    }

    #[test]
    fn a_flood_of_one_partition_does_not_keep_the_others_waiting() {
        let (flood, other) = (PartitionId::new(1, 0), PartitionId::new(1, 1));
        let mut queue = Queue::default();
        for ticket in 0..10 {
            queue.push(flood, pending(ticket, 100));
        }
        queue.push(other, pending(100, 100));
        queue.push(other, pending(101, 100));
        assert_eq!(taken(&mut queue, 400), [0, 100, 1, 101]);
        assert_eq!(taken(&mut queue, 250), [2, 3]);
        assert_eq!(queue.bytes(), 600);
    }

    #[test]
    fn an_append_larger_than_a_batch_goes_alone() {
        let mut queue = Queue::default();
        queue.push(PartitionId::new(1, 0), pending(1, 5000));
        queue.push(PartitionId::new(1, 1), pending(2, 5));
        assert_eq!(taken(&mut queue, 1000), [1]);
        assert_eq!(taken(&mut queue, 1000), [2]);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }
}
