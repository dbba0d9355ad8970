//! When keys expire: the EXPIRE and TTL families, PERSIST.

use crate::arguments::{ExpiryForm, integer, printable};
use crate::hash::expiry_options::ExpiryCondition;
use crate::keyspace::{Args, Outcome, Reading, Writing};
use crate::reply::{Refusal, Reply};
use crate::rows::Entry;
use smallvec::SmallVec;
use types::{Slot, Timestamp};

/// EXPIRE key seconds [NX|XX|GT|LT]: 1 if set (a time in the past deletes), 0 if the key is absent or the condition failed. O(1).
pub(crate) fn expire(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    set_expiry(keys, args, ExpiryForm::Seconds, "expire")
}

/// PEXPIRE: as EXPIRE, in milliseconds.
pub(crate) fn pexpire(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    set_expiry(keys, args, ExpiryForm::Milliseconds, "pexpire")
}

/// EXPIREAT: as EXPIRE, at a Unix time in seconds.
pub(crate) fn expireat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    set_expiry(keys, args, ExpiryForm::UnixSeconds, "expireat")
}

/// PEXPIREAT: as EXPIRE, at a Unix time in milliseconds.
pub(crate) fn pexpireat(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    set_expiry(keys, args, ExpiryForm::UnixMilliseconds, "pexpireat")
}

fn set_expiry(keys: &mut Writing<'_>, args: &Args<'_>, form: ExpiryForm, command: &str) -> Outcome {
    let conditions = conditions(&args[3..])?;
    let amount = integer(args[2])?;
    let Some(moment) = form.moment(amount, keys.now()) else {
        return Err(Refusal::expire_time(command).into());
    };
    let slot = Slot::of(args[1]);
    let Some(entry) = keys.take_up(slot, args[1])? else {
        return Ok(Reply::Integer(0));
    };
    let old = entry.expiry();
    if !conditions
        .iter()
        .all(|condition| condition.allows(old, moment))
    {
        return Ok(Reply::Integer(0));
    }
    let expiry = Timestamp(moment.max(0) as u64);
    if expiry <= keys.now() {
        keys.remove(slot, args[1], &entry)?;
    } else {
        keys.put_expiry(slot, args[1], entry, Some(expiry))?;
    }
    Ok(Reply::Integer(1))
}

fn conditions(options: &Args<'_>) -> Result<SmallVec<[ExpiryCondition; 2]>, Refusal> {
    let mut all = SmallVec::<[ExpiryCondition; 2]>::new();
    for option in options {
        let Some(condition) = ExpiryCondition::of_option(option) else {
            let option = printable(option);
            return Err(Refusal(format!("ERR Unsupported option {option}").into()));
        };
        if !all.contains(&condition) {
            all.push(condition);
        }
    }
    if all.contains(&ExpiryCondition::Unset) && all.len() > 1 {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(Refusal::new(text));
    }
    if all.contains(&ExpiryCondition::Later) && all.contains(&ExpiryCondition::Earlier) {
        let text = "ERR GT and LT options at the same time are not compatible";
        return Err(Refusal::new(text));
    }
    Ok(all)
}

/// PERSIST key: 1 if it would have expired and does no more, else 0. O(1).
pub(crate) fn persist(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    match keys.take_up(slot, args[1])? {
        Some(entry) if entry.expiry().is_some() => {
            keys.put_expiry(slot, args[1], entry, None)?;
            Ok(Reply::Integer(1))
        }
        _ => Ok(Reply::Integer(0)),
    }
}

/// TTL key: seconds left, to the nearest; -1 for ever, -2 absent. O(1).
pub(crate) fn ttl(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    time(keys, args[1], |expiry, now| (expiry - now + 500) / 1000)
}

/// PTTL: as TTL, in milliseconds.
pub(crate) fn pttl(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    time(keys, args[1], |expiry, now| expiry - now)
}

/// EXPIRETIME key: the Unix time in seconds at which it expires; -1 never, -2 absent. O(1).
pub(crate) fn expiretime(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    time(keys, args[1], |expiry, _| expiry.saturating_add(500) / 1000)
}

/// PEXPIRETIME: as EXPIRETIME, in milliseconds.
pub(crate) fn pexpiretime(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    time(keys, args[1], |expiry, _| expiry)
}

fn time(keys: &mut Reading<'_>, key: &[u8], shown: fn(u64, u64) -> u64) -> Outcome {
    let now = keys.now().0;
    Ok(Reply::Integer(
        match keys.load(key)?.as_ref().map(Entry::expiry) {
            None => -2,
            Some(None) => -1,
            Some(Some(expiry)) => shown(expiry.0, now) as i64,
        },
    ))
}
