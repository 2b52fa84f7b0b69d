//! Floats of 80 bits, as `INCRBYFLOAT` and `HINCRBYFLOAT` need them.
//!
//! Redis computes these in C's `long double`, which on x86-64 has a mantissa of 64 bits and an exponent of 15: `10.5 + 0.1` is
//! `10.6` there and would be `10.59999999999999964` in an `f64`. So the type is made here from integers: parsing (`strtold`), one
//! addition, and printing (`%.17Lf` without trailing zeros), each rounded once, to nearest, ties to even. Redis on a machine with
//! another `long double` differs in the last digits; we don't.
//!
//! The text comes from clients: its length is bounded ([`TEXT_BYTES_MAX`]), and so is the work that follows from it.

use std::cmp::Ordering;
use std::fmt;

/// Longest text that is read as a float, as in Redis.
pub(crate) const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Exponents of the mantissa's lowest bit.
const EXPONENT_MAX: i64 = 16_383 - 63;
const EXPONENT_MIN: i64 = -16_382 - 63;

/// Decimal exponents beyond these over- or underflow whatever the digits are.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;
const DECIMAL_EXPONENT_MIN: i64 = -5_100;

/// `mantissa × 2^exponent` with a sign, or an infinity. The mantissa's top bit is set unless the exponent is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extended {
    negative: bool,
    infinite: bool,
    mantissa: u64,
    exponent: i64,
}

impl Extended {
    pub(crate) const ZERO: Extended =
        Extended { negative: false, infinite: false, mantissa: 0, exponent: EXPONENT_MIN };

    /// Reads what `strtold` reads, the whole of it: no spaces, no NaN, nothing that over- or underflows. Infinities are read.
    pub(crate) fn parse(text: &[u8]) -> Option<Extended> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Extended { infinite: true, negative, ..Extended::ZERO });
        }
        let magnitude = match rest {
            [b'0', b'x' | b'X', hexadecimal @ ..] => Digits::read(hexadecimal, 16)?.hexadecimal(),
            decimal => Digits::read(decimal, 10)?.decimal(),
        };
        magnitude.map(|magnitude| Extended { negative, ..magnitude })
    }

    pub(crate) fn is_infinite(self) -> bool {
        self.infinite
    }

    /// A thousand times the number, rounded up to an integer; `None` if that does not fit.
    pub(crate) fn thousandfold_rounded_up(self) -> Option<i64> {
        if self.infinite {
            return None;
        }
        if self.mantissa == 0 {
            return Some(0);
        }
        let product = round(&Natural::from(u128::from(self.mantissa) * 1000), false, self.exponent)?;
        let mantissa = i128::from(product.mantissa);
        let signed = if self.negative { -mantissa } else { mantissa };
        let whole = match u32::try_from(-product.exponent) {
            // Floor of the opposite: what is shifted out rounds away from it.
            Ok(places) => -(-signed).checked_shr(places).unwrap_or(if signed > 0 { -1 } else { 0 }),
            Err(_) => signed.checked_mul(1i128.checked_shl(product.exponent as u32)?)?,
        };
        i64::try_from(whole).ok()
    }

    /// The sum; `None` if it is infinite or no number.
    pub(crate) fn add(self, other: Extended) -> Option<Extended> {
        if self.infinite || other.infinite {
            return None;
        }
        let exact_order = |x: &Extended| (x.exponent, x.mantissa);
        let (large, small) =
            if exact_order(&self) >= exact_order(&other) { (self, other) } else { (other, self) };
        // 62 bits below the larger mantissa: what falls below them of the smaller one can only break a tie, so one bit stands for it.
        const GUARD_BITS: u32 = 62;
        let left = u128::from(large.mantissa) << GUARD_BITS;
        let shifted = u128::from(small.mantissa) << GUARD_BITS;
        let distance = u32::try_from(large.exponent - small.exponent).unwrap_or(u32::MAX);
        let right = match distance {
            0..128 => (shifted >> distance) | u128::from(shifted & ((1 << distance) - 1) != 0),
            _ => u128::from(shifted != 0),
        };
        let same_sign = large.negative == small.negative;
        let sum = if same_sign { left + right } else { left - right };
        if sum == 0 {
            // Only two negative zeros make a negative zero; neither is ever printed.
            return Some(Extended { negative: same_sign && large.negative, ..Extended::ZERO });
        }
        let magnitude = round(&Natural::from(sum), false, large.exponent - i64::from(GUARD_BITS))?;
        Some(Extended { negative: large.negative, ..magnitude })
    }
}

