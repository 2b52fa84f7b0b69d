//! Segments of any bytes, and of records under checksums that match: what a walk finds can be read, and damage hides nothing behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::segment(bytes));
