//! Keys that a command learns of only as it goes: `SORT … BY weight_*` reads keys that are named by what it sorts.
//!
//! A transaction begins with all of its keys. A command that finds that it needs more has done nothing yet: it fails with
//! [`CommandError::NeedsKeys`], which is no reply, and whoever runs it begins again with those keys too. What it sorts may have changed by then,
//! so that it needs still others: then once more. Keys that were learned are kept, so that this ends.

use super::{Call, CommandError};
use sessile::{Key, Txn};
use std::collections::BTreeSet;

/// Keys beyond a command's arguments: the number of the database, and the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned(BTreeSet<(u8, Box<[u8]>)>);

impl Learned {
    /// The keys, hashed.
    pub fn keys<'a>(&'a self, db: &sessile::Db) -> impl Iterator<Item = Key<'a>> {
        self.0.iter().map(|(database, bytes)| db.key(*database, bytes))
    }

    /// The keys, as number and bytes.
    pub fn owned(&self) -> impl Iterator<Item = (u8, Vec<u8>)> {
        self.0.iter().map(|(database, bytes)| (*database, bytes.to_vec()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, database: u8, bytes: &[u8]) -> bool {
        // A set can't be asked by parts of a pair, and a copy for the question is small beside what the answer saves.
        !self.0.is_empty() && self.0.contains(&(database, bytes.into()))
    }
}

impl<'db> Call<'_, 'db> {
    /// Makes sure that the transaction has further keys, all in the database of the first key of the command. Before anything was changed.
    ///
    /// # Errors
    /// [`CommandError::NeedsKeys`], to be passed on.
    pub(super) fn reach<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<(), CommandError> {
        let database = self.keys[0].database();
        let mut more = Vec::new();
        for key in keys {
            let own = self.keys.iter().any(|own| own.database() == database && own.bytes() == key);
            if !own && !self.learned.has(database, key) {
                more.push((database, key.into()));
            }
        }
        if more.is_empty() {
            return Ok(());
        }
        let mut learned = self.learned.clone();
        learned.0.extend(more);
        Err(CommandError::NeedsKeys(Box::new(learned)))
    }

    /// A key that was [reached](Self::reach).
    pub(super) fn reached<'k>(txn: &Txn<'db>, like: &Key<'_>, bytes: &'k [u8]) -> Key<'k> {
        txn.key(like.database(), bytes)
    }
}
