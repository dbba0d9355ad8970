//! What is on disk, known without opening any `RocksDB`: for every partition its directory and its durable state.
//!
//! A journal of fixed records, each with its own checksum; the last one of a partition counts. A state is written here, synced,
//! before anybody hears that it is durable, so the catalogue may be behind the truth but the log never relies on more than it says.
//! A damaged record hides whose it was, and a file that is gone everybody's: then the caller looks into every `RocksDB` instead.

use commands::rows::own::Applied;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use types::{Ballot, Decree, PartitionId, Timestamp};

pub(crate) const FILE: &str = "catalogue";
const NEXT: &str = "catalogue.next";
const RECORD: usize = 56;
const PRESENT: u32 = 1;
const REMOVED: u32 = 2;

/// A partition's entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Which of the partition's directories counts.
    pub(crate) number: u64,
    /// What it is known to hold.
    pub(crate) durable: Applied,
}

/// The open catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    dir: PathBuf,
    file: File,
    records: u64,
    entries: BTreeMap<PartitionId, Entry>,
}

/// How much of the file could be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Whole,
    /// There was none.
    Missing,
    /// A record was written whole and cannot be read.
    Damaged,
}

impl Catalogue {
    /// Reads the catalogue of `dir` and writes it anew without what no longer counts.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Health)> {
        let mut bytes = Vec::new();
        let mut health = Health::Whole;
        match File::open(dir.join(FILE)) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => health = Health::Missing,
            Err(error) => return Err(error),
        }
        let mut entries = BTreeMap::new();
        for record in bytes.chunks(RECORD) {
            let Some((partition, kind, entry)) = decode(record) else {
                // a crash tears the last one only: it is short, or the file grew and nothing was written
                if record.len() == RECORD && record.iter().any(|&byte| byte != 0) {
                    health = Health::Damaged;
                }
                continue;
            };
            if kind == PRESENT {
                entries.insert(partition, entry);
            } else if entries
                .get(&partition)
                .is_some_and(|known: &Entry| known.number <= entry.number)
            {
                entries.remove(&partition);
            }
        }
        let (file, records) = rewrite(dir, &entries)?;
        let catalogue = Self {
            dir: dir.to_owned(),
            file,
            records,
            entries,
        };
        Ok((catalogue, health))
    }

    pub(crate) fn entries(&self) -> &BTreeMap<PartitionId, Entry> {
        &self.entries
    }

    /// The entry is on disk when this returns.
    pub(crate) fn put(&mut self, partition: PartitionId, entry: Entry) -> io::Result<()> {
        self.entries.insert(partition, entry);
        self.append(partition, PRESENT, entry)
    }

    /// Forgets the partition at once, but not on disk: [`Self::remove`] follows.
    pub(crate) fn forget(&mut self, partition: PartitionId) -> Option<Entry> {
        self.entries.remove(&partition)
    }

    /// Forgets the directory `number` of the partition, and older ones; a newer one stays.
    pub(crate) fn remove(&mut self, partition: PartitionId, number: u64) -> io::Result<()> {
        let newer = self
            .entries
            .get(&partition)
            .is_some_and(|entry| entry.number > number);
        if !newer {
            self.entries.remove(&partition);
        }
        let entry = Entry {
            number,
            durable: Applied::default(),
        };
        self.append(partition, REMOVED, entry)
    }

    fn append(&mut self, partition: PartitionId, kind: u32, entry: Entry) -> io::Result<()> {
        if self.records > 1024 && self.records > 8 * self.entries.len() as u64 {
            (self.file, self.records) = rewrite(&self.dir, &self.entries)?;
            return Ok(());
        }
        self.file.write_all(&encode(partition, kind, entry))?;
        self.records += 1;
        self.file.sync_data()
    }
}

