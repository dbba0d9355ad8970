//! Inline commands: a line of words, for people with a terminal. Quotes and escapes as Redis' `sdssplitargs` has them.

/// A quote was not closed, or something stuck to a closing one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbalanced;

/// Splits `line`; puts the words' bytes, without quotes and escapes, into `words` and tells of each from where to where it goes there.
pub(super) fn split(
    line: &[u8],
    words: &mut Vec<u8>,
    mut word: impl FnMut(usize, usize),
) -> Result<(), Unbalanced> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // Redis' isspace knows the vertical tab as well.
        while let [0x0B, behind @ ..] = rest {
            rest = behind.trim_ascii_start();
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        rest = next_word(rest, words)?;
        word(start, words.len());
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0B
}

/// Takes a word that begins at `rest`; returns what is behind it.
fn next_word<'l>(mut rest: &'l [u8], words: &mut Vec<u8>) -> Result<&'l [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Ok(rest),
            // C strings end there, and Redis reads lines as such.
            [0, ..] => return Ok(&[]),
            [b'"', behind @ ..] => return closed(double_quoted(behind, words)?),
            [b'\'', behind @ ..] => return closed(single_quoted(behind, words)?),
            [byte, ..] if is_space(*byte) => return Ok(rest),
            [byte, behind @ ..] => {
                words.push(*byte);
                behind
            }
        };
    }
}

/// A closing quote ends its word: a space or nothing must follow.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn double_quoted<'l>(mut rest: &'l [u8], words: &mut Vec<u8>) -> Result<&'l [u8], Unbalanced> {
    loop {
        let (byte, behind) = match rest {
            [] => return Err(Unbalanced),
            [b'"', behind @ ..] => return Ok(behind),
            [b'\\', b'x', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), behind)
            }
            [b'\\', escaped, behind @ ..] => (unescape(*escaped), behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        words.push(byte);
        rest = behind;
    }
}

fn single_quoted<'l>(mut rest: &'l [u8], words: &mut Vec<u8>) -> Result<&'l [u8], Unbalanced> {
    loop {
        let (byte, behind) = match rest {
            [] => return Err(Unbalanced),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [b'\'', behind @ ..] => return Ok(behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        words.push(byte);
        rest = behind;
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        split(line, &mut bytes, |start, end| spans.push(start..end))?;
        Ok(spans.into_iter().map(|span| bytes[span].to_vec()).collect())
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        assert_eq!(
            words(b"  SET \"a b\\x41\\n\" 'it\\'s' plain  ").unwrap(),
            [
                b"SET".to_vec(),
                b"a bA\n".to_vec(),
                b"it's".to_vec(),
                b"plain".to_vec()
            ]
        );
        assert_eq!(words(b"GET \"\"").unwrap(), [b"GET".to_vec(), Vec::new()]);
        assert_eq!(words(b" \t ").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn an_open_quote_or_one_with_something_behind_it_is_refused() {
        for line in [&b"SET \"a"[..], b"SET 'a", b"SET \"a\"b c", b"SET \"a\\"] {
            assert_eq!(words(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }
}
