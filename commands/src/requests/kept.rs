//! The bytes in which a reply is kept: compact, read back as it was.
//!
//! It is not RESP: the same reply may have to be given in any protocol.

use crate::reply::Reply;
use bytes::Bytes;

/// A longer reply is not kept: who asks again is told that the write was done, not what it answered.
const MOST: usize = 64 << 10;
/// Replies of commands are flat; bytes that pretend otherwise are none of ours.
const DEEPEST: u32 = 8;

const GONE: u8 = 0;
const OK: u8 = 1;
const ERROR: u8 = 2;
const INTEGER: u8 = 3;
const DOUBLE: u8 = 4;
const FALSE: u8 = 5;
const TRUE: u8 = 6;
const BULK: u8 = 7;
const TEXT: u8 = 8;
const NIL: u8 = 9;
const NIL_ARRAY: u8 = 10;
const ARRAY: u8 = 11;
const MAP: u8 = 12;
const PAIRS: u8 = 13;
const SET: u8 = 14;
const PUSH: u8 = 15;

/// Appends a number: seven bits a byte, the lowest first.
pub(super) fn put_number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Reads a number off the front.
pub(super) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Reads so many bytes off the front.
pub(super) fn take_bytes<'a>(from: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (bytes, rest) = from.split_at_checked(usize::try_from(length).ok()?)?;
    *from = rest;
    Some(bytes)
}

/// Appends a reply; one that is too long, or of a form that no write answers with, as gone.
pub(super) fn put(reply: &Reply, into: &mut Vec<u8>) {
    let from = into.len();
    if put_any(reply, into).is_none() || into.len() - from > MOST {
        into.truncate(from);
        into.push(GONE);
    }
}

/// A reply as it was kept, if it was.
pub(super) fn read(mut bytes: &[u8]) -> Option<Reply> {
    take_any(&mut bytes, DEEPEST)
}

