//! Registers of six bits, back to back, low bits first.
//!
//! Callers have checked that the sketch is dense, and so as long as it must be; an index is below the number of registers.

use super::HEADER_BYTES;

const BITS: usize = 6;
const REGISTER_MAX: u16 = (1 << BITS) - 1;

/// Where a register begins: the byte, and the bit in it.
fn position(index: usize) -> (usize, usize) {
    (HEADER_BYTES + index * BITS / 8, index * BITS % 8)
}

/// A register's value.
pub fn get(sketch: &[u8], index: usize) -> u8 {
    let (byte, bit) = position(index);
    // The last register ends with the last byte.
    let word = u16::from_le_bytes([sketch[byte], sketch.get(byte + 1).copied().unwrap_or(0)]);
    (word >> bit & REGISTER_MAX) as u8
}

/// The bytes that make a register hold a value, and where they belong; the second byte may be none.
pub fn patch(sketch: &[u8], index: usize, value: u8) -> (usize, [u8; 2], usize) {
    let (byte, bit) = position(index);
    let next = sketch.get(byte + 1).copied();
    let word = u16::from_le_bytes([sketch[byte], next.unwrap_or(0)]);
    let word = word & !(REGISTER_MAX << bit) | (u16::from(value) & REGISTER_MAX) << bit;
    (byte, word.to_le_bytes(), if next.is_some() { 2 } else { 1 })
}

/// Raises a register to a value; whether it was lower.
pub fn raise(sketch: &mut [u8], index: usize, value: u8) -> bool {
    let lower = get(sketch, index) < value;
    if lower {
        let (at, bytes, length) = patch(sketch, index, value);
        sketch[at..at + length].copy_from_slice(&bytes[..length]);
    }
    lower
}
