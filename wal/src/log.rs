//! The state behind a [`Wal`](crate::Wal) handle, and the two things that move it: writing out and syncing.
//!
//! `appended ≥ written ≥ durable`, each only growing. `written` is moved by the writer, `durable` by the syncer (which
//! in `Always` writes durably and moves both). A write never waits for a sync that is under way: the syncer gives the
//! writer's role back before it syncs.
//!
//! Lock order: syncing role → writing role → `writer` → `files` → `buffer` → `shelf`. Appenders take only `buffer`, for
//! the length of one copy.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use crate::{
    Clock, Durability, Lsn, Poison, Recovery, WalError, WalOptions,
    background::Beat,
    buffer::{Buffer, file_bytes_for},
    demand::Demand,
    error::is_full,
    files::{Files, Shelf},
    format::{batch_seed, log_name},
    role::{Role, Turn},
    stats::Counters,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::*},
    },
    synced::SyncedNote,
    writer::{Current, Writer},
};

/// How often a thread looks again before it sleeps: a few microseconds, the length of a write.
pub(crate) const WRITE_SPINS: u32 = if cfg!(shuttle) { 2 } else { 1000 };
/// A sync is far longer than any spinning.
pub(crate) const SYNC_SPINS: u32 = 0;

/// How many turns one thread syncs for others before it goes on with its own work.
const SYNC_TURNS_MAX: u32 = 4;

/// A value on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Alone<T>(pub(crate) T);

/// Where the log was durable to, and what ends there: whoever writes both down can tell this log from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableEnd {
    /// The end of a batch.
    pub lsn: Lsn,
    /// That batch's checksum; 0 if none was written since the log was opened.
    pub checksum: u32,
}

/// What the system said when it was asked for the next file, kept to be said again to everyone who is refused for it.
#[derive(Debug)]
pub(crate) struct Refusal {
    operation: &'static str,
    path: PathBuf,
    kind: std::io::ErrorKind,
    text: String,
}

impl Refusal {
    fn of(operation: &'static str, path: &Path, source: &std::io::Error) -> Refusal {
        Refusal { operation, path: path.to_owned(), kind: source.kind(), text: source.to_string() }
    }

    fn error(&self) -> WalError {
        let source = std::io::Error::new(self.kind, self.text.clone());
        WalError::Io { operation: self.operation, path: self.path.clone(), source }
    }
}

pub(crate) type Notifier = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Log {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dir: PathBuf,
    pub(crate) options: WalOptions,
    pub(crate) durability: AtomicU8,
    pub(crate) buffer: Alone<Mutex<Buffer>>,
    pub(crate) appended: Alone<AtomicU64>,
    /// Where the file that is being appended to ends; behind `appended` by at most one append.
    pub(crate) file_end: AtomicU64,
    /// The next file should be made soon: a step is wanted before its time.
    pub(crate) step_wanted: AtomicBool,
    /// A sync on demand has just been done.
    pub(crate) demand_met: AtomicBool,
    /// The longest record that was refused for want of a file, in bytes; 0 for none.
    pub(crate) refused_bytes: AtomicUsize,
    pub(crate) written: Alone<AtomicU64>,
    pub(crate) durable: AtomicU64,
    /// Where that is, with the batch that ends there. A leaf.
    pub(crate) durable_end: Mutex<DurableEnd>,
    /// End of the last thing written that someone may wait for: all but idle marks.
    pub(crate) wanted: AtomicU64,
    /// Since when something written waits for a sync, on the monotonic clock; 0 if nothing does.
    pub(crate) unsynced_since_ns: AtomicU64,
    pub(crate) writing: Role,
    pub(crate) syncing: Role,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) files: Mutex<Files>,
    /// Taken by the background beat and by closing.
    pub(crate) synced_note: Mutex<SyncedNote>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) poison: OnceLock<Arc<Poison>>,
    pub(crate) poisoned: AtomicBool,
    /// A write has failed and left its records in the buffer, and those whom they concern need not be waiting for them.
    pub(crate) left_behind: AtomicBool,
    /// When a full disk may be tried again, on the monotonic clock.
    pub(crate) retry_at_ns: AtomicU64,
    /// Why the next file can't be made, if the last attempt failed and the disk isn't full. A leaf; taken when there is no room only.
    pub(crate) no_next_file: Mutex<Option<Refusal>>,
    pub(crate) counters: Counters,
    pub(crate) notifier: Mutex<Option<Notifier>>,
    pub(crate) beat: Mutex<Beat>,
    pub(crate) mark_wanted: AtomicBool,
    pub(crate) demand: Demand,
}

