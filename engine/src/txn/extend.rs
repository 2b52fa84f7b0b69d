//! Further keys for a transaction that is under way: for scripts, which say as they go what they touch.
//!
//! The shards of a transaction are locked in one order, so that no two transactions wait for each other. A shard that comes later is out of that
//! order: its lock is taken if it is free, and never waited for.

use super::{Access, Txn};
use crate::Error;
use crate::fetch::Fetch;
use crate::key::Key;

/// What [`Txn::extend`] answers.
#[derive(Debug)]
pub enum Extended {
    /// The keys may be used.
    Ready,
    /// Somebody holds the lock of one (or, on [copies](crate::Overlay), one is to be copied in first): [roll back](Txn::roll_back) and begin again with all keys.
    Contended,
    /// These values must be read first: [roll back](Txn::roll_back), read them, and begin again with all keys and what was read.
    Cold(Fetch),
}

impl Txn<'_> {
    /// Takes the locks of further keys, and sees to it that their objects can be read. Never waits. Unless the answer is
    /// [`Extended::Ready`], none of `keys` may be used with this transaction.
    ///
    /// # Errors
    /// As [`Db::try_begin`](crate::Db::try_begin).
    pub fn extend(&mut self, keys: &[Key<'_>]) -> Result<Extended, Error> {
        if let Some(private) = self.private {
            let all = keys.iter().all(|key| private.has(key));
            return Ok(if all { Extended::Ready } else { Extended::Contended });
        }
        for key in keys {
            let number = self.inner.shard_number(key.hash);
            if let Err(at) = self.shards.binary_search_by_key(&number, |shard| shard.0) {
                match self.inner.shards[number].try_lock() {
                    Some(mut shard) => {
                        if let Some(journal) = &mut self.journal {
                            journal.before_all(number, &mut shard);
                        }
                        self.shards.insert(at, (number, shard));
                    }
                    None => return Ok(Extended::Contended),
                }
            }
        }
        // Hashed before any lock was held, and the databases were swapped since.
        if keys.iter().any(|key| !self.inner.is_current(key)) {
            return Ok(Extended::Contended);
        }
        let observed = self.inner.observed.is_on() && !self.is_private();
        if !observed && !self.wants_bring() {
            return Ok(Extended::Ready);
        }
        // What it buries has happened, whatever becomes of the transaction: it comes before what can be taken back.
        let record = std::mem::take(&mut self.record);
        if observed {
            self.bury_dead(keys);
        }
        let brought = if self.wants_bring() { self.bring(keys, None) } else { Ok(None) };
        let buried = std::mem::replace(&mut self.record, record);
        if !buried.is_empty() {
            debug_assert!(
                observed || self.access != Access::Read,
                "a reader buries nobody who is not told of"
            );
            let at = self.journal.as_ref().map_or(0, |journal| journal.record_kept);
            self.record.splice(at..at, buried.iter().copied());
            if let Some(journal) = &mut self.journal {
                journal.record_kept += buried.len();
            }
        }
        Ok(match brought? {
            None => Extended::Ready,
            Some(fetch) => Extended::Cold(fetch),
        })
    }

    /// Whether nothing has changed the key since `watch` was made, and it has not died. The key's shard must be among those locked: its key
    /// was given when the transaction was begun, or the watch itself was ([`Db::try_begin_watching`](crate::Db::try_begin_watching)).
    pub fn is_unchanged(&mut self, watch: &crate::Watch) -> bool {
        let number = self.inner.shard_number(watch.hash);
        // What has died by now may be gone, even if it lived when this transaction says that it happens.
        let now_ms = self.now_ms.max(self.inner.clock.now_ms());
        match self.shards.binary_search_by_key(&number, |shard| shard.0) {
            Ok(position) => watch.holds(&mut self.shards[position].1, now_ms),
            Err(_) => unreachable!("the transaction was begun with all it watches"),
        }
    }
}
