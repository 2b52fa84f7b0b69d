//! Which record of which segment is each key's.

use super::Losses;
use super::tail::Tail;
use crate::check::directory::Directory;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::index_file::{BlockInfo, Cuts, IndexEntry, IndexFile, Merge};
use crate::key::{INDEX_DATABASES, KeyHasher, is_held};
use crate::manifest::SegmentInfo;
use crate::object::layout;
use crate::segment::Found;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A key that is to be saved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survivor {
    pub(super) entry: IndexEntry,
    /// What the log says of it up to here is in its record and entry.
    pub(super) cut: u64,
    /// Whether it may be out of date.
    pub(super) uncertain: bool,
}

/// What the files of a checkpoint know.
struct Index {
    /// Those that can be read, oldest first.
    files: Vec<Readable>,
    /// Ranges of hashes of which a file's block can't be read, with the file's place in the manifest.
    damaged: Vec<(u64, u64, usize)>,
}

struct Readable {
    file: IndexFile,
    /// What of the log is in it.
    cuts: Cuts,
    /// Its place in the manifest.
    place: usize,
}

impl Index {
    fn open(directory: &Directory, losses: &mut Losses<'_>) -> Index {
        let mut index = Index { files: Vec::new(), damaged: Vec::new() };
        for (place, info) in directory.checkpoint().index_files.iter().enumerate() {
            match directory.index_file(info) {
                Ok(file) => {
                    let cuts = Cuts::of(&file);
                    index.files.push(Readable { file, cuts, place });
                }
                Err(error) => {
                    losses.gap(&error, &directory.path.join(crate::index_file::name(info.number)));
                    index.damaged.push((0, u64::MAX, place));
                }
            }
        }
        if !directory.has_manifest() {
            // There may have been any files.
            index.damaged.push((0, u64::MAX, 0));
        }
        // Of each file, where its damaged blocks begin.
        let mut damaged: Vec<Vec<u64>> = vec![Vec::new(); index.files.len()];
        let mut merge = index.merge();
        while merge
            .next(&mut |file, info, error| {
                losses.gap(&error, &directory.path);
                damaged[file].push(info.offset);
            })
            .is_some()
        {}
        drop(merge);
        for (readable, offsets) in index.files.iter().zip(damaged) {
            index
                .damaged
                .extend(ranges_of(&readable.file, &offsets).map(|(from, to)| (from, to, readable.place)));
        }
        index
    }

    fn merge(&self) -> Merge<'_> {
        Merge::new(self.files.iter().map(|readable| &readable.file))
    }

    /// Whether some file may say something of the hash that can't be read.
    fn has_damage_at(&self, hash: u64) -> bool {
        self.has_damage_since(hash, 0)
    }

    /// As [`has_damage_at`](Self::has_damage_at), of the file at a place in the manifest or a newer one.
    fn has_damage_since(&self, hash: u64, since: usize) -> bool {
        self.damaged.iter().any(|(from, to, place)| (*from..=*to).contains(&hash) && *place >= since)
    }

    /// Up to where the log is in the index, if all of it can be read at this hash.
    fn cut_of(&self, hash: u64) -> u64 {
        self.files.last().and_then(|last| last.cuts.cut_of(hash)).unwrap_or(0)
    }

    /// Up to where the log is in the snapshot; 0 if that can't be read at this hash.
    fn snapshot_cut_of(&self, hash: u64) -> u64 {
        let lost = self.damaged.iter().any(|(from, to, place)| (*from..=*to).contains(&hash) && *place == 0);
        match self.files.first() {
            Some(first) if first.place == 0 && !lost => first.cuts.cut_of(hash).unwrap_or(0),
            _ => 0,
        }
    }
}

/// The hashes that damaged blocks may have spoken of: all between the sound ones beside them. Their own headers are part of the damage.
fn ranges_of<'f>(file: &'f IndexFile, damaged: &'f [u64]) -> impl Iterator<Item = (u64, u64)> + use<'f> {
    let blocks = file.blocks();
    let is_sound = |block: &&BlockInfo| !damaged.contains(&block.offset);
    damaged.iter().map(move |offset| {
        let at = blocks.partition_point(|block| block.offset < *offset);
        let before = blocks[..at].iter().rev().find(is_sound);
        let behind = blocks[at..].iter().find(is_sound);
        (
            before.map_or(0, |block| block.to.saturating_add(1)),
            behind.map_or(u64::MAX, |block| block.from - 1),
        )
    })
}

/// What the readable files say of a hash that others, which can't be read, may say something of.
struct Doubtful {
    entries: Vec<IndexEntry>,
    /// What the log says of it up to here, the entries know.
    cut: u64,
    /// Whether only older files are damaged: then this is what holds.
    certain: bool,
    /// Whether a segment that it named is gone: then a compaction has moved the record, as it is, or the key is.
    moved: bool,
}

