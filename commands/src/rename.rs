//! Giving a key's value another name: RENAME, RENAMENX, COPY. Both keys are in one slot.

use crate::arguments::{integer, is};
use crate::hash::edit::{Edit, FieldLifetime};
use crate::keyspace::{Args, Outcome, Stop, Writing};
use crate::reply::{Refusal, Reply};
use crate::rows::{self, Entry, Hash};
use bytes::Bytes;
use std::ops::ControlFlow;
use types::{Slot, Timestamp};

/// The slot of both keys.
fn one_slot(from: &[u8], to: &[u8]) -> Result<Slot, Refusal> {
    let slot = Slot::of(from);
    if slot == Slot::of(to) {
        Ok(slot)
    } else {
        Err(Refusal::CROSS_SLOT)
    }
}

/// RENAME key newkey: OK, whatever was at the new key, which is not looked at. O(1), whatever the size.
pub(crate) fn rename(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = one_slot(args[1], args[2])?;
    let entry = keys.take_up(slot, args[1])?.ok_or(Refusal::NO_SUCH_KEY)?;
    if args[1] != args[2] {
        move_entry(keys, slot, args[1], args[2], &entry)?;
    }
    Ok(Reply::Ok)
}

/// RENAMENX key newkey: 1 if the new key was absent and the key has that name now, else 0. O(1), whatever the size.
pub(crate) fn renamenx(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = one_slot(args[1], args[2])?;
    let entry = keys.take_up(slot, args[1])?.ok_or(Refusal::NO_SUCH_KEY)?;
    if args[1] == args[2] || keys.take_up(slot, args[2])?.is_some() {
        return Ok(Reply::Integer(0));
    }
    move_entry(keys, slot, args[1], args[2], &entry)?;
    Ok(Reply::Integer(1))
}

/// An object keeps its id, so its elements stay where they are; only its identity row learns the new name.
fn move_entry(
    keys: &mut Writing<'_>,
    slot: Slot,
    from: &[u8],
    to: &[u8],
    entry: &Entry,
) -> Result<(), Stop> {
    keys.delete(&rows::metadata_row_in(slot, from))?;
    match entry {
        Entry::String { expiry, value } => keys.put_string(slot, to, *expiry, &[value]),
        Entry::Hash(hash) => {
            let row = rows::identity_row(slot, hash.id);
            keys.put(&row, &rows::identity_value(to))?;
            keys.put_hash(slot, to, hash)
        }
    }
}

/// COPY source destination [DB 0] [REPLACE]: 1 if copied, 0 if the source is absent or the destination is not. O(size).
pub(crate) fn copy(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let (from, to) = (args[1], args[2]);
    let mut replace = false;
    let mut rest = args[3..].iter();
    while let Some(option) = rest.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if let (true, Some(database)) = (is(option, "DB"), rest.next()) {
            if integer(database)? != 0 {
                return Err(Refusal::new("ERR DB index is out of range").into());
            }
        } else {
            return Err(Refusal::SYNTAX.into());
        }
    }
    if from == to {
        return Err(Refusal::new("ERR source and destination objects are the same").into());
    }
    let slot = one_slot(from, to)?;
    let Some(entry) = keys.take_up(slot, from)? else {
        return Ok(Reply::Integer(0));
    };
    if !replace && keys.take_up(slot, to)?.is_some() {
        return Ok(Reply::Integer(0));
    }
    match entry {
        Entry::String { expiry, value } => keys.put_string(slot, to, expiry, &[&value])?,
        Entry::Hash(hash) => copy_hash(keys, slot, &hash, to)?,
    }
    Ok(Reply::Integer(1))
}

fn copy_hash(keys: &mut Writing<'_>, slot: Slot, hash: &Hash, to: &[u8]) -> Result<(), Stop> {
    let mut fields = Vec::<(Bytes, Bytes, Option<Timestamp>)>::new();
    let mut bytes = 0;
    let room = keys.moment.limits.mutation;
    keys.each_field(slot, hash.id, &mut |field| {
        bytes += field.name.len() + field.value.len();
        if bytes > room {
            return ControlFlow::Break(());
        }
        let name = Bytes::copy_from_slice(field.name);
        let value = Bytes::copy_from_slice(field.value);
        fields.push((name, value, field.expiry));
        ControlFlow::Continue(())
    })?;
    if bytes > room {
        return Err(crate::Interrupt::Full.into());
    }
    let mut copy = Edit::new(keys, to, hash.expiry);
    for (name, value, expiry) in &fields {
        copy.set_over(keys, name, None, value, FieldLifetime::Is(*expiry))?;
    }
    copy.close(keys)
}
