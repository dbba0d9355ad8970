//! All partitions and all segments: the log's memory of itself. Updated record by record, in log order, by appends and by recovery
//! alike; nothing here does IO, and nothing but seal, release and laggards costs more than the records concerned.

use crate::Position;
use crate::codec::{IndexEntry, encoded_size};
use crate::disk::DiskFile;
use crate::options::Laggard;
use crate::partition::{Mark, MarkKind, Partition};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use types::{Decree, LearnKind, LearnSignature, PartitionId, Record, RecordBody};

/// A segment that holds part of the log.
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where its batches end, as far as written.
    pub(crate) end: u32,
    /// Who has records in it.
    pub(crate) partitions: Vec<PartitionId>,
    /// How many of them have mutations in it that RocksDB may lack.
    pub(crate) holders: usize,
    /// How many newest marks it has.
    pub(crate) live_marks: usize,
}

/// A record and where it stands.
pub(crate) struct Placed<'a> {
    pub(crate) record: &'a Record,
    pub(crate) restated: bool,
    pub(crate) at: Position,
    pub(crate) batch: Position,
}

/// What RocksDB has of a partition that the index meets for the first time, or again after a deletion.
pub(crate) type Durable<'a> = &'a dyn Fn(PartitionId) -> Decree;

#[derive(Default)]
pub(crate) struct Index {
    pub(crate) partitions: HashMap<PartitionId, Partition, foldhash::fast::FixedState>,
    pub(crate) segments: VecDeque<Segment>,
    /// Sizes of all segments' files.
    pub(crate) bytes: u64,
    /// Partitions whose bytes in the oldest segment could not be read: only a flush helps.
    pub(crate) unreadable: BTreeSet<PartitionId>,
    /// Segments up to this sequence are given up as soon as can be: this one was found damaged.
    pub(crate) damaged: u32,
    /// Segments from this sequence on are kept for a reader.
    pub(crate) pins: Vec<(u32, Arc<AtomicBool>)>,
    /// The oldest segment waits for flushes.
    pub(crate) waits_for_laggards: bool,
    /// During recovery: damage that no index bounds was met. A partition first seen later has lost its beginning.
    pub(crate) lost_track: bool,
}

impl Index {
    pub(crate) fn push_segment(
        &mut self,
        sequence: u32,
        name: String,
        file: Arc<dyn DiskFile>,
        end: u32,
    ) {
        self.bytes += file.size();
        self.segments.push_back(Segment {
            sequence,
            name,
            file,
            end,
            partitions: Vec::new(),
            holders: 0,
            live_marks: 0,
        });
    }

    pub(crate) fn segment(&self, sequence: u32) -> Option<&Segment> {
        let at = self
            .segments
            .binary_search_by_key(&sequence, |segment| segment.sequence)
            .ok()?;
        self.segments.get(at)
    }

    fn count(&mut self, sequence: u32, change: impl FnOnce(&mut Segment)) {
        if let Ok(at) = self
            .segments
            .binary_search_by_key(&sequence, |segment| segment.sequence)
        {
            change(&mut self.segments[at]);
        }
    }

