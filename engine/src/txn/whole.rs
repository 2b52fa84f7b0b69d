//! What a transaction over all shards can do besides: look at keys that nobody has named, empty databases, swap them.

use super::{Taken, Txn};
use crate::databases::DatabaseMap;
use crate::db::Inner;
use crate::fetch::{Fetch, Source};
use crate::key::DATABASES;
use crate::record::Operation;
use crate::shard::Shard;

/// What few transactions have.
#[derive(Default)]
pub(super) struct Rare {
    /// What was taken out of emptied databases, to be freed after the locks.
    pub(super) cleared: Vec<Taken>,
    /// What was read beforehand of keys that are on disk.
    heads: Option<Fetch>,
    /// What else has to be.
    wanted: Option<Fetch>,
}

impl<'db> Txn<'db> {
    pub(crate) fn inner(&self) -> &'db Inner {
        self.inner
    }

    /// A shard by its number, in a transaction over all of them.
    pub(crate) fn shard_numbered(&self, number: usize) -> &Shard {
        assert_eq!(self.shards.len(), self.inner.shards.len(), "a walk takes every shard");
        &self.shards[number].1
    }

    /// Lends what was read of keys that are on disk.
    pub(crate) fn lend_heads(&mut self, heads: Option<Fetch>) {
        if heads.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().heads = heads;
        }
    }

    /// The head of an object on disk, if it was read.
    pub(crate) fn head(&self, source: &Source) -> Option<Result<&[u8], ()>> {
        self.rare.as_ref()?.heads.as_ref()?.head(source)
    }

    pub(crate) fn want(&mut self, mut wanted: Fetch) {
        let rare = self.rare.get_or_insert_default();
        if let Some(heads) = rare.heads.take() {
            wanted.join(heads);
        }
        rare.wanted = Some(wanted);
    }

    /// Whether it has refused something because something must be read first: see [`take_wanted`](Self::take_wanted).
    pub fn is_wanting(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.wanted.is_some())
    }

    /// What must be read before the transaction can do what it has refused ([`Error::KeysOnDisk`](crate::Error::KeysOnDisk)):
    /// [roll back](Self::roll_back), read it, and begin again with it.
    pub fn take_wanted(&mut self) -> Option<Fetch> {
        self.rare.as_mut()?.wanted.take()
    }

    /// Removes all keys of a numbered database (`Some`) or of all (`None`), in a transaction over [every key](crate::Db::begin_all). Memory is
    /// freed in the background.
    ///
    /// # Panics
    /// If it is not over every key, or [revocable](Self::make_revocable).
    pub fn clear(&mut self, database: Option<u8>) {
        let database = database.map(|logical| self.inner.databases.map().inner(logical));
        let taken = self.take_all(database);
        self.rare.get_or_insert_default().cleared.extend(taken);
        self.log(Operation::Clear { database });
    }

    /// Swaps two numbered databases, in a transaction over [every key](crate::Db::begin_all): the keys of each are then in the other. Costs the
    /// same whatever they hold. Keys that were hashed before must be hashed again.
    ///
    /// # Panics
    /// If it is not over every key, or [revocable](Self::make_revocable), or a number is not below [`DATABASES`](crate::DATABASES).
    pub fn swap_databases(&mut self, one: u8, other: u8) {
        assert_eq!(self.shards.len(), self.inner.shards.len(), "swapping takes every shard");
        assert!(self.journal.is_none(), "swapping can't be taken back");
        let before = self.inner.databases.map();
        let map = before.swapped(one, other);
        if map == before {
            return;
        }
        self.log(Operation::Databases { map });
        self.set_databases(map);
    }

    /// Puts another map in force, with every shard locked.
    pub(crate) fn set_databases(&mut self, map: DatabaseMap) {
        let before = self.inner.databases.map();
        self.inner.databases.set(map);
        for database in (0..DATABASES).filter(|&database| before.logical(database) != map.logical(database)) {
            for (_, shard) in &mut self.shards {
                // Also of keys that are in neither: what they are watched by is not where they are looked for from now on.
                shard.watched().note_if(Some(database), |_| true);
            }
        }
    }

    /// Bytes that its changes take in the log so far.
    pub fn record_bytes(&self) -> usize {
        self.record.len()
    }
}
