//! What the background does with the data directory: when a checkpoint is made, when segments are compacted, one bounded step at a time.
//!
//! One thread steps at a time. It holds no shard's lock across I/O, and whatever fails leaves the directory as the manifest says.

use crate::checkpoint::{Checkpoint, Progress};
use crate::compaction::Compaction;
use crate::db::Inner;
use crate::dictionary::{Dictionary, Gain};
use crate::index_file::IndexKind;
use crate::limits::{
    DICTIONARY_RETRY_CHECKPOINTS, INDEX_ENTRIES_SLACK, STORAGE_BYTES_PER_SECOND, STORAGE_PAUSE_MAX,
};
use crate::manifest::Manifest;
use crate::stats::StorageStats;
use crate::{Error, Options, StorageTuning};
use sessile_wal::sync::{Condvar, Mutex};
use sessile_wal::{Clock, Fs, WalError};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The next number of each kind of file; never used twice.
pub(crate) struct Ids {
    pub(crate) segment: AtomicU32,
    pub(crate) index: AtomicU64,
    pub(crate) dictionary: AtomicU32,
}

/// Counters since open.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) checkpoints: AtomicU64,
    pub(crate) checkpoints_failed: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) compressed_from_bytes: AtomicU64,
    pub(crate) compressed_to_bytes: AtomicU64,
    pub(crate) segments_dropped: AtomicU64,
    pub(crate) segments_compacted: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) dictionaries: AtomicU64,
    pub(crate) last_took_ms: AtomicU64,
}

/// When checkpoints are made; may change while the database is open.
pub(crate) struct Triggers {
    pub(crate) log_bytes: AtomicU64,
    pub(crate) interval_ms: AtomicU64,
}

/// What the last attempts did and whoever waits wants.
#[derive(Default)]
struct Requests {
    /// Checkpoints begun, and ended, well or not.
    begun: u64,
    ended: u64,
    wanted: bool,
    /// Whether the last one that was begun had been asked for.
    was_wanted: bool,
    /// Why the last one that ended failed, if it did.
    failure: Option<String>,
    closed: bool,
}

impl Requests {
    fn is_running(&self) -> bool {
        self.begun > self.ended
    }

    /// Whether one is under way or about to be that somebody asked for.
    fn is_running_wanted(&self) -> bool {
        self.wanted || self.is_running() && self.was_wanted
    }
}

/// What is going on.
#[derive(Default)]
enum Work {
    #[default]
    Nothing,
    Checkpoint(Box<Checkpoint>),
    Compaction(Box<Compaction>),
}

#[derive(Default)]
struct State {
    work: Work,
    /// No checkpoint is begun before, unless asked for.
    retry_at_ms: u64,
    last_begun_ms: u64,
    records_begun: u64,
    /// The log's position when the last one began.
    last_log: u64,
    compaction_look_at_ms: u64,
    /// The log's position at the last look for segments to compact.
    log_at_look: u64,
    /// Compaction has moved records: the next checkpoint gives the old ones up.
    moved: bool,
}

/// The dictionary in use.
#[derive(Default)]
struct InUse {
    dictionary: Option<Arc<Dictionary>>,
    /// Compressed bytes per thousand raw ones when it was trained.
    promille: u64,
    /// Figures when it was last looked at.
    from_bytes: u64,
    to_bytes: u64,
    /// Checkpoints until training is tried again.
    wait: u32,
    /// The values that there were when training found too few.
    too_few: usize,
}

/// See the module's page.
pub(crate) struct Storage {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dir: PathBuf,
    pub(crate) database_id: [u8; 16],
    pub(crate) manifest: Mutex<Manifest>,
    /// Held by whoever replaces the manifest, from reading the one above until the new one is there: a checkpoint, or a side file.
    pub(crate) manifest_writing: Mutex<()>,
    pub(crate) ids: Ids,
    pub(crate) figures: Figures,
    pub(crate) triggers: Triggers,
    /// The next checkpoint writes a snapshot: the marks in the index don't say everything.
    pub(crate) force_snapshot: AtomicBool,
    state: Mutex<State>,
    requests: Mutex<Requests>,
    ended: Condvar,
    in_use: Mutex<InUse>,
    disk_limit_bytes: AtomicU64,
    disk_used_bytes: AtomicU64,
    /// Space on the file system was below what a checkpoint may need.
    short_of_space: AtomicBool,
    /// What is kept free for checkpoints and compaction, in bytes, beside what dirty values may need.
    reserve_bytes: u64,
    /// Records of the log when the last checkpoint that succeeded began.
    records_before: AtomicU64,
    pub(crate) tuning: StorageTuning,
}

