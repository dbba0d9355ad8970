//! Strings, whole: SET with all its options, GET and their variants, one key or many.

use crate::arguments::{ExpiryForm, is};
use crate::keyspace::{Args, Outcome, Reading, Stop, Writing};
use crate::reply::{Refusal, Reply};
use crate::rows::Entry;
use types::{Slot, Timestamp};

/// GET key: the value, or nil. O(1).
pub(crate) fn get(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    Ok(keys.load_string(args[1])?.map_or(Reply::Nil, Reply::Bulk))
}

/// MGET key...: the values; nil for what is absent or no string. O(keys).
pub(crate) fn mget(keys: &mut Reading<'_>, args: &Args<'_>) -> Outcome {
    let mut values = Vec::with_capacity(args.len() - 1);
    for key in &args[1..] {
        values.push(match keys.load(key)? {
            Some(Entry::String { value, .. }) => Reply::Bulk(value),
            _ => Reply::Nil,
        });
    }
    Ok(Reply::Array(values))
}

/// When SET sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// What becomes of the key's expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime<'a> {
    Unsaid,
    Keep,
    Persist,
    Until(ExpiryForm, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Takes in an expiry option and its argument, unless another form was given before.
    fn set(&mut self, form: ExpiryForm, arg: Option<&'a [u8]>) -> Result<(), Refusal> {
        match (*self, arg) {
            (Self::Unsaid, Some(arg)) => *self = Self::Until(form, arg),
            (Self::Until(before, _), Some(arg)) if before == form => {
                *self = Self::Until(form, arg);
            }
            _ => return Err(Refusal::SYNTAX),
        }
        Ok(())
    }

    /// Takes in an option that excludes all others of its kind.
    fn choose(&mut self, choice: Lifetime<'a>) -> Result<(), Refusal> {
        if *self != Self::Unsaid && *self != choice {
            return Err(Refusal::SYNTAX);
        }
        *self = choice;
        Ok(())
    }
}

struct SetOptions<'a> {
    condition: Condition,
    lifetime: Lifetime<'a>,
    returns_old: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, Refusal> {
        let mut options = Self {
            condition: Condition::Always,
            lifetime: Lifetime::Unsaid,
            returns_old: false,
        };
        let mut rest = args.iter().copied();
        while let Some(arg) = rest.next() {
            if is(arg, "NX") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
            } else if is(arg, "XX") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
            } else if is(arg, "GET") {
                options.returns_old = true;
            } else if is(arg, "KEEPTTL") {
                options.lifetime.choose(Lifetime::Keep)?;
            } else if let Some(form) = ExpiryForm::of_option(arg) {
                options.lifetime.set(form, rest.next())?;
            } else {
                return Err(Refusal::SYNTAX);
            }
        }
        Ok(options)
    }
}

/// SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT t|KEEPTTL]: OK, the old value, or nil if a condition failed. O(1); without GET, a
/// condition or KEEPTTL it reads nothing.
pub(crate) fn set(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let (key, value) = (args[1], args[2]);
    let slot = Slot::of(key);
    if args.len() == 3 {
        let expiry = keys.default_expiry();
        keys.put_string(slot, key, expiry, &[value])?;
        return Ok(Reply::Ok);
    }
    let options = SetOptions::parse(&args[3..])?;
    let mut expiry = match options.lifetime {
        Lifetime::Until(form, arg) => Some(form.positive(arg, keys.now(), "set")?),
        Lifetime::Unsaid | Lifetime::Keep => keys.default_expiry(),
        Lifetime::Persist => None,
    };
    let mut old = None;
    if options.returns_old
        || options.condition != Condition::Always
        || options.lifetime == Lifetime::Keep
    {
        old = keys.take_up(slot, key)?;
    }
    if options.lifetime == Lifetime::Keep {
        expiry = old.as_ref().map_or(expiry, Entry::expiry);
    }
    let applies = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => old.is_none(),
        Condition::IfPresent => old.is_some(),
    };
    if let (true, Some(entry)) = (applies, &old) {
        keys.orphan(entry);
    }
    let old_value = match old {
        Some(Entry::String { value, .. }) => Reply::Bulk(value),
        Some(Entry::Hash(_)) if options.returns_old => return Err(Refusal::WRONG_TYPE.into()),
        _ => Reply::Nil,
    };
    if applies {
        put_until(keys, slot, key, expiry, value)?;
    }
    Ok(match (options.returns_old, applies) {
        (true, _) => old_value,
        (false, true) => Reply::Ok,
        (false, false) => Reply::Nil,
    })
}

