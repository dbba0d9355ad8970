//! Which files are the log: finds the segments, follows the chain from the newest back to the oldest, sets the others free.
//!
//! Every segment names its predecessor and where that one's valid part ends. So a tail that was once cut stays cut, though its
//! batches may still read as valid, and a file that belongs to no chain holds nothing.

use crate::Position;
use crate::batch::{self, FORMAT};
use crate::codec::{Entry, Start};
use crate::disk::{Disk, DiskFile};
use crate::options::OpenError;
use crate::scan::Scanner;
use crate::tail::{Files, Free};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A segment of the log, as found.
pub(crate) struct Link {
    pub(crate) sequence: u32,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where its successor says that it ends; `None` for the newest, or when nobody says.
    pub(crate) end: Option<u32>,
    /// Where its index lies, if it was sealed and its successor says so.
    pub(crate) index: Option<u32>,
}

/// The log's segments, oldest first, and what else was found.
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    pub(crate) files: Files,
    pub(crate) highest_sequence: u32,
    /// A segment is missing from the middle.
    pub(crate) broken: bool,
    pub(crate) bytes_read: u64,
    /// Segments that were written behind one that was not synced.
    pub(crate) torn_bytes: u64,
}

struct Found {
    name: String,
    file: Arc<dyn DiskFile>,
    /// `None`: its first batch is not valid, but later ones are.
    start: Option<Start>,
}

pub(crate) fn disk_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let doing = doing.into();
    move |source| OpenError::Disk { doing, source }
}

impl Chain {
    pub(crate) fn find(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut chain = Self {
            links: Vec::new(),
            files: Files {
                free: Vec::new(),
                next_name: 1,
            },
            highest_sequence: 0,
            broken: false,
            bytes_read: 0,
            torn_bytes: 0,
        };
        let mut found = BTreeMap::new();
        let mut names = disk.list().map_err(disk_error("list its directory"))?;
        names.sort();
        for name in names {
            // There are no more names than segments, which are numbered in 32 bits: a larger number is none that a log has given.
            let Some(number) = name
                .strip_suffix(".segment")
                .and_then(|number| number.parse::<u32>().ok())
            else {
                continue;
            };
            chain.files.next_name = chain.files.next_name.max(u64::from(number) + 1);
            let file = disk
                .open(&name)
                .map_err(disk_error(format!("open {name}")))?;
            match chain.identify(&name, &*file)? {
                None => chain.set_free(name, file),
                Some((sequence, start)) => {
                    chain.highest_sequence = chain.highest_sequence.max(sequence);
                    let entry = Found { name, file, start };
                    // Of two with one number the one with a beginning is real: the other was about to be written over.
                    let other = match found.remove(&sequence) {
                        Some(Found {
                            start: Some(start),
                            name,
                            file,
                        }) => {
                            found.insert(
                                sequence,
                                Found {
                                    start: Some(start),
                                    name,
                                    file,
                                },
                            );
                            Some(entry)
                        }
                        other => {
                            found.insert(sequence, entry);
                            other
                        }
                    };
                    if let Some(other) = other {
                        chain.set_free(other.name, other.file);
                    }
                }
            }
        }
        chain.follow(found)?;
        Ok(chain)
    }

    fn set_free(&mut self, name: String, file: Arc<dyn DiskFile>) {
        self.files.free.push(Free {
            name,
            file,
            filled: 0,
        });
    }

    /// The segment's number, and its beginning if that is valid. `None`: nothing valid in it.
    fn identify(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
    ) -> Result<Option<(u32, Option<Start>)>, OpenError> {
        let mut scanner = Scanner::new(file);
        let mut identified = None;
        let first = scanner
            .batch(0, None)
            .map_err(disk_error(format!("read {name}")))?;
        if let Some((header, bytes)) = first {
            // The format comes first in every format: an unknown one must not pass for damage.
            if let Some((_, Entry::Start(start))) =
                batch::entries(bytes).and_then(|mut entries| entries.pop())
            {
                if start.format != FORMAT {
                    return Err(OpenError::Format {
                        file: name.to_owned(),
                        found: start.format,
                    });
                }
                identified = Some((header.position.sequence(), Some(start)));
            }
        }
        if identified.is_none() {
            let size = scanner.size();
            let later = scanner
                .next_valid(0, size, None)
                .map_err(disk_error(format!("read {name}")))?;
            identified = later.map(|header| (header.position.sequence(), None));
        }
        self.bytes_read += scanner.bytes_read;
        Ok(identified)
    }

