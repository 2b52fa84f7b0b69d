//! The public handle. It holds no logic of its own: what each call does is in the module named for it.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::*},
    time::Duration,
};

use crate::{
    Admit, Clock, Durability, DurableEnd, Fs, Lsn, Recovery, Replay, Step, WalError, WalOptions, WalStats,
    log::Log, recovery,
};

/// A write-ahead log. Cloning the handle is cheap; all clones are the same log.
#[derive(Clone)]
pub struct Wal(Arc<Log>);

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("dir", &self.0.dir).field("stats", &self.stats()).finish()
    }
}

impl Wal {
    /// Opens the log in `dir`, creating it if there is none. Replays every intact record that ends after `from`, in
    /// order, giving `replay` its end and its bytes; cuts off a torn tail durably; and is ready to append. What was
    /// replayed is durable when this returns.
    ///
    /// The caller sees to it that no one else has the log open (see [`Fs::lock`]). Pass [`Lsn::ZERO`] for everything,
    /// or the position given to [`Wal::release`].
    ///
    /// # Errors
    /// [`WalError::Corrupt`], [`WalError::Truncated`] and [`WalError::MissingFile`] when something synced is damaged or
    /// gone; [`WalError::WrongDatabase`], [`WalError::UnsupportedVersion`] and [`WalError::UnknownKey`] when the files
    /// are not for us; [`WalError::Replay`] when `replay` fails; [`WalError::Option`]; [`WalError::Io`];
    /// [`WalError::DiskFull`] when there is no room for the first file.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: WalOptions,
        from: Lsn,
        replay: &mut Replay<'_>,
    ) -> Result<(Wal, Recovery), WalError> {
        let (log, recovery) = recovery::open(fs, clock, dir, options, from, replay)?;
        Ok((Wal(Arc::new(log)), recovery))
    }

    /// Asks whether a record of `bytes` bytes may be appended; call it before taking any lock. It waits while the buffer
    /// is over its limit (no longer than one write takes), and may make the next file if the background has not.
    ///
    /// # Errors
    /// [`WalError::Poisoned`], [`WalError::DiskFull`], [`WalError::RecordTooLarge`]; [`WalError::Io`] if the next file
    /// cannot be made.
    pub fn admit(&self, bytes: usize, kind: Admit) -> Result<(), WalError> {
        self.0.admit(bytes, kind)
    }

    /// As [`Wal::admit`], but never waits and does no I/O: `Ok(false)` means not now, because the buffer is over its
    /// limit or [`Wal::step`] has yet to make the next file. The notifier is called when it is worth asking again.
    ///
    /// # Errors
    /// As [`Wal::admit`].
    pub fn admit_now(&self, bytes: usize, kind: Admit) -> Result<bool, WalError> {
        self.0.admit_now(bytes, kind)
    }

    /// Copies a record into the open batch and returns its end: it is acknowledged once [`Wal::acknowledged`] reaches
    /// that. It never fails and never does I/O, so it may be called under locks. On a poisoned log it returns
    /// [`Lsn::MAX`], which is never acknowledged.
    ///
    /// # Panics
    /// If the record is longer than [`RECORD_BYTES_MAX`](crate::limits::RECORD_BYTES_MAX), which [`Wal::admit`] refuses.
    pub fn append(&self, record: &[u8]) -> Lsn {
        self.0.append(record)
    }

    /// The end of the last record appended, or of the mark behind it.
    #[must_use]
    pub fn appended(&self) -> Lsn {
        Lsn::new(self.0.appended())
    }

    /// How far the log has been handed to the system: it survives the end of this process.
    #[must_use]
    pub fn written(&self) -> Lsn {
        Lsn::new(self.0.written())
    }

    /// How far the log survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.0.durable())
    }

    /// As [`durable`](Self::durable), with what [`WalOptions::known_checksum`] wants to know the log by.
    #[must_use]
    pub fn durable_end(&self) -> DurableEnd {
        *self.0.durable_end.lock()
    }

    /// How far the log meets the configured durability.
    #[must_use]
    pub fn acknowledged(&self) -> Lsn {
        match self.0.durability() {
            Durability::Always => self.durable(),
            Durability::EverySecond | Durability::No => self.written(),
        }
    }

    /// Returns once everything up to `upto` is written. The caller becomes the writer, for everyone, or waits for the
    /// current one. With [`Durability::EverySecond`] or [`Durability::No`] it never waits for a sync.
    ///
    /// # Errors
    /// [`WalError::Poisoned`]; [`WalError::DiskFull`], and [`WalError::Io`] if the next file cannot be made: then the
    /// record stays in the buffer, and is written as soon as that is possible.
    pub fn write(&self, upto: Lsn) -> Result<(), WalError> {
        self.0.write(upto.get())
    }

    /// Returns once everything up to `upto` is durable. One of the waiting threads syncs for all; meanwhile the next
    /// batch fills.
    ///
    /// # Errors
    /// As [`Wal::write`].
    pub fn sync(&self, upto: Lsn) -> Result<(), WalError> {
        self.0.sync(upto.get())
    }

    /// Returns once everything up to `lsn` meets the configured durability.
    ///
    /// # Errors
    /// As [`Wal::write`].
    pub fn commit(&self, lsn: Lsn) -> Result<(), WalError> {
        match self.0.durability() {
            Durability::Always => self.sync(lsn),
            Durability::EverySecond | Durability::No => self.write(lsn),
        }
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// As [`Wal::write`].
    pub fn flush(&self) -> Result<(), WalError> {
        self.sync(self.appended())
    }

    /// The background beat: writes out what nobody wrote, syncs what has waited a second, makes the next file in steps of
    /// at most [`PREPARE_CHUNK_BYTES`](crate::limits::PREPARE_CHUNK_BYTES), marks an idle log, and tries a full disk
    /// again. Call it from one thread, and again after [`Step::pause`].
    ///
    /// # Errors
    /// [`WalError::Poisoned`]; [`WalError::Io`] if the next file cannot be made. A full disk is no error here.
    pub fn step(&self) -> Result<Step, WalError> {
        self.0.step()
    }

    /// Whether a [`step`](Self::step) is wanted before the pause that the last one asked for: the log has gone on to its next file, and the
    /// one after that should be made before it is needed. One atomic load.
    #[must_use]
    pub fn wants_step(&self) -> bool {
        self.0.step_wanted.load(Relaxed)
    }

    /// Whether the log is closed to writes by a failure. One atomic load.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.0.is_poisoned()
    }

    /// The durability new acknowledgements mean from now on.
    pub fn set_durability(&self, durability: Durability) {
        self.0.durability.store(durability.to_u8(), Relaxed);
    }

    /// What an acknowledgement means now.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.0.durability()
    }

    /// Says that nothing up to `upto` will be needed again. Files wholly below it (and durable) are kept to be used
    /// again, or removed. Returns how many.
    ///
    /// # Errors
    /// [`WalError::Io`]; the files are tried again at the next call.
    pub fn release(&self, upto: Lsn) -> Result<usize, WalError> {
        let upto = upto.get().min(self.0.durable());
        self.0.files.lock().release(upto)
    }

    /// Sets what is called, with no lock of the log held, when something happens that who does not wait for the log may be waiting
    /// for: a sync, whoever asked for it; a background step that has advanced `written`; a write that has taken along what
    /// an earlier one had failed to write; the log's end by a failure. It must not block.
    pub fn set_notifier(&self, notifier: Box<dyn Fn() + Send + Sync>) {
        *self.0.notifier.lock() = Some(Arc::from(notifier));
    }

    /// Asks the thread in [`Wal::sync_on_demand`] to make everything up to `lsn` durable. Cheap, and never blocks.
    pub fn request_sync(&self, lsn: Lsn) {
        self.0.demand.request(lsn.get());
    }

    /// Waits at most `timeout` for a [`Wal::request_sync`] that is not yet met, and meets it.
    /// Returns whether it synced. For a thread of its own, called in a loop.
    ///
    /// # Errors
    /// As [`Wal::write`].
    pub fn sync_on_demand(&self, timeout: Duration) -> Result<bool, WalError> {
        self.0.sync_on_demand(timeout)
    }

    /// Makes a thread in [`Wal::sync_on_demand`] return, so that it can end.
    pub fn wake(&self) {
        self.0.demand.release();
    }

    /// Asks for the time to be put into the log, because something was decided by it (a key expired): a step writes a
    /// mark, at most once a second, and it is synced as records are.
    pub fn note_time(&self) {
        self.0.mark_wanted.store(true, Relaxed);
    }

    /// Appends a mark, an empty batch that carries the time and how far the log is synced, and returns its end.
    pub fn mark(&self) -> Lsn {
        if self.0.is_poisoned() { Lsn::MAX } else { self.0.append_mark(false) }
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        self.0.stats()
    }

    /// Makes everything durable and marks the end, so that damage to it would be noticed. The log may still be used.
    ///
    /// # Errors
    /// As [`Wal::write`].
    pub fn close(&self) -> Result<(), WalError> {
        self.flush()?;
        self.sync(self.mark())?;
        self.0.note_synced();
        Ok(())
    }
}
