//! How to open a database.

use crate::{Db, Error};
use sessile_wal::{Clock, Durability, Fs, RealFs, SystemClock};
use std::path::Path;
use std::sync::Arc;

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
}

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

    /// Opens the database in the directory `path`, creating both if there is neither, and recovers what it holds.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it open; [`Error::DamagedManifest`], [`Error::MissingManifest`], [`Error::Log`] if the
    /// directory is damaged (nothing on disk is changed then); [`Error::Io`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db, Error> {
        Db::open_with(path.as_ref(), &self)
    }
}