/// As `%.17Lf` prints it, without the zeros at the end of the fraction (nor the point, nor the sign of zero).
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: u128 = 100_000_000_000_000_000;
        let (whole, fraction) = if self.exponent >= 0 {
            (Natural::from(u128::from(self.mantissa)).shifted_left(self.exponent as u32), 0)
        } else {
            let places = (-self.exponent) as u32;
            let whole = self.mantissa.checked_shr(places).unwrap_or(0);
            let rest = self.mantissa ^ whole.checked_shl(places).unwrap_or(0);
            // Below 2^64 × 2^57; from 122 places on it rounds to nothing.
            let scaled = u128::from(rest) * UNIT;
            let mut fraction = scaled.checked_shr(places).unwrap_or(0);
            let remainder = if places < 128 { scaled & ((1 << places) - 1) } else { 0 };
            let half = if places <= 128 { 1u128 << (places - 1) } else { u128::MAX };
            if remainder > half || remainder == half && fraction % 2 == 1 {
                fraction += 1;
            }
            (Natural::from(u128::from(whole) + fraction / UNIT), fraction % UNIT)
        };
        if self.negative && !(whole.is_zero() && fraction == 0) {
            f.write_str("-")?;
        }
        whole.write_decimal(f)?;
        if fraction != 0 {
            let digits = format!("{fraction:017}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// Digits as read: `significand × base^scale × (2 or 10)^exponent`.
struct Digits {
    significand: Natural,
    /// Minus the number of digits after the point.
    scale: i64,
    exponent: i64,
    digit_count: i64,
}

impl Digits {
    fn read(text: &[u8], base: u32) -> Option<Digits> {
        let marker = if base == 16 { b'p' } else { b'e' };
        let value = |byte: u8| char::from(byte).to_digit(base);
        let mut significand = Natural::ZERO;
        let (mut scale, mut digit_count, mut any, mut point) = (0, 0, false, false);
        // Digits are gathered while they fit 32 bits: a multiplication goes through the whole of a long number.
        let (mut factor, mut summand) = (1u32, 0u32);
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            if let Some(digit) = value(*byte) {
                any = true;
                scale -= i64::from(point);
                (factor, summand) = (factor * base, summand * base + digit);
                if factor > u32::MAX / base {
                    significand.multiply_add(factor, summand);
                    (factor, summand) = (1, 0);
                }
                digit_count += i64::from(digit_count > 0 || digit > 0);
            } else if *byte == b'.' && !point {
                point = true;
            } else {
                break;
            }
            rest = after;
        }
        significand.multiply_add(factor, summand);
        let exponent = match rest {
            [] => 0,
            [byte, exponent @ ..] if byte.eq_ignore_ascii_case(&marker) => read_exponent(exponent)?,
            _ => return None,
        };
        any.then_some(Digits { significand, scale, exponent, digit_count })
    }

    fn hexadecimal(self) -> Option<Extended> {
        if self.significand.is_zero() {
            return Some(Extended::ZERO);
        }
        round(&self.significand, false, self.scale * 4 + self.exponent)
    }

    fn decimal(self) -> Option<Extended> {
        let scale = self.scale + self.exponent;
        if self.significand.is_zero() {
            return Some(Extended::ZERO);
        }
        let magnitude = scale + self.digit_count;
        if !(DECIMAL_EXPONENT_MIN..=DECIMAL_EXPONENT_MAX).contains(&magnitude) {
            return None;
        }
        if scale >= 0 {
            let mut number = self.significand;
            number.multiply_power_of_ten(scale);
            return round(&number, false, 0);
        }
        let mut divisor = Natural::from(1);
        divisor.multiply_power_of_ten(-scale);
        // A quotient of 66 to 68 bits, and whether anything is left.
        const QUOTIENT_BITS: i64 = 67;
        let shift = QUOTIENT_BITS - (self.significand.bit_length() - divisor.bit_length());
        let (dividend, divisor) = if shift >= 0 {
            (self.significand.shifted_left(shift as u32), divisor)
        } else {
            (self.significand, divisor.shifted_left(-shift as u32))
        };
        let (quotient, inexact) = dividend.divide(&divisor, QUOTIENT_BITS as u32 + 1);
        round(&Natural::from(quotient), inexact, -shift)
    }
}

/// An exponent's digits; those too large for anything come back as some number that is too large.
fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = (number * 10 + i64::from(digit - b'0')).min(1 << 40);
    }
    Some(if negative { -number } else { number })
}

