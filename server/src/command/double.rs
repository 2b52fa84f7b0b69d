//! Doubles as C's `strtod` reads them, which is how Redis reads scores and weights, and the ends of ranges.
//!
//! Decimal and hexadecimal, infinities, not-a-number. The text comes from clients; the work is linear in its length.

use super::args::c_string;

/// What `strtod` makes of the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Read {
    value: f64,
    /// Bytes that belong to it; 0 if it begins with no number.
    used: usize,
    /// Whether it is too large, or so small that it has become zero.
    out_of_range: bool,
}

const NOTHING: Read = Read { value: 0.0, used: 0, out_of_range: false };

/// Reads a score or weight: the whole text, no space before it, in range. Not-a-number is none.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    if text.first().is_none_or(|&byte| is_space(byte)) {
        return None;
    }
    let read = strtod(text);
    (read.used == text.len() && !read.out_of_range && !read.value.is_nan()).then_some(read.value)
}

/// Reads the end of a range of scores: up to the first zero byte; nothing at all is zero, what is out of range infinite or zero.
pub(crate) fn parse_end(text: &[u8]) -> Option<f64> {
    let text = c_string(text);
    let read = strtod(text);
    (read.used == text.len() && !read.value.is_nan()).then_some(read.value)
}

/// Reads a weight that elements are sorted by: up to the first zero byte; nothing at all is zero.
pub(crate) fn parse_weight(text: &[u8]) -> Option<f64> {
    let text = c_string(text);
    let read = strtod(text);
    // What is too small to be kept with all its digits is out of range, too.
    let tiny = read.value != 0.0 && read.value.abs() < f64::MIN_POSITIVE;
    (read.used == text.len() && !read.out_of_range && !tiny && !read.value.is_nan()).then_some(read.value)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn strtod(text: &[u8]) -> Read {
    let spaces = text.iter().take_while(|&&byte| is_space(byte)).count();
    let (negative, sign) = match text.get(spaces) {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let start = spaces + sign;
    let mut read = magnitude(&text[start..]);
    if read.used > 0 {
        read.used += start;
        read.value = if negative { -read.value } else { read.value };
    }
    read
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn magnitude(text: &[u8]) -> Read {
    if starts_with(text, "infinity") {
        return Read { value: f64::INFINITY, used: 8, ..NOTHING };
    }
    if starts_with(text, "inf") {
        return Read { value: f64::INFINITY, used: 3, ..NOTHING };
    }
    if starts_with(text, "nan") {
        let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let used = match text[3..].split_first() {
            Some((b'(', rest)) => {
                let length = rest.iter().take_while(inside).count();
                if rest.get(length) == Some(&b')') { 5 + length } else { 3 }
            }
            _ => 3,
        };
        return Read { value: f64::NAN, used, ..NOTHING };
    }
    if starts_with(text, "0x") {
        let read = hexadecimal(&text[2..]);
        if read.used > 0 {
            return Read { used: read.used + 2, ..read };
        }
    }
    decimal(text)
}

/// The length of an exponent with its letter; 0 if there is none.
fn exponent_bytes(text: &[u8], letter: u8) -> usize {
    let Some((first, rest)) = text.split_first() else { return 0 };
    if !first.eq_ignore_ascii_case(&letter) {
        return 0;
    }
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    match rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// The length of digits with at most one point among them, and how many are digits.
fn digits(text: &[u8], is_digit: impl Fn(u8) -> bool) -> (usize, usize) {
    let (mut used, mut count, mut point) = (0, 0, false);
    for &byte in text {
        match byte {
            b'.' if !point => point = true,
            byte if is_digit(byte) => count += 1,
            _ => break,
        }
        used += 1;
    }
    (used, count)
}

fn decimal(text: &[u8]) -> Read {
    let (length, count) = digits(text, |byte| byte.is_ascii_digit());
    if count == 0 {
        return NOTHING;
    }
    let used = length + exponent_bytes(&text[length..], b'e');
    // Such a text is one for Rust, too, which also rounds to the nearest.
    let parsed = std::str::from_utf8(&text[..used]).ok().and_then(|text| text.parse().ok());
    let Some(value) = parsed else { return NOTHING };
    let is_zero = !text[..length].iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Read { value, used, out_of_range: f64::is_infinite(value) || value == 0.0 && !is_zero }
}

/// What follows `0x`.
fn hexadecimal(text: &[u8]) -> Read {
    let (length, count) = digits(text, |byte| byte.is_ascii_hexdigit());
    if count == 0 {
        return NOTHING;
    }
    let exponent_length = exponent_bytes(&text[length..], b'p');
    let mut exponent = exponent_of(text[length..length + exponent_length].get(1..).unwrap_or_default());
    let (mut mantissa, mut rest, mut point) = (0u64, false, false);
    for &byte in &text[..length] {
        let Some(digit) = char::from(byte).to_digit(16) else {
            point = true;
            continue;
        };
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= 4 * i64::from(point);
        } else {
            rest |= digit != 0;
            exponent += 4 * i64::from(!point);
        }
    }
    let value = round(mantissa, rest, exponent);
    let out_of_range = value.is_infinite() || value == 0.0 && mantissa != 0;
    Read { value, used: length + exponent_length, out_of_range }
}

/// The number of an exponent; one that is too large for anything comes back as some number that is.
fn exponent_of(text: &[u8]) -> i64 {
    let magnitude = text
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0i64, |number, byte| (number * 10 + i64::from(byte - b'0')).min(1 << 40));
    if text.first() == Some(&b'-') { -magnitude } else { magnitude }
}

/// `mantissa × 2^exponent`, and something less than its lowest bit if there is a rest; to the nearest, ties to even.
fn round(mantissa: u64, rest: bool, exponent: i64) -> f64 {
    const MANTISSA_BITS: i64 = 53;
    const LEAST_EXPONENT: i64 = -1022;
    if mantissa == 0 {
        return 0.0;
    }
    let shift = mantissa.leading_zeros();
    let mantissa = mantissa << shift;
    // Of the top bit.
    let top = exponent - i64::from(shift) + 63;
    if top > 1023 {
        return f64::INFINITY;
    }
    let kept_bits = MANTISSA_BITS - (LEAST_EXPONENT - top).max(0);
    if kept_bits < 0 {
        return 0.0;
    }
    // From 11 to 64 bits fall away.
    let dropped = 64 - kept_bits as u32;
    let kept = mantissa.checked_shr(dropped).unwrap_or(0);
    let half = 1u64 << (dropped - 1);
    let lost = mantissa & (half | (half - 1));
    let up = lost > half || lost == half && (rest || kept & 1 == 1);
    let biased = (top.max(LEAST_EXPONENT) - LEAST_EXPONENT) as u64;
    // The top bit of a normal mantissa adds one to the exponent, and so does a carry.
    f64::from_bits((biased << 52) + kept + u64::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        for (text, number) in [
            ("0", Some(0.0)),
            ("1.5", Some(1.5)),
            ("+5", Some(5.0)),
            ("-5.", Some(-5.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("1E+3", Some(1000.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("nan", None),
            ("nan(1)", None),
            ("", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("1e+", None),
            (" 1", None),
            ("1 ", None),
            ("1\0", None),
            ("1_0", None),
            ("1e400", None),
            ("1e-400", None),
            ("1e99999999999999999999", None),
            ("0e99999999999999999999", Some(0.0)),
            ("4e-324", Some(5e-324)),
            ("0x", None),
            ("0x.", None),
            ("0x.p1", None),
            ("0x10", Some(16.0)),
            ("0X.8", Some(0.5)),
            ("0x1.8p1", Some(3.0)),
            ("-0x1p-1074", Some(-5e-324)),
            ("0x1p-1075", None),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1p1023", Some(2.0_f64.powi(1023))),
            ("0x1p1024", None),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1.fffffffffffff7p1023", Some(f64::MAX)),
            ("0x0.8p-1021", Some(f64::MIN_POSITIVE)),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.00000000000018p0", Some(1.0 + 2.0 * f64::EPSILON)),
            ("0x1.000000000000080000000001p0", Some(1.0 + f64::EPSILON)),
            ("0x100000000000000000000", Some(1_208_925_819_614_629_174_706_176.0)),
            ("0x1p99999999999999999999", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn ends_are_read_more_freely() {
        assert_eq!(parse_end(b""), Some(0.0));
        assert_eq!(parse_end(b" \t1"), Some(1.0));
        assert_eq!(parse_end(b"1e400"), Some(f64::INFINITY));
        assert_eq!(parse_end(b"-1e-400"), Some(0.0));
        assert_eq!(parse_end(b"1\0x"), Some(1.0));
        assert_eq!(parse_end(b" "), None);
        assert_eq!(parse_end(b"nan"), None);
        assert_eq!(parse_end(b"1x"), None);
    }
}
