//! Hashes whose fields may die, flat and in a table, against a map.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::hash(bytes));
