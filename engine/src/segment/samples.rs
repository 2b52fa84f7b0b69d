//! Sessions as session libraries write them, for tests and measurements: keys of 37 bytes, JSON of some 300.

use crate::object::{Kind, Policy, layout};
use sessile_wal::sim::Rng;
use std::fmt::Write as _;

/// The flat form of session `number`: one of many that are alike but for what must differ.
pub(crate) fn session(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let key = format!("sess:{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let mut value = format!(
        r#"{{"cookie":{{"originalMaxAge":1800000,"httpOnly":true,"path":"/"}},"user":"u{number}","csrf":"{:016x}","cart":["#,
        rng.next_u64()
    );
    while value.len() + 2 + 18 <= 300 {
        let _ = write!(value, r#"{{"sku":"{:08x}"}},"#, rng.next_u64() as u32);
    }
    while value.len() + 2 < 300 {
        value.push('0');
    }
    value.push_str("]}");
    flat(&key, value.as_bytes(), None)
}

/// The flat form of chat `number`: some 2 KB of words, the frequent ones more often.
pub(crate) fn chat(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut text = String::from("[");
    while text.len() < 2000 {
        let role = if rng.chance(50) { "user" } else { "assistant" };
        let _ = write!(text, r#"{{"role":"{role}","content":""#);
        for _ in 0..5 + rng.below(40) {
            // Of 4096 words, word n is about as likely as 1/n.
            let bits = rng.below(12);
            let mut word = Rng::new((1 << bits) + rng.below(1 << bits));
            (0..1 + bits / 2 + word.below(4)).for_each(|_| text.push((b'a' + word.below(26) as u8) as char));
            text.push(' ');
        }
        text.push_str("\"},");
    }
    flat(&format!("chat:{:016x}", rng.next_u64()), text.as_bytes(), None)
}

/// The flat form of a string.
pub(crate) fn flat(key: &str, value: &[u8], policy: Option<Policy>) -> Vec<u8> {
    let mut flat = Vec::new();
    layout::put_head(&mut flat, Kind::String, 3, key.as_bytes(), policy);
    flat.extend_from_slice(value);
    flat
}

/// The flat forms of many sessions.
pub(crate) fn sessions(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(session).collect()
}

/// For training.
pub(crate) fn slices(sessions: &[Vec<u8>]) -> Vec<&[u8]> {
    sessions.iter().map(Vec::as_slice).collect()
}

/// Bytes that don't compress.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..bytes).map(|_| rng.next_u64() as u8).collect()
}