impl Log {
    /// A log that goes on at the end that recovery found, in `current`, a file of `size` bytes. `tail` is what that file
    /// holds of the page the end lies in.
    #[expect(clippy::too_many_arguments, reason = "called by recovery only, which knows all of these apart")]
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: WalOptions,
        files: Files,
        current: Current,
        size: u64,
        recovery: &Recovery,
        tail: Vec<u8>,
        epoch: u32,
        synced_note: SyncedNote,
    ) -> Log {
        let end = recovery.end.get();
        let buffer = Buffer::new(current.base, size, end, &options);
        let buffer_end = buffer.file_end;
        let seed = batch_seed(&options.database_id);
        let writer = Writer::new(current, tail, epoch, recovery.clock_high_water_ms, seed);
        Log {
            clock,
            dir: dir.to_owned(),
            options,
            durability: AtomicU8::new(options.durability.to_u8()),
            buffer: Alone(Mutex::new(buffer)),
            appended: Alone(AtomicU64::new(end)),
            file_end: AtomicU64::new(buffer_end),
            step_wanted: AtomicBool::new(false),
            demand_met: AtomicBool::new(false),
            refused_bytes: AtomicUsize::new(0),
            written: Alone(AtomicU64::new(end)),
            durable: AtomicU64::new(end),
            durable_end: Mutex::new(DurableEnd { lsn: end.into(), checksum: 0 }),
            wanted: AtomicU64::new(end),
            unsynced_since_ns: AtomicU64::new(0),
            writing: Role::default(),
            syncing: Role::default(),
            writer: Mutex::new(writer),
            shelf: files.shelf(),
            files: Mutex::new(files),
            synced_note: Mutex::new(synced_note),
            poison: OnceLock::new(),
            poisoned: AtomicBool::new(false),
            left_behind: AtomicBool::new(false),
            retry_at_ns: AtomicU64::new(0),
            no_next_file: Mutex::new(None),
            counters: Counters::default(),
            notifier: Mutex::new(None),
            beat: Mutex::new(Beat::default()),
            mark_wanted: AtomicBool::new(false),
            demand: Demand::default(),
        }
    }

    pub(crate) fn durability(&self) -> Durability {
        Durability::from_u8(self.durability.load(Relaxed))
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.0.load(Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    pub(crate) fn appended(&self) -> u64 {
        self.appended.0.load(Acquire)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Acquire)
    }

    /// An error once the log is poisoned.
    pub(crate) fn check(&self) -> Result<(), WalError> {
        if !self.is_poisoned() {
            return Ok(());
        }
        match self.poison.get() {
            Some(poison) => Err(WalError::Poisoned(poison.clone())),
            None => unreachable!("the reason is set before the flag"),
        }
    }

    pub(crate) fn append(&self, record: &[u8]) -> Lsn {
        assert!(
            record.len() <= crate::limits::RECORD_BYTES_MAX,
            "admit() refuses a record of {} bytes",
            record.len()
        );
        if self.is_poisoned() {
            return Lsn::MAX;
        }
        let mut buffer = self.buffer.0.lock();
        let end = buffer.append(record, &self.options);
        self.publish(&buffer, end);
        Lsn::new(end)
    }

    /// Tells the world how far was appended; the caller holds the buffer's lock.
    #[inline]
    fn publish(&self, buffer: &Buffer, end: u64) {
        if self.file_end.load(Relaxed) != buffer.file_end {
            self.file_end.store(buffer.file_end, Relaxed);
            // The next file has become the current one, and there is no next.
            self.step_wanted.store(true, Relaxed);
        }
        self.appended.0.store(end, Release);
    }

    pub(crate) fn append_mark(&self, idle: bool) -> Lsn {
        let mut buffer = self.buffer.0.lock();
        let end = buffer.push_mark(idle, &self.options);
        self.publish(&buffer, end);
        Lsn::new(end)
    }

    /// Notes beside the log how far it is durable.
    pub(crate) fn note_synced(&self) {
        let end = *self.durable_end.lock();
        if let Err(error) = self.synced_note.lock().note(end) {
            tracing::debug!(%error, "it can't be noted up to where the log was synced");
        }
    }

    /// No further than what was appended. What a poisoned log returned from an append is never reached.
    fn reachable(&self, upto: u64) -> Result<u64, WalError> {
        if upto == u64::MAX {
            self.check()?;
        }
        Ok(upto.min(self.appended()))
    }

    pub(crate) fn write(&self, upto: u64) -> Result<(), WalError> {
        let upto = self.reachable(upto)?;
        loop {
            if self.written() >= upto {
                return Ok(());
            }
            self.check()?;
            match self.writing.try_take() {
                Some(turn) => {
                    if self.written() < upto
                        && let Err(error) = self.write_out(&[&turn], false)
                    {
                        turn.fail();
                        return Err(error);
                    }
                    drop(turn);
                    self.tell_left_behind();
                }
                None => self.writing.wait(upto, WRITE_SPINS, || self.written() >= upto || self.is_poisoned()),
            }
        }
    }

    pub(crate) fn sync(&self, upto: u64) -> Result<(), WalError> {
        let upto = self.reachable(upto)?;
        loop {
            if self.durable() >= upto {
                return Ok(());
            }
            self.check()?;
            match self.syncing.try_take() {
                Some(turn) => {
                    if self.durable() < upto
                        && let Err(error) = self.sync_for_all(&turn)
                    {
                        turn.fail();
                        return Err(error);
                    }
                }
                None => self.syncing.wait(upto, SYNC_SPINS, || self.durable() >= upto || self.is_poisoned()),
            }
        }
    }

    /// Writes everything appended so far; the caller is the writer. `turns` are told how far it reaches.
    fn write_out(&self, turns: &[&Turn<'_>], durably: bool) -> Result<(), WalError> {
        let outcome = self.write_all(turns, durably);
        if outcome.is_err() {
            self.left_behind.store(true, Relaxed);
        }
        outcome
    }

    fn write_all(&self, turns: &[&Turn<'_>], durably: bool) -> Result<(), WalError> {
        self.check()?;
        let mut writer = self.writer.lock();
        {
            let mut buffer = self.buffer.0.lock();
            writer.take_from(&mut buffer);
            for turn in turns {
                turn.reaches(buffer.position());
            }
        }
        // What is still dirty needs a sync anyway, which then covers this write too.
        let durably = durably && writer.dirty.is_empty();
        while let Some(part) = writer.pending.front() {
            let (base, size, encoded) = (part.base, part.size, part.encoded);
            if let Some(next) = writer.pending.get(1)
                && next.base != base
            {
                // The seal must not be on disk before the file it points to.
                let next = (next.base, next.size);
                if !self.shelf.has(next.0, next.1) {
                    self.files.lock().prepare(next.0, next.1).map_err(|error| self.no_file(error))?;
                }
            }
            if writer.current.base != base {
                // It is on the shelf, but for a record that came when there was no room for it.
                let file = match self.shelf.take(base, size) {
                    Some(file) => file,
                    None => self.files.lock().take(base, size).map_err(|error| self.no_file(error))?,
                };
                writer.current = Current { base, file };
            }
            if !encoded {
                writer.encode_first(&*self.clock, self.durable());
            }
            self.write_first(&mut writer, durably)?;
        }
        // A write that did not fit before did now; the next file is another matter.
        if self.counters.disk_full.load(Relaxed) && self.buffer.0.lock().next_ready {
            self.space_returned();
        }
        Ok(())
    }

    fn write_first(&self, writer: &mut Writer, durably: bool) -> Result<(), WalError> {
        let Some(part) = writer.pending.front() else { return Ok(()) };
        let (offset, bytes) = (part.start - part.base, part.buf.len() as u64);
        let batches = part.batches.len() as u64;
        let begun_ns = if durably { self.clock.monotonic_ns() } else { 0 };
        if let Err(source) = writer.write_first(durably) {
            if is_full(&source) {
                return Err(self.full(bytes));
            }
            return Err(self.poison("write", &self.dir.join(log_name(writer.current.base)), offset, source));
        }
        self.counters.writes.fetch_add(1, Relaxed);
        self.counters.batches.fetch_add(batches, Relaxed);
        self.counters.written_bytes.fetch_add(bytes, Relaxed);
        let Some((end, counts)) = writer.first_written() else { return Ok(()) };
        if counts {
            self.wanted.store(end, Release);
        }
        self.written.0.store(end, Release);
        if durably {
            *self.durable_end.lock() = DurableEnd { lsn: end.into(), checksum: writer.written_checksum() };
            self.durable.store(end, Release);
            self.counters.synced(begun_ns, self.clock.monotonic_ns());
        } else if counts && self.unsynced_since_ns.load(Relaxed) == 0 {
            self.unsynced_since_ns.store(self.clock.monotonic_ns().max(1), Relaxed);
        }
        Ok(())
    }

    /// Takes a few turns while others wait: waking one of them to go on takes time in which the disk would idle.
    fn sync_for_all(&self, turn: &Turn<'_>) -> Result<(), WalError> {
        self.sync_out(turn)?;
        for _ in 1..SYNC_TURNS_MAX {
            if !turn.next_is_wanted() {
                break;
            }
            turn.again();
            self.sync_out(turn)?;
        }
        Ok(())
    }

    /// After a write that succeeded: those who did not wait for one that failed are told that it has taken their records along.
    fn tell_left_behind(&self) {
        if self.left_behind.load(Relaxed) && self.left_behind.swap(false, Relaxed) {
            self.notify();
        }
    }

    /// Writes and syncs everything appended so far, and tells those who have asked for it and don't wait; the caller is the syncer.
    fn sync_out(&self, turn: &Turn<'_>) -> Result<(), WalError> {
        let durable = self.durable();
        let outcome = self.write_and_sync(turn);
        if self.durable() > durable {
            self.notify();
        }
        if outcome.is_ok() {
            self.tell_left_behind();
        }
        outcome
    }

    fn write_and_sync(&self, turn: &Turn<'_>) -> Result<(), WalError> {
        let writing = self.writing.take(WRITE_SPINS);
        let outcome = self.write_out(&[&writing, turn], self.durability() == Durability::Always);
        if outcome.is_err() && self.is_poisoned() {
            writing.fail();
            return outcome;
        }
        let (target, checksum, dirty) = {
            let mut writer = self.writer.lock();
            self.unsynced_since_ns.store(0, Relaxed);
            (self.written(), writer.written_checksum(), std::mem::take(&mut writer.dirty))
        };
        if outcome.is_err() {
            writing.fail();
        } else {
            drop(writing);
        }
        if !dirty.is_empty() {
            let begun_ns = self.clock.monotonic_ns();
            for (base, file) in dirty {
                if let Err(source) = file.sync_data() {
                    return Err(self.poison("sync", &self.dir.join(log_name(base)), 0, source));
                }
            }
            *self.durable_end.lock() = DurableEnd { lsn: target.into(), checksum };
            self.durable.store(target, Release);
            self.counters.synced(begun_ns, self.clock.monotonic_ns());
        }
        outcome
    }

    /// Closes the log to writes and wakes everyone to see it.
    fn poison(&self, operation: &'static str, path: &Path, offset: u64, source: std::io::Error) -> WalError {
        tracing::error!(path = %path.display(), offset, %source, "log {operation} failed: no more writes until restart");
        let poison = Poison { operation, path: path.to_owned(), offset, source };
        let poison = self.poison.get_or_init(|| Arc::new(poison)).clone();
        self.poisoned.store(true, Release);
        self.writing.wake_all();
        self.syncing.wake_all();
        self.notify();
        WalError::Poisoned(poison)
    }

    /// There is room for more log: whoever was refused is welcome again.
    pub(crate) fn space_returned(&self) {
        *self.no_next_file.lock() = None;
        if self.counters.disk_full.swap(false, Relaxed) {
            tracing::info!(dir = %self.dir.display(), "there is space for the log again: writes are accepted");
        }
    }

    fn full(&self, needed_bytes: u64) -> WalError {
        if !self.counters.disk_full.swap(true, Relaxed) {
            tracing::warn!(dir = %self.dir.display(), needed_bytes, "no space for the log: writes are refused");
        }
        self.retry_at_ns.store(self.clock.monotonic_ns() + crate::limits::DISK_FULL_RETRY_NS, Relaxed);
        WalError::DiskFull { path: self.dir.clone(), needed_bytes }
    }

    pub(crate) fn no_file(&self, error: WalError) -> WalError {
        match error {
            WalError::DiskFull { needed_bytes, .. } => self.full(needed_bytes),
            other => {
                if let WalError::Io { operation, path, source } = &other {
                    let refusal = Refusal::of(operation, path, source);
                    *self.no_next_file.lock() = Some(refusal);
                }
                other
            }
        }
    }

    /// Why there is no next file, if the last attempt to make it failed.
    pub(crate) fn why_no_next_file(&self) -> Option<WalError> {
        self.no_next_file.lock().as_ref().map(Refusal::error)
    }

    /// Calls the notifier, with no lock held.
    pub(crate) fn notify(&self) {
        let notifier = self.notifier.lock().clone();
        if let Some(notifier) = notifier {
            notifier();
        }
    }

    /// Says which file comes next and whether it still has to be made for a record of that length.
    pub(crate) fn next_file(&self, record_bytes: usize, files: &Files) -> Option<(u64, u64)> {
        let mut buffer = self.buffer.0.lock();
        let need = file_bytes_for(record_bytes);
        if buffer.next_ready && buffer.next_size >= need {
            return None;
        }
        if buffer.next_size < need {
            buffer.next_size = need;
            buffer.next_ready = false;
        } else if let Some(size) = files.spare_for(buffer.next_size, self.options.segment_bytes_max) {
            buffer.next_size = size;
        }
        Some((buffer.file_end, buffer.next_size))
    }

    /// Tells the appenders that the file is there, if it is still the next one.
    pub(crate) fn next_file_ready(&self, base: u64, size: u64) {
        let mut buffer = self.buffer.0.lock();
        if buffer.file_end == base && buffer.next_size == size {
            buffer.next_ready = true;
        }
    }
}
