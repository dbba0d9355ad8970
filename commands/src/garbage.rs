//! Which rows nobody needs any more: the judgement of the compaction filter.
//!
//! It judges by rows of one snapshot and by partition time, so replicas that compact at different moments still hold the same logical
//! state; [`crate::logical`] draws the same line for digests. When in doubt a row is kept.

use crate::rows::{self, Element, Entry, Hash, ObjectId, Parsed};
use crate::view::Interrupt;
use bytes::Bytes;
use types::{Slot, Timestamp};

/// Looks up a row in the snapshot by which is judged.
pub type Lookup<'a> = dyn FnMut(&[u8]) -> Result<Option<Bytes>, Interrupt> + 'a;

/// Judges rows at one partition time. It remembers the last object, since its elements come one after the other.
#[derive(Clone, Debug)]
pub struct Judge {
    at: Timestamp,
    last: Option<(Slot, ObjectId, bool)>,
}

impl Judge {
    /// A judge at partition time `at`. One judge sees one snapshot.
    pub fn new(at: Timestamp) -> Self {
        Self { at, last: None }
    }

    /// Whether the row with that value may go. A failing lookup says nothing: the caller keeps the row.
    pub fn is_garbage(
        &mut self,
        row: &[u8],
        value: &[u8],
        lookup: &mut Lookup<'_>,
    ) -> Result<bool, Interrupt> {
        let Some((slot, parsed)) = rows::parse(row) else {
            return Ok(crate::requests::is_over(row, value, self.at));
        };
        Ok(match parsed {
            Parsed::Metadata { .. } => {
                Entry::peek(value).is_some_and(|entry| is_over(&entry, self.at))
            }
            Parsed::Element { id, .. } => {
                is_expired_element(value, self.at) || !self.is_object_alive(slot, id, lookup)?
            }
            // Of a living hash it stays until a write collects it, which also corrects the hash's size.
            Parsed::Expiry { id, .. } | Parsed::Identity { id } | Parsed::Reserved { id } => {
                !self.is_object_alive(slot, id, lookup)?
            }
        })
    }

    /// Whether the metadata of the key that the object's identity row names carries its id.
    fn is_object_alive(
        &mut self,
        slot: Slot,
        id: ObjectId,
        lookup: &mut Lookup<'_>,
    ) -> Result<bool, Interrupt> {
        if let Some((last_slot, last_id, alive)) = self.last
            && (last_slot, last_id) == (slot, id)
        {
            return Ok(alive);
        }
        let alive = match lookup(&rows::identity_row(slot, id))? {
            None => false,
            Some(value) => match rows::identity_key(&value) {
                None => true,
                Some(key) => lookup(&rows::metadata_row_in(slot, key))?
                    .is_some_and(|metadata| carries(&metadata, id, self.at)),
            },
        };
        self.last = Some((slot, id, alive));
        Ok(alive)
    }
}

fn carries(metadata: &[u8], id: ObjectId, at: Timestamp) -> bool {
    match Entry::peek(metadata) {
        None => true,
        Some(entry) => match entry {
            Entry::Hash(Hash { id: carried, .. }) => carried == id && !is_over(&entry, at),
            Entry::String { .. } => false,
        },
    }
}

/// Whether the key has expired for certain: by its own time, or because all of its fields have.
pub(crate) fn is_over(entry: &Entry, at: Timestamp) -> bool {
    let fields_are_over = match entry {
        Entry::String { .. } => false,
        Entry::Hash(hash) => {
            !hash.has_lasting_fields()
                && hash.volatile.is_some_and(|volatile| volatile.latest <= at)
        }
    };
    fields_are_over || entry.expiry().is_some_and(|expiry| expiry <= at)
}

pub(crate) fn is_expired_element(value: &[u8], at: Timestamp) -> bool {
    Element::decode_slice(value)
        .is_some_and(|(expiry, _)| expiry.is_some_and(|expiry| expiry <= at))
}
