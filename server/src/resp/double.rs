//! Doubles as C prints them with `%.17g`: what Redis 7.0 answers for a score, in either protocol.
//!
//! Seventeen significant digits tell any two doubles apart, and are more than the shortest text that does: `0.1` is `0.10000000000000001`.

/// Significant digits.
const DIGITS: i32 = 17;
/// Whole numbers up to here have no more digits than that.
const WHOLE_MAX: f64 = 1e17;

/// Appends the text of a number, or `inf`, `-inf`, `nan`.
pub fn write(out: &mut Vec<u8>, number: f64) {
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX && !(number == 0.0 && number.is_sign_negative()) {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else if number.is_finite() {
        write_finite(out, number);
    } else if number.is_nan() {
        out.extend_from_slice(b"nan");
    } else {
        out.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
    }
}

fn write_finite(out: &mut Vec<u8>, number: f64) {
    // "-1.2345678901234567e-5": a digit, the others behind a point, the exponent.
    let text = format!("{:.*e}", DIGITS as usize - 1, number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let significant = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..significant];
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if !(-4..DIGITS).contains(&exponent) {
        out.push(digits[0]);
        if significant > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
        return;
    }
    let Ok(whole) = usize::try_from(exponent + 1) else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
        return;
    };
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.extend_from_slice(digits);
    } else if significant <= whole {
        out.extend_from_slice(digits);
        out.resize(out.len() + whole - significant, b'0');
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_c() {
        // What `printf("%.17g")` of glibc prints.
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (-0.3, "-0.29999999999999999"),
            (3.0e-5, "3.0000000000000001e-05"),
            (1.0e-4, "0.0001"),
            (0.5, "0.5"),
            (0.012, "0.012"),
            (1e16, "10000000000000000"),
            (99_999_999_999_999_984.0, "99999999999999984"),
            (1e17, "1e+17"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (1.5e300, "1.5000000000000001e+300"),
            (5e-324, "4.9406564584124654e-324"),
            (-2_251_799_813_685_248.5, "-2251799813685248.5"),
            (123_456.789, "123456.789"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            write(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn the_text_is_the_number() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..100_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            let mut out = Vec::new();
            write(&mut out, number);
            let read: f64 = String::from_utf8_lossy(&out).parse().expect("a number");
            assert!(read == number || number.is_nan(), "{number:e}");
        }
    }
}
