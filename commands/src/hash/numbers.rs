//! Fields that are numbers.

use crate::arguments::integer;
use crate::counters::{add_float, add_integer};
use crate::hash::edit::{Edit, FieldLifetime};
use crate::keyspace::{Args, Outcome, Writing};
use crate::long_double::LongDouble;
use crate::reply::{Refusal, Reply};

/// HINCRBY key field increment: the new value. The field keeps its expiry. O(1).
pub(crate) fn hincrby(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let increment = integer(args[3])?;
    let mut edit = Edit::open(keys, args[1])?;
    let old = edit.get(keys, args[2])?;
    let sum = add_integer(old.as_ref().map(|old| &old.value[..]), increment)?;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(sum).as_bytes();
    edit.set_over(keys, args[2], old.as_ref(), digits, FieldLifetime::Kept)?;
    edit.close(keys)?;
    Ok(Reply::Integer(sum))
}

/// HINCRBYFLOAT key field increment: the new value's text. The field keeps its expiry. O(1).
pub(crate) fn hincrbyfloat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let increment = LongDouble::parse(args[3]).ok_or(Refusal::NOT_A_FLOAT)?;
    if increment.is_infinite() {
        return Err(Refusal::new("ERR value is NaN or Infinity").into());
    }
    let mut edit = Edit::open(keys, args[1])?;
    let old = edit.get(keys, args[2])?;
    let unreadable = Refusal::new("ERR hash value is not a float");
    let sum = add_float(old.as_ref().map(|old| &old.value[..]), args[3], unreadable)?;
    edit.set_over(
        keys,
        args[2],
        old.as_ref(),
        sum.as_bytes(),
        FieldLifetime::Kept,
    )?;
    edit.close(keys)?;
    Ok(Reply::Bulk(sum.into()))
}
