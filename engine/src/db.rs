//! The database: shards, log, clock, and the handle that everyone clones.
//!
//! A write: [`admit`](Db::admit_now) (no lock) → [`begin`](Db::begin) (shard locks) → change → commit (append to the log's buffer, unlock) →
//! acknowledge (write or sync). Nothing here does I/O under a shard's lock.

use crate::background::{self, Pauses, Threads};
use crate::clock::{EngineClock, LogClock};
use crate::databases::Databases;
use crate::evict_keys::KeyEviction;
use crate::fetch::ReadCounts;
use crate::fetch::{Begun, Fetch};
use crate::idle_pass::IdlePass;
use crate::key::{DATABASES, Key, KeyHasher, is_internal};
use crate::limits::{FREE_LATER_BYTES, MEMORY_SAMPLE_MS, SHARDS_MAX, SHARDS_MIN};
use crate::live::LiveCounts;
use crate::location::Location;
use crate::object::{Form, Object, slab_bytes};
use crate::observer::{Observed, Observer, Witness};
use crate::recovery::{self, Replay, Shards, shard_number};
use crate::segments::{Segment, Segments};
use crate::sessions::{Sessions, reaper};
use crate::stats::{RecoveryReport, Stats, StorageStats};
use crate::storage::{self, Storage};
use crate::tiering::{Held, Tiering};
use crate::trim::Trim;
use crate::txn::{Access, Taken, Txn};
use crate::watch::Watch;
use crate::{Error, Eviction, Options};
use sessile_wal::sync::Mutex;
use sessile_wal::{Clock, DirLock, Durability, LockHeld, Lsn, Wal, WalOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The lock's name in the data directory.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// Log files of a directory whose size is limited are at least this long, in bytes.
const LOG_FILE_BYTES_MIN: u64 = 1 << 20;
/// More than this is written by the log's thread rather than by who asks for it: an event loop, for which clients wait.
const PUSHED_BYTES_MAX: u64 = 1 << 20;

/// A clock that the log is ahead of by more than this, in ms, is worth a warning.
const CLOCK_AHEAD_WARN_MS: u64 = 1_000;

/// What all handles share.
pub(crate) struct Inner {
    pub(crate) shards: Shards,
    pub(crate) shard_bits: u32,
    pub(crate) hasher: KeyHasher,
    pub(crate) databases: Databases,
    pub(crate) wal: Wal,
    pub(crate) clock: EngineClock,
    pub(crate) segments: Segments,
    pub(crate) storage: Storage,
    pub(crate) tiering: Tiering,
    pub(crate) reads: Arc<ReadCounts>,
    /// Transactions on copies that are open: objects may be shared with one.
    pub(crate) overlays: AtomicUsize,
    pub(crate) key_eviction: KeyEviction,
    pub(crate) idle_pass: IdlePass,
    pub(crate) trim: Trim,
    background: bool,
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
    /// Who is told of keys that expire or are evicted.
    pub(crate) observed: Observed,
    pub(crate) sessions: Sessions,
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

    /// Where the object of a key may be that is on disk only: that of the only entry with its hash and database.
    pub(crate) fn cold_place(&self, key: &Key<'_>) -> Option<(Location, Arc<Segment>)> {
        let shard = self.shards[self.shard_number(key.hash)].lock();
        let place = shard.find_hash(key.hash, |entry| {
            entry.handle().form() == Form::Cold && entry.handle().database() == key.database
        })?;
        let location = shard.entry(place).handle().location()?;
        Some((location, self.segments.at(location)?))
    }

    /// A key of a logical database.
    #[inline]
    pub(crate) fn key<'a>(&self, database: u8, bytes: &'a [u8]) -> Key<'a> {
        Key { logical: database, ..self.hasher.key(self.databases.map().inner(database), bytes) }
    }

    /// Whether a key still means what it did when it was hashed. Only with a shard locked does the answer last.
    #[inline]
    pub(crate) fn is_current(&self, key: &Key<'_>) -> bool {
        is_internal(key.database) || self.databases.map().inner(key.logical) == key.database
    }

    /// Sees to it that a transaction that was begun can read what it has been begun with.
    #[inline]
    pub(crate) fn bring<'db>(
        &self,
        mut txn: Txn<'db>,
        keys: &[Key<'_>],
        fetched: Option<Fetch>,
    ) -> Result<Begun<'db>, Error> {
        if keys.iter().any(|key| !self.is_current(key)) {
            return Err(Error::DatabasesSwapped);
        }
        if self.observed.is_on() {
            txn.bury_dead(keys);
        }
        if !txn.wants_bring() {
            txn.lend_heads(fetched);
        } else if let Some(fetch) = txn.bring(keys, fetched)? {
            return Ok(Begun::Cold(fetch));
        }
        Ok(Begun::Ready(txn))
    }

    /// Frees what a transaction let go of: the small at once, the large in the background.
    pub(crate) fn free(&self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            if matches!(object, Object::Structured(_)) && object.memory_bytes() > FREE_LATER_BYTES {
                self.garbage.lock().push(Box::new(object));
            }
        }
    }

    /// Frees what was taken out of emptied databases, in the background.
    pub(crate) fn free_cleared(&self, taken: Vec<Taken>) {
        let mut garbage = self.garbage.lock();
        for (shard, objects) in taken {
            garbage.push(Box::new(shard));
            garbage.push(Box::new(objects));
        }
        drop(garbage);
        self.pauses.expiry.wake();
    }

    /// Who tells the observer, if there is one, of what is about to happen.
    pub(crate) fn witness(&self) -> Witness<'_> {
        self.observed.witness(&self.segments, &self.databases)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Adds up the bytes in memory if it is time to.
    pub(crate) fn sample_memory(&self, now_ms: u64) {
        if now_ms >= self.memory_sample_due_ms.load(Ordering::Relaxed) {
            self.memory_sample_due_ms.store(now_ms + MEMORY_SAMPLE_MS, Ordering::Relaxed);
            let used_bytes = self.count_memory();
            if self.background {
                self.trim.step(used_bytes, now_ms);
            }
        }
    }

    fn count_memory(&self) -> u64 {
        let held = self.held();
        held.index_bytes + held.object_bytes
    }

    /// Adds up what all shards hold.
    pub(crate) fn held(&self) -> Held {
        let (mut held, mut away) = (Held::default(), false);
        for shard in &self.shards {
            let shard = shard.lock();
            let weight = shard.weight();
            held.index_bytes += shard.index_bytes() as u64;
            held.object_bytes += weight.bytes as u64;
            held.dirty_bytes += weight.dirty_bytes as u64;
            away |= shard.has_away();
        }
        self.tiering.note_held(held, away);
        let bytes = held.index_bytes + held.object_bytes;
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        held
    }

    /// Whether keys are deleted when memory is full, instead of values leaving it.
    pub(crate) fn evicts_keys(&self) -> bool {
        self.key_eviction.policy() != Eviction::None
    }

    /// Whether reads are noted follows from whether anyone looks at the notes.
    fn count_accesses(&self) {
        self.tiering.count_accesses(self.idle_pass.is_on());
    }

    /// Whether a write may happen, for all that the limits of disk and memory say.
    fn check_limits(&self, access: Access) -> Result<(), Error> {
        if access != Access::Write {
            return Ok(());
        }
        if self.key_eviction.is_exhausted() {
            return Err(Error::MemoryLimit { limit_bytes: self.tiering.limit_bytes() });
        }
        self.storage.check_disk_limit()
    }

    /// Asks whether a write of about `bytes` may happen; waits while the log's buffer is over its limit.
    pub(crate) fn admit(&self, bytes: usize, access: Access) -> Result<(), Error> {
        let Some(admit) = access.admit() else { return Ok(()) };
        self.check_open()?;
        self.check_limits(access)?;
        while access == Access::Write && self.background && self.tiering.is_overfull() {
            self.tiering.wait_for_relief();
            self.check_open()?;
        }
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn shard_count() -> usize {
    (cores() * 16).next_power_of_two().clamp(SHARDS_MIN, SHARDS_MAX)
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
        let mut manifest = recovery::manifest(&*fs, directory, wall_ms)?;
        let hasher = KeyHasher::new(manifest.hash_key).masked(options.tuning.hash_mask);
        let threads = if options.background { cores() } else { 1 };

        let segments = Segments::new(Arc::new(LiveCounts::new()));
        let files = recovery::open_files(&*fs, directory, &manifest, &segments)?;
        // Before anything is changed: what is refused stays as it is.
        manifest.side_files = Some(crate::side_file::verify_all(&*fs, directory, &manifest)?);
        let index_entries = files.indexes.iter().map(crate::index_file::IndexFile::entries).sum();
        let index_files = files.indexes.len();
        let mut progress = recovery::Progress::new(Arc::clone(&options.clock), manifest.checkpoint.log_from);
        progress.index(index_entries, index_files);
        let shard_count = options.tuning.shards.unwrap_or_else(shard_count);
        let shards = recovery::load(directory, &manifest, &files, &segments, shard_count, wall_ms, threads)?;
        let shard_bits = shard_count.trailing_zeros();
        let indexed_ns = options.clock.monotonic_ns();
        let state = &manifest.checkpoint;
        let databases = Databases::new(state.databases);
        let replay = Replay {
            shards: &shards,
            shard_bits,
            hasher: &hasher,
            databases: &databases,
            segments: &segments,
            cuts: &files.cuts,
            now_ms: wall_ms,
            reached: state.log_reached,
            given_up: Mutex::default(),
        };
        let mut log_options = WalOptions::default()
            .durability(options.durability)
            .database_id(manifest.database_id)
            .known_durable(Lsn::new(state.log_reached))
            .known_checksum(state.log_checksum);
        // In a small directory the log must not take all there may be.
        let log_share = (options.disk_bytes_max / 16).clamp(LOG_FILE_BYTES_MIN, u64::MAX);
        // What one checkpoint releases is what the log needs until the next: kept, its files are never filled with zeros again.
        log_options.spare_bytes_max =
            log_options.spare_bytes_max.max(options.checkpoint_log_bytes).min(log_share);
        let file_bytes = options.log_file_bytes_max.unwrap_or(log_options.segment_bytes_max);
        log_options = log_options.segment_bytes_max(file_bytes.min(log_share));
        let log_clock = Arc::new(LogClock::new(Arc::clone(&options.clock)));
        let (opened, replayed) = replay.with_threads(threads, |dealer| {
            Wal::open(
                Arc::clone(&fs),
                Arc::clone(&log_clock) as _,
                directory,
                log_options,
                Lsn::new(state.log_from),
                &mut |lsn, record| {
                    progress.record(lsn);
                    dealer.record(lsn, record).map_err(Into::into)
                },
            )
        });
        let (wal, log) = opened.map_err(Error::Log)?;
        replayed.map_err(|bad| Error::BadLog { path: directory.into(), reason: bad.to_string() })?;
        replay.read_twins().map_err(|reason| Error::BadLog { path: directory.into(), reason })?;
        drop(files);
        let orphans = recovery::remove_orphans(&*fs, directory, &mut manifest)?;
        let high_water_ms = log.clock_high_water_ms.max(manifest.checkpoint.time_ms);
        let clock = log_clock.start(high_water_ms);
        let dictionary = segments.dictionaries().pop();
        let storage = Storage::new(options, directory.into(), manifest, dictionary);
        let clock_ahead_ms = high_water_ms.saturating_sub(wall_ms);
        if clock_ahead_ms > CLOCK_AHEAD_WARN_MS {
            tracing::warn!(
                ahead_ms = clock_ahead_ms,
                "the wall clock is behind the latest time in the log: it was set back; time goes on from the log's"
            );
        }
        let recovery = RecoveryReport {
            created: log.created && log.records == 0,
            keys: shards.iter().map(|shard| shard.lock().live_keys(clock.now_ms())).sum(),
            index_files,
            index_entries,
            index_elapsed: Duration::from_nanos(indexed_ns - begun_ns),
            segments: segments.all().len(),
            segment_bytes: segments.all().iter().map(|segment| segment.bytes).sum(),
            orphans,
            log_records: log.records,
            log_bytes: log.bytes,
            torn: log.torn.map(|torn| (torn.path, torn.offset, torn.bytes)),
            elapsed: Duration::from_nanos(options.clock.monotonic_ns() - begun_ns),
            clock_ahead_ms,
        };
        let inner = Arc::new(Inner {
            shards,
            shard_bits,
            hasher,
            databases,
            wal,
            clock,
            segments,
            storage,
            tiering: Tiering::new(options.memory_bytes_max),
            reads: Arc::default(),
            key_eviction: KeyEviction::new(options.eviction),
            idle_pass: IdlePass::new(options.idle_compression),
            trim: Trim::default(),
            background: options.background,
            expired_keys: AtomicU64::new(0),
            expiry_lag_ms: AtomicU64::new(0),
            expiry_lag_max_ms: AtomicU64::new(0),
            expiry_on: AtomicBool::new(true),
            memory_bytes: AtomicU64::new(0),
            memory_peak_bytes: AtomicU64::new(0),
            overlays: AtomicUsize::new(0),
            memory_sample_due_ms: AtomicU64::new(0),
            garbage: Mutex::default(),
            observed: Observed::default(),
            sessions: Sessions::new(),
            pauses: Pauses::default(),
            closed: AtomicBool::new(false),
            directory: directory.into(),
            recovery,
            _lock: lock,
        });
        inner.load_sessions()?;
        inner.count_accesses();
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

    /// The clock that the database was opened with: for whoever measures how long something may take beside it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.storage.clock
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

    /// Whether a write of about `bytes` is welcome. `Ok(false)`: not now, the log's buffer or memory is over its limit; come back after a turn. Never
    /// blocks; for event loops, before [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`], [`Error::TooLarge`], [`Error::Closed`]. A reader is always welcome.
    #[inline]
    pub fn admit_now(&self, bytes: usize, access: Access) -> Result<bool, Error> {
        let Some(admit) = access.admit() else { return Ok(true) };
        self.inner.check_open()?;
        self.inner.check_limits(access)?;
        if access == Access::Write && self.inner.tiering.is_overfull() {
            return Ok(false);
        }
        let welcome = self.inner.wal.admit_now(bytes, admit).map_err(Error::of_log)?;
        if !welcome {
            self.inner.wake_log_if_wanted();
        }
        Ok(welcome)
    }

    /// Locks the shards of `keys`, in one global order, and begins an atomic step at time `now_ms` (see [`now_ms`](Self::now_ms)). Values that are
    /// not in memory are read first, which may wait for a disk; [`try_begin`](Self::try_begin) never does. Ask [`admit_now`](Self::admit_now)
    /// before a write.
    ///
    /// A second transaction on the same thread while one is open deadlocks: pass all keys at once. [`transaction`](Self::transaction) is the
    /// convenient form.
    ///
    /// # Errors
    /// As [`try_begin`](Self::try_begin).
    pub fn begin(&self, keys: &[Key<'_>], access: Access, now_ms: u64) -> Result<Txn<'_>, Error> {
        let mut fetched = None;
        loop {
            match self.try_begin(keys, access, now_ms, fetched)? {
                Begun::Ready(txn) => return Ok(txn),
                Begun::Cold(mut fetch) => {
                    // Most of what is cold is in the page cache.
                    if !fetch.try_now() {
                        fetch.wait();
                    }
                    fetched = Some(fetch);
                }
            }
        }
    }

    /// As [`begin`](Self::begin), if the objects of all keys are in memory in readable form; else what has to be read before. Never does I/O. `fetched` is what was
    /// read after such an answer to the same call.
    ///
    /// # Errors
    /// [`Error::DamagedValue`] if what was read is not sound; [`Error::Io`] if it could not be read; [`Error::DatabasesSwapped`] if the keys
    /// were hashed before a [swap](Self::swap_databases).
    pub fn try_begin(
        &self,
        keys: &[Key<'_>],
        access: Access,
        now_ms: u64,
        fetched: Option<Fetch>,
    ) -> Result<Begun<'_>, Error> {
        self.bring(Txn::begin(&self.inner, keys, access, now_ms), keys, fetched)
    }

    /// As [`try_begin`](Self::try_begin), with the locks of what is watched, so that [`Txn::is_unchanged`] can be asked.
    ///
    /// # Errors
    /// As [`try_begin`](Self::try_begin).
    pub fn try_begin_watching<'w>(
        &self,
        keys: &[Key<'_>],
        watches: impl Iterator<Item = &'w Watch>,
        access: Access,
        now_ms: u64,
        fetched: Option<Fetch>,
    ) -> Result<Begun<'_>, Error> {
        self.bring(Txn::begin_watching(&self.inner, keys, watches, access, now_ms), keys, fetched)
    }

    /// As [`try_begin`](Self::try_begin), over every key there is or may be; `keys` are those whose objects must be readable.
    ///
    /// # Errors
    /// As [`try_begin`](Self::try_begin).
    pub fn try_begin_all(
        &self,
        keys: &[Key<'_>],
        access: Access,
        now_ms: u64,
        fetched: Option<Fetch>,
    ) -> Result<Begun<'_>, Error> {
        self.bring(Txn::begin_all(&self.inner, access, now_ms), keys, fetched)
    }

    #[inline]
    fn bring<'db>(
        &self,
        txn: Txn<'db>,
        keys: &[Key<'_>],
        fetched: Option<Fetch>,
    ) -> Result<Begun<'db>, Error> {
        self.inner.bring(txn, keys, fetched)
    }

    /// Whether any value is not in memory in readable form, so that [`scan`](Self::scan) and [`random_key`](Self::random_key) may wait for a disk.
    pub fn has_cold(&self) -> bool {
        self.inner.tiering.has_away()
    }

    /// Makes a checkpoint: everything committed before this call is in segments and index when it returns, and the log before it is released.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`]; nothing is lost by a checkpoint that fails.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.inner.check_open()?;
        self.inner.storage.checkpoint(&self.inner, self.inner.background)
    }

    /// Asks for a checkpoint in the background; false if one is under way.
    pub fn request_checkpoint(&self) -> bool {
        self.inner.storage.request(&self.inner)
    }

    /// Changes [`Options::memory_bytes_max`].
    pub fn set_memory_bytes_max(&self, bytes: u64) {
        self.inner.tiering.set_limit(bytes);
        self.inner.count_accesses();
        self.inner.pauses.tiering.wake();
    }

    /// Changes [`Options::disk_bytes_max`].
    pub fn set_disk_bytes_max(&self, bytes: u64) {
        self.inner.storage.set_disk_limit(bytes);
    }

    /// Changes [`Options::eviction`].
    pub fn set_eviction(&self, eviction: Eviction) {
        self.inner.key_eviction.set(eviction);
        self.inner.pauses.tiering.wake();
    }

    /// Changes [`Options::idle_compression`].
    pub fn set_idle_compression(&self, on: bool) {
        self.inner.idle_pass.set(on);
        self.inner.count_accesses();
        self.inner.pauses.tiering.wake();
    }

    /// Changes [`Options::checkpoint_log_bytes`] and [`Options::checkpoint_interval`].
    pub fn set_checkpoint_trigger(&self, log_bytes: u64, interval: Duration) {
        let triggers = &self.inner.storage.triggers;
        triggers.log_bytes.store(log_bytes, Ordering::Relaxed);
        triggers
            .interval_ms
            .store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Tells the engine how many bytes of memory the process holds (its RSS) and how many of them are not the engine's, so that
    /// [`Options::memory_bytes_max`] bounds what the allocator holds and not only what was asked of it. Call it about ten times a second.
    pub fn note_resident_bytes(&self, resident_bytes: u64) {
        self.inner.tiering.note_resident(resident_bytes, self.memory_bytes());
        self.inner.trim.note_resident(resident_bytes);
    }

    /// Says that `keys` will be asked for in a moment: what their lookups read is fetched from memory for all at once instead of one after
    /// the other. A hint for pipelines of some ten commands; it changes nothing.
    pub fn prefetch(&self, keys: &[Key<'_>]) {
        Txn::begin(&self.inner, keys, Access::Read, 0).prefetch(keys);
    }

    /// As [`begin`](Self::begin), over every key there is or may be.
    pub fn begin_all(&self, access: Access, now_ms: u64) -> Txn<'_> {
        Txn::begin_all(&self.inner, access, now_ms)
    }

    /// Number of keys in a numbered database, counting those whose deadline came within the last moments.
    pub fn len_of(&self, database: u8) -> usize {
        let database = self.inner.databases.map().inner(database);
        self.inner.shards.iter().map(|shard| shard.lock().counts(database).keys as usize).sum()
    }

    /// Number of keys in a numbered database that have a deadline.
    pub fn len_with_deadline(&self, database: u8) -> usize {
        let database = self.inner.databases.map().inner(database);
        self.inner.shards.iter().map(|shard| shard.lock().counts(database).with_deadline as usize).sum()
    }

    /// Removes all keys of a numbered database (`Some`) or of all (`None`), atomically. Memory is freed in the background. The position to be
    /// acknowledged.
    ///
    /// # Errors
    /// As [`admit_now`](Self::admit_now).
    pub fn clear(&self, database: Option<u8>) -> Result<Lsn, Error> {
        self.inner.admit(16, Access::Delete)?;
        let mut txn = self.begin_all(Access::Delete, self.now_ms());
        txn.clear(database);
        Ok(txn.commit())
    }

    /// Swaps two numbered databases, atomically: the keys of each are then in the other. The position to be acknowledged. Keys that were hashed
    /// before must be hashed again ([`Error::DatabasesSwapped`]).
    ///
    /// # Errors
    /// As [`admit_now`](Self::admit_now).
    ///
    /// # Panics
    /// If a number is not below [`DATABASES`].
    pub fn swap_databases(&self, one: u8, other: u8) -> Result<Lsn, Error> {
        self.inner.admit(16, Access::Write)?;
        let mut txn = self.begin_all(Access::Write, self.now_ms());
        txn.swap_databases(one, other);
        Ok(txn.commit())
    }

    /// Everything committed below this position is acknowledged, by the configured durability.
    #[inline]
    pub fn acknowledged(&self) -> Lsn {
        self.inner.wal.acknowledged()
    }

    /// Everything committed so far is below this position.
    #[inline]
    pub fn appended(&self) -> Lsn {
        self.inner.wal.appended()
    }

    /// Everything committed below this position survives a power cut, whatever the configured durability.
    #[inline]
    pub fn durable(&self) -> Lsn {
        self.inner.wal.durable()
    }

    /// Has everything committed below this position made durable soon, by the sync thread ([`Options::sync_thread`]). Never blocks; the
    /// [notifier](Self::set_notifier) says when to look at [`durable`](Self::durable).
    pub fn request_sync(&self, lsn: Lsn) {
        self.inner.wal.request_sync(lsn);
    }

    /// Hands what was committed so far to the operating system: once a turn of an event loop, before it replies. If that is much, or with
    /// [`Durability::Always`], it asks the log's thread or the sync thread instead ([`Options::sync_thread`]) and returns at once: replies wait for
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
        if self.inner.background && appended.get().saturating_sub(wal.acknowledged().get()) > PUSHED_BYTES_MAX
        {
            // Who handed so much over would wait for the disk; the log's thread is there for that, and tells everybody when it has.
            self.inner.pauses.log.wake();
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

    /// Says who is told of keys that expire or are evicted, from when [`set_observing`](Self::set_observing) switches it on. Only the first
    /// call counts.
    pub fn set_observer(&self, observer: Arc<dyn Observer>) {
        self.inner.observed.set(observer);
    }

    /// Whether the [observer](Self::set_observer) is told. While it is not, it costs nothing.
    pub fn set_observing(&self, on: bool) {
        self.inner.observed.switch(on);
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
        let log = background::log_step(&self.inner);
        let storage = storage::step(&self.inner);
        let tiering = background::tiering_step(&self.inner);
        let sessions = reaper::step(&self.inner);
        // What else there is to do does not depend on the log.
        Ok(expiry.min(log?).min(storage).min(tiering).min(sessions))
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
            storage: self.storage_stats(),
        }
    }

    fn storage_stats(&self) -> StorageStats {
        let inner = &self.inner;
        let mut stats = inner.storage.stats(inner);
        for shard in &inner.shards {
            let shard = shard.lock();
            let weight = shard.weight();
            let keys = shard.table().len() as u64;
            stats.values_cold += u64::from(weight.cold);
            stats.values_compressed += u64::from(weight.idle);
            stats.values_dirty += u64::from(weight.dirty);
            stats.values_resident += keys - u64::from(weight.cold) - u64::from(weight.idle);
        }
        stats.slab_bytes = slab_bytes() as u64;
        stats.keys_evicted = inner.key_eviction.evicted.load(Ordering::Relaxed);
        stats.values_evicted = inner.tiering.evicted.load(Ordering::Relaxed);
        stats
    }

    /// Makes everything durable and refuses writes from here on, through any clone. Dropping the last clone does the same, but can't say
    /// whether it worked.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::LogFailed`].
    pub fn close(&self) -> Result<(), Error> {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.sessions.listeners.tell();
        // Whoever was admitted before has either committed once every shard's lock was free, or is seen by the log's own flush.
        drop(self.begin_all(Access::Read, 0));
        self.inner.storage.close();
        self.inner.wal.close().map_err(Error::of_log)
    }
}