impl Storage {
    pub(crate) fn new(
        options: &Options,
        dir: PathBuf,
        manifest: Manifest,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Storage {
        let state = &manifest.checkpoint;
        let available_bytes = options.fs.available_bytes(&dir).ok();
        Storage {
            fs: Arc::clone(&options.fs),
            clock: Arc::clone(&options.clock),
            dir,
            database_id: manifest.database_id,
            ids: Ids {
                segment: AtomicU32::new(state.next_segment),
                index: AtomicU64::new(state.next_index),
                dictionary: AtomicU32::new(state.next_dictionary),
            },
            figures: Figures::default(),
            triggers: Triggers {
                log_bytes: AtomicU64::new(options.checkpoint_log_bytes),
                interval_ms: AtomicU64::new(options.checkpoint_interval.as_millis() as u64),
            },
            force_snapshot: AtomicBool::new(false),
            state: Mutex::new(State { last_log: state.log_from, ..State::default() }),
            requests: Mutex::default(),
            ended: Condvar::new(),
            in_use: Mutex::new(InUse { dictionary, ..InUse::default() }),
            disk_limit_bytes: AtomicU64::new(options.disk_bytes_max),
            disk_used_bytes: AtomicU64::new(0),
            short_of_space: AtomicBool::new(false),
            reserve_bytes: available_bytes.map_or(0, |bytes| bytes / 8).min(options.tuning.reserve_bytes),
            records_before: AtomicU64::new(0),
            tuning: options.tuning.clone(),
            manifest: Mutex::new(manifest),
            manifest_writing: Mutex::new(()),
        }
    }

    pub(crate) fn next_segment_id(&self) -> u32 {
        self.ids.segment.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_index_number(&self) -> u64 {
        self.ids.index.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_dictionary_id(&self) -> u32 {
        self.ids.dictionary.fetch_add(1, Ordering::Relaxed)
    }

    /// The dictionary that new segments are written with.
    pub(crate) fn dictionary(&self) -> Option<Arc<Dictionary>> {
        self.in_use.lock().dictionary.clone()
    }

    /// Whether the next index file is to stand alone: there is none, the marks don't say everything, or the deltas have grown as long as
    /// the snapshot, so that all snapshots together cost as much as all deltas; or most of what they list has died since.
    pub(crate) fn wants_snapshot(&self, manifest: &Manifest, keys: u64) -> bool {
        let files = &manifest.checkpoint.index_files;
        let bytes = |kind| files.iter().filter(|file| file.kind == kind).map(|file| file.bytes).sum::<u64>();
        self.force_snapshot.swap(false, Ordering::AcqRel)
            || files.is_empty()
            || bytes(IndexKind::Delta) > bytes(IndexKind::Snapshot)
            || files.iter().map(|file| file.entries).sum::<u64>() > 4 * keys + INDEX_ENTRIES_SLACK
    }

    /// Whether a dictionary is to be trained: there is none, or what it saves has fallen by a quarter since.
    pub(crate) fn wants_dictionary(&self) -> bool {
        let mut in_use = self.in_use.lock();
        if in_use.wait > 0 {
            in_use.wait -= 1;
            return false;
        }
        if in_use.dictionary.is_none() || in_use.promille == 0 {
            return in_use.dictionary.is_none();
        }
        let from = self.figures.compressed_from_bytes.load(Ordering::Relaxed);
        let to = self.figures.compressed_to_bytes.load(Ordering::Relaxed);
        let (lately_from, lately_to) = (from - in_use.from_bytes, to - in_use.to_bytes);
        if lately_from < self.tuning.dictionary_judged_bytes {
            return false;
        }
        (in_use.from_bytes, in_use.to_bytes) = (from, to);
        lately_to * 1000 / lately_from > in_use.promille * self.tuning.dictionary_worse_promille / 1000
    }

    /// Training was tried.
    pub(crate) fn tried_dictionary(&self, samples: usize) {
        let mut in_use = self.in_use.lock();
        in_use.too_few = samples;
        in_use.wait = if samples < 1000 { 0 } else { DICTIONARY_RETRY_CHECKPOINTS };
    }

    pub(crate) fn use_dictionary(&self, dictionary: Arc<Dictionary>, gain: &Gain) {
        self.figures.dictionaries.fetch_add(1, Ordering::Relaxed);
        let mut in_use = self.in_use.lock();
        in_use.dictionary = Some(dictionary);
        in_use.promille = gain.with_bytes * 1000 / gain.raw_bytes.max(1);
        in_use.from_bytes = self.figures.compressed_from_bytes.load(Ordering::Relaxed);
        in_use.to_bytes = self.figures.compressed_to_bytes.load(Ordering::Relaxed);
    }

    /// Refuses a write if the directory is at its limit, or the disk so full that a checkpoint might not fit.
    pub(crate) fn check_disk_limit(&self) -> Result<(), Error> {
        if self.short_of_space.load(Ordering::Relaxed) {
            return Err(Error::DiskFull(WalError::DiskFull {
                path: self.dir.clone(),
                needed_bytes: self.reserve_bytes,
            }));
        }
        let limit_bytes = self.disk_limit_bytes.load(Ordering::Relaxed);
        if limit_bytes == u64::MAX {
            return Ok(());
        }
        let used_bytes = self.disk_used_bytes.load(Ordering::Relaxed);
        if used_bytes >= limit_bytes { Err(Error::DiskLimit { used_bytes, limit_bytes }) } else { Ok(()) }
    }

    pub(crate) fn set_disk_limit(&self, bytes: u64) {
        self.disk_limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Asks for a checkpoint; false if one is under way that was asked for (another follows then).
    pub(crate) fn request(&self, inner: &Inner) -> bool {
        let mut requests = self.requests.lock();
        let running = requests.is_running_wanted();
        requests.wanted = true;
        drop(requests);
        inner.pauses.storage.wake();
        !running
    }

    /// Waits for a checkpoint that begins after this call.
    ///
    /// # Errors
    /// [`Error::CheckpointFailed`], [`Error::Closed`].
    pub(crate) fn checkpoint(&self, inner: &Inner, background: bool) -> Result<(), Error> {
        let number = {
            let mut requests = self.requests.lock();
            requests.wanted = true;
            requests.begun + 1
        };
        inner.pauses.storage.wake();
        loop {
            if !background {
                step(inner);
            }
            let mut requests = self.requests.lock();
            if requests.ended >= number {
                return match &requests.failure {
                    None => Ok(()),
                    Some(reason) => Err(Error::CheckpointFailed { reason: reason.clone() }),
                };
            }
            if requests.closed {
                return Err(Error::Closed);
            }
            if background {
                self.ended.wait_for(&mut requests, Duration::from_millis(200));
            }
        }
    }

    /// Whether the last checkpoint that ended failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.requests.lock().failure.is_some()
    }

    /// Whoever waits for a checkpoint waits no longer.
    pub(crate) fn close(&self) {
        self.requests.lock().closed = true;
        self.ended.notify_all();
    }

    fn has_begun(&self) {
        let mut requests = self.requests.lock();
        requests.begun += 1;
        requests.was_wanted = std::mem::take(&mut requests.wanted);
    }

    fn has_ended(&self, failure: Option<String>) {
        let mut requests = self.requests.lock();
        requests.ended += 1;
        requests.failure = failure;
        self.ended.notify_all();
    }

    /// Whether a checkpoint or a compaction is under way.
    pub(crate) fn is_at_work(&self) -> bool {
        !matches!(self.state.lock().work, Work::Nothing)
    }

    /// The state of all that, for humans.
    pub(crate) fn stats(&self, inner: &Inner) -> StorageStats {
        let figure = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (running, wanted, failed) = {
            let requests = self.requests.lock();
            (requests.is_running(), requests.is_running_wanted(), requests.failure.is_some())
        };
        let manifest = self.manifest.lock();
        let segments = inner.segments.all();
        let figures = &self.figures;
        let last_log = manifest.checkpoint.log_from;
        StorageStats {
            checkpoint_running: running,
            checkpoint_requested: wanted,
            checkpoints: figure(&figures.checkpoints),
            checkpoints_failed: figure(&figures.checkpoints_failed),
            last_checkpoint_failed: failed,
            last_checkpoint_ms: manifest.checkpoint.wall_ms,
            last_checkpoint_took_ms: figure(&figures.last_took_ms),
            changes_since_checkpoint: inner.wal.stats().records.saturating_sub(figure(&self.records_before)),
            log_bytes_since_checkpoint: inner.wal.appended().get() - last_log,
            cold_reads: figure(&inner.reads.reads),
            cold_reads_waited: figure(&inner.reads.waited),
            damaged_reads: figure(&inner.reads.damaged),
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segment_live_bytes: segments.iter().map(|segment| inner.segments.live_bytes(segment)).sum(),
            index_bytes: manifest.checkpoint.index_files.iter().map(|file| file.bytes).sum(),
            disk_bytes: self.disk_used_bytes.load(Ordering::Relaxed),
            short_of_space: self.short_of_space.load(Ordering::Relaxed),
            segments_compacted: figure(&figures.segments_compacted),
            compacted_bytes: figure(&figures.compacted_bytes),
            segments_dropped: figure(&figures.segments_dropped),
            bytes_written: figure(&figures.bytes_written),
            dictionaries: figure(&figures.dictionaries),
            compressed_from_bytes: figure(&figures.compressed_from_bytes),
            compressed_to_bytes: figure(&figures.compressed_to_bytes),
            ..StorageStats::default()
        }
    }

    /// Bytes of all files of the directory, about, and whether there is room for more.
    fn count_disk(&self, inner: &Inner) {
        let manifest = self.manifest.lock();
        let index: u64 = manifest.checkpoint.index_files.iter().map(|file| file.bytes).sum();
        drop(manifest);
        let segments: u64 = inner.segments.all().iter().map(|segment| segment.bytes).sum();
        self.disk_used_bytes.store(index + segments + inner.wal.stats().file_bytes, Ordering::Relaxed);
        // The last of the space is for checkpoints and compaction, which give space back: writes must not take it.
        let Ok(available) = self.fs.available_bytes(&self.dir) else { return };
        let needed = self.reserve_bytes + inner.tiering.dirty_bytes().min(8 * self.reserve_bytes);
        let short = available < needed;
        if self.short_of_space.swap(short, Ordering::Relaxed) != short {
            if short {
                tracing::warn!(
                    available,
                    needed,
                    "the disk is nearly full: writes are refused, what is left is for making space"
                );
            } else {
                tracing::info!(available, "the disk has space again: writes go on");
            }
        }
    }

    /// What the file system has left, in bytes; plenty, if it won't say.
    pub(crate) fn available_bytes(&self) -> u64 {
        self.fs.available_bytes(&self.dir).unwrap_or(u64::MAX)
    }

    /// Whether space is so short that it is worth more work than usual.
    pub(crate) fn is_tight(&self) -> bool {
        let limit = self.disk_limit_bytes.load(Ordering::Relaxed);
        let used = self.disk_used_bytes.load(Ordering::Relaxed);
        self.short_of_space.load(Ordering::Relaxed) || (limit != u64::MAX && used / 85 >= limit / 100)
    }
}

/// One bounded step of checkpoint or compaction; how long until the next.
pub(crate) fn step(inner: &Inner) -> Duration {
    let storage = &inner.storage;
    let mut state = storage.state.lock();
    let now_ms = inner.clock.now_ms();
    match std::mem::take(&mut state.work) {
        Work::Nothing => {
            storage.count_disk(inner);
            begin(inner, &mut state, now_ms)
        }
        Work::Checkpoint(mut checkpoint) => match checkpoint.step(inner) {
            Ok(Progress::More(written)) => {
                let hurry = inner.tiering.is_pressed() || storage.requests.lock().wanted;
                state.work = Work::Checkpoint(checkpoint);
                if hurry { Duration::ZERO } else { pause_for(written) }
            }
            Ok(Progress::Done) => {
                let took_ms = (inner.clock.monotonic_ns() - checkpoint.begun_ns()) / 1_000_000;
                storage.figures.last_took_ms.store(took_ms, Ordering::Relaxed);
                storage.figures.checkpoints.fetch_add(1, Ordering::Relaxed);
                state.last_log = checkpoint.log_from().get();
                storage.records_before.store(state.records_begun, Ordering::Relaxed);
                tracing::debug!(took_ms, "checkpoint");
                storage.count_disk(inner);
                storage.has_ended(None);
                Duration::ZERO
            }
            // A delta can't say that everything is gone, but a snapshot can: it is no failure.
            Err(Error::Cleared) => {
                checkpoint.abandon(inner);
                storage.force_snapshot.store(true, Ordering::Release);
                begin_checkpoint(inner, &mut state, now_ms)
            }
            Err(error) => {
                fail_checkpoint(inner, &mut state, Some(checkpoint), &error, now_ms);
                Duration::from_millis(10)
            }
        },
        Work::Compaction(mut compaction) => match compaction.step(inner) {
            Ok(Progress::More(written)) => {
                // A checkpoint that is wanted comes first: the compaction ends early, with what it has.
                if storage.requests.lock().wanted || wants_checkpoint(inner, &state, now_ms) {
                    compaction.end_early();
                }
                state.work = Work::Compaction(compaction);
                pause_for(written)
            }
            Ok(Progress::Done) => {
                state.moved = true;
                Duration::ZERO
            }
            Err(error) => {
                tracing::error!(%error, "compaction has failed; nothing is lost");
                compaction.abandon(inner);
                state.compaction_look_at_ms = now_ms + storage.tuning.checkpoint_retry_ms;
                Duration::from_millis(10)
            }
        },
    }
}

fn begin(inner: &Inner, state: &mut State, now_ms: u64) -> Duration {
    let storage = &inner.storage;
    if storage.requests.lock().wanted || wants_checkpoint(inner, state, now_ms) {
        storage.has_begun();
        return begin_checkpoint(inner, state, now_ms);
    }
    if now_ms >= state.compaction_look_at_ms {
        state.compaction_look_at_ms = now_ms + storage.tuning.compaction_look_ms;
        // The log stands still: nobody writes.
        let log = inner.wal.appended().get();
        let at_leisure = std::mem::replace(&mut state.log_at_look, log) == log;
        if let Some(compaction) = Compaction::begin(inner, now_ms, at_leisure) {
            state.work = Work::Compaction(Box::new(compaction));
            return Duration::ZERO;
        }
    }
    STORAGE_PAUSE_MAX
}

fn begin_checkpoint(inner: &Inner, state: &mut State, now_ms: u64) -> Duration {
    state.last_begun_ms = now_ms;
    state.records_begun = inner.wal.stats().records;
    state.moved = false;
    match Checkpoint::begin(inner) {
        Ok(checkpoint) => {
            state.work = Work::Checkpoint(Box::new(checkpoint));
            Duration::ZERO
        }
        Err(error) => {
            fail_checkpoint(inner, state, None, &error, now_ms);
            STORAGE_PAUSE_MAX
        }
    }
}

fn fail_checkpoint(
    inner: &Inner,
    state: &mut State,
    checkpoint: Option<Box<Checkpoint>>,
    error: &Error,
    now_ms: u64,
) {
    let storage = &inner.storage;
    tracing::error!(%error, "a checkpoint has failed; nothing is lost, the log goes on growing");
    if let Some(checkpoint) = checkpoint {
        checkpoint.abandon(inner);
    }
    storage.force_snapshot.store(true, Ordering::Release);
    storage.figures.checkpoints_failed.fetch_add(1, Ordering::Relaxed);
    state.retry_at_ms = now_ms + storage.tuning.checkpoint_retry_ms;
    storage.has_ended(Some(error.to_string()));
}

/// Whether it is time for a checkpoint.
fn wants_checkpoint(inner: &Inner, state: &State, now_ms: u64) -> bool {
    let storage = &inner.storage;
    if now_ms < state.retry_at_ms || inner.wal.is_poisoned() {
        return false;
    }
    let log_bytes = inner.wal.appended().get().saturating_sub(state.last_log);
    let interval_ms = storage.triggers.interval_ms.load(Ordering::Relaxed);
    let since_ms = now_ms.saturating_sub(state.last_begun_ms);
    let disk_limit = storage.disk_limit_bytes.load(Ordering::Relaxed);
    if log_bytes >= storage.triggers.log_bytes.load(Ordering::Relaxed).min(disk_limit / 8)
        || (log_bytes > 0
            && now_ms.saturating_sub(state.last_begun_ms.max(inner.clock.started_ms())) >= interval_ms)
        || state.moved
        || inner.tiering.wants_checkpoint()
    {
        return true;
    }
    // Much that nothing refers to any more is given back promptly, but not all the time.
    let tight = storage.is_tight();
    since_ms >= 1_000 && {
        let dead = |segment: &Arc<crate::segments::Segment>| inner.segments.live_records(segment) == 0;
        inner.segments.all().iter().filter(|s| dead(s)).map(|s| s.bytes).sum::<u64>()
            >= if tight { 1 } else { storage.tuning.dead_bytes_prompt }
    }
}

/// How long to rest after having written so much, so that the disk is not taken from those who wait for it.
fn pause_for(written: u64) -> Duration {
    Duration::from_micros(written * 1_000_000 / STORAGE_BYTES_PER_SECOND)
}
