//! Reading or setting fields together with their expiry or removal: HGETDEL, HGETEX, HSETEX, as Redis 8 documents them.

use crate::arguments::{ExpiryForm, is};
use crate::hash::edit::{Edit, FieldLifetime};
use crate::hash::expiry_options::{NOT_POSITIVE, field_expiry, field_list};
use crate::keyspace::{Args, Outcome, Stop, Writing};
use crate::reply::{Refusal, Reply};
use crate::rows::Element;

/// HGETDEL key FIELDS n field...: the values, nil for those absent; the fields are gone. O(fields).
pub(crate) fn hgetdel(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let edit = Edit::open_existing(keys, args[1])?;
    let fields = field_list(&args[2..], 1, NOT_POSITIVE)?;
    each_value(keys, edit, fields, |edit, keys, field, element| {
        edit.remove(keys, field, element)
    })
}

/// HGETEX key [EX|PX|EXAT|PXAT t|PERSIST] FIELDS n field...: the values, nil for those absent; sets or removes their expiry. O(fields).
pub(crate) fn hgetex(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let edit = Edit::open_existing(keys, args[1])?;
    let (lifetime, rest) = match &args[2..] {
        [form, time, rest @ ..] if ExpiryForm::of_option(form).is_some() => {
            let form = ExpiryForm::of_option(form).unwrap_or(ExpiryForm::Seconds);
            let expiry = field_expiry(form, time, keys.now(), "hgetex")?;
            (FieldLifetime::Is(Some(expiry)), rest)
        }
        [option, rest @ ..] if is(option, "PERSIST") => (FieldLifetime::FOREVER, rest),
        rest => (FieldLifetime::Kept, rest),
    };
    let fields = field_list(rest, 1, NOT_POSITIVE)?;
    each_value(
        keys,
        edit,
        fields,
        |edit, keys, field, element| match lifetime {
            FieldLifetime::Kept | FieldLifetime::Unsaid => Ok(()),
            FieldLifetime::Is(expiry) if expiry == element.expiry => Ok(()),
            FieldLifetime::Is(Some(expiry)) if expiry <= keys.now() => {
                edit.remove(keys, field, element)
            }
            FieldLifetime::Is(_) => {
                edit.set_over(keys, field, Some(element), &element.value, lifetime)
            }
        },
    )
}

/// Replies the values and does `change` to each field that is there.
fn each_value(
    keys: &mut Writing<'_>,
    edit: Option<Edit<'_>>,
    fields: &[&[u8]],
    change: impl Fn(&mut Edit<'_>, &mut Writing<'_>, &[u8], &Element) -> Result<(), Stop>,
) -> Outcome {
    let Some(mut edit) = edit else {
        return Ok(Reply::Array(vec![Reply::Nil; fields.len()]));
    };
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let element = edit.get(keys, field)?;
        if let Some(element) = &element {
            change(&mut edit, keys, field, element)?;
        }
        values.push(element.map_or(Reply::Nil, |element| Reply::Bulk(element.value)));
    }
    edit.close(keys)?;
    Ok(Reply::Array(values))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfNoneExists,
    IfAllExist,
}

/// HSETEX key [FNX|FXX] [EX|PX|EXAT|PXAT t|KEEPTTL] FIELDS n field value...: 1 if all are set, 0 if the condition failed. O(fields).
pub(crate) fn hsetex(keys: &mut Writing<'_>, args: &Args<'_>) -> Outcome {
    let mut edit = Edit::open(keys, args[1])?;
    let mut condition = Condition::Always;
    let mut lifetime = None;
    let mut rest = &args[2..];
    let only_one =
        Refusal::new("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
    while let [option, behind @ ..] = rest {
        let choice = if is(option, "FNX") {
            Some(Condition::IfNoneExists)
        } else if is(option, "FXX") {
            Some(Condition::IfAllExist)
        } else {
            None
        };
        if let Some(choice) = choice {
            if condition != Condition::Always {
                let text = "ERR Only one of FXX or FNX arguments can be specified";
                return Err(Refusal::new(text).into());
            }
            condition = choice;
            rest = behind;
            continue;
        }
        let (chosen, behind) = if is(option, "KEEPTTL") {
            (FieldLifetime::Kept, behind)
        } else if let (Some(form), [time, behind @ ..]) = (ExpiryForm::of_option(option), behind) {
            let expiry = field_expiry(form, time, keys.now(), "hsetex")?;
            (FieldLifetime::Is(Some(expiry)), behind)
        } else {
            break;
        };
        if lifetime.replace(chosen).is_some() {
            return Err(only_one.into());
        }
        rest = behind;
    }
    let lifetime = lifetime.unwrap_or(FieldLifetime::Unsaid);
    let (pairs, _) = field_list(rest, 2, NOT_POSITIVE)?.as_chunks::<2>();
    for [field, _] in pairs {
        let exists = edit.get(keys, field)?.is_some();
        let refused = match condition {
            Condition::Always => break,
            Condition::IfNoneExists => exists,
            Condition::IfAllExist => !exists,
        };
        if refused {
            edit.close(keys)?;
            return Ok(Reply::Integer(0));
        }
    }
    let at_once = matches!(lifetime, FieldLifetime::Is(Some(expiry)) if expiry <= keys.now());
    for [field, value] in pairs {
        if !at_once {
            edit.set(keys, field, value, lifetime)?;
        } else if let Some(old) = edit.get(keys, field)? {
            edit.remove(keys, field, &old)?;
        }
    }
    edit.close(keys)?;
    Ok(Reply::Integer(1))
}
