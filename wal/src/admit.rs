//! Admission: whether a record may be appended, asked before anything is changed or locked.
//!
//! It holds callers back while the buffer is full, refuses them when the log is poisoned, and sees to it that a full disk
//! is noticed here, and not when the change has already been made: a record is admitted only if it fits into files that
//! are already written through.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    WalError,
    limits::{DELETE_RESERVE_BYTES, RECORD_BYTES_MAX},
    log::Log,
};

/// What an operation does to space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may use space.
    Write,
    /// It frees space, so it may use a small reserve that is kept for it when the disk is full.
    Delete,
}

/// Framing of a record, a seal, the reserve, and some for others who append meanwhile.
const AMPLE_BYTES: u64 = 2 * DELETE_RESERVE_BYTES;

enum Room {
    Enough,
    BufferFull,
    /// The next file has to be made first.
    NoFile,
}

impl Log {
    pub(crate) fn admit(&self, bytes: usize, kind: Admit) -> Result<(), WalError> {
        loop {
            match self.room(bytes, kind)? {
                Room::Enough => return Ok(()),
                Room::BufferFull => self.write(self.appended())?,
                Room::NoFile => self.make_room(bytes)?,
            }
        }
    }

    pub(crate) fn admit_now(&self, bytes: usize, kind: Admit) -> Result<bool, WalError> {
        match self.room(bytes, kind)? {
            Room::Enough => Ok(true),
            Room::BufferFull => Ok(false),
            Room::NoFile if self.counters.disk_full.load(Relaxed) => {
                Err(WalError::DiskFull { path: self.dir.clone(), needed_bytes: bytes as u64 })
            }
            Room::NoFile => {
                self.refused_bytes.fetch_max(bytes, Relaxed);
                self.step_wanted.store(true, Relaxed);
                // Whoever waits for a file that can't be made would wait for as long as that lasts: he is told instead. The
                // background goes on trying.
                self.why_no_next_file().map_or(Ok(false), Err)
            }
        }
    }

    fn room(&self, bytes: usize, kind: Admit) -> Result<Room, WalError> {
        self.check()?;
        if bytes > RECORD_BYTES_MAX {
            return Err(WalError::RecordTooLarge { bytes, limit_bytes: RECORD_BYTES_MAX });
        }
        let appended = self.appended();
        let waiting = appended.saturating_sub(self.written());
        if waiting > 0 && waiting.saturating_add(bytes as u64) > self.options.buffer_bytes_max as u64 {
            return Ok(Room::BufferFull);
        }
        // Nearly always the current file has ample room, which needs no lock to see. It does not matter that another may
        // append at the same time: what finds no file waits in the buffer for one.
        let ample = appended.saturating_add(bytes as u64 + AMPLE_BYTES);
        if ample <= self.file_end.load(Relaxed) {
            return Ok(Room::Enough);
        }
        let buffer = self.buffer.0.lock();
        let reserve = match kind {
            Admit::Write => DELETE_RESERVE_BYTES.min(self.options.segment_bytes_max / 8),
            Admit::Delete => 0,
        };
        if buffer.fits_next(bytes) || buffer.fits_current(bytes, reserve) {
            return Ok(Room::Enough);
        }
        Ok(Room::NoFile)
    }

    /// Makes the next file, large enough for a record of that length.
    fn make_room(&self, bytes: usize) -> Result<(), WalError> {
        if self.counters.disk_full.load(Relaxed) && self.clock.monotonic_ns() < self.retry_at_ns.load(Relaxed)
        {
            return Err(WalError::DiskFull { path: self.dir.clone(), needed_bytes: bytes as u64 });
        }
        let mut files = self.files.lock();
        let Some((base, size)) = self.next_file(bytes, &files) else { return Ok(()) };
        let made = match files.has_space(size) {
            Ok(true) => files.prepare(base, size),
            Ok(false) => Err(WalError::DiskFull { path: self.dir.clone(), needed_bytes: size }),
            Err(error) => Err(error),
        };
        drop(files);
        made.map_err(|error| self.no_file(error))?;
        self.next_file_ready(base, size);
        self.space_returned();
        Ok(())
    }
}