fn rewrite(dir: &Path, entries: &BTreeMap<PartitionId, Entry>) -> io::Result<(File, u64)> {
    let next = dir.join(NEXT);
    let mut bytes = Vec::with_capacity(entries.len() * RECORD);
    for (&partition, &entry) in entries {
        bytes.extend_from_slice(&encode(partition, PRESENT, entry));
    }
    let mut file = File::create(&next)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&next, dir.join(FILE))?;
    sync_dir(dir)?;
    let file = OpenOptions::new().append(true).open(dir.join(FILE))?;
    Ok((file, entries.len() as u64))
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn encode(partition: PartitionId, kind: u32, entry: Entry) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0..4].copy_from_slice(&kind.to_le_bytes());
    record[4..8].copy_from_slice(&partition.table.0.to_le_bytes());
    record[8..12].copy_from_slice(&partition.index.to_le_bytes());
    record[16..24].copy_from_slice(&entry.number.to_le_bytes());
    record[24..32].copy_from_slice(&entry.durable.decree.0.to_le_bytes());
    record[32..40].copy_from_slice(&entry.durable.ballot.0.to_le_bytes());
    record[40..48].copy_from_slice(&entry.durable.timestamp.0.to_le_bytes());
    let checksum = crc32c::crc32c(&record[..RECORD - 4]);
    record[RECORD - 4..].copy_from_slice(&checksum.to_le_bytes());
    record
}

fn decode(record: &[u8]) -> Option<(PartitionId, u32, Entry)> {
    let record: &[u8; RECORD] = record.try_into().ok()?;
    let short = |at: usize| {
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    };
    let long = |at: usize| u64::from(short(at)) | u64::from(short(at + 4)) << 32;
    let kind = short(0);
    if crc32c::crc32c(&record[..RECORD - 4]) != short(RECORD - 4)
        || !matches!(kind, PRESENT | REMOVED)
    {
        return None;
    }
    let entry = Entry {
        number: long(16),
        durable: Applied {
            decree: Decree(long(24)),
            ballot: Ballot(long(32)),
            timestamp: Timestamp(long(40)),
        },
    };
    Some((PartitionId::new(short(4), short(8)), kind, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, decree: u64) -> Entry {
        Entry {
            number,
            durable: Applied {
                decree: Decree(decree),
                ballot: Ballot(3),
                timestamp: Timestamp(4),
            },
        }
    }

    #[test]
    fn the_last_entry_of_a_partition_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut catalogue, health) = Catalogue::open(dir.path()).unwrap();
        assert_eq!(health, Health::Missing);
        let (a, b) = (PartitionId::new(1, 0), PartitionId::new(1, 1));
        for decree in 1..3000 {
            catalogue.put(a, entry(1, decree)).unwrap();
        }
        catalogue.put(b, entry(2, 5)).unwrap();
        catalogue.remove(b, 2).unwrap();
        drop(catalogue);
        let (catalogue, health) = Catalogue::open(dir.path()).unwrap();
        assert_eq!(health, Health::Whole);
        assert_eq!(
            catalogue.entries().iter().collect::<Vec<_>>(),
            [(&a, &entry(1, 2999))]
        );
    }

    #[test]
    fn a_late_removal_does_not_hit_the_successor() {
        let dir = tempfile::tempdir().unwrap();
        let (mut catalogue, _) = Catalogue::open(dir.path()).unwrap();
        let a = PartitionId::new(1, 0);
        catalogue.put(a, entry(7, 5)).unwrap();
        catalogue.remove(a, 6).unwrap();
        assert_eq!(catalogue.entries()[&a], entry(7, 5));
    }

    #[test]
    fn a_torn_end_is_cut_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let a = PartitionId::new(1, 0);
        let mut bytes = encode(a, PRESENT, entry(1, 5)).to_vec();
        bytes.extend_from_slice(&encode(a, PRESENT, entry(1, 6)));
        std::fs::write(&file, &bytes[..RECORD + 20]).unwrap();
        let (catalogue, health) = Catalogue::open(dir.path()).unwrap();
        assert_eq!(
            (catalogue.entries()[&a], health),
            (entry(1, 5), Health::Whole)
        );
        for (damaged, last) in [(20, entry(1, 6)), (RECORD + 20, entry(1, 5))] {
            let mut bytes = bytes.clone();
            bytes[damaged] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            let (catalogue, health) = Catalogue::open(dir.path()).unwrap();
            assert_eq!((catalogue.entries()[&a], health), (last, Health::Damaged));
        }
    }
}
