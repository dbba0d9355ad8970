//! Batches: what is written at once. A header, then records, then padding up to where the next batch begins.
//!
//! ```text
//! magic u32 | crc32c u32 (of all that follows, up to length) | length u32 | span u32 | position u64 | synced u64 | records
//! ```
//!
//! The position holds the segment's sequence number, so a batch that a recycled segment still has from its former life is
//! never taken for one of this life. `synced` is the mark: up to there the log was on disk for certain when this batch was made.
//! In `sync` a batch fills whole blocks, so that writing one never touches a block that holds an acknowledged other.

use crate::Position;
use crate::aligned::AlignedBuffer;
use crate::codec::{self, Entry};
use types::{Mutation, PartitionId, Record};

/// Version of everything on disk.
pub(crate) const FORMAT: u32 = 1;
/// Bytes in front of the records.
pub(crate) const HEADER: usize = 32;
/// Every batch begins at a multiple of this, whatever the durability.
pub(crate) const ALIGNMENT: u32 = 8;
/// No batch is larger: two of the largest mutations.
pub(crate) const MAX_BATCH: usize = 128 << 20;

const MAGIC: u32 = 0x474c_5054;

/// A header that makes sense at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) span: u32,
    pub(crate) position: Position,
    pub(crate) synced: Position,
}

impl Header {
    /// Where the next batch begins.
    pub(crate) fn end(&self) -> Position {
        Position::new(
            self.position.sequence(),
            self.position.offset().saturating_add(self.span),
        )
    }
}

/// Begins a batch.
pub(crate) fn begin(out: &mut AlignedBuffer) {
    out.clear();
    out.resize(HEADER);
}

/// Adds a record; says at which offset from the batch's start it lies.
pub(crate) fn put_record(out: &mut AlignedBuffer, record: &Record, restated: bool) -> u32 {
    let offset = out.len() as u32;
    codec::put_record(out, record, restated);
    offset
}

/// Pads to `alignment` and writes the header. The batch may now stand at `position` and nowhere else.
pub(crate) fn finish(
    out: &mut AlignedBuffer,
    position: Position,
    synced: Position,
    alignment: usize,
) {
    let length = out.len();
    out.resize(length.next_multiple_of(alignment));
    let span = out.len() as u32;
    let bytes = out.as_mut_slice();
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&span.to_le_bytes());
    bytes[16..24].copy_from_slice(&position.raw().to_le_bytes());
    bytes[24..32].copy_from_slice(&synced.raw().to_le_bytes());
    let crc = crc32c::crc32c(&bytes[8..length]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The header in front of `bytes` if it can be one at `offset` of a file of `size` bytes. `sequence`: which one it must have.
pub(crate) fn header(
    bytes: &[u8],
    offset: u32,
    size: u64,
    sequence: Option<u32>,
) -> Option<Header> {
    let bytes: &[u8; HEADER] = bytes.first_chunk()?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let header = Header {
        length: word(8),
        span: word(12),
        position: Position::from_raw(long(16)),
        synced: Position::from_raw(long(24)),
    };
    let fits = word(0) == MAGIC
        && header.length >= HEADER as u32
        && header.span >= header.length
        && header.span.is_multiple_of(ALIGNMENT)
        && header.position.offset() == offset
        // The log goes on in a segment after all others: there must be a number for it.
        && header.position.sequence() < u32::MAX
        && sequence.is_none_or(|sequence| header.position.sequence() == sequence)
        && u64::from(offset) + u64::from(header.span) <= size;
    fits.then_some(header)
}

/// Whether the batch (header and records, without padding) is as it was written.
pub(crate) fn intact(batch: &[u8]) -> bool {
    match (batch.get(4..8), batch.get(8..)) {
        (Some(crc), Some(rest)) => crc == crc32c::crc32c(rest).to_le_bytes(),
        _ => false,
    }
}

/// The entries of an intact batch, each with its offset from the batch's start; `None` if they are none.
pub(crate) fn entries(batch: &[u8]) -> Option<Vec<(u32, Entry)>> {
    let mut rest = batch.get(HEADER..)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let offset = (batch.len() - rest.len()) as u32;
        entries.push((offset, codec::take(&mut rest)?));
    }
    Some(entries)
}

/// The mutations in an intact batch of the partitions that are wanted, with their offsets; `None` if its records are none.
pub(crate) fn mutations(
    batch: &[u8],
    wanted: impl Fn(PartitionId) -> bool,
) -> Option<Vec<(u32, PartitionId, Mutation)>> {
    let mut rest = batch.get(HEADER..)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let offset = (batch.len() - rest.len()) as u32;
        if let Some((partition, mutation)) = codec::take_mutation(&mut rest, &wanted)? {
            found.push((offset, partition, mutation));
        }
    }
    Some(found)
}

/// Whether these bytes look like the front of a batch: a cheap sieve for a search.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    bytes.first_chunk() == Some(&MAGIC.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_segment_has_the_last_number() {
        let at = |sequence| {
            let mut batch = AlignedBuffer::default();
            begin(&mut batch);
            let position = Position::new(sequence, 0);
            finish(&mut batch, position, position, HEADER);
            assert!(intact(batch.as_slice()));
            header(batch.as_slice(), 0, HEADER as u64, None)
        };
        assert!(at(u32::MAX - 1).is_some());
        assert_eq!(at(u32::MAX), None);
    }
}
