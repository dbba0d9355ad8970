//! Fields that expire: the HEXPIRE family, as Redis 7.4 documents it.

use crate::arguments::ExpiryForm;
use crate::hash::edit::{Edit, FieldLifetime};
use crate::hash::expiry_options::{ExpiryCondition, NOT_POSITIVE, field_expiry, field_list};
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::reply::Reply;
use types::Slot;

/// There is no such field, or no such key.
const NO_FIELD: Reply = Reply::Integer(-2);
/// The field lives for ever.
const NO_EXPIRY: Reply = Reply::Integer(-1);
const CONDITION_NOT_MET: Reply = Reply::Integer(0);
const DONE: Reply = Reply::Integer(1);
/// The time was not in the future: the field is gone.
const DELETED: Reply = Reply::Integer(2);

/// HEXPIRE key seconds [NX|XX|GT|LT] FIELDS n field...: per field 1 set, 0 condition not met, 2 deleted, -2 absent. O(fields).
pub(crate) fn hexpire(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    expire(keys, args, ExpiryForm::Seconds, "hexpire")
}

/// HPEXPIRE: as HEXPIRE, in milliseconds.
pub(crate) fn hpexpire(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    expire(keys, args, ExpiryForm::Milliseconds, "hpexpire")
}

/// HEXPIREAT: as HEXPIRE, at a Unix time in seconds.
pub(crate) fn hexpireat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    expire(keys, args, ExpiryForm::UnixSeconds, "hexpireat")
}

/// HPEXPIREAT: as HEXPIRE, at a Unix time in milliseconds.
pub(crate) fn hpexpireat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    expire(keys, args, ExpiryForm::UnixMilliseconds, "hpexpireat")
}

fn expire(keys: &mut Writing<'_>, args: &Args<'_>, form: ExpiryForm, command: &str) -> Outcome {
    let edit = Edit::open_existing(keys, args[1])?;
    let expiry = field_expiry(form, args[2], keys.now(), command)?;
    let condition = ExpiryCondition::of_option(args[3]);
    let rest = &args[3 + usize::from(condition.is_some())..];
    let not_positive = "ERR Parameter `numFields` should be greater than 0";
    let fields = field_list(rest, 1, not_positive)?;
    let Some(mut edit) = edit else {
        return Ok(Reply::Array(vec![NO_FIELD; fields.len()]));
    };
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        let reply = match edit.get(keys, field)? {
            None => NO_FIELD,
            Some(old) if condition.is_some_and(|it| !it.allows(old.expiry, expiry.0 as i64)) => {
                CONDITION_NOT_MET
            }
            Some(old) if expiry <= keys.now() => {
                edit.remove(keys, field, &old)?;
                DELETED
            }
            Some(old) => {
                let lifetime = FieldLifetime::Is(Some(expiry));
                edit.set_over(keys, field, Some(&old), &old.value, lifetime)?;
                DONE
            }
        };
        replies.push(reply);
    }
    edit.close(keys)?;
    Ok(Reply::Array(replies))
}

/// HPERSIST key FIELDS n field...: per field 1 lives for ever now, -1 did already, -2 absent. O(fields).
pub(crate) fn hpersist(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let edit = Edit::open_existing(keys, args[1])?;
    let fields = field_list(&args[2..], 1, NOT_POSITIVE)?;
    let Some(mut edit) = edit else {
        return Ok(Reply::Array(vec![NO_FIELD; fields.len()]));
    };
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        replies.push(match edit.get(keys, field)? {
            None => NO_FIELD,
            Some(old) if old.expiry.is_none() => NO_EXPIRY,
            Some(old) => {
                let forever = FieldLifetime::FOREVER;
                edit.set_over(keys, field, Some(&old), &old.value, forever)?;
                DONE
            }
        });
    }
    edit.close(keys)?;
    Ok(Reply::Array(replies))
}

/// HTTL key FIELDS n field...: per field the seconds left, -1 for ever, -2 absent. O(fields).
pub(crate) fn httl(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    times(keys, args, |expiry, now| (expiry + 999 - now) / 1000)
}

/// HPTTL: as HTTL, in milliseconds.
pub(crate) fn hpttl(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    times(keys, args, |expiry, now| expiry - now)
}

/// HEXPIRETIME: as HTTL, the Unix time in seconds at which the field expires.
pub(crate) fn hexpiretime(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    times(keys, args, |expiry, _| expiry.div_ceil(1000))
}

/// HPEXPIRETIME: as HEXPIRETIME, in milliseconds.
pub(crate) fn hpexpiretime(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    times(keys, args, |expiry, _| expiry)
}

fn times(keys: &mut Reading<'_>, args: &Args<'_>, shown: fn(u64, u64) -> u64) -> Outcome {
    let slot = Slot::of(args[1]);
    let hash = keys.load_hash(slot, args[1])?;
    let fields = field_list(&args[2..], 1, NOT_POSITIVE)?;
    let Some(hash) = hash else {
        return Ok(Reply::Array(vec![NO_FIELD; fields.len()]));
    };
    let now = keys.now().0;
    let mut replies = Vec::with_capacity(fields.len());
    for field in fields {
        replies.push(match keys.field(slot, hash.id, field)? {
            None => NO_FIELD,
            Some(element) => element.expiry.map_or(NO_EXPIRY, |expiry| {
                Reply::Integer(shown(expiry.0, now) as i64)
            }),
        });
    }
    Ok(Reply::Array(replies))
}
