//! Registers as runs of equal ones.
//!
//! ```text
//! 00llllll            zero, l + 1 registers      (up to 64)
//! 01llllll llllllll   zero, l + 1 registers      (up to 16,384; high bits first)
//! 1vvvvvll            v + 1,  l + 1 registers    (values up to 32, up to 4 registers)
//! ```
//!
//! The runs are to make up all registers. A long run at the end whose second byte is missing is read as if that were zero, as in Redis, whose
//! strings end with one.

use super::{CARDINALITY, DENSE, DENSE_BYTES, HEADER_BYTES, REGISTERS, SketchError, dense, header};
use smallvec::SmallVec;
use std::ops::Range;

const VALUE: u8 = 0x80;
const LONG: u8 = 0x40;
/// The longest run that has a byte.
const SHORT_MAX: usize = 64;
/// The highest value of a run.
const VALUE_MAX: u8 = 32;
/// The longest run of a value.
const VALUE_RUN_MAX: usize = 4;
/// How many runs a change looks through for ones that it can join, from the one before.
const JOINED_MAX: usize = 5;

/// A run of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first register.
    pub first: usize,
    /// How many there are.
    pub length: usize,
    /// What each of them holds.
    pub value: u8,
    /// Bytes that it takes.
    bytes: usize,
}

impl Run {
    /// The registers' indexes.
    pub fn registers(&self) -> Range<usize> {
        self.first..self.first + self.length
    }

    fn is_value(&self) -> bool {
        self.value > 0
    }
}

/// The run at a position that is inside the sketch.
fn run_at(sketch: &[u8], at: usize, first: usize) -> Run {
    let low = usize::from(sketch[at] & 0x3F);
    match sketch[at] {
        byte if byte & VALUE != 0 => {
            Run { first, length: usize::from(byte & 3) + 1, value: (byte >> 2 & 31) + 1, bytes: 1 }
        }
        byte if byte & LONG != 0 => {
            let next = sketch.get(at + 1).copied().unwrap_or(0);
            Run { first, length: (low << 8 | usize::from(next)) + 1, value: 0, bytes: 2 }
        }
        _ => Run { first, length: low + 1, value: 0, bytes: 1 },
    }
}

/// The one byte of a run of a value.
fn value_byte(value: u8, length: usize) -> u8 {
    VALUE | (value - 1) << 2 | (length - 1) as u8
}

fn put_value(out: &mut SmallVec<[u8; 8]>, value: u8, length: usize) {
    if length > 0 {
        out.push(value_byte(value, length));
    }
}

fn put_zeros(out: &mut SmallVec<[u8; 8]>, length: usize) {
    match length {
        0 => {}
        1..=SHORT_MAX => out.push((length - 1) as u8),
        _ => {
            let low = length - 1;
            out.extend_from_slice(&[LONG | (low >> 8) as u8, low as u8]);
        }
    }
}

/// Appends that all registers are zero.
pub(super) fn put_empty(out: &mut Vec<u8>) {
    let mut run = SmallVec::new();
    put_zeros(&mut run, REGISTERS);
    out.extend_from_slice(&run);
}

/// Calls `each` with the runs of a sparse sketch, in order.
///
/// # Errors
/// [`SketchError::Corrupt`] if they are more or fewer registers than there are; some runs may have been seen by then.
pub fn for_each_run(sketch: &[u8], each: &mut dyn FnMut(Run)) -> Result<(), SketchError> {
    let (mut at, mut first) = (HEADER_BYTES, 0);
    while at < sketch.len() {
        let run = run_at(sketch, at, first);
        first += run.length;
        if first > REGISTERS {
            return Err(SketchError::Corrupt);
        }
        at += run.bytes;
        each(run);
    }
    if first == REGISTERS { Ok(()) } else { Err(SketchError::Corrupt) }
}

