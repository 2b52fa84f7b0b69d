//! The database: shards, log, clock, and the handle that everyone clones.
//!
//! A write: [`admit`](Db::admit_now) (no lock) → [`begin`](Db::begin) (shard locks) → change → commit (append to the log's buffer, unlock) →
//! acknowledge (write or sync). Nothing here does I/O under a shard's lock.

use crate::background::{self, Pauses, Threads};
use crate::clock::{EngineClock, LogClock};
use crate::fetch::{Begun, Fetch};
use crate::key::{DATABASES, Key, KeyHasher};
use crate::limits::{FREE_LATER_BYTES, MEMORY_SAMPLE_MS, SCAN_IGNORED_BITS, SHARDS_MAX, SHARDS_MIN};
use crate::object::{Kind, Object};
use crate::recovery::{self, Replay, shard_number};
use crate::shard::Shard;
use crate::stats::{RecoveryReport, Stats};
use crate::txn::{Access, Txn};
use crate::{Error, Eviction, Options};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use sessile_wal::{DirLock, Durability, LockHeld, Lsn, Wal, WalOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The lock's name in the data directory.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// A clock that the log is ahead of by more than this, in ms, is worth a warning.
const CLOCK_AHEAD_WARN_MS: u64 = 1_000;

/// What all handles share.
pub(crate) struct Inner {
    pub(crate) shards: Box<[CachePadded<Mutex<Shard>>]>,
    pub(crate) shard_bits: u32,
    pub(crate) hasher: KeyHasher,
    pub(crate) wal: Wal,
    pub(crate) clock: EngineClock,
    pub(crate) expired_keys: AtomicU64,
    pub(crate) expiry_lag_ms: AtomicU64,
    pub(crate) expiry_lag_max_ms: AtomicU64,
    pub(crate) expiry_on: AtomicBool,
    /// As last sampled by [`sample_memory`](Inner::sample_memory).
    memory_bytes: AtomicU64,
    memory_peak_bytes: AtomicU64,
    memory_sample_due_ms: AtomicU64,
    /// Large objects that a background step frees.
    pub(crate) garbage: Mutex<Vec<Garbage>>,
    pub(crate) pauses: Pauses,
    closed: AtomicBool,
    directory: PathBuf,
    recovery: RecoveryReport,
    /// Held as long as anything is open.
    _lock: Box<dyn DirLock>,
}

/// What is freed later, because freeing it takes long: all that is known of it is how to drop it.
pub(crate) type Garbage = Box<dyn Send>;

/// A database. Cheap to clone; all clones are the same database, and it closes with the last of them.
///
/// The typed operations work on one of sixteen numbered databases (number 0, see [`database`](Db::database)).
#[derive(Clone)]
pub struct Db {
    pub(crate) inner: Arc<Inner>,
    pub(crate) database: u8,
    /// Stopped with the last handle.
    _threads: Arc<Threads>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("directory", &self.inner.directory)
            .field("database", &self.database)
            .finish()
    }
}

impl Inner {
    #[inline]
    pub(crate) fn shard_number(&self, hash: u64) -> usize {
        shard_number(hash, self.shard_bits)
    }

    #[inline]
    pub(crate) fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        self.hasher.key(database, bytes)
    }

    /// Frees what a transaction let go of: the small at once, the large in the background.
    pub(crate) fn free(&self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            if matches!(object, Object::Structured(_)) && object.memory_bytes() > FREE_LATER_BYTES {
                self.garbage.lock().push(Box::new(object));
            }
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Adds up the bytes in memory if it is time to.
    pub(crate) fn sample_memory(&self, now_ms: u64) {
        if now_ms >= self.memory_sample_due_ms.load(Ordering::Relaxed) {
            self.memory_sample_due_ms.store(now_ms + MEMORY_SAMPLE_MS, Ordering::Relaxed);
            self.count_memory();
        }
    }

    fn count_memory(&self) -> u64 {
        let bytes = self.shards.iter().map(|shard| shard.lock().memory_bytes() as u64).sum();
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        bytes
    }

    /// Asks whether a write of about `bytes` may happen; waits while the log's buffer is over its limit.
    pub(crate) fn admit(&self, bytes: usize, access: Access) -> Result<(), Error> {
        let Some(admit) = access.admit() else { return Ok(()) };
        self.check_open()?;
        self.wal.admit(bytes, admit).map_err(Error::of_log)
    }

    /// Waits until a commit is acknowledged.
    pub(crate) fn acknowledge(&self, lsn: Lsn) -> Result<(), Error> {
        if lsn == Lsn::ZERO {
            return Ok(());
        }
        self.wake_log_if_wanted();
        self.wal.commit(lsn).map_err(Error::of_log)
    }

    /// Has the log's thread take a step before its time if the log wants one: it makes the next file before it is needed.
    fn wake_log_if_wanted(&self) {
        if self.wal.wants_step() {
            self.pauses.log.wake();
        }
    }
}