/// A value that has expired already is as good as none.
fn put_until(
    keys: &mut Writing<'_>,
    slot: Slot,
    key: &[u8],
    expiry: Option<Timestamp>,
    value: &[u8],
) -> Result<(), Stop> {
    if expiry.is_some_and(|expiry| expiry <= keys.now()) {
        return keys.delete(&crate::rows::metadata_row_in(slot, key));
    }
    keys.put_string(slot, key, expiry, &[value])
}

/// SETNX key value: 1 if the key was absent and is set, else 0. O(1).
pub(crate) fn setnx(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    if keys.take_up(slot, args[1])?.is_some() {
        return Ok(Reply::Integer(0));
    }
    keys.put_string(slot, args[1], keys.default_expiry(), &[args[2]])?;
    Ok(Reply::Integer(1))
}

/// SETEX key seconds value: OK. O(1), reads nothing.
pub(crate) fn setex(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let expiry = ExpiryForm::Seconds.positive(args[2], keys.now(), "setex")?;
    keys.put_string(Slot::of(args[1]), args[1], Some(expiry), &[args[3]])?;
    Ok(Reply::Ok)
}

/// PSETEX key milliseconds value: OK. O(1), reads nothing.
pub(crate) fn psetex(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let expiry = ExpiryForm::Milliseconds.positive(args[2], keys.now(), "psetex")?;
    keys.put_string(Slot::of(args[1]), args[1], Some(expiry), &[args[3]])?;
    Ok(Reply::Ok)
}

/// GETSET key value: the old value, or nil. O(1).
pub(crate) fn getset(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let old = keys.take_up_string(slot, args[1])?;
    keys.put_string(slot, args[1], keys.default_expiry(), &[args[2]])?;
    Ok(old.map_or(Reply::Nil, |(value, _)| Reply::Bulk(value)))
}

/// GETDEL key: the value, or nil, and the key is gone. O(1).
pub(crate) fn getdel(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let slot = Slot::of(args[1]);
    let Some((value, _)) = keys.take_up_string(slot, args[1])? else {
        return Ok(Reply::Nil);
    };
    keys.delete(&crate::rows::metadata_row_in(slot, args[1]))?;
    Ok(Reply::Bulk(value))
}

/// GETEX key [EX|PX|EXAT|PXAT t|PERSIST]: the value, or nil; sets or removes its expiry. O(1).
pub(crate) fn getex(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let mut lifetime = Lifetime::Unsaid;
    let mut rest = args[2..].iter().copied();
    while let Some(arg) = rest.next() {
        if is(arg, "PERSIST") {
            lifetime.choose(Lifetime::Persist)?;
        } else if let Some(form) = ExpiryForm::of_option(arg) {
            lifetime.set(form, rest.next())?;
        } else {
            return Err(Refusal::SYNTAX.into());
        }
    }
    let slot = Slot::of(args[1]);
    let Some((value, expiry)) = keys.take_up_string(slot, args[1])? else {
        return Ok(Reply::Nil);
    };
    match lifetime {
        Lifetime::Unsaid | Lifetime::Keep => {}
        Lifetime::Persist => {
            if expiry.is_some() {
                keys.put_string(slot, args[1], None, &[&value])?;
            }
        }
        Lifetime::Until(form, arg) => {
            let expiry = form.positive(arg, keys.now(), "getex")?;
            put_until(keys, slot, args[1], Some(expiry), &value)?;
        }
    }
    Ok(Reply::Bulk(value))
}

/// MSET key value...: OK; all or none within a partition. O(keys), reads nothing.
pub(crate) fn mset(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let (pairs, []) = args[1..].as_chunks::<2>() else {
        return Err(Refusal::arity("mset").into());
    };
    for [key, value] in pairs {
        keys.put_string(Slot::of(key), key, keys.default_expiry(), &[value])?;
    }
    Ok(Reply::Ok)
}

/// MSETNX key value...: 1 if none of the keys was there and all are set, else 0. O(keys).
pub(crate) fn msetnx(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let (pairs, []) = args[1..].as_chunks::<2>() else {
        return Err(Refusal::arity("msetnx").into());
    };
    let slot = Slot::of(args[1]);
    for [key, _] in pairs {
        if Slot::of(key) != slot {
            return Err(Refusal::CROSS_SLOT.into());
        }
        if keys.take_up(slot, key)?.is_some() {
            return Ok(Reply::Integer(0));
        }
    }
    for [key, value] in pairs {
        keys.put_string(slot, key, keys.default_expiry(), &[value])?;
    }
    Ok(Reply::Integer(1))
}
