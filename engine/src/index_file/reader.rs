//! Reading an index file: where its blocks are at once, the blocks one by one, by as many threads as the caller likes.

use super::format::{
    self, BLOCK_HEADER_BYTES, BlockHeader, ENTRY_BYTES, IndexEntry, IndexKind, REMOVED_BYTES, Stamp,
};
use crate::dictionary::missing;
use crate::key::INDEX_DATABASES;
use crate::{Error, file_header};
use sessile_wal::{File, Fs, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An index file open for reading.
pub(crate) struct IndexFile {
    path: PathBuf,
    file: Arc<dyn File>,
    seed: crc32fast::Hasher,
    blocks: Vec<BlockInfo>,
    entries: u64,
    stamp: u32,
}

/// Where a block is and what it is of. Not vouched for by a checksum before the block was [read](IndexFile::read_block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    /// Where in the file it begins, in bytes.
    pub(crate) offset: u64,
    /// The first hash of its range …
    pub(crate) from: u64,
    /// … and the last.
    pub(crate) to: u64,
    /// The LSN up to which everything that was done to these hashes is in the file.
    pub(crate) cut: u64,
    /// How many entries it has …
    pub(crate) entries: u32,
    /// … and how many removed hashes.
    pub(crate) removed: u32,
}

impl BlockInfo {
    fn header(&self) -> BlockHeader {
        BlockHeader {
            entries: self.entries,
            removed: self.removed,
            from: self.from,
            to: self.to,
            cut: self.cut,
        }
    }
}

impl IndexFile {
    /// Opens a file that the manifest lists, with that kind and length. Checks the header, the chain of blocks and the end block.
    pub(crate) fn open(
        fs: &dyn Fs,
        dir: &Path,
        database_id: &[u8; 16],
        number: u64,
        kind: IndexKind,
        bytes: u64,
    ) -> Result<IndexFile, Error> {
        let path = dir.join(format::name(number));
        let file = fs.open(&path, OpenMode::Read).map_err(missing(&path))?;
        let mut this = IndexFile {
            path,
            file,
            seed: format::block_seed(database_id, number),
            blocks: Vec::new(),
            entries: 0,
            stamp: 0,
        };
        this.check_header(database_id, number, kind)?;
        let actual = this.file.len().map_err(Error::io("ask for the length of", &this.path))?;
        if actual != bytes {
            let reason = if actual < bytes {
                "the file is shorter than the manifest says"
            } else {
                "the file is longer than the manifest says"
            };
            return Err(this.damaged(actual.min(bytes), reason));
        }
        this.find_blocks(bytes)?;
        Ok(this)
    }

    fn check_header(&self, database_id: &[u8; 16], number: u64, kind: IndexKind) -> Result<(), Error> {
        let (found_kind, found_number) = format::read_header(&*self.file, database_id, &self.path)?;
        if found_kind != kind.code() {
            return Err(
                self.damaged(format::KIND_AT as u64, "the file is of another kind than the manifest says")
            );
        }
        if found_number != number {
            return Err(self.damaged(format::NUMBER_AT as u64, "the file has another number than its name"));
        }
        Ok(())
    }

    /// Hops from block to block. The headers on the way are only believed as far as they lead to an end block that agrees with them.
    fn find_blocks(&mut self, bytes: u64) -> Result<(), Error> {
        let mut offset = file_header::BYTES as u64;
        let mut next_from = Some(0);
        let mut stamp = Stamp::new(file_header::read_stamp(&*self.file, &self.path)?);
        loop {
            let mut raw = [0; BLOCK_HEADER_BYTES];
            self.read_exact(&mut raw, offset)?;
            let header = BlockHeader::decode(&raw);
            stamp.block(&raw);
            if header.is_end() {
                if !format::verify_block(&self.seed, offset, &raw) {
                    return Err(self.damaged(offset, "the checksum of the end block does not match"));
                }
                if header.from != self.blocks.len() as u64 || header.to != self.entries {
                    return Err(
                        self.damaged(offset, "the end block states other numbers than the file holds")
                    );
                }
                if offset + header.block_bytes() != bytes {
                    return Err(self.damaged(offset, "the file goes on behind its end block"));
                }
                self.stamp = stamp.finish();
                return Ok(());
            }
            if bytes.saturating_sub(offset) < header.block_bytes() {
                return Err(self.damaged(offset, "a block is longer than the file"));
            }
            if header.from > header.to || next_from.is_none_or(|next| header.from < next) {
                return Err(self.damaged(offset, "the ranges of the blocks are not in order"));
            }
            next_from = header.to.checked_add(1);
            self.entries += u64::from(header.entries);
            let BlockHeader { entries, removed, from, to, cut } = header;
            self.blocks.push(BlockInfo { offset, from, to, cut, entries, removed });
            offset += header.block_bytes();
        }
    }