fn shard_count() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * 16).next_power_of_two().clamp(SHARDS_MIN, SHARDS_MAX)
}

impl Db {
    /// Opens the database in the directory `path` with default [`Options`], creating both if there is neither.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Db, Error> {
        Options::new().open(path)
    }

    pub(crate) fn open_with(directory: &Path, options: &Options) -> Result<Db, Error> {
        let fs = Arc::clone(&options.fs);
        let begun_ns = options.clock.monotonic_ns();
        fs.create_dir_all(directory).map_err(Error::io("create", directory))?;
        let lock_path = directory.join(LOCK_NAME);
        let lock = fs.lock(&lock_path).map_err(|error| match LockHeld::of(&error) {
            Some(held) => Error::InUse { path: lock_path.clone(), pid: held.pid },
            None => Error::io("lock", &lock_path)(error),
        })?;
        let wall_ms = options.clock.wall_ms();
        let manifest = recovery::manifest(&*fs, directory, wall_ms)?;
        let hasher = KeyHasher::new(manifest.hash_key);

        let mut replay = Replay::new(shard_count(), &hasher, wall_ms);
        let mut log_options =
            WalOptions::default().durability(options.durability).database_id(manifest.database_id);
        if let Some(bytes) = options.log_file_bytes_max {
            log_options = log_options.segment_bytes_max(bytes);
        }
        let log_clock = Arc::new(LogClock::new(Arc::clone(&options.clock)));
        let (wal, log) = Wal::open(
            fs,
            Arc::clone(&log_clock) as _,
            directory,
            log_options,
            Lsn::ZERO,
            &mut |_, record| replay.record(record).map_err(Into::into),
        )
        .map_err(Error::Log)?;
        let clock = log_clock.start(log.clock_high_water_ms);
        let Replay { shards, shard_bits, .. } = replay;
        let clock_ahead_ms = log.clock_high_water_ms.saturating_sub(wall_ms);
        if clock_ahead_ms > CLOCK_AHEAD_WARN_MS {
            tracing::warn!(
                ahead_ms = clock_ahead_ms,
                "the wall clock is behind the latest time in the log: it was set back; time goes on from the log's"
            );
        }
        let recovery = RecoveryReport {
            created: log.created && log.records == 0,
            keys: shards.iter().map(|shard| shard.live_keys(clock.now_ms())).sum(),
            log_records: log.records,
            log_bytes: log.bytes,
            torn: log.torn.map(|torn| (torn.path, torn.offset, torn.bytes)),
            elapsed: Duration::from_nanos(options.clock.monotonic_ns() - begun_ns),
            clock_ahead_ms,
        };
        let inner = Arc::new(Inner {
            shards: shards.into_iter().map(|shard| CachePadded::new(Mutex::new(shard))).collect(),
            shard_bits,
            hasher,
            wal,
            clock,
            expired_keys: AtomicU64::new(0),
            expiry_lag_ms: AtomicU64::new(0),
            expiry_lag_max_ms: AtomicU64::new(0),
            expiry_on: AtomicBool::new(true),
            memory_bytes: AtomicU64::new(0),
            memory_peak_bytes: AtomicU64::new(0),
            memory_sample_due_ms: AtomicU64::new(0),
            garbage: Mutex::default(),
            pauses: Pauses::default(),
            closed: AtomicBool::new(false),
            directory: directory.into(),
            recovery,
            _lock: lock,
        });
        // So that a limit holds from the first write on.
        inner.count_memory();
        let threads = Threads::start(&inner, options).map_err(Error::io("start a thread for", directory))?;
        Ok(Db { inner, database: 0, _threads: Arc::new(threads) })
    }

    /// The same database by another of its sixteen numbers.
    ///
    /// # Panics
    /// If `number` is not below [`DATABASES`].
    #[must_use]
    pub fn database(&self, number: u8) -> Db {
        assert!(number < DATABASES, "there are databases 0 to {}", DATABASES - 1);
        Db { database: number, ..self.clone() }
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// Hashes a key of a numbered database.
    ///
    /// # Panics
    /// If `database` is not below [`DATABASES`].
    #[inline]
    pub fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        self.inner.key(database, bytes)
    }

    /// The engine's time: milliseconds since the epoch, the wall clock at open plus monotonic time.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// The engine's time in microseconds since the epoch.
    pub fn now_us(&self) -> u64 {
        self.inner.clock.now_us()
    }

    /// Bytes that keys, values, index and timers ask for, as they were at most about 100 ms ago. It costs a load; [`stats`](Self::stats) adds
    /// them up anew.
    #[inline]
    pub fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes.load(Ordering::Relaxed)
    }

    /// Whether a write of about `bytes` is welcome. `Ok(false)`: not now, the log's buffer is over its limit; come back after a turn. Never
    /// blocks; for event loops, before [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`], [`Error::TooLarge`], [`Error::Closed`]. A reader is always welcome.
    #[inline]
    pub fn admit_now(&self, bytes: usize, access: Access) -> Result<bool, Error> {
        let Some(admit) = access.admit() else { return Ok(true) };
        self.inner.check_open()?;
        let welcome = self.inner.wal.admit_now(bytes, admit).map_err(Error::of_log)?;
        if !welcome {
            self.inner.wake_log_if_wanted();
        }
        Ok(welcome)
    }

    /// Locks the shards of `keys`, in one global order, and begins an atomic step at time `now_ms` (see [`now_ms`](Self::now_ms)). It does no
    /// I/O. Ask [`admit_now`](Self::admit_now) before a write.
    ///
    /// A second transaction on the same thread while one is open deadlocks: pass all keys at once. [`transaction`](Self::transaction) is the
    /// convenient form.
    pub fn begin(&self, keys: &[Key<'_>], access: Access, now_ms: u64) -> Txn<'_> {
        Txn::begin(&self.inner, keys, access, now_ms)
    }

    /// As [`begin`](Self::begin), if the objects of all keys are in memory in readable form; else what has to be read before. `fetched` is what was
    /// read after such an answer to the same call.
    ///
    /// # Errors
    /// [`Error::DamagedValue`] if what was read is not sound; [`Error::Io`] if it could not be read.
    pub fn try_begin(
        &self,
        keys: &[Key<'_>],
        access: Access,
        now_ms: u64,
        fetched: Option<Fetch>,
    ) -> Result<Begun<'_>, Error> {
        drop(fetched);
        Ok(Begun::Ready(Txn::begin(&self.inner, keys, access, now_ms)))
    }

    /// Whether any value is not in memory in readable form, so that [`scan`](Self::scan) and [`random_key`](Self::random_key) may wait for a disk.
    pub fn has_cold(&self) -> bool {
        false
    }

    /// Makes a checkpoint: everything committed before this call is in segments and index when it returns, and the log before it is released.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`]; nothing is lost by a checkpoint that fails.
    pub fn checkpoint(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Asks for a checkpoint in the background; false if one is under way.
    pub fn request_checkpoint(&self) -> bool {
        true
    }

    /// Changes [`Options::memory_bytes_max`].
    pub fn set_memory_bytes_max(&self, _bytes: u64) {}

    /// Changes [`Options::disk_bytes_max`].
    pub fn set_disk_bytes_max(&self, _bytes: u64) {}

    /// Changes [`Options::eviction`].
    pub fn set_eviction(&self, _eviction: Eviction) {}

    /// Changes [`Options::idle_compression`].
    pub fn set_idle_compression(&self, _on: bool) {}

    /// Changes [`Options::checkpoint_log_bytes`] and [`Options::checkpoint_interval`].
    pub fn set_checkpoint_trigger(&self, _log_bytes: u64, _interval: Duration) {}

    /// Tells the engine how many bytes of memory the process holds (its RSS) and how many of them are not the engine's, so that
    /// [`Options::memory_bytes_max`] bounds what the allocator holds and not only what was asked of it. Call it about ten times a second.
    pub fn note_resident_bytes(&self, _resident_bytes: u64) {}

    /// Says that `keys` will be asked for in a moment: what their lookups read is fetched from memory for all at once instead of one after
    /// the other. A hint for pipelines of some ten commands; it changes nothing.
    pub fn prefetch(&self, keys: &[Key<'_>]) {
        self.begin(keys, Access::Read, 0).prefetch(keys);
    }

    /// As [`begin`](Self::begin), over every key there is or may be.
    pub fn begin_all(&self, access: Access, now_ms: u64) -> Txn<'_> {
        Txn::begin_all(&self.inner, access, now_ms)
    }

    /// Number of keys in a numbered database, counting those whose deadline came within the last moments.
    pub fn len_of(&self, database: u8) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().counts(database).keys as usize).sum()
    }

    /// Number of keys in a numbered database that have a deadline.
    pub fn len_with_deadline(&self, database: u8) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().counts(database).with_deadline as usize).sum()
    }

    /// A step of a scan over a numbered database: calls `each` with the key and kind of at least `count` live keys from `cursor` on, if there
    /// are as many. The next cursor, below 2^53; 0 at the end. A key that is there throughout is seen at least once. `each` runs under a
    /// shard's lock.
    pub fn scan(&self, database: u8, cursor: u64, count: usize, each: &mut dyn FnMut(&[u8], Kind)) -> u64 {
        let now_ms = self.now_ms();
        let mut from = cursor << SCAN_IGNORED_BITS;
        // At least one key that is not of this database or is dead is skipped for each that is; bound the work all the same.
        let mut looked_at = 0;
        let mut seen = 0;
        for number in self.inner.shard_number(from)..self.inner.shards.len() {
            let shard = self.inner.shards[number].lock();
            loop {
                let wanted = count - seen;
                let next = shard.table().scan(from, wanted.max(1), SCAN_IGNORED_BITS, &mut |entry| {
                    looked_at += 1;
                    let view = entry.view();
                    if view.database() == database && entry.deadline_ms() > now_ms {
                        seen += 1;
                        each(view.key(), view.kind());
                    }
                });
                let enough = seen >= count || looked_at >= count.saturating_mul(10);
                match next {
                    Some(next) if enough => return next >> SCAN_IGNORED_BITS,
                    Some(next) => from = next,
                    None => break,
                }
            }
            let Some(first) = (number as u64 + 1).checked_shl(64 - self.inner.shard_bits) else { break };
            from = first;
            if seen >= count && number + 1 < self.inner.shards.len() {
                return from >> SCAN_IGNORED_BITS;
            }
        }
        0
    }

    /// A live key of a numbered database, drawn by `random`, nearly uniformly; `None` if there is none.
    pub fn random_key(&self, database: u8, mut random: u64) -> Option<Vec<u8>> {
        let now_ms = self.now_ms();
        let alive = |entry: &crate::shard::Entry| {
            (entry.view().database() == database && entry.deadline_ms() > now_ms)
                .then(|| entry.view().key().to_vec())
        };
        // Keys of all databases and of this one, by shard.
        let held: Vec<(usize, usize)> = self
            .inner
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock();
                (shard.table().len(), shard.counts(database).keys as usize)
            })
            .collect();
        if held.iter().all(|&(_, own)| own == 0) {
            return None;
        }
        // A shard in proportion to all its keys, and one of them; if that is another database's, again. So all have the same chance.
        for _ in 0..RANDOM_TRIES {
            let (number, _) = draw(held.iter().map(|&(all, _)| all), random);
            let shard = self.inner.shards[number].lock();
            if let Some(key) = shard.table().near(random).and_then(alive) {
                return Some(key);
            }
            // Another number that has nothing to do with this one (a step of SplitMix64).
            random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            random = (random ^ random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            random = (random ^ random >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            random ^= random >> 31;
        }
        // Few keys among many of other databases, or many dead ones: from the drawn one on, whichever lives.
        let (first, skip) = draw(held.iter().map(|&(_, own)| own), random);
        let shards = held.len();
        (0..=shards).find_map(|step| {
            let (mut skip, mut found) = (if step == 0 { skip } else { 0 }, None);
            self.inner.shards[(first + step) % shards].lock().table().for_each(&mut |entry| {
                if found.is_none() && entry.view().database() == database {
                    found = if skip == 0 { alive(entry) } else { None };
                    skip = skip.saturating_sub(1);
                }
            });
            found
        })
    }

    /// Removes all keys of a numbered database (`Some`) or of all (`None`), atomically. Memory is freed in the background. The position to be
    /// acknowledged.
    ///
    /// # Errors
    /// As [`admit_now`](Self::admit_now).
    pub fn clear(&self, database: Option<u8>) -> Result<Lsn, Error> {
        self.inner.admit(16, Access::Delete)?;
        let mut txn = self.begin_all(Access::Delete, self.now_ms());
        let old = txn.clear(database);
        let lsn = txn.commit();
        let mut garbage = self.inner.garbage.lock();
        for (shard, objects) in old {
            garbage.push(Box::new(shard));
            garbage.push(Box::new(objects));
        }
        drop(garbage);
        self.inner.pauses.expiry.wake();
        Ok(lsn)
    }

    /// Everything committed below this position is acknowledged, by the configured durability.
    #[inline]
    pub fn acknowledged(&self) -> Lsn {
        self.inner.wal.acknowledged()
    }

    /// Hands what was committed so far to the operating system: once a turn of an event loop, before it replies. With
    /// [`Durability::Always`] it asks the sync thread instead ([`Options::sync_thread`]) and returns at once: replies wait for
    /// [`acknowledged`](Self::acknowledged), and the [notifier](Self::set_notifier) says when to look.
    ///
    /// # Errors
    /// [`Error::DiskFull`] (the records stay in the buffer and are written when space returns), [`Error::LogFailed`].
    pub fn push_log(&self) -> Result<(), Error> {
        let wal = &self.inner.wal;
        let appended = wal.appended();
        if wal.acknowledged() >= appended {
            return Ok(());
        }
        self.inner.wake_log_if_wanted();
        if wal.durability() == Durability::Always {
            wal.request_sync(appended);
            return Ok(());
        }
        wal.write(appended).map_err(Error::of_log)
    }

    /// Whether the log has failed: writes are refused until the database is opened again, and what was not acknowledged never will be.
    pub fn log_failed(&self) -> bool {
        self.inner.wal.is_poisoned()
    }

    /// Sets what is called, on a background thread and with no lock held, when [`acknowledged`](Self::acknowledged) has advanced there or the
    /// log has failed. It must not block.
    pub fn set_notifier(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.inner.wal.set_notifier(notify);
    }

    /// Makes everything acknowledged so far durable, whatever the durability level.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`].
    pub fn flush(&self) -> Result<(), Error> {
        self.inner.wal.flush().map_err(Error::of_log)
    }

    /// What an acknowledged write survives.
    pub fn durability(&self) -> Durability {
        self.inner.wal.durability()
    }

    /// Changes the durability level from here on.
    pub fn set_durability(&self, durability: Durability) {
        self.inner.wal.set_durability(durability);
    }

    /// Whether dead keys are reclaimed in the background (`DEBUG SET-ACTIVE-EXPIRE`). No read sees one either way.
    pub fn set_active_expiry(&self, on: bool) {
        self.inner.expiry_on.store(on, Ordering::Relaxed);
        self.inner.pauses.expiry.wake();
    }

    /// One bounded step of all background work; how long until there is more. For [`Options::manual_background`].
    ///
    /// # Errors
    /// [`Error::LogFailed`].
    pub fn step(&self) -> Result<Duration, Error> {
        let expiry = background::expiry_step(&self.inner).pause;
        let log = background::log_step(&self.inner)?;
        Ok(expiry.min(log))
    }

    /// Figures for humans and metrics.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        Stats {
            expired_keys: inner.expired_keys.load(Ordering::Relaxed),
            expiry_lag_ms: inner.expiry_lag_ms.load(Ordering::Relaxed),
            expiry_lag_max_ms: inner.expiry_lag_max_ms.load(Ordering::Relaxed),
            memory_bytes: inner.count_memory(),
            memory_peak_bytes: inner.memory_peak_bytes.load(Ordering::Relaxed),
            log: inner.wal.stats(),
            storage: crate::stats::StorageStats::default(),
        }
    }

    /// Makes everything durable and refuses writes from here on, through any clone. Dropping the last clone does the same, but can't say
    /// whether it worked.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`].
    pub fn close(&self) -> Result<(), Error> {
        self.inner.closed.store(true, Ordering::Release);
        // Whoever was admitted before has either committed once every shard's lock was free, or is seen by the log's own flush.
        drop(self.begin_all(Access::Read, 0));
        self.inner.wal.close().map_err(Error::of_log)
    }
}

/// How many numbers `random_key` tries before it counts keys instead.
const RANDOM_TRIES: usize = 100;

/// Which of the weights a random number falls into, and how far; they are not all zero.
fn draw(weights: impl Iterator<Item = usize> + Clone, random: u64) -> (usize, usize) {
    let total: usize = weights.clone().sum();
    // The product's upper half is below `total`.
    let mut at = ((u128::from(random) * total as u128) >> 64) as usize;
    for (number, weight) in weights.enumerate() {
        if at < weight {
            return (number, at);
        }
        at -= weight;
    }
    (0, 0)
}
