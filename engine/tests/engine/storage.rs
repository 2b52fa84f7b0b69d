//! How a simulated database is opened: limits so small that a few keys meet checkpoints, compaction, eviction and idle compression all the
//! time, and hashes so short that keys share them.

use super::support::{DIR, NEVER};
use sessile::{Durability, Eviction, Options, StorageTuning};
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
    /// Whether keys are deleted when memory is full.
    pub(crate) evicts_keys: bool,
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
            keys: pick(rng, &[5, 5, 20, 60, 60]),
            // 64, 8 or 2 different hashes.
            hash_mask: pick(
                rng,
                &[u64::MAX, u64::MAX, u64::MAX, 0xE000_0000_0070_0000, 0xC000_0000_0010_0000, 1 << 63],
            ),
            bounded: rng.chance(70),
            idle: rng.chance(50),
            evicts_keys: rng.chance(10),
            log_bytes: if rng.chance(80) { NOW_AND_THEN } else { &[NEVER] },
        }
    }

    /// Whether keys have the hashes that they have in any database.
    pub(crate) fn has_whole_hashes(&self) -> bool {
        self.hash_mask == u64::MAX
    }

    /// Options of one life of it.
    pub(crate) fn options(
        &self,
        rng: &mut Rng,
        durability: Durability,
        sim: &SimFs,
        clock: &SimClock,
    ) -> Options {
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
            idle_pass_ms: pick(rng, &[0, 1, 100, 10_000]),
            idle_bytes_min: pick(rng, &[1, 1, 128]),
            dictionary_samples_min: pick(rng, &[8, 8, 8, 16, usize::MAX]),
            dictionary_bytes_max: pick(rng, &[300, 512, 2_000]),
            reserve_bytes: pick(rng, &[0, 0, 20_000, 64 << 20]),
            dictionary_judged_bytes: pick(rng, &[1_000, 10_000, 4 << 20]),
            dictionary_worse_promille: pick(rng, &[0, 900, 1_250]),
            session_digest_key: Some([7; 32]),
            session_events_chunk_bytes: 64 << 10,
        };
        let eviction = if self.evicts_keys { policy(rng) } else { Eviction::None };
        let memory = if self.evicts_keys {
            pick(rng, &[20_000, 50_000, 100_000, 400_000])
        } else if self.bounded {
            memory_limit(rng)
        } else {
            u64::MAX
        };
        Options::new()
            .durability(durability)
            .file_system(Arc::new(sim.clone()))
            .clock(Arc::new(clock.clone()))
            .manual_background()
            .log_file_bytes_max(pick(rng, &[8 << 10, 8 << 10, 12 << 10, 64 << 10]))
            .memory_bytes_max(memory)
            .eviction(eviction)
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

/// What simulations have met, so that one can tell that they try what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    checkpoints: u64,
    checkpoints_failed: u64,
    segments_compacted: u64,
    segments_dropped: u64,
    dictionaries: u64,
    values_evicted: u64,
    cold_reads: u64,
    compressed: u64,
    index_files: u64,
    cold_at_open: u64,
    orphans: u64,
    keys_evicted: u64,
}

impl Met {
    /// Adds what a database has done since it was opened.
    pub(crate) fn add(&mut self, db: &sessile::Db) {
        let (storage, recovery) = (db.stats().storage, db.recovery());
        self.checkpoints += storage.checkpoints;
        self.checkpoints_failed += storage.checkpoints_failed;
        self.segments_compacted += storage.segments_compacted;
        self.segments_dropped += storage.segments_dropped;
        self.dictionaries += storage.dictionaries;
        self.values_evicted += storage.values_evicted;
        self.cold_reads += storage.cold_reads;
        self.index_files += recovery.index_files as u64;
        self.cold_at_open += recovery.index_entries;
        self.orphans += recovery.orphans as u64;
        self.keys_evicted += storage.keys_evicted;
    }

    /// Notes what is in memory compressed at this moment.
    pub(crate) fn look(&mut self, db: &sessile::Db) {
        self.compressed += db.stats().storage.values_compressed;
    }

    pub(crate) fn join(&mut self, other: Met) {
        let Met {
            checkpoints,
            checkpoints_failed,
            segments_compacted,
            segments_dropped,
            dictionaries,
            values_evicted,
            cold_reads,
            compressed,
            index_files,
            cold_at_open,
            orphans,
            keys_evicted,
        } = other;
        self.checkpoints += checkpoints;
        self.checkpoints_failed += checkpoints_failed;
        self.segments_compacted += segments_compacted;
        self.segments_dropped += segments_dropped;
        self.dictionaries += dictionaries;
        self.values_evicted += values_evicted;
        self.cold_reads += cold_reads;
        self.compressed += compressed;
        self.index_files += index_files;
        self.cold_at_open += cold_at_open;
        self.orphans += orphans;
        self.keys_evicted += keys_evicted;
    }

    /// Whether there was some of everything.
    pub(crate) fn everything(&self) -> bool {
        let all = [
            self.checkpoints,
            self.checkpoints_failed,
            self.segments_compacted,
            self.segments_dropped,
            self.dictionaries,
            self.values_evicted,
            self.cold_reads,
            self.compressed,
            self.index_files,
            self.cold_at_open,
            self.orphans,
            self.keys_evicted,
        ];
        all.iter().all(|&figure| figure > 0)
    }
}

/// One of Redis's policies for a full memory.
pub(crate) fn policy(rng: &mut Rng) -> Eviction {
    use Eviction::{AllKeysLru, AllKeysRandom, None, VolatileLru, VolatileRandom, VolatileTtl};
    pick(rng, &[None, AllKeysLru, AllKeysRandom, VolatileLru, VolatileRandom, VolatileTtl])
}

/// A limit below which hardly any value has room.
pub(crate) fn memory_limit(rng: &mut Rng) -> u64 {
    pick(rng, &[1, 2_000, 10_000, 100_000, u64::MAX])
}
