//! Opening a log: reads what is there into the index, tells a torn tail from damage, shows the caller every live record.
//!
//! Batches say up to where the log was synced when they were made. Let M be the highest such mark behind the first invalid
//! byte. Invalid bytes at or above M were written and never synced: a torn tail, cut with all that follows. Below M they
//! were on disk once: damage. The log goes on behind it, and every partition that the segment's index cannot prove whole is
//! quarantined. Nothing is repaired in place; the log always goes on in a new segment.

use crate::Position;
use crate::batch::{self, Header};
use crate::chain::{Chain, Link, was_released};
use crate::codec::{Entry, IndexEntry};
use crate::disk::Disk;
use crate::index::{Durable, Index, Placed, clears_quarantine};
use crate::options::{OpenError, Recovery};
use crate::partition::MarkKind;
use crate::scan::Scanner;
use crate::tail::{Files, Free};
use std::collections::BTreeSet;
use std::io;
use types::{Decree, PartitionId, Record, RecordBody};

/// What opening needs to go on.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) files: Files,
    pub(crate) next_sequence: u32,
    /// Where the valid log ends.
    pub(crate) end: Option<Position>,
    pub(crate) recovery: Recovery,
}

struct Reading<'a> {
    durable: Durable<'a>,
    index: Index,
    recovery: Recovery,
    /// The highest mark behind the first invalid byte, once that was met.
    mark: Option<Position>,
    /// Partitions that began anew behind the last damage: they need nothing of what was there.
    anew: BTreeSet<PartitionId>,
}

/// How a segment's reading ended.
enum Outcome {
    /// At its end.
    Whole,
    /// At its end, over damage; the index, if it was seen.
    Damaged(Option<Vec<IndexEntry>>),
    /// The log ends here.
    Cut { at: Position, damaged: bool },
}

fn set_free(link: Link) -> Free {
    Free {
        name: link.name,
        file: link.file,
        filled: 0,
    }
}

/// Puts it into words only when it happens: it is asked for with every batch.
fn unreadable(link: &Link) -> impl Fn(io::Error) -> OpenError + Copy {
    move |source| OpenError::Disk {
        doing: format!("read {}", link.name),
        source,
    }
}

pub(crate) fn recover(
    disk: &dyn Disk,
    durable: Durable,
    visit: &mut dyn FnMut(Record),
) -> Result<Recovered, OpenError> {
    let Chain {
        links,
        mut files,
        highest_sequence,
        broken,
        bytes_read,
        torn_bytes,
    } = Chain::find(disk)?;
    let mut reading = Reading {
        durable,
        index: Index::default(),
        recovery: Recovery {
            torn_bytes,
            bytes_read,
            ..Recovery::default()
        },
        mark: None,
        anew: BTreeSet::new(),
    };
    reading.index.lost_track = broken;
    let mut end = None;
    let mut remaining = links.into_iter();
    let mut links = Vec::new();
    while let Some(link) = remaining.next() {
        reading.index.push_segment(
            link.sequence,
            link.name.clone(),
            link.file.clone(),
            Chain::end_of(&link).offset(),
        );
        end = Some(Chain::end_of(&link));
        if reading.is_superfluous(&link)? {
            links.push(link);
            continue;
        }
        let outcome = reading.segment(&link, remaining.as_slice())?;
        links.push(link);
        if !matches!(
            outcome,
            Outcome::Whole | Outcome::Cut { damaged: false, .. }
        ) {
            // A released segment may have been written over in part: that is no damage, and nothing up to it counts.
            let newest_first = remaining.as_slice().iter().rev().chain(links.iter().rev());
            let sequence = links.last().map_or(0, |link: &Link| link.sequence);
            if was_released(newest_first, sequence)? {
                reading.index = Index {
                    lost_track: broken,
                    ..Index::default()
                };
                reading.recovery.damaged_bytes = 0;
                files.free.extend(links.drain(..).map(set_free));
                continue;
            }
        }
        match outcome {
            Outcome::Whole => {}
            Outcome::Damaged(index) => reading.quarantine(index),
            Outcome::Cut { at, damaged } => {
                if damaged {
                    reading.quarantine(None);
                }
                end = Some(at);
                break;
            }
        }
    }
    // Behind the cut nothing counts.
    for link in remaining {
        reading.recovery.torn_bytes += u64::from(Chain::end_of(&link).offset());
        files.free.push(set_free(link));
    }
    if let (Some(end), Some(segment)) = (end, reading.index.segments.back_mut()) {
        segment.end = end.offset();
    }
    reading.show(&links, visit)?;
    let Reading {
        mut index,
        mut recovery,
        ..
    } = reading;
    recovery.quarantined = index.quarantined().collect();
    recovery.lost_track = index.lost_track;
    recovery.partitions = index.partitions.len();
    index.lost_track = false;
    if recovery.damaged_bytes > 0 || recovery.lost_track {
        tracing::error!(
            bytes = recovery.damaged_bytes,
            quarantined = recovery.quarantined.len(),
            "the commit log is damaged"
        );
    }
    Ok(Recovered {
        index,
        files,
        next_sequence: highest_sequence + 1,
        end,
        recovery,
    })
}

