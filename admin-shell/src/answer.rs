//! How answers look: for people a [`Grid`](crate::grid::Grid) or a line, for scripts one JSON value.

use serde_json::{Value, json};
use std::io::Write;

/// An answer in both forms.
pub(crate) struct Answer {
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn new(json: Value, text: impl Into<String>) -> Self {
        Self {
            json,
            text: text.into(),
        }
    }

    /// To stdout. A reader that went away is no failure.
    pub(crate) fn print(&self, as_json: bool) {
        let mut stdout = std::io::stdout().lock();
        let _ = if as_json {
            writeln!(stdout, "{}", self.json)
        } else {
            writeln!(stdout, "{}", self.text)
        };
    }
}

/// Bytes as people read them: as text where they are text, with `\xNN` for what is not.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str("\\x");
            text.push_str(&hex(&[*byte]));
        }
    }
    text
}

/// Bytes in JSON: a string, or `{"hex": "..."}` for what is no UTF-8.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A node's id as it is written everywhere.
pub(crate) fn node_id(node: u64) -> String {
    types::NodeId(node).to_string()
}

/// In the largest unit that leaves at least ten of it.
pub(crate) fn rounded(bytes: u64) -> String {
    let unit = [1u64 << 30, 1 << 20, 1 << 10]
        .into_iter()
        .find(|unit| bytes >= 10 * unit)
        .unwrap_or(1);
    types::ByteSize(bytes / unit * unit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_still_readable() {
        assert_eq!(readable("grün\n".as_bytes()), "grün\n");
        assert_eq!(readable(b"a\xff\x00\x1b["), "a\\xff\\u{0}\\u{1b}[");
        assert_eq!(bytes(b"a\xff"), json!({ "hex": "61ff" }));
        assert_eq!(bytes("grün".as_bytes()), json!("grün"));
    }
}