    fn follow(&mut self, mut found: BTreeMap<u32, Found>) -> Result<(), OpenError> {
        let newest = found
            .iter()
            .rev()
            .find(|(_, segment)| segment.start.is_some());
        // Without any beginning all are "above it".
        let newest = newest.map_or(0, |(&sequence, _)| sequence);
        // Segments above it whose beginning is not valid: a torn tail or damage, which their marks will tell.
        let mut links = Vec::new();
        for (sequence, segment) in found.split_off(&(newest + 1)).into_iter().rev() {
            links.push(Link {
                sequence,
                name: segment.name,
                file: segment.file,
                end: None,
                index: None,
            });
        }
        let (mut sequence, mut end, mut index) = (newest, None, None);
        let mut released = 0;
        let mut missing = None;
        loop {
            let Some(segment) = found.remove(&sequence) else {
                if newest == 0 {
                    break;
                }
                missing = Some(sequence);
                break;
            };
            let start = segment.start;
            links.push(Link {
                sequence,
                name: segment.name,
                file: segment.file,
                end,
                index,
            });
            if let Some(start) = start {
                released = released.max(start.released);
                let Some(previous) = start.previous else {
                    break;
                };
                (sequence, end) = (previous.sequence(), Some(previous.offset()));
                index = (start.index > 0).then_some(start.index);
            } else {
                // Torn or damaged: its marks will tell. What is left above it was cut off once, and is no part of the log.
                let Some((&below, _)) = found.range(..sequence).next_back() else {
                    break;
                };
                (sequence, end, index) = (below, None, None);
            }
        }
        links.reverse();
        self.links = links;
        if let Some(missing) = missing {
            // A released segment is written over at any time. Another was never synced, beginning and all, or it is damage.
            let released = released >= missing || was_released(self.links.iter().rev(), missing)?;
            if !released && self.highest_mark()? <= Position::new(missing, 0) {
                for link in std::mem::take(&mut self.links) {
                    self.torn_bytes += link.file.size();
                    self.set_free(link.name, link.file);
                }
                return self.follow(found);
            }
            self.broken = !released;
        }
        for (_, segment) in found {
            self.set_free(segment.name, segment.file);
        }
        Ok(())
    }

    /// The highest mark of all that was followed.
    fn highest_mark(&mut self) -> Result<Position, OpenError> {
        let mut highest = Position::default();
        for link in &self.links {
            let mut scanner = Scanner::new(&*link.file);
            let end = Self::end_of(link).offset();
            let found = scanner.highest_mark(0, end, link.sequence);
            highest = highest.max(found.map_err(disk_error(format!("read {}", link.name)))?.1);
            self.bytes_read += scanner.bytes_read;
        }
        Ok(highest)
    }

    /// Where the log would go on if nothing were torn or damaged. Positions of links that are unknown end with their file.
    pub(crate) fn end_of(link: &Link) -> Position {
        let size = link.file.size().min(u64::from(u32::MAX)) as u32;
        Position::new(link.sequence, link.end.unwrap_or(size))
    }
}

/// Whether the log says that the segment was released. `links`: newest first, where that is most likely said.
pub(crate) fn was_released<'a>(
    links: impl Iterator<Item = &'a Link>,
    sequence: u32,
) -> Result<bool, OpenError> {
    for link in links {
        let failed = || disk_error(format!("read {}", link.name));
        let mut scanner = Scanner::new(&*link.file);
        let end = Chain::end_of(link).offset();
        let mut offset = 0;
        while let Some(header) = scanner
            .next_valid(offset, end, Some(link.sequence))
            .map_err(failed())?
        {
            let batch = scanner
                .batch(header.position.offset(), Some(link.sequence))
                .map_err(failed())?;
            let entries = batch
                .and_then(|(_, bytes)| batch::entries(bytes))
                .unwrap_or_default();
            let says = |(_, entry): &(u32, Entry)| match entry {
                Entry::Released(up_to) => *up_to >= sequence,
                Entry::Start(start) => start.released >= sequence,
                _ => false,
            };
            if entries.iter().any(says) {
                return Ok(true);
            }
            offset = header.end().offset();
        }
    }
    Ok(false)
}
