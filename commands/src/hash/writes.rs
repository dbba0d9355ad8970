//! Setting and removing fields.

use crate::hash::edit::{Edit, FieldLifetime};
use crate::keyspace::{Args, Outcome, Stop, Writing};
use crate::reply::{Refusal, Reply};

/// HSET key field value...: how many fields are new. O(fields).
pub(crate) fn hset(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let added = set_all(keys, args, "hset")?;
    Ok(Reply::Integer(added))
}

/// HMSET key field value...: OK. O(fields).
pub(crate) fn hmset(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    set_all(keys, args, "hmset")?;
    Ok(Reply::Ok)
}

fn set_all(keys: &mut Writing<'_>, args: &Args<'_>, command: &str) -> Result<i64, Stop> {
    let (pairs, []) = args[2..].as_chunks::<2>() else {
        return Err(Refusal::arity(command).into());
    };
    let mut edit = Edit::open(keys, args[1])?;
    let mut added = 0;
    for [field, value] in pairs {
        added += i64::from(edit.set(keys, field, value, FieldLifetime::Unsaid)?);
    }
    edit.close(keys)?;
    Ok(added)
}

/// HSETNX key field value: 1 if the field is new and set, else 0. O(1).
pub(crate) fn hsetnx(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let mut edit = Edit::open(keys, args[1])?;
    let absent = edit.get(keys, args[2])?.is_none();
    if absent {
        edit.set_over(keys, args[2], None, args[3], FieldLifetime::Unsaid)?;
    }
    edit.close(keys)?;
    Ok(Reply::Integer(absent.into()))
}

/// HDEL key field...: how many were there and are gone. O(fields).
pub(crate) fn hdel(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let Some(mut edit) = Edit::open_existing(keys, args[1])? else {
        return Ok(Reply::Integer(0));
    };
    let mut removed = 0;
    for field in &args[2..] {
        if let Some(element) = edit.get(keys, field)? {
            edit.remove(keys, field, &element)?;
            removed += 1;
        }
    }
    edit.close(keys)?;
    Ok(Reply::Integer(removed))
}
