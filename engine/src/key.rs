//! Keys: a database number and bytes, hashed once.
//!
//! The database number is part of what is hashed, so that `SELECT` costs nothing and one index serves all sixteen.
//! A [`Key`] carries its hash, because finding the shard, the index entry and the timer all start from it.

use siphasher::sip::SipHasher13;

/// How many numbered databases there are, as in Redis's default configuration.
pub const DATABASES: u8 = 16;

/// A key as the engine sees it: database number, bytes and their hash.
///
/// Made by [`Db::key`](crate::Db::key), because the hash is keyed by a secret of the data directory.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// That of the index: see [`databases`](crate::databases).
    pub(crate) database: u8,
    /// The number that callers know it by.
    pub(crate) logical: u8,
    pub(crate) hash: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// The number of the database that the key is in, below [`DATABASES`].
    #[expect(
        clippy::misnamed_getters,
        reason = "the field is the number in the index, which is nobody else's business"
    )]
    pub fn database(&self) -> u8 {
        self.logical
    }

    /// The key itself.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The hash of keys and fields: SipHash-1-3, keyed by the manifest. It is fixed for the life of a data directory, because the log names
/// keys by it, and secret, because clients choose keys.
pub(crate) struct KeyHasher {
    databases: [SipHasher13; DATABASES as usize],
    fields: SipHasher13,
    /// All ones, but in tests.
    mask: u64,
}

impl KeyHasher {
    /// The hasher of a data directory.
    pub(crate) fn new(key: [u8; 16]) -> KeyHasher {
        let [k0, k1] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte])));
        // Each database has a key of its own: one pass over the bytes hashes both.
        let keyed = |number: u64| SipHasher13::new_with_keys(k0, k1 ^ number);
        KeyHasher {
            databases: std::array::from_fn(|number| keyed(number as u64)),
            fields: keyed(u64::from(DATABASES)),
            mask: u64::MAX,
        }
    }

    /// Hashes that keep only some of their bits, so that keys share them.
    pub(crate) fn masked(self, mask: u64) -> KeyHasher {
        KeyHasher { mask, ..self }
    }

    /// A key of a database of the index.
    ///
    /// # Panics
    /// If `database` is not below [`DATABASES`].
    #[inline]
    pub(crate) fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        let hash = self.databases[usize::from(database)].hash(bytes) & self.mask;
        Key { database, logical: database, hash, bytes }
    }

    /// The hash of a field of a large hash.
    pub(crate) fn field(&self, name: &[u8]) -> u64 {
        self.fields.hash(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs refer to keys by their hash, so it may never change.
    #[test]
    fn the_hash_is_held_still() {
        let hasher = KeyHasher::new(*b"0123456789abcdef");
        assert_eq!(hasher.key(0, b"sess:1").hash, HASH_OF_SESS_1);
        assert_ne!(hasher.key(1, b"sess:1").hash, HASH_OF_SESS_1);
        assert_ne!(hasher.field(b"sess:1"), HASH_OF_SESS_1);
    }

    /// Computed by an implementation of SipHash-1-3 in another language.
    const HASH_OF_SESS_1: u64 = 9_781_386_301_720_832_938;
}
