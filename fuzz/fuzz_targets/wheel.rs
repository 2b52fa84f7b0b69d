//! The timing wheel against a map of deadlines.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::wheel(bytes));
