//! The operating system's files behind the [`Fs`] seam. It adds no policy; it only finds the fastest way to make a
//! write durable.
//!
//! A durable write of whole pages goes past the page cache (`O_DIRECT`) with `RWF_DSYNC`, one system call in place of
//! two. Direct writes need aligned memory, so the bytes are copied once into an aligned part of a larger buffer. Where
//! the file system refuses direct I/O or the flag, the slower ways take over, for good.

use std::{
    fs, io,
    io::{IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use rustix::{
    fs::{FlockOperation, OFlags},
    io::{Errno, ReadWriteFlags},
};

use crate::{
    fs::{DirLock, File, Fs, LockHeld, OpenMode},
    limits::PAGE_BYTES,
};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

#[expect(clippy::disallowed_methods, reason = "this is the real file system behind the seam")]
impl Fs for RealFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        let file = options.open(path)?;
        Ok(Arc::new(RealFile {
            file,
            direct: OnceLock::new(),
            dsync_refused: AtomicBool::new(false),
            nowait_refused: AtomicBool::new(false),
            scratch: Mutex::new(Vec::new()),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = [0; 32];
                let len = file.read_at(&mut text, 0).unwrap_or(0);
                let pid = std::str::from_utf8(text.get(..len).unwrap_or_default()).ok();
                return Err(LockHeld { pid: pid.and_then(|pid| pid.trim().parse().ok()) }.into_error());
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(Box::new(RealLock { file }))
    }
}

/// Holding the descriptor open is what holds the lock.
struct RealLock {
    file: fs::File,
}

impl DirLock for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just forking holds the descriptor until it runs its program, and
        // an open right after this would be refused in our own name. A failure leaves what closing does.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

struct RealFile {
    file: fs::File,
    /// A second descriptor for direct I/O, opened at the first durable write; `None` once refused.
    direct: OnceLock<Option<fs::File>>,
    dsync_refused: AtomicBool,
    nowait_refused: AtomicBool,
    /// Aligned memory for direct writes. Guards only itself; held during the write.
    scratch: Mutex<Vec<u8>>,
}

impl RealFile {
    fn direct(&self) -> Option<&fs::File> {
        #[expect(clippy::disallowed_methods, reason = "this is the real file system behind the seam")]
        let open = || {
            let flags = OFlags::DIRECT.bits() as i32;
            // By descriptor, not by path: the file may have been renamed since.
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            fs::OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
        };
        self.direct.get_or_init(open).as_ref()
    }

    /// Whole pages, past the page cache. `Ok(false)`: not possible here.
    fn write_direct(&self, buf: &[u8], offset: u64) -> io::Result<bool> {
        let whole = buf.len().is_multiple_of(PAGE_BYTES) && offset.is_multiple_of(PAGE_BYTES as u64);
        if !whole || buf.is_empty() || self.dsync_refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let Some(direct) = self.direct() else { return Ok(false) };
        let mut scratch = self.scratch.lock();
        if scratch.len() < buf.len() + PAGE_BYTES {
            *scratch = vec![0; (buf.len() + PAGE_BYTES).next_power_of_two()];
        }
        let skip = scratch.as_ptr().align_offset(PAGE_BYTES);
        let Some(aligned) = scratch.get_mut(skip..skip + buf.len()) else { return Ok(false) };
        aligned.copy_from_slice(buf);
        match self.write_dsync(direct.as_fd(), aligned, offset) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(false),
            other => other,
        }
    }

    /// `Ok(false)`: the kernel does not know the flag.
    fn write_dsync(&self, fd: BorrowedFd<'_>, mut buf: &[u8], mut offset: u64) -> io::Result<bool> {
        while !buf.is_empty() {
            match rustix::io::pwritev2(fd, &[IoSlice::new(buf)], offset, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    buf = buf.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.dsync_refused.store(true, Ordering::Relaxed);
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl File for RealFile {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let asked = buf.len();
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(0) => break,
                Ok(read) => {
                    buf = buf.get_mut(read..).unwrap_or_default();
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(asked - buf.len())
    }

    fn read_at_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        while !self.nowait_refused.load(Ordering::Relaxed) {
            match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT)
            {
                Ok(read) => return Ok(Some(read)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                // Not known to the kernel, or not to this file system: it won't be the next time either.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.nowait_refused.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn write_at_durable(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if self.write_direct(buf, offset)? {
            return Ok(());
        }
        if !self.dsync_refused.load(Ordering::Relaxed) && self.write_dsync(self.file.as_fd(), buf, offset)? {
            return Ok(());
        }
        self.write_at(buf, offset)?;
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
