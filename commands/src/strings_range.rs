//! Parts of strings: length, ranges, appending, overwriting.

use crate::arguments::integer;
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::reply::{Refusal, Reply};
use bytes::Bytes;
use types::Slot;

/// STRLEN key: bytes of the value, 0 if absent. O(1).
pub(crate) fn strlen(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let length = keys.load_string(args[1])?.map_or(0, |value| value.len());
    Ok(Reply::Integer(length as i64))
}

/// GETRANGE key start end: that part, both ends included and counted from the end if negative. O(length of the part).
pub(crate) fn getrange(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let value = keys.load_string(args[1])?.unwrap_or_default();
    let length = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(b""));
    }
    let from_front = |at: i64| {
        if at < 0 {
            at.saturating_add(length).max(0)
        } else {
            at
        }
    };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end || length == 0 {
        return Ok(Reply::bulk(b""));
    }
    Ok(Reply::Bulk(value.slice(start as usize..=end as usize)))
}

/// APPEND key value: the new length. O(length of the new value), as it is written whole.
pub(crate) fn append(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let (old, expiry) = match keys.take_up_string(slot, args[1])? {
        None => (Bytes::new(), keys.default_expiry()),
        Some(old) => old,
    };
    keys.put_string(slot, args[1], expiry, &[&old, args[2]])?;
    Ok(Reply::Integer((old.len() + args[2].len()) as i64))
}

/// SETRANGE key offset value: the new length; zero bytes fill what was not there. O(length of the new value).
pub(crate) fn setrange(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let offset = integer(args[2])?;
    let Ok(offset) = usize::try_from(offset) else {
        return Err(Refusal::new("ERR offset is out of range").into());
    };
    let slot = Slot::of(args[1]);
    let (old, expiry) = match keys.take_up_string(slot, args[1])? {
        None => (Bytes::new(), keys.default_expiry()),
        Some(old) => old,
    };
    if args[3].is_empty() {
        return Ok(Reply::Integer(old.len() as i64));
    }
    let end = offset.saturating_add(args[3].len());
    if end > keys.moment.limits.value {
        return Err(Refusal::VALUE_TOO_LONG.into());
    }
    if end > keys.moment.limits.mutation {
        return Err(crate::Interrupt::Full.into());
    }
    let kept = &old[..old.len().min(offset)];
    let gap = vec![0; offset - kept.len()];
    let rest = old.get(end..).unwrap_or_default();
    keys.put_string(slot, args[1], expiry, &[kept, &gap, args[3], rest])?;
    Ok(Reply::Integer(end.max(old.len()) as i64))
}
