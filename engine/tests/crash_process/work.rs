//! What the child does, as a function of the seed: thread `t`'s operation `n` is always the same, so that the parent knows what the
//! child did from the number of operations that it acknowledged.

use sessile::{Db, Error, Expiry, ListEnd};
use sessile_wal::sim::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// Threads of a child, each with keys of its own.
pub(crate) const THREADS: u64 = 4;
/// Keys of a thread, of each kind.
const KEYS: u64 = 12;
/// A deadline that no drill lives to see, in ms since the epoch: the year 2100, and a place of its own for each operation.
const FAR_MS: u64 = 4_102_444_800_000;
/// A list that would grow beyond this is deleted instead.
const LIST_MAX: usize = 40;

/// One operation of one thread.
#[derive(Clone, Debug)]
enum Operation {
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
        deadline_ms: Option<u64>,
    },
    Delete {
        key: Vec<u8>,
    },
    Expire {
        key: Vec<u8>,
        deadline_ms: Option<u64>,
    },
    HashSet {
        key: Vec<u8>,
        field: Vec<u8>,
        value: Vec<u8>,
    },
    Push {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// Several keys at once, which all get the same value, or none.
    SetAll {
        keys: Vec<Vec<u8>>,
        value: Vec<u8>,
    },
    /// It lives for some milliseconds only, and is checked by its absence afterwards.
    SetBriefly {
        key: Vec<u8>,
        value: Vec<u8>,
        milliseconds: u64,
    },
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(Vec<u8>),
    Fields(BTreeMap<Vec<u8>, Vec<u8>>),
    List(Vec<Vec<u8>>),
}

/// What a thread's keys hold, with their deadlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<Vec<u8>, (Content, Option<u64>)>);

fn value(rng: &mut Rng, thread: u64, number: u64) -> Vec<u8> {
    let length = match rng.below(100) {
        0..80 => rng.below(400),
        80..98 => rng.below(4000),
        _ => rng.below(60_000),
    };
    let mut value = format!("{thread}#{number}:").into_bytes();
    value.resize(value.len() + length as usize, b'a' + (number % 26) as u8);
    value
}

