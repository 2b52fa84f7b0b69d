//! Records of the log and flat objects, of any bytes: what passes the check can be read by all, and is the same when it has grown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::operation(bytes));
