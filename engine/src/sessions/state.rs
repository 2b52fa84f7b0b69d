//! What is in memory of all sessions of a database.

use super::class::{CLASSES, Classes};
use super::events::{self, STATE};
use super::listeners::Listeners;
use super::reaper::{Due, Sweep};
use super::token::DigestKey;
use super::{SessionError, SessionKey};
use crate::Error;
use crate::db::Inner;
use crate::limits::{SESSION_EVENTS_BYTES_MAX, SESSION_EVENTS_MAX_AGE_MS};
use crate::txn::{Access, Txn};
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Called when there are new events.
type Notify = Box<dyn Fn() + Send + Sync>;

/// See the module's page.
pub(crate) struct Sessions {
    /// As long as there is none there is no session.
    pub(super) digest_key: OnceLock<DigestKey>,
    pub(super) making_key: Mutex<()>,
    pub(super) classes: Classes,
    /// The last chunk of events, as far as is known without a look; 0 if there is none.
    pub(super) last_chunk: AtomicU64,
    pub(super) due: Due,
    pub(super) sweep: Mutex<Sweep>,
    pub(super) events_max_age_ms: AtomicU64,
    pub(super) events_max_bytes: AtomicU64,
    pub(super) trim_due_ms: AtomicU64,
    /// Sessions that were taken away because their deadline had come, since open.
    pub(super) expired: AtomicU64,
    pub(super) notify: OnceLock<Notify>,
    /// Threads of the application's that wait for events.
    pub(crate) listeners: Listeners,
}

impl Sessions {
    pub(crate) fn new() -> Sessions {
        Sessions {
            digest_key: OnceLock::new(),
            making_key: Mutex::new(()),
            classes: Classes::new(),
            last_chunk: AtomicU64::new(0),
            due: Due::default(),
            sweep: Mutex::default(),
            events_max_age_ms: AtomicU64::new(SESSION_EVENTS_MAX_AGE_MS),
            events_max_bytes: AtomicU64::new(SESSION_EVENTS_BYTES_MAX),
            trim_due_ms: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            notify: OnceLock::new(),
            listeners: Listeners::default(),
        }
    }

    /// The chunk that the next event most likely goes to.
    pub(crate) fn last_chunk(&self) -> u64 {
        self.last_chunk.load(Ordering::Relaxed).max(1)
    }

    pub(crate) fn note_last_chunk(&self, number: u64) {
        self.last_chunk.store(number, Ordering::Relaxed);
    }

    /// Somebody waits for events, perhaps.
    pub(crate) fn tell_of_events(&self) {
        self.listeners.tell();
        if let Some(notify) = self.notify.get() {
            notify();
        }
    }
}

impl Inner {
    /// These sessions are dead, by the hashes of their keys.
    pub(crate) fn note_due_sessions(&self, hashes: &mut Vec<u64>) {
        if !hashes.is_empty() {
            self.sessions.due.add(hashes);
            self.pauses.sessions.wake();
        }
    }

    /// A transaction that may have changed the classes is about to end.
    pub(crate) fn sessions_changed(&self, txn: &Txn<'_>) {
        if let Err(error) = self.refresh_classes(txn) {
            tracing::error!(%error, "the classes of sessions are as they were");
        }
        self.pauses.sessions.wake();
    }

    /// Everything that was appended to the log so far.
    pub(super) fn wal_appended(&self) -> sessile_wal::Lsn {
        self.wal.appended()
    }

    /// Reads what has to be in memory, when the database was opened.
    ///
    /// # Errors
    /// [`Error::DamagedFile`], [`Error::DamagedSessions`], and what reading from the disk can give.
    pub(crate) fn load_sessions(&self) -> Result<(), Error> {
        self.load_digest_key()?;
        self.load_classes().map_err(|error| match error {
            SessionError::Db(error) => error,
            SessionError::Damaged { what } => Error::DamagedSessions { path: self.storage.dir.clone(), what },
            other => unreachable!("nothing else is wrong with reading: {other}"),
        })
    }

    fn load_classes(&self) -> Result<(), SessionError> {
        let keys = vec![SessionKey::system(CLASSES), SessionKey::system(STATE)];
        self.with_sessions(keys, (Access::Read, 0), self.clock.now_ms(), |txn| {
            self.refresh_classes(txn)?;
            let state = SessionKey::system(STATE);
            if txn.exists(&state.hashed_by(txn.hasher())) {
                self.sessions.note_last_chunk(events::last_chunk(txn)?);
            }
            Ok(())
        })?;
        Ok(())
    }
}
