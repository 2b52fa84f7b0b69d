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
    /// Checkpoints, segments and tiers.
    pub storage: StorageStats,
}

/// Figures of checkpoints, segments and tiers. Counters are since open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StorageStats {
    /// Whether a checkpoint is under way.
    pub checkpoint_running: bool,
    /// Whether one is under way, or about to be, that was asked for.
    pub checkpoint_requested: bool,
    /// Checkpoints completed.
    pub checkpoints: u64,
    /// Checkpoints that failed.
    pub checkpoints_failed: u64,
    /// Whether the last checkpoint that ended failed.
    pub last_checkpoint_failed: bool,
    /// When the last checkpoint that succeeded ended, in ms since the epoch; also one before the database was opened. 0 if there was none.
    pub last_checkpoint_ms: u64,
    /// How long the last one took, in ms.
    pub last_checkpoint_took_ms: u64,
    /// Records committed since the last checkpoint began.
    pub changes_since_checkpoint: u64,
    /// Bytes of log written since the last checkpoint began.
    pub log_bytes_since_checkpoint: u64,
    /// Values in memory in readable form.
    pub values_resident: u64,
    /// Values held compressed in memory.
    pub values_compressed: u64,
    /// Values on disk only.
    pub values_cold: u64,
    /// Bytes of memory that all databases of this process hold for small objects, in use or kept for new ones. What
    /// [`Stats::memory_bytes`] says that they ask for is less, by what their size classes waste and what was freed among them.
    pub slab_bytes: u64,
    /// Values in memory that no segment holds yet.
    pub values_dirty: u64,
    /// Values that left memory.
    pub values_evicted: u64,
    /// Keys deleted because memory was full ([`Eviction`](crate::Eviction)).
    pub keys_evicted: u64,
    /// Values read from segments.
    pub cold_reads: u64,
    /// Of these, those that had to wait for the disk.
    pub cold_reads_waited: u64,
    /// Reads that found a damaged record.
    pub damaged_reads: u64,
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Of these, bytes of records that are alive, about.
    pub segment_live_bytes: u64,
    /// Bytes of index snapshots and deltas.
    pub index_bytes: u64,
    /// Bytes of all files of the directory, about.
    pub disk_bytes: u64,
    /// Whether writes are refused, because what the disk has left is kept for checkpoints and compaction.
    pub short_of_space: bool,
    /// Segments rewritten by compaction.
    pub segments_compacted: u64,
    /// Bytes of live records that compaction copied.
    pub compacted_bytes: u64,
    /// Segments unlinked without being read.
    pub segments_dropped: u64,
    /// Bytes written to segments, index files and manifests.
    pub bytes_written: u64,
    /// Dictionaries trained.
    pub dictionaries: u64,
    /// Records written compressed: their bytes before …
    pub compressed_from_bytes: u64,
    /// … and after.
    pub compressed_to_bytes: u64,
}

/// What opening found and did; [`Db::recovery`](crate::Db::recovery).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the directory was new.
    pub created: bool,
    /// Keys found alive.
    pub keys: u64,
    /// Index files that were read …
    pub index_files: usize,
    /// … the entries in them …
    pub index_entries: u64,
    /// … and the time until they were in memory.
    pub index_elapsed: Duration,
    /// Segments.
    pub segments: usize,
    /// Their bytes. They were not read.
    pub segment_bytes: u64,
    /// Files that an interrupted checkpoint or compaction had left, and that were removed.
    pub orphans: usize,
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
