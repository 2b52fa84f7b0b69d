//! Chats, flat and in chunks, against a vector of turns.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sessile::fuzzing::chat(bytes));
