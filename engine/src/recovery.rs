//! Reading a directory back: the manifest, the index files, then the log's tail onto them.
//!
//! The cost grows with the index and the tail, not with the data: values stay in their segments until they are asked for. Threads share the
//! work by shard. Nothing dies meanwhile: an operation may refer to a key that has died since. What is dead by the time the database opens is
//! never served, and the wheel takes it away at once. It must never start with fewer keys in silence: a file that the manifest knows and that
//! is not there, or not whole, refuses the start.

mod load;
mod orphans;
mod progress;
mod replay;

use crate::Error;
use crate::dictionary::Dictionary;
use crate::file_header::check_stamp;
use crate::index_file::{Cuts, IndexFile};
use crate::manifest::{self, Manifest};
use crate::segment::SegmentFile;
use crate::segments::{Segment, Segments};
use sessile_wal::Fs;
use sessile_wal::sync::atomic::AtomicBool;
use std::path::Path;
use std::sync::Arc;

pub(crate) use load::{Shards, load};
pub(crate) use orphans::remove_orphans;
pub(crate) use progress::Progress;
pub(crate) use replay::Replay;

/// The directory's manifest, made if the directory is new.
pub(crate) fn manifest(fs: &dyn Fs, dir: &Path, now_ms: u64) -> Result<Manifest, Error> {
    if let Some(manifest) = Manifest::read(fs, dir)? {
        return Ok(manifest);
    }
    let names = fs.list(dir).map_err(Error::io("list", dir))?;
    let is_data = |name: &String| {
        name.starts_with("wal-") || orphans::is_ours(name) || crate::side_file::NAMES.contains(&name.as_str())
    };
    if names.iter().any(is_data) {
        return Err(Error::MissingManifest { path: dir.join(manifest::NAME) });
    }
    let manifest = Manifest::generate(now_ms)?;
    manifest.write(fs, dir)?;
    Ok(manifest)
}

/// The files that a manifest lists, open.
pub(crate) struct Files {
    /// A snapshot, then its deltas.
    pub(crate) indexes: Vec<IndexFile>,
    /// What of the log is in them already.
    pub(crate) cuts: Cuts,
}

/// Opens all files that the manifest lists; the segments into `segments`.
pub(crate) fn open_files(
    fs: &dyn Fs,
    dir: &Path,
    manifest: &Manifest,
    segments: &Segments,
) -> Result<Files, Error> {
    let (id, state) = (&manifest.database_id, &manifest.checkpoint);
    for listed in &state.dictionaries {
        let dictionary = Dictionary::read(fs, dir, id, listed.id)?;
        let path = dir.join(crate::dictionary::file_name(listed.id));
        check_stamp(dictionary.stamp(id), listed.stamp, &path)?;
        segments.add_dictionary(Arc::new(dictionary));
    }
    for listed in &state.segments {
        let file = SegmentFile::open(fs, dir, id, listed.id, listed.bytes, |dictionary| {
            segments.dictionary(dictionary)
        })?;
        check_stamp(file.stamp(), listed.stamp, file.path())?;
        let Some(slot) = segments.reserve() else { return Err(Error::TooManySegments { path: dir.into() }) };
        segments.open(Segment {
            file: Arc::new(file),
            slot,
            records: listed.records,
            bytes: listed.bytes,
            dies_ms: listed.dies_ms,
            damaged: AtomicBool::new(false),
        });
    }
    let mut indexes = Vec::new();
    for listed in &state.index_files {
        let file = IndexFile::open(fs, dir, id, listed.number, listed.kind, listed.bytes)?;
        check_stamp(file.stamp(), listed.stamp, file.path())?;
        indexes.push(file);
    }
    let cuts = indexes.last().map(Cuts::of).unwrap_or_default();
    Ok(Files { indexes, cuts })
}

/// The shard of a hash: its top bits, so that a scan walks the shards in the order of hashes.
#[inline]
pub(crate) fn shard_number(hash: u64, shard_bits: u32) -> usize {
    // At least one bit, so the shift is below 64.
    (hash >> (64 - shard_bits)) as usize
}
