//! Which database of the index each numbered database is: `SWAPDB` swaps two of them without touching a key.
//!
//! Keys are hashed with, and objects hold, the number of a database *in the index*; callers say the *logical* number, and are told no other. The
//! map between them is one word, four bits for each logical number, so that hashing a key costs a load and a shift.
//!
//! A key is hashed before its shard is locked: a swap in between makes it stale, which [`Txn`](crate::Txn) notices under the locks. The map
//! changes with all shards locked, and its change is in the log, as a whole, at the place where it happened.

use crate::key::DATABASES;
use sessile_wal::sync::atomic::{AtomicU64, Ordering};

/// A map as the log and the manifest hold it: the database of the index for logical number `n` in the bits from `4 n` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseMap(u64);

const _: () = assert!(DATABASES == 16, "sixteen numbers of four bits are a word");

impl Default for DatabaseMap {
    fn default() -> DatabaseMap {
        DatabaseMap::IDENTITY
    }
}

impl DatabaseMap {
    /// Every database is its own.
    pub(crate) const IDENTITY: DatabaseMap = DatabaseMap(0xFEDC_BA98_7654_3210);

    /// From bytes that may come from outside; `None` unless every database occurs once.
    pub(crate) fn of_word(word: u64) -> Option<DatabaseMap> {
        let seen = (0..DATABASES).fold(0u32, |seen, logical| seen | 1 << DatabaseMap(word).inner(logical));
        (seen == (1 << DATABASES) - 1).then_some(DatabaseMap(word))
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The database of the index that a logical one is.
    ///
    /// # Panics
    /// If `logical` is not below [`DATABASES`].
    #[inline]
    pub(crate) fn inner(self, logical: u8) -> u8 {
        assert!(logical < DATABASES, "there are databases 0 to {}", DATABASES - 1);
        // Four bits.
        (self.0 >> (4 * logical) & 0xF) as u8
    }

    /// The logical number of a database of the index, for who tells of keys that nobody has named: the dead, and those that were scanned.
    pub(crate) fn logical(self, inner: u8) -> u8 {
        (0..DATABASES).find(|&logical| self.inner(logical) == inner).unwrap_or(inner)
    }

    /// With two logical databases swapped.
    pub(crate) fn swapped(self, one: u8, other: u8) -> DatabaseMap {
        let difference = u64::from(self.inner(one) ^ self.inner(other));
        if one == other {
            return self;
        }
        DatabaseMap(self.0 ^ difference << (4 * one) ^ difference << (4 * other))
    }
}

/// The map that is in force.
pub(crate) struct Databases(AtomicU64);

impl Databases {
    pub(crate) fn new(map: DatabaseMap) -> Databases {
        Databases(AtomicU64::new(map.0))
    }

    /// Without a lock it may change at any moment.
    #[inline]
    pub(crate) fn map(&self) -> DatabaseMap {
        DatabaseMap(self.0.load(Ordering::Relaxed))
    }

    /// With all shards locked.
    pub(crate) fn set(&self, map: DatabaseMap) {
        self.0.store(map.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_swaps_two_and_undoes_itself() {
        let map = DatabaseMap::IDENTITY.swapped(0, 15).swapped(0, 3);
        assert_eq!((map.inner(0), map.inner(3), map.inner(15), map.inner(7)), (3, 15, 0, 7));
        for logical in 0..DATABASES {
            assert_eq!(map.logical(map.inner(logical)), logical);
        }
        assert_eq!(map.swapped(0, 3).swapped(15, 0), DatabaseMap::IDENTITY);
        assert_eq!(map.swapped(5, 5), map);
        assert_eq!(DatabaseMap::of_word(map.word()), Some(map));
    }

    #[test]
    fn a_word_that_names_a_database_twice_is_none() {
        assert_eq!(DatabaseMap::of_word(0), None);
        assert_eq!(DatabaseMap::of_word(DatabaseMap::IDENTITY.word() ^ 1), None);
    }
}