fn put_any(reply: &Reply, into: &mut Vec<u8>) -> Option<()> {
    match reply {
        Reply::Ok => into.push(OK),
        // Statuses are the program's own words and cannot be made from bytes. Those who write answer with OK.
        Reply::Simple(_) => return None,
        Reply::Error(text) => put_string(ERROR, text, into)?,
        Reply::Integer(number) => {
            into.push(INTEGER);
            // small numbers of either sign are short
            put_number((number << 1 ^ number >> 63) as u64, into);
        }
        Reply::Double(number) => {
            into.push(DOUBLE);
            into.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Reply::Boolean(false) => into.push(FALSE),
        Reply::Boolean(true) => into.push(TRUE),
        Reply::Bulk(bytes) => put_string(BULK, bytes, into)?,
        Reply::Text(bytes) => put_string(TEXT, bytes, into)?,
        Reply::Nil => into.push(NIL),
        Reply::NilArray => into.push(NIL_ARRAY),
        Reply::Array(items) => put_items(ARRAY, items, into)?,
        Reply::Set(items) => put_items(SET, items, into)?,
        Reply::Push(items) => put_items(PUSH, items, into)?,
        Reply::Map(pairs) => put_pairs(MAP, pairs, into)?,
        Reply::Pairs(pairs) => put_pairs(PAIRS, pairs, into)?,
    }
    Some(())
}

fn put_string(tag: u8, bytes: &[u8], into: &mut Vec<u8>) -> Option<()> {
    if bytes.len() > MOST {
        return None;
    }
    into.push(tag);
    put_number(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
    Some(())
}

fn put_items(tag: u8, items: &[Reply], into: &mut Vec<u8>) -> Option<()> {
    if items.len() > MOST {
        return None;
    }
    into.push(tag);
    put_number(items.len() as u64, into);
    items.iter().try_for_each(|item| put_any(item, into))
}

fn put_pairs(tag: u8, pairs: &[(Reply, Reply)], into: &mut Vec<u8>) -> Option<()> {
    if pairs.len() > MOST {
        return None;
    }
    into.push(tag);
    put_number(pairs.len() as u64, into);
    pairs.iter().try_for_each(|(key, value)| {
        put_any(key, into)?;
        put_any(value, into)
    })
}

fn take_any(from: &mut &[u8], depth: u32) -> Option<Reply> {
    let depth = depth.checked_sub(1)?;
    let (&tag, rest) = from.split_first()?;
    *from = rest;
    Some(match tag {
        OK => Reply::Ok,
        ERROR => Reply::Error(take_string(from)?),
        INTEGER => {
            let number = take_number(from)?;
            Reply::Integer((number >> 1) as i64 ^ -((number & 1) as i64))
        }
        DOUBLE => {
            let bits = take_bytes(from, 8)?.first_chunk()?;
            Reply::Double(f64::from_bits(u64::from_le_bytes(*bits)))
        }
        FALSE => Reply::Boolean(false),
        TRUE => Reply::Boolean(true),
        BULK => Reply::Bulk(take_string(from)?),
        TEXT => Reply::Text(take_string(from)?),
        NIL => Reply::Nil,
        NIL_ARRAY => Reply::NilArray,
        ARRAY => Reply::Array(take_items(from, depth)?),
        SET => Reply::Set(take_items(from, depth)?),
        PUSH => Reply::Push(take_items(from, depth)?),
        MAP => Reply::Map(take_pairs(from, depth)?),
        PAIRS => Reply::Pairs(take_pairs(from, depth)?),
        _ => return None,
    })
}

fn take_string(from: &mut &[u8]) -> Option<Bytes> {
    let length = take_number(from)?;
    take_bytes(from, length).map(Bytes::copy_from_slice)
}

fn take_items(from: &mut &[u8], depth: u32) -> Option<Vec<Reply>> {
    let count = take_number(from)?;
    (0..count).map(|_| take_any(from, depth)).collect()
}

fn take_pairs(from: &mut &[u8], depth: u32) -> Option<Vec<(Reply, Reply)>> {
    let count = take_number(from)?;
    (0..count)
        .map(|_| Some((take_any(from, depth)?, take_any(from, depth)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replies() -> impl Strategy<Value = Reply> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let leaf = prop_oneof![
            Just(Reply::Ok),
            Just(Reply::Nil),
            Just(Reply::NilArray),
            any::<i64>().prop_map(Reply::Integer),
            any::<i32>().prop_map(|number| Reply::Double(f64::from(number) / 8.0)),
            any::<bool>().prop_map(Reply::Boolean),
            bytes().prop_map(Reply::Bulk),
            bytes().prop_map(Reply::Text),
            bytes().prop_map(Reply::Error),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            let items = || prop::collection::vec(inner.clone(), 0..5);
            let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
            prop_oneof![
                items().prop_map(Reply::Array),
                items().prop_map(Reply::Set),
                items().prop_map(Reply::Push),
                pairs().prop_map(Reply::Map),
                pairs().prop_map(Reply::Pairs),
            ]
        })
    }

    fn kept(reply: &Reply) -> Option<Reply> {
        let mut bytes = Vec::new();
        put(reply, &mut bytes);
        read(&bytes)
    }

    proptest! {
        #[test]
        fn replies_read_back_as_they_were(reply in replies()) {
            prop_assert_eq!(kept(&reply), Some(reply));
        }

        #[test]
        fn any_bytes_are_a_reply_or_none_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&bytes);
        }

        #[test]
        fn numbers_read_back_as_they_were(number in any::<u64>()) {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            prop_assert_eq!(take_number(&mut &bytes[..]), Some(number));
        }
    }

    #[test]
    fn a_reply_that_is_too_long_is_gone() {
        assert_eq!(kept(&Reply::bulk(&vec![7; MOST + 1])), None);
        let many = Reply::Array(vec![Reply::bulk(&[7; 1000]); 100]);
        assert_eq!(kept(&many), None);
    }

    #[test]
    fn bytes_that_pretend_to_be_nested_deeply_are_no_reply() {
        let nested: Vec<u8> = [ARRAY, 1].repeat(1_000_000);
        assert_eq!(read(&nested), None);
    }
}
