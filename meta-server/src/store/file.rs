//! The file: a header, then records, each written and synced before the next one is begun; a mark behind each that was synced.
//!
//! ```text
//! header: "TULPMETA" | format u32
//! record: length u32 | crc32c u32 over offset and payload | payload
//! mark:   "SYNCED\r\n" | its own offset u64 | crc32c u32 of both
//! ```
//!
//! Marks are not synced themselves: they tell a torn tail from damage. Invalid bytes with a mark somewhere behind them were once
//! durable: that is damage, and never becomes a shorter history. Without one they are the write that a crash cut off.
//! The file is never changed in place; a new one is written whole, synced and renamed over it. What payloads mean is not known here.

use super::OpenError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const HEADER: &[u8; 12] = b"TULPMETA\x01\0\0\0";
const RECORD_HEAD: usize = 8;
const MARK: &[u8; 8] = b"SYNCED\r\n";
const MARK_LENGTH: usize = 20;

/// An open file of records, written at its end.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    end: u64,
}

/// What a file held.
#[derive(Debug)]
pub(super) struct Contents {
    /// The payloads, in order, and where each begins.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    /// Bytes of a last write that a crash cut off; they are not part of the contents.
    pub(super) torn: u64,
}

impl RecordFile {
    /// Writes a new file with one record and puts it in the place of `path`, all of it or nothing.
    pub(super) fn replace(path: &Path, payload: &[u8]) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(HEADER)?;
        let mut written = Self {
            file,
            end: HEADER.len() as u64,
        };
        written.append(payload)?;
        written.file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(written)
    }

    /// Appends one record; it is durable when this returns. After an error the file must be read again before it is written.
    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .map_err(|_| io::Error::other("a record is larger than 4 GiB"))?;
        let mut record = Vec::with_capacity(RECORD_HEAD + payload.len());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&checksum(self.end, payload).to_le_bytes());
        record.extend_from_slice(payload);
        self.file.write_all_at(&record, self.end)?;
        self.file.sync_data()?;
        self.end += record.len() as u64;
        self.file.write_all_at(&mark(self.end), self.end)?;
        self.end += MARK_LENGTH as u64;
        Ok(())
    }

    /// How long the file is.
    pub(super) fn len(&self) -> u64 {
        self.end
    }
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Contents>, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(OpenError::Unusable {
                path: path.into(),
                source,
            });
        }
    };
    parse(&bytes)
        .map(Some)
        .map_err(|(offset, what)| OpenError::Damaged {
            path: PathBuf::from(path),
            offset: offset as u64,
            what: what.into(),
        })
}

fn parse(bytes: &[u8]) -> Result<Contents, (usize, &'static str)> {
    let format = HEADER.len() - 4;
    if bytes.get(..format) != Some(&HEADER[..format]) {
        return Err((0, "it is no metadata store"));
    }
    if bytes.get(format..HEADER.len()) != Some(&HEADER[format..]) {
        return Err((format, "its format is not known to this version"));
    }
    let mut records = Vec::new();
    let mut at = HEADER.len();
    while at < bytes.len() {
        if let Some(payload) = record_at(bytes, at) {
            records.push((at as u64, payload.to_vec()));
            at += RECORD_HEAD + payload.len();
        } else if mark_at(bytes, at) {
            at += MARK_LENGTH;
        } else if records.is_empty() {
            // The first record was there before the file got its name.
            return Err((at, "its first record is not whole"));
        } else if (at + 1..bytes.len()).any(|later| mark_at(bytes, later)) {
            return Err((at, "a record that was durable is not whole"));
        } else {
            break;
        }
    }
    if records.is_empty() {
        return Err((at, "its first record is missing"));
    }
    Ok(Contents {
        records,
        torn: (bytes.len() - at) as u64,
    })
}

fn record_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head = bytes.get(at..at + RECORD_HEAD)?;
    let word = |from: usize| head[from..from + 4].try_into().map(u32::from_le_bytes).ok();
    let (length, crc) = (word(0)? as usize, word(4)?);
    let start = at + RECORD_HEAD;
    let payload = bytes.get(start..start.checked_add(length)?)?;
    (checksum(at as u64, payload) == crc).then_some(payload)
}

fn mark_at(bytes: &[u8], at: usize) -> bool {
    let begins = bytes[at..].starts_with(MARK);
    begins && bytes.get(at..at + MARK_LENGTH) == Some(&mark(at as u64)[..])
}

fn mark(at: u64) -> [u8; MARK_LENGTH] {
    let mut bytes = [0; MARK_LENGTH];
    bytes[..8].copy_from_slice(MARK);
    bytes[8..16].copy_from_slice(&at.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Covers the place too, so that bytes of an older file are never taken for a record.
fn checksum(at: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&at.to_le_bytes()), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payloads: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster");
        let mut file = RecordFile::replace(&path, payloads[0]).unwrap();
        for payload in &payloads[1..] {
            file.append(payload).unwrap();
        }
        (directory, path)
    }

    fn payloads(contents: &Contents) -> Vec<&[u8]> {
        contents
            .records
            .iter()
            .map(|(_, payload)| &payload[..])
            .collect()
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let (_directory, path) = written(&[b"first", b"", b"third"]);
        let contents = read(&path).unwrap().unwrap();
        assert_eq!(payloads(&contents), [&b"first"[..], b"", b"third"]);
        assert_eq!(contents.torn, 0);
    }

    #[test]
    fn a_file_cut_anywhere_is_a_whole_shorter_history_or_no_store() {
        let (_directory, path) = written(&[b"first", b"second", b"third"]);
        let bytes = fs::read(&path).unwrap();
        let first_end = HEADER.len() + RECORD_HEAD + 5;
        for length in 0..bytes.len() {
            match parse(&bytes[..length]) {
                Ok(contents) => {
                    assert!(length >= first_end, "{length}");
                    assert_eq!(
                        payloads(&contents)[..],
                        [&b"first"[..], b"second", b"third"][..contents.records.len()]
                    );
                }
                Err(_) => assert!(length < first_end, "{length}"),
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_a_durable_record_is_damage() {
        let (_directory, path) = written(&[b"first", b"second", b"third"]);
        let bytes = fs::read(&path).unwrap();
        let last_mark = bytes.len() - MARK_LENGTH;
        for at in 0..last_mark {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            // A mark is not part of the history; a damaged one is noticed like the rest, but for the last.
            assert!(parse(&flipped).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_last_record_written_in_part_is_cut_off() {
        let (_directory, path) = written(&[b"first", b"second"]);
        let whole = fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend_from_slice(&100u32.to_le_bytes());
        torn.extend_from_slice(&[0; 60]);
        let contents = parse(&torn).unwrap();
        assert_eq!(payloads(&contents), [&b"first"[..], b"second"]);
        assert_eq!(contents.torn, 64);
    }

    #[test]
    fn a_declared_length_beyond_the_file_allocates_nothing() {
        let (_directory, path) = written(&[b"first"]);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[7; 4]);
        assert_eq!(parse(&bytes).unwrap().records.len(), 1);
    }
}
