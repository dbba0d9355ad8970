//! Effects as borrowed records, and several mutations' effects merged into one batch.
//!
//! `commands::effects` makes the bytes and owns the format; here they are walked without counting references, because the overlay
//! keeps offsets into them and the apply thread sorts hundreds of thousands of them.

use commands::effects::Effects;
use commands::rows::own;
use std::ops::Range;

const HEADER: usize = 12;
const DELETE: u8 = 0;
const PUT: u8 = 1;
const DELETE_RANGE: u8 = 15;

/// One record of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Record<'a> {
    /// Sets a row.
    Put(&'a [u8], &'a [u8]),
    /// Removes a row.
    Delete(&'a [u8]),
    /// Removes the rows of `[from, to)`.
    DeleteRange(&'a [u8], &'a [u8]),
}

/// The bytes are no batch that a primary could have made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed effects at byte {at}")]
pub struct Malformed {
    /// Where.
    pub at: usize,
}

/// What a whole batch holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    /// How many records.
    pub(crate) records: u32,
    /// Whether one of them deletes a range.
    pub(crate) clears: bool,
    /// Rows that are garbage by the notes among them.
    pub(crate) garbage: u64,
}

/// Walks the whole batch.
pub(crate) fn check(batch: &[u8]) -> Result<Summary, Malformed> {
    let mut summary = Summary::default();
    let mut records = Records::of(batch);
    while let Some((at, record)) = records.next_record()? {
        // what is written as one record starts below 4 GiB: the overlay keeps u32 offsets
        u32::try_from(at).map_err(|_| Malformed { at })?;
        summary.records += 1;
        summary.clears |= matches!(record, Record::DeleteRange(..));
        if let Record::Put(row, value) = record
            && row.starts_with(own::GARBAGE)
        {
            let noted = own::noted_garbage(value);
            summary.garbage = summary.garbage.saturating_add(noted);
        }
    }
    let declared = match batch.get(8..HEADER) {
        Some(count) => u32::from_le_bytes([count[0], count[1], count[2], count[3]]),
        None if batch.is_empty() => 0,
        None => return Err(Malformed { at: batch.len() }),
    };
    if declared == summary.records {
        Ok(summary)
    } else {
        Err(Malformed { at: batch.len() })
    }
}

/// A walk over a batch's records.
pub(crate) struct Records<'a> {
    batch: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// From the first record.
    pub(crate) fn of(batch: &'a [u8]) -> Self {
        Self {
            batch,
            at: HEADER.min(batch.len()),
        }
    }

    /// The next record and the offset of its tag.
    pub(crate) fn next_record(&mut self) -> Result<Option<(usize, Record<'a>)>, Malformed> {
        if self.at == self.batch.len() {
            return Ok(None);
        }
        let at = self.at;
        let (record, next) = record_at(self.batch, at).ok_or(Malformed { at })?;
        self.at = next;
        Ok(Some((at, record)))
    }
}

/// The record whose tag stands at `at`, and where the next one begins.
pub(crate) fn record_at(batch: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let tag = *batch.get(at)?;
    let key = string_at(batch, at + 1)?;
    let row = &batch[key.clone()];
    match tag {
        DELETE => Some((Record::Delete(row), key.end)),
        PUT | DELETE_RANGE => {
            let value = string_at(batch, key.end)?;
            let end = value.end;
            let value = &batch[value];
            let record = if tag == PUT {
                Record::Put(row, value)
            } else {
                Record::DeleteRange(row, value)
            };
            Some((record, end))
        }
        _ => None,
    }
}

/// The row of the record at `at`. Only for offsets that a walk or a builder gave out.
pub(crate) fn row_at(batch: &[u8], at: usize) -> &[u8] {
    string_at(batch, at + 1).map_or(&[], |key| &batch[key])
}

/// Where the value of the put at `at` stands; nothing for a delete.
pub(crate) fn value_at(batch: &[u8], at: usize) -> Option<Range<usize>> {
    if *batch.get(at)? != PUT {
        return None;
    }
    let key = string_at(batch, at + 1)?;
    string_at(batch, key.end)
}

#[inline]
fn string_at(batch: &[u8], mut at: usize) -> Option<Range<usize>> {
    let mut length = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *batch.get(at)?;
        at += 1;
        length |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let end = at.checked_add(length as usize)?;
            return (end <= batch.len()).then_some(at..end);
        }
    }
    None
}

