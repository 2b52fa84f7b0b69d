//! Index files into shards.

use super::{Files, shard_number};
use crate::Error;
use crate::index_file::{IndexEntry, IndexFile};
use crate::limits::SHARDS_MAX;
use crate::live::LiveCounts;
use crate::location::Location;
use crate::manifest::Manifest;
use crate::segments::Segments;
use crate::shard::Shard;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The shards of an index.
pub(crate) type Shards = Box<[CachePadded<Mutex<Shard>>]>;

/// Empty shards, a power of two of them.
pub(crate) fn empty_shards(count: usize, now_ms: u64, live: &Arc<LiveCounts>) -> Shards {
    assert!(count.is_power_of_two() && count <= SHARDS_MAX);
    let bits = count.trailing_zeros();
    (0..count).map(|_| CachePadded::new(Mutex::new(Shard::new(bits, now_ms, Arc::clone(live))))).collect()
}

/// Fills shards with what the index files say, with so many threads.
///
/// # Errors
/// [`Error::DamagedFile`], [`Error::Io`].
pub(crate) fn load(
    dir: &Path,
    manifest: &Manifest,
    files: &Files,
    segments: &Segments,
    shard_count: usize,
    now_ms: u64,
    threads: usize,
) -> Result<Shards, Error> {
    let shards = empty_shards(shard_count, now_ms, &segments.live);
    let slots: HashMap<u32, u32> =
        segments.all().iter().map(|segment| (segment.id(), segment.slot)).collect();
    let load = Load { dir, manifest, files, shards: &shards, slots: &slots };
    let threads = threads.clamp(1, shard_count);
    if threads == 1 {
        load.part(0..shard_count)?;
        return Ok(shards);
    }
    let share = shard_count.div_ceil(threads);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..shard_count)
            .step_by(share)
            .map(|first| {
                let load = &load;
                scope.spawn(move || load.part(first..(first + share).min(shard_count)))
            })
            .collect();
        parts.into_iter().try_for_each(|part| match part.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(shards)
}

struct Load<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    files: &'a Files,
    shards: &'a [CachePadded<Mutex<Shard>>],
    slots: &'a HashMap<u32, u32>,
}

impl Load<'_> {
    /// Fills a range of shards, the snapshot first and then delta upon delta.
    fn part(&self, shards: std::ops::Range<usize>) -> Result<(), Error> {
        let bits = self.shards.len().trailing_zeros();
        let first = (shards.start as u64) << (64 - bits);
        let last = (shards.end as u64 - 1) << (64 - bits) | u64::MAX >> bits;
        // Entries of segments that are gone: dead since, or a later file says otherwise.
        let mut dangling: HashMap<u64, u64> = HashMap::new();
        let mut buffer = Vec::new();
        for (number, file) in self.files.indexes.iter().enumerate() {
            for info in file.blocks().iter().filter(|info| info.to >= first && info.from <= last) {
                let block = file.read_block(info, &mut buffer)?;
                if number > 0 {
                    let named = block.entries().map(|entry| entry.hash).chain(block.removed());
                    for hash in named.filter(|hash| (first..=last).contains(hash)) {
                        dangling.remove(&hash);
                        self.shards[shard_number(hash, bits)].lock().unload(hash);
                    }
                }
                // Consecutive entries are mostly of one shard.
                let mut entries =
                    block.entries().filter(|entry| (first..=last).contains(&entry.hash)).peekable();
                while let Some(entry) = entries.peek() {
                    let shard_of = shard_number(entry.hash, bits);
                    let mut shard = self.shards[shard_of].lock();
                    while let Some(entry) =
                        entries.next_if(|entry| shard_number(entry.hash, bits) == shard_of)
                    {
                        match self.slots.get(&entry.segment) {
                            Some(&slot) => {
                                let location = self.location(file, &entry, slot)?;
                                shard.load(
                                    entry.hash,
                                    entry.database,
                                    location,
                                    entry.deadline_ms,
                                    entry.grid,
                                );
                            }
                            None => drop(dangling.insert(entry.hash, entry.deadline_ms)),
                        }
                    }
                }
            }
        }
        let time_ms = self.manifest.checkpoint.time_ms;
        if dangling.values().any(|&deadline_ms| deadline_ms > time_ms) {
            return Err(Error::DamagedFile {
                path: self.dir.join(crate::manifest::NAME),
                offset: 0,
                reason: "an index file refers to a segment that it does not list",
            });
        }
        Ok(())
    }

    fn location(&self, file: &IndexFile, entry: &IndexEntry, slot: u32) -> Result<Location, Error> {
        let sound = |segment: &crate::manifest::SegmentInfo| {
            segment.id == entry.segment
                && entry.offset >= crate::file_header::BYTES as u64
                && entry.offset < segment.bytes
        };
        let segments = &self.manifest.checkpoint.segments;
        match segments.binary_search_by_key(&entry.segment, |segment| segment.id) {
            Ok(at) if sound(&segments[at]) => Ok(Location::new(slot, entry.offset)),
            _ => Err(Error::DamagedFile {
                path: file.path().into(),
                offset: 0,
                reason: "an entry refers to a place that its segment does not have",
            }),
        }
    }
}
