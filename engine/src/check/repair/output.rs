//! The new directory: segments with the records that could be saved, a snapshot of where they are, a log, and last of all the manifest.

use super::Losses;
use super::survivors::Survivor;
use super::tail::Tail;
use crate::check::directory::Directory;
use crate::dictionary::Dictionary;
use crate::expiry::NEVER;
use crate::index_file::{IndexEntry, IndexKind, IndexWriter};
use crate::key::KeyHasher;
use crate::limits::INDEX_BLOCK_ENTRIES;
use crate::manifest::{DictionaryInfo, IndexFileInfo, Manifest, SegmentInfo};
use crate::object::layout;
use crate::segment::{Record, Scratch, SegmentFile, SegmentWriter};
use crate::{Error, Lsn, side_file};
use sessile_wal::{Admit, Clock, Fs, Wal, WalOptions};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where every log begins: no record of it ends below. What was saved from segments is known up to here.
const LOG_BEGIN: u64 = 4096;

/// See the module's page.
pub(super) struct Output {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    manifest: Manifest,
    now_ms: u64,
    /// The dictionaries that were copied.
    dictionaries: BTreeMap<u32, Arc<Dictionary>>,
    entries: Vec<IndexEntry>,
}

/// A segment in the making, and when the last of its records dies.
struct Making {
    writer: SegmentWriter,
    dies_ms: u64,
}

