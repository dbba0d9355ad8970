//! Reads commands out of a client's bytes, wherever the network has cut them.
//!
//! The reader remembers how far it got in a command that is not whole yet, so that no byte is looked at twice; the bytes
//! themselves stay in the caller's buffer. It allocates only for arguments that have begun to arrive, never for declared ones.

use super::inline;
use smallvec::SmallVec;

/// What a command may be at most; see `Limits`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_args: usize,
    pub(crate) max_bulk: usize,
    pub(crate) max_inline: usize,
    pub(crate) max_query: usize,
    /// Stricter ones, with errors of their own, if the client has not authenticated.
    pub(crate) before_auth: Option<(usize, usize)>,
}

/// Why the bytes are no command. The connection is closed after the message, since nobody knows where the next command begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("invalid multibulk length")]
    MultibulkLength,
    #[error("too big mbulk count string")]
    MultibulkLine,
    #[error("invalid bulk length")]
    BulkLength,
    #[error("too big bulk count string")]
    BulkLine,
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    #[error("expected CRLF after a bulk string")]
    BulkEnd,
    #[error("too big inline request")]
    InlineLine,
    #[error("unbalanced quotes in request")]
    Quotes,
    #[error("too big request")]
    Query,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulk,
}

impl ProtocolError {
    /// Whether it would not be one if the client were authenticated.
    pub(crate) fn is_for_want_of_auth(self) -> bool {
        matches!(
            self,
            Self::UnauthenticatedMultibulk | Self::UnauthenticatedBulk
        )
    }
}

/// Where an argument is: start and end in the command's bytes, or in `unquoted` for inline commands. A command is below 4 GiB.
type Span = (u32, u32);

/// Reads one command after the other.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    /// How far the command in work has been read.
    at: usize,
    /// How far the line at `at` was searched for its end.
    searched: usize,
    /// Arguments still to come; `None` before the command's first line.
    left: Option<usize>,
    /// Length of the argument that begins at `at`.
    bulk: Option<usize>,
    args: SmallVec<[Span; 8]>,
    /// The arguments of an inline command without their quotes.
    unquoted: Vec<u8>,
    inline: bool,
}

