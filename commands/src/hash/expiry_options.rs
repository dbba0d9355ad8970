//! The arguments of commands on fields' expiry: FIELDS lists, times, conditions. Texts are those of Redis 7.4 and 8.

use crate::arguments::{ExpiryForm, is, parse_integer};
use crate::reply::Refusal;
use types::Timestamp;

/// No field expires later: Redis' `HFE_MAX_ABS_TIME_MSEC`.
const LATEST: i64 = 1 << 46;

/// The names behind `FIELDS numfields`, which must be the last `group * numfields` arguments.
pub(crate) fn field_list<'a, 'b>(
    args: &'b [&'a [u8]],
    group: usize,
    not_positive: &'static str,
) -> Result<&'b [&'a [u8]], Refusal> {
    let [keyword, count, fields @ ..] = args else {
        return Err(Refusal::new(FIELDS_MISSING));
    };
    if !is(keyword, "FIELDS") {
        return Err(Refusal::new(FIELDS_MISSING));
    }
    let count = parse_integer(count)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|&count| count > 0)
        .ok_or(Refusal::new(not_positive))?;
    if count.checked_mul(group) != Some(fields.len()) {
        return Err(Refusal::new(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(fields)
}

const FIELDS_MISSING: &str =
    "ERR Mandatory argument FIELDS is missing or not at the right position";

/// What is said to a number of fields that is none.
pub(crate) const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// The time that `arg` names; zero and the past are allowed and mean at once.
pub(crate) fn field_expiry(
    form: ExpiryForm,
    arg: &[u8],
    now: Timestamp,
    command: &str,
) -> Result<Timestamp, Refusal> {
    let amount = crate::arguments::integer(arg)?;
    if amount < 0 {
        return Err(Refusal::new("ERR invalid expire time, must be >= 0"));
    }
    form.moment(amount, now)
        .filter(|&moment| moment <= LATEST)
        .map(|moment| Timestamp(moment as u64))
        .ok_or_else(|| Refusal::expire_time(command))
}

/// Under which condition an expiry is changed: there was none, there was one, the new one is later or earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpiryCondition {
    Unset,
    Set,
    Later,
    Earlier,
}

impl ExpiryCondition {
    /// The condition that the option names, if it names one.
    pub(crate) fn of_option(arg: &[u8]) -> Option<Self> {
        [
            ("NX", Self::Unset),
            ("XX", Self::Set),
            ("GT", Self::Later),
            ("LT", Self::Earlier),
        ]
        .into_iter()
        .find(|(option, _)| is(arg, option))
        .map(|(_, condition)| condition)
    }

    /// Whether an expiry may change from `old` to `new` milliseconds. Living for ever counts as latest.
    pub(crate) fn allows(self, old: Option<Timestamp>, new: i64) -> bool {
        let old = old.map(|old| i64::try_from(old.0).unwrap_or(i64::MAX));
        match self {
            Self::Unset => old.is_none(),
            Self::Set => old.is_some(),
            Self::Later => old.is_some_and(|old| new > old),
            Self::Earlier => old.is_none_or(|old| new < old),
        }
    }
}
