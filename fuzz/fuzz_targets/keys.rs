//! Keys, rows and effects as bytes: whatever stands on a disk or comes from a peer is read without a panic, what is written reads back as
//! it was, and rows stand in the order of what they mean.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use commands::effects::{self, Effects, Operation};
use commands::garbage::Judge;
use commands::logical::LogicalRows;
use commands::memory::MemoryView;
use commands::requests::{Budget, Windows};
use commands::rows::own::{Applied, REQUESTS};
use commands::rows::{self, Element, Entry, Kind, ObjectId, Parsed, RowBuf};
use commands::{View, ViewMut};
use libfuzzer_sys::fuzz_target;
use types::{Ballot, Decree, Slot, Timestamp};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Row(&'a [u8]),
    Value(&'a [u8]),
    Effects(&'a [u8]),
    Order(Name<'a>, Name<'a>),
    Applied(u64, u64, u64),
    Records(Vec<(u8, &'a [u8], Vec<&'a [u8]>)>),
    Partition(u64, Vec<(Place<'a>, &'a [u8])>),
}

/// What a row says. Variants and fields stand in the order in which rows are to.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name<'a> {
    slot: u16,
    part: Part<'a>,
}

#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part<'a> {
    Metadata(&'a [u8]),
    Identity(u64, u32),
    Element(u64, u32, &'a [u8]),
    Expiry(u64, u32, u64, &'a [u8]),
}

/// A row of a partition whose rows need not fit each other.
#[derive(Arbitrary, Debug)]
enum Place<'a> {
    Named(Name<'a>),
    Request(u8, u8),
    Bytes(&'a [u8]),
}

fn id(decree: u64, index: u32) -> ObjectId {
    ObjectId {
        decree: Decree(decree),
        index,
    }
}

impl Name<'_> {
    /// Within the slots that there are.
    fn limited(mut self) -> Self {
        self.slot %= types::SLOTS;
        self
    }

    fn row(&self) -> RowBuf {
        let slot = Slot(self.slot);
        match self.part {
            Part::Metadata(key) => rows::metadata_row_in(slot, key),
            Part::Identity(decree, index) => rows::identity_row(slot, id(decree, index)),
            Part::Element(decree, index, sub) => rows::element_row(slot, id(decree, index), sub),
            Part::Expiry(decree, index, expiry, sub) => {
                rows::expiry_row(slot, id(decree, index), Timestamp(expiry), sub)
            }
        }
    }

    fn parsed(&self) -> (Slot, Parsed<'_>) {
        let parsed = match self.part {
            Part::Metadata(key) => Parsed::Metadata { key },
            Part::Identity(decree, index) => Parsed::Identity {
                id: id(decree, index),
            },
            Part::Element(decree, index, sub) => Parsed::Element {
                id: id(decree, index),
                sub,
            },
            Part::Expiry(decree, index, expiry, sub) => Parsed::Expiry {
                id: id(decree, index),
                expiry: Timestamp(expiry),
                sub,
            },
        };
        (Slot(self.slot), parsed)
    }
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Row(row) => any_row(row),
        Input::Value(value) => any_value(value),
        Input::Effects(bytes) => any_effects(bytes),
        Input::Order(first, second) => order(first.limited(), second.limited()),
        Input::Applied(decree, ballot, timestamp) => {
            let applied = Applied {
                decree: Decree(decree),
                ballot: Ballot(ballot),
                timestamp: Timestamp(timestamp),
            };
            assert_eq!(Applied::decode(&applied.encode()), Some(applied));
        }
        Input::Records(records) => built_effects(&records),
        Input::Partition(now, rows) => any_partition(Timestamp(now), &rows),
    }
});

fn any_row(row: &[u8]) {
    let Some((slot, parsed)) = rows::parse(row) else {
        return;
    };
    match parsed {
        Parsed::Metadata { key } => assert_eq!(&rows::metadata_row_in(slot, key)[..], row),
        Parsed::Element { id, sub } => assert_eq!(&rows::element_row(slot, id, sub)[..], row),
        Parsed::Expiry { id, expiry, sub } => {
            assert_eq!(&rows::expiry_row(slot, id, expiry, sub)[..], row);
        }
        Parsed::Identity { id } => assert!(row.starts_with(&rows::identity_row(slot, id))),
        Parsed::Reserved { id } => assert_eq!(
            ObjectId::decode(&row[3..]).map(|(found, _)| found),
            Some(id)
        ),
    }
}

fn any_value(value: &[u8]) {
    let owned = Bytes::copy_from_slice(value);
    let entry = Entry::decode(owned.clone());
    match (&entry, Entry::peek(value)) {
        (Some(Entry::Hash(hash)), peeked) => {
            assert_eq!(peeked, entry);
            assert!(value.starts_with(&hash.encode()));
        }
        (
            Some(Entry::String {
                expiry,
                value: text,
            }),
            Some(peeked),
        ) => {
            assert_eq!((peeked.type_name(), peeked.expiry()), ("string", *expiry));
            assert!(value.ends_with(text));
        }
        (decoded, peeked) => assert_eq!((decoded, peeked), (&None, None)),
    }
    let element = Element::decode(owned);
    let borrowed = Element::decode_slice(value);
    assert_eq!(
        element.as_ref().map(|it| (it.expiry, &it.value[..])),
        borrowed
    );
    assert_eq!(
        rows::identity_key(&rows::identity_value(value).concat()),
        Some(value)
    );
    let _ = (rows::identity_key(value), Applied::decode(value));
}

fn any_effects(bytes: &[u8]) {
    let batch = Bytes::copy_from_slice(bytes);
    let read: Vec<_> = effects::rows(&batch).collect();
    assert!(read.len() <= bytes.len() + 1, "more records than bytes");
    let mut rows = MemoryView::new();
    let Ok(read) = read.into_iter().collect::<Result<Vec<_>, _>>() else {
        assert!(rows.apply(&batch).is_err());
        return;
    };
    rows.apply(&batch).expect("every record was read");
    // Numbers have several encodings, so the bytes may differ; what they say may not.
    let mut again = Effects::new();
    for row in &read {
        match row.operation {
            Operation::Put => drop(again.put(&row.key, &[&row.value])),
            Operation::Delete => drop(again.delete(&row.key)),
            Operation::DeleteRange => again.delete_range(&row.key, &row.value),
        }
    }
    let again: Vec<_> = effects::rows(&again.freeze()).map(Result::unwrap).collect();
    assert_eq!(again, read);
}

fn built_effects(records: &[(u8, &[u8], Vec<&[u8]>)]) {
    let (mut built, mut expected) = (Effects::new(), Vec::new());
    for (kind, row, pieces) in records {
        let value = pieces.concat();
        let mark = built.mark();
        let record = match kind % 3 {
            0 => {
                let written = built.put(row, pieces);
                assert_eq!(&built.as_slice()[written.key], *row);
                assert_eq!(&built.as_slice()[written.value], value);
                (Operation::Put, row.to_vec(), value)
            }
            1 => {
                built.delete(row);
                (Operation::Delete, row.to_vec(), Vec::new())
            }
            _ => {
                built.delete_range(row, &value);
                (Operation::DeleteRange, row.to_vec(), value)
            }
        };
        if *kind >= 128 {
            built.rollback(mark);
        } else {
            expected.push(record);
        }
    }
    assert_eq!(built.count() as usize, expected.len());
    let read: Vec<_> = effects::rows(&built.freeze())
        .map(|row| row.map(|row| (row.operation, row.key.to_vec(), row.value.to_vec())))
        .collect::<Result<_, _>>()
        .expect("what was built is whole");
    assert_eq!(read, expected);
}

fn order(first: Name<'_>, second: Name<'_>) {
    let (row, other) = (first.row(), second.row());
    assert_eq!(rows::parse(&row), Some(first.parsed()));
    assert_eq!(row.cmp(&other), first.cmp(&second));
    assert!(&row[..] >= rows::KEYS_FROM && &row[..] < rows::KEYS_TO);
    let next = rows::just_after(&row);
    assert!(next > row && (other <= row || other >= next));
    let after = rows::after_prefix(&row);
    assert!(after > row);
    assert_eq!(
        other.starts_with(&row),
        row <= other && other < after,
        "a prefix's rows are those up to the first behind it"
    );
    let kind = match first.part {
        Part::Metadata(_) => Kind::Metadata,
        Part::Identity(..) => Kind::Identity,
        Part::Element(..) => Kind::Element,
        Part::Expiry(..) => Kind::Expiry,
    };
    let slot = Slot(first.slot);
    assert!(
        row[..] >= rows::slot_rows(slot, kind)[..] && row[..] < rows::slot_after(slot, kind)[..]
    );
}

/// What reads whole partitions must bear rows that do not fit each other.
fn any_partition(now: Timestamp, written: &[(Place<'_>, &[u8])]) {
    let mut view = MemoryView::new();
    for (place, value) in written {
        let row = match place {
            Place::Named(name) => name.limited().row(),
            Place::Request(client, number) => {
                let mut row = RowBuf::from_slice(REQUESTS);
                row.extend_from_slice(&u64::from(*client).to_be_bytes());
                row.extend_from_slice(&u32::from(*number).to_be_bytes());
                row
            }
            Place::Bytes(bytes) => RowBuf::from_slice(bytes),
        };
        view.put(&row, &[value]);
    }
    let rows: Vec<(Bytes, Bytes)> = view
        .rows()
        .map(|(row, value)| (row.clone(), value.clone()))
        .collect();
    let (mut judge, mut logical) = (Judge::new(now), LogicalRows::new(now));
    for (row, value) in &rows {
        let garbage = judge
            .is_garbage(row, value, &mut |row| view.get(row))
            .expect("memory does not fail");
        let counts = logical.contains(row, value);
        assert!(
            !(garbage && counts),
            "a row that a compaction drops is part of the logical state: {}",
            row.escape_ascii()
        );
    }
    let _ = Windows::restore(&mut view, now, &Budget::new(1 << 20));
}
