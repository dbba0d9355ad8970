//! A reply as the bytes of the client's protocol.

use commands::Reply;

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// What every client speaks until it says HELLO 3.
    #[default]
    Resp2,
    /// With maps, sets, floats, and one null.
    Resp3,
}

/// Appends the bytes of `reply`.
pub fn encode(reply: &Reply, protocol: Protocol, out: &mut Vec<u8>) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
        Reply::Simple(text) => line(b'+', text.as_bytes(), out),
        Reply::Error(text) => error(text, out),
        Reply::Integer(number) => line(b':', itoa::Buffer::new().format(*number).as_bytes(), out),
        Reply::Double(number) if resp3 => line(b',', double(*number).as_bytes(), out),
        Reply::Double(number) => bulk(double(*number).as_bytes(), out),
        Reply::Boolean(value) if resp3 => line(b'#', if *value { b"t" } else { b"f" }, out),
        Reply::Boolean(value) => line(b':', if *value { b"1" } else { b"0" }, out),
        Reply::Bulk(bytes) => bulk(bytes, out),
        Reply::Text(text) if resp3 => {
            length(b'=', text.len() + 4, out);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Text(text) => bulk(text, out),
        Reply::Nil | Reply::NilArray if resp3 => out.extend_from_slice(b"_\r\n"),
        Reply::Nil => out.extend_from_slice(b"$-1\r\n"),
        Reply::NilArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Array(items) => items_of(b'*', items, protocol, out),
        Reply::Set(items) => items_of(if resp3 { b'~' } else { b'*' }, items, protocol, out),
        Reply::Push(items) => items_of(if resp3 { b'>' } else { b'*' }, items, protocol, out),
        Reply::Map(pairs) => {
            if resp3 {
                length(b'%', pairs.len(), out);
            } else {
                length(b'*', pairs.len() * 2, out);
            }
            for (key, value) in pairs {
                encode(key, protocol, out);
                encode(value, protocol, out);
            }
        }
        Reply::Pairs(pairs) => {
            length(b'*', if resp3 { pairs.len() } else { pairs.len() * 2 }, out);
            for (first, second) in pairs {
                if resp3 {
                    length(b'*', 2, out);
                }
                encode(first, protocol, out);
                encode(second, protocol, out);
            }
        }
    }
}

/// Appends a length line: the kind, a number.
pub(super) fn length(kind: u8, length: usize, out: &mut Vec<u8>) {
    line(kind, itoa::Buffer::new().format(length).as_bytes(), out);
}

pub(super) fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 16);
    length(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// An error is one line, whatever it quotes.
pub(super) fn error(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'-');
    out.extend(text.iter().map(|&byte| match byte {
        b'\r' | b'\n' => b' ',
        other => other,
    }));
    out.extend_from_slice(b"\r\n");
}

fn items_of(kind: u8, items: &[Reply], protocol: Protocol, out: &mut Vec<u8>) {
    length(kind, items.len(), out);
    for item in items {
        encode(item, protocol, out);
    }
}

fn double(number: f64) -> String {
    if number.is_nan() {
        "nan".into()
    } else if number.is_infinite() {
        if number > 0.0 { "inf" } else { "-inf" }.into()
    } else {
        number.to_string()
    }
}