    /// The blocks, in the order of their ranges, which don't overlap.
    pub(crate) fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// Entries in all blocks.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// What the manifest knows it by.
    pub(crate) fn stamp(&self) -> u32 {
        self.stamp
    }

    /// Where the block begins whose range a hash is in, or would be.
    pub(crate) fn offset_of(&self, hash: u64) -> u64 {
        let after = self.blocks.partition_point(|block| block.from <= hash);
        self.blocks[..after].last().map_or(0, |block| block.offset)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a block into `buffer` and checks every byte of it.
    pub(crate) fn read_block<'b>(
        &self,
        info: &BlockInfo,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Block<'b>, Error> {
        let header = info.header();
        let Ok(length) = usize::try_from(header.block_bytes()) else {
            return Err(self.damaged(info.offset, "a block is longer than this machine's memory"));
        };
        // Only what is new is zeroed: a buffer that is used for block after block costs nothing.
        buffer.resize(length, 0);
        self.read_exact(buffer, info.offset)?;
        if !format::verify_block(&self.seed, info.offset, buffer) {
            return Err(self.damaged(info.offset, "the checksum of a block does not match"));
        }
        let found = buffer.first_chunk().map(BlockHeader::decode);
        if found != Some(header) {
            return Err(self.damaged(info.offset, "the file has changed since it was opened"));
        }
        let (entries, removed) = buffer[BLOCK_HEADER_BYTES..].split_at(info.entries as usize * ENTRY_BYTES);
        // Of both lengths, nothing remains: they follow from the counts.
        let block = Block { entries: entries.as_chunks().0, removed: removed.as_chunks().0 };
        if !block.is_in_order(info) {
            return Err(self.damaged(info.offset, "the hashes of a block are not in order"));
        }
        if !block.has_known_databases() {
            return Err(
                self.damaged(info.offset, "a block has an entry of a database that this build does not know")
            );
        }
        Ok(block)
    }

    fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let read = self.file.read_at(buffer, offset).map_err(Error::io("read", &self.path))?;
        if read < buffer.len() {
            return Err(self.damaged(offset + read as u64, "the file ends within a header or block"));
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> Error {
        Error::DamagedFile { path: self.path.clone(), offset, reason }
    }
}

/// A block, every byte of it checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'b> {
    entries: &'b [[u8; ENTRY_BYTES]],
    removed: &'b [[u8; REMOVED_BYTES]],
}

impl<'b> Block<'b> {
    /// Its entries, in the order of hashes. Keys with the same hash follow one another.
    #[inline]
    pub(crate) fn entries(
        &self,
    ) -> impl DoubleEndedIterator<Item = IndexEntry> + ExactSizeIterator + use<'b> {
        self.entries.iter().map(IndexEntry::decode)
    }

    /// The hashes that have no entry any more, in order.
    #[inline]
    pub(crate) fn removed(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + use<'b> {
        self.removed.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Its entries' five bits have room for more databases than there are.
    fn has_known_databases(&self) -> bool {
        // Without an early return, as below.
        self.entries().fold(true, |sound, entry| sound & (entry.database < INDEX_DATABASES))
    }

    fn is_in_order(&self, info: &BlockInfo) -> bool {
        fn ascending(info: &BlockInfo, hashes: impl Iterator<Item = u64>) -> bool {
            // Without an early return the loop runs several hashes at a time.
            let (sound, last) =
                hashes.fold((true, info.from), |(sound, last), hash| (sound & (last <= hash), hash));
            sound && last <= info.to
        }
        ascending(info, self.entries().map(|entry| entry.hash)) && ascending(info, self.removed())
    }
}

/// Up to which LSN an index file knows each hash: those of the last file of a checkpoint say what of the log is already in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    /// First and last hash, and the cut; in order, not overlapping.
    ranges: Vec<(u64, u64, u64)>,
}

impl Cuts {
    /// Those of a file.
    pub(crate) fn of(file: &IndexFile) -> Cuts {
        Cuts { ranges: file.blocks.iter().map(|block| (block.from, block.to, block.cut)).collect() }
    }

    /// The cut of the range that the hash is in; `None` if it is in none.
    #[inline]
    pub(crate) fn cut_of(&self, hash: u64) -> Option<u64> {
        let after = self.ranges.partition_point(|(from, _, _)| *from <= hash);
        let (_, to, cut) = *self.ranges.get(after.checked_sub(1)?)?;
        (hash <= to).then_some(cut)
    }
}
