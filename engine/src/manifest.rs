//! The manifest: what the rest of the directory means. `docs/formats.md` specifies the bytes.
//!
//! Written when the directory is made and at the end of each checkpoint, and replaced atomically: write beside it, fsync, rename, fsync the
//! directory. It must never be guessed: without it, or with a damaged one, a directory that holds a log is refused. Files of the directory
//! that it doesn't list mean nothing; one that it lists and that isn't there means that the directory is not whole.

mod format;

#[cfg(test)]
mod tests;

use crate::Error;
use crate::databases::DatabaseMap;
use crate::index_file::IndexKind;
use crate::limits::MANIFEST_BODY_BYTES_MAX;
use sessile_wal::{Fs, OpenMode};
use std::path::Path;

/// The manifest's name in the data directory.
pub(crate) const NAME: &str = "MANIFEST";
pub(crate) const TEMPORARY_NAME: &str = "MANIFEST.new";

/// What a data directory says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Random; in every file of the directory.
    pub(crate) database_id: [u8; 16],
    /// Random and secret: the key of the hash that the log and the index name keys by.
    pub(crate) hash_key: [u8; 16],
    /// When the directory was made, in ms since the epoch.
    pub(crate) created_ms: u64,
    /// The side files, in the order of their names' list; `None` if nothing is known of them: the manifest is of a version that knew nothing of side
    /// files.
    pub(crate) side_files: Option<[SideFileInfo; SIDE_FILES]>,
    /// What the last checkpoint left.
    pub(crate) checkpoint: Checkpoint,
}

/// How many names of side files there are.
pub(crate) const SIDE_FILES: usize = crate::side_file::NAMES.len();

/// What is known of a side file, by the stamps of its header; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideFileInfo {
    /// The one that is in force.
    pub(crate) stamp: u32,
    /// The one that is taking its place, if that was not finished: it may be there already.
    pub(crate) next: u32,
}

/// The state of a directory as of its last checkpoint: which files hold it, and where the log goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Its number; 0 if there was none.
    pub(crate) number: u64,
    /// The LSN that replay starts at.
    pub(crate) log_from: u64,
    /// The log was durable to here when it was written: it must be found intact that far.
    pub(crate) log_reached: u64,
    /// The checksum of the log's batch that ends there; 0 if it isn't known.
    pub(crate) log_checksum: u32,
    /// The engine's clock when it was written, in ms since the epoch: no clock of a later open begins below.
    pub(crate) time_ms: u64,
    /// The wall clock when it was written, in ms since the epoch; 0 if there was none.
    pub(crate) wall_ms: u64,
    /// Which database of the index each numbered database is, as of `databases_at` in the log or later.
    pub(crate) databases: DatabaseMap,
    /// The LSN that the map is known at.
    pub(crate) databases_at: u64,
    /// No segment, index file or dictionary from here on has ever been listed.
    pub(crate) next_segment: u32,
    /// See [`next_segment`](Self::next_segment).
    pub(crate) next_index: u64,
    /// See [`next_segment`](Self::next_segment).
    pub(crate) next_dictionary: u32,
    /// In the order of their ids, as are the others.
    pub(crate) dictionaries: Vec<DictionaryInfo>,
    /// All segments with a record that an index file refers to.
    pub(crate) segments: Vec<SegmentInfo>,
    /// A snapshot, then its deltas.
    pub(crate) index_files: Vec<IndexFileInfo>,
}

/// A dictionary that some segment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DictionaryInfo {
    /// In its file's name; not 0.
    pub(crate) id: u32,
    /// Its length without the header, in bytes.
    pub(crate) bytes: u32,
    /// What its file is known by; 0 if it isn't known.
    pub(crate) stamp: u32,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// In its file's name.
    pub(crate) id: u32,
    /// What its compressed records need; 0 for no dictionary.
    pub(crate) dictionary: u32,
    /// The file's length, in bytes.
    pub(crate) bytes: u64,
    /// Its records, dead ones included.
    pub(crate) records: u32,
    /// When the last of them dies at the latest, in ms since the epoch; `u64::MAX` for never.
    pub(crate) dies_ms: u64,
    /// As that of a dictionary.
    pub(crate) stamp: u32,
}

/// An index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFileInfo {
    /// In its file's name.
    pub(crate) number: u64,
    /// Whether it stands alone.
    pub(crate) kind: IndexKind,
    /// The file's length, in bytes.
    pub(crate) bytes: u64,
    /// Its entries.
    pub(crate) entries: u64,
    /// As that of a dictionary.
    pub(crate) stamp: u32,
}

