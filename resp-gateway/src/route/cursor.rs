//! SCAN and HSCAN: a client's cursor is a number, the place a scan has come to is some bytes; between them stands a bounded memory.
//!
//! A cursor is a slot (14 bits) and a random token (50 bits). The token is forgotten when the memory is full, or unknown because
//! another gateway gave it: then the scan goes on from the slot's (for HSCAN: the key's) beginning. So an element may come twice but
//! none that was there all the time is missed. Token 0 is no token: the slot's beginning.

use super::gather::into_reply;
use super::{here, start_at};
use crate::backend::{Backend, Intent};
use crate::server::Gateway;
use crate::sink::Sink;
use bytes::Bytes;
use commands::{CommandSpec, Reply};
use lru::LruCache;
use std::cell::RefCell;
use std::rc::Rc;
use types::{SLOTS, Slot, SlotRange};

/// Bytes of places that are remembered, roughly.
const BUDGET: usize = 16 << 20;
const SLOT_BITS: u32 = 14;
/// What an entry takes besides its bytes.
const OVERHEAD: usize = 128;

/// Where scans have come to.
pub(crate) struct Cursors(RefCell<Places>);

struct Places {
    places: LruCache<u64, Place, foldhash::fast::RandomState>,
    bytes: usize,
}

struct Place {
    /// For HSCAN, whose: a token given for one key means nothing for another. Empty for SCAN.
    key: Bytes,
    position: Bytes,
}

impl Place {
    fn size(&self) -> usize {
        OVERHEAD + self.key.len() + self.position.len()
    }
}

impl Default for Cursors {
    fn default() -> Self {
        Self(RefCell::new(Places {
            places: LruCache::unbounded_with_hasher(foldhash::fast::RandomState::default()),
            bytes: 0,
        }))
    }
}

impl Cursors {
    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().places.len()
    }

    /// A cursor that leads to `position`, which is in `slot`.
    fn give(&self, slot: Slot, key: &[u8], position: Bytes) -> u64 {
        let token = rand::random_range(1..1u64 << (64 - SLOT_BITS));
        let place = Place {
            key: Bytes::copy_from_slice(key),
            position,
        };
        let memory = &mut *self.0.borrow_mut();
        memory.bytes += place.size();
        if let Some(old) = memory.places.put(token, place) {
            memory.bytes -= old.size();
        }
        while memory.bytes > BUDGET
            && let Some((_, oldest)) = memory.places.pop_lru()
        {
            memory.bytes -= oldest.size();
        }
        cursor_at(slot, token)
    }

    fn find(&self, token: u64, key: &[u8]) -> Option<Bytes> {
        let mut memory = self.0.borrow_mut();
        let place = memory.places.get(&token)?;
        (place.key == key).then(|| place.position.clone())
    }
}

fn cursor_at(slot: Slot, token: u64) -> u64 {
    token << SLOT_BITS | u64::from(slot.0)
}

/// Slot and token of a client's cursor.
fn parse(cursor: &[u8]) -> Result<(Slot, u64), Reply> {
    let number: u64 = std::str::from_utf8(cursor)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Reply::error("ERR invalid cursor"))?;
    let slot = number as u16 & (SLOTS - 1);
    Ok((Slot(slot), number >> SLOT_BITS))
}

/// The position before everything in `slot`: positions begin with their slot.
fn beginning(slot: Slot) -> Bytes {
    Bytes::copy_from_slice(&slot.0.to_be_bytes())
}

