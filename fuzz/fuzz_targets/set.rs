//! Sets, flat and in a table, against a set of the standard library.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::set(bytes));
