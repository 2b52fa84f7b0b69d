//! Writing an index file: blocks are collected in a buffer, which the caller has written whenever it holds no lock.

use super::format::{self, BlockHeader, ENTRY_BYTES, IndexEntry, IndexKind, REMOVED_BYTES, Stamp};
use crate::Error;
use crate::limits::INDEX_BUFFER_BYTES;
use sessile_wal::{File, Fs, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An index file that is being written. Dropping it unfinished leaves a file without an end block, which nobody ever reads: remove it.
pub(crate) struct IndexWriter {
    path: PathBuf,
    file: Arc<dyn File>,
    seed: crc32fast::Hasher,
    /// What is not yet written, and where in the file it begins.
    buffer: Vec<u8>,
    written_bytes: u64,
    blocks: u64,
    entries: u64,
    stamp: Stamp,
    /// Where the next block's range may begin; `None` behind a block that reached the end of all hashes.
    next_from: Option<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The file's length, in bytes.
    pub(crate) bytes: u64,
    /// Entries in all of its blocks.
    pub(crate) entries: u64,
    /// What the manifest knows it by.
    pub(crate) stamp: u32,
}

impl IndexWriter {
    /// Creates the file; a leftover of the same name is replaced.
    pub(crate) fn create(
        fs: &dyn Fs,
        dir: &Path,
        database_id: [u8; 16],
        number: u64,
        kind: IndexKind,
    ) -> Result<IndexWriter, Error> {
        let path = dir.join(format::name(number));
        let file = fs.open(&path, OpenMode::Create).map_err(Error::io("create", &path))?;
        file.set_len(0).map_err(Error::io("empty", &path))?;
        let mut buffer = Vec::with_capacity(INDEX_BUFFER_BYTES);
        let header = format::encode_header(&database_id, kind, number);
        buffer.extend_from_slice(&header);
        Ok(IndexWriter {
            path,
            file,
            seed: format::block_seed(&database_id, number),
            buffer,
            written_bytes: 0,
            blocks: 0,
            entries: 0,
            stamp: Stamp::new(crate::file_header::stamp(&header)),
            next_from: Some(0),
        })
    }

    /// Adds the block of the hashes from `from` to `to`, both included: their entries and the hashes that have none any more, as they were
    /// at the LSN `cut`. Sorts both. Ranges must come in order and may not overlap; it does no I/O.
    ///
    /// # Panics
    /// If a range or a hash is out of order or out of its range: whoever collected them has mixed them up, and a file that says so must not be.
    pub(crate) fn block(
        &mut self,
        from: u64,
        to: u64,
        cut: u64,
        entries: &mut [IndexEntry],
        removed: &mut [u64],
    ) {
        assert!(self.next_from.is_some_and(|next| next <= from) && from <= to, "ranges come in order");
        entries.sort_unstable_by_key(|entry| entry.hash);
        removed.sort_unstable();
        let within = |first: Option<u64>, last: Option<u64>| {
            first.is_none_or(|hash| from <= hash) && last.is_none_or(|hash| hash <= to)
        };
        assert!(
            within(entries.first().map(|e| e.hash), entries.last().map(|e| e.hash)),
            "entries of the range"
        );
        assert!(within(removed.first().copied(), removed.last().copied()), "removed hashes of the range");
        let count = |length: usize| u32::try_from(length).ok().filter(|count| *count < u32::MAX);
        let (Some(entry_count), Some(removed_count)) = (count(entries.len()), count(removed.len())) else {
            panic!("a block of over 4 billion entries")
        };

        let start = self.buffer.len();
        let offset = self.offset();
        self.buffer.reserve(
            format::BLOCK_HEADER_BYTES + entries.len() * ENTRY_BYTES + removed.len() * REMOVED_BYTES,
        );
        let header = BlockHeader { entries: entry_count, removed: removed_count, from, to, cut };
        self.buffer.extend_from_slice(&header.encode());
        entries.iter().for_each(|entry| self.buffer.extend_from_slice(&entry.encode()));
        removed.iter().for_each(|hash| self.buffer.extend_from_slice(&hash.to_le_bytes()));
        format::seal_block(&self.seed, offset, &mut self.buffer[start..]);
        self.stamp.block(&self.buffer[start..]);
        self.blocks += 1;
        self.entries += u64::from(entry_count);
        self.next_from = to.checked_add(1);
    }

    /// Whether the buffer is full: [`write`](Self::write) before the next block.
    pub(crate) fn wants_write(&self) -> bool {
        self.buffer.len() >= INDEX_BUFFER_BYTES
    }

    /// Writes what is in the buffer.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        self.file.write_at(&self.buffer, self.written_bytes).map_err(Error::io("write", &self.path))?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(INDEX_BUFFER_BYTES);
        Ok(())
    }

    /// Ends the file and makes its bytes durable. The caller syncs the directory.
    pub(crate) fn finish(mut self) -> Result<Finished, Error> {
        let start = self.buffer.len();
        let offset = self.offset();
        self.buffer.extend_from_slice(&BlockHeader::end(self.blocks, self.entries).encode());
        format::seal_block(&self.seed, offset, &mut self.buffer[start..]);
        self.stamp.block(&self.buffer[start..]);
        self.write()?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        Ok(Finished { bytes: self.written_bytes, entries: self.entries, stamp: self.stamp.finish() })
    }

    /// Where in the file the next block begins.
    fn offset(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }
}
