//! How to open a database.

use crate::{Db, Error, StorageTuning};
use sessile_wal::{Clock, Durability, Fs, RealFs, SystemClock};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How to open a database; [`Db::open`] uses the defaults.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use sessile::{Durability, Options};
///
/// let db = Options::new().durability(Durability::Always).open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) background: bool,
    pub(crate) sync_thread: bool,
    pub(crate) log_file_bytes_max: Option<u64>,
    pub(crate) memory_bytes_max: u64,
    pub(crate) disk_bytes_max: u64,
    pub(crate) eviction: Eviction,
    pub(crate) idle_compression: bool,
    pub(crate) checkpoint_log_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) tuning: StorageTuning,
}

/// What happens when memory reaches its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// Values that are clean and cold leave memory for the disk; no data is lost. Redis's `noeviction`.
    #[default]
    None,
    /// Keys that were not used lately are deleted (`allkeys-lru`, `allkeys-lfu`).
    AllKeysLru,
    /// Keys drawn at random are deleted (`allkeys-random`).
    AllKeysRandom,
    /// Keys with a deadline that were not used lately are deleted (`volatile-lru`, `volatile-lfu`).
    VolatileLru,
    /// Keys with a deadline, drawn at random, are deleted (`volatile-random`).
    VolatileRandom,
    /// Keys that die soonest are deleted first, by samples (`volatile-ttl`).
    VolatileTtl,
}

/// Log written since the last checkpoint that asks for the next, in bytes, unless set.
const CHECKPOINT_LOG_BYTES: u64 = 256 << 20;
/// Time since the last checkpoint that asks for the next, unless set.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(15 * 60);

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("durability", &self.durability).finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults: [`Durability::EverySecond`], the real file system and clock, one background thread.
    pub fn new() -> Options {
        Options {
            durability: Durability::default(),
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock),
            background: true,
            sync_thread: false,
            log_file_bytes_max: None,
            memory_bytes_max: u64::MAX,
            disk_bytes_max: u64::MAX,
            eviction: Eviction::default(),
            idle_compression: false,
            checkpoint_log_bytes: CHECKPOINT_LOG_BYTES,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            tuning: StorageTuning::default(),
        }
    }

    /// What an acknowledged write survives. `EverySecond` unless set.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// The file system to use instead of the operating system's.
    #[must_use]
    pub fn file_system(mut self, fs: Arc<dyn Fs>) -> Options {
        self.fs = fs;
        self
    }

    /// The clock to use instead of the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = clock;
        self
    }

    /// Starts no thread: whoever opens the database calls [`Db::step`]. For simulations, and for programs that have a loop of their own.
    #[must_use]
    pub fn manual_background(mut self) -> Options {
        self.background = false;
        self
    }

    /// Starts a thread that syncs the log whenever [`Db::push_log`] asks, for servers whose event loops must not wait for a disk.
    #[must_use]
    pub fn sync_thread(mut self) -> Options {
        self.sync_thread = true;
        self
    }

    /// The largest log file, in bytes; see [`sessile_wal::WalOptions`] for limits and default.
    #[must_use]
    pub fn log_file_bytes_max(mut self, bytes: u64) -> Options {
        self.log_file_bytes_max = Some(bytes);
        self
    }

    /// Bounds what is resident, in bytes: above it, values that are clean and cold leave memory, or keys are deleted, as
    /// [`eviction`](Self::eviction) says. What is stored is not bounded by it. No limit unless set.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: u64) -> Options {
        self.memory_bytes_max = bytes;
        self
    }

    /// What happens at [`memory_bytes_max`](Self::memory_bytes_max).
    #[must_use]
    pub fn eviction(mut self, eviction: Eviction) -> Options {
        self.eviction = eviction;
        self
    }

    /// Bounds the directory, in bytes: at the limit, writes are refused with [`Error::DiskLimit`] until something has been deleted or has
    /// expired. No limit unless set.
    #[must_use]
    pub fn disk_bytes_max(mut self, bytes: u64) -> Options {
        self.disk_bytes_max = bytes;
        self
    }

    /// Whether values that are idle are held compressed in memory, once a dictionary has been trained. Off unless set: it costs about 1.5 µs for
    /// the first read of an idle value.
    #[must_use]
    pub fn idle_compression(mut self, on: bool) -> Options {
        self.idle_compression = on;
        self
    }

    /// A checkpoint begins once so many bytes of log were written since the last. 256 MiB unless set.
    #[must_use]
    pub fn checkpoint_log_bytes(mut self, bytes: u64) -> Options {
        self.checkpoint_log_bytes = bytes;
        self
    }

    /// A checkpoint begins so long after the last, if anything was written since. 15 minutes unless set.
    #[must_use]
    pub fn checkpoint_interval(mut self, interval: Duration) -> Options {
        self.checkpoint_interval = interval;
        self
    }

    /// Takes [`manual_background`](Self::manual_background) back.
    #[doc(hidden)]
    #[must_use]
    pub fn threads(mut self) -> Options {
        self.background = true;
        self
    }

    /// Other limits than the storage has, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn storage_tuning(mut self, tuning: StorageTuning) -> Options {
        self.tuning = tuning;
        self
    }

    /// Opens the database in the directory `path`, creating both if there is neither, and recovers what it holds.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it open; [`Error::DamagedManifest`], [`Error::MissingManifest`], [`Error::Log`] if the
    /// directory is damaged (nothing on disk is changed then); [`Error::Io`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db, Error> {
        Db::open_with(path.as_ref(), &self)
    }
}
