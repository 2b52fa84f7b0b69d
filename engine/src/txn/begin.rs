//! Beginning a transaction: which shards are locked, and in what order.
//!
//! Shards are locked by number, ascending, each once, and given back all together. [`extend`](super::extend) alone takes one out of that order,
//! and never waits for it.

use super::{Access, PRIVATE, RECORD, Txn};
use crate::db::Inner;
use crate::key::Key;
use crate::overlay::Private;
use crate::shard::Shard;
use crate::watch::Watch;
use sessile_wal::sync::{Mutex, MutexGuard};
use smallvec::SmallVec;

impl<'db> Txn<'db> {
    /// Locks the shards of `keys`.
    pub(crate) fn begin(inner: &'db Inner, keys: &[Key<'_>], access: Access, now_ms: u64) -> Txn<'db> {
        let mut shards = SmallVec::new();
        if let [key] = keys {
            let number = inner.shard_number(key.hash);
            shards.push((number, inner.shards[number].lock()));
            return Txn::over(inner, shards, access, now_ms);
        }
        Txn::begin_hashes(inner, keys.iter().map(|key| key.hash), access, now_ms)
    }

    /// Locks the shards of `keys` and of what is watched.
    pub(crate) fn begin_watching<'w>(
        inner: &'db Inner,
        keys: &[Key<'_>],
        watches: impl Iterator<Item = &'w Watch>,
        access: Access,
        now_ms: u64,
    ) -> Txn<'db> {
        let hashes = keys.iter().map(|key| key.hash).chain(watches.map(|watch| watch.hash));
        Txn::begin_hashes(inner, hashes, access, now_ms)
    }

    fn begin_hashes(
        inner: &'db Inner,
        hashes: impl Iterator<Item = u64>,
        access: Access,
        now_ms: u64,
    ) -> Txn<'db> {
        let mut numbers: SmallVec<[usize; 16]> = hashes.map(|hash| inner.shard_number(hash)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shards = numbers.into_iter().map(|number| (number, inner.shards[number].lock())).collect();
        Txn::over(inner, shards, access, now_ms)
    }

    /// Locks every shard.
    pub(crate) fn begin_all(inner: &'db Inner, access: Access, now_ms: u64) -> Txn<'db> {
        let shards = inner.shards.iter().map(|shard| shard.lock()).enumerate().collect();
        Txn::over(inner, shards, access, now_ms)
    }

    /// On copies, which nobody else has.
    pub(crate) fn begin_private(
        inner: &'db Inner,
        copies: &'db Mutex<Shard>,
        private: Private<'db>,
        access: Access,
        now_ms: u64,
    ) -> Txn<'db> {
        let mut shards = SmallVec::new();
        shards.push((PRIVATE, copies.lock()));
        let mut txn = Txn::over(inner, shards, access, now_ms);
        txn.private = Some(private);
        txn
    }

    #[inline]
    fn over(
        inner: &'db Inner,
        shards: SmallVec<[(usize, MutexGuard<'db, Shard>); 2]>,
        access: Access,
        now_ms: u64,
    ) -> Txn<'db> {
        Txn {
            inner,
            shards,
            now_ms,
            access,
            record: RECORD.take(),
            garbage: SmallVec::new(),
            visitors: Vec::new(),
            changed: None,
            rare: None,
            told: false,
            created: None,
            journal: None,
            private: None,
            concerns: super::session::Concerns::default(),
        }
    }
}