impl Checkpoint {
    /// That of a directory that never had one.
    pub(crate) fn none() -> Checkpoint {
        Checkpoint {
            number: 0,
            log_from: 0,
            log_reached: 0,
            log_checksum: 0,
            time_ms: 0,
            wall_ms: 0,
            databases: DatabaseMap::IDENTITY,
            databases_at: 0,
            // So that 0 is nobody's.
            next_segment: 1,
            next_index: 1,
            next_dictionary: 1,
            dictionaries: Vec::new(),
            segments: Vec::new(),
            index_files: Vec::new(),
        }
    }

    /// What does not add up, if something doesn't.
    fn contradiction(&self) -> Option<&'static str> {
        fn ascending<T: Ord>(mut ids: impl Iterator<Item = T>, next: &T) -> bool {
            let mut last = None;
            ids.all(|id| {
                let sound = id < *next && last.as_ref().is_none_or(|last| *last < id);
                last = Some(id);
                sound
            })
        }
        let listed =
            |id: u32| self.dictionaries.binary_search_by_key(&id, |dictionary| dictionary.id).is_ok();
        let kinds: Vec<IndexKind> = self.index_files.iter().map(|file| file.kind).collect();
        if self.log_from > self.log_reached {
            Some("the log is needed from behind where it had reached")
        } else if self.databases_at > self.log_reached {
            Some("the map of databases is of a place behind where the log had reached")
        } else if !ascending(self.dictionaries.iter().map(|file| file.id), &self.next_dictionary) {
            Some("the dictionaries are not in order below the next one")
        } else if self.dictionaries.first().is_some_and(|dictionary| dictionary.id == 0) {
            Some("a dictionary has the number of none")
        } else if !ascending(self.segments.iter().map(|file| file.id), &self.next_segment) {
            Some("the segments are not in order below the next one")
        } else if !ascending(self.index_files.iter().map(|file| file.number), &self.next_index) {
            Some("the index files are not in order below the next one")
        } else if !self.segments.iter().all(|segment| segment.dictionary == 0 || listed(segment.dictionary)) {
            Some("a segment needs a dictionary that is not listed")
        } else if kinds.first().is_some_and(|kind| *kind != IndexKind::Snapshot)
            || kinds.iter().skip(1).any(|kind| *kind != IndexKind::Delta)
        {
            Some("the index files are not a snapshot and its deltas")
        } else {
            None
        }
    }
}

impl Manifest {
    /// That of a new directory.
    pub(crate) fn generate(now_ms: u64) -> Result<Manifest, Error> {
        let mut random = [[0; 16]; 2];
        for part in &mut random {
            getrandom::fill(part).map_err(|error| Error::Random(error.to_string()))?;
        }
        let [database_id, hash_key] = random;
        let (side_files, checkpoint) = (Some(<[SideFileInfo; SIDE_FILES]>::default()), Checkpoint::none());
        Ok(Manifest { database_id, hash_key, created_ms: now_ms, side_files, checkpoint })
    }

    /// Reads the directory's manifest; `None` if it has none.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Manifest>, Error> {
        let path = dir.join(NAME);
        if !fs.exists(&path).map_err(Error::io("look for", &path))? {
            return Ok(None);
        }
        let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
        let length = file.len().map_err(Error::io("ask for the length of", &path))?;
        let longest = format::bytes_of_body(MANIFEST_BODY_BYTES_MAX);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= longest) else {
            let reason = "the file is longer than any manifest";
            return Err(Error::DamagedManifest { path, offset: longest as u64, reason });
        };
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        bytes.truncate(read);
        Manifest::decode(&bytes, &path).map(Some)
    }

    /// Makes this the directory's manifest, durably. What it lists must be durable already, names included.
    ///
    /// # Panics
    /// If it contradicts itself: then it would never be read again, while the one that is there now is good.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let contradiction = self.checkpoint.contradiction();
        assert!(contradiction.is_none(), "{}", contradiction.unwrap_or_default());
        let (path, temporary) = (dir.join(NAME), dir.join(TEMPORARY_NAME));
        let Some(bytes) = self.encode() else {
            let source = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(Error::Io { operation: "write", path: temporary, source });
        };
        // Never written over: after a directory's sync that has failed in part, and a power cut, both names can be of the manifest in force.
        if fs.exists(&temporary).map_err(Error::io("look for", &temporary))? {
            fs.remove(&temporary).map_err(Error::io("remove", &temporary))?;
        }
        let file = fs.open(&temporary, OpenMode::CreateNew).map_err(Error::io("create", &temporary))?;
        file.write_at(&bytes, 0).map_err(Error::io("write", &temporary))?;
        file.sync_data().map_err(Error::io("sync", &temporary))?;
        fs.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))
    }
}
