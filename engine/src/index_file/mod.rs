//! Index files: what a checkpoint writes of the index, so that a restart reads that and not the data. `docs/formats.md` specifies the bytes.
//!
//! A file is a header, blocks, and an end block. A block covers a range of hashes: for each entry its hash, its deadline and where its record
//! is, in the order of hashes; then the hashes that have no entry any more. A *snapshot* stands alone. A *delta* speaks of the hashes it
//! mentions only: whatever older files say of those is forgotten, and its own entries (if it has any of that hash) hold.
//!
//! ```text
//!  header 64 │ block: header 48 │ entries 24 each │ removed hashes 8 each │ block … │ end block 48
//! ```
//!
//! Files are immutable once written, and only files that the manifest lists are ever read. Each block's checksum covers the database, the
//! file's number and the block's offset, so a stale or misdirected block is never believed. No bytes of a file can make reading panic, nor
//! make it allocate more than the file's length.

mod format;
mod merge;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use format::{IndexEntry, IndexKind, name, parse_name};
pub(crate) use merge::Merge;
pub(crate) use reader::{BlockInfo, Cuts, IndexFile};
pub(crate) use writer::IndexWriter;
