//! How a simulated database is opened: limits so small that a few keys meet checkpoints, compaction, eviction and idle compression all the
//! time, and hashes so short that keys share them.

use super::support::{DIR, NEVER};
use sessile::{Durability, Options, StorageTuning};
use sessile_wal::sim::{Rng, SimClock, SimFs};
use std::sync::Arc;
use std::time::Duration;

/// What stays the same while a simulated database lives, however often it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// How many keys there are in each database.
    pub(crate) keys: u64,
    hash_mask: u64,
    /// Whether memory is bounded, mostly.
    bounded: bool,
    /// Whether idle values are compressed, mostly.
    idle: bool,
    /// How often checkpoints come by themselves.
    log_bytes: &'static [u64],
}

const NOW_AND_THEN: &[u64] = &[1, 2_000, 2_000, 20_000, NEVER];

pub(crate) fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

impl Profile {
    /// One of a database that has everything.
    pub(crate) fn new(rng: &mut Rng) -> Profile {
        Profile {
            keys: pick(rng, &[5, 5, 20, 60]),
            // 64, 8 or 2 different hashes.
            hash_mask: pick(
                rng,
                &[u64::MAX, u64::MAX, u64::MAX, 0xE000_0000_0070_0000, 0xC000_0000_0010_0000, 1 << 63],
            ),
            bounded: rng.chance(70),
            idle: rng.chance(50),
            log_bytes: if rng.chance(80) { NOW_AND_THEN } else { &[NEVER] },
        }
    }

    /// Options of one life of it.
    pub(crate) fn options(&self, rng: &mut Rng, durability: Durability, sim: &SimFs, clock: &SimClock) -> Options {
        let tuning = StorageTuning {
            shards: Some(pick(rng, &[2, 4, 4, 8, 64])),
            hash_mask: self.hash_mask,
            segment_target_bytes: pick(rng, &[200, 1_000, 4_000, 100_000]),
            segments_open_max: pick(rng, &[1, 2, 4, 24]),
            segment_io_bytes: pick(rng, &[1, 500, 1 << 20]),
            small_segment_bytes: pick(rng, &[0, 500, 4_000, 1 << 20]),
            small_segments: pick(rng, &[2, 3, 8]),
            dead_bytes_prompt: pick(rng, &[1, 1_000, 1 << 20]),
            objects_bytes_min: pick(rng, &[0, 1_000]),
            hand_step: pick(rng, &[1, 4, 64]),
            compaction_soon_ms: pick(rng, &[0, 1_000, 60_000]),
            compaction_look_ms: pick(rng, &[1, 100, 2_000]),
            compacted_bytes_per_step: pick(rng, &[1, 500, 1 << 20]),
            collected_ranges_per_step: pick(rng, &[1, 3, 64]),
            checkpoint_retry_ms: pick(rng, &[1, 100, 5_000]),
            idle_pass_ms: pick(rng, &[1, 100, 10_000]),
            idle_bytes_min: pick(rng, &[1, 64, 128]),
            dictionary_samples_min: pick(rng, &[8, 16, usize::MAX]),
            dictionary_bytes_max: pick(rng, &[512, 2_000]),
            dictionary_judged_bytes: pick(rng, &[1_000, 10_000, 4 << 20]),
            dictionary_worse_promille: pick(rng, &[0, 900, 1_250]),
        };
        let memory = if self.bounded { memory_limit(rng) } else { u64::MAX };
        Options::new()
            .durability(durability)
            .file_system(Arc::new(sim.clone()))
            .clock(Arc::new(clock.clone()))
            .manual_background()
            .log_file_bytes_max(pick(rng, &[8 << 10, 8 << 10, 12 << 10, 64 << 10]))
            .memory_bytes_max(memory)
            .idle_compression(self.idle && rng.chance(80))
            .checkpoint_log_bytes(pick(rng, self.log_bytes))
            .checkpoint_interval(Duration::from_millis(pick(rng, &[50, 900_000, 900_000])))
            .storage_tuning(tuning)
    }

    /// As [`options`](Self::options), opened.
    pub(crate) fn open(
        &self,
        rng: &mut Rng,
        durability: Durability,
        sim: &SimFs,
        clock: &SimClock,
    ) -> Result<sessile::Db, sessile::Error> {
        self.options(rng, durability, sim, clock).open(DIR)
    }
}

/// A limit below which hardly any value has room.
pub(crate) fn memory_limit(rng: &mut Rng) -> u64 {
    pick(rng, &[1, 2_000, 10_000, 100_000, u64::MAX])
}
