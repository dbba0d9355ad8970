//! Replies of other servers, which come as RESP3 bytes: into the client's protocol, or into a value where several are put together.
//!
//! Nothing is trusted: bytes that are not exactly one reply are [`Malformed`], nesting is bounded, and no length allocates.

use super::encode::{Protocol, bulk, error, length, line};
use super::request::integer;
use bytes::Bytes;
use commands::Reply;

/// The bytes are not exactly one RESP3 reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("another server sent a malformed reply")]
pub(crate) struct Malformed;

/// Deeper than any reply.
const MAX_DEPTH: usize = 16;

/// Appends `resp3`, one reply, as the bytes of `protocol`. RESP3 has pairs as arrays of two where RESP2 has one flat array; which
/// replies are such is not to be seen in the bytes, so `flat_pairs` says it.
pub(crate) fn transcode(
    resp3: &[u8],
    protocol: Protocol,
    flat_pairs: bool,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let before = out.len();
    let mut reader = Reader {
        bytes: resp3,
        at: 0,
    };
    let done = match protocol {
        Protocol::Resp2 => to_resp2(&mut reader, flat_pairs, 0, out),
        Protocol::Resp3 => pass_over(&mut reader, 0),
    };
    if done.is_err() || reader.at != resp3.len() {
        out.truncate(before);
        return Err(Malformed);
    }
    if protocol == Protocol::Resp3 {
        out.extend_from_slice(resp3);
    }
    Ok(())
}

/// `resp3`, one reply, as a value; strings are slices of it.
pub(crate) fn decode(resp3: &Bytes) -> Result<Reply, Malformed> {
    let mut reader = Reader {
        bytes: resp3,
        at: 0,
    };
    let reply = value(&mut reader, resp3, 0)?;
    if reader.at == resp3.len() {
        Ok(reply)
    } else {
        Err(Malformed)
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

enum Item<'b> {
    /// `+ - : , # (`, with the rest of the line.
    Line(u8, &'b [u8]),
    /// `$ ! =`, with the string.
    Bulk(u8, &'b [u8]),
    /// `* ~ > %`, with the number of elements (of a map: keys and values together).
    Aggregate(u8, usize),
    Null,
}

impl<'b> Reader<'b> {
    fn next(&mut self) -> Result<Item<'b>, Malformed> {
        let kind = *self.bytes.get(self.at).ok_or(Malformed)?;
        let rest = &self.bytes[self.at + 1..];
        // A line holds neither: a client that ends lines at either one would read another reply out of it.
        let end = memchr::memchr2(b'\r', b'\n', rest).ok_or(Malformed)?;
        if !rest[end..].starts_with(b"\r\n") {
            return Err(Malformed);
        }
        let text = &rest[..end];
        self.at += end + 3;
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => Ok(Item::Line(kind, text)),
            b'_' => Ok(Item::Null),
            b'$' | b'!' | b'=' => {
                let end = self.at.checked_add(count(text)?).ok_or(Malformed)?;
                let string = self.bytes.get(self.at..end).ok_or(Malformed)?;
                if self.bytes.get(end..end + 2) != Some(b"\r\n") {
                    return Err(Malformed);
                }
                self.at = end + 2;
                Ok(Item::Bulk(kind, string))
            }
            b'*' | b'~' | b'>' => Ok(Item::Aggregate(kind, count(text)?)),
            b'%' => Ok(Item::Aggregate(
                kind,
                count(text)?.checked_mul(2).ok_or(Malformed)?,
            )),
            _ => Err(Malformed),
        }
    }
}

fn count(text: &[u8]) -> Result<usize, Malformed> {
    integer(text)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(Malformed)
}

fn deeper(depth: usize) -> Result<usize, Malformed> {
    if depth < MAX_DEPTH {
        Ok(depth + 1)
    } else {
        Err(Malformed)
    }
}

fn pass_over(reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
    if let Item::Aggregate(_, count) = reader.next()? {
        let depth = deeper(depth)?;
        for _ in 0..count {
            pass_over(reader, depth)?;
        }
    }
    Ok(())
}

fn to_resp2(
    reader: &mut Reader<'_>,
    flat_pairs: bool,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match reader.next()? {
        Item::Line(b'#', value) => line(b':', if value == b"t" { b"1" } else { b"0" }, out),
        Item::Line(b',' | b'(', digits) => bulk(digits, out),
        Item::Line(kind, text) => line(kind, text, out),
        Item::Bulk(b'!', text) => error(text, out),
        Item::Bulk(b'=', text) => bulk(text.get(4..).unwrap_or_default(), out),
        Item::Bulk(_, string) => bulk(string, out),
        Item::Null => out.extend_from_slice(b"$-1\r\n"),
        Item::Aggregate(b'*', pairs) if flat_pairs && is_pair(reader) => {
            length(b'*', pairs.checked_mul(2).ok_or(Malformed)?, out);
            for _ in 0..pairs {
                if !matches!(reader.next()?, Item::Aggregate(b'*', 2)) {
                    return Err(Malformed);
                }
                to_resp2(reader, false, deeper(depth)?, out)?;
                to_resp2(reader, false, deeper(depth)?, out)?;
            }
        }
        Item::Aggregate(_, count) => {
            length(b'*', count, out);
            let depth = deeper(depth)?;
            for _ in 0..count {
                to_resp2(reader, false, depth, out)?;
            }
        }
    }
    Ok(())
}

fn is_pair(reader: &Reader<'_>) -> bool {
    reader.bytes[reader.at..].starts_with(b"*2\r\n")
}

fn value(reader: &mut Reader<'_>, source: &Bytes, depth: usize) -> Result<Reply, Malformed> {
    Ok(match reader.next()? {
        Item::Line(b'+', b"OK") => Reply::Ok,
        // Of the replies that are put together none has another status; as a string it is at least told.
        Item::Line(b'+' | b'(', text) => Reply::Bulk(source.slice_ref(text)),
        Item::Line(b':', digits) => Reply::Integer(integer(digits).ok_or(Malformed)?),
        Item::Line(b',', text) => Reply::Double(
            std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(Malformed)?,
        ),
        Item::Line(b'#', flag) => Reply::Boolean(flag == b"t"),
        Item::Line(_, text) | Item::Bulk(b'!', text) => Reply::Error(source.slice_ref(text)),
        Item::Bulk(b'=', text) => Reply::Text(source.slice_ref(text.get(4..).ok_or(Malformed)?)),
        Item::Bulk(_, string) => Reply::Bulk(source.slice_ref(string)),
        Item::Null => Reply::Nil,
        Item::Aggregate(kind, count) => {
            let depth = deeper(depth)?;
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(value(reader, source, depth)?);
            }
            match kind {
                b'~' => Reply::Set(items),
                b'>' => Reply::Push(items),
                b'%' => Reply::Map(pairs(items)),
                _ => Reply::Array(items),
            }
        }
    })
}

