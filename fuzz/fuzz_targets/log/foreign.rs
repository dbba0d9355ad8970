//! Files that no log wrote: bytes as they come, and batches of arbitrary headers and entries whose checksums are right. Written by the
//! description in `commit-log/src/batch.rs` and `codec.rs`.

use super::model::{self, options};
use arbitrary::Arbitrary;
use commit_log::{Disk, SimulatedDisk};
use types::{Decree, Durability};

const MAGIC: u32 = 0x474c_5054;
const SIZE: u64 = 16 << 10;

#[derive(Arbitrary, Debug)]
pub struct Files<'a> {
    synced: bool,
    durable: u8,
    files: Vec<(Name, Vec<Piece<'a>>)>,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Number(u8),
    Any(u64),
}

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Bytes(&'a [u8]),
    Gap(u8),
    Batch {
        position: (u32, Option<u32>),
        synced: u64,
        span: Option<u32>,
        entries: Vec<Entry<'a>>,
    },
    /// A batch at its place in this segment.
    Plain(u8, Vec<Entry<'a>>),
}

#[derive(Arbitrary, Debug)]
enum Entry<'a> {
    Words {
        kind: u8,
        partition: u8,
        words: Vec<Word>,
    },
    Any {
        kind: u8,
        flags: u8,
        table: u32,
        body: &'a [u8],
        length: Option<u32>,
    },
}

/// Numbers that are often near each other.
#[derive(Arbitrary, Debug)]
enum Word {
    Small(u8),
    /// A position, or two small numbers.
    Pair(u8, u16),
    Any(u64),
    Most,
}

impl Word {
    fn number(&self) -> u64 {
        match self {
            Self::Small(number) => u64::from(*number),
            Self::Pair(high, low) => u64::from(*high) << 32 | u64::from(*low),
            Self::Any(number) => *number,
            Self::Most => u64::MAX,
        }
    }
}

impl Entry<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        let (kind, flags, table, body, length) = match self {
            Self::Words {
                kind,
                partition,
                words,
            } => {
                let body = words
                    .iter()
                    .flat_map(|word| word.number().to_le_bytes())
                    .collect();
                // The kinds that there are: 1 to 9 and 32 to 35.
                let kind = match kind % 13 {
                    low @ 0..=8 => low + 1,
                    high => high - 9 + 32,
                };
                (kind, 0, u32::from(partition % 3), body, None)
            }
            Self::Any {
                kind,
                flags,
                table,
                body,
                length,
            } => (*kind, *flags, *table, body.to_vec(), *length),
        };
        out.extend(length.unwrap_or(body.len() as u32).to_le_bytes());
        out.extend([kind, flags, 0, 0]);
        out.extend(table.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(body);
    }
}

/// A batch with a right checksum.
fn put_batch(
    entries: &[Entry<'_>],
    position: u64,
    synced: u64,
    span: Option<u32>,
    out: &mut Vec<u8>,
) {
    let mut records = Vec::new();
    entries.iter().for_each(|entry| entry.put(&mut records));
    let length = (32 + records.len()) as u32;
    let mut checked = Vec::new();
    checked.extend(length.to_le_bytes());
    checked.extend(span.unwrap_or(length.next_multiple_of(8)).to_le_bytes());
    checked.extend(position.to_le_bytes());
    checked.extend(synced.to_le_bytes());
    checked.extend(records);
    out.extend(MAGIC.to_le_bytes());
    out.extend(crc32c::crc32c(&checked).to_le_bytes());
    out.extend(checked);
    out.resize(out.len().next_multiple_of(8), 0);
}

impl Piece<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Gap(words) => {
                out.resize(out.len().next_multiple_of(8) + usize::from(*words) * 8, 0)
            }
            Self::Batch {
                position: (sequence, offset),
                synced,
                span,
                entries,
            } => {
                let offset = offset.map_or(out.len() as u64, u64::from);
                put_batch(
                    entries,
                    u64::from(*sequence) << 32 | offset,
                    *synced,
                    *span,
                    out,
                );
            }
            Self::Plain(sequence, entries) => {
                let position = u64::from(*sequence) << 32 | out.len() as u64;
                put_batch(entries, position, position, None, out);
            }
        }
    }
}

pub fn run(files: &Files<'_>) {
    let disk = SimulatedDisk::new();
    for (name, pieces) in files.files.iter().take(6) {
        let mut bytes = Vec::new();
        for piece in pieces {
            piece.put(&mut bytes);
        }
        let name = match name {
            Name::Number(number) => format!("{number:08}.segment"),
            Name::Any(number) => format!("{number}.segment"),
        };
        // Of a file's size, or of whatever size it came to.
        let size = if bytes.len() % 3 == 0 {
            bytes.len() as u64
        } else {
            SIZE.max(bytes.len() as u64)
        };
        let file = disk.create(&name, size).expect("the disk works");
        file.write_at(0, &bytes).expect("it has room");
        file.sync().expect("the disk works");
    }
    let durability = if files.synced {
        Durability::Sync
    } else {
        Durability::Buffered
    };
    let durable = |_| Decree(u64::from(files.durable));
    let Ok(opened) = model::open(&disk, &options(durability), &durable) else {
        return;
    };
    for record in &opened.records {
        // Whatever it was, it can be read back until somebody says otherwise.
        if record.body.mutation().is_some() {
            let _ = opened.log.oldest(record.partition);
            let _ = opened.log.read(record.partition, Decree(1), 1 << 20);
        }
    }
    let _ = opened.log.append(&opened.records, 1);
    for _ in 0..100 {
        opened.log.drive();
    }
    let quarantined = opened.recovery.quarantined.clone();
    drop(opened);
    // What was made of it is a log like any other.
    let again = model::open(&disk, &options(durability), &durable).expect("it was opened before");
    assert!(
        again.recovery.lost_track || quarantined.iter().all(|it| again.recovery.quarantined.contains(it) || was_reset(&again.records, *it)),
        "a quarantine is forgotten"
    );
}

fn was_reset(records: &[types::Record], partition: types::PartitionId) -> bool {
    let ends = |body: &types::RecordBody| {
        matches!(
            body,
            types::RecordBody::Reset { .. } | types::RecordBody::Deleted
        )
    };
    records
        .iter()
        .any(|record| record.partition == partition && ends(&record.body))
}
