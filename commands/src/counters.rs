//! Strings that are numbers: INCR and its family.

use crate::arguments::{integer, parse_integer};
use crate::keyspace::{Args, Outcome, Stop, Writing};
use crate::long_double::LongDouble;
use crate::reply::{Refusal, Reply};
use types::Slot;

/// INCR key: the new value. O(1).
pub(crate) fn incr(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    add(keys, args[1], 1)
}

/// DECR key: the new value. O(1).
pub(crate) fn decr(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    add(keys, args[1], -1)
}

/// INCRBY key increment: the new value. O(1).
pub(crate) fn incrby(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    add(keys, args[1], integer(args[2])?)
}

/// DECRBY key decrement: the new value. O(1).
pub(crate) fn decrby(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let Some(increment) = integer(args[2])?.checked_neg() else {
        return Err(Refusal::new("ERR decrement would overflow").into());
    };
    add(keys, args[1], increment)
}

fn add(keys: &mut Writing<'_>, key: &[u8], increment: i64) -> Outcome {
    let slot = Slot::of(key);
    let (value, expiry) = match keys.take_up_string(slot, key)? {
        None => (0, keys.default_expiry()),
        Some((value, expiry)) => (integer(&value)?, expiry),
    };
    let sum = value.checked_add(increment).ok_or(Refusal::OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    keys.put_string(slot, key, expiry, &[digits.format(sum).as_bytes()])?;
    Ok(Reply::Integer(sum))
}

/// INCRBYFLOAT key increment: the new value's text. O(1).
pub(crate) fn incrbyfloat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let (value, expiry) = match keys.take_up_string(slot, args[1])? {
        None => (None, keys.default_expiry()),
        Some((value, expiry)) => (Some(value), expiry),
    };
    let sum = add_float(value.as_deref(), args[2], Refusal::NOT_A_FLOAT)?;
    keys.put_string(slot, args[1], expiry, &[sum.as_bytes()])?;
    Ok(Reply::Bulk(sum.into()))
}

/// The text of value + increment; no value counts as zero.
pub(crate) fn add_float(
    value: Option<&[u8]>,
    increment: &[u8],
    unreadable: Refusal,
) -> Result<String, Stop> {
    let value = value.map_or(Some(LongDouble::ZERO), LongDouble::parse);
    let value = value.ok_or(unreadable)?;
    let increment = LongDouble::parse(increment).ok_or(Refusal::NOT_A_FLOAT)?;
    let sum = value.add(increment).ok_or(Refusal::NOT_FINITE)?;
    Ok(sum.to_string())
}

/// The sum of a hash field and an increment.
pub(crate) fn add_integer(value: Option<&[u8]>, increment: i64) -> Result<i64, Stop> {
    let value = match value {
        None => 0,
        Some(value) => {
            parse_integer(value).ok_or(Refusal::new("ERR hash value is not an integer"))?
        }
    };
    Ok(value.checked_add(increment).ok_or(Refusal::OVERFLOW)?)
}
