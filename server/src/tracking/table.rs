//! Which clients hold copies of which keys.
//!
//! In parts, each with a lock of its own, by the key's hash. A client is a number, which is never given twice, so that nothing has to be
//! taken out when it leaves. Who is remembered for a key is kept in order: that one is there already, as it mostly is, is found quickly,
//! however many there are.

use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicUsize, Ordering};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Parts of the table; a power of two.
const PARTS: usize = 64;

/// Numbers of clients, in order.
pub(super) type Holders = SmallVec<[u64; 2]>;

#[derive(Debug)]
struct Entry {
    holders: Holders,
    /// Where the key is in `order`.
    place: usize,
}

#[derive(Debug, Default)]
struct Part {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// All keys, so that one can be had by its number.
    order: Vec<Arc<[u8]>>,
    /// Moves on with each key that is forgotten for want of room.
    cursor: usize,
}

impl Part {
    fn remove(&mut self, key: &[u8]) -> Option<Holders> {
        let entry = self.entries.remove(key)?;
        self.order.swap_remove(entry.place);
        if let Some(moved) = self.order.get(entry.place)
            && let Some(moved) = self.entries.get_mut(moved)
        {
            moved.place = entry.place;
        }
        Some(entry.holders)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
    keys: AtomicUsize,
    items: AtomicUsize,
    /// The part that the next key is taken from for want of room.
    next_part: AtomicUsize,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            next_part: AtomicUsize::new(0),
        }
    }
}

impl Table {
    /// How many keys are remembered.
    pub(super) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// How many clients are remembered for keys, each as often as it is.
    pub(super) fn items(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    fn part(&self, key: &[u8]) -> &Mutex<Part> {
        &self.parts[self.hasher.hash_one(key) as usize & (PARTS - 1)]
    }

    /// Remembers that a client holds the key.
    pub(super) fn remember(&self, key: &[u8], client: u64) {
        let part = &mut *self.part(key).lock();
        let entry = match part.entries.get_mut(key) {
            Some(entry) => entry,
            None => {
                let shared: Arc<[u8]> = key.into();
                self.keys.fetch_add(1, Ordering::Relaxed);
                part.order.push(Arc::clone(&shared));
                let place = part.order.len() - 1;
                part.entries.entry(shared).or_insert(Entry { holders: Holders::new(), place })
            }
        };
        if let Err(place) = entry.holders.binary_search(&client) {
            entry.holders.insert(place, client);
            self.items.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets a key; who held it.
    pub(super) fn forget(&self, key: &[u8]) -> Option<Holders> {
        if self.keys() == 0 {
            return None;
        }
        let holders = self.part(key).lock().remove(key)?;
        self.count_out(&holders);
        Some(holders)
    }

    fn count_out(&self, holders: &Holders) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.items.fetch_sub(holders.len(), Ordering::Relaxed);
    }

    /// Forgets a key if there are more than `keys_max` (0: any number); the key, and who held it.
    pub(super) fn forget_beyond(&self, keys_max: usize) -> Option<(Arc<[u8]>, Holders)> {
        if keys_max == 0 || self.keys() <= keys_max {
            return None;
        }
        // A part may be empty; not all are.
        for _ in 0..PARTS {
            let number = self.next_part.fetch_add(1, Ordering::Relaxed) & (PARTS - 1);
            let part = &mut *self.parts[number].lock();
            if part.order.is_empty() {
                continue;
            }
            // Hardly related to when they came, as what is removed is replaced by the last.
            part.cursor = (part.cursor + 7919) % part.order.len();
            let key = Arc::clone(&part.order[part.cursor]);
            let Some(holders) = part.remove(&key) else { continue };
            self.count_out(&holders);
            return Some((key, holders));
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for part in &self.parts {
            let old = std::mem::take(&mut *part.lock());
            self.keys.fetch_sub(old.entries.len(), Ordering::Relaxed);
            let items = old.entries.values().map(|entry| entry.holders.len()).sum();
            self.items.fetch_sub(items, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_with_all_who_held_it() {
        let table = Table::default();
        for client in [3, 1, 2, 3] {
            table.remember(b"a", client);
        }
        table.remember(b"b", 1);
        assert_eq!((table.keys(), table.items()), (2, 4));
        assert_eq!(table.forget(b"a").as_deref(), Some(&[1, 2, 3][..]));
        assert_eq!(table.forget(b"a"), None);
        assert_eq!((table.keys(), table.items()), (1, 1));
        table.clear();
        assert_eq!((table.keys(), table.items()), (0, 0));
    }

    #[test]
    fn there_are_never_more_keys_than_the_limit_and_each_is_told_of() {
        let table = Table::default();
        let mut told = std::collections::BTreeSet::new();
        for number in 0..1000_u32 {
            table.remember(&number.to_le_bytes(), 1);
            while let Some((key, holders)) = table.forget_beyond(100) {
                assert_eq!(&holders[..], [1]);
                assert!(told.insert(key));
            }
            assert!(table.keys() <= 100);
        }
        assert_eq!(told.len(), 900);
        for number in 0..1000_u32 {
            let key = number.to_le_bytes();
            assert_eq!(table.forget(&key).is_some(), !told.contains(&key[..]));
        }
        assert_eq!((table.keys(), table.items()), (0, 0));
        assert!(table.forget_beyond(0).is_none());
    }
}
