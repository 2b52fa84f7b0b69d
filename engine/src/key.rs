//! Keys: a database number and bytes, hashed once.
//!
//! The database number is part of what is hashed, so that `SELECT` costs nothing and one index serves all sixteen.
//! A [`Key`] carries its hash, because finding the shard, the index entry and the timer all start from it.

/// How many numbered databases there are, as in Redis's default configuration.
pub const DATABASES: u8 = 16;

/// A key as the engine sees it: database number, bytes and their hash.
///
/// Made by [`Db::key`](crate::Db::key), because the hash is keyed by a secret of the data directory.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub(crate) database: u8,
    pub(crate) hash: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// The number of the database that the key is in, below [`DATABASES`].
    pub fn database(&self) -> u8 {
        self.database
    }

    /// The key itself.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
