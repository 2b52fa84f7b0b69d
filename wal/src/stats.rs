//! What the log says about itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::Lsn;

/// A snapshot of the log's state and counters since open. The counters are read one by one, so they may be a few
/// operations apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalStats {
    /// Bytes of records appended, without framing.
    pub appended_bytes: u64,
    /// Records appended.
    pub records: u64,
    /// Batches written, marks and seals included.
    pub batches: u64,
    /// Write calls.
    pub writes: u64,
    /// Bytes written, whole pages counted.
    pub written_bytes: u64,
    /// Syncs, durable writes included.
    pub syncs: u64,
    /// How long the last sync took, in microseconds.
    pub last_sync_us: u64,
    /// When the last sync ended, on the clock's monotonic scale, in nanoseconds.
    pub last_sync_at_ns: u64,
    /// Files that hold log.
    pub files: u64,
    /// Files that wait to be used again.
    pub spare_files: u64,
    /// Total size of both kinds, in bytes.
    pub file_bytes: u64,
    /// Everything appended so far ends here.
    pub appended: Lsn,
    /// Written so far.
    pub written: Lsn,
    /// Durable so far.
    pub durable: Lsn,
    /// Whether a write or sync failed, so that nothing more is accepted.
    pub poisoned: bool,
    /// Whether there is no space for more log at the moment.
    pub disk_full: bool,
}

/// The counters behind [`WalStats`] that the write path touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) last_sync_us: AtomicU64,
    pub(crate) last_sync_at_ns: AtomicU64,
    pub(crate) disk_full: AtomicBool,
}

impl Counters {
    pub(crate) fn synced(&self, begun_ns: u64, ended_ns: u64) {
        self.syncs.fetch_add(1, Relaxed);
        self.last_sync_us.store(ended_ns.saturating_sub(begun_ns) / 1000, Relaxed);
        self.last_sync_at_ns.store(ended_ns, Relaxed);
    }
}
