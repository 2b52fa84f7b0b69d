//! Sorted sets, as a run and as a tree, against a map.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::sorted_set(bytes));
