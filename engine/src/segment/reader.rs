//! Reading single records of a finished segment.

use super::format::{ALIGNMENT, Checksum, RECORDS_AT, Record, SegmentHeader, Stored, body, file_name};
use crate::compression::Compressor;
use crate::dictionary::{Dictionary, missing};
use crate::limits::{BUFFER_BYTES_KEPT, RECORD_READ_BYTES};
use crate::{Error, file_header};
use sessile_wal::{File, Fs, OpenMode};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A finished segment. Any number of threads may read it at once; it has no locks.
pub(crate) struct SegmentFile {
    id: u32,
    dictionary: Option<Arc<Dictionary>>,
    file: Arc<dyn File>,
    path: PathBuf,
    bytes: u64,
    checksum: Checksum,
    stamp: u32,
}

/// Working memory for reading, of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    record: Vec<u8>,
    pub(crate) object: Vec<u8>,
    pub(crate) compressor: Compressor,
}

impl Scratch {
    /// Lends the calling thread's. It must not be asked for again within `use_it`, which then would get another one.
    pub(crate) fn of_thread<T>(use_it: impl FnOnce(&mut Scratch) -> T) -> T {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => use_it(&mut scratch),
            Err(_) => use_it(&mut Scratch::default()),
        })
    }
}

impl SegmentFile {
    /// Opens a segment that the manifest knows and that has at least `bytes` bytes; what is behind them is not part of it.
    pub(crate) fn open(
        fs: &dyn Fs,
        dir: &Path,
        database_id: &[u8; 16],
        id: u32,
        bytes: u64,
        dictionary: impl FnOnce(u32) -> Option<Arc<Dictionary>>,
    ) -> Result<SegmentFile, Error> {
        let path = dir.join(file_name(id));
        let file = fs.open(&path, OpenMode::Read).map_err(missing(&path))?;
        let header = SegmentHeader::read(&*file, database_id, id, &path)?;
        let length = file.len().map_err(Error::io("ask for the length of", &path))?;
        if length < bytes {
            let reason = "the file is shorter than the manifest says";
            return Err(Error::DamagedFile { path, offset: length, reason });
        }
        let dictionary = match header.dictionary_id {
            0 => None,
            id => Some(dictionary(id).ok_or_else(|| SegmentHeader::unknown_dictionary(&path))?),
        };
        let stamp = file_header::read_stamp(&*file, &path)?;
        Ok(SegmentFile { id, dictionary, file, path, bytes, checksum: Checksum::new(database_id, id), stamp })
    }

    pub(super) fn of_written(
        id: u32,
        dictionary: Option<Arc<Dictionary>>,
        file: Arc<dyn File>,
        path: PathBuf,
        bytes: u64,
        checksum: Checksum,
        stamp: u32,
    ) -> SegmentFile {
        SegmentFile { id, dictionary, file, path, bytes, checksum, stamp }
    }

    /// What the manifest knows it by ([`file_header::stamp`]).
    pub(crate) fn stamp(&self) -> u32 {
        self.stamp
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The dictionary of its compressed records.
    pub(crate) fn dictionary(&self) -> Option<&Dictionary> {
        self.dictionary.as_deref()
    }

    pub(super) fn checksum(&self) -> &Checksum {
        &self.checksum
    }

    /// Reads `bytes` bytes from `offset` into `buffer`, in place of what it holds; fewer only at the end of the file.
    pub(super) fn read_chunk(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> Result<(), Error> {
        buffer.resize(bytes, 0);
        let read = self.file.read_at(buffer, offset).map_err(Error::io("read", &self.path));
        buffer.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }

    /// The record at an offset, verified and checked. It may wait for the disk.
    pub(crate) fn read<'s>(&self, offset: u64, scratch: &'s mut Scratch) -> Result<Record<'s>, Error> {
        let read = |buffer: &mut [u8], offset| self.file.read_at(buffer, offset).map(Some);
        // That closure always reads; `None` is a file that ends early.
        match self.read_by(offset, scratch, read)? {
            Some(record) => Ok(record),
            None => Err(self.damaged(offset, "the file ends within the record")),
        }
    }

    /// As [`read`](Self::read), if it needs no waiting for the disk; `None` if it does: then `read` may be asked, elsewhere.
    pub(crate) fn read_now<'s>(
        &self,
        offset: u64,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Record<'s>>, Error> {
        self.read_by(offset, scratch, |buffer, offset| self.file.read_at_nowait(buffer, offset))
    }

    /// `None` if `read` gave none, or too few bytes.
    fn read_by<'s>(
        &self,
        offset: u64,
        scratch: &'s mut Scratch,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<Option<usize>>,
    ) -> Result<Option<Record<'s>>, Error> {
        if offset < RECORDS_AT || !offset.is_multiple_of(ALIGNMENT) || offset >= self.bytes {
            return Err(self.damaged(offset, "no record can begin there"));
        }
        let available = self.bytes - offset;
        let Scratch { record: buffer, object, compressor } = scratch;
        if buffer.len() > BUFFER_BYTES_KEPT {
            buffer.truncate(BUFFER_BYTES_KEPT);
            buffer.shrink_to_fit();
        }
        let mut fill = |buffer: &mut Vec<u8>, from: usize, to: usize| {
            if buffer.len() < to {
                buffer.resize(to, 0);
            }
            let filled = read(&mut buffer[from..to], offset + from as u64);
            filled.map_err(Error::io("read", &self.path))
        };
        let guess = available.min(RECORD_READ_BYTES as u64) as usize;
        let Some(have) = fill(buffer, 0, guess)? else { return Ok(None) };
        let head = &buffer[..have];
        let body = match body(head, available) {
            Ok(body) => body,
            // The length may be in what is missing.
            Err(_) if have < guess => return Ok(None),
            Err(reason) => return Err(self.damaged(offset, reason)),
        };
        if body.end > have {
            if have < guess {
                return Ok(None);
            }
            match fill(buffer, have, body.end)? {
                Some(more) if more == body.end - have => {}
                _ => return Ok(None),
            }
        }
        let record = &buffer[..body.end];
        if !self.checksum.matches(offset, record) {
            return Err(self.damaged(offset, "the checksum of the record does not match"));
        }
        Stored::decode(&record[body.start..])
            .and_then(|stored| stored.record(self.dictionary(), compressor, object))
            .map(Some)
            .map_err(|reason| self.damaged(offset, reason))
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> Error {
        Error::DamagedValue { path: self.path.clone(), offset, reason }
    }
}
