//! The x87 long double, as far as INCRBYFLOAT and HINCRBYFLOAT need it: Redis reads, adds and prints these on x86-64, and a sum in
//! `f64` prints other digits (0.1 + 0.2 is 0.3 here).
//!
//! Reading and adding round to 64 bits of mantissa, to even; printing is C's `%.17Lf` without trailing zeros. Hexadecimal floats are
//! not read, subnormal numbers keep more bits than they would.

use std::cmp::Ordering;
use std::fmt;

/// A finite or infinite long double.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Magnitude {
    Zero,
    /// `mantissa * 2^exponent`; the mantissa's top bit is set.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

/// Redis reads no longer numbers.
const LONGEST: usize = 5 * 1024 - 1;
/// The exponents of the top bit between which a long double is neither infinite nor zero.
const LARGEST: i32 = 16_383;
const SMALLEST: i32 = -16_446;

impl LongDouble {
    pub(crate) const ZERO: Self = Self {
        negative: false,
        magnitude: Magnitude::Zero,
    };

    /// Reads a decimal number or `inf`; `None` if it is neither, or beyond what a long double holds.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        let (negative, text) = sign(text);
        let infinite = text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity");
        let magnitude = if infinite {
            Magnitude::Infinite
        } else {
            let (digits, exponent) = decimal(text)?;
            Magnitude::of_decimal(&digits, exponent)?
        };
        Some(Self {
            negative,
            magnitude,
        })
    }

    /// Whether it was read from `inf`.
    pub(crate) fn is_infinite(self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// The sum; `None` if it is not finite.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let (a, b) = match (self.magnitude, other.magnitude) {
            (Magnitude::Infinite, _) | (_, Magnitude::Infinite) => return None,
            (Magnitude::Zero, _) => return Some(other),
            (_, Magnitude::Zero) => return Some(self),
            (
                Magnitude::Finite { mantissa, exponent },
                Magnitude::Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => (
                (exponent, mantissa, self.negative),
                (other_exponent, other_mantissa, other.negative),
            ),
        };
        let (large, small) = if (a.0, a.1) >= (b.0, b.1) {
            (a, b)
        } else {
            (b, a)
        };
        // 62 guard bits; what is shifted out below them sticks in the lowest.
        let large_bits = u128::from(large.1) << 62;
        let unshifted = u128::from(small.1) << 62;
        let small_bits = match large.0.abs_diff(small.0) {
            shift @ 0..128 => {
                let kept = unshifted >> shift;
                kept | u128::from(kept << shift != unshifted)
            }
            _ => 1,
        };
        let bits = if large.2 == small.2 {
            large_bits + small_bits
        } else {
            large_bits - small_bits
        };
        let magnitude = Magnitude::rounded(bits, large.0 - 62, false)?;
        Some(Self {
            negative: large.2 && magnitude != Magnitude::Zero,
            magnitude,
        })
    }
}

impl Magnitude {
    /// `bits * 2^exponent`, plus less than one more bit if `sticky`.
    fn rounded(bits: u128, exponent: i32, sticky: bool) -> Option<Self> {
        if bits == 0 {
            return Some(Self::Zero);
        }
        let leading = bits.leading_zeros();
        let bits = bits << leading;
        let mut exponent = exponent - leading as i32 + 64;
        let mut mantissa = (bits >> 64) as u64;
        let rest = bits as u64;
        let half = 1 << 63;
        let up = match rest.cmp(&half) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => sticky || mantissa & 1 == 1,
        };
        if up {
            mantissa = mantissa.wrapping_add(1);
            if mantissa == 0 {
                mantissa = 1 << 63;
                exponent += 1;
            }
        }
        let top = exponent + 63;
        (SMALLEST..=LARGEST)
            .contains(&top)
            .then_some(Self::Finite { mantissa, exponent })
    }

    /// The nearest to `digits * 10^exponent`.
    fn of_decimal(digits: &[u8], exponent: i64) -> Option<Self> {
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = &digits[zeros..];
        if digits.is_empty() {
            return Some(Self::Zero);
        }
        let magnitude = exponent + digits.len() as i64;
        if !(-5000..5000).contains(&magnitude) {
            return None;
        }
        let mut numerator = Natural::of_digits(digits);
        let mut denominator = Natural::one();
        let power = exponent.unsigned_abs() as usize;
        if exponent < 0 {
            denominator.multiply_by_power_of_ten(power);
        } else {
            numerator.multiply_by_power_of_ten(power);
        }
        // Bring the quotient into [1/2, 2), then take its bits one by one.
        let shift = numerator.bits() as i32 - denominator.bits() as i32;
        if shift > 0 {
            denominator.shift_left(shift as usize);
        } else {
            numerator.shift_left(shift.unsigned_abs() as usize);
        }
        let mut bits = 0u128;
        for _ in 0..WANTED {
            bits <<= 1;
            if numerator.subtract_if_not_less(&denominator) {
                bits |= 1;
            }
            numerator.shift_left(1);
        }
        Self::rounded(bits, shift - WANTED + 1, !numerator.is_zero())
    }
}

/// Quotient bits: 64 of mantissa, the rest for rounding.
const WANTED: i32 = 100;

