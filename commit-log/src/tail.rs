//! The end of the log: encodes a batch, writes it, rolls over to the next segment. Whoever holds the tail is the only writer.
//!
//! When a batch counts as safe is `flow`'s affair; which segments may be written over is `tidy`'s.

use crate::Position;
use crate::aligned::AlignedBuffer;
use crate::batch::{self, ALIGNMENT, FORMAT, HEADER, MAX_BATCH};
use crate::codec::{self, Entry, INDEX_ENTRY, PREFIX, Start, encoded_size};
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::index::{Index, Placed};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use types::{Durability, Record};

/// How far a fresh `sync` segment is filled with zeros ahead of the writer: blocks that were never written cost the file
/// system a journal commit each, at the worst moment.
const FILL_AHEAD: u64 = 4 << 20;
/// A buffer larger than this is given back after use.
const KEEP_BUFFER: usize = 4 << 20;

/// A file that holds nothing that counts.
pub(crate) struct Free {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Up to where its blocks have been written before.
    pub(crate) filled: u64,
}

/// Files ready to become segments, and names for new ones.
pub(crate) struct Files {
    pub(crate) free: Vec<Free>,
    pub(crate) next_name: u64,
}

impl Files {
    pub(crate) fn create(&mut self, disk: &dyn Disk, size: u64) -> io::Result<Free> {
        let name = format!("{:08}.segment", self.next_name);
        self.next_name += 1;
        let file = disk.create(&name, size)?;
        Ok(Free {
            name,
            file,
            filled: 0,
        })
    }
}

/// What every write needs.
pub(crate) struct Writing<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) files: &'a Mutex<Files>,
    pub(crate) index: &'a Mutex<Index>,
    pub(crate) durability: Durability,
    pub(crate) segment_size: u64,
    /// Up to where the log is on disk, for the batch's mark.
    pub(crate) synced: Position,
}

/// One record to append.
#[derive(Clone, Copy)]
pub(crate) struct Append<'a> {
    pub(crate) record: &'a Record,
    pub(crate) restated: bool,
}

pub(crate) struct Tail {
    file: Arc<dyn DiskFile>,
    sequence: u32,
    offset: u32,
    size: u64,
    filled: u64,
    /// Partitions with records in this segment: its index must fit behind them.
    partitions: usize,
    buffer: AlignedBuffer,
    offsets: Vec<u32>,
    /// The mark of the last batch.
    pub(crate) marked: Position,
    /// Segments up to this one hold nothing that counts.
    released: u32,
    /// End of the last batch written.
    written: Position,
    zeros: AlignedBuffer,
}

fn alignment(durability: Durability) -> usize {
    match durability {
        Durability::Sync => BLOCK,
        Durability::Buffered => ALIGNMENT as usize,
    }
}

fn index_size(partitions: usize, alignment: usize) -> u64 {
    (HEADER + PREFIX + partitions * INDEX_ENTRY).next_multiple_of(alignment) as u64
}

