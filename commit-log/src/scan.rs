//! Reads batches out of a segment file, in chunks. Believes nothing: memory is bounded by the file, contents by their checksum.

use crate::Position;
use crate::batch::{self, ALIGNMENT, HEADER, Header};
use crate::disk::DiskFile;
use std::io;

const CHUNK: usize = 256 << 10;

pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    size: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
    pub(crate) bytes_read: u64,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> Self {
        Self {
            file,
            // Positions hold 32 bits of offset.
            size: file.size().min(u64::from(u32::MAX)),
            chunk: Vec::new(),
            chunk_at: 0,
            bytes_read: 0,
        }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size as u32
    }

    /// The valid batch at `offset`, if there is one, of the given segment (or of any).
    pub(crate) fn batch(
        &mut self,
        offset: u32,
        sequence: Option<u32>,
    ) -> io::Result<Option<(Header, &[u8])>> {
        let size = self.size;
        let Some(header) = batch::header(self.bytes(offset, HEADER)?, offset, size, sequence)
        else {
            return Ok(None);
        };
        let bytes = self.bytes(offset, header.length as usize)?;
        Ok(batch::intact(bytes).then_some((header, bytes)))
    }

    /// The first valid batch at or behind `from` and before `until`.
    pub(crate) fn next_valid(
        &mut self,
        from: u32,
        until: u32,
        sequence: Option<u32>,
    ) -> io::Result<Option<Header>> {
        let mut offset = from.next_multiple_of(ALIGNMENT);
        while offset < until {
            if !self.holds(offset) {
                // most of a segment may never have been written
                match self.file.next_data(offset.into()) {
                    None => return Ok(None),
                    Some(at) if at >= until.into() => return Ok(None),
                    Some(at) => offset = offset.max(at as u32 / ALIGNMENT * ALIGNMENT),
                }
            }
            let available = self.available(offset)?;
            let found = available
                .chunks_exact(ALIGNMENT as usize)
                .position(batch::may_begin);
            if let Some(at) = found {
                offset += at as u32 * ALIGNMENT;
            } else {
                let whole = available.len() as u32 / ALIGNMENT * ALIGNMENT;
                if whole == 0 {
                    return Ok(None);
                }
                offset += whole;
                continue;
            }
            if offset >= until {
                break;
            }
            if let Some((header, _)) = self.batch(offset, sequence)? {
                return Ok(Some(header));
            }
            offset += ALIGNMENT;
        }
        Ok(None)
    }

    /// The first valid batch from `from` to `until`, and the highest mark of all of them.
    pub(crate) fn highest_mark(
        &mut self,
        from: u32,
        until: u32,
        sequence: u32,
    ) -> io::Result<(Option<Header>, Position)> {
        let (mut first, mut highest) = (None, Position::default());
        let mut offset = from;
        while let Some(header) = self.next_valid(offset, until, Some(sequence))? {
            first.get_or_insert(header);
            highest = highest.max(header.synced);
            offset = header.end().offset();
        }
        Ok((first, highest))
    }

    /// Bytes of the batch that was begun at `offset`, whether it is intact or not; zero if there is no sign of one.
    pub(crate) fn begun(&mut self, offset: u32, sequence: u32) -> io::Result<u32> {
        let size = self.size;
        let header = batch::header(self.bytes(offset, HEADER)?, offset, size, Some(sequence));
        Ok(header.map_or(0, |header| header.span))
    }

    /// Where in memory a header at `offset` is.
    fn place(&self, offset: u32) -> Option<usize> {
        let start = u64::from(offset).checked_sub(self.chunk_at)? as usize;
        (start + HEADER <= self.chunk.len()).then_some(start)
    }

    fn holds(&self, offset: u32) -> bool {
        self.place(offset).is_some()
    }

    /// What is in memory from `offset` on, or the next chunk.
    fn available(&mut self, offset: u32) -> io::Result<&[u8]> {
        match self.place(offset) {
            Some(start) => Ok(&self.chunk[start..]),
            None => self.bytes(offset, CHUNK),
        }
    }

    /// `length` bytes from `offset`, fewer at the end of the file.
    fn bytes(&mut self, offset: u32, length: usize) -> io::Result<&[u8]> {
        let offset = u64::from(offset);
        let length = length.min(self.size.saturating_sub(offset) as usize);
        let inside = offset
            .checked_sub(self.chunk_at)
            .map(|start| start as usize);
        if let Some(start) = inside.filter(|start| start + length <= self.chunk.len()) {
            return Ok(&self.chunk[start..start + length]);
        }
        let wanted = length
            .max(CHUNK)
            .min(self.size.saturating_sub(offset) as usize);
        self.chunk.resize(wanted, 0);
        self.chunk_at = offset;
        let read = self.file.read_at(offset, &mut self.chunk);
        // What was not read is not there; on an error neither is what was there before.
        self.chunk.truncate(*read.as_ref().unwrap_or(&0));
        self.bytes_read += read? as u64;
        Ok(&self.chunk[..length.min(self.chunk.len())])
    }
}
