//! Index files into shards.

use super::{Files, shard_number};
use crate::Error;
use crate::index_file::{IndexEntry, IndexFile};
use crate::limits::SHARDS_MAX;
use crate::live::LiveCounts;
use crate::location::Location;
use crate::manifest::Manifest;
use crate::segments::Segments;
use crate::shard::{Loaded, Shard};
use crossbeam_utils::CachePadded;
use sessile_wal::sync::Mutex;
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
    let places = Places::of(segments);
    let load = Load { dir, manifest, files, shards: &shards, places: &places };
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
    places: &'a Places,
}

/// The slots and lengths of segments, by id: asked for every entry.
struct Places {
    first_id: u32,
    by_id: Vec<Option<(u32, u64)>>,
}

impl Places {
    fn of(segments: &Segments) -> Places {
        let all = segments.all();
        let first_id = all.iter().map(|segment| segment.id()).min().unwrap_or(0);
        let last_id = all.iter().map(|segment| segment.id()).max().unwrap_or(0);
        let mut by_id = vec![None; (last_id - first_id) as usize + 1];
        for segment in all {
            by_id[(segment.id() - first_id) as usize] = Some((segment.slot, segment.bytes));
        }
        Places { first_id, by_id }
    }

    /// Slot and length of a segment, if it is listed.
    fn get(&self, id: u32) -> Option<(u32, u64)> {
        *self.by_id.get(id.checked_sub(self.first_id)? as usize)?
    }
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
            // Into an empty index everything goes at once, shard by shard.
            let mut bulk =
                (number == 0).then(|| Bulk::new(shards.start, file.entries() as usize / self.shards.len()));
            for info in file.blocks().iter().filter(|info| info.to >= first && info.from <= last) {
                let block = file.read_block(info, &mut buffer)?;
                let mine = |hash: u64| (first..=last).contains(&hash);
                if bulk.is_none() {
                    let named = block.entries().map(|entry| entry.hash).chain(block.removed());
                    for hash in named.filter(|&hash| mine(hash)) {
                        dangling.remove(&hash);
                        self.shards[shard_number(hash, bits)].lock().unload(hash);
                    }
                }
                for entry in block.entries().filter(|entry| mine(entry.hash)) {
                    let Some((slot, bytes)) = self.places.get(entry.segment) else {
                        dangling.insert(entry.hash, entry.deadline_ms);
                        continue;
                    };
                    let loaded = Loaded {
                        hash: entry.hash,
                        database: entry.database,
                        location: location(file, &entry, slot, bytes)?,
                        deadline_ms: entry.deadline_ms,
                        grid: entry.grid,
                    };
                    let shard = shard_number(entry.hash, bits);
                    match &mut bulk {
                        Some(bulk) => bulk.add(self, shard, loaded),
                        None => self.shards[shard].lock().load(loaded),
                    }
                }
            }
            if let Some(bulk) = &mut bulk {
                bulk.flush(self);
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
}

/// Entries of one shard, in the order of their hashes, on their way into it.
struct Bulk {
    shard: usize,
    entries: Vec<Loaded>,
}

impl Bulk {
    /// `expected`: how many entries a shard has, about. Room for them is made once, lest the index be built around the holes of what grew.
    fn new(shard: usize, expected: usize) -> Bulk {
        Bulk { shard, entries: Vec::with_capacity(expected + expected / 8) }
    }

    fn add(&mut self, load: &Load<'_>, shard: usize, entry: Loaded) {
        if shard != self.shard {
            self.flush(load);
            self.shard = shard;
        }
        self.entries.push(entry);
    }

    fn flush(&mut self, load: &Load<'_>) {
        load.shards[self.shard].lock().load_all(&self.entries);
        self.entries.clear();
    }
}

fn location(file: &IndexFile, entry: &IndexEntry, slot: u32, segment_bytes: u64) -> Result<Location, Error> {
    if entry.offset < crate::file_header::BYTES as u64 || entry.offset >= segment_bytes {
        return Err(Error::DamagedFile {
            path: file.path().into(),
            offset: 0,
            reason: "an entry refers to a place that its segment does not have",
        });
    }
    Ok(Location::new(slot, entry.offset))
}
