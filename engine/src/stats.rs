//! Figures of a running database, for humans and metrics.

use sessile_wal::WalStats;
use std::path::PathBuf;
use std::time::Duration;

/// Figures of a running database; [`Db::stats`](crate::Db::stats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Keys that the wheel has reclaimed since open.
    pub expired_keys: u64,
    /// How long the last reclaimed keys had outlived their deadline, at most, in ms. (They were not served: reads check.)
    pub expiry_lag_ms: u64,
    /// The longest of those since open, in ms.
    pub expiry_lag_max_ms: u64,
    /// Bytes that keys, values, index and timers ask for.
    pub memory_bytes: u64,
    /// The most of them since open, as sampled.
    pub memory_peak_bytes: u64,
    /// The log's own figures.
    pub log: WalStats,
}

/// What opening found and did; [`Db::recovery`](crate::Db::recovery).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the directory was new.
    pub created: bool,
    /// Keys found alive.
    pub keys: u64,
    /// Records of the log that were replayed.
    pub log_records: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// The log's unfinished end, which had not been synced, and was cut off: file, offset in it and number of bytes.
    pub torn: Option<(PathBuf, u64, u64)>,
    /// How long it all took.
    pub elapsed: Duration,
    /// How far the log's time is ahead of the wall clock, in ms: the clock was set back. Time goes on from the log's.
    pub clock_ahead_ms: u64,
}