fn pairs(items: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use proptest::prelude::*;

    fn replies() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            Just(Reply::Ok),
            Just(Reply::Nil),
            any::<i64>().prop_map(Reply::Integer),
            any::<bool>().prop_map(Reply::Boolean),
            (-1e9..1e9).prop_map(Reply::Double),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| Reply::Bulk(b.into())),
            "[a-z ]{0,10}".prop_map(|t| Reply::Text(t.into())),
            "ERR [a-z ]{0,10}".prop_map(|t| Reply::Error(t.into())),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
                proptest::collection::vec((inner.clone(), inner), 0..6).prop_map(Reply::Map),
            ]
        })
    }

    fn bytes(reply: &Reply, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        encode(reply, protocol, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_transcoded_reply_equals_the_one_encoded_here(reply in replies()) {
            let resp3 = bytes(&reply, Protocol::Resp3);
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let mut out = Vec::new();
                transcode(&resp3, protocol, false, &mut out).unwrap();
                prop_assert_eq!(&out, &bytes(&reply, protocol));
            }
            prop_assert_eq!(decode(&resp3.into()).unwrap(), reply);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(prop_oneof![
            proptest::sample::select(&b"*$:%_,#\r\n0123456789-"[..]), any::<u8>()], 0..60)) {
            let mut out = Vec::new();
            let transcoded = transcode(&bytes, Protocol::Resp2, true, &mut out);
            prop_assert!(transcoded.is_ok() || out.is_empty());
            let _ = decode(&Bytes::from(bytes));
        }
    }

    #[test]
    fn pairs_are_flat_in_resp2_where_the_command_says_so() {
        let reply = Reply::Pairs(vec![
            (Reply::bulk(b"a"), Reply::bulk(b"1")),
            (Reply::bulk(b"b"), Reply::bulk(b"2")),
        ]);
        let mut out = Vec::new();
        transcode(
            &bytes(&reply, Protocol::Resp3),
            Protocol::Resp2,
            true,
            &mut out,
        )
        .unwrap();
        assert_eq!(out, bytes(&reply, Protocol::Resp2));
    }

    #[test]
    fn another_servers_line_breaks_do_not_become_a_second_reply() {
        let mut out = Vec::new();
        let error = b"!10\r\nERR\r\n+OK\r\n\r\n";
        transcode(error, Protocol::Resp2, false, &mut out).unwrap();
        assert_eq!(out, b"-ERR  +OK  \r\n");
        for text in ["+a\n+b\r\n", "-ERR\n+OK\r\n", "+a\r+b\r\n", "*1\n:1\r\n"] {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let refused = transcode(text.as_bytes(), protocol, false, &mut out);
                assert_eq!(refused, Err(Malformed), "{text:?}");
            }
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            assert_eq!(decode(&bytes), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn endless_nesting_and_huge_lengths_are_refused() {
        let deep = b"*1\r\n".repeat(100_000);
        let mut out = Vec::new();
        assert_eq!(
            transcode(&deep, Protocol::Resp2, false, &mut out),
            Err(Malformed)
        );
        for text in [
            "$9223372036854775807\r\na\r\n",
            "*4611686018427387904\r\n",
            "%9223372036854775807\r\n",
            ":1\r\n:2\r\n",
            "",
        ] {
            assert_eq!(
                transcode(text.as_bytes(), Protocol::Resp3, false, &mut out),
                Err(Malformed),
                "{text:?}"
            );
            assert_eq!(
                decode(&Bytes::copy_from_slice(text.as_bytes())),
                Err(Malformed),
                "{text:?}"
            );
        }
    }
}