/// `SCAN cursor ...`: goes on in the partition of the cursor's slot; at its end the cursor leads to the next partition.
pub(super) fn scan<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    sink: Sink,
) {
    let (slot, token) = match parse(args[1]) {
        Ok(parsed) => parsed,
        Err(reply) => return sink.reply(reply),
    };
    let partitions = gateway.backend.partitions(table);
    let mine = here(gateway, table);
    let wanted = slot.partition(partitions);
    // In a cluster the first partition may be another server's, and one may have moved away since.
    let Some(&partition) = mine.iter().find(|&&partition| partition >= wanted) else {
        return sink.reply(page(0, Vec::new()));
    };
    let position = if partition == wanted {
        gateway
            .cursors
            .find(token, b"")
            .unwrap_or_else(|| beginning(slot))
    } else {
        Bytes::new()
    };
    let next = mine
        .iter()
        .find(|&&next| next > partition)
        .map(|&next| cursor_at(SlotRange::of_partition(next, partitions).first, 0));
    let mut args = args.to_vec();
    args[1] = &position;
    let gateway_then = Rc::clone(gateway);
    let sink_of_page = Sink::of_part(sink.origin(), move |answer| {
        sink.reply(match read_page(into_reply(answer)) {
            Err(reply) => reply,
            Ok((position, items)) if position.is_empty() => page(next.unwrap_or(0), items),
            Ok((position, items)) => {
                let slot = slot_of(&position).unwrap_or(slot);
                page(gateway_then.cursors.give(slot, b"", position), items)
            }
        });
    });
    start_at(
        gateway,
        table,
        partition,
        spec,
        &args,
        Intent::Read,
        sink_of_page,
    );
}

/// `HSCAN key cursor ...`.
pub(super) fn scan_key<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    partition: u32,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    sink: Sink,
) {
    let token = match parse(args[2]) {
        Ok((_, token)) => token,
        Err(reply) => return sink.reply(reply),
    };
    let key = Bytes::copy_from_slice(args[1]);
    let position = gateway.cursors.find(token, &key).unwrap_or_default();
    let mut args = args.to_vec();
    args[2] = &position;
    let gateway_then = Rc::clone(gateway);
    let sink_of_page = Sink::of_part(sink.origin(), move |answer| {
        sink.reply(match read_page(into_reply(answer)) {
            Err(reply) => reply,
            Ok((position, items)) if position.is_empty() => page(0, items),
            Ok((position, items)) => {
                let cursor = gateway_then.cursors.give(Slot::of(&key), &key, position);
                page(cursor, items)
            }
        });
    });
    start_at(
        gateway,
        table,
        partition,
        spec,
        &args,
        Intent::Read,
        sink_of_page,
    );
}

fn slot_of(position: &[u8]) -> Option<Slot> {
    let (slot, _) = position.split_first_chunk()?;
    Some(Slot(u16::from_be_bytes(*slot)))
}

/// A partition's `[next position, items]`.
fn read_page(reply: Reply) -> Result<(Bytes, Vec<Reply>), Reply> {
    if let Reply::Array(parts) = &reply
        && let [Reply::Bulk(position), Reply::Array(items)] = &parts[..]
    {
        return Ok((position.clone(), items.clone()));
    }
    Err(match reply {
        error @ Reply::Error(_) => error,
        _ => Reply::error("ERR a partition answered with something else than a page"),
    })
}

fn page(cursor: u64, items: Vec<Reply>) -> Reply {
    let cursor = itoa::Buffer::new().format(cursor).to_owned();
    Reply::Array(vec![Reply::Bulk(cursor.into()), Reply::Array(items)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_only_for_its_key() {
        let cursors = Cursors::default();
        let given = cursors.give(Slot(16_383), b"hash", Bytes::from_static(b"field"));
        let (slot, token) = parse(given.to_string().as_bytes()).unwrap();
        assert_eq!(slot, Slot(16_383));
        assert_eq!(cursors.find(token, b"hash").unwrap(), "field");
        assert_eq!(cursors.find(token, b"other"), None);
        assert_eq!(cursors.find(token + 1, b"hash"), None);
        assert!(parse(b"x").is_err());
    }

    #[test]
    fn the_memory_of_places_is_bounded_in_bytes() {
        let cursors = Cursors::default();
        for _ in 0..1000 {
            cursors.give(Slot(1), b"", vec![0; 64 << 10].into());
        }
        assert!(cursors.0.borrow().bytes <= BUDGET);
        assert!(cursors.len() < 300);
    }
}
