//! What can happen to the files of a log that is not running, and what its batches say of themselves.

use arbitrary::Arbitrary;
use commit_log::{Disk, Position, SimulatedDisk};

#[derive(Arbitrary, Debug)]
pub enum Damage {
    /// Bits of a byte.
    Byte {
        file: u8,
        at: u16,
        mask: u8,
    },
    /// Some bytes become others: what a lost or misdirected write leaves.
    Stretch {
        file: u8,
        at: u16,
        length: u8,
        mask: u8,
    },
    Remove {
        file: u8,
    },
    /// Up to a whole segment of an older life, or of another.
    Copy {
        from: u8,
        to: u8,
        at: u8,
        blocks: u8,
    },
}

impl Damage {
    /// Whether it has changed anything.
    pub fn done(&self, disk: &SimulatedDisk) -> bool {
        let files = disk.files();
        let file = |number: u8| files.get(usize::from(number) % files.len().max(1));
        match *self {
            Self::Byte {
                file: number,
                at,
                mask,
            } => file(number).is_some_and(|(name, size)| {
                mask != 0 && disk.corrupt(name, usize::from(at) % size, mask)
            }),
            Self::Stretch {
                file: number,
                at,
                length,
                mask,
            } => file(number).is_some_and(|(name, size)| {
                let from = usize::from(at) % size;
                let bytes = from..(from + usize::from(length)).min(*size);
                mask != 0 && bytes.filter(|&at| disk.corrupt(name, at, mask)).count() > 0
            }),
            Self::Remove { file: number } => {
                file(number).is_some_and(|(name, _)| disk.remove(name).is_ok())
            }
            Self::Copy {
                from,
                to,
                at,
                blocks,
            } => {
                let (Some((from, _)), Some((to, size))) = (file(from), file(to)) else {
                    return false;
                };
                let (Some(new), Some(old)) = (disk.contents(from), disk.contents(to)) else {
                    return false;
                };
                let start = (usize::from(at) * 512) % size;
                let places = start..(start + usize::from(blocks) * 512).min(*size);
                places
                    .filter(|&at| {
                        new.get(at).is_some_and(|new| {
                            *new != old[at] && disk.corrupt(to, at, new ^ old[at])
                        })
                    })
                    .count()
                    > 0
            }
        }
    }
}

/// As marks are stored.
pub fn raw(position: Position) -> u64 {
    // It shows itself as SEQUENCE:OFFSET.
    let shown = position.to_string();
    let (sequence, offset) = shown.split_once(':').expect("a position has two parts");
    sequence.parse::<u64>().expect("a number") << 32 | offset.parse::<u64>().expect("a number")
}

/// Position and mark of every batch on the disk that is intact, by the description in `commit-log/src/batch.rs`.
pub fn marks(disk: &SimulatedDisk) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (name, _) in disk.files() {
        let bytes = disk.contents(&name).unwrap_or_default();
        for at in (0..bytes.len().saturating_sub(31)).step_by(8) {
            let word = |from: usize| {
                let bytes = bytes[at + from..].first_chunk().expect("a header is there");
                u64::from(u32::from_le_bytes(*bytes))
            };
            let position = word(16) | word(20) << 32;
            let end = at + word(8) as usize;
            if word(0) == 0x474c_5054
                && position as u32 as usize == at
                && (at + 32..=bytes.len()).contains(&end)
                && word(4) as u32 == crc32c::crc32c(&bytes[at + 8..end])
            {
                found.push((position, word(24) | word(28) << 32));
            }
        }
    }
    found
}
