//! A dictionary's file and frames that need one: never a panic, never more memory than a frame can fill, and what was compressed comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::dictionary(bytes));
