//! The logical state: the rows that every replica must have at one decree, whatever each has compacted. Digests are taken over it.

use crate::garbage::{is_expired_element, is_over};
use crate::rows::{self, Entry, ObjectId, Parsed};
use std::collections::BTreeMap;
use types::{Slot, Timestamp};

/// Tells logical rows from others as a partition is read in byte order. It keeps the objects of one slot in mind.
#[derive(Clone, Debug)]
pub struct LogicalRows {
    at: Timestamp,
    slot: Option<Slot>,
    objects: BTreeMap<ObjectId, Object>,
}

#[derive(Clone, Debug)]
struct Object {
    key: Box<[u8]>,
    has_identity: bool,
}

impl LogicalRows {
    /// At partition time `at`.
    pub fn new(at: Timestamp) -> Self {
        Self {
            at,
            slot: None,
            objects: BTreeMap::new(),
        }
    }

    /// Whether the row is part of the logical state. Rows must come in byte order, from the first.
    pub fn contains(&mut self, row: &[u8], value: &[u8]) -> bool {
        let Some((slot, parsed)) = rows::parse(row) else {
            return row.starts_with(rows::own::REQUESTS)
                && !crate::requests::is_over(row, value, self.at);
        };
        if self.slot != Some(slot) {
            self.slot = Some(slot);
            self.objects.clear();
        }
        match parsed {
            Parsed::Metadata { key } => self.contains_key(key, value),
            Parsed::Identity { id } => match self.objects.get_mut(&id) {
                Some(object) if rows::identity_key(value) == Some(&object.key) => {
                    object.has_identity = true;
                    true
                }
                _ => false,
            },
            Parsed::Element { id, .. } => self.is_alive(id) && !is_expired_element(value, self.at),
            Parsed::Expiry { id, .. } | Parsed::Reserved { id } => self.is_alive(id),
        }
    }

    fn contains_key(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Some(entry) = Entry::peek(value) else {
            return true;
        };
        if is_over(&entry, self.at) {
            return false;
        }
        if let Entry::Hash(hash) = entry {
            let object = Object {
                key: key.into(),
                has_identity: false,
            };
            self.objects.insert(hash.id, object);
        }
        true
    }

    fn is_alive(&self, id: ObjectId) -> bool {
        self.objects
            .get(&id)
            .is_some_and(|object| object.has_identity)
    }
}
