//! Limits of the storage that a simulation makes small, so that a few hundred keys meet all that millions would.
//!
//! Not part of the API: a database that is opened with other values than the default ones is a test's.

use crate::limits::{
    CHECKPOINT_RETRY_MS, COLLECTED_RANGES_PER_STEP, COMPACTED_BYTES_PER_STEP, COMPACTION_LOOK_MS,
    COMPACTION_SOON_MS, DEAD_BYTES_PROMPT, HAND_STEP, IDLE_BYTES_MIN, IDLE_PASS_MS, OBJECTS_BYTES_MIN,
    SEGMENT_IO_BYTES, SEGMENT_TARGET_BYTES, SEGMENTS_OPEN_MAX, SMALL_SEGMENT_BYTES, SMALL_SEGMENTS,
};

/// See the module's page; the defaults are those of `limits.rs`, where each is explained.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is a limit of the same name")]
pub struct StorageTuning {
    /// `None`: as many as suit the machine. A power of two.
    pub shards: Option<usize>,
    /// Which bits of the hash of a key are kept: with few, different keys share their hash.
    pub hash_mask: u64,
    pub segment_target_bytes: u64,
    pub segments_open_max: usize,
    pub segment_io_bytes: usize,
    pub small_segment_bytes: u64,
    pub small_segments: usize,
    pub dead_bytes_prompt: u64,
    pub objects_bytes_min: u64,
    pub hand_step: usize,
    pub compaction_soon_ms: u64,
    pub compaction_look_ms: u64,
    pub compacted_bytes_per_step: u64,
    pub collected_ranges_per_step: usize,
    pub checkpoint_retry_ms: u64,
    pub idle_pass_ms: u64,
    pub idle_bytes_min: usize,
    pub dictionary_samples_min: usize,
    pub dictionary_bytes_max: usize,
    pub reserve_bytes: u64,
    pub dictionary_judged_bytes: u64,
    pub dictionary_worse_promille: u64,
    /// Instead of a random one, for a directory that has none yet.
    pub session_digest_key: Option<[u8; crate::sessions::DIGEST_KEY_BYTES]>,
    pub session_events_chunk_bytes: usize,
}

impl Default for StorageTuning {
    fn default() -> StorageTuning {
        StorageTuning {
            shards: None,
            hash_mask: u64::MAX,
            segment_target_bytes: SEGMENT_TARGET_BYTES,
            segments_open_max: SEGMENTS_OPEN_MAX,
            segment_io_bytes: SEGMENT_IO_BYTES,
            small_segment_bytes: SMALL_SEGMENT_BYTES,
            small_segments: SMALL_SEGMENTS,
            dead_bytes_prompt: DEAD_BYTES_PROMPT,
            objects_bytes_min: OBJECTS_BYTES_MIN,
            hand_step: HAND_STEP,
            compaction_soon_ms: COMPACTION_SOON_MS,
            compaction_look_ms: COMPACTION_LOOK_MS,
            compacted_bytes_per_step: COMPACTED_BYTES_PER_STEP,
            collected_ranges_per_step: COLLECTED_RANGES_PER_STEP,
            checkpoint_retry_ms: CHECKPOINT_RETRY_MS,
            idle_pass_ms: IDLE_PASS_MS,
            idle_bytes_min: IDLE_BYTES_MIN,
            dictionary_samples_min: crate::dictionary::SAMPLES_MIN,
            dictionary_bytes_max: crate::limits::DICTIONARY_TRAINED_BYTES_MAX,
            reserve_bytes: crate::limits::RESERVE_BYTES,
            dictionary_judged_bytes: crate::limits::DICTIONARY_JUDGED_BYTES,
            dictionary_worse_promille: crate::limits::DICTIONARY_WORSE_PROMILLE,
            session_digest_key: None,
            session_events_chunk_bytes: crate::limits::SESSION_EVENTS_CHUNK_BYTES,
        }
    }
}
