//! Copies forward what still counts in the oldest segment: one sweep over its batches, for all partitions at once.
//!
//! A copied mutation is an ordinary record: the latest of its decree, which L1 allows for live records. Marks are copied
//! *restated*, so that a reset or truncate does not cancel what was appended since. Whether and when is `tidy`'s decision.

use crate::Position;
use crate::batch;
use crate::codec::{Entry, encoded_size};
use crate::disk::DiskFile;
use crate::options::LogError;
use crate::partition::{MarkKind, Step};
use crate::scan::Scanner;
use crate::shared::Shared;
use crate::tail::{Append, lock};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use types::{Decree, PartitionId, Record, RecordBody};

/// Copied forward in one batch: the writer waits that long.
const CARRY_BATCH: usize = 256 << 10;
/// Partitions whose marks are copied in one batch.
const CARRY_MARKS: usize = 512;

/// A part of a run that is still to be met.
struct Wanted {
    partition: PartitionId,
    next: Decree,
    step: Step,
}

/// Why a sweep stopped early.
enum Stopped {
    /// The bytes of these partitions are not good.
    Unreadable(Vec<PartitionId>, String),
    /// What was found could not be written.
    Failed(LogError),
}

impl Shared {
    /// Copies forward what counts in the segment. `false`: not possible.
    pub(crate) fn carry(&self, sequence: u32) -> Result<bool, LogError> {
        let (file, partitions, wanted) = {
            let index = lock(&self.index);
            let Some(segment) = index.segment(sequence) else {
                return Ok(false);
            };
            let mut wanted = Vec::new();
            for &partition in &segment.partitions {
                let steps = index
                    .partitions
                    .get(&partition)
                    .map(|known| known.steps_in(sequence));
                for (next, step) in steps.unwrap_or_default() {
                    wanted.push(Wanted {
                        partition,
                        next,
                        step,
                    });
                }
            }
            (segment.file.clone(), segment.partitions.clone(), wanted)
        };
        for partitions in partitions.chunks(CARRY_MARKS) {
            self.carry_batch(sequence, partitions, Vec::new())?;
        }
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        let swept = sweep(&*file, wanted, &mut |at, record| {
            bytes += encoded_size(&record);
            gathered.push((at, record));
            if bytes < CARRY_BATCH {
                return Ok(());
            }
            bytes = 0;
            self.carry_batch(sequence, &[], std::mem::take(&mut gathered))
        });
        match swept {
            Ok(()) => self.carry_batch(sequence, &[], gathered).map(|()| true),
            Err(Stopped::Failed(error)) => Err(error),
            Err(Stopped::Unreadable(partitions, error)) => {
                tracing::error!(error, ?partitions, "cannot copy commit log records forward");
                lock(&self.index).unreadable.extend(partitions);
                Ok(false)
            }
        }
    }

    fn carry_batch(
        &self,
        sequence: u32,
        partitions: &[PartitionId],
        mutations: Vec<(Position, Record)>,
    ) -> Result<(), LogError> {
        let turn = lock(&self.turnstile);
        let mut tail = lock(&self.tail);
        drop(turn);
        // Since the tail is held, what counts now counts until it is written.
        let index = lock(&self.index);
        let mut records: Vec<Record> = mutations
            .into_iter()
            .filter(|(at, record)| {
                let (Some(partition), Some(mutation)) = (
                    index.partitions.get(&record.partition),
                    record.body.mutation(),
                ) else {
                    return false;
                };
                mutation.decree > partition.durable && partition.counts(mutation.decree, *at)
            })
            .map(|(_, record)| record)
            .collect();
        let mut own = Vec::new();
        for &id in partitions {
            let marks = index
                .partitions
                .get(&id)
                .map_or(&[][..], |partition| &partition.marks);
            for mark in marks.iter().filter(|mark| mark.sequence == sequence) {
                match &mark.body {
                    Some(body) if mark.carried() => records.push(Record {
                        partition: id,
                        body: body.clone(),
                    }),
                    None if mark.kind == MarkKind::Quarantined => own.push(Entry::Quarantined(id)),
                    _ => {}
                }
            }
        }
        drop(index);
        let appends = records.iter().map(|record| Append {
            record,
            restated: true,
        });
        let bytes: usize = records.iter().map(encoded_size).sum();
        self.counters
            .carried_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        let written = self.watched(&self.writing_since, || {
            if !records.is_empty() {
                tail.append(&self.writing(), appends)?;
            }
            if !own.is_empty() {
                tail.append_own(&self.writing(), &own)?;
            }
            Ok(())
        });
        written.map_err(|error: std::io::Error| self.fail("write", &error))?;
        self.wrote(tail.position());
        Ok(())
    }
}

/// Shows every wanted record, in the order of the log, reading no more of the file than that needs.
fn sweep(
    file: &dyn DiskFile,
    mut wanted: Vec<Wanted>,
    visit: &mut dyn FnMut(Position, Record) -> Result<(), LogError>,
) -> Result<(), Stopped> {
    wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.step.at));
    let mut scanner = Scanner::new(file);
    let mut open: HashMap<PartitionId, Vec<Wanted>, foldhash::fast::FixedState> =
        HashMap::default();
    let mut offset = 0;
    loop {
        if open.is_empty() {
            let Some(next) = wanted.last() else {
                return Ok(());
            };
            offset = offset.max(next.step.at.offset());
        }
        while let Some(next) = wanted.pop_if(|next| next.step.at.offset() <= offset) {
            open.entry(next.partition).or_default().push(next);
        }
        let unreadable = |open: &HashMap<PartitionId, _, _>, why: String| {
            Stopped::Unreadable(open.keys().copied().collect(), why)
        };
        let Some(sequence) = open
            .values()
            .flatten()
            .next()
            .map(|wanted| wanted.step.at.sequence())
        else {
            continue;
        };
        let read = scanner.batch(offset, Some(sequence));
        let (header, bytes) = match read {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                return Err(unreadable(
                    &open,
                    format!("no valid batch at {sequence}:{offset}"),
                ));
            }
            Err(error) => return Err(unreadable(&open, error.to_string())),
        };
        let Some(entries) = batch::mutations(bytes, |partition| open.contains_key(&partition))
        else {
            return Err(unreadable(
                &open,
                format!("unknown records at {sequence}:{offset}"),
            ));
        };
        for (within, partition, mutation) in entries {
            let at = Position::new(sequence, offset + within);
            let Some(steps) = open.get_mut(&partition) else {
                continue;
            };
            let ours = steps.iter_mut().find(|wanted| {
                wanted.step.from <= at && at <= wanted.step.to && wanted.next == mutation.decree
            });
            let Some(ours) = ours else { continue };
            ours.next = mutation.decree.next();
            steps.retain(|wanted| wanted.next <= wanted.step.last);
            if steps.is_empty() {
                open.remove(&partition);
            }
            let record = Record {
                partition,
                body: RecordBody::Mutation(mutation),
            };
            visit(at, record).map_err(Stopped::Failed)?;
        }
        offset = header.end().offset();
    }
}
