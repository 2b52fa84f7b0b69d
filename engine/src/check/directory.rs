//! A data directory, locked, with its list of files and what its manifest says of them; or, without a manifest that can be read, with what
//! the files say of themselves.

use super::report::{FileFinding, FileKind};
use crate::db::LOCK_NAME;
use crate::dictionary::{self, Dictionary};
use crate::index_file::{self, IndexFile};
use crate::manifest::{self, Checkpoint, DictionaryInfo, IndexFileInfo, Manifest, SegmentInfo};
use crate::segment::{self, SegmentFile};
use crate::{Error, Lsn, file_header, side_file};
use sessile_wal::{DirLock, Fs, LockHeld, OpenMode};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A locked data directory.
pub(super) struct Directory {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) path: PathBuf,
    /// By name, with its length.
    files: BTreeMap<String, u64>,
    database_id: [u8; 16],
    manifest: Result<Manifest, Error>,
    checkpoint: Checkpoint,
    _lock: Box<dyn DirLock>,
}

impl Directory {
    /// Locks and lists it.
    pub(super) fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Directory, Error> {
        let names = fs.list(path).map_err(Error::io("list", path))?;
        if !names.iter().any(|name| name == manifest::NAME || is_ours(name)) {
            let source = io::Error::new(io::ErrorKind::NotFound, "it holds no file of a Sessile database");
            return Err(Error::Io { operation: "check", path: path.into(), source });
        }
        let lock_path = path.join(LOCK_NAME);
        let lock = fs.lock(&lock_path).map_err(|error| match LockHeld::of(&error) {
            Some(held) => Error::InUse { path: lock_path.clone(), pid: held.pid },
            None => Error::io("lock", &lock_path)(error),
        })?;
        let mut files = BTreeMap::new();
        // Again: until the lock was held they could change.
        for name in fs.list(path).map_err(Error::io("list", path))? {
            let file_path = path.join(&name);
            let file = fs.open(&file_path, OpenMode::Read).map_err(Error::io("open", &file_path))?;
            let bytes = file.len().map_err(Error::io("ask for the length of", &file_path))?;
            files.insert(name, bytes);
        }
        let manifest = Manifest::read(&*fs, path).and_then(|manifest| {
            manifest.ok_or_else(|| Error::MissingManifest { path: path.join(manifest::NAME) })
        });
        let (database_id, checkpoint) = match &manifest {
            Ok(manifest) => (manifest.database_id, manifest.checkpoint.clone()),
            Err(_) => (usual_database_id(&*fs, path, &files), checkpoint_of(&files)),
        };
        Ok(Directory { fs, path: path.into(), files, database_id, manifest, checkpoint, _lock: lock })
    }

    /// This, or what is wrong with its manifest.
    pub(super) fn with_manifest(self) -> Result<Directory, Error> {
        match self.manifest {
            Ok(manifest) => Ok(Directory { manifest: Ok(manifest), ..self }),
            Err(error) => Err(error),
        }
    }

    /// The manifest's, or the one that most files state.
    pub(super) fn database_id(&self) -> &[u8; 16] {
        &self.database_id
    }

    /// Known only from the manifest.
    pub(super) fn hash_key(&self) -> Option<[u8; 16]> {
        self.manifest.as_ref().ok().map(|manifest| manifest.hash_key)
    }

