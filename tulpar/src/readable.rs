//! Sizes and durations in configuration files as people write them: `64MiB`, `500ms`, `2s`, `10min`.

use serde::{Deserialize, Deserializer, de};
use std::time::Duration;
use types::ByteSize;

/// Reads a size: a whole number of bytes, or one with `KiB`, `MiB` or `GiB` behind it.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    // A number in the file arrives here as text too.
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

/// Reads a duration: a whole number with `ms`, `s`, `min` or `h` behind it.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(de::Error::custom)
}

/// The same for a setting that may be absent.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused =
        || format!("a duration is a whole number with ms, s, min or h behind it, not '{text}'");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refused()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("10min"), Ok(Duration::from_mins(10)));
        for text in ["", "5", "ms", "-1s", "1.5s", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