impl Output {
    /// Makes the directory.
    pub(super) fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        manifest: Manifest,
        now_ms: u64,
    ) -> Result<Output, Error> {
        fs.create_dir_all(dir).map_err(Error::io("create", dir))?;
        if !fs.list(dir).map_err(Error::io("list", dir))?.is_empty() {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "there are files in it");
            return Err(Error::Io { operation: "repair into", path: dir.into(), source });
        }
        let (dictionaries, entries) = (BTreeMap::new(), Vec::new());
        Ok(Output { fs, dir: dir.into(), manifest, now_ms, dictionaries, entries })
    }

    /// Copies the records of survivors, and tells `tail` of those that the log mentions.
    pub(super) fn segments(
        &mut self,
        directory: &Directory,
        hasher: &KeyHasher,
        mut survivors: Vec<Survivor>,
        tail: &mut Tail,
        losses: &mut Losses<'_>,
    ) -> Result<(), Error> {
        let dictionaries = directory.dictionaries();
        // In the order in which they lie on disk. What died together lies together, and will again.
        survivors.sort_unstable_by_key(|survivor| (survivor.entry.segment, survivor.entry.offset));
        let infos: HashMap<u32, &SegmentInfo> =
            directory.checkpoint().segments.iter().map(|info| (info.id, info)).collect();
        for group in survivors.chunk_by(|one, other| one.entry.segment == other.entry.segment) {
            // No chunk is empty.
            let Some(id) = group.first().map(|survivor| survivor.entry.segment) else { continue };
            let path = directory.path.join(crate::segment::file_name(id));
            let source = match infos.get(&id) {
                Some(info) => directory.segment(info, &dictionaries),
                None => Err(Error::MissingFile { path: path.clone() }),
            };
            match source {
                Ok(source) => self.copy_segment(hasher, &source, group, tail, losses)?,
                Err(error) => {
                    for survivor in group {
                        losses.key(
                            &path,
                            survivor.entry.offset,
                            what_of(&survivor.entry, &reason_of(&error)),
                        );
                    }
                }
            }
        }
        self.index()
    }

    fn copy_segment(
        &mut self,
        hasher: &KeyHasher,
        source: &Arc<SegmentFile>,
        survivors: &[Survivor],
        tail: &mut Tail,
        losses: &mut Losses<'_>,
    ) -> Result<(), Error> {
        let dictionary = source.dictionary().map(|dictionary| self.dictionary(dictionary)).transpose()?;
        let mut scratch = Scratch::default();
        let mut compressor = crate::compression::Compressor::new();
        let mut making: Option<Making> = None;
        for Survivor { entry, cut, uncertain } in survivors {
            let record = match source.read(entry.offset, &mut scratch) {
                Ok(record) => record,
                Err(error) => {
                    losses.key(source.path(), entry.offset, what_of(entry, &reason_of(&error)));
                    continue;
                }
            };
            let (database, key) = (layout::database(record.object), layout::parts(record.object).key);
            if database != entry.database || hasher.key(database, key).hash != entry.hash {
                losses.key(source.path(), entry.offset, what_of(entry, "the record there is of another key"));
                continue;
            }
            if let Some(full) = making.take_if(|making| !making.writer.has_room(record.object.len())) {
                self.finish_segment(full)?;
            }
            let making = match &mut making {
                Some(making) => making,
                None => making.insert(self.begin_segment(dictionary.clone())?),
            };
            let (deadline_ms, grid) = (entry.deadline_ms, entry.grid);
            let saved = Record { lsn: LOG_BEGIN, deadline_ms, grid, object: record.object };
            let offset = making.writer.push(&saved, Some(&mut compressor));
            making.dies_ms = making.dies_ms.max(deadline_ms);
            self.entries.push(IndexEntry { segment: making.writer.id(), offset, ..*entry });
            tail.note_saved(entry.hash, record.object, *cut);
            losses.report.keys_saved += 1;
            losses.report.keys_uncertain += u64::from(*uncertain);
            if making.writer.wants_write() {
                making.writer.write()?;
            }
        }
        making.map_or(Ok(()), |making| self.finish_segment(making))
    }

    fn begin_segment(&mut self, dictionary: Option<Arc<Dictionary>>) -> Result<Making, Error> {
        let id = self.manifest.checkpoint.next_segment;
        self.manifest.checkpoint.next_segment += 1;
        let database_id = &self.manifest.database_id;
        let writer = SegmentWriter::create(&*self.fs, &self.dir, database_id, id, dictionary, self.now_ms)?;
        Ok(Making { writer, dies_ms: 0 })
    }

    fn finish_segment(&mut self, making: Making) -> Result<(), Error> {
        let finished = making.writer.finish()?;
        let segment = finished.segment;
        self.manifest.checkpoint.segments.push(SegmentInfo {
            id: segment.id(),
            dictionary: segment.dictionary().map_or(0, Dictionary::id),
            bytes: segment.bytes(),
            records: finished.records,
            dies_ms: making.dies_ms,
            stamp: segment.stamp(),
        });
        Ok(())
    }

    /// That dictionary in the new directory, under its old id.
    fn dictionary(&mut self, dictionary: &Dictionary) -> Result<Arc<Dictionary>, Error> {
        let id = dictionary.id();
        if let Some(copied) = self.dictionaries.get(&id) {
            return Ok(Arc::clone(copied));
        }
        let Some(copied) = Dictionary::new(id, dictionary.bytes().to_vec()) else {
            // The same bytes have made one before: zstd has no memory left.
            let path = self.dir.join(crate::dictionary::file_name(id));
            return Err(Error::Io {
                operation: "copy a dictionary to",
                path,
                source: io::ErrorKind::OutOfMemory.into(),
            });
        };
        let copied = Arc::new(copied);
        copied.write(&*self.fs, &self.dir, &self.manifest.database_id)?;
        self.dictionaries.insert(id, Arc::clone(&copied));
        Ok(copied)
    }

    /// Writes the snapshot.
    fn index(&mut self) -> Result<(), Error> {
        let checkpoint = &mut self.manifest.checkpoint;
        let number = checkpoint.next_index;
        checkpoint.next_index += 1;
        let kind = IndexKind::Snapshot;
        let mut writer = IndexWriter::create(&*self.fs, &self.dir, self.manifest.database_id, number, kind)?;
        self.entries.sort_unstable_by_key(|entry| entry.hash);
        let mut from = 0;
        let mut rest = &mut self.entries[..];
        loop {
            // Entries with the same hash stay together.
            let mut length = rest.len().min(INDEX_BLOCK_ENTRIES);
            while length < rest.len() && rest[length].hash == rest[length - 1].hash {
                length += 1;
            }
            let (own, others) = rest.split_at_mut(length);
            let to = others.first().map_or(u64::MAX, |next| next.hash - 1);
            writer.block(from, to, LOG_BEGIN, own, &mut []);
            if writer.wants_write() {
                writer.write()?;
            }
            if others.is_empty() {
                break;
            }
            (from, rest) = (to + 1, others);
        }
        let finished = writer.finish()?;
        let (bytes, entries, stamp) = (finished.bytes, finished.entries, finished.stamp);
        checkpoint.index_files.push(IndexFileInfo { number, kind, bytes, entries, stamp });
        Ok(())
    }

    /// Writes the log.
    pub(super) fn log(
        &mut self,
        directory: &Directory,
        hasher: &KeyHasher,
        tail: &mut Tail,
        clock: Arc<dyn Clock>,
        losses: &mut Losses<'_>,
    ) -> Result<(), Error> {
        let options = WalOptions::default().database_id(self.manifest.database_id);
        let fs = Arc::clone(&self.fs);
        let (wal, _) =
            Wal::open(fs, clock, &self.dir, options, Lsn::ZERO, &mut |_, _| Ok(())).map_err(Error::Log)?;
        tail.copy(directory, hasher, losses, &mut |record| {
            wal.admit(record.len(), Admit::Write).map_err(Error::of_log)?;
            wal.append(record);
            Ok(())
        })?;
        wal.close().map_err(Error::of_log)?;
        let end = wal.durable_end();
        self.manifest.checkpoint.log_reached = end.lsn.get();
        self.manifest.checkpoint.log_checksum = end.checksum;
        Ok(())
    }

    /// Copies the side files.
    pub(super) fn side_files(&mut self, directory: &Directory, losses: &mut Losses<'_>) -> Result<(), Error> {
        for name in side_file::NAMES {
            match directory.side_file(name) {
                Ok(None) => {}
                Ok(Some(content)) => {
                    let id = &self.manifest.database_id;
                    let written = side_file::write_new(&*self.fs, &self.dir, name, id, &content)?;
                    *side_file::known_of(&mut self.manifest, name) = written;
                }
                Err(error) => losses.gap(&error, &directory.path.join(name)),
            }
        }
        Ok(())
    }

    /// Makes it a database.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let checkpoint = &mut self.manifest.checkpoint;
        checkpoint.number = 1;
        checkpoint.log_from = LOG_BEGIN;
        checkpoint.time_ms = self.now_ms;
        checkpoint.wall_ms = self.now_ms;
        for (id, dictionary) in &self.dictionaries {
            let bytes = dictionary.bytes().len() as u32;
            let stamp = dictionary.stamp(&self.manifest.database_id);
            checkpoint.dictionaries.push(DictionaryInfo { id: *id, bytes, stamp });
            checkpoint.next_dictionary = checkpoint.next_dictionary.max(id + 1);
        }
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.manifest.write(&*self.fs, &self.dir)
    }
}

/// What is wrong, to be said behind file and offset.
fn reason_of(error: &Error) -> String {
    match error {
        Error::DamagedValue { reason, .. } => (*reason).to_owned(),
        Error::MissingFile { .. } => "the segment is missing".to_owned(),
        Error::DamagedFile { reason, .. } => format!("the segment can't be read: {reason}"),
        other => other.to_string(),
    }
}

fn what_of(entry: &IndexEntry, reason: &str) -> String {
    let IndexEntry { hash, database, deadline_ms, .. } = entry;
    let dies = match *deadline_ms {
        NEVER => "never dies".to_owned(),
        ms => format!("dies at {ms} ms since 1970"),
    };
    format!("a key of database {database} that {dies} (hash {hash:016x}): {reason}")
}
