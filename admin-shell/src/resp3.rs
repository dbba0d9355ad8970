//! Replies of Redis commands as people and scripts read them. Only decoding; servers encode.

use crate::answer::{bytes, readable};
use serde_json::{Value, json};
use std::fmt;

/// A reply in RESP3.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    Bulk(Vec<u8>),
    Nil,
    List(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
}

#[derive(Debug, thiserror::Error)]
#[error("the server's reply is not RESP3")]
pub(crate) struct Malformed;

/// How deep replies nest at most.
const DEEPEST: u32 = 32;

/// Reads exactly one reply.
pub(crate) fn parse(encoded: &[u8]) -> Result<Reply, Malformed> {
    let mut rest = encoded;
    let reply = read(&mut rest, 0)?;
    if rest.is_empty() {
        Ok(reply)
    } else {
        Err(Malformed)
    }
}

fn read(rest: &mut &[u8], depth: u32) -> Result<Reply, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed);
    }
    let (&kind, after) = rest.split_first().ok_or(Malformed)?;
    let end = after
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .ok_or(Malformed)?;
    let line = std::str::from_utf8(&after[..end]).map_err(|_| Malformed)?;
    *rest = &after[end + 2..];
    let length = || line.parse::<usize>().map_err(|_| Malformed);
    match kind {
        b'+' => Ok(Reply::Text(line.to_owned())),
        b'-' => Ok(Reply::Error(line.to_owned())),
        b':' => line.parse().map(Reply::Integer).map_err(|_| Malformed),
        b',' => line.parse().map(Reply::Double).map_err(|_| Malformed),
        b'#' => Ok(Reply::Boolean(line == "t")),
        b'_' => Ok(Reply::Nil),
        b'$' | b'*' if line == "-1" => Ok(Reply::Nil),
        b'$' => Ok(Reply::Bulk(take(rest, length()?)?)),
        b'!' => Ok(Reply::Error(readable(&take(rest, length()?)?))),
        // Verbatim text: three letters of kind and a colon come first.
        b'=' => {
            let text = take(rest, length()?)?;
            text.get(4..)
                .map(|text| Reply::Bulk(text.to_vec()))
                .ok_or(Malformed)
        }
        b'*' | b'~' | b'>' => {
            let mut items = Vec::new();
            for _ in 0..length()? {
                items.push(read(rest, depth + 1)?);
            }
            Ok(Reply::List(items))
        }
        b'%' => {
            let mut pairs = Vec::new();
            for _ in 0..length()? {
                pairs.push((read(rest, depth + 1)?, read(rest, depth + 1)?));
            }
            Ok(Reply::Map(pairs))
        }
        _ => Err(Malformed),
    }
}

fn take(rest: &mut &[u8], length: usize) -> Result<Vec<u8>, Malformed> {
    let ends = length.checked_add(2).ok_or(Malformed)?;
    let (body, after) = rest.split_at_checked(ends).ok_or(Malformed)?;
    let body = body.strip_suffix(b"\r\n").ok_or(Malformed)?;
    *rest = after;
    Ok(body.to_vec())
}

impl Reply {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Error(text) => json!({ "error": text }),
            Self::Integer(number) => json!(number),
            Self::Double(number) => json!(number),
            Self::Boolean(value) => json!(value),
            Self::Bulk(body) => bytes(body),
            Self::Nil => Value::Null,
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(pairs) => {
                let pair = |(key, value): &(Self, Self)| (key.to_string(), value.to_json());
                Value::Object(pairs.iter().map(pair).collect())
            }
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Error(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Bulk(body) => f.write_str(&readable(body)),
            Self::Nil => f.write_str("(nothing there)"),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}) {item}", index + 1)?;
                }
                if items.is_empty() {
                    f.write_str("(empty)")
                } else {
                    Ok(())
                }
            }
            Self::Map(pairs) => {
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{key}: {value}")?;
                }
                if pairs.is_empty() {
                    f.write_str("(empty)")
                } else {
                    Ok(())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_refused() {
        let encoded = b"*5\r\n$2\r\na\n\r\n:-7\r\n_\r\n%1\r\n+k\r\n#t\r\n=7\r\ntxt:abc\r\n";
        let reply = parse(encoded).unwrap();
        assert_eq!(
            reply.to_json(),
            json!(["a\n", -7, null, { "k": true }, "abc"])
        );
        for cut in 0..encoded.len() {
            assert!(parse(&encoded[..cut]).is_err(), "{cut}");
        }
        for hostile in [
            &b"$1152921504606846976\r\nx\r\n"[..],
            b"$18446744073709551615\r\n",
            b"*4294967296\r\n:1\r\n",
            b"=2\r\nab\r\n",
            b"?\r\n",
            b"+a\r\n+b\r\n",
        ] {
            assert!(parse(hostile).is_err());
        }
        assert!(parse(&b"*1\r\n".repeat(100)).is_err());
    }
}
