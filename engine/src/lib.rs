//! Sessile's engine: an embeddable session database.
//!
//! (Skeleton: the API that the server is written against; the real engine replaces the bodies.)

mod key;
mod txn;

pub use key::{DATABASES, Key};
pub use sessile_wal::{Durability, Lsn};
pub use txn::{Access, Txn};

use parking_lot::Mutex;
use std::sync::Arc;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
}

/// The key holds another kind of value than the operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation against a key holding the wrong kind of value")]
pub struct WrongKind;

/// Why the engine refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk is full: writes are refused until space returns; reads and deletes go on.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// The log is poisoned by a failed write or sync: writes are refused until a restart.
    #[error("log failed: {0}")]
    LogFailed(String),
    /// Anything that prevents opening.
    #[error("{0}")]
    Open(String),
}

/// How to open a database.
#[derive(Clone, Debug, Default)]
pub struct Options {
    durability: Durability,
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }
    /// What an acknowledged write survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }
    /// Opens or creates the database in `path`. Starts the background thread unless `.manual_background()`.
    pub fn open(self, _path: impl AsRef<std::path::Path>) -> Result<Db, Error> {
        Ok(Db { inner: Arc::default(), database: 0 })
    }
}

#[derive(Default)]
struct Inner {
    map: Mutex<txn::Map>,
}

/// Figures for `INFO` (grows with the engine).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys the expiry wheel has reclaimed since start.
    pub expired_keys: u64,
    /// Worst lag, in ms, between a key's deadline and its reclamation in the last measured window.
    pub expiry_lag_ms: u64,
    /// Bytes that keys, values and index hold in memory.
    pub memory_bytes: u64,
    /// Bytes appended to the log since open.
    pub log_bytes: u64,
    /// Syncs of the log since open.
    pub log_syncs: u64,
    /// Whether the log is poisoned.
    pub log_failed: bool,
    /// Whether writes are refused for want of disk space.
    pub disk_full: bool,
}

/// A database. Cheap to clone; all clones are the same database.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
    #[allow(dead_code)]
    database: u8,
}

impl Db {
    /// Opens or creates the database in `path` with default options.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Db, Error> {
        Options::new().open(path)
    }
    /// Hashes a key. Panics if `database` is not below [`DATABASES`].
    pub fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        assert!(database < DATABASES);
        Key { database, hash: 0, bytes }
    }
    /// The engine's clock: milliseconds since the epoch.
    #[allow(clippy::disallowed_methods)]
    pub fn now_ms(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
    /// Whether a write of about `bytes` is welcome now. `Ok(false)`: the log's buffer is over its limit, come back after a turn. Never blocks.
    pub fn admit_now(&self, _bytes: usize, _access: Access) -> Result<bool, Error> {
        Ok(true)
    }
    /// Locks the shards of `keys` (in one global order) and begins an atomic step at time `now_ms`. Never does I/O; call
    /// [`admit_now`](Self::admit_now) before, with no transaction open on this thread. Taking a second transaction while one is open on the same thread deadlocks.
    pub fn begin(&self, _keys: &[Key<'_>], _access: Access, now_ms: u64) -> Txn<'_> {
        Txn { map: self.inner.map.lock(), now_ms, dirty: false }
    }
    /// Number of keys in a database.
    pub fn len(&self, database: u8) -> usize {
        self.inner.map.lock().keys().filter(|k| k.0 == database).count()
    }
    /// Number of keys in a database that have a deadline.
    pub fn len_with_deadline(&self, database: u8) -> usize {
        self.inner.map.lock().iter().filter(|(k, v)| k.0 == database && v.1.is_some()).count()
    }
    /// Calls `each(key bytes, kind)` for at least `count` live keys of the database (if there are) from `cursor` on. The next cursor (below 2^53), 0 at the end.
    pub fn scan(&self, database: u8, _cursor: u64, _count: usize, each: &mut dyn FnMut(&[u8], Kind)) -> u64 {
        for (k, v) in self.inner.map.lock().iter().filter(|(k, _)| k.0 == database) {
            each(&k.1, if matches!(v.0, txn::Naive::S(_)) { Kind::String } else { Kind::Hash });
        }
        0
    }
    /// A live key drawn at random; `random` is the caller's random number.
    pub fn random_key(&self, database: u8, random: u64) -> Option<Vec<u8>> {
        let map = self.inner.map.lock();
        let keys: Vec<_> = map.keys().filter(|k| k.0 == database).collect();
        (!keys.is_empty()).then(|| keys[random as usize % keys.len()].1.clone())
    }
    /// Removes every key of one database (`Some`) or of all (`None`), atomically; memory is freed in steps.
    pub fn clear(&self, database: Option<u8>) -> Result<Lsn, Error> {
        self.inner.map.lock().retain(|k, _| database.is_some_and(|d| d != k.0));
        Ok(Lsn::ZERO)
    }
    /// Everything appended to the log below this position is acknowledged, by the configured durability.
    pub fn acknowledged(&self) -> Lsn {
        Lsn::ZERO
    }
    /// Hands what was appended so far to the operating system (once a turn of an event loop, before replying). In `Always`, asks the sync thread
    /// instead and returns at once: replies wait for [`acknowledged`](Self::acknowledged), the notifier tells when to look.
    pub fn push_log(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Sets what is called when `acknowledged` has advanced in the background or the log failed.
    pub fn set_notifier(&self, _notify: Box<dyn Fn() + Send + Sync>) {}
    /// Everything acknowledged so far is durable on return, whatever the durability level.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Changes the durability level of a running database.
    pub fn set_durability(&self, _durability: Durability) {}
    /// Figures for humans and metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
    /// Whether expiry reclaims keys in the background (`DEBUG SET-ACTIVE-EXPIRE`); reads never see a dead key either way.
    pub fn set_active_expiry(&self, _on: bool) {}
    /// Flushes and closes: later writes through other clones are refused.
    pub fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
