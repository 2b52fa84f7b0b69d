//! What `RESTORE` takes on any bytes behind a right checksum: no panic, nothing unfolds to more than it may, and what was read is well-formed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile_server::command::dump::reader::{Texts, Value, read, verify};
use std::collections::HashSet;

const BYTES_MAX: usize = 1 << 20;

fn bytes(texts: &Texts) -> usize {
    texts.iter().map(<[u8]>::len).sum()
}

fn distinct(texts: &Texts) -> bool {
    texts.iter().collect::<HashSet<_>>().len() == texts.len()
}

fuzz_target!(|object: &[u8]| {
    let _ = verify(object);
    let Some(value) = read(object, BYTES_MAX) else { return };
    let total = match &value {
        Value::String(bytes) => bytes.len(),
        Value::List(elements) => {
            assert!(!elements.is_empty());
            bytes(elements)
        }
        Value::Set(members) => {
            assert!(!members.is_empty() && distinct(members));
            bytes(members)
        }
        Value::SortedSet { members, scores } => {
            assert!(!members.is_empty() && distinct(members) && members.len() == scores.len());
            assert!(!scores.iter().any(|score| score.is_nan()));
            bytes(members)
        }
        Value::Hash { names, values, deadlines_ms } => {
            assert!(!names.is_empty() && distinct(names) && names.len() == values.len());
            assert!(deadlines_ms.is_empty() || deadlines_ms.len() == names.len());
            bytes(names) + bytes(values)
        }
        Value::Stream(stream) => {
            assert!(stream.entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert_eq!(stream.entries.iter().map(|entry| entry.1).sum::<usize>(), stream.texts.len());
            bytes(&stream.texts)
        }
    };
    // An integer has more digits than bytes.
    assert!(total <= BYTES_MAX, "{total}");
});
