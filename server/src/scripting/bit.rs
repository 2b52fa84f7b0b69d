//! The `bit` library (LuaBitOp): operations on 32 bits, whose results are signed numbers.

/// A number's lowest 32 bits: rounded to the nearest integer, ties to the even one, wrapping around.
pub(super) fn bits(number: f64) -> i32 {
    // Adding 2^52 + 2^51 leaves the integer in the lower bits of the mantissa, rounded as the machine rounds.
    let shifted = number + 6_755_399_441_055_744.0;
    shifted.to_bits() as u32 as i32
}

/// A two-operand operation by its name in the library.
pub(super) fn shift(name: &str, value: i32, by: i32) -> i32 {
    let by = by as u32 & 31;
    match name {
        "lshift" => value << by,
        "rshift" => (value as u32 >> by) as i32,
        "arshift" => value >> by,
        "rol" => value.rotate_left(by),
        _ => value.rotate_right(by),
    }
}

/// `bit.tohex`: so many of the lowest digits; upper case if the number is negative.
pub(super) fn hexadecimal(value: i32, digits: i32) -> String {
    let upper = digits < 0;
    let digits = digits.unsigned_abs().min(8) as usize;
    let text = if upper { format!("{:08X}", value as u32) } else { format!("{:08x}", value as u32) };
    text[8 - digits..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_to_32_bits() {
        for (number, expected) in [
            (0.0, 0),
            (-1.0, -1),
            (4_294_967_295.0, -1),
            (4_294_967_296.0, 0),
            (2_147_483_648.0, i32::MIN),
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
        ] {
            assert_eq!(bits(number), expected, "{number}");
        }
        assert_eq!(hexadecimal(-1, 4), "ffff");
        assert_eq!(hexadecimal(255, -8), "000000FF");
    }
}