    /// The manifest, if it can be read.
    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref().ok()
    }

    /// What is wrong with the manifest.
    pub(super) fn manifest_error(&self) -> Option<&Error> {
        self.manifest.as_ref().err()
    }

    /// Whether there is a manifest that can be read.
    pub(super) fn has_manifest(&self) -> bool {
        self.manifest.is_ok()
    }

    /// What the manifest says, or what the names and lengths of the files do: that has no index files.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where the oldest log file begins: how far back there is a log.
    pub(super) fn log_from(&self) -> Lsn {
        let base =
            |name: &String| u64::from_str_radix(name.strip_prefix("wal-")?.strip_suffix(".log")?, 16).ok();
        self.files.keys().filter_map(base).min().map_or(Lsn::ZERO, Lsn::new)
    }

    /// How many files the log has, and their length in bytes.
    pub(super) fn log_files(&self) -> (u64, u64) {
        let logs = self.files.iter().filter(|(name, _)| name.ends_with(".log"));
        logs.fold((0, 0), |(files, bytes), (_, length)| (files + 1, bytes + length))
    }

    /// The length of all files that a check reads.
    pub(super) fn bytes(&self) -> u64 {
        let read = |name: &str| {
            name == manifest::NAME
                || side_file::NAMES.contains(&name)
                || name.ends_with(".log")
                || self.is_listed(name)
        };
        self.files.iter().filter(|(name, _)| read(name)).map(|(_, bytes)| bytes).sum()
    }

    /// A finding of a file, without damage.
    pub(super) fn finding(&self, kind: FileKind, name: &str) -> FileFinding {
        let bytes = self.files.get(name).copied().unwrap_or(0);
        FileFinding::new(self.path.join(name), kind, bytes)
    }

    /// That of the manifest.
    pub(super) fn manifest_finding(&self) -> FileFinding {
        let mut finding = self.finding(FileKind::Manifest, manifest::NAME);
        match &self.manifest {
            Ok(_) => finding.items = 1,
            Err(Error::MissingManifest { .. }) => finding.damaged(0, "it is missing"),
            Err(error) => finding.damaged_by(error),
        }
        finding
    }

    /// A dictionary that is listed.
    pub(super) fn dictionary(&self, info: &DictionaryInfo) -> Result<Dictionary, Error> {
        let dictionary = Dictionary::read(&*self.fs, &self.path, &self.database_id, info.id)?;
        let path = self.path.join(dictionary::file_name(info.id));
        file_header::check_stamp(dictionary.stamp(&self.database_id), info.stamp, &path)?;
        if dictionary.bytes().len() as u64 != u64::from(info.bytes) {
            let reason = "the dictionary has another length than the manifest says";
            return Err(Error::DamagedFile { path, offset: file_header::BYTES as u64, reason });
        }
        Ok(dictionary)
    }

    /// All dictionaries that can be read.
    pub(super) fn dictionaries(&self) -> BTreeMap<u32, Arc<Dictionary>> {
        let sound = |info: &DictionaryInfo| Some((info.id, Arc::new(self.dictionary(info).ok()?)));
        self.checkpoint.dictionaries.iter().filter_map(sound).collect()
    }

    /// A segment that is listed.
    pub(super) fn segment(
        &self,
        info: &SegmentInfo,
        dictionaries: &BTreeMap<u32, Arc<Dictionary>>,
    ) -> Result<Arc<SegmentFile>, Error> {
        let dictionary = |id| dictionaries.get(&id).cloned();
        let file =
            SegmentFile::open(&*self.fs, &self.path, &self.database_id, info.id, info.bytes, dictionary)?;
        file_header::check_stamp(file.stamp(), info.stamp, file.path())?;
        Ok(Arc::new(file))
    }

    /// An index file that is listed.
    pub(super) fn index_file(&self, info: &IndexFileInfo) -> Result<IndexFile, Error> {
        let file =
            IndexFile::open(&*self.fs, &self.path, &self.database_id, info.number, info.kind, info.bytes)?;
        file_header::check_stamp(file.stamp(), info.stamp, file.path())?;
        Ok(file)
    }

    /// A side file's content; nothing if there is none, nor was.
    pub(super) fn side_file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        if let Ok(manifest) = &self.manifest {
            side_file::verify(&*self.fs, &self.path, name, manifest)?;
        }
        side_file::read(&*self.fs, &self.path, name, &self.database_id)
    }

    /// Findings of the side files that are there, or are missed.
    pub(super) fn side_findings(&self) -> impl Iterator<Item = FileFinding> {
        side_file::NAMES.iter().filter_map(|name| {
            let mut finding = self.finding(FileKind::Side, name);
            match self.side_file(name) {
                Ok(None) => return None,
                Ok(Some(_)) => finding.items = 1,
                Err(error) => finding.damaged_by(&error),
            }
            Some(finding)
        })
    }

    /// Files that nothing refers to: what interrupted work has left, and what isn't ours.
    pub(super) fn leftovers(&self) -> impl Iterator<Item = FileFinding> {
        let unread = |name: &&String| {
            name.as_str() != manifest::NAME
                && name.as_str() != LOCK_NAME
                && !side_file::NAMES.contains(&name.as_str())
                && !name.ends_with(".log")
                && !self.is_listed(name)
        };
        self.files.keys().filter(unread).map(|name| {
            let kind = if is_ours(name) { FileKind::Leftover } else { FileKind::Foreign };
            self.finding(kind, name)
        })
    }

    fn is_listed(&self, name: &str) -> bool {
        let checkpoint = &self.checkpoint;
        let segment = segment::id_of_name(name)
            .is_some_and(|id| checkpoint.segments.binary_search_by_key(&id, |info| info.id).is_ok());
        let index = index_file::parse_name(name).is_some_and(|number| {
            checkpoint.index_files.binary_search_by_key(&number, |info| info.number).is_ok()
        });
        let dictionary = dictionary::id_of_name(name)
            .is_some_and(|id| checkpoint.dictionaries.binary_search_by_key(&id, |info| info.id).is_ok());
        segment || index || dictionary
    }
}

/// Whether Sessile gives files such names.
fn is_ours(name: &str) -> bool {
    let log = name.starts_with("wal-") && name.ends_with(".log");
    let spare = (name.starts_with("spare-") || name.starts_with("new-")) && name.ends_with(".wal");
    log || spare
        || name == sessile_wal::SYNCED_NOTE_NAME
        || name == manifest::TEMPORARY_NAME
        || side_file::is_name(name)
        || segment::id_of_name(name).is_some()
        || index_file::parse_name(name).is_some()
        || dictionary::id_of_name(name).is_some()
}

/// The database id that most files of ours state. It is at the same place in all of them.
fn usual_database_id(fs: &dyn Fs, dir: &Path, files: &BTreeMap<String, u64>) -> [u8; 16] {
    let mut votes: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    for name in files.keys().filter(|name| is_ours(name) && !name.ends_with(".wal")) {
        let mut head = [0; 32];
        let read = fs.open(&dir.join(name), OpenMode::Read).and_then(|file| file.read_at(&mut head, 0));
        if matches!(read, Ok(32)) && head.starts_with(b"SESS") {
            *votes.entry(std::array::from_fn(|at| head[16 + at])).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id).unwrap_or_default()
}

/// What can be told of a checkpoint without its manifest: all segments and dictionaries that are there.
fn checkpoint_of(files: &BTreeMap<String, u64>) -> Checkpoint {
    let mut checkpoint = Checkpoint::none();
    for (name, bytes) in files {
        if let Some(id) = segment::id_of_name(name) {
            let (dictionary, records, dies_ms) = (0, 0, u64::MAX);
            let bytes = *bytes;
            checkpoint.segments.push(SegmentInfo { id, dictionary, bytes, records, dies_ms, stamp: 0 });
        } else if let Some(id) = dictionary::id_of_name(name) {
            // Of a file shorter than its header reading will tell.
            let bytes = bytes.saturating_sub(file_header::BYTES as u64) as u32;
            checkpoint.dictionaries.push(DictionaryInfo { id, bytes, stamp: 0 });
        }
    }
    checkpoint
}