/// Finds them all; no two have the same place.
pub(super) fn find(
    directory: &Directory,
    hasher: &KeyHasher,
    tail: &mut Tail,
    now_ms: u64,
    losses: &mut Losses<'_>,
) -> Vec<Survivor> {
    let checkpoint = directory.checkpoint();
    let is_listed = |id: u32| checkpoint.segments.binary_search_by_key(&id, |info| info.id).is_ok();
    let index = Index::open(directory, losses);
    let mut found = Vec::new();
    let mut doubtful: HashMap<u64, Doubtful> = HashMap::new();
    let mut merge = index.merge();
    // Its damage was told of.
    while let Some(mention) = merge.next(&mut |_, _, _| {}) {
        let hash = mention.hash;
        if !index.has_damage_at(hash) {
            let cut = index.cut_of(hash);
            let survivor = |entry: &IndexEntry| Survivor { entry: *entry, cut, uncertain: false };
            found.extend(mention.entries.iter().map(survivor));
            continue;
        }
        // The walk is over the same files.
        let Some(readable) = index.files.get(mention.file) else { continue };
        let certain = !index.has_damage_since(hash, readable.place);
        let cut = if certain { index.cut_of(hash) } else { readable.cuts.cut_of(hash).unwrap_or(0) };
        let mut entries = mention.entries.to_vec();
        if !certain {
            entries.retain(|entry| is_listed(entry.segment));
        }
        let moved = entries.len() < mention.entries.len();
        doubtful.insert(hash, Doubtful { entries, cut, certain, moved });
    }
    // Also of those that have no entry: what was written and deleted before its range was collected is in no file.
    tail.note_cuts(&|hash| match doubtful.get(&hash) {
        Some(doubtful) => doubtful.cut,
        None if index.has_damage_at(hash) => index.snapshot_cut_of(hash),
        None => index.cut_of(hash),
    });
    if !index.damaged.is_empty() {
        scan(directory, hasher, &index, doubtful, &mut found, losses);
    }
    found.retain(|survivor| {
        let entry = &survivor.entry;
        if entry.deadline_ms <= checkpoint.time_ms && !is_listed(entry.segment) {
            // It was dead at the checkpoint, and its segment with it.
            losses.report.keys_expired += 1;
            return false;
        }
        if tail.mentions_hash(entry.hash) {
            return true;
        }
        if tail.is_cleared(entry.database, survivor.cut) {
            return false;
        }
        // A held one is there until a transaction says that it has died.
        let dead = entry.deadline_ms <= now_ms && !is_held(entry.database);
        losses.report.keys_expired += u64::from(dead);
        !dead
    });
    found
}

/// The newest record of a key, as far as the records tell.
#[derive(Clone, Copy)]
struct Candidate {
    lsn: u64,
    entry: IndexEntry,
}

/// Finds the records of hashes in damaged ranges by walking through all segments.
fn scan(
    directory: &Directory,
    hasher: &KeyHasher,
    index: &Index,
    doubtful: HashMap<u64, Doubtful>,
    found: &mut Vec<Survivor>,
    losses: &mut Losses<'_>,
) {
    let dictionaries = directory.dictionaries();
    // Of keys that share a hash only one is found this way.
    let mut candidates: HashMap<u64, Candidate> = HashMap::new();
    for info in &directory.checkpoint().segments {
        scan_segment(directory, info, &dictionaries, losses, hasher, &mut |lsn, entry| {
            if !index.has_damage_at(entry.hash) {
                return;
            }
            // What was written before a file that speaks of the hash is in that file, or was overwritten.
            let known = match doubtful.get(&entry.hash) {
                Some(Doubtful { certain: true, .. }) => u64::MAX,
                Some(Doubtful { moved: true, .. }) => 0,
                Some(doubtful) => doubtful.cut,
                None => index.snapshot_cut_of(entry.hash),
            };
            let newer = candidates.get(&entry.hash).is_none_or(|other| other.lsn < lsn);
            if lsn > known && newer {
                candidates.insert(entry.hash, Candidate { lsn, entry });
            }
        });
    }
    for (hash, Doubtful { entries, cut, certain, .. }) in doubtful {
        if !candidates.contains_key(&hash) {
            let survivor = |entry| Survivor { entry, cut, uncertain: !certain };
            found.extend(entries.into_iter().map(survivor));
        }
    }
    let survivor = |Candidate { lsn, entry }| Survivor { entry, cut: lsn, uncertain: true };
    found.extend(candidates.into_values().map(survivor));
}

/// Calls `each` with the LSN and the entry of every sound record of a segment.
fn scan_segment(
    directory: &Directory,
    info: &SegmentInfo,
    dictionaries: &BTreeMap<u32, Arc<Dictionary>>,
    losses: &mut Losses<'_>,
    hasher: &KeyHasher,
    each: &mut dyn FnMut(u64, IndexEntry),
) {
    let path = directory.path.join(crate::segment::file_name(info.id));
    let segment = match directory.segment(info, dictionaries) {
        Ok(segment) => segment,
        Err(error) => return losses.gap(&error, &path),
    };
    let (mut scan, mut compressor, mut flat) =
        (segment.scan().over_unreadable(), Compressor::new(), Vec::new());
    loop {
        match scan.next() {
            Ok(None) => return,
            Ok(Some(Found::Damaged { offset, reason, bytes })) => {
                losses.place(&path, offset, format!("{reason} ({bytes} bytes: one key or more)"));
            }
            Ok(Some(Found::Record { offset, stored, .. })) => {
                match stored.record(segment.dictionary(), &mut compressor, &mut flat) {
                    Ok(record) if layout::database(record.object) < INDEX_DATABASES => {
                        let (database, key) =
                            (layout::database(record.object), layout::parts(record.object).key);
                        let entry = IndexEntry {
                            hash: hasher.key(database, key).hash,
                            deadline_ms: record.deadline_ms,
                            segment: info.id,
                            offset,
                            database,
                            grid: record.grid,
                        };
                        each(record.lsn, entry);
                    }
                    Ok(_) => losses.place(&path, offset, "the record's database isn't there".into()),
                    Err(reason) => losses.place(&path, offset, reason.into()),
                }
            }
            Err(error) => return losses.gap(&error, &path),
        }
    }
}
