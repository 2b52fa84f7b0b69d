//! What the models share: a database on the simulated disk that meets everything with a few keys.

use sessile::{Db, Durability, Options, StorageTuning};
use sessile_wal::Fs;
use sessile_wal::sim::{SimClock, SimFs};
use sessile_wal::sync::rand::{Rng, thread_rng};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DIR: &str = "/data/db";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A number that belongs to the schedule: a replay draws the same one.
pub(crate) fn number() -> u64 {
    thread_rng().r#gen()
}

/// Disk and clock of a database.
pub(crate) struct Machine {
    pub(crate) fs: SimFs,
    pub(crate) clock: SimClock,
    memory_bytes_max: u64,
    idle_compression: bool,
    hash_mask: u64,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let fs = SimFs::new(number());
        fs.create_dir_all(Path::new(DIR)).expect("made");
        Machine {
            fs,
            clock: SimClock::new(START_MS),
            memory_bytes_max: [1, 4_000][number() as usize % 2],
            idle_compression: number() % 2 == 0,
            // All keys in few hashes, now and then.
            hash_mask: [u64::MAX, u64::MAX, 0xC000_0000_0010_0000][number() as usize % 3],
        }
    }

    /// One with all its memory, whose hashes are whole.
    pub(crate) fn large() -> Machine {
        let whole = Machine { hash_mask: u64::MAX, ..Machine::new() };
        Machine { memory_bytes_max: u64::MAX, idle_compression: false, ..whole }
    }

    pub(crate) fn open(&self) -> Db {
        let tuning = StorageTuning {
            shards: Some(2),
            hash_mask: self.hash_mask,
            segment_target_bytes: 1_000,
            segments_open_max: 2,
            segment_io_bytes: 500,
            small_segment_bytes: 2_000,
            small_segments: 2,
            dead_bytes_prompt: 1,
            objects_bytes_min: 0,
            hand_step: 4,
            compaction_soon_ms: 0,
            compaction_look_ms: 1,
            compacted_bytes_per_step: 500,
            collected_ranges_per_step: 1,
            checkpoint_retry_ms: 1,
            idle_pass_ms: 0,
            idle_bytes_min: 1,
            dictionary_samples_min: usize::MAX,
            reserve_bytes: 0,
            ..StorageTuning::default()
        };
        Options::new()
            .durability(Durability::EverySecond)
            .file_system(Arc::new(self.fs.clone()))
            .clock(Arc::new(self.clock.clone()))
            .manual_background()
            .log_file_bytes_max(16 << 10)
            .memory_bytes_max(self.memory_bytes_max)
            .idle_compression(self.idle_compression)
            .checkpoint_log_bytes(1)
            .checkpoint_interval(Duration::from_millis(50))
            .storage_tuning(tuning)
            .open(DIR)
            .expect("opens")
    }
}
