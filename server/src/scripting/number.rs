//! Numbers as C prints them: `%.14g`, which is how Lua 5.1 turns a number into text, and `%.17g`, how Redis passes one to a command.

/// `%.<precision>g`, as C prints it.
pub(super) fn general(number: f64, precision: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    // Whole and of few digits enough that no precision in use rounds it.
    if precision >= 14 && number.abs() < 1e14 && number.trunc() == number {
        return (number as i64).to_string();
    }
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", precision - 1, number);
    // The formatter always writes an exponent.
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    without_zeros(&format!("{number:.decimals$}")).to_owned()
}

/// A number as Lua 5.1's `tostring` has it.
pub(super) fn lua_text(number: f64) -> String {
    general(number, 14)
}

/// Without the zeros at the end of its fraction.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The number at the start of `text` as C's `strtod` reads it, and how many bytes that took; `None` if there is none.
pub(super) fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let rest = text.get(sign..).unwrap_or_default();
    let signed = |number: f64| if negative { -number } else { number };
    let starts = |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"infinity") {
        return Some((signed(f64::INFINITY), sign + 8));
    }
    if starts(b"inf") {
        return Some((signed(f64::INFINITY), sign + 3));
    }
    if starts(b"nan") {
        return Some((signed(f64::NAN), sign + 3));
    }
    if starts(b"0x")
        && let Some((number, length)) = hexadecimal(rest.get(2..).unwrap_or_default())
    {
        return Some((signed(number), sign + 2 + length));
    }
    let digits = |from: usize| rest.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut length = whole;
    let mut some = whole > 0;
    if rest.get(length) == Some(&b'.') {
        let fraction = digits(length + 1);
        if some || fraction > 0 {
            length += 1 + fraction;
            some = true;
        }
    }
    if !some {
        return None;
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'-' | b'+')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    // Digits, a point and an exponent: all of them ASCII, and what Rust reads as well.
    let number: f64 = std::str::from_utf8(rest.get(..length)?).ok()?.parse().ok()?;
    Some((signed(number), sign + length))
}

/// Hexadecimal digits with a fraction and a binary exponent, after their `0x`.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let digit = |at: usize| text.get(at).and_then(|&byte| (byte as char).to_digit(16));
    let (mut number, mut at, mut any) = (0.0, 0, false);
    while let Some(value) = digit(at) {
        number = number * 16.0 + f64::from(value);
        (at, any) = (at + 1, true);
    }
    if text.get(at) == Some(&b'.') && (any || digit(at + 1).is_some()) {
        let mut scale = 1.0 / 16.0;
        at += 1;
        while let Some(value) = digit(at) {
            number += f64::from(value) * scale;
            scale /= 16.0;
            (at, any) = (at + 1, true);
        }
    }
    if !any {
        return None;
    }
    if matches!(text.get(at), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let count = text.iter().skip(at + 1 + sign).take_while(|byte| byte.is_ascii_digit()).count();
        if count > 0 {
            let digits = text.get(at + 1 + sign..at + 1 + sign + count).unwrap_or_default();
            let power = digits.iter().fold(0_i32, |power, byte| {
                power.saturating_mul(10).saturating_add(i32::from(byte - b'0')).min(1 << 20)
            });
            number *= 2_f64.powi(if text.get(at + 1) == Some(&b'-') { -power } else { power });
            at += 1 + sign + count;
        }
    }
    Some((number, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_c_prints_them() {
        for (number, text) in [
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.3"),
            (1e14, "1e+14"),
            (1e15, "1e+15"),
            (99_999_999_999_999.0, "99999999999999"),
            (9_007_199_254_740_992.0, "9.007199254741e+15"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(lua_text(number), text);
        }
        assert_eq!(general(0.1, 17), "0.10000000000000001");
        assert_eq!(general(1e17, 17), "1e+17");
        assert_eq!(general(12_345.678, 3), "1.23e+04");
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, number, length) in [
            ("12x", 12.0, 2),
            ("-1.5e3,", -1500.0, 6),
            ("1e", 1.0, 1),
            (".5", 0.5, 2),
            ("0x1F", 31.0, 4),
            ("0x1.8p1", 3.0, 7),
            ("0x", 0.0, 1),
            ("-inf", f64::NEG_INFINITY, 4),
            ("012", 12.0, 3),
        ] {
            assert_eq!(parse_prefix(text.as_bytes()), Some((number, length)), "{text}");
        }
        for text in ["", "-", ".", "e5", "x"] {
            assert_eq!(parse_prefix(text.as_bytes()), None, "{text}");
        }
    }
}
