//! A file's bytes: what programs read, and what a power loss leaves of them.
//!
//! Kept as the blocks that programs see, and for each block that is not on the disk yet what is there instead: so a sync costs nothing
//! but forgetting, and a preallocated file takes no memory. Names and directories are not this file's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(super) const BLOCK: u64 = 4096;

type Block = Arc<[u8; BLOCK as usize]>;

/// The bytes of one file.
#[derive(Debug, Default)]
pub(super) struct Content {
    size: u64,
    /// Those that are not here are holes.
    blocks: BTreeMap<u64, Block>,
    synced_size: u64,
    unsynced: BTreeMap<u64, Unsynced>,
}

/// A block that the disk has not, or has differently.
#[derive(Debug)]
struct Unsynced {
    on_disk: Option<Block>,
    /// A sync of it has failed: as with Linux, no later one will bring it to the disk, though it says that it did.
    given_up: bool,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Blocks that take room.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(super) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(length));
        let mut bytes = Vec::with_capacity(end.saturating_sub(offset) as usize);
        for (number, within) in pieces(offset..end) {
            match self.blocks.get(&number) {
                Some(block) => bytes.extend_from_slice(&block[within]),
                None => bytes.resize(bytes.len() + within.len(), 0),
            }
        }
        bytes
    }

    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        for (number, within) in pieces(offset..end) {
            let (piece, rest) = bytes.split_at(within.len());
            self.change(number)[within].copy_from_slice(piece);
            bytes = rest;
        }
        self.size = self.size.max(end);
    }

    /// Room is promised, not taken: what is not written are holes.
    pub(super) fn reach(&mut self, end: u64) {
        self.size = self.size.max(end);
    }

    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.clear(size..self.size);
        }
        self.size = size;
    }

    /// Makes zeros of what is in this range, and holes of whole blocks.
    pub(super) fn clear(&mut self, range: Range<u64>) {
        // Of 64 MiB that are cleared few blocks may be there.
        let first = range.start / BLOCK;
        let there: Vec<u64> = self
            .blocks
            .range(first..range.end.div_ceil(BLOCK).max(first))
            .map(|(&number, _)| number)
            .collect();
        for number in there {
            let start = range.start.max(number * BLOCK) - number * BLOCK;
            let end = range.end.min((number + 1) * BLOCK) - number * BLOCK;
            if end - start == BLOCK || (start == 0 && range.end >= self.size) {
                let old = self.blocks.remove(&number);
                self.remember(number, old);
            } else {
                self.change(number)[start as usize..end as usize].fill(0);
            }
        }
    }

    /// Where the first byte is, at `offset` or behind it, that is no hole.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let (&number, _) = self.blocks.range(offset / BLOCK..).next()?;
        let at = offset.max(number * BLOCK);
        (at < self.size).then_some(at)
    }

    /// Where the first hole is, at `offset` or behind it: the end counts as one.
    pub(super) fn next_hole(&self, offset: u64) -> Option<u64> {
        let mut number = offset / BLOCK;
        while self.blocks.contains_key(&number) {
            number += 1;
        }
        (offset < self.size).then(|| self.size.min(offset.max(number * BLOCK)))
    }

    /// All of it is on the disk.
    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, block| block.given_up);
        self.synced_size = self.size;
    }

    /// Nothing that is not on the disk yet will ever be, unless it is written again.
    pub(super) fn give_up(&mut self) {
        for block in self.unsynced.values_mut() {
            block.given_up = true;
        }
    }

    /// Goes back to what is on the disk, but for the unsynced changes that `survives` lets survive.
    pub(super) fn lose(&mut self, survives: &mut dyn FnMut() -> bool) {
        for (number, Unsynced { on_disk, .. }) in std::mem::take(&mut self.unsynced) {
            if survives() {
                continue;
            }
            match on_disk {
                Some(block) => drop(self.blocks.insert(number, block)),
                None => drop(self.blocks.remove(&number)),
            }
        }
        if self.size == self.synced_size || !survives() {
            self.size = self.synced_size;
        }
        // Blocks and the size survive each for itself.
        self.clear(self.size..u64::MAX);
        self.unsynced.clear();
        self.synced_size = self.size;
    }

    /// The block, to be changed.
    fn change(&mut self, number: u64) -> &mut [u8; BLOCK as usize] {
        let old = self.blocks.get(&number).cloned();
        self.remember(number, old);
        let block = self
            .blocks
            .entry(number)
            .or_insert_with(|| Arc::new([0; BLOCK as usize]));
        Arc::make_mut(block)
    }

    fn remember(&mut self, number: u64, old: Option<Block>) {
        self.unsynced
            .entry(number)
            .and_modify(|block| block.given_up = false)
            .or_insert(Unsynced {
                on_disk: old,
                given_up: false,
            });
    }
}

/// The blocks of a range of bytes, each with the part of it that is in the range.
fn pieces(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    blocks.map(move |number| {
        let start = number * BLOCK;
        let within = |at: u64| at.clamp(start, start + BLOCK) - start;
        let part = within(range.start) as usize..within(range.end) as usize;
        (number, part)
    })
}