/// Digits without a point, and the power of ten that they are to be multiplied with.
fn decimal(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let split = text
        .iter()
        .position(|&byte| byte == b'e' || byte == b'E')
        .unwrap_or(text.len());
    let (number, scale) = text.split_at(split);
    let mut exponent = match scale {
        [] => 0,
        [_, scale @ ..] => decimal_exponent(scale)?,
    };
    let point = number.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        None => (number, &[][..]),
        Some(point) => (&number[..point], &number[point + 1..]),
    };
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    exponent -= fraction.len() as i64;
    Some((digits, exponent))
}

/// Whether there is a minus, and what follows the sign.
fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn decimal_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1_000_000)
    });
    Some(if negative { -value } else { value })
}

impl fmt::Display for LongDouble {
    /// `%.17Lf` without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: usize = 17;
        const SCALE: u128 = 10u128.pow(DIGITS as u32);
        let sign = if self.negative { "-" } else { "" };
        let (mantissa, exponent) = match self.magnitude {
            Magnitude::Zero => return f.write_str("0"),
            Magnitude::Infinite => return write!(f, "{sign}inf"),
            Magnitude::Finite { mantissa, exponent } => (mantissa, exponent),
        };
        if exponent >= 0 {
            return write!(
                f,
                "{sign}{}",
                power_of_two_times(mantissa, exponent as usize)
            );
        }
        let point = exponent.unsigned_abs();
        let mut whole = mantissa.checked_shr(point).unwrap_or(0);
        let fraction = mantissa - whole.checked_shl(point).unwrap_or(0);
        // Below 2^64 * 10^17 < 2^121.
        let scaled = u128::from(fraction) * SCALE;
        let mut digits = scaled.checked_shr(point).unwrap_or(0);
        let rest = scaled - digits.checked_shl(point).unwrap_or(0);
        let half = 1u128.checked_shl(point - 1).unwrap_or(u128::MAX);
        if rest > half || (rest == half && digits & 1 == 1) {
            digits += 1;
        }
        if digits == SCALE {
            digits = 0;
            whole += 1;
        }
        if digits == 0 {
            let sign = if whole == 0 { "" } else { sign };
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{digits:0DIGITS$}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// The decimal digits of `mantissa * 2^power`.
fn power_of_two_times(mantissa: u64, power: usize) -> String {
    const BASE: u64 = 1_000_000_000;
    let mut limbs = Vec::new();
    let mut rest = mantissa;
    while rest > 0 {
        limbs.push(rest % BASE);
        rest /= BASE;
    }
    let mut left = power;
    while left > 0 {
        let shift = left.min(30);
        let mut carry = 0;
        for limb in &mut limbs {
            let shifted = (*limb << shift) + carry;
            *limb = shifted % BASE;
            carry = shifted / BASE;
        }
        while carry > 0 {
            limbs.push(carry % BASE);
            carry /= BASE;
        }
        left -= shift;
    }
    let top = limbs.pop().unwrap_or(0).to_string();
    let rest = limbs.iter().rev().map(|limb| format!("{limb:09}"));
    std::iter::once(top).chain(rest).collect()
}

/// A natural number of any size, lowest limb first, no zero limb on top.
struct Natural(Vec<u32>);

impl Natural {
    fn one() -> Self {
        Self(vec![1])
    }

    fn of_digits(digits: &[u8]) -> Self {
        let mut number = Self(Vec::new());
        for chunk in digits.chunks(9) {
            let value = chunk
                .iter()
                .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
            number.multiply_and_add(10u32.pow(chunk.len() as u32), value);
        }
        number
    }

    fn multiply_by_power_of_ten(&mut self, mut power: usize) {
        while power > 0 {
            let step = power.min(9);
            self.multiply_and_add(10u32.pow(step as u32), 0);
            power -= step;
        }
    }

    fn multiply_and_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        let small = bits % 32;
        if small > 0 {
            self.multiply_and_add(1 << small, 0);
        }
        if !self.is_zero() {
            let limbs = bits / 32;
            self.0.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    fn subtract_if_not_less(&mut self, other: &Self) -> bool {
        let order = self
            .0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()));
        if order == Ordering::Less {
            return false;
        }
        let mut borrow = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(at).copied().unwrap_or(0);
            let (difference, first) = limb.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        true
    }

    fn bits(&self) -> usize {
        let top = self
            .0
            .last()
            .map_or(0, |limb| limb.leading_zeros() as usize);
        self.0.len() * 32 - top
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (
            LongDouble::parse(a.as_bytes())?,
            LongDouble::parse(b.as_bytes())?,
        );
        a.add(b).map(|sum| sum.to_string())
    }

    #[test]
    fn sums_print_as_redis_prints_them() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.123", "4.123"),
            ("1", "-1.000000000000000001", "0"),
            ("-0.5", "0.5", "0"),
            ("1e19", "1", "10000000000000000001"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("0", "1e-17", "0.00000000000000001"),
            ("0", ".5", "0.5"),
            ("-1.5", "0", "-1.5"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".", "1.2.3", " 1", "1 ", "e5", "1e", "nan", "1e5000", "1e-5000", "1\0",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert!(LongDouble::parse(&[b'9'; LONGEST]).is_none());
    }
}
