//! Whether a key has changed since somebody looked (`WATCH`, and copies that transactions work on).
//!
//! A shard counts the changes of those keys of its that are watched, by hash: a watch costs a lookup in that map when it is made and when it is
//! given up, a change costs one look at whether the map is empty while nobody watches. A [`Watch`] remembers the count and the deadline that it
//! found: a key that dies is not changed by anybody, but it is not as it was either.
//!
//! ```text
//! shard ─▶ hash ─▶ changes, watchers          Watch: hash, changes as found, deadline as found
//! ```
//!
//! What it must never do: miss a change. Keys that share a hash count as one, so it may see one where there was none, once in 2^64.

use crate::Error;
use crate::db::{Db, Inner};
use crate::expiry::NEVER;
use crate::key::{Key, is_cleared_by};
use crate::object::{Form, layout};
use crate::shard::{Entry, Shard};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The watched hashes of a shard.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "nearly always nobody watches: one word of a shard's first lines")]
pub(crate) struct Watched(Option<Box<HashMap<u64, Counted>>>);

struct Counted {
    changes: u64,
    watchers: u32,
    /// The database of the keys, by its place in the index.
    database: u8,
}

impl Watched {
    /// Whether nobody watches anything.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// A key with this hash has changed.
    #[cold]
    pub(crate) fn note(&mut self, hash: u64) {
        if let Some(counted) = self.0.as_mut().and_then(|map| map.get_mut(&hash)) {
            counted.changes += 1;
        }
    }

    /// Those watched keys of a database, or of all numbered ones, have changed of which `is` holds.
    pub(crate) fn note_if(&mut self, database: Option<u8>, is: impl Fn(u64) -> bool) {
        let all = self.0.iter_mut().flat_map(|map| map.iter_mut());
        for (&hash, counted) in all {
            if is_cleared_by(database, counted.database) && is(hash) {
                counted.changes += 1;
            }
        }
    }

    /// How often each watched key has changed.
    pub(crate) fn snapshot(&self) -> Vec<(u64, u64)> {
        self.0.iter().flat_map(|map| map.iter()).map(|(&hash, counted)| (hash, counted.changes)).collect()
    }

    /// Takes changes back that nobody can have seen.
    pub(crate) fn restore(&mut self, snapshot: &[(u64, u64)]) {
        let Some(map) = &mut self.0 else { return };
        for (hash, changes) in snapshot {
            if let Some(counted) = map.get_mut(hash) {
                counted.changes = *changes;
            }
        }
    }

    fn join(&mut self, hash: u64, database: u8) -> u64 {
        let counted = self.0.get_or_insert_default().entry(hash).or_insert(Counted {
            changes: 0,
            watchers: 0,
            database,
        });
        counted.watchers += 1;
        counted.changes
    }

    fn leave(&mut self, hash: u64) {
        let Some(map) = &mut self.0 else { return };
        if let Some(counted) = map.get_mut(&hash) {
            counted.watchers -= 1;
            if counted.watchers == 0 {
                map.remove(&hash);
            }
        }
        if map.is_empty() {
            self.0 = None;
        }
    }

    fn changes(&self, hash: u64) -> Option<u64> {
        Some(self.0.as_ref()?.get(&hash)?.changes)
    }
}

/// A watched key, until it is dropped. See [`Db::watch`] and [`Txn::is_unchanged`](crate::Txn::is_unchanged).
pub struct Watch {
    inner: Weak<Inner>,
    pub(crate) hash: u64,
    changes: u64,
    /// When the key dies that was there; [`NEVER`] also if there was none.
    deadline_ms: u64,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches a key of a locked shard, as it is at `now_ms`.
    pub(crate) fn begin(inner: &Arc<Inner>, shard: &mut Shard, key: &Key<'_>, now_ms: u64) -> Watch {
        let is_it = |entry: &Entry| match entry.handle().form() {
            Form::Flat | Form::Structured => entry.is_of(key),
            Form::Idle => {
                entry.handle().idle().is_some_and(|flat| layout::is_of(flat, key.database, key.bytes))
            }
            // Its key is on disk; none other that is known has its hash.
            Form::Cold => entry.handle().database() == key.database,
        };
        let place = shard.find_hash(key.hash, |entry| entry.deadline_ms() > now_ms && is_it(entry));
        let deadline_ms = place.map_or(NEVER, |place| shard.entry(place).deadline_ms());
        let changes = shard.watched().join(key.hash, key.database);
        Watch { inner: Arc::downgrade(inner), hash: key.hash, changes, deadline_ms }
    }

    /// Whether the key is as it was, as its locked shard says at `now_ms`.
    pub(crate) fn holds(&self, shard: &mut Shard, now_ms: u64) -> bool {
        self.deadline_ms > now_ms && shard.watched().changes(self.hash) == Some(self.changes)
    }

    /// The hash of the key in its database: equal for watches of the same key, and for hardly any others.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.shards[inner.shard_number(self.hash)].lock().watched().leave(self.hash);
        }
    }
}

impl Db {
    /// Watches a key of a numbered database, whether it exists or not, until the watch is dropped:
    /// [`Txn::is_unchanged`](crate::Txn::is_unchanged) then says whether anything has changed it since, its death included. Must not be
    /// called, nor a watch be dropped, by a thread that has a transaction open.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Panics
    /// If `database` is not below [`DATABASES`](crate::DATABASES).
    pub fn watch(&self, database: u8, key: &[u8], now_ms: u64) -> Result<Watch, Error> {
        self.inner.check_open()?;
        loop {
            let key = self.key(database, key);
            let mut shard = self.inner.shards[self.inner.shard_number(key.hash)].lock();
            if self.inner.is_current(&key) {
                return Ok(Watch::begin(&self.inner, &mut shard, &key, now_ms));
            }
        }
    }
}
