//! Index snapshots and deltas, of any bytes and under checksums that match: what is read is in order, and the newer file is right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::index_file(bytes));
