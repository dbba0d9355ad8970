//! Walking over keys: SCAN and HSCAN by position, KEYS, DBSIZE, RANDOMKEY, and what CLUSTER asks of a slot.
//!
//! A position is bytes at which a walk goes on. How a position becomes a cursor of 64 bits, and who remembers it, is the server's
//! affair.

use crate::arguments::{integer, is};
use crate::glob;
use crate::hash::random::Random;
use crate::keyspace::{Args, Keyspace, Outcome, Reading, Stop, unreadable};
use crate::moment::Moment;
use crate::reply::{Refusal, Reply};
use crate::rows::{self, Entry, Kind, Parsed, RowBuf};
use crate::view::{Direction, Interrupt, View};
use bytes::Bytes;
use std::ops::ControlFlow;
use types::{Slot, SlotRange};

/// One page looks at no more than this, whatever COUNT says.
const MOST_EXAMINED: usize = 10_000;
/// One page of fields ends when it has this many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// How often one page may skip over a slot's elements.
const MOST_SEEKS: usize = 1_000;
/// DBSIZE counts up to here, then estimates.
const MOST_COUNTED: u64 = 1_000_000;
/// RANDOMKEY draws among this many neighbours.
const NEIGHBOURS: usize = 64;

/// What SCAN and HSCAN are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanRequest<'a> {
    /// Where to go on, as the client was told.
    pub cursor: u64,
    /// MATCH: only names that match.
    pub pattern: Option<&'a [u8]>,
    /// COUNT: about how many to look at.
    pub count: usize,
    /// TYPE: only keys that hold it.
    pub kind: Option<&'a [u8]>,
    /// Not NOVALUES: fields with their values.
    pub with_values: bool,
}