impl Reading<'_> {
    /// Whether a sealed segment's index says that RocksDB has all of it, so that it need not be read. It must hold mutations only.
    fn is_superfluous(&mut self, link: &Link) -> Result<bool, OpenError> {
        let Some(at) = link.index else {
            return Ok(false);
        };
        let mut scanner = Scanner::new(&*link.file);
        let read = scanner
            .batch(at, Some(link.sequence))
            .map_err(unreadable(link))?;
        let entries = read
            .and_then(|(_, bytes)| batch::entries(bytes))
            .and_then(|mut entries| entries.pop());
        self.recovery.bytes_read += scanner.bytes_read;
        let Some((_, Entry::Index(entries))) = entries else {
            return Ok(false);
        };
        Ok(!entries.is_empty()
            && entries
                .iter()
                .all(|entry| entry.marks == 0 && entry.highest <= (self.durable)(entry.partition)))
    }

    /// Reads one segment into the index.
    fn segment(&mut self, link: &Link, later: &[Link]) -> Result<Outcome, OpenError> {
        let failed = unreadable(link);
        let mut scanner = Scanner::new(&*link.file);
        let end = Chain::end_of(link);
        let (mut offset, mut damaged, mut sealed) = (0, false, None);
        let outcome = loop {
            if offset >= end.offset() {
                break Outcome::Whole;
            }
            if let Some((header, bytes)) =
                scanner.batch(offset, Some(link.sequence)).map_err(failed)?
                && let Some(entries) = batch::entries(bytes)
            {
                for (within, entry) in entries {
                    let at = Position::new(link.sequence, offset + within);
                    if let Entry::Index(entries) = entry {
                        sealed = Some(entries);
                    } else {
                        self.entry(at, header.position, &entry);
                    }
                }
                offset = header.end().offset();
                continue;
            }
            let at = Position::new(link.sequence, offset);
            let (next, mark) = match self.mark {
                Some(mark) => (
                    scanner
                        .next_valid(offset + 1, end.offset(), Some(link.sequence))
                        .map_err(failed)?,
                    mark,
                ),
                None => self.look_behind(&mut scanner, at, end, later)?,
            };
            self.mark = Some(mark);
            if at >= mark {
                // Zeros behind the last batch are no tail; the beginning of one is, and so is a whole one behind a hole.
                let begun = scanner.begun(offset, link.sequence).map_err(failed)?;
                let behind = next.map_or(0, |next| end.offset() - next.position.offset());
                self.recovery.torn_bytes += u64::from(begun.max(behind));
                break Outcome::Cut { at, damaged };
            }
            let until = next.map_or(end, |next| next.position);
            damaged = true;
            self.anew.clear();
            self.recovery.damaged_bytes +=
                u64::from(until.min(mark.max(at)).offset().max(offset) - offset);
            if until.min(mark) < until {
                // The hole reaches above the mark: behind it follows what was never synced.
                break Outcome::Cut { at, damaged };
            }
            offset = until.offset();
        };
        self.recovery.bytes_read += scanner.bytes_read;
        Ok(match outcome {
            Outcome::Whole if damaged => Outcome::Damaged(sealed),
            other => other,
        })
    }

    /// The next valid batch of the segment behind `at`, and the highest mark of all batches behind it.
    fn look_behind(
        &mut self,
        scanner: &mut Scanner,
        at: Position,
        end: Position,
        later: &[Link],
    ) -> Result<(Option<Header>, Position), OpenError> {
        let failed = |source| OpenError::Disk {
            doing: "read behind an invalid batch".to_owned(),
            source,
        };
        let (next, mut highest) = scanner
            .highest_mark(at.offset() + 1, end.offset(), at.sequence())
            .map_err(failed)?;
        for link in later {
            let mut scanner = Scanner::new(&*link.file);
            let end = Chain::end_of(link).offset();
            highest = highest.max(
                scanner
                    .highest_mark(0, end, link.sequence)
                    .map_err(failed)?
                    .1,
            );
            self.recovery.bytes_read += scanner.bytes_read;
        }
        Ok((next, highest))
    }

    fn entry(&mut self, at: Position, batch: Position, entry: &Entry) {
        match entry {
            Entry::Record { record, restated } => {
                let placed = Placed {
                    record,
                    restated: *restated,
                    at,
                    batch,
                };
                self.index.record(&placed, Some(self.durable));
                if !restated && clears_quarantine(&record.body) {
                    self.anew.insert(record.partition);
                }
            }
            Entry::Quarantined(partition) => self.index.quarantine(*partition, at),
            // The chain and the segment's end made use of these.
            Entry::Start(_) | Entry::Index(_) | Entry::Released(_) => {}
        }
    }

    /// The newest segment has lost bytes that were synced. `index`: what it says it held.
    fn quarantine(&mut self, index: Option<Vec<IndexEntry>>) {
        let Some(sequence) = self.index.segments.back().map(|segment| segment.sequence) else {
            return;
        };
        let lost: Vec<PartitionId> = if let Some(entries) = index {
            entries
                .iter()
                .filter(|entry| !self.is_whole(entry, sequence))
                .map(|entry| entry.partition)
                .collect()
        } else {
            self.index.lost_track = true;
            self.index.partitions.keys().copied().collect()
        };
        for partition in lost.into_iter().filter(|id| !self.anew.contains(id)) {
            self.index.quarantine(partition, Position::new(sequence, 0));
        }
    }

    /// Whether the partition has in this segment all that its index promises, or needs none of it.
    fn is_whole(&self, entry: &IndexEntry, sequence: u32) -> bool {
        let found = self
            .index
            .partitions
            .get(&entry.partition)
            .and_then(|partition| {
                partition
                    .holdings
                    .iter()
                    .find(|holding| holding.sequence == sequence)
            });
        let (records, marks) = found.map_or((0, 0), |holding| (holding.records, holding.marks));
        records == entry.records
            || (marks == entry.marks && entry.highest <= (self.durable)(entry.partition))
    }

    /// Shows the live records: resets, then mutations in the order of the log, then the other marks.
    fn show(&mut self, links: &[Link], visit: &mut dyn FnMut(Record)) -> Result<(), OpenError> {
        let mut partitions: Vec<PartitionId> = self.index.partitions.keys().copied().collect();
        partitions.sort_unstable();
        let show_marks = |which: &dyn Fn(MarkKind) -> bool, visit: &mut dyn FnMut(Record)| {
            for &id in &partitions {
                let mut marks: Vec<_> = self.index.partitions[&id].marks.iter().collect();
                marks.sort_unstable_by_key(|mark| mark.kind);
                for mark in marks.into_iter().filter(|mark| which(mark.kind)) {
                    if let Some(body) = &mark.body {
                        visit(Record {
                            partition: id,
                            body: body.clone(),
                        });
                    }
                }
            }
        };
        show_marks(&|kind| kind == MarkKind::Reset, visit);
        let mut shown = 0;
        for link in links {
            let segment = self.index.segment(link.sequence);
            let Some(end) = segment
                .filter(|segment| segment.holders > 0)
                .map(|segment| segment.end)
            else {
                continue;
            };
            let failed = unreadable(link);
            let mut scanner = Scanner::new(&*link.file);
            let mut offset = 0;
            while let Some(header) = scanner
                .next_valid(offset, end, Some(link.sequence))
                .map_err(failed)?
            {
                offset = header.end().offset();
                let batch = scanner
                    .batch(header.position.offset(), Some(link.sequence))
                    .map_err(failed)?;
                for (within, entry) in batch
                    .and_then(|(_, bytes)| batch::entries(bytes))
                    .unwrap_or_default()
                {
                    let at = Position::new(link.sequence, header.position.offset() + within);
                    if let Entry::Record { record, .. } = entry
                        && let RecordBody::Mutation(mutation) = &record.body
                        && self.is_live(record.partition, mutation.decree, at)
                    {
                        shown += 1;
                        visit(record);
                    }
                }
            }
            self.recovery.bytes_read += scanner.bytes_read;
        }
        self.recovery.mutations = shown;
        show_marks(&|kind| kind != MarkKind::Reset, visit);
        Ok(())
    }

    fn is_live(&self, partition: PartitionId, decree: Decree, at: Position) -> bool {
        self.index
            .partitions
            .get(&partition)
            .is_some_and(|partition| decree > partition.durable && partition.counts(decree, at))
    }
}
