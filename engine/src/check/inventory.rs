//! What a data directory holds, from its manifest and its index: the data itself is only sampled.

use super::directory::Directory;
use crate::Error;
use crate::index_file::{IndexFile, IndexKind, Merge};
use crate::limits::SAMPLED_RECORDS_MAX;
use crate::segment::{Found, SegmentFile};
use sessile_wal::Fs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a data directory holds. The index is as of the last checkpoint: what the log says since is in none of the numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Inventory {
    /// Of the last checkpoint; 0 if there was none.
    pub checkpoint: u64,
    /// When that was, by the wall clock, in ms since the epoch; 0 if there was none.
    pub checkpoint_ms: u64,
    /// Which moment *live* refers to, in ms since the epoch.
    pub now_ms: u64,
    /// In the order in which they die.
    pub segments: Vec<SegmentUse>,
    /// In the order of their ids; first, with id 0, the segments without one, if there are any.
    pub dictionaries: Vec<DictionaryUse>,
    /// Oldest first.
    pub index_files: Vec<IndexUse>,
    /// Keys past no deadline.
    pub live_keys: u64,
    /// Of those, with no deadline at all.
    pub lasting_keys: u64,
    /// Files of the log, and their length in bytes.
    pub log: (u64, u64),
    /// Files kept to be used again, and what interrupted work has left; and their length in bytes.
    pub leftovers: (u64, u64),
}

/// A segment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SegmentUse {
    /// Its id, as in its file's name.
    pub id: u32,
    /// The dictionary it is compressed with; 0 for none.
    pub dictionary: u32,
    /// The file's length, in bytes.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// Those that the index refers to and that are past no deadline.
    pub live_records: u64,
    /// When the last of them dies, in ms since the epoch; `u64::MAX` for never, 0 if none is live.
    pub dies_ms: u64,
}

impl SegmentUse {
    /// What the live records take, in bytes, if they are as long as the others.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        if self.records == 0 {
            return 0;
        }
        // Of records that a file holds the count is below 2^32, and its length below 2^33.
        (u128::from(self.bytes) * u128::from(self.live_records.min(self.records)) / u128::from(self.records))
            as u64
    }
}

/// What a dictionary does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DictionaryUse {
    /// Its id; 0 for the segments without one.
    pub id: u32,
    /// The file's length, in bytes.
    pub bytes: u64,
    /// Segments that need it.
    pub segments: u64,
    /// Their length, in bytes.
    pub segment_bytes: u64,
    /// Stored bytes per byte of key and value, of the records that were sampled; none if there were none.
    pub ratio: Option<f64>,
}

/// An index file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexUse {
    /// Its number, as in its file's name.
    pub number: u64,
    /// Whether it stands alone; else it changes what the ones before it say.
    pub snapshot: bool,
    /// The file's length, in bytes.
    pub bytes: u64,
    /// Its entries.
    pub entries: u64,
}

/// Says what the data directory `dir`, which no process may have open, holds at `now_ms` (ms since the epoch). It reads manifest and index, and
/// some records of each segment.
///
/// # Errors
/// [`Error::InUse`]; [`Error::DamagedManifest`], [`Error::MissingManifest`], [`Error::DamagedFile`] or [`Error::MissingFile`] of what it
/// reads: [`check`](super::check()) says more then; [`Error::Io`].
pub fn inventory(fs: Arc<dyn Fs>, dir: &Path, now_ms: u64) -> Result<Inventory, Error> {
    let directory = Directory::open(fs, dir)?.with_manifest()?;
    let checkpoint = directory.checkpoint();
    let mut segments: BTreeMap<u32, SegmentUse> = checkpoint
        .segments
        .iter()
        .map(|info| {
            let (id, dictionary, bytes, records) =
                (info.id, info.dictionary, info.bytes, u64::from(info.records));
            (id, SegmentUse { id, dictionary, bytes, records, live_records: 0, dies_ms: 0 })
        })
        .collect();
    let now_ms = now_ms.max(checkpoint.time_ms);
    let (live_keys, lasting_keys) = count_live(&directory, now_ms, &mut segments)?;
    let dictionaries = use_of_dictionaries(&directory);
    let mut segments: Vec<SegmentUse> = segments.into_values().collect();
    segments.sort_by_key(|segment| (segment.dies_ms, segment.id));
    let index_use = |info: &crate::manifest::IndexFileInfo| IndexUse {
        number: info.number,
        snapshot: info.kind == IndexKind::Snapshot,
        bytes: info.bytes,
        entries: info.entries,
    };
    Ok(Inventory {
        checkpoint: checkpoint.number,
        checkpoint_ms: checkpoint.wall_ms,
        now_ms,
        segments,
        dictionaries,
        index_files: checkpoint.index_files.iter().map(index_use).collect(),
        live_keys,
        lasting_keys,
        log: directory.log_files(),
        leftovers: directory
            .leftovers()
            .filter(|finding| finding.kind == super::FileKind::Leftover)
            .fold((0, 0), |(files, bytes), finding| (files + 1, bytes + finding.bytes)),
    })
}

/// Walks the index; how many keys are live, and how many of those never die.
fn count_live(
    directory: &Directory,
    now_ms: u64,
    segments: &mut BTreeMap<u32, SegmentUse>,
) -> Result<(u64, u64), Error> {
    let open = |info| directory.index_file(info);
    let files: Vec<IndexFile> =
        directory.checkpoint().index_files.iter().map(open).collect::<Result<_, Error>>()?;
    let mut damage = None;
    let mut merge = Merge::new(&files);
    let (mut live, mut lasting) = (0, 0);
    while let Some(mention) = merge.next(&mut |_, _, error| {
        damage.get_or_insert(error);
    }) {
        for entry in mention.entries.iter().filter(|entry| entry.deadline_ms > now_ms) {
            live += 1;
            lasting += u64::from(entry.deadline_ms == crate::expiry::NEVER);
            if let Some(segment) = segments.get_mut(&entry.segment) {
                segment.live_records += 1;
                segment.dies_ms = segment.dies_ms.max(entry.deadline_ms);
            }
        }
    }
    match damage {
        Some(error) => Err(error),
        None => Ok((live, lasting)),
    }
}

