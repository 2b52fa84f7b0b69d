//! Writing a segment. Pushing never does I/O; writing never waits for the disk (but for a full page cache); finishing does.

use super::format::{ALIGNMENT, Checksum, RECORD_HEAD_BYTES_MAX, Record, SegmentHeader, Stored, file_name};
use super::reader::SegmentFile;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::limits::{BUFFER_BYTES_KEPT, SEGMENT_BYTES_MAX, SEGMENT_IO_BYTES};
use crate::{Error, file_header};
use sessile_wal::{File, Fs, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment that is being made. Dropped unfinished it leaves an orphan, which the manifest doesn't know and the next open removes.
pub(crate) struct SegmentWriter {
    id: u32,
    file: Arc<dyn File>,
    path: PathBuf,
    dictionary: Option<Arc<Dictionary>>,
    checksum: Checksum,
    stamp: u32,
    /// What is not yet written; its first byte belongs at `written`.
    buffer: Vec<u8>,
    written: u64,
    records: u32,
    flat_bytes: u64,
    object_bytes: u64,
}

/// A segment that is durable but for its name.
pub(crate) struct Finished {
    /// To read from.
    pub(crate) segment: SegmentFile,
    /// How many records it has.
    pub(crate) records: u32,
}

impl SegmentWriter {
    /// Creates the file.
    pub(crate) fn create(
        fs: &dyn Fs,
        dir: &Path,
        database_id: &[u8; 16],
        id: u32,
        dictionary: Option<Arc<Dictionary>>,
        created_ms: u64,
    ) -> Result<SegmentWriter, Error> {
        let path = dir.join(file_name(id));
        let file = fs.open(&path, OpenMode::CreateNew).map_err(Error::io("create", &path))?;
        let dictionary_id = dictionary.as_ref().map_or(0, |dictionary| dictionary.id());
        let header = SegmentHeader { id, dictionary_id, created_ms }.encode(database_id);
        Ok(SegmentWriter {
            id,
            file,
            path,
            dictionary,
            checksum: Checksum::new(database_id, id),
            stamp: file_header::stamp(&header),
            buffer: header.to_vec(),
            written: 0,
            records: 0,
            flat_bytes: 0,
            object_bytes: 0,
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an object of that many bytes may still go in: the first one always does, however large.
    pub(crate) fn has_room(&self, object_bytes: usize) -> bool {
        let record = (RECORD_HEAD_BYTES_MAX + object_bytes) as u64;
        self.records == 0 || self.bytes() + record.next_multiple_of(ALIGNMENT) <= SEGMENT_BYTES_MAX
    }

    /// Appends a record to the buffer and returns its offset in the file. With a compressor the object is compressed if that makes it
    /// smaller by an eighth.
    ///
    /// # Panics
    /// If there is no [room](Self::has_room) for it.
    pub(crate) fn push(&mut self, record: &Record<'_>, compressor: Option<&mut Compressor>) -> u64 {
        let Record { lsn, deadline_ms, grid, object } = *record;
        let frame = compressor.and_then(|compressor| compressor.compress(self.dictionary.as_deref(), object));
        let stored = Stored {
            lsn,
            deadline_ms,
            grid,
            raw_bytes: frame.map(|_| object.len() as u64),
            bytes: frame.unwrap_or(object),
        };
        self.put(&stored)
    }

    /// As [`push`](Self::push), of a record of another segment, without decompressing it.
    ///
    /// # Panics
    /// If there is no room for it, or it is compressed with another dictionary: ask [`takes_frames_of`](Self::takes_frames_of).
    pub(crate) fn push_stored(&mut self, stored: &Stored<'_>, from: &SegmentFile) -> u64 {
        assert!(stored.raw_bytes.is_none() || self.takes_frames_of(from), "a frame of another dictionary");
        self.put(stored)
    }

    /// Whether compressed records of that segment can be copied as they are: both have the same dictionary, or none.
    pub(crate) fn takes_frames_of(&self, from: &SegmentFile) -> bool {
        let serial = |dictionary: Option<&Dictionary>| dictionary.map(Dictionary::serial);
        serial(self.dictionary.as_deref()) == serial(from.dictionary())
    }

    fn put(&mut self, stored: &Stored<'_>) -> u64 {
        assert!(self.has_room(stored.bytes.len()), "an object past the end of its segment has no offset");
        let offset = self.bytes();
        stored.put(&mut self.buffer, &self.checksum, offset);
        self.records += 1; // Far below 2^32: a record has 8 bytes or more, and a segment of several at most 64 MiB.
        self.flat_bytes += stored.raw_bytes.unwrap_or(stored.bytes.len() as u64);
        self.object_bytes += stored.bytes.len() as u64;
        offset
    }

    /// The length of the file so far, in bytes, buffer included.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Bytes that are not written yet.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// How many records it has so far.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// The bytes of the objects pushed, flat.
    pub(crate) fn flat_bytes(&self) -> u64 {
        self.flat_bytes
    }

    /// The bytes of the objects pushed, as they are stored.
    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// Whether so much is buffered that it is time to [`write`](Self::write).
    pub(crate) fn wants_write(&self) -> bool {
        self.buffer.len() >= SEGMENT_IO_BYTES
    }

    /// Writes the buffer to the file, not durably. After an error it may be tried again.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        self.file.write_at(&self.buffer, self.written).map_err(Error::io("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// Writes the rest and syncs the file; the caller syncs the directory. After an error the segment is lost: what a failed sync left
    /// behind is unknown.
    pub(crate) fn finish(mut self) -> Result<Finished, Error> {
        self.write()?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        let records = self.records;
        let segment = SegmentFile::of_written(
            self.id,
            self.dictionary,
            self.file,
            self.path,
            self.written,
            self.checksum,
            self.stamp,
        );
        Ok(Finished { segment, records })
    }
}
