//! HyperLogLog: about how many distinct elements were seen, in at most 12 KiB.
//!
//! A sketch is a string, and its bytes are Redis's, so that it can be read, copied and taken elsewhere as any string can:
//!
//! ```text
//! "HYLL" │ encoding u8 │ 3 unused │ cardinality u64, little-endian; top bit: out of date │ registers
//!   encoding 0, dense:  16,384 registers of six bits, low bits first ([dense])
//!   encoding 1, sparse: runs of equal registers ([sparse])
//! ```
//!
//! An element is hashed; 14 bits choose a register, and the position of the first one among the others is what the register keeps the
//! highest of. The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284).
//!
//! The bytes come from clients, who may have set them to anything: what is no sketch is an error, never a panic. Where Redis's own code decides
//! which of several encodings of the same registers is made (which runs are merged, when a sketch becomes dense), so does this.

pub mod dense;
mod estimate;
mod murmur;
pub mod sparse;

pub use estimate::estimate;

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// How many registers a sketch has.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash beyond those: a register holds at most one more.
const RANK_BITS: u32 = 64 - INDEX_BITS;
/// Bytes before the registers.
pub const HEADER_BYTES: usize = 16;
/// Length of a dense sketch.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const CARDINALITY: std::ops::Range<usize> = 8..16;
/// Set in the last byte of the cardinality when it is out of date.
const OUT_OF_DATE: u8 = 0x80;

/// Why bytes are not a sketch, or can't be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// The header says so.
    #[error("WRONGTYPE Key is not a valid HyperLogLog string value.")]
    NotASketch,
    /// The header is right, the registers are not.
    #[error("INVALIDOBJ Corrupted HLL object detected")]
    Corrupt,
}

/// How a sketch keeps its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// As runs.
    Sparse,
}

/// One byte for each register.
pub type Registers = [u8; REGISTERS];

/// Looks at the header of a string.
///
/// # Errors
/// [`SketchError::NotASketch`].
pub fn encoding(bytes: &[u8]) -> Result<Encoding, SketchError> {
    match bytes {
        _ if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) => Err(SketchError::NotASketch),
        _ if bytes[ENCODING] == SPARSE => Ok(Encoding::Sparse),
        _ if bytes[ENCODING] == DENSE && bytes.len() == DENSE_BYTES => Ok(Encoding::Dense),
        _ => Err(SketchError::NotASketch),
    }
}

/// An empty sketch.
pub fn empty() -> Vec<u8> {
    let mut bytes = header(SPARSE, [0; 8]);
    sparse::put_empty(&mut bytes);
    bytes
}

fn header(encoding: u8, cardinality: [u8; 8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[encoding, 0, 0, 0]);
    bytes.extend_from_slice(&cardinality);
    bytes
}

/// The register that an element chooses, and the value that it has at least then.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur::hash(element);
    let index = hash as usize & (REGISTERS - 1);
    // A one behind the last bit ends the search.
    let rank = (hash >> INDEX_BITS | 1 << RANK_BITS).trailing_zeros() + 1;
    (index, rank as u8)
}

/// The cardinality that a checked sketch carries, if it is up to date.
pub fn cached(sketch: &[u8]) -> Option<u64> {
    let bytes: [u8; 8] = sketch.get(CARDINALITY)?.try_into().ok()?;
    (bytes[7] & OUT_OF_DATE == 0).then_some(u64::from_le_bytes(bytes))
}

/// The bytes of a cardinality to be carried, and where they belong.
pub fn cache(cardinality: u64) -> (usize, [u8; 8]) {
    (CARDINALITY.start, cardinality.to_le_bytes())
}

/// The byte of a checked sketch that says that the cardinality is out of date, and where it belongs.
pub fn out_of_date(sketch: &[u8]) -> (usize, u8) {
    let last = CARDINALITY.end - 1;
    (last, sketch.get(last).copied().unwrap_or(0) | OUT_OF_DATE)
}

/// As [`out_of_date`], in place.
pub fn forget_cardinality(sketch: &mut [u8]) {
    let (at, byte) = out_of_date(sketch);
    if let Some(last) = sketch.get_mut(at) {
        *last = byte;
    }
}

/// Raises registers to those of a sketch.
///
/// # Errors
/// [`SketchError`].
pub fn merge(into: &mut Registers, sketch: &[u8]) -> Result<(), SketchError> {
    match encoding(sketch)? {
        Encoding::Dense => {
            for (index, register) in into.iter_mut().enumerate() {
                *register = (*register).max(dense::get(sketch, index));
            }
            Ok(())
        }
        Encoding::Sparse => sparse::for_each_run(sketch, &mut |run| {
            if run.value > 0 {
                into[run.registers()].iter_mut().for_each(|register| *register = (*register).max(run.value));
            }
        }),
    }
}