fn use_of_dictionaries(directory: &Directory) -> Vec<DictionaryUse> {
    let checkpoint = directory.checkpoint();
    let lengths: BTreeMap<u32, u64> = checkpoint
        .dictionaries
        .iter()
        .map(|info| (info.id, (crate::file_header::BYTES as u64) + u64::from(info.bytes)))
        .collect();
    let mut uses: BTreeMap<u32, (DictionaryUse, Sample)> = BTreeMap::new();
    let none = |id: u32| {
        let bytes = lengths.get(&id).copied().unwrap_or(0);
        (DictionaryUse { id, bytes, segments: 0, segment_bytes: 0, ratio: None }, Sample::default())
    };
    for info in &checkpoint.dictionaries {
        uses.insert(info.id, none(info.id));
    }
    let dictionaries = directory.dictionaries();
    for info in &checkpoint.segments {
        let (used, sample) = uses.entry(info.dictionary).or_insert_with(|| none(info.dictionary));
        used.segments += 1;
        used.segment_bytes += info.bytes;
        // One that can't be read is for a check to tell of.
        if let Ok(segment) = directory.segment(info, &dictionaries) {
            sample.add(&segment);
        }
    }
    uses.into_values()
        .map(|(mut used, sample)| {
            used.ratio = sample.ratio();
            used
        })
        .collect()
}

/// How far records are compressed.
#[derive(Default)]
struct Sample {
    flat_bytes: u64,
    stored_bytes: u64,
}

impl Sample {
    fn add(&mut self, segment: &Arc<SegmentFile>) {
        let mut scan = segment.scan();
        for _ in 0..SAMPLED_RECORDS_MAX {
            match scan.next() {
                Ok(Some(Found::Record { stored, .. })) => {
                    let bytes = stored.bytes.len() as u64;
                    self.stored_bytes += bytes;
                    self.flat_bytes += stored.raw_bytes.unwrap_or(bytes);
                }
                Ok(Some(Found::Damaged { .. })) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn ratio(&self) -> Option<f64> {
        (self.flat_bytes > 0).then(|| self.stored_bytes as f64 / self.flat_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn take(now_ms: u64) -> Inventory {
        let fixture = fixture();
        let before = disk(&fixture.fs);
        let inventory = inventory(Arc::new(fixture.fs.clone()), dir(), now_ms).expect("is sound");
        assert!(disk(&fixture.fs) == before, "looking changed something");
        inventory
    }

    #[test]
    fn segments_are_told_by_when_they_die_with_what_is_live_in_them() {
        let inventory = take(CHECKPOINT_MS);
        let told: Vec<_> = inventory
            .segments
            .iter()
            .map(|it| (it.id, it.dictionary, it.records, it.live_records, it.dies_ms))
            .collect();
        assert_eq!(
            told,
            [
                (4, 0, 1, 1, deadline_ms(REWRITTEN)),
                (3, 1, 60, 60, deadline_ms(SESSIONS - 1)),
                // One was removed, one rewritten, and one never dies.
                (2, 0, 39, 37, u64::MAX),
            ]
        );
        let raw = &inventory.segments[2];
        assert_eq!(raw.live_bytes(), raw.bytes * 37 / 39);
        assert_eq!((inventory.live_keys, inventory.lasting_keys), (SESSIONS - 2, 1));
        assert_eq!((inventory.checkpoint, inventory.checkpoint_ms), (2, CHECKPOINT_MS));
    }

    #[test]
    fn what_is_past_its_deadline_is_dead_and_time_never_runs_back() {
        let inventory = take(deadline_ms(49));
        assert_eq!(inventory.live_keys, 50 + 2, "50 to 99, the touched and the lasting one");
        assert_eq!(take(0).now_ms, CHECKPOINT_MS);
    }

    #[test]
    fn dictionaries_index_files_and_log_are_told() {
        let inventory = take(CHECKPOINT_MS);
        let [none, one] = &inventory.dictionaries[..] else { panic!("{:?}", inventory.dictionaries) };
        assert_eq!((none.id, none.segments, none.ratio), (0, 2, Some(1.0)));
        assert_eq!((one.id, one.segments), (1, 1));
        assert!(one.ratio.is_some_and(|ratio| ratio < 0.7), "{one:?}");
        let told: Vec<_> =
            inventory.index_files.iter().map(|it| (it.number, it.snapshot, it.entries)).collect();
        assert_eq!(told, [(1, true, SESSIONS), (2, false, 2)]);
        assert!(inventory.log.0 >= 2 && inventory.log.1 >= 32 << 10);
        assert!(inventory.leftovers.0 >= 1);
    }

    #[test]
    fn damage_to_manifest_or_index_is_an_error_that_names_it() {
        for path in [dir().join("MANIFEST"), index_path(1), index_path(2)] {
            let fixture = fixture();
            assert!(fixture.fs.flip_bit(&path, 100, 0));
            let error = inventory(Arc::new(fixture.fs), dir(), 0).expect_err("is damaged");
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
        // The data is not read through.
        let fixture = fixture();
        fixture.fs.remove(&segment_path(2)).expect("removes");
        inventory(Arc::new(fixture.fs), dir(), 0).expect("needs no segment");
    }
}
