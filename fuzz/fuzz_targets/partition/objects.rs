//! What must hold between the rows of a partition: every one reads as what it is, and a hash's metadata says what its fields are.

use commands::logical::LogicalRows;
use commands::memory::MemoryView;
use commands::rows::{self, Element, Entry, ObjectId, Parsed};
use std::collections::{BTreeMap, BTreeSet};
use types::{Slot, Timestamp};

/// What there is of one object.
#[derive(Default)]
struct Object {
    /// Of fields that expire: when, and which.
    expiring: BTreeSet<(Timestamp, Vec<u8>)>,
    lasting: u64,
    expiries: BTreeSet<(Timestamp, Vec<u8>)>,
    key: Option<Vec<u8>>,
}

/// The rows that every replica must have, whatever it has compacted.
pub fn logical(view: &MemoryView, at: Timestamp) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut logical = LogicalRows::new(at);
    let rows = view
        .rows()
        .filter(|(row, value)| logical.contains(row, value));
    rows.map(|(row, value)| (row.to_vec(), value.to_vec()))
        .collect()
}

/// Panics if rows do not fit each other.
pub fn check(view: &MemoryView) {
    let mut objects: BTreeMap<(Slot, ObjectId), Object> = BTreeMap::new();
    let mut keys = Vec::new();
    for (row, value) in view.rows() {
        let Some((slot, parsed)) = rows::parse(row) else {
            assert!(
                row.starts_with(rows::own::REQUESTS),
                "an unknown row {}",
                row.escape_ascii()
            );
            continue;
        };
        match parsed {
            Parsed::Metadata { key } => {
                assert_eq!(Slot::of(key), slot);
                let entry = Entry::decode(value.clone()).expect("metadata reads");
                keys.push((slot, key, entry));
            }
            Parsed::Identity { id } => {
                let key = rows::identity_key(value).expect("an identity reads");
                objects.entry((slot, id)).or_default().key = Some(key.into());
            }
            Parsed::Element { id, sub } => {
                let (expiry, _) = Element::decode_slice(value).expect("an element reads");
                let object = objects.entry((slot, id)).or_default();
                match expiry {
                    None => object.lasting += 1,
                    Some(expiry) => drop(object.expiring.insert((expiry, sub.into()))),
                }
            }
            Parsed::Expiry { id, expiry, sub } => {
                let object = objects.entry((slot, id)).or_default();
                object.expiries.insert((expiry, sub.into()));
            }
            Parsed::Reserved { .. } => panic!("nobody writes {}", row.escape_ascii()),
        }
    }
    for (slot, key, entry) in keys {
        let Entry::Hash(hash) = entry else {
            continue;
        };
        let Some(object) = objects.get(&(slot, hash.id)) else {
            panic!("the hash at {} has no rows", key.escape_ascii());
        };
        let shown = key.escape_ascii();
        assert_eq!(
            object.key.as_deref(),
            Some(key),
            "whose the object of {shown} is"
        );
        let volatile = hash.volatile.map_or(0, |volatile| volatile.fields);
        // The element of an expired field may be collected; its expiry row then still counts.
        assert_eq!(
            object.expiries.len() as u64,
            volatile,
            "expiring fields of {shown}"
        );
        assert_eq!(object.lasting + volatile, hash.size, "fields of {shown}");
        assert!(
            object.expiring.is_subset(&object.expiries),
            "expiry rows of {shown}"
        );
        assert!(hash.size > 0, "an empty hash at {shown}");
        if let Some(volatile) = hash.volatile {
            let times = volatile.earliest..=volatile.latest;
            assert!(volatile.fields > 0);
            assert!(
                object
                    .expiries
                    .iter()
                    .all(|(expiry, _)| times.contains(expiry)),
                "times of {shown}"
            );
        }
    }
}
