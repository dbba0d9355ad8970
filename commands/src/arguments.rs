//! Arguments as Redis reads them: integers without any slack, options in whatever case, expiry times in four forms.

use crate::reply::Refusal;
use types::Timestamp;

/// A signed integer as Redis writes it: no sign but a minus, no leading zero, no blank.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 19 {
        return None;
    }
    let mut value = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits are below 2^64.
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// As [`parse_integer`], or Redis' refusal.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Refusal> {
    parse_integer(text).ok_or(Refusal::NOT_AN_INTEGER)
}

/// Whether the argument is that option.
pub(crate) fn is(arg: &[u8], option: &str) -> bool {
    arg.eq_ignore_ascii_case(option.as_bytes())
}

/// The beginning of an argument as it may stand in an error: one line of text, up to a zero byte as in Redis.
pub(crate) fn printable(arg: &[u8]) -> String {
    const MOST: usize = 128;
    let shown = arg.iter().take(MOST).position(|&byte| byte == 0);
    let shown = &arg[..shown.unwrap_or(arg.len().min(MOST))];
    String::from_utf8_lossy(shown).replace(['\r', '\n'], " ")
}

/// In which form an expiry time is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpiryForm {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl ExpiryForm {
    /// The form that the option of SET and its like names.
    pub(crate) fn of_option(arg: &[u8]) -> Option<Self> {
        [
            ("EX", Self::Seconds),
            ("PX", Self::Milliseconds),
            ("EXAT", Self::UnixSeconds),
            ("PXAT", Self::UnixMilliseconds),
        ]
        .into_iter()
        .find(|(option, _)| is(arg, option))
        .map(|(_, form)| form)
    }

    /// The moment in milliseconds that `amount` names, which may lie before the epoch; `None` if it is beyond all time.
    pub(crate) fn moment(self, amount: i64, now: Timestamp) -> Option<i64> {
        let milliseconds = match self {
            Self::Seconds | Self::UnixSeconds => amount.checked_mul(1000)?,
            Self::Milliseconds | Self::UnixMilliseconds => amount,
        };
        match self {
            Self::Seconds | Self::Milliseconds => {
                milliseconds.checked_add(i64::try_from(now.0).ok()?)
            }
            Self::UnixSeconds | Self::UnixMilliseconds => Some(milliseconds),
        }
    }

    /// The expiry that `arg` gives to a value being set by `command`: it must be positive.
    pub(crate) fn positive(
        self,
        arg: &[u8],
        now: Timestamp,
        command: &str,
    ) -> Result<Timestamp, Refusal> {
        let amount = integer(arg)?;
        if amount <= 0 {
            return Err(Refusal::expire_time(command));
        }
        match self.moment(amount, now) {
            Some(moment) => Ok(Timestamp(moment.max(0) as u64)),
            None => Err(Refusal::expire_time(command)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_does() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }
}
