//! Mutations read back, for learners: from any thread, while the log is written, in bounded pieces.

use crate::Position;
use crate::batch;
use crate::disk::DiskFile;
use crate::options::ReadError;
use crate::partition::Step;
use crate::scan::Scanner;
use crate::shared::Shared;
use crate::tail::lock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use types::{Decree, Mutation, PartitionId};

/// Keeps the log from a decree on for a reader, within bounds, until dropped.
#[derive(Debug)]
pub struct Pin {
    broken: Arc<AtomicBool>,
}

impl Pin {
    /// The log could not keep so much: what was pinned may be gone.
    pub fn broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

impl Shared {
    pub(crate) fn read(
        &self,
        id: PartitionId,
        from: Decree,
        max_bytes: usize,
    ) -> Result<Vec<Mutation>, ReadError> {
        let mut found = Vec::new();
        let (mut next, mut bytes) = (from, 0);
        loop {
            let planned = {
                let index = lock(&self.index);
                let partition = index
                    .partitions
                    .get(&id)
                    .ok_or(ReadError::TooOld { oldest: None })?;
                if found.is_empty() {
                    if partition.last().is_some_and(|last| from > last) {
                        // What came by a checkpoint was never here.
                        return if from > partition.durable {
                            Ok(found)
                        } else {
                            Err(ReadError::TooOld { oldest: None })
                        };
                    }
                    let oldest = partition.oldest();
                    if oldest.is_none_or(|oldest| from < oldest) {
                        return Err(ReadError::TooOld { oldest });
                    }
                }
                partition
                    .step(next)
                    .and_then(|step| Some((index.segment(step.at.sequence())?.file.clone(), step)))
            };
            let Some((file, step)) = planned else { break };
            let before = next;
            read_step(&*file, id, next, &step, &mut |_, mutation| {
                next = mutation.decree.next();
                bytes += mutation.effects.len();
                found.push(mutation);
                bytes < max_bytes
            })
            .map_err(ReadError::Unreadable)?;
            if bytes >= max_bytes || next == before {
                break;
            }
        }
        Ok(found)
    }

    pub(crate) fn pin(&self, id: PartitionId, from: Decree) -> Option<Pin> {
        let mut index = lock(&self.index);
        let partition = index.partitions.get(&id)?;
        // Of a partition without mutations in the log, all that RocksDB has is gone, and all that comes is kept.
        let gone = match partition.oldest() {
            Some(oldest) => oldest > from,
            None => partition.durable >= from,
        };
        if gone {
            return None;
        }
        let broken = Arc::new(AtomicBool::new(false));
        // Nothing from there on yet: then all that comes is in the newest segment or later.
        let newest = index.segments.back()?.sequence;
        let sequence = partition.reaches_into(from).unwrap_or(newest);
        index.pins.push((sequence, broken.clone()));
        Some(Pin { broken })
    }
}

/// Reads the step's mutations from `first` on, in order, while `visit` says so. Fails if one is missing.
pub(crate) fn read_step(
    file: &dyn DiskFile,
    partition: PartitionId,
    first: Decree,
    step: &Step,
    visit: &mut dyn FnMut(Position, Mutation) -> bool,
) -> Result<(), String> {
    let mut scanner = Scanner::new(file);
    let sequence = step.at.sequence();
    let (mut offset, mut next) = (step.at.offset(), first);
    while next <= step.last {
        let at = Position::new(sequence, offset);
        let read = scanner
            .batch(offset, Some(sequence))
            .map_err(|error| error.to_string())?;
        let (header, batch) = read.ok_or_else(|| format!("no valid batch at {at}"))?;
        let found = batch::mutations(batch, |owner| owner == partition);
        for (within, _, mutation) in found.ok_or_else(|| format!("unknown records at {at}"))? {
            let at = Position::new(sequence, offset + within);
            if at < step.from || at > step.to || mutation.decree < next {
                continue;
            }
            if mutation.decree != next {
                return Err(format!(
                    "decree {next} of partition {partition} is missing before {at}"
                ));
            }
            next = next.next();
            if !visit(at, mutation) || next > step.last {
                return Ok(());
            }
        }
        offset = header.end().offset();
    }
    Ok(())
}
