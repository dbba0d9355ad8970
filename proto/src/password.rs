//! How a table's password is kept: by meta servers in their store, by replica servers in their directories, and between them.
//!
//! PBKDF2-HMAC-SHA-256 with a salt of its own for each, as SCRAM keeps passwords: whoever reads a store cannot log in with what he finds. Few
//! enough rounds that a server can check one on the thread that serves data: some milliseconds.

use crate::secret::same;
use pbkdf2::pbkdf2_hmac_array;
use pbkdf2::sha2::Sha256;
use std::fmt::Write;

/// As many as PostgreSQL's SCRAM takes.
const ROUNDS: u32 = 4096;

/// More would let whoever may change the store keep servers busy.
const MOST_ROUNDS: u32 = 1_000_000;

const SCHEME: &str = "pbkdf2-sha256";

/// Bytes of a salt, which is random.
pub const SALT: usize = 16;

/// What is kept of a password: `pbkdf2-sha256$rounds$salt$hash`. Of no password (an empty one) nothing is.
pub fn kept(password: &str, salt: [u8; SALT]) -> String {
    if password.is_empty() {
        return String::new();
    }
    let hash = pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, ROUNDS);
    format!("{SCHEME}${ROUNDS}${}${}", hex(&salt), hex(&hash))
}

/// Whether `given` is the password of which this is kept. What is kept of none fits any; what is of no known form fits none.
pub fn fits(given: &str, kept: &str) -> bool {
    kept.is_empty()
        || again(given, kept).is_some_and(|again| same(again.as_bytes(), kept.as_bytes()))
}

/// What would be kept of `given` with the same salt and rounds.
fn again(given: &str, kept: &str) -> Option<String> {
    let mut parts = kept.split('$');
    let (scheme, rounds, salt) = (parts.next()?, parts.next()?, parts.next()?);
    let rounds: u32 = rounds.parse().ok()?;
    if scheme != SCHEME || rounds == 0 || rounds > MOST_ROUNDS {
        return None;
    }
    let salt_bytes = unhex(salt)?;
    let hash = pbkdf2_hmac_array::<Sha256, 32>(given.as_bytes(), &salt_bytes, rounds);
    Some(format!("{SCHEME}${rounds}${salt}${}", hex(&hash)))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 != 0 || text.len() > 128 {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_fits_what_is_kept_of_it_and_no_other_does() {
        let of = kept("correct horse", [7; SALT]);
        assert!(fits("correct horse", &of));
        for wrong in ["", "correct", "correct horse ", &of] {
            assert!(!fits(wrong, &of), "{wrong}");
        }
        assert!(!of.contains("horse"));
    }

    #[test]
    fn no_two_tables_keep_the_same_for_the_same_password() {
        assert_ne!(kept("a", [1; SALT]), kept("a", [2; SALT]));
    }

    #[test]
    fn a_table_without_a_password_is_open() {
        assert_eq!(kept("", [1; SALT]), "");
        assert!(fits("anything", ""));
    }

    #[test]
    fn what_is_kept_in_no_known_form_fits_nothing() {
        for odd in [
            "plain",
            "pbkdf2-sha256$0$00$00",
            "pbkdf2-sha256$4294967295$00$00",
            "pbkdf2-sha256$1$ü$",
            "$$$",
        ] {
            assert!(!fits("plain", odd), "{odd}");
        }
    }
}
