//! What the index files of a checkpoint say together, in the order of hashes and in little memory: for `sessile check`, `stats` and repair.
//! Opening a database does the same in parallel, into the index.
//!
//! Of all files that mention a hash, the newest is right. A damaged block is told of and left out: then what an older file says of its
//! hashes may be out of date, which is for the caller to mind.

use super::format::IndexEntry;
use super::reader::{BlockInfo, IndexFile};
use crate::Error;

/// A walk through the index files of a checkpoint.
pub(crate) struct Merge<'f> {
    /// Oldest first.
    cursors: Vec<Cursor<'f>>,
    entries: Vec<IndexEntry>,
    buffer: Vec<u8>,
}

/// What the newest file that mentions a hash says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mention<'m> {
    /// The hash.
    pub(crate) hash: u64,
    /// The file, as its place among those given.
    pub(crate) file: usize,
    /// Its entries; none if it says that there are none any more.
    pub(crate) entries: &'m [IndexEntry],
}

/// What is told of a block that can't be read: the file's place among those given, the block, and what is wrong.
pub(crate) type OnDamage<'d> = dyn FnMut(usize, &BlockInfo, Error) + 'd;

impl<'f> Merge<'f> {
    /// Of these files, oldest first.
    pub(crate) fn new(files: impl IntoIterator<Item = &'f IndexFile>) -> Merge<'f> {
        let cursors = files.into_iter().map(Cursor::new).collect();
        Merge { cursors, entries: Vec::new(), buffer: Vec::new() }
    }

    /// The next hash that some file mentions.
    pub(crate) fn next(&mut self, damaged: &mut OnDamage<'_>) -> Option<Mention<'_>> {
        for (file, cursor) in self.cursors.iter_mut().enumerate() {
            cursor.load(&mut self.buffer, &mut |info, error| damaged(file, info, error));
        }
        let hash = self.cursors.iter().filter_map(Cursor::hash).min()?;
        let mut newest = 0;
        for (file, cursor) in self.cursors.iter_mut().enumerate() {
            if cursor.hash() == Some(hash) {
                newest = file;
                self.entries.clear();
                cursor.take(hash, &mut self.entries);
            }
        }
        Some(Mention { hash, file: newest, entries: &self.entries })
    }
}

/// Where the walk is in one file.
struct Cursor<'f> {
    file: &'f IndexFile,
    next_block: usize,
    /// Of the current block, what is still to come, in reverse.
    entries: Vec<IndexEntry>,
    removed: Vec<u64>,
}

impl<'f> Cursor<'f> {
    fn new(file: &'f IndexFile) -> Cursor<'f> {
        Cursor { file, next_block: 0, entries: Vec::new(), removed: Vec::new() }
    }

    /// Reads blocks until there is something to come, or no more block.
    fn load(&mut self, buffer: &mut Vec<u8>, damaged: &mut dyn FnMut(&BlockInfo, Error)) {
        while self.hash().is_none()
            && let Some(info) = self.file.blocks().get(self.next_block)
        {
            self.next_block += 1;
            match self.file.read_block(info, buffer) {
                Ok(block) => {
                    self.entries.extend(block.entries().rev());
                    self.removed.extend(block.removed().rev());
                }
                Err(error) => damaged(info, error),
            }
        }
    }

    /// The hash that comes next, in the block that is loaded.
    fn hash(&self) -> Option<u64> {
        match (self.entries.last(), self.removed.last()) {
            (Some(entry), Some(removed)) => Some(entry.hash.min(*removed)),
            (entry, removed) => entry.map(|entry| entry.hash).or(removed.copied()),
        }
    }

    /// Takes all that is said of the hash, which comes next.
    fn take(&mut self, hash: u64, into: &mut Vec<IndexEntry>) {
        while let Some(entry) = self.entries.pop_if(|entry| entry.hash == hash) {
            into.push(entry);
        }
        while self.removed.pop_if(|removed| *removed == hash).is_some() {}
    }
}