/// Rounds `number × 2^exponent` (plus something less than its lowest bit, if `inexact`) to a mantissa of 64 bits. `None` if it is
/// too large, or rounds to zero without being zero.
fn round(number: &Natural, inexact: bool, exponent: i64) -> Option<Extended> {
    if number.is_zero() {
        return None;
    }
    let target = (exponent + number.bit_length() - 64).max(EXPONENT_MIN);
    if target > EXPONENT_MAX {
        return None;
    }
    let drop = target - exponent;
    let mut result = Extended { exponent: target, ..Extended::ZERO };
    if drop <= 0 {
        result.mantissa = number.shifted_left(u32::try_from(-drop).ok()?).low_u64();
        return Some(result);
    }
    let (kept, half, rest) = number.split(drop);
    result.mantissa = kept;
    if half && (rest || inexact || kept % 2 == 1) {
        match kept.checked_add(1) {
            Some(mantissa) => result.mantissa = mantissa,
            None => {
                result.mantissa = 1 << 63;
                result.exponent += 1;
            }
        }
    }
    (result.mantissa != 0 && result.exponent <= EXPONENT_MAX).then_some(result)
}

/// A natural number of any size, the lowest 32 bits first, no zeros at the top.
#[derive(Clone, Debug)]
struct Natural(Vec<u32>);

impl From<u128> for Natural {
    fn from(number: u128) -> Natural {
        let mut natural = Natural((0..4).map(|limb| (number >> (32 * limb)) as u32).collect());
        natural.trim();
        natural
    }
}

impl Natural {
    const ZERO: Natural = Natural(Vec::new());

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bit_length(&self) -> i64 {
        match self.0.last() {
            None => 0,
            Some(top) => self.0.len() as i64 * 32 - i64::from(top.leading_zeros()),
        }
    }

