//! RESP in both directions: a client's bytes mean the same however the network cuts them and cost no more memory than they are; another
//! server's reply is refused or becomes exactly one reply; what is encoded reads back.
#![no_main]

#[path = "../../resp-gateway/src/codec/mod.rs"]
#[allow(dead_code, unused_imports)]
mod codec;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use codec::{Bounds, Protocol, ProtocolError, RequestReader, decode, encode, transcode};
use commands::Reply;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, cuts @ .., a, b, c] = data else {
        return;
    };
    match choice % 4 {
        0 | 1 => requests(cuts, [*a, *b, *c], choice / 4),
        2 => foreign_reply(cuts),
        _ => drop(own_reply(cuts)),
    }
});

type Read = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn bounds(choice: u8) -> Bounds {
    let strict = choice & 1 == 1;
    Bounds {
        max_args: if strict { 3 } else { 1 << 20 },
        max_bulk: if strict { 9 } else { 64 << 20 },
        max_inline: if strict { 24 } else { 64 << 10 },
        max_query: 128 << 20,
        before_auth: (choice & 2 == 2).then_some((2, 6)),
    }
}

fn requests(bytes: &[u8], pieces: [u8; 3], choice: u8) {
    let bounds = bounds(choice);
    let whole = read(bytes, &[usize::MAX], &bounds);
    for pieces in [&pieces.map(usize::from)[..], &[1]] {
        assert_eq!(read(bytes, pieces, &bounds), whole, "cut into {pieces:?}");
    }
    for arg in whole.0.iter().flatten() {
        assert!(arg.len() <= bounds.max_bulk.max(bounds.max_inline));
    }
    assert!(whole.0.iter().all(|args| args.len() <= bounds.max_args));

    // A command that may not be longer than what has come is refused as soon as it is.
    let short = Bounds {
        max_query: 16,
        ..bounds
    };
    let (mut reader, mut held) = (RequestReader::default(), 0);
    while held < bytes.len() {
        held += 1;
        match reader.read(&bytes[..held], &short) {
            Ok(None) => assert!(held <= short.max_query),
            Ok(Some(length)) => return assert!(length <= held),
            Err(_) => return,
        }
    }
}

/// Gives `bytes` in pieces, as a connection does: the commands read, and the error that ended it.
fn read(bytes: &[u8], pieces: &[usize], bounds: &Bounds) -> Read {
    let (mut reader, mut commands) = (RequestReader::default(), Vec::new());
    let (mut start, mut end) = (0, 0);
    let mut pieces = pieces.iter().cycle();
    loop {
        let buffer = &bytes[start..end];
        match reader.read(buffer, bounds) {
            Err(error) => return (commands, Some(error)),
            Ok(Some(length)) => {
                let first: Vec<Vec<u8>> =
                    reader.args(buffer).iter().map(|it| it.to_vec()).collect();
                assert!(length <= buffer.len());
                // It may have to wait for something, and is then read again.
                assert_eq!(reader.read(buffer, bounds), Ok(Some(length)));
                assert!(reader.args(buffer).iter().eq(first.iter()));
                if !first.is_empty() {
                    commands.push(first);
                }
                start += length;
                reader.next();
            }
            Ok(None) if end == bytes.len() => return (commands, None),
            Ok(None) => {
                assert!(reader.wanted() <= buffer.len() + bounds.max_bulk + 2);
                let piece = pieces.next().copied().unwrap_or(1).max(1);
                end = end.saturating_add(piece).min(bytes.len());
            }
        }
    }
}

fn foreign_reply(bytes: &[u8]) {
    let source = Bytes::copy_from_slice(bytes);
    if let Ok(reply) = decode(&source) {
        // What it was read as can be said again, in one way.
        let said = |reply: &Reply| {
            let mut bytes = Vec::new();
            encode(reply, Protocol::Resp3, &mut bytes);
            bytes
        };
        let again = said(&reply);
        let read = decode(&again.clone().into()).expect("it was encoded here");
        assert_eq!(said(&read), again);
        let mut same = b"kept".to_vec();
        transcode(bytes, Protocol::Resp3, false, &mut same).expect("it was decoded");
        assert_eq!(&same[4..], bytes);
    }
    for flat_pairs in [false, true] {
        let mut out = b"kept".to_vec();
        match transcode(bytes, Protocol::Resp2, flat_pairs, &mut out) {
            Err(_) => assert_eq!(out, b"kept"),
            Ok(()) => {
                assert_eq!(
                    one_resp2(&out[4..]),
                    Some(&[][..]),
                    "{}",
                    out.escape_ascii()
                );
                assert!(out.len() <= 4 + 3 * bytes.len(), "it has grown");
            }
        }
    }
}

/// What follows the RESP2 reply that `bytes` begin with.
fn one_resp2(bytes: &[u8]) -> Option<&[u8]> {
    let (&kind, rest) = bytes.split_first()?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = (&rest[..end], &rest[end + 2..]);
    let length = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    match kind {
        b'+' | b'-' | b':' => (!line.contains(&b'\n')).then_some(rest),
        b'$' => match length()? {
            -1 => Some(rest),
            length => {
                let (_, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest.strip_prefix(b"\r\n")
            }
        },
        b'*' => match length()? {
            -1 => Some(rest),
            length => (0..usize::try_from(length).ok()?).try_fold(rest, |rest, _| one_resp2(rest)),
        },
        _ => None,
    }
}

fn own_reply(bytes: &[u8]) -> arbitrary::Result<()> {
    let mut source = Unstructured::new(bytes);
    let reply = reply(&mut source, 6)?;
    let mut resp3 = Vec::new();
    encode(&reply, Protocol::Resp3, &mut resp3);
    let read = decode(&resp3.clone().into()).expect("an own reply is one");
    let mut again = Vec::new();
    encode(&read, Protocol::Resp3, &mut again);
    assert_eq!(again, resp3);

    let mut resp2 = Vec::new();
    encode(&reply, Protocol::Resp2, &mut resp2);
    assert_eq!(one_resp2(&resp2), Some(&[][..]));
    let mut transcoded = Vec::new();
    transcode(&resp3, Protocol::Resp2, false, &mut transcoded).expect("an own reply is one");
    assert_eq!(transcoded, resp2);
    Ok(())
}

/// A reply of those that look the same from both sides: an array of pairs and the two nulls do not.
fn reply(source: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<Reply> {
    let text = |source: &mut Unstructured<'_>| Vec::arbitrary(source).map(Bytes::from);
    let kinds = if depth == 0 { 8 } else { 12 };
    let items = |source: &mut Unstructured<'_>| -> arbitrary::Result<Vec<Reply>> {
        let count = source.int_in_range(0..=4)?;
        (0..count).map(|_| reply(source, depth - 1)).collect()
    };
    Ok(match source.int_in_range(0..=kinds)? {
        0 => Reply::Ok,
        1 => Reply::Nil,
        2 => Reply::Integer(i64::arbitrary(source)?),
        3 => Reply::Boolean(bool::arbitrary(source)?),
        4 => Reply::Double(f64::arbitrary(source)?),
        5 => Reply::Bulk(text(source)?),
        6 => Reply::Text(text(source)?),
        7 | 8 => Reply::Error(text(source)?),
        9 => Reply::Array(items(source)?),
        10 => Reply::Set(items(source)?),
        11 => Reply::Push(items(source)?),
        _ => {
            let count = source.int_in_range(0..=3)?;
            let pair = |_| Ok((reply(source, depth - 1)?, reply(source, depth - 1)?));
            Reply::Map((0..count).map(pair).collect::<arbitrary::Result<_>>()?)
        }
    })
}