fn operation(seed: u64, thread: u64, number: u64) -> Operation {
    let mut rng = Rng::new(seed ^ (thread << 56) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let rng = &mut rng;
    let name = |kind: char, rng: &mut Rng| format!("{thread}:{kind}{}", rng.below(KEYS)).into_bytes();
    let deadline_ms = rng.chance(50).then_some(FAR_MS + number * 1000);
    match rng.below(100) {
        0..30 => Operation::Set { key: name('s', rng), value: value(rng, thread, number), deadline_ms },
        30..45 => {
            let kind = *['s', 'h', 'l'].get(rng.below(3) as usize).unwrap_or(&'s');
            Operation::Delete { key: name(kind, rng) }
        }
        45..58 => {
            let kind = *['s', 'h', 'l'].get(rng.below(3) as usize).unwrap_or(&'s');
            Operation::Expire { key: name(kind, rng), deadline_ms }
        }
        58..72 => {
            let field = format!("f{}", rng.below(8)).into_bytes();
            Operation::HashSet { key: name('h', rng), field, value: value(rng, thread, number) }
        }
        72..84 => Operation::Push { key: name('l', rng), value: value(rng, thread, number) },
        84..95 => {
            let count = 2 + rng.below(3);
            let keys = (0..count).map(|_| name('s', rng)).collect();
            Operation::SetAll { keys, value: value(rng, thread, number) }
        }
        _ => Operation::SetBriefly {
            key: format!("{thread}:brief").into_bytes(),
            value: value(rng, thread, number),
            milliseconds: 1 + rng.below(20),
        },
    }
}

/// Does thread `thread`'s operation `number`.
pub(crate) fn apply(db: &Db, seed: u64, thread: u64, number: u64) -> Result<(), Error> {
    let expiry = |deadline_ms: Option<u64>| deadline_ms.map_or(Expiry::Never, Expiry::AtMs);
    match operation(seed, thread, number) {
        Operation::Set { key, value, deadline_ms } => db.set(&key, value, expiry(deadline_ms)),
        Operation::Delete { key } => db.delete(&key).map(|_| ()),
        Operation::Expire { key, deadline_ms } => db.expire_at_ms(&key, deadline_ms).map(|_| ()),
        Operation::HashSet { key, field, value } => db.hash_set(&key, &field, value).map(|_| ()),
        Operation::Push { key, value } if db.list_len(&key)? < LIST_MAX => {
            db.list_push(&key, ListEnd::Back, &[value]).map(|_| ())
        }
        Operation::Push { key, .. } => db.delete(&key).map(|_| ()),
        Operation::SetAll { keys, value } => {
            let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            db.transaction(&names, |txn, keys| {
                for key in keys {
                    txn.set(key, &value, Expiry::Never);
                }
            })
        }
        Operation::SetBriefly { key, value, milliseconds } => {
            db.set(&key, value, Expiry::After(Duration::from_millis(milliseconds)))
        }
    }
}

impl Contents {
    /// What thread `thread`'s operation `number` makes of it.
    pub(crate) fn apply(&mut self, seed: u64, thread: u64, number: u64) {
        match operation(seed, thread, number) {
            Operation::Set { key, value, deadline_ms } => {
                self.0.insert(key, (Content::Text(value), deadline_ms));
            }
            Operation::Delete { key } => {
                self.0.remove(&key);
            }
            Operation::Expire { key, deadline_ms } => {
                if let Some(entry) = self.0.get_mut(&key) {
                    entry.1 = deadline_ms;
                }
            }
            Operation::HashSet { key, field, value } => {
                let entry = self.0.entry(key).or_insert_with(|| (Content::Fields(BTreeMap::new()), None));
                if let Content::Fields(fields) = &mut entry.0 {
                    fields.insert(field, value);
                }
            }
            Operation::Push { key, value } => {
                let entry = self.0.entry(key.clone()).or_insert_with(|| (Content::List(Vec::new()), None));
                if let Content::List(list) = &mut entry.0
                    && list.len() < LIST_MAX
                {
                    list.push(value);
                } else {
                    self.0.remove(&key);
                }
            }
            Operation::SetAll { keys, value } => {
                for key in keys {
                    self.0.insert(key, (Content::Text(value.clone()), None));
                }
            }
            Operation::SetBriefly { .. } => {}
        }
    }

    /// What the database holds of a thread's keys, the brief one left out.
    pub(crate) fn of(db: &Db, thread: u64) -> Result<Contents, Error> {
        let mut contents = BTreeMap::new();
        for kind in ['s', 'h', 'l'] {
            for number in 0..KEYS {
                let key = format!("{thread}:{kind}{number}").into_bytes();
                let deadline_ms =
                    db.transaction(&[&key], |txn, keys| keys.first().map(|key| txn.deadline(key)))?;
                let Some(Some(deadline_ms)) = deadline_ms else { continue };
                let content = match kind {
                    's' => Content::Text(db.get(&key)?.map(|value| value.to_vec()).unwrap_or_default()),
                    'h' => Content::Fields(db.hash_get_all(&key)?.into_iter().collect()),
                    _ => Content::List(db.list_range(&key, ..)?),
                };
                contents.insert(key, (content, deadline_ms));
            }
        }
        Ok(Contents(contents))
    }

    /// The names of the keys that differ.
    pub(crate) fn differences(&self, other: &Contents) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys());
        let mut different: Vec<String> = keys
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|key| {
                let story = match (self.0.get(key), other.0.get(key)) {
                    (Some(_), None) => "is lost",
                    (None, Some(_)) => "has risen from the dead",
                    (Some((one, _)), Some((another, _))) if one == another => "has another deadline",
                    _ => "holds something else",
                };
                format!("{} {story}", String::from_utf8_lossy(key))
            })
            .collect();
        different.sort();
        different.dedup();
        different
    }
}