    fn low_u64(&self) -> u64 {
        let limb = |index| u64::from(self.0.get(index).copied().unwrap_or(0));
        limb(0) | limb(1) << 32
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn multiply_power_of_ten(&mut self, power: i64) {
        for _ in 0..power / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        for _ in 0..power % 9 {
            self.multiply_add(10, 0);
        }
    }

    fn shifted_left(&self, bits: u32) -> Natural {
        if self.is_zero() {
            return Natural::ZERO;
        }
        let mut limbs = vec![0; bits as usize / 32];
        let mut carry = 0u64;
        for &limb in &self.0 {
            carry |= u64::from(limb) << (bits % 32);
            limbs.push(carry as u32);
            carry >>= 32;
        }
        limbs.push(carry as u32);
        let mut natural = Natural(limbs);
        natural.trim();
        natural
    }

    /// Cuts off the lowest `bits` (at least one): what remains (at most 64 bits do), the highest bit cut, and whether any other
    /// bit cut was set.
    fn split(&self, bits: i64) -> (u64, bool, bool) {
        let bit = |index: i64| {
            let limb = usize::try_from(index / 32).ok().and_then(|limb| self.0.get(limb));
            limb.is_some_and(|limb| limb >> (index % 32) & 1 == 1)
        };
        let kept = (bits..self.bit_length()).rev().fold(0, |kept, index| kept << 1 | u64::from(bit(index)));
        let rest_bits = bits - 1;
        let whole_limbs = usize::try_from(rest_bits / 32).unwrap_or(usize::MAX).min(self.0.len());
        let rest =
            self.0[..whole_limbs].iter().any(|&limb| limb != 0) || (rest_bits / 32 * 32..rest_bits).any(bit);
        (kept, bit(rest_bits), rest)
    }

    fn compare(&self, other: &Natural) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes away a number that is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = 0i64;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let difference = i64::from(*limb) - i64::from(other.0.get(index).copied().unwrap_or(0)) + borrow;
            *limb = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    /// The quotient, which must be below 2^`bits`, and whether there is a remainder.
    fn divide(mut self, divisor: &Natural, bits: u32) -> (u128, bool) {
        let mut quotient = 0;
        for bit in (0..bits).rev() {
            quotient <<= 1;
            let part = divisor.shifted_left(bit);
            if self.compare(&part) != Ordering::Less {
                self.subtract(&part);
                quotient |= 1;
            }
        }
        (quotient, !self.is_zero())
    }

    fn write_decimal(mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = Vec::new();
        while !self.is_zero() {
            let mut remainder = 0u64;
            for limb in self.0.iter_mut().rev() {
                let part = remainder << 32 | u64::from(*limb);
                *limb = (part / 1_000_000_000) as u32;
                remainder = part % 1_000_000_000;
            }
            self.trim();
            groups.push(remainder);
        }
        write!(f, "{}", groups.pop().unwrap_or(0))?;
        groups.iter().rev().try_for_each(|group| write!(f, "{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> Option<String> {
        let (left, right) = (Extended::parse(left.as_bytes())?, Extended::parse(right.as_bytes())?);
        Some(left.add(right)?.to_string())
    }

    #[test]
    fn sums_print_as_in_redis() {
        // Answers of redis-server 7.0.15 on x86-64.
        for (left, right, result) in SUMS {
            assert_eq!(sum(left, right).as_deref(), *result, "{left} + {right}");
        }
    }

    const SUMS: &[(&str, &str, Option<&str>)] = &[
        ("10.5", "0.1", Some("10.6")),
        ("5.0e3", "200", Some("5200")),
        ("-0", "-0", Some("0")),
        ("1", "1e-17", Some("1.00000000000000001")),
        ("0", "1e-18", Some("0")),
        ("0", "-1e-18", Some("0")),
        ("0", "0x1.8p1", Some("3")),
        ("0", "0x.8", Some("0.5")),
        ("0", "+1", Some("1")),
        ("0", ".5", Some("0.5")),
        ("0", "5.", Some("5")),
        ("0", "inf", None),
        ("0", "nan", None),
        ("0", "1e5000", None),
        ("0", "1e-5000", None),
        ("0", "1e4933", None),
        ("0", " 1", None),
        ("0", "1 ", None),
        ("0", "", None),
        ("0", ".", None),
        ("0", "e5", None),
        ("0", "1e", None),
        ("0", "1e+", None),
        ("0", "0x", None),
        ("18446744073709551615", "1", Some("18446744073709551616")),
        ("18446744073709551616", "1", Some("18446744073709551616")),
        ("18446744073709551618", "1", Some("18446744073709551620")),
    ];

    #[test]
    fn seconds_are_milliseconds_rounded_up() {
        for (text, ms) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1", Some(1000)),
            ("0.0001", Some(1)),
            ("-0.0001", Some(0)),
            ("-0.0011", Some(-1)),
            ("1.0005", Some(1001)),
            ("1e-4940", Some(1)),
            ("-1e-4940", Some(0)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("9223372036854776", None),
            ("-9223372036854776", None),
            ("1e4000", None),
            ("inf", None),
        ] {
            let number = Extended::parse(text.as_bytes()).expect(text);
            assert_eq!(number.thousandfold_rounded_up(), ms, "{text}");
        }
    }

    #[test]
    fn the_largest_text_takes_bounded_work() {
        let digits = "9".repeat(TEXT_BYTES_MAX - 6);
        assert!(Extended::parse(format!("{digits}e-5000").as_bytes()).is_some());
        assert!(Extended::parse(format!("0.{digits}").as_bytes()).is_some());
        assert!(Extended::parse("9".repeat(TEXT_BYTES_MAX + 1).as_bytes()).is_none());
    }
}