    /// Takes in a record that stands in the newest segment. `recovering` says what RocksDB has; while the log runs that is what it
    /// was told, and a reset by checkpoint takes it back.
    pub(crate) fn record(&mut self, placed: &Placed, recovering: Option<Durable>) {
        let Placed {
            record,
            restated,
            at,
            batch,
        } = *placed;
        let (id, sequence) = (record.partition, at.sequence());
        let on_disk = |id| recovering.map_or(Decree::ZERO, |durable| durable(id));
        let lost_track = self.lost_track;
        let mut new = false;
        let partition = self.partitions.entry(id).or_insert_with(|| {
            new = true;
            Partition {
                durable: on_disk(id),
                ..Partition::default()
            }
        });
        partition.newest = at;
        let (holding, first) = partition.holding(sequence);
        holding.records += 1;
        holding.bytes += encoded_size(record) as u64;
        if let RecordBody::Mutation(mutation) = &record.body {
            let held = partition.mutation(mutation.ballot, mutation.decree, at, batch);
            if first || held {
                self.count(sequence, |segment| {
                    segment.holders += usize::from(held);
                    if first {
                        segment.partitions.push(id);
                    }
                });
            }
        } else {
            holding.marks += 1;
            if first {
                self.count(sequence, |segment| segment.partitions.push(id));
            }
            self.effect(
                id,
                &record.body,
                restated,
                on_disk(id),
                recovering.is_some(),
            );
            let kind = mark_kind(&record.body);
            let body = (kind != MarkKind::Quarantined).then(|| record.body.clone());
            self.set_mark(id, kind, sequence, body);
        }
        // A beginning that was copied from before the damage is none behind it.
        let begins = !restated && clears_quarantine(&record.body);
        if new && lost_track && !begins {
            self.set_mark(id, MarkKind::Quarantined, sequence, None);
        }
    }

    /// What a mark does to the records before it. A restated one does nothing: its effect was had where it first stood.
    fn effect(
        &mut self,
        id: PartitionId,
        body: &RecordBody,
        restated: bool,
        on_disk: Decree,
        recovering: bool,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let mut dropped: &[MarkKind] = &[];
        match *body {
            RecordBody::Truncate { ballot, decree } if !restated => {
                partition.truncate(ballot, decree);
            }
            RecordBody::Reset { base, .. } if !restated => {
                partition.reset(base);
                dropped = &[MarkKind::Truncate, MarkKind::Ready, MarkKind::Deleted];
                if recovering {
                    partition.durable = on_disk;
                }
            }
            // Only what still counts is restated: no deletion before it is to be told any more.
            RecordBody::Reset { .. } => dropped = &[MarkKind::Deleted],
            RecordBody::Deleted => {
                partition.delete();
                partition.durable = on_disk;
                dropped = &[
                    MarkKind::Reset,
                    MarkKind::Truncate,
                    MarkKind::Ready,
                    MarkKind::Ballot,
                    MarkKind::Configuration,
                    MarkKind::Proposed,
                    MarkKind::Boot,
                ];
            }
            _ => {}
        }
        let mut freed = Vec::new();
        partition.let_go(|sequence| freed.push(sequence));
        for sequence in freed {
            self.count(sequence, |segment| segment.holders -= 1);
        }
        for &kind in dropped {
            self.drop_mark(id, kind);
        }
        if clears_quarantine(body) && !restated {
            self.drop_mark(id, MarkKind::Quarantined);
        }
    }

    /// The partition lost records (recovery), or a mark says so.
    pub(crate) fn quarantine(&mut self, id: PartitionId, at: Position) {
        let partition = self.partitions.entry(id).or_default();
        let (holding, first) = partition.holding(at.sequence());
        holding.records += 1;
        holding.marks += 1;
        if first {
            self.count(at.sequence(), |segment| segment.partitions.push(id));
        }
        self.set_mark(id, MarkKind::Quarantined, at.sequence(), None);
    }

    pub(crate) fn quarantined(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitions
            .iter()
            .filter(|(_, partition)| partition.mark(MarkKind::Quarantined).is_some())
            .map(|(&id, _)| id)
    }

