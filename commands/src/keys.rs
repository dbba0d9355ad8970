//! Keys whatever they hold: existence, type, deletion, the whole keyspace.

use crate::arguments::is;
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::reply::{Refusal, Reply};
use types::Slot;

/// DEL key... and UNLINK: how many were there and are gone. O(keys), whatever their size.
pub(crate) fn del(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let mut removed = 0;
    for key in &args[1..] {
        let slot = Slot::of(key);
        if let Some(entry) = keys.take_up(slot, key)? {
            keys.remove(slot, key, &entry)?;
            removed += 1;
        }
    }
    Ok(Reply::Integer(removed))
}

/// EXISTS key... and TOUCH: how many are there; one that is named twice counts twice. O(keys).
pub(crate) fn exists(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let mut found = 0;
    for key in &args[1..] {
        found += i64::from(keys.load(key)?.is_some());
    }
    Ok(Reply::Integer(found))
}

/// TYPE key: what it holds, or none. O(1).
pub(crate) fn type_of(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let entry = keys.load(args[1])?;
    Ok(Reply::Simple(
        entry.map_or("none", |entry| entry.type_name()),
    ))
}

/// FLUSHDB [ASYNC|SYNC] and FLUSHALL: OK. One range delete, which has its mutation for itself.
pub(crate) fn flush(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    match &args[1..] {
        [] => {}
        [option] if is(option, "ASYNC") || is(option, "SYNC") => {}
        _ => return Err(Refusal::SYNTAX.into()),
    }
    keys.clear();
    Ok(Reply::Ok)
}