/// One batch that does what `batches` do one after the other, its rows sorted and each written once. None of them may delete a
/// range.
pub(crate) fn merge<'a>(batches: impl Iterator<Item = &'a [u8]>) -> Result<Effects, Malformed> {
    // the first sixteen bytes decide nearly every comparison without touching the rows
    let mut records: Vec<(u128, u32, Record<'a>)> = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let mut walk = Records::of(batch);
        bytes += batch.len();
        while let Some((_, record)) = walk.next_record()? {
            records.push((prefix(row_of(&record)), records.len() as u32, record));
        }
    }
    records.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0)
            .then_with(|| row_of(&a.2).cmp(row_of(&b.2)))
            .then_with(|| a.1.cmp(&b.1))
    });
    let mut merged = Effects::with_capacity(bytes);
    for (i, (prefix, _, record)) in records.iter().enumerate() {
        let overwritten = records
            .get(i + 1)
            .is_some_and(|next| next.0 == *prefix && row_of(&next.2) == row_of(record));
        if overwritten {
            continue;
        }
        match record {
            Record::Put(row, value) => drop(merged.put(row, &[value])),
            Record::Delete(row) => drop(merged.delete(row)),
            Record::DeleteRange(from, to) => merged.delete_range(from, to),
        }
    }
    Ok(merged)
}

fn row_of<'a>(record: &Record<'a>) -> &'a [u8] {
    match record {
        Record::Put(row, _) | Record::Delete(row) | Record::DeleteRange(row, _) => row,
    }
}

fn prefix(row: &[u8]) -> u128 {
    if let Some(first) = row.first_chunk::<16>() {
        return u128::from_be_bytes(*first);
    }
    let mut bytes = [0; 16];
    bytes[..row.len()].copy_from_slice(row);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rocksdb::{WriteBatch, WriteBatchIterator};
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Seen(Vec<(Vec<u8>, Option<Vec<u8>>)>);

    impl WriteBatchIterator for Seen {
        fn put(&mut self, key: &[u8], value: &[u8]) {
            self.0.push((key.to_vec(), Some(value.to_vec())));
        }
        fn delete(&mut self, key: &[u8]) {
            self.0.push((key.to_vec(), None));
        }
    }

    fn built(writes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Effects {
        let mut effects = Effects::new();
        for (row, value) in writes {
            match value {
                Some(value) => drop(effects.put(row, &[value])),
                None => drop(effects.delete(row)),
            }
        }
        effects
    }

    #[test]
    fn a_batch_built_by_hand_is_what_rocksdb_builds() {
        let mut theirs = WriteBatch::default();
        theirs.put(b"row", b"value");
        theirs.put(b"long", [7; 300]);
        theirs.delete(b"gone");
        theirs.delete_range(b"a".to_vec(), b"b".to_vec());
        let mut ours = Effects::new();
        ours.put(b"row", &[b"va", b"lue"]);
        ours.put(b"long", &[&[7; 300]]);
        ours.delete(b"gone");
        ours.delete_range(b"a", b"b");
        let ours = ours.freeze();
        assert_eq!(theirs.data(), &ours[..]);
        assert_eq!(WriteBatch::from_data(&ours).len(), 4);
    }

    type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn writes() -> impl Strategy<Value = Writes> {
        let row = prop::collection::vec(0u8..3, 0..20);
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
        prop::collection::vec((row, value), 0..30)
    }

    proptest! {
        #[test]
        fn rocksdb_reads_the_records_that_were_written(writes in writes()) {
            let batch = built(&writes).freeze();
            let mut seen = Seen::default();
            WriteBatch::from_data(&batch).iterate(&mut seen);
            prop_assert_eq!(check(&batch).unwrap().records as usize, writes.len());
            prop_assert_eq!(seen.0, writes);
        }

        #[test]
        fn a_merged_batch_holds_each_rows_last_write_in_order(batches in prop::collection::vec(writes(), 0..5)) {
            let frozen: Vec<_> = batches.iter().map(|writes| built(writes).freeze()).collect();
            let merged = merge(frozen.iter().map(|batch| &batch[..])).unwrap().freeze();
            let model: BTreeMap<_, _> = batches.into_iter().flatten().collect();
            let mut seen = Seen::default();
            WriteBatch::from_data(&merged).iterate(&mut seen);
            prop_assert_eq!(seen.0, model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_a_batch_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let ours = check(&bytes).is_ok();
            let theirs = commands::effects::rows(&bytes.into()).all(|row| row.is_ok());
            prop_assert_eq!(ours, theirs);
        }
    }
}
