//! A checkpoint: what has changed since the last one goes to segments and an index file, and the log before it is released.
//!
//! It runs in steps while the database serves. A range of hashes is looked at in one hold of its shard's lock, which gives the range its
//! *cut*: the position in the log up to which the range was collected. Everything slow happens outside the lock. The order is what makes it
//! safe: segments are synced before an entry may rely on them, segments, index file and the log up to the last cut before the manifest names
//! them, and the manifest before anything that the last one needs is given up. A checkpoint that fails changes nothing.

use crate::Error;
use crate::databases::DatabaseMap;
use crate::db::Inner;
use crate::dictionary::Dictionary;
use crate::idle;
use crate::index_file::{IndexEntry, IndexKind, IndexWriter};
use crate::limits::{DICTIONARY_SAMPLE_BYTES_MAX, DICTIONARY_SAMPLES};
use crate::location::Location;
use crate::manifest::{DictionaryInfo, IndexFileInfo, SegmentInfo};
use crate::segment::Record;
use crate::segment_set::{Content, SegmentSet};
use crate::segments::Segment;
use crate::shard::{Collected, CollectedObject, Image};
use sessile_wal::Lsn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a checkpoint is.
enum Phase {
    /// A dictionary is trained, if there is none that fits.
    Train,
    /// Ranges are collected, segments fill.
    Collect,
    /// The segments that are left are finished.
    Segments,
    /// The index file is finished.
    Index,
    /// The log is synced to the last cut.
    Log,
    /// The manifest is replaced.
    Manifest,
    /// What nothing refers to any more is removed.
    Release,
}

/// See the module's page.
pub(crate) struct Checkpoint {
    phase: Phase,
    number: u64,
    full: bool,
    begun_ns: u64,
    now_ms: u64,
    /// Nothing before it is needed once the checkpoint is done.
    log_from: Lsn,
    /// The last cut.
    log_reached: Lsn,
    /// Of the batch that ends there; 0 if it isn't known.
    log_checksum: u32,
    /// The map of databases, and the log's end when it was looked at.
    databases: (DatabaseMap, Lsn),
    shard: usize,
    /// Of the shard that is being collected, sorted.
    tombstones: Vec<u64>,
    /// The next hash to collect from; `None` before the shard's first.
    next: Option<u64>,
    set: SegmentSet<CollectedObject>,
    /// Taken when it is finished.
    index: Option<IndexWriter>,
    index_number: u64,
    listed_index: Option<IndexFileInfo>,
    /// Segments that nothing referred to when the checkpoint began.
    dead: Vec<Arc<Segment>>,
    /// What the new manifest doesn't list any more.
    old_files: Vec<String>,
}

/// What a step says.
pub(crate) enum Progress {
    /// There is more; so many bytes were written.
    More(u64),
    /// The checkpoint is in force.
    Done,
}

impl Checkpoint {
    /// Begins one.
    ///
    /// # Errors
    /// [`Error::Io`] if the index file can't be made.
    pub(crate) fn begin(inner: &Inner) -> Result<Checkpoint, Error> {
        let storage = &inner.storage;
        let manifest = storage.manifest.lock().clone();
        // First of all: an entry that leaves a segment from here on does so after its range's cut, or is collected.
        let dead: Vec<_> =
            inner.segments.all().into_iter().filter(|s| inner.segments.live_records(s) == 0).collect();
        let log_from = inner.wal.appended();
        let keys = inner.shards.iter().map(|shard| shard.lock().table().len() as u64).sum();
        let cleared = inner.shards.iter().any(|shard| shard.lock().is_cleared());
        let full = storage.wants_snapshot(&manifest, keys) || cleared;
        let now_ms = inner.clock.now_ms();
        let index_number = storage.next_index_number();
        let kind = if full { IndexKind::Snapshot } else { IndexKind::Delta };
        let index = IndexWriter::create(&*storage.fs, &storage.dir, storage.database_id, index_number, kind)?;
        Ok(Checkpoint {
            phase: Phase::Train,
            number: manifest.checkpoint.number + 1,
            full,
            begun_ns: inner.clock.monotonic_ns(),
            now_ms,
            log_from,
            log_reached: log_from,
            log_checksum: 0,
            databases: (DatabaseMap::IDENTITY, Lsn::ZERO),
            shard: 0,
            tombstones: Vec::new(),
            next: None,
            set: SegmentSet::new(storage.dictionary(), now_ms),
            index: Some(index),
            index_number,
            listed_index: None,
            dead,
            old_files: Vec::new(),
        })
    }

