//! The seam to the file system: two small traits, object-safe, handed in at open. Nothing else in the workspace
//! touches files. [`RealFs`](crate::RealFs) implements it for the operating system, `SimFs` (feature `sim`) for tests.
//!
//! What an implementation promises, and the log relies on:
//!
//! - What [`File::sync_data`] or [`File::write_at_durable`] covered survives a power cut, including the file's length.
//! - Names created, renamed or removed survive a power cut once [`Fs::sync_dir`] has returned for their directory.
//! - A rename is atomic: after a power cut the target name is either the old or the new file.
//! - A write of a 512-byte sector is atomic: after a power cut it holds the old or the new bytes.

use std::{fmt, io, path::Path, sync::Arc};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; it must not exist, and is created.
    CreateNew,
    /// For reading and writing; it is created if it does not exist, and not truncated if it does.
    Create,
}

/// A file system.
pub trait Fs: Send + Sync + 'static {
    /// Creates a directory and its parents where they are missing.
    ///
    /// # Errors
    /// Those of the system.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, and others of the system.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing the target; durable after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after [`Fs::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`, and others of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, in no particular order. Names that are not UTF-8 are left out, as are
    /// subdirectories.
    ///
    /// # Errors
    /// Those of the system.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of the system. The caller must not assume anything about the names then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory of that name exists.
    ///
    /// # Errors
    /// Those of the system.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The space left for us on the file system of a directory, in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn available_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock, held until the answer is dropped or the process ends, and writes our process id into
    /// the file.
    ///
    /// # Errors
    /// `WouldBlock` with a [`LockHeld`] inside if another holds it; others of the system.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
}

/// An open file. Offsets and lengths are in bytes.
pub trait File: Send + Sync {
    /// Reads into `buf` from `offset`; returns how much, which is less than asked for only at the end of the file.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// As [`File::read_at`] if that needs no waiting for a disk; `None` if it would, or if there is no telling. It may return less
    /// than asked for anywhere in the file, but 0 only at its end.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let (_, _) = (buf, offset);
        Ok(None)
    }
    /// Writes all of `buf` at `offset`, growing the file if need be. After an error any part may have been written.
    ///
    /// # Errors
    /// Those of the system; `StorageFull` when there is no space.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf` at `offset`, durably on return. It says nothing about what other writes left unsynced.
    /// Whole pages from a page boundary are fastest.
    ///
    /// # Errors
    /// As [`File::write_at`] and [`File::sync_data`].
    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable, and the length.
    ///
    /// # Errors
    /// Those of the system. The caller must not assume anything about unsynced data then, nor try again.
    fn sync_data(&self) -> io::Result<()>;
    /// Sets the length, in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The length, in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is zero.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A held lock; dropping it releases it.
pub trait DirLock: Send + Sync {}

/// Inside the `WouldBlock` error of [`Fs::lock`]: who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHeld {
    /// The process id found in the lock file, if it could be read.
    pub pid: Option<u32>,
}

impl fmt::Display for LockHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "locked by process {pid}"),
            None => f.write_str("locked by another process"),
        }
    }
}

impl std::error::Error for LockHeld {}

impl LockHeld {
    /// The holder, if `error` is a refusal of [`Fs::lock`].
    #[must_use]
    pub fn of(error: &io::Error) -> Option<LockHeld> {
        error.get_ref()?.downcast_ref::<LockHeld>().copied()
    }

    pub(crate) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::WouldBlock, self)
    }
}