    pub(crate) fn set_mark(
        &mut self,
        id: PartitionId,
        kind: MarkKind,
        sequence: u32,
        body: Option<RecordBody>,
    ) {
        self.drop_mark(id, kind);
        let mark = Mark {
            kind,
            sequence,
            body,
        };
        if mark.carried() {
            self.count(sequence, |segment| segment.live_marks += 1);
        }
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.marks.push(mark);
        }
    }

    fn drop_mark(&mut self, id: PartitionId, kind: MarkKind) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let Some(at) = partition.marks.iter().position(|mark| mark.kind == kind) else {
            return;
        };
        let mark = partition.marks.swap_remove(at);
        if mark.carried() {
            self.count(mark.sequence, |segment| segment.live_marks -= 1);
        }
    }

    /// RocksDB has the partition up to `decree`. Says whether that freed a segment of it.
    pub(crate) fn set_durable(&mut self, id: PartitionId, decree: Decree) -> bool {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return false;
        };
        if decree <= partition.durable {
            return false;
        }
        partition.durable = decree;
        let mut freed = Vec::new();
        partition.let_go(|sequence| freed.push(sequence));
        for &sequence in &freed {
            self.count(sequence, |segment| segment.holders -= 1);
        }
        !freed.is_empty()
    }

    /// The index that seals a segment.
    pub(crate) fn seal(&self, sequence: u32) -> Vec<IndexEntry> {
        let Some(segment) = self.segment(sequence) else {
            return Vec::new();
        };
        let entry = |&id: &PartitionId| {
            let partition = self.partitions.get(&id)?;
            let holding = partition
                .holdings
                .iter()
                .find(|holding| holding.sequence == sequence)?;
            Some(IndexEntry {
                partition: id,
                records: holding.records,
                marks: holding.marks,
                lowest: holding.lowest,
                highest: holding.highest,
                bytes: holding.bytes,
            })
        };
        segment.partitions.iter().filter_map(entry).collect()
    }

    /// Forgets the oldest segment.
    pub(crate) fn release_oldest(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.file.size();
        for id in &segment.partitions {
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.release(segment.sequence);
                if partition.is_gone() {
                    self.partitions.remove(id);
                }
            }
        }
        Some(segment)
    }

    /// Who holds the oldest segment and has too much to be copied forward: largest first.
    pub(crate) fn laggards(&self, carry: u64, segment_size: u64) -> Vec<Laggard> {
        let Some(oldest) = self.segments.front() else {
            return Vec::new();
        };
        let holder = |&id: &PartitionId| {
            let partition = self.partitions.get(&id)?;
            let holding = partition.holdings.front()?;
            (holding.sequence == oldest.sequence && holding.held).then(|| Laggard {
                partition: id,
                bytes: partition.live_bytes(),
                newest: partition.last().unwrap_or(Decree::ZERO),
            })
        };
        let mut holders: Vec<Laggard> = oldest.partitions.iter().filter_map(holder).collect();
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.partition));
        holders.sort_by_key(|holder| !self.unreadable.contains(&holder.partition));
        let large =
            |holder: &&Laggard| holder.bytes > carry || self.unreadable.contains(&holder.partition);
        let large = holders.iter().take_while(large).count();
        if large == 0 {
            // Together the small ones may be too much: copying must stay cheaper than what it frees.
            let mut rest: u64 = holders.iter().map(|holder| holder.bytes).sum();
            let too_many = holders.iter().take_while(|holder| {
                let over = rest > segment_size / 2;
                rest -= holder.bytes;
                over
            });
            let too_many = too_many.count();
            holders.truncate(too_many);
        } else {
            holders.truncate(large);
        }
        holders
    }
}

/// Whether the record makes whatever was damaged before it worthless.
pub(crate) fn clears_quarantine(body: &RecordBody) -> bool {
    match body {
        RecordBody::Reset {
            signature, kind, ..
        } => *kind == LearnKind::Checkpoint || *signature == LearnSignature::default(),
        RecordBody::Deleted => true,
        _ => false,
    }
}

fn mark_kind(body: &RecordBody) -> MarkKind {
    match body {
        RecordBody::Reset { .. } => MarkKind::Reset,
        RecordBody::Truncate { .. } => MarkKind::Truncate,
        RecordBody::Ready { .. } => MarkKind::Ready,
        RecordBody::Ballot(_) => MarkKind::Ballot,
        RecordBody::Configuration(_) => MarkKind::Configuration,
        RecordBody::Proposed(_) => MarkKind::Proposed,
        RecordBody::Boot(_) => MarkKind::Boot,
        RecordBody::Quarantined => MarkKind::Quarantined,
        // Mutations are runs, not marks; the callers keep them apart.
        RecordBody::Mutation(_) | RecordBody::Deleted => MarkKind::Deleted,
    }
}