    /// Where the log can be released to when this is done.
    pub(crate) fn log_from(&self) -> Lsn {
        self.log_from
    }

    /// When it was begun, by the monotonic clock.
    pub(crate) fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// Does a bounded amount of it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`], [`Error::LogFailed`]: the checkpoint is to be [given up](Self::abandon).
    pub(crate) fn step(&mut self, inner: &Inner) -> Result<Progress, Error> {
        let storage = &inner.storage;
        match self.phase {
            Phase::Train => {
                self.train(inner)?;
                self.phase = Phase::Collect;
            }
            Phase::Collect => return self.collect_step(inner).map(Progress::More),
            Phase::Segments => {
                if !self.finish_segment(inner, true)? {
                    self.phase = Phase::Index;
                }
            }
            Phase::Index => {
                let Some(index) = self.index.take() else { unreachable!("it is finished once") };
                let finished = index.finish()?;
                storage.figures.bytes_written.fetch_add(finished.bytes, Ordering::Relaxed);
                self.listed_index = Some(IndexFileInfo {
                    number: self.index_number,
                    kind: if self.full { IndexKind::Snapshot } else { IndexKind::Delta },
                    bytes: finished.bytes,
                    entries: finished.entries,
                    stamp: finished.stamp,
                });
                storage.fs.sync_dir(&storage.dir).map_err(Error::io("sync", &storage.dir))?;
                self.phase = Phase::Log;
            }
            Phase::Log => {
                // Which database is which changes with all shards locked: one of them holds it still.
                let shard = inner.shards.first().map(|shard| shard.lock());
                self.databases = (inner.databases.map(), inner.wal.appended());
                drop(shard);
                self.log_reached = self.log_reached.max(self.databases.1);
                // The files hold the effects of the log up to the last cut: none of it may be lost, or what remains would have holes.
                inner.wal.sync(self.log_reached).map_err(Error::of_log)?;
                let end = inner.wal.durable_end();
                // It is so far, at least: then the log can be told from another one by what it has there.
                if end.lsn >= self.log_reached {
                    (self.log_reached, self.log_checksum) = (end.lsn, end.checksum);
                }
                self.phase = Phase::Manifest;
            }
            Phase::Manifest => {
                self.write_manifest(inner)?;
                self.phase = Phase::Release;
            }
            Phase::Release => {
                self.release(inner);
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More(0))
    }

    /// Trains a dictionary on values that are about to be written, if there is none yet or it no longer fits.
    fn train(&mut self, inner: &Inner) -> Result<(), Error> {
        let storage = &inner.storage;
        if !storage.wants_dictionary() {
            return Ok(());
        }
        let samples = sample(inner);
        let refs: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        let id = storage.next_dictionary_id();
        let trained = if refs.len() < storage.tuning.dictionary_samples_min {
            None
        } else {
            Dictionary::train_on_few(id, &refs, storage.tuning.dictionary_bytes_max)
        };
        storage.tried_dictionary(refs.len());
        let Some((dictionary, gain)) = trained else { return Ok(()) };
        dictionary.write(&*storage.fs, &storage.dir, &storage.database_id)?;
        tracing::info!(
            id,
            samples = refs.len(),
            ratio = format_args!("{:.2}", gain.raw_bytes as f64 / gain.with_bytes.max(1) as f64),
            without = format_args!("{:.2}", gain.raw_bytes as f64 / gain.without_bytes.max(1) as f64),
            "trained a dictionary"
        );
        let dictionary = Arc::new(dictionary);
        inner.segments.add_dictionary(Arc::clone(&dictionary));
        storage.use_dictionary(Arc::clone(&dictionary), &gain);
        self.set = SegmentSet::new(Some(dictionary), self.now_ms);
        Ok(())
    }

    fn collect_step(&mut self, inner: &Inner) -> Result<u64, Error> {
        if self.set.has_full() {
            self.finish_segment(inner, false)?;
            return Ok(0);
        }
        let mut written = 0;
        for _ in 0..inner.storage.tuning.collected_ranges_per_step {
            let Some(shard) = inner.shards.get(self.shard) else {
                self.phase = Phase::Segments;
                break;
            };
            let mut guard = shard.lock();
            let from = match self.next {
                Some(next) => next,
                None => {
                    self.tombstones = guard.begin_collection(self.full);
                    // Many may have gathered: they are sorted outside the lock.
                    drop(guard);
                    self.tombstones.sort_unstable();
                    guard = shard.lock();
                    (self.shard as u64) << (64 - inner.shard_bits)
                }
            };
            if !self.full && guard.is_cleared() {
                return Err(Error::Cleared);
            }
            let collected = guard.collect(from, self.full, &self.tombstones);
            let cut = inner.wal.appended();
            drop(guard);
            let last = u64::MAX >> inner.shard_bits | (self.shard as u64) << (64 - inner.shard_bits);
            if collected.to >= last {
                self.shard += 1;
                self.next = None;
            } else {
                self.next = Some(collected.to + 1);
            }
            if self.full || !collected.is_empty() {
                self.log_reached = self.log_reached.max(cut);
                self.write_range(inner, collected, cut)?;
            }
            written += self.set.write(inner)?;
            if let Some(index) = self.index.as_mut().filter(|index| index.wants_write()) {
                index.write()?;
            }
            if written > 0 || self.set.has_full() {
                break;
            }
        }
        Ok(written)
    }

    fn write_range(&mut self, inner: &Inner, collected: Collected, cut: Lsn) -> Result<(), Error> {
        let Collected { from, to, objects, entries, mut removed, marked: _ } = collected;
        let mut block = Vec::with_capacity(objects.len() + entries.len());
        for (entry, location) in entries {
            let Some(segment) = inner.segments.at(location) else {
                unreachable!("an entry keeps its segment open")
            };
            block.push(IndexEntry {
                hash: entry.hash,
                deadline_ms: entry.deadline_ms,
                segment: segment.id(),
                offset: location.offset(),
                database: entry.database,
                grid: entry.grid,
            });
        }
        let mut failed = None;
        for object in objects {
            if failed.is_some() {
                put_back(inner, &object);
                continue;
            }
            let entry = object.entry;
            match self.push(inner, object, cut) {
                Ok((segment, offset)) => block.push(IndexEntry {
                    hash: entry.hash,
                    deadline_ms: entry.deadline_ms,
                    segment,
                    offset,
                    database: entry.database,
                    grid: entry.grid,
                }),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(index) = &mut self.index {
            index.block(from, to, cut.get(), &mut block, &mut removed);
        }
        Ok(())
    }

    fn push(&mut self, inner: &Inner, object: CollectedObject, cut: Lsn) -> Result<(u32, u64), Error> {
        let shared;
        let flattened;
        let flat = match &object.image {
            Image::Flat(packed) => {
                shared = packed.clone();
                shared.bytes()
            }
            Image::Idle(packed) => {
                let dictionary =
                    idle::dictionary_id(packed.bytes()).and_then(|id| inner.segments.dictionary(id));
                match idle::read(dictionary.as_deref(), packed.bytes()) {
                    Ok(flat) => {
                        shared = flat;
                        shared.bytes()
                    }
                    Err(error) => {
                        put_back(inner, &object);
                        return Err(error);
                    }
                }
            }
            Image::Flattened(flat) => {
                flattened = flat.clone();
                &flattened[..]
            }
        };
        let record = Record {
            lsn: cut.get(),
            deadline_ms: object.entry.deadline_ms,
            grid: object.entry.grid,
            object: flat,
        };
        let dies_ms = object.dies_ms;
        match self.set.push(inner, dies_ms, &Content::Flat(record), object) {
            Ok((segment, location)) => Ok((segment, location.offset())),
            Err((error, object)) => {
                put_back(inner, &object);
                Err(error)
            }
        }
    }

    /// Finishes a segment; whether there was one.
    fn finish_segment(&mut self, inner: &Inner, all: bool) -> Result<bool, Error> {
        match self.set.finish_one(inner, all) {
            Ok(None) => Ok(false),
            Ok(Some(done)) => {
                for (object, location) in done.pushed {
                    let number = inner.shard_number(object.entry.hash);
                    inner.shards[number].lock().settle(&object, location);
                }
                Ok(true)
            }
            Err((error, pushed)) => {
                take_back(inner, pushed);
                Err(error)
            }
        }
    }

    fn write_manifest(&mut self, inner: &Inner) -> Result<(), Error> {
        let storage = &inner.storage;
        let _alone = storage.manifest_writing.lock();
        let mut manifest = storage.manifest.lock().clone();
        let dead = |id: u32| self.dead.iter().any(|segment| segment.id() == id);
        let segments = inner.segments.all();
        let mut listed: Vec<SegmentInfo> = segments
            .iter()
            .filter(|segment| !dead(segment.id()))
            .map(|segment| SegmentInfo {
                id: segment.id(),
                dictionary: segment.file.dictionary().map_or(0, Dictionary::id),
                bytes: segment.bytes,
                records: segment.records,
                dies_ms: segment.dies_ms,
                stamp: segment.file.stamp(),
            })
            .collect();
        listed.sort_unstable_by_key(|segment| segment.id);
        let current = storage.dictionary().map(|dictionary| dictionary.id());
        let dictionaries: Vec<DictionaryInfo> = inner
            .segments
            .dictionaries()
            .iter()
            .filter(|dictionary| {
                Some(dictionary.id()) == current
                    || listed.iter().any(|segment| segment.dictionary == dictionary.id())
            })
            .map(|dictionary| DictionaryInfo {
                id: dictionary.id(),
                bytes: dictionary.bytes().len() as u32,
                stamp: dictionary.stamp(&storage.database_id),
            })
            .collect();
        let state = &mut manifest.checkpoint;
        for old in &state.dictionaries {
            if !dictionaries.iter().any(|listed| listed.id == old.id) {
                self.old_files.push(crate::dictionary::file_name(old.id));
            }
        }
        state.segments = listed;
        state.dictionaries = dictionaries;
        if self.full {
            self.old_files
                .extend(state.index_files.drain(..).map(|index| crate::index_file::name(index.number)));
        }
        state.index_files.extend(self.listed_index.take());
        state.number = self.number;
        state.log_from = self.log_from.get();
        (state.log_reached, state.log_checksum) = (self.log_reached.get(), self.log_checksum);
        (state.databases, state.databases_at) = (self.databases.0, self.databases.1.get());
        // Not when it began: what had died when its range was collected was left out, and must stay dead.
        state.time_ms = state.time_ms.max(inner.clock.now_ms());
        state.wall_ms = storage.clock.wall_ms();
        state.next_segment = storage.ids.segment.load(Ordering::Relaxed);
        state.next_index = storage.ids.index.load(Ordering::Relaxed);
        state.next_dictionary = storage.ids.dictionary.load(Ordering::Relaxed);
        manifest.write(&*storage.fs, &storage.dir)?;
        *storage.manifest.lock() = manifest;
        Ok(())
    }

    /// Gives up what the manifest no longer needs. A file that can't be removed stays an orphan until the next open.
    fn release(&mut self, inner: &Inner) {
        let storage = &inner.storage;
        if let Err(error) = inner.wal.release(self.log_from) {
            tracing::warn!(%error, "a log file that is no longer needed can't be released");
        }
        for segment in self.dead.drain(..) {
            inner.segments.give_back(segment.slot);
            storage.figures.segments_dropped.fetch_add(1, Ordering::Relaxed);
            self.old_files.push(crate::segment::file_name(segment.id()));
        }
        for name in self.old_files.drain(..) {
            if let Err(error) = storage.fs.remove(&storage.dir.join(&name)) {
                tracing::warn!(%error, file = name, "a file that is no longer needed can't be removed");
            }
        }
    }

    /// Gives the checkpoint up: what it had taken as written is dirty again. The index files must be written anew the next time.
    pub(crate) fn abandon(mut self, inner: &Inner) {
        let pushed = self.set.abandon(inner);
        take_back(inner, pushed);
        let storage = &inner.storage;
        // A manifest whose replacement failed may all the same have been replaced, and name the file.
        if !matches!(self.phase, Phase::Manifest | Phase::Release) {
            let _ = storage.fs.remove(&storage.dir.join(crate::index_file::name(self.index_number)));
        }
    }
}

fn put_back(inner: &Inner, object: &CollectedObject) {
    inner.shards[inner.shard_number(object.entry.hash)].lock().unsettle(object);
}

fn take_back(inner: &Inner, pushed: Vec<(CollectedObject, Location)>) {
    for (object, _) in pushed {
        put_back(inner, &object);
    }
}

/// Flat objects from all over the index, for training.
fn sample(inner: &Inner) -> Vec<Vec<u8>> {
    let each = DICTIONARY_SAMPLES.div_ceil(inner.shards.len());
    let mut samples = Vec::new();
    for shard in &inner.shards {
        let shard = shard.lock();
        samples.extend(
            shard.sample(each, DICTIONARY_SAMPLE_BYTES_MAX).into_iter().map(|packed| packed.bytes().to_vec()),
        );
    }
    samples
}
