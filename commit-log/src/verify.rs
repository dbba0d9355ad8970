//! Reading sealed segments through, to find damage while RocksDB and memory still have what it hit.
//!
//! A damaged segment is given up like one that the budget has no room for: what RocksDB lacks of it is in memory and is flushed
//! (`Log::laggards` names whose), its marks are written again, then it is released. Nothing is repaired in place, and no partition
//! is quarantined: that happens only to what a crash finds damaged before. Pacing is the caller's.

use crate::disk::DiskFile;
use crate::scan::Scanner;
use crate::shared::Shared;
use crate::tail::lock;
use std::sync::Arc;

/// What reading a sealed segment through came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verified {
    /// All of it is as it was written.
    Whole,
    /// It is not; what hangs on it is being saved elsewhere.
    Damaged {
        /// The segment's file.
        file: String,
        /// Where and what.
        reason: String,
    },
    /// It was given up before it could be read.
    Gone,
    /// The caller had enough.
    Stopped,
}

impl Shared {
    /// The oldest sealed segment behind `after`.
    pub(crate) fn sealed_behind(&self, after: u32) -> Option<u32> {
        let index = lock(&self.index);
        let mut sequences = index.segments.iter().map(|segment| segment.sequence);
        // The last one is still written.
        sequences.next_back();
        sequences.find(|&sequence| sequence > after)
    }

    /// Reads the segment; `pace` hears of every batch's bytes and says whether to go on.
    pub(crate) fn verify(&self, sequence: u32, pace: &mut dyn FnMut(usize) -> bool) -> Verified {
        let found = {
            let index = lock(&self.index);
            let found = index.segment(sequence);
            found.map(|segment| (segment.file.clone(), segment.name.clone(), segment.end))
        };
        let Some((file, name, end)) = found else {
            return Verified::Gone;
        };
        let read = read_through(&file, sequence, end, pace);
        drop(file);
        match read {
            Ok(true) => Verified::Whole,
            Ok(false) => Verified::Stopped,
            Err(reason) => {
                if !self.give_up(sequence) {
                    return Verified::Gone;
                }
                tracing::error!(
                    file = name,
                    reason,
                    "a commit log segment is damaged: what depends on it is made durable elsewhere, then it goes"
                );
                Verified::Damaged { file: name, reason }
            }
        }
    }

    /// Has the log let go of everything up to the segment. False if it has already.
    fn give_up(&self, sequence: u32) -> bool {
        let mut index = lock(&self.index);
        if index.segment(sequence).is_none() {
            return false;
        }
        index.damaged = index.damaged.max(sequence);
        drop(index);
        self.wake_tidier();
        true
    }
}

/// Whether all of it was read; an error says where it is not what was written.
fn read_through(
    file: &Arc<dyn DiskFile>,
    sequence: u32,
    end: u32,
    pace: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, String> {
    let mut scanner = Scanner::new(&**file);
    let mut offset = 0;
    while offset < end {
        let batch = scanner
            .batch(offset, Some(sequence))
            .map_err(|error| format!("at byte {offset}: {error}"))?;
        let Some((header, _)) = batch else {
            return Err(format!("at byte {offset} there is no valid batch"));
        };
        if !pace(header.span as usize) {
            return Ok(false);
        }
        offset = header.end().offset();
    }
    Ok(true)
}
