//! How a simulated database is opened: limits so small that a few keys meet checkpoints, compaction, eviction and idle compression all the
//! time. What stays for a seed is drawn once; the rest is drawn anew at each open.

use sessile::{Options, StorageTuning};
use sessile_wal::Durability;
use sessile_wal::sim::Rng;
use std::time::Duration;

/// One of several.
pub fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

/// What stays the same while a simulated database lives.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How many keys there are of each kind.
    pub keys: u64,
    /// How many clients there are at most.
    pub clients: u64,
    /// Which bits of a key's hash are kept.
    hash_mask: u64,
    /// Whether memory is bounded, mostly.
    bounded: bool,
    /// Whether idle values are compressed, mostly.
    idle: bool,
    /// Whether scripts are run.
    pub scripts: bool,
    /// Whether somebody listens to what expires.
    pub listener: bool,
    /// Whether databases are swapped. Then nobody waits: which of several that a swap brings elements to is served first is nobody's promise.
    pub swaps: bool,
    /// Whether dictionaries are trained, which takes longer than all the rest.
    trains: bool,
    /// Whether bits at rest flip.
    pub rots: bool,
    /// How often checkpoints come by themselves.
    log_bytes: &'static [u64],
}

impl Profile {
    /// One of those there are.
    pub fn new(rng: &mut Rng) -> Profile {
        Profile {
            keys: pick(rng, &[1, 2, 2, 4]),
            clients: pick(rng, &[1, 2, 3, 4]),
            hash_mask: pick(rng, &[u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0xE000_0000_0070_0000]),
            bounded: rng.chance(50),
            idle: rng.chance(40),
            scripts: rng.chance(15),
            listener: rng.chance(20),
            swaps: rng.chance(40),
            trains: rng.chance(6),
            rots: rng.chance(6),
            log_bytes: if rng.chance(80) { &[1, 2_000, 2_000, 20_000, u64::MAX] } else { &[u64::MAX] },
        }
    }

    /// Whether keys have the hashes that they have in any database.
    pub fn has_whole_hashes(&self) -> bool {
        self.hash_mask == u64::MAX
    }

    /// Options of one life of it, and what the server would change of them.
    pub fn options(&self, rng: &mut Rng, durability: Durability) -> (Options, Settings) {
        let tuning = StorageTuning {
            shards: Some(pick(rng, &[2, 2, 4, 8, 16])),
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
            idle_pass_ms: pick(rng, &[0, 1, 100, 10_000]),
            idle_bytes_min: pick(rng, &[1, 1, 128]),
            dictionary_samples_min: if self.trains { pick(rng, &[8, 16]) } else { usize::MAX },
            dictionary_bytes_max: pick(rng, &[300, 512, 2_000]),
            reserve_bytes: pick(rng, &[0, 0, 20_000, 64 << 20]),
            dictionary_judged_bytes: pick(rng, &[1_000, 10_000, 4 << 20]),
            dictionary_worse_promille: pick(rng, &[0, 900, 1_250]),
            ..StorageTuning::default()
        };
        let settings = Settings {
            memory_bytes_max: if self.bounded {
                pick(rng, &[1, 2_000, 10_000, 100_000, u64::MAX])
            } else {
                u64::MAX
            },
            idle_compression: self.idle && rng.chance(80),
            checkpoint_log_bytes: pick(rng, self.log_bytes),
            checkpoint_interval: Duration::from_millis(pick(rng, &[50, 900_000, 900_000])),
        };
        let options = Options::new()
            .durability(durability)
            .manual_background()
            .log_file_bytes_max(pick(rng, &[8 << 10, 8 << 10, 12 << 10, 64 << 10]))
            .storage_tuning(tuning);
        (options, settings)
    }
}

/// What a server sets by its configuration, for which the simulated limits are too small.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    memory_bytes_max: u64,
    idle_compression: bool,
    checkpoint_log_bytes: u64,
    checkpoint_interval: Duration,
}

impl Settings {
    /// Sets them.
    pub fn apply(&self, db: &sessile::Db) {
        db.set_memory_bytes_max(self.memory_bytes_max);
        db.set_idle_compression(self.idle_compression);
        db.set_checkpoint_trigger(self.checkpoint_log_bytes, self.checkpoint_interval);
    }
}
