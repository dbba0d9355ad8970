//! Reading hashes: fields by name, all of them, how many.

use crate::hash::fields::Field;
use crate::keyspace::{Args, Outcome, Reading, Stop};
use crate::reply::Reply;
use crate::rows::Element;
use bytes::Bytes;
use std::ops::ControlFlow;
use types::Slot;

/// The field of the key, if both are alive.
fn field(keys: &mut Reading<'_>, key: &[u8], field: &[u8]) -> Result<Option<Element>, Stop> {
    let slot = Slot::of(key);
    match keys.load_hash(slot, key)? {
        None => Ok(None),
        Some(hash) => Ok(keys.field(slot, hash.id, field)?),
    }
}

fn value_or_nil(element: Option<Element>) -> Reply {
    element.map_or(Reply::Nil, |element| Reply::Bulk(element.value))
}

/// HGET key field: the value, or nil. O(1).
pub(crate) fn hget(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    Ok(value_or_nil(field(keys, args[1], args[2])?))
}

/// HMGET key field...: the values, nil for those absent. O(fields).
pub(crate) fn hmget(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let Some(hash) = keys.load_hash(slot, args[1])? else {
        return Ok(Reply::Array(vec![Reply::Nil; args.len() - 2]));
    };
    let mut values = Vec::with_capacity(args.len() - 2);
    for name in &args[2..] {
        values.push(value_or_nil(keys.field(slot, hash.id, name)?));
    }
    Ok(Reply::Array(values))
}

/// HEXISTS key field: 1 if it is there, else 0. O(1).
pub(crate) fn hexists(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let found = field(keys, args[1], args[2])?.is_some();
    Ok(Reply::Integer(found.into()))
}

/// HSTRLEN key field: bytes of its value, 0 if absent. O(1).
pub(crate) fn hstrlen(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let length = field(keys, args[1], args[2])?.map_or(0, |element| element.value.len());
    Ok(Reply::Integer(length as i64))
}

/// HLEN key: how many fields are alive. O(1), but for fields that have expired and were not yet collected.
pub(crate) fn hlen(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let fields = match keys.load_hash(slot, args[1])? {
        None => 0,
        Some(hash) => keys.live_fields(slot, &hash)?,
    };
    Ok(Reply::Integer(fields as i64))
}

/// HGETALL key: fields and values. O(size).
pub(crate) fn hgetall(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let pairs = collect(keys, args[1], |field| {
        (Reply::bulk(field.name), Reply::bulk(field.value))
    })?;
    Ok(Reply::Map(pairs))
}

/// HKEYS key: the fields. O(size).
pub(crate) fn hkeys(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let names = collect(keys, args[1], |field| Reply::bulk(field.name))?;
    Ok(Reply::Array(names))
}

/// HVALS key: the values. O(size).
pub(crate) fn hvals(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let values = collect(keys, args[1], |field| Reply::bulk(field.value))?;
    Ok(Reply::Array(values))
}

fn collect<T>(
    keys: &mut Reading<'_>,
    key: &[u8],
    mut make: impl FnMut(Field<'_>) -> T,
) -> Result<Vec<T>, Stop> {
    let slot = Slot::of(key);
    let mut all = Vec::new();
    if let Some(hash) = keys.load_hash(slot, key)? {
        keys.each_field(slot, hash.id, &mut |field| {
            all.push(make(field));
            ControlFlow::Continue(())
        })?;
    }
    Ok(all)
}

/// A copy of a field's name and value.
pub(crate) fn copied(field: &Field<'_>) -> (Bytes, Bytes) {
    (
        Bytes::copy_from_slice(field.name),
        Bytes::copy_from_slice(field.value),
    )
}