/// The runs in words, as Redis puts them: `Z:` and `z:` long and short runs of zeros, `v:` a value and how often.
pub fn describe(sketch: &[u8]) -> String {
    let mut words = Vec::new();
    let mut at = HEADER_BYTES;
    while at < sketch.len() {
        let run = run_at(sketch, at, 0);
        words.push(match run.bytes {
            1 if run.is_value() => format!("v:{},{}", run.value, run.length),
            1 => format!("z:{}", run.length),
            _ => format!("Z:{}", run.length),
        });
        at += run.bytes;
    }
    words.join(" ")
}

/// Makes a sparse sketch a dense one.
///
/// # Errors
/// [`SketchError::Corrupt`]; the sketch is as before then.
pub fn to_dense(sketch: &mut Vec<u8>) -> Result<(), SketchError> {
    let mut cardinality = [0; 8];
    cardinality.copy_from_slice(&sketch[CARDINALITY]);
    let mut whole = header(DENSE, cardinality);
    // Three bytes that nobody uses are kept, too.
    whole[5..8].copy_from_slice(&sketch[5..8]);
    whole.resize(DENSE_BYTES, 0);
    for_each_run(sketch, &mut |run| {
        if run.is_value() {
            for index in run.registers() {
                dense::raise(&mut whole, index, run.value);
            }
        }
    })?;
    *sketch = whole;
    Ok(())
}

/// Raises a register of a sparse sketch to a value; whether it was lower. The sketch may become dense: if the value is too high for a run, or it
/// would be longer than `bytes_max` otherwise.
///
/// # Errors
/// [`SketchError::Corrupt`], if that is noticed; the sketch is as before then.
pub fn raise(sketch: &mut Vec<u8>, index: usize, value: u8, bytes_max: usize) -> Result<bool, SketchError> {
    if value > VALUE_MAX {
        return raise_in_dense(sketch, index, value);
    }
    let (mut before, mut at, mut first) = (HEADER_BYTES, HEADER_BYTES, 0);
    let run = loop {
        if at >= sketch.len() {
            return Err(SketchError::Corrupt);
        }
        let run = run_at(sketch, at, first);
        if index < first + run.length {
            break run;
        }
        (before, at, first) = (at, at + run.bytes, first + run.length);
    };
    if run.value >= value {
        return Ok(false);
    }
    // The run without the register, and the register between its parts.
    let mut parts: SmallVec<[u8; 8]> = SmallVec::new();
    let (head, tail) = (index - first, first + run.length - 1 - index);
    if run.is_value() {
        put_value(&mut parts, run.value, head);
        put_value(&mut parts, value, 1);
        put_value(&mut parts, run.value, tail);
    } else {
        put_zeros(&mut parts, head);
        put_value(&mut parts, value, 1);
        put_zeros(&mut parts, tail);
    }
    if parts.len() > run.bytes && sketch.len() + parts.len() - run.bytes > bytes_max {
        return raise_in_dense(sketch, index, value);
    }
    // A byte that was missing at the end is still missing.
    let length = sketch.len() + parts.len() - run.bytes;
    let end = sketch.len().min(at + run.bytes);
    sketch.splice(at..end, parts);
    sketch.truncate(length);
    join(sketch, before);
    super::forget_cardinality(sketch);
    Ok(true)
}

fn raise_in_dense(sketch: &mut Vec<u8>, index: usize, value: u8) -> Result<bool, SketchError> {
    to_dense(sketch)?;
    Ok(dense::raise(sketch, index, value))
}

/// Joins runs of the same value, among those next to a change.
fn join(sketch: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_MAX {
        if at >= sketch.len() {
            return;
        }
        let run = run_at(sketch, at, 0);
        if run.is_value() && at + 1 < sketch.len() {
            let next = run_at(sketch, at + 1, 0);
            let length = run.length + next.length;
            if next.value == run.value && length <= VALUE_RUN_MAX {
                sketch[at] = value_byte(run.value, length);
                sketch.remove(at + 1);
                // And perhaps with the one behind.
                continue;
            }
        }
        at += run.bytes;
    }
}