impl Tail {
    /// Begins the log, or goes on with it, in a new segment: nothing is ever appended behind a cut tail, where later batches of the
    /// old life may still stand.
    pub(crate) fn begin(
        writing: &Writing,
        sequence: u32,
        previous: Option<Position>,
    ) -> io::Result<Self> {
        let free = lock(writing.files).free.pop();
        let free = match free {
            Some(free) => free,
            None => lock(writing.files).create(writing.disk, writing.segment_size)?,
        };
        let mut tail = Self {
            file: free.file.clone(),
            sequence,
            offset: 0,
            size: free.file.size(),
            filled: free.filled,
            partitions: 0,
            buffer: AlignedBuffer::default(),
            offsets: Vec::new(),
            marked: Position::default(),
            released: 0,
            written: previous.unwrap_or_default(),
            zeros: AlignedBuffer::default(),
        };
        tail.start(writing, free.name, previous, 0)?;
        Ok(tail)
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.sequence, self.offset)
    }

    /// The segment is more than half full.
    pub(crate) fn is_half_full(&self) -> bool {
        u64::from(self.offset) > self.size / 2
    }

    /// Bytes that a batch of these records takes.
    pub(crate) fn batch_size<'a>(records: impl Iterator<Item = Append<'a>>) -> usize {
        HEADER
            + records
                .map(|append| encoded_size(append.record))
                .sum::<usize>()
    }

    /// Writes the records as one batch and enters them into the index. On return they are written, in `sync` durable. The
    /// caller has seen that they are not more than [`MAX_BATCH`].
    pub(crate) fn append<'a>(
        &mut self,
        writing: &Writing,
        records: impl Iterator<Item = Append<'a>> + Clone,
    ) -> io::Result<Position> {
        let size = Self::batch_size(records.clone());
        debug_assert!(size <= MAX_BATCH + HEADER + PREFIX);
        self.make_room(writing, size, records.clone().count())?;
        self.offsets.clear();
        batch::begin(&mut self.buffer);
        for append in records.clone() {
            let offset = batch::put_record(&mut self.buffer, append.record, append.restated);
            self.offsets.push(offset);
        }
        let batch = self.position();
        self.write(writing)?;
        let mut index = lock(writing.index);
        for (append, offset) in records.zip(&self.offsets) {
            let at = Position::new(batch.sequence(), batch.offset() + offset);
            index.record(
                &Placed {
                    record: append.record,
                    restated: append.restated,
                    at,
                    batch,
                },
                None,
            );
        }
        if let Some(segment) = index.segments.back_mut() {
            segment.end = self.offset;
            self.partitions = segment.partitions.len();
        }
        Ok(self.position())
    }

    /// Writes entries of the log's own, or none: then the batch is a mark alone.
    pub(crate) fn append_own(
        &mut self,
        writing: &Writing,
        entries: &[Entry],
    ) -> io::Result<Position> {
        self.make_room(writing, HEADER + entries.len() * 64, entries.len())?;
        batch::begin(&mut self.buffer);
        for entry in entries {
            codec::put(&mut self.buffer, entry);
        }
        let batch = self.position();
        self.write(writing)?;
        let mut index = lock(writing.index);
        for entry in entries {
            match entry {
                Entry::Quarantined(partition) => index.quarantine(*partition, batch),
                Entry::Released(sequence) => self.released = *sequence,
                _ => {}
            }
        }
        if let Some(segment) = index.segments.back_mut() {
            segment.end = self.offset;
            self.partitions = segment.partitions.len();
        }
        Ok(self.position())
    }

    fn make_room(
        &mut self,
        writing: &Writing,
        size: usize,
        new_partitions: usize,
    ) -> io::Result<()> {
        let alignment = alignment(writing.durability);
        let size = size.next_multiple_of(alignment) as u64;
        let needed = size + index_size(self.partitions + new_partitions, alignment);
        if u64::from(self.offset) + needed <= self.size {
            return Ok(());
        }
        self.roll(writing, size + index_size(new_partitions, alignment))
    }

    /// Seals this segment and starts the next, with room for `needed` bytes.
    fn roll(&mut self, writing: &Writing, needed: u64) -> io::Result<()> {
        let entries = lock(writing.index).seal(self.sequence);
        let index_at = self.offset;
        batch::begin(&mut self.buffer);
        codec::put(&mut self.buffer, &Entry::Index(entries));
        self.write(writing)?;
        if let Some(segment) = lock(writing.index).segments.back_mut() {
            segment.end = self.offset;
        }
        let previous = self.position();
        // A segment's first batch takes a block at most.
        let size = writing
            .segment_size
            .max((needed + BLOCK as u64).next_multiple_of(BLOCK as u64));
        let mut files = lock(writing.files);
        let ready = if size == writing.segment_size {
            files.free.pop()
        } else {
            None
        };
        let free = match ready {
            Some(free) => free,
            None => files.create(writing.disk, size)?,
        };
        drop(files);
        self.size = free.file.size();
        self.filled = free.filled;
        self.file = free.file;
        self.sequence += 1;
        self.offset = 0;
        self.partitions = 0;
        self.start(writing, free.name, Some(previous), index_at)
    }

    /// The first batch of a segment.
    fn start(
        &mut self,
        writing: &Writing,
        name: String,
        previous: Option<Position>,
        index: u32,
    ) -> io::Result<()> {
        batch::begin(&mut self.buffer);
        codec::put(
            &mut self.buffer,
            &Entry::Start(Start {
                format: FORMAT,
                previous,
                index,
                released: self.released,
            }),
        );
        self.write(writing)?;
        lock(writing.index).push_segment(self.sequence, name, self.file.clone(), self.offset);
        Ok(())
    }

    /// Writes the batch in the buffer at the end of the segment.
    fn write(&mut self, writing: &Writing) -> io::Result<()> {
        // In `sync` all that was written before is on disk.
        let synced = match writing.durability {
            Durability::Sync => self.written,
            Durability::Buffered => writing.synced,
        };
        let position = self.position();
        batch::finish(
            &mut self.buffer,
            position,
            synced,
            alignment(writing.durability),
        );
        let offset = u64::from(self.offset);
        match writing.durability {
            Durability::Buffered => self.file.write_at(offset, self.buffer.as_slice())?,
            Durability::Sync => {
                self.fill_ahead(offset + self.buffer.len() as u64)?;
                self.file.write_durably_at(offset, self.buffer.as_slice())?;
            }
        }
        self.marked = synced;
        self.offset += self.buffer.len() as u32;
        self.written = self.position();
        self.buffer.shrink(KEEP_BUFFER);
        Ok(())
    }

    /// Keeps the blocks behind `end` written before they are needed.
    fn fill_ahead(&mut self, end: u64) -> io::Result<()> {
        if end <= self.filled {
            return Ok(());
        }
        let until = (end + FILL_AHEAD).min(self.size);
        let length = until.saturating_sub(end) / BLOCK as u64 * BLOCK as u64;
        self.filled = end + length;
        if length == 0 {
            return Ok(());
        }
        self.zeros.resize(length as usize);
        let written = self.file.write_durably_at(end, self.zeros.as_slice());
        if self.filled + FILL_AHEAD > self.size {
            self.zeros = AlignedBuffer::default();
        }
        written
    }
}

/// A panic elsewhere does not make the log's memory wrong: every change under a lock is whole before anything can panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