impl<'a> ScanRequest<'a> {
    /// Of SCAN cursor [MATCH pattern] [COUNT n] [TYPE name].
    pub fn keys(args: &[&'a [u8]]) -> Result<Self, Reply> {
        Ok(Self::parse(&args[1..], Kind::Metadata)?)
    }

    /// Of HSCAN key cursor [MATCH pattern] [COUNT n] [NOVALUES].
    pub fn fields(args: &[&'a [u8]]) -> Result<Self, Reply> {
        Ok(Self::parse(&args[2..], Kind::Element)?)
    }

    fn parse(args: &Args<'a>, of: Kind) -> Result<Self, Refusal> {
        let (cursor, options) = args.split_first().ok_or(Refusal::SYNTAX)?;
        let cursor = std::str::from_utf8(cursor)
            .ok()
            .and_then(|cursor| cursor.parse().ok())
            .ok_or(Refusal::new("ERR invalid cursor"))?;
        let mut request = Self {
            cursor,
            pattern: None,
            count: 10,
            kind: None,
            with_values: true,
        };
        let mut rest = options.iter().copied();
        while let Some(option) = rest.next() {
            if is(option, "NOVALUES") && of == Kind::Element {
                request.with_values = false;
                continue;
            }
            let argument = rest.next().ok_or(Refusal::SYNTAX)?;
            if is(option, "MATCH") {
                request.pattern = (argument != b"*").then_some(argument);
            } else if is(option, "COUNT") {
                let count = integer(argument)?;
                if count < 1 {
                    return Err(Refusal::SYNTAX);
                }
                request.count = count as usize;
            } else if is(option, "TYPE") && of == Kind::Metadata {
                request.kind = Some(argument);
            } else {
                return Err(Refusal::SYNTAX);
            }
        }
        Ok(request)
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// What one step of a walk found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Page {
    /// Keys; or fields and values by turns.
    pub items: Vec<Reply>,
    /// Where to go on; `None` at the end. Of keys it begins with the slot, as `u16` in big-endian order.
    pub next: Option<Bytes>,
    /// As of [`crate::Evaluated`].
    pub depends_on_expiry: bool,
}

/// The reply of SCAN and HSCAN.
pub fn scan_reply(cursor: u64, items: Vec<Reply>) -> Reply {
    let cursor = Reply::bulk(itoa::Buffer::new().format(cursor).as_bytes());
    Reply::Array(vec![cursor, Reply::Array(items)])
}

/// The position before a slot's first key.
pub fn position_of(slot: Slot) -> Bytes {
    Bytes::copy_from_slice(&rows::slot_rows(slot, Kind::Metadata))
}

/// A page of the partition's keys from `position` on; `None` is the beginning. Slots that the moment's partition does not hold are
/// passed over.
pub fn scan_keys<'a>(
    position: Option<&[u8]>,
    request: &ScanRequest<'_>,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Page, Interrupt> {
    let mut keys = Keyspace::new(view, moment);
    let mut walk = Walk::over(moment.slots);
    if let Some(position) = position {
        walk.next = walk
            .next
            .map(|first| first.max(RowBuf::from_slice(position)));
    }
    let mut items = Vec::new();
    walk.step(
        &mut keys,
        request.count.min(MOST_EXAMINED),
        &mut |key, entry| {
            let of_kind = request
                .kind
                .is_none_or(|kind| kind.eq_ignore_ascii_case(entry.type_name().as_bytes()));
            if of_kind && request.wants(key) {
                items.push(Reply::bulk(key));
            }
        },
    )?;
    Ok(Page {
        items,
        next: walk.next.map(|next| Bytes::copy_from_slice(&next)),
        depends_on_expiry: keys.depends_on_expiry,
    })
}

/// A page of a hash's fields from `position` on; `None` is the beginning. An error reply if the key holds another type.
pub fn scan_fields<'a>(
    key: &[u8],
    position: Option<&[u8]>,
    request: &ScanRequest<'_>,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Result<Page, Reply>, Interrupt> {
    let slot = Slot::of(key);
    let mut keys = Keyspace::new(view, moment);
    let hash = match keys.load_hash(slot, key) {
        Ok(hash) => hash,
        Err(Stop::Refused(refusal)) => return Ok(Err(refusal.into())),
        Err(Stop::Interrupt(interrupt)) => return Err(interrupt),
    };
    let mut page = Page::default();
    if let Some(hash) = hash {
        let prefix = rows::object_rows(slot, Kind::Element, hash.id);
        let from = [&prefix, position.unwrap_or_default()].concat();
        let to = rows::after_prefix(&prefix);
        let most = request.count.min(MOST_EXAMINED);
        let (mut examined, mut bytes) = (0, 0);
        let forward = Direction::Forward;
        keys.each_field_between(&from, &to, prefix.len(), forward, &mut |field| {
            if examined == most || bytes >= PAGE_BYTES {
                page.next = Some(Bytes::copy_from_slice(field.name));
                return ControlFlow::Break(());
            }
            examined += 1;
            if request.wants(field.name) {
                bytes += field.name.len();
                page.items.push(Reply::bulk(field.name));
                if request.with_values {
                    bytes += field.value.len();
                    page.items.push(Reply::bulk(field.value));
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    page.depends_on_expiry = keys.depends_on_expiry;
    Ok(Ok(page))
}

/// How many keys there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// So many were seen, or so many there may be.
    pub keys: u64,
    /// Whether all were seen; else it is an estimate from the slots that were.
    pub exact: bool,
}

/// Counts the keys in `slots`: up to a million, then it estimates from the share of the slots seen.
pub fn count_keys<'a>(
    slots: SlotRange,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Count, Interrupt> {
    count(&mut Keyspace::new(view, moment), slots, MOST_COUNTED)
}

fn count<V: View + ?Sized>(
    keys: &mut Keyspace<'_, V>,
    slots: SlotRange,
    most: u64,
) -> Result<Count, Interrupt> {
    let mut walk = Walk::over(slots);
    let mut seen = 0;
    while let Some(next) = &walk.next {
        if seen >= most {
            let reached = next
                .first_chunk()
                .map_or(0, |slot| u16::from_be_bytes(*slot));
            let all = u64::from(slots.last.0 - slots.first.0) + 1;
            // The slot that the walk stands in counts as seen, so that one large slot is not taken for many.
            let covered = u64::from(reached.saturating_sub(slots.first.0)) + 1;
            return Ok(Count {
                keys: seen.saturating_mul(all) / covered,
                exact: false,
            });
        }
        walk.step(keys, MOST_EXAMINED, &mut |_, _| seen += 1)?;
    }
    Ok(Count {
        keys: seen,
        exact: true,
    })
}

/// Up to `most` keys of a slot, for CLUSTER GETKEYSINSLOT.
pub fn keys_in_slot<'a>(
    slot: Slot,
    most: usize,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Vec<Bytes>, Interrupt> {
    let mut keys = Keyspace::new(view, moment);
    let mut walk = Walk::over(SlotRange {
        first: slot,
        last: slot,
    });
    let mut found = Vec::new();
    while walk.next.is_some() && found.len() < most {
        let room = most - found.len();
        walk.step(&mut keys, room.min(MOST_EXAMINED), &mut |key, _| {
            found.push(Bytes::copy_from_slice(key));
        })?;
    }
    Ok(found)
}

/// KEYS pattern: the keys that match, of one partition. O(keys).
pub(crate) fn keys(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let mut found = Vec::new();
    let mut walk = Walk::over(keys.moment.slots);
    while walk.next.is_some() {
        walk.step(keys, MOST_EXAMINED, &mut |key, _| {
            if glob::matches(args[1], key) {
                found.push(Reply::bulk(key));
            }
        })?;
    }
    Ok(Reply::Array(found))
}

/// DBSIZE: how many keys the partition has. O(keys) up to a million, then an estimate.
pub(crate) fn dbsize(keys: &mut Reading<'_>, _: &Args<'_>) -> Outcome {
    let slots = keys.moment.slots;
    let count = count(keys, slots, MOST_COUNTED)?;
    Ok(Reply::Integer(count.keys as i64))
}

/// RANDOMKEY: some key of the partition, or nil: one of those that follow a random slot.
pub(crate) fn randomkey(keys: &mut Reading<'_>, _: &Args<'_>) -> Outcome {
    let mut random = Random(keys.moment.random);
    let slots = keys.moment.slots;
    let width = u64::from(slots.last.0 - slots.first.0) + 1;
    let middle = Slot(slots.first.0 + random.below(width) as u16);
    for first in [middle, slots.first] {
        let mut walk = Walk::over(SlotRange {
            first,
            last: slots.last,
        });
        let mut found = Vec::new();
        while walk.next.is_some() && found.is_empty() {
            walk.step(keys, NEIGHBOURS, &mut |key, _| {
                found.push(Bytes::copy_from_slice(key));
            })?;
        }
        if !found.is_empty() {
            let place = random.below(found.len() as u64);
            return Ok(Reply::Bulk(found.swap_remove(place as usize)));
        }
    }
    Ok(Reply::Nil)
}

/// A walk over the keys of some slots, past their elements.
struct Walk {
    /// The row at which it goes on; `None` at the end.
    next: Option<RowBuf>,
    end: [u8; 3],
}

impl Walk {
    fn over(slots: SlotRange) -> Self {
        let first = rows::slot_rows(slots.first, Kind::Metadata);
        Self {
            next: Some(RowBuf::from_slice(&first)),
            end: rows::slot_rows(Slot(slots.last.0 + 1), Kind::Metadata),
        }
    }

    /// Looks at up to `most` keys and shows `visit` those that are alive.
    fn step<V: View + ?Sized>(
        &mut self,
        keys: &mut Keyspace<'_, V>,
        most: usize,
        visit: &mut dyn FnMut(&[u8], &Entry),
    ) -> Result<(), Interrupt> {
        let mut examined = 0;
        for _ in 0..MOST_SEEKS {
            let Some(from) = self.next.take() else {
                break;
            };
            if examined == most {
                self.next = Some(from);
                break;
            }
            self.seek(keys, &from, most, &mut examined, visit)?;
        }
        Ok(())
    }

    /// Looks at the keys that follow each other without elements in between.
    fn seek<V: View + ?Sized>(
        &mut self,
        keys: &mut Keyspace<'_, V>,
        from: &[u8],
        most: usize,
        examined: &mut usize,
        visit: &mut dyn FnMut(&[u8], &Entry),
    ) -> Result<(), Interrupt> {
        let now = keys.now();
        let mut next = None;
        let mut unknown = None;
        let mut met_expired = false;
        // Whether these are alive takes another look, which a scan cannot take from within.
        let mut unsure = Vec::new();
        keys.view
            .scan(from, &self.end, Direction::Forward, &mut |row, value| {
                let (slot, key) = match rows::parse(row) {
                    Some((slot, Parsed::Metadata { key })) => (slot, key),
                    Some((slot, _)) => {
                        let following = rows::slot_rows(Slot(slot.0 + 1), Kind::Metadata);
                        next = Some(RowBuf::from_slice(&following));
                        return ControlFlow::Break(());
                    }
                    None => return ControlFlow::Continue(()),
                };
                if *examined == most {
                    next = Some(RowBuf::from_slice(row));
                    return ControlFlow::Break(());
                }
                *examined += 1;
                let Some(entry) = Entry::peek(value) else {
                    unknown = Some(unreadable(row));
                    return ControlFlow::Break(());
                };
                if entry.expiry().is_some_and(|expiry| expiry <= now) {
                    met_expired = true;
                } else if let Entry::Hash(hash) = &entry
                    && hash.volatile.is_some()
                    && !hash.has_lasting_fields()
                {
                    unsure.push((slot, Bytes::copy_from_slice(key), entry));
                } else {
                    visit(key, &entry);
                }
                ControlFlow::Continue(())
            })?;
        keys.depends_on_expiry |= met_expired;
        if let Some(unknown) = unknown {
            return Err(unknown);
        }
        for (slot, key, entry) in unsure {
            if keys.is_alive(slot, &entry)? {
                visit(&key, &entry);
            }
        }
        self.next = next;
        Ok(())
    }
}
