//! Reading log files back: one file, batch by batch, every byte checked before it is believed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Fs, Lsn, OpenMode, WalError,
    error::io_error,
    format::{BatchHeader, FileHeader, VERSION, align_batch, checksum_of},
    fs::File,
    limits::{BATCH_ALIGN, BATCH_HEADER_BYTES, FILE_HEADER_BYTES, READ_WINDOW_BYTES},
};

/// A log file open for reading.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) base: u64,
    pub(crate) size: u64,
    /// A window of the file, from `window_at` (offset in the file).
    window: Vec<u8>,
    window_at: u64,
}

impl LogFile {
    /// Opens the file and checks its header against what is expected of it.
    pub(crate) fn open(
        fs: &dyn Fs,
        path: &Path,
        base: u64,
        database_id: &[u8; 16],
        mode: OpenMode,
    ) -> Result<LogFile, WalError> {
        let file = fs.open(path, mode).map_err(|e| io_error("open", path, e))?;
        let mut block = [0; FILE_HEADER_BYTES];
        let read = file.read_at(&mut block, 0).map_err(|e| io_error("read", path, e))?;
        if read < FILE_HEADER_BYTES {
            return Err(WalError::Truncated {
                path: path.to_owned(),
                expected_bytes: FILE_HEADER_BYTES as u64,
                actual_bytes: read as u64,
            });
        }
        let corrupt =
            |reason| WalError::Corrupt { path: path.to_owned(), offset: 0, lsn: Lsn::new(base), reason };
        let header = FileHeader::decode(&block).map_err(corrupt)?;
        if header.version != VERSION {
            let (found, supported) = (header.version, VERSION);
            return Err(WalError::UnsupportedVersion { path: path.to_owned(), found, supported });
        }
        if header.database_id != *database_id {
            let (expected, found) = (*database_id, header.database_id);
            return Err(WalError::WrongDatabase { path: path.to_owned(), expected, found });
        }
        if header.key_id != 0 {
            return Err(WalError::UnknownKey { path: path.to_owned(), key_id: header.key_id });
        }
        if header.base != base {
            return Err(corrupt("the file header states another position than the file's name"));
        }
        let actual_bytes = file.len().map_err(|e| io_error("ask for the length of", path, e))?;
        if actual_bytes < header.size {
            let expected_bytes = header.size;
            return Err(WalError::Truncated { path: path.to_owned(), expected_bytes, actual_bytes });
        }
        let size = header.size;
        Ok(LogFile { path: path.to_owned(), file, base, size, window: Vec::new(), window_at: 0 })
    }

    /// Opens the file without looking at its header; it ends where its bytes do.
    pub(crate) fn open_unchecked(fs: &dyn Fs, path: &Path, base: u64) -> Result<LogFile, WalError> {
        let file = fs.open(path, OpenMode::Read).map_err(|e| io_error("open", path, e))?;
        let size = file.len().map_err(|e| io_error("ask for the length of", path, e))?;
        Ok(LogFile { path: path.to_owned(), file, base, size, window: Vec::new(), window_at: 0 })
    }

    /// Where the file ends in the log.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.size
    }

    /// `bytes` bytes from the position `lsn`; fewer at the end of the file.
    pub(crate) fn bytes(&mut self, lsn: u64, bytes: usize) -> Result<&[u8], WalError> {
        let offset = lsn - self.base;
        let bytes = bytes.min((self.size.saturating_sub(offset)) as usize);
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if offset < held.start || offset + bytes as u64 > held.end {
            let want = bytes.max(READ_WINDOW_BYTES).min((self.size - offset) as usize);
            self.window.resize(want, 0);
            self.window_at = offset;
            let read = self.file.read_at(&mut self.window, offset);
            let read = match read {
                Ok(read) => read,
                Err(source) => {
                    self.window.clear();
                    return Err(io_error("read", &self.path, source));
                }
            };
            if read < want {
                self.window.clear();
                let (expected_bytes, actual_bytes) = (self.size, offset + read as u64);
                return Err(WalError::Truncated { path: self.path.clone(), expected_bytes, actual_bytes });
            }
        }
        let at = (offset - self.window_at) as usize;
        Ok(&self.window[at..at + bytes])
    }

    /// The batch that begins at `lsn`, if there is an intact one: its header and payload.
    pub(crate) fn batch(
        &mut self,
        lsn: u64,
        seed: &crc32fast::Hasher,
    ) -> Result<Option<(BatchHeader, &[u8])>, WalError> {
        let end = self.end();
        let Some(header) = self.header(lsn)? else { return Ok(None) };
        let length = BATCH_HEADER_BYTES as u64 + u64::from(header.payload_bytes);
        if header.lsn != lsn || lsn + length > end {
            return Ok(None);
        }
        let batch = self.bytes(lsn, length as usize)?;
        if !BatchHeader::verify(seed, batch) {
            return Ok(None);
        }
        Ok(Some((header, &batch[BATCH_HEADER_BYTES..])))
    }

    /// The checksum that a batch at `lsn` would have, if there is room for one.
    pub(crate) fn checksum(&mut self, lsn: u64) -> Result<Option<u32>, WalError> {
        let bytes = self.bytes(lsn, BATCH_HEADER_BYTES)?;
        Ok((bytes.len() == BATCH_HEADER_BYTES).then(|| checksum_of(bytes)))
    }

    /// The unverified fields at `lsn`, if there is room for a header.
    pub(crate) fn header(&mut self, lsn: u64) -> Result<Option<BatchHeader>, WalError> {
        let bytes = self.bytes(lsn, BATCH_HEADER_BYTES)?;
        Ok(bytes.first_chunk().map(BatchHeader::decode))
    }

    /// Looks from `from` to the end of the file for intact batches of at least `epoch`, wherever they begin. `found` is
    /// told each one's position, header and end, and says whether to stop.
    pub(crate) fn scan(
        &mut self,
        from: u64,
        epoch: u32,
        seed: &crc32fast::Hasher,
        found: &mut dyn FnMut(u64, &BatchHeader) -> bool,
    ) -> Result<(), WalError> {
        let mut lsn = align_batch(from);
        while lsn + BATCH_HEADER_BYTES as u64 <= self.end() {
            // Nearly every position is told apart by this one comparison, within a window.
            let window = self.bytes(lsn, READ_WINDOW_BYTES)?;
            let last = window.len() - BATCH_HEADER_BYTES;
            let candidate = (0..=last).step_by(BATCH_ALIGN).find(|at| {
                window[at + 8..]
                    .first_chunk()
                    .is_some_and(|field| u64::from_le_bytes(*field) == lsn + *at as u64)
            });
            let Some(at) = candidate else {
                lsn += (last - last % BATCH_ALIGN + BATCH_ALIGN) as u64;
                continue;
            };
            lsn += at as u64;
            if let Some((header, _)) = self.batch(lsn, seed)?
                && header.epoch >= epoch
                && found(lsn, &header)
            {
                return Ok(());
            }
            lsn += BATCH_ALIGN as u64;
        }
        Ok(())
    }
}
