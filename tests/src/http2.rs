//! Just enough HTTP/2 to say to a gRPC port what no client library would: a message whose declared length is nonsense.
//!
//! Frames and HPACK literals are RFC 9113, section 4, and RFC 7541, section 6.2.2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `grpc-status: 0` as a literal, with the name and the value in HPACK's Huffman code, as hyper writes it.
const STATUS_OK: &[u8] = b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x07";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How a server ended a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With a status that says what was wrong, as gRPC does.
    Refused,
    /// With the status that all is well.
    Accepted,
    /// With a reset of the stream or of the connection.
    Reset,
    /// It said nothing for longer than anybody waits.
    Silence,
}

/// Calls the method at `path`, declares a message of `declared` bytes, sends `sent` bytes of it, and waits for the end. A message
/// that was sent whole is the last.
pub fn declare(address: &str, path: &str, declared: u32, sent: usize) -> End {
    let mut stream = TcpStream::connect(address).expect("the port accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let mut out = PREFACE.to_vec();
    out.extend(frame(SETTINGS, 0, 0, &[]));
    let mut headers = Vec::new();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    for (name, value) in fields {
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).expect("short texts, below HPACK's 127"));
            headers.extend(text.as_bytes());
        }
    }
    out.extend(frame(HEADERS, END_HEADERS, 1, &headers));
    let mut message = vec![0];
    message.extend(declared.to_be_bytes());
    // Below the 64 KiB that HTTP/2 lets anybody send before the server allows more.
    message.resize(message.len() + sent.min(60_000), b'x');
    let whole = message.len() == 5 + declared as usize;
    let mut parts = message.chunks(16_384).peekable();
    while let Some(part) = parts.next() {
        let last = whole && parts.peek().is_none();
        out.extend(frame(DATA, if last { END_STREAM } else { 0 }, 1, part));
    }
    // A server that has hung up already has answered.
    let _ = stream.write_all(&out);
    read_end(&mut stream)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn read_end(stream: &mut TcpStream) -> End {
    let mut head = [0; 9];
    loop {
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return End::Silence,
            Err(_) => return End::Reset,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).is_err() {
            return End::Reset;
        }
        match (head[3], head[4]) {
            (HEADERS, flags) if flags & END_STREAM != 0 => {
                let fine = payload
                    .windows(STATUS_OK.len())
                    .any(|bytes| bytes == STATUS_OK);
                return if fine { End::Accepted } else { End::Refused };
            }
            (RESET | GO_AWAY, _) => return End::Reset,
            _ => {}
        }
    }
}