/// How many distinct elements a sketch has seen, about.
///
/// # Errors
/// [`SketchError`].
pub fn count(sketch: &[u8]) -> Result<u64, SketchError> {
    let mut histogram = [0; 64];
    match encoding(sketch)? {
        Encoding::Dense => {
            for index in 0..REGISTERS {
                histogram[usize::from(dense::get(sketch, index))] += 1;
            }
        }
        Encoding::Sparse => {
            sparse::for_each_run(sketch, &mut |run| histogram[usize::from(run.value)] += run.length)?;
        }
    }
    Ok(estimate(&histogram))
}

/// As [`count`], of registers.
pub fn count_registers(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    registers.iter().for_each(|register| histogram[usize::from(register & 63)] += 1);
    estimate(&histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(sketch: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> bool {
        let (index, value) = place(element);
        match encoding(sketch).expect("a sketch") {
            Encoding::Dense => dense::raise(sketch, index, value),
            Encoding::Sparse => sparse::raise(sketch, index, value, sparse_bytes_max).expect("sound"),
        }
    }

    #[test]
    fn both_encodings_count_alike_and_about_right() {
        let (mut sketch, mut dense) = (empty(), empty());
        sparse::to_dense(&mut dense).expect("sound");
        assert_eq!(count(&sketch), Ok(0));
        let mut next = 1;
        for number in 1..=100_000u32 {
            assert_eq!(
                add(&mut sketch, &number.to_le_bytes(), 3000),
                add(&mut dense, &number.to_le_bytes(), 0)
            );
            if number == next {
                let counted = count(&sketch).expect("sound");
                assert_eq!(count(&dense), Ok(counted));
                let mut registers = [0; REGISTERS];
                merge(&mut registers, &sketch).expect("sound");
                assert_eq!(count_registers(&registers), counted);
                // Six standard errors of 0.81 %.
                assert!(
                    counted.abs_diff(u64::from(number)) <= 1 + u64::from(number) / 20,
                    "{counted} of {number}"
                );
                next *= 10;
            }
        }
        assert_eq!(encoding(&sketch), Ok(Encoding::Dense));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..60),
            sparse: bool,
            elements: Vec<[u8; 2]>,
            sparse_bytes_max in 0usize..80,
        ) {
            let _ = encoding(&bytes);
            let mut sketch = header(u8::from(sparse), [1; 8]);
            sketch.append(&mut bytes);
            let mut registers = [0; REGISTERS];
            prop_assert_eq!(count(&sketch).is_ok(), merge(&mut registers, &sketch).is_ok());
            if encoding(&sketch) == Ok(Encoding::Sparse) {
                for element in elements {
                    let (index, value) = place(&element);
                    let _ = sparse::raise(&mut sketch, index, value, sparse_bytes_max);
                    if encoding(&sketch) == Ok(Encoding::Dense) { break; }
                }
                let _ = sparse::to_dense(&mut sketch);
            }
        }

        #[test]
        fn a_sparse_sketch_holds_the_registers_that_were_raised(
            raised in prop::collection::vec((prop_oneof![0usize..40, 0..REGISTERS], 1u8..36), 0..300),
            sparse_bytes_max in 20usize..600,
        ) {
            let (mut sketch, mut model) = (empty(), [0; REGISTERS]);
            for (index, value) in raised {
                let higher = model[index] < value;
                let changed = match encoding(&sketch).expect("a sketch") {
                    Encoding::Sparse => sparse::raise(&mut sketch, index, value, sparse_bytes_max).expect("sound"),
                    Encoding::Dense => dense::raise(&mut sketch, index, value),
                };
                prop_assert_eq!(changed, higher);
                model[index] = model[index].max(value);
                prop_assert!(sketch.len() <= sparse_bytes_max || encoding(&sketch) == Ok(Encoding::Dense));
            }
            let mut registers = [0; REGISTERS];
            merge(&mut registers, &sketch).expect("sound");
            prop_assert!(registers == model);
            if encoding(&sketch) == Ok(Encoding::Sparse) {
                sparse::to_dense(&mut sketch).expect("sound");
            }
            prop_assert!((0..REGISTERS).all(|index| dense::get(&sketch, index) == model[index]));
        }
    }
}
