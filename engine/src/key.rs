//! Keys: a database number and bytes, hashed once.
//!
//! The database number is part of what is hashed, so that `SELECT` costs nothing and one index serves all sixteen.
//!
//! Behind those that clients number there are *internal* databases, for what belongs to the engine itself: [`sessions`](crate::sessions) and what
//! goes with them. Their keys are logged, checkpointed, tiered and recovered as all others are, and nothing that is asked for a numbered database
//! ever shows, counts, clears, swaps or evicts them.
//! A [`Key`] carries its hash, because finding the shard, the index entry and the timer all start from it.

use siphasher::sip::SipHasher13;

/// How many numbered databases there are, as in Redis's default configuration.
pub const DATABASES: u8 = 16;

/// The internal database of sessions. Its keys are *held*: past its deadline nobody sees one, but only a transaction takes it away
/// (see [`is_held`]).
pub(crate) const SESSIONS: u8 = 16;
/// The internal database of rotated tokens.
pub(crate) const TOKENS: u8 = 17;
/// The internal database of users' sessions.
pub(crate) const USERS: u8 = 18;
/// The internal database of what concerns all sessions: classes, counts, events.
pub(crate) const SYSTEM: u8 = 19;
/// Databases of the index, the internal ones too: their numbers are below this.
pub(crate) const INDEX_DATABASES: u8 = 20;

/// Whether this is a number of an internal database.
#[inline]
pub(crate) fn is_internal(database: u8) -> bool {
    database >= DATABASES
}

/// Whether keys of this database of the index stay in it, dead, until a transaction deletes them: whoever does, tells of their death in the same
/// record of the log, so that it is told of once, whatever crashes.
#[inline]
pub(crate) fn is_held(database: u8) -> bool {
    database == SESSIONS
}

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

/// Whether removing all keys of one numbered database, or of all of them, takes away those of this database of the index.
#[inline]
pub(crate) fn is_cleared_by(which: Option<u8>, database: u8) -> bool {
    which.map_or(!is_internal(database), |which| which == database)
}

/// What is mixed into the hash key for fields of large hashes.
const FIELDS_KEYED_BY: u64 = 16;
/// What is added for internal databases, so that none of them shares [`FIELDS_KEYED_BY`].
const INTERNAL_KEYED_BY: u64 = 16;

/// What is mixed into the hash key for keys of a database of the index.
fn keyed_by(database: u64) -> u64 {
    if database < u64::from(DATABASES) { database } else { database + INTERNAL_KEYED_BY }
}

/// The hash of keys and fields: SipHash-1-3, keyed by the manifest. It is fixed for the life of a data directory, because the log names
/// keys by it, and secret, because clients choose keys.
pub(crate) struct KeyHasher {
    databases: [SipHasher13; INDEX_DATABASES as usize],
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
            databases: std::array::from_fn(|number| keyed(keyed_by(number as u64))),
            fields: keyed(FIELDS_KEYED_BY),
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
    /// If `database` is not below [`INDEX_DATABASES`].
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
        let all: std::collections::BTreeSet<u64> =
            (0..INDEX_DATABASES).map(|database| hasher.key(database, b"sess:1").hash).collect();
        assert_eq!(all.len(), usize::from(INDEX_DATABASES));
        assert!(!all.contains(&hasher.field(b"sess:1")));
    }

    /// Computed by an implementation of SipHash-1-3 in another language.
    const HASH_OF_SESS_1: u64 = 9_781_386_301_720_832_938;
}