impl RequestReader {
    /// Reads on in `buffer`, which begins with the command in work (or a new one) and has grown since the last call. Tells how many
    /// bytes the command takes once it is whole; its arguments are then to be had from [`Self::args`] until [`Self::next`].
    pub(crate) fn read(
        &mut self,
        buffer: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<usize>, ProtocolError> {
        let whole = self.read_whole(buffer, bounds)?;
        if whole.is_none() && buffer.len() > bounds.max_query {
            return Err(ProtocolError::Query);
        }
        Ok(whole)
    }

    fn read_whole(
        &mut self,
        buffer: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<usize>, ProtocolError> {
        let mut left = match self.left {
            Some(left) => left,
            None => match buffer.first() {
                None => return Ok(None),
                Some(b'*') => {
                    let Some(count) =
                        self.line(buffer, bounds.max_inline, ProtocolError::MultibulkLine)?
                    else {
                        return Ok(None);
                    };
                    multibulk_count(count, bounds)?
                }
                Some(_) => return self.read_inline(buffer, bounds),
            },
        };
        while left > 0 {
            let Some(end) = self.bulk(buffer, bounds)? else {
                self.left = Some(left);
                return Ok(None);
            };
            self.args.push((self.at as u32, end as u32));
            self.at = end + 2;
            self.searched = self.at;
            left -= 1;
        }
        // Kept, so that reading a whole command again (it had to wait for something) finds it whole again.
        self.left = Some(0);
        Ok(Some(self.at))
    }

    /// The end of the argument whose length line is at `at` (or was, before a call that returned `None`), if it is all there.
    fn bulk(&mut self, buffer: &[u8], bounds: &Bounds) -> Result<Option<usize>, ProtocolError> {
        let length = if let Some(length) = self.bulk {
            length
        } else {
            match buffer.get(self.at) {
                None => return Ok(None),
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
            }
            let Some(line) = self.line(buffer, bounds.max_inline, ProtocolError::BulkLine)? else {
                return Ok(None);
            };
            bulk_length(line, bounds)?
        };
        let end = self.at + length;
        match buffer.get(end..end + 2) {
            Some(b"\r\n") => {
                self.bulk = None;
                Ok(Some(end))
            }
            Some(_) => Err(ProtocolError::BulkEnd),
            None => {
                self.bulk = Some(length);
                Ok(None)
            }
        }
    }

    /// What stands between the byte at `at` and the end of its line; moves behind it.
    fn line<'b>(
        &mut self,
        buffer: &'b [u8],
        longest: usize,
        too_long: ProtocolError,
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let from = self.searched.max(self.at);
        // Lengths are short: a look at the next bytes finds the end sooner than a search does.
        let near = &buffer[from.min(buffer.len())..buffer.len().min(from + 8)];
        let found = match near.iter().position(|&byte| byte == b'\r') {
            Some(found) => Some(found),
            None => memchr::memchr(b'\r', &buffer[from.min(buffer.len())..]),
        };
        let Some(found) = found.map(|found| from + found) else {
            self.searched = buffer.len();
            return if buffer.len() - self.at > longest {
                Err(too_long)
            } else {
                Ok(None)
            };
        };
        // Also when all of it came at once: how the network cuts the bytes must not decide which error they are.
        if found - self.at > longest {
            return Err(too_long);
        }
        if found + 2 > buffer.len() {
            self.searched = found;
            return Ok(None);
        }
        // As in Redis, what follows the carriage return is not looked at.
        let line = &buffer[self.at + 1..found];
        self.at = found + 2;
        self.searched = self.at;
        Ok(Some(line))
    }

    fn read_inline(
        &mut self,
        buffer: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(found) = memchr::memchr(b'\n', &buffer[self.searched.min(buffer.len())..]) else {
            self.searched = buffer.len();
            return if buffer.len() > bounds.max_inline {
                Err(ProtocolError::InlineLine)
            } else {
                Ok(None)
            };
        };
        let end = self.searched + found;
        if end > bounds.max_inline {
            return Err(ProtocolError::InlineLine);
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        self.unquoted.clear();
        self.args.clear();
        inline::split(line, &mut self.unquoted, |start, end| {
            self.args.push((start as u32, end as u32));
        })
        .map_err(|inline::Unbalanced| ProtocolError::Quotes)?;
        if self.args.len() > bounds.max_args {
            return Err(ProtocolError::MultibulkLength);
        }
        self.inline = true;
        Ok(Some(end + 1))
    }

    /// The arguments of the command that [`Self::read`] found whole in `buffer`. None: an empty line or `*0`, to be passed over.
    pub(crate) fn args<'b>(&'b self, buffer: &'b [u8]) -> SmallVec<[&'b [u8]; 8]> {
        let bytes = if self.inline { &self.unquoted } else { buffer };
        self.args
            .iter()
            .map(|&(start, end)| &bytes[start as usize..end as usize])
            .collect()
    }

    /// How many bytes the command in work needs at least, as far as they are known: a hint for the buffer, bounded by `max_bulk`.
    pub(crate) fn wanted(&self) -> usize {
        self.bulk.map_or(0, |length| self.at + length + 2)
    }

    /// Forgets the command: the next one begins at the buffer's start.
    pub(crate) fn next(&mut self) {
        self.at = 0;
        self.searched = 0;
        self.left = None;
        self.bulk = None;
        self.inline = false;
        self.args.clear();
        if self.args.capacity() > 1024 {
            self.args.shrink_to_fit();
        }
    }
}

fn multibulk_count(line: &[u8], bounds: &Bounds) -> Result<usize, ProtocolError> {
    let count = integer(line).ok_or(ProtocolError::MultibulkLength)?;
    // Redis passes over empty and negative arrays.
    let count = usize::try_from(count).unwrap_or(0);
    if count > bounds.max_args {
        return Err(ProtocolError::MultibulkLength);
    }
    if bounds.before_auth.is_some_and(|(most, _)| count > most) {
        return Err(ProtocolError::UnauthenticatedMultibulk);
    }
    Ok(count)
}

fn bulk_length(line: &[u8], bounds: &Bounds) -> Result<usize, ProtocolError> {
    let length = integer(line)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|&length| length <= bounds.max_bulk)
        .ok_or(ProtocolError::BulkLength)?;
    if bounds.before_auth.is_some_and(|(_, most)| length > most) {
        return Err(ProtocolError::UnauthenticatedBulk);
    }
    Ok(length)
}

/// A number as Redis' `string2ll` takes it: no plus, no spaces, no leading zeros.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, magnitude) = match digits.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, digits),
    };
    match magnitude {
        [b'0'] => return (!negative).then_some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    magnitude.iter().try_fold(0i64, |number, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        let number = number.checked_mul(10)?;
        if negative {
            number.checked_sub(digit)
        } else {
            number.checked_add(digit)
        }
    })
}

#[cfg(test)]
mod tests;
