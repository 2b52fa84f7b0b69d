//! What a long start says while it lasts.

use sessile_wal::{Clock, Lsn};
use std::sync::Arc;

/// Records between two looks at the clock.
const LOOK_EVERY: u64 = 4096;
/// How often it says something, in ns.
const SAY_EVERY_NS: u64 = 1_000_000_000;
/// Index entries that take long enough to be announced.
const MANY_ENTRIES: u64 = 1_000_000;

/// Counts what is read, and says so once a second.
pub(crate) struct Progress {
    clock: Arc<dyn Clock>,
    said_ns: u64,
    from: u64,
    records: u64,
}

impl Progress {
    /// Of a log that is read from there on.
    pub(crate) fn new(clock: Arc<dyn Clock>, from: u64) -> Progress {
        let said_ns = clock.monotonic_ns();
        Progress { clock, said_ns, from, records: 0 }
    }

    /// Announces an index that is long.
    pub(crate) fn index(&self, entries: u64, files: usize) {
        if entries >= MANY_ENTRIES {
            tracing::info!("reading an index of {entries} entries in {files} files");
        }
    }

    /// A record of the log was read that ends at `lsn`.
    pub(crate) fn record(&mut self, lsn: Lsn) {
        self.records += 1;
        if !self.records.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let now_ns = self.clock.monotonic_ns();
        if now_ns - self.said_ns >= SAY_EVERY_NS {
            self.said_ns = now_ns;
            let mib = (lsn.get() - self.from) >> 20;
            tracing::info!("replaying the log: {} records so far, {mib} MiB", self.records);
        }
    }
}
