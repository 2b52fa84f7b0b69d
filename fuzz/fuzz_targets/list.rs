//! Lists, flat and in chunks, against a vector.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::list(bytes));
