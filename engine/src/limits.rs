//! The engine's limits, each with what it bounds.

/// Elements in one segment of a [table](crate::table); also bounds the longest single step of growth (one split). Few for a model checker, so
/// that a table of some dozens grows.
pub(crate) const SEGMENT_ENTRIES_MAX: usize = if cfg!(shuttle) { 20 } else { 1280 };
/// Slots of a full segment: a load of 62.5 %.
pub(crate) const SEGMENT_SLOTS_MAX: usize = SEGMENT_ENTRIES_MAX / 5 * 8;
/// Slots of an empty segment.
pub(crate) const SEGMENT_SLOTS_MIN: usize = 8;

/// Longest key or value, in bytes (Redis's own limit).
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// A hash or list stays in its flat form up to this many fields or elements …
pub(crate) const PACKED_FIELDS_MAX: usize = 128;
/// … and this many bytes in all; a longer string that is changed in place becomes growable.
pub(crate) const PACKED_BYTES_MAX: usize = 8 << 10;

/// A chunk of a large list holds up to this many bytes …
pub(crate) const LIST_CHUNK_BYTES: usize = 4 << 10;
/// … and elements: as many are walked over to find one.
pub(crate) const LIST_CHUNK_ELEMENTS: usize = 128;
/// A chunk of a stream takes entries until it has had so many …
pub(crate) const STREAM_CHUNK_ENTRIES: usize = 100;
/// … or has so many bytes.
pub(crate) const STREAM_CHUNK_BYTES: usize = 4 << 10;
/// Turns in a chunk of a large chat.
pub(crate) const CHAT_CHUNK_TURNS: usize = 64;
/// The ids of so many of a chat's last turns are remembered.
pub(crate) const CHAT_IDS_REMEMBERED: u64 = 1024;
/// Longest role of a chat's turn, in bytes.
pub const CHAT_ROLE_BYTES_MAX: usize = 64;
/// Different roles that the turns of a chat have at a time: each is looked for among all of them.
pub const CHAT_ROLES_MAX: usize = 256;
/// Longest id of a chat's turn, in bytes.
pub const CHAT_ID_BYTES_MAX: usize = 256;
/// Most tokens of one turn.
pub const CHAT_TOKENS_MAX: u64 = u32::MAX as u64;
/// Largest burst, count, quantity, and period in seconds (32 years) of a throttle: an interval between two is then never less than 1 ns.
pub const THROTTLE_NUMBER_MAX: u64 = 1_000_000_000;
/// Members in a leaf of a large sorted set …
pub(crate) const LEAF_MEMBERS_MAX: usize = 64;
/// … and their bytes; a longer member has a leaf of its own.
pub(crate) const LEAF_BYTES_MAX: usize = 2 << 10;
/// Children of a node above them.
pub(crate) const NODE_CHILDREN_MAX: usize = 64;
/// Members whose scores one change sets: so many at a time are looked up, logged and put in place.
pub(crate) const SCORES_PER_CHANGE: usize = 32;

/// Timers handled in one hold of a shard's lock: about 100 µs of work.
pub(crate) const TIMERS_PER_HOLD_MAX: usize = 256;

/// Dead fields taken out of one hash in a go.
pub(crate) const FIELDS_PRUNED_MAX: usize = 128;
/// The same while somebody is told of each key that dies, which takes longer than its removal.
pub(crate) const TIMERS_PER_OBSERVED_HOLD_MAX: usize = 32;
/// Keys that are read from disk in one background step, to tell what happened to them.
pub(crate) const COLD_KEYS_PER_STEP: usize = 128;

/// Shards of the index; a power of two. Few enough that one wheel each costs little, many enough that threads rarely meet.
pub(crate) const SHARDS_MIN: usize = 64;
/// See [`SHARDS_MIN`].
pub(crate) const SHARDS_MAX: usize = 1024;

/// The low bits of a hash that a SCAN cursor leaves out, so that it stays below 2^53 (JavaScript's exact integers).
pub(crate) const SCAN_IGNORED_BITS: u32 = 12;

/// A structured object larger than this is freed in the background.
pub(crate) const FREE_LATER_BYTES: usize = 64 << 10;
/// Large objects freed in one background step.
pub(crate) const FREED_PER_STEP_MAX: usize = 64;
/// How often the bytes in memory are added up, in ms: so late does anyone who compares them with a limit notice.
pub(crate) const MEMORY_SAMPLE_MS: u64 = 100;
/// The longest that the expiry thread sleeps: a key set meanwhile with a short deadline is found within it, and a tick more.
pub(crate) const EXPIRY_PAUSE_MAX: std::time::Duration = std::time::Duration::from_millis(20);

/// An index file is written in portions of about this, in bytes.
pub(crate) const INDEX_BUFFER_BYTES: usize = 1 << 20;
/// The longest body of a manifest, in bytes: over two million segments.
pub(crate) const MANIFEST_BODY_BYTES_MAX: usize = 64 << 20;
/// Segments that can be open at once; a power of two. Each is mapped, and Linux maps as many for a process by default.
pub(crate) const SEGMENT_SLOTS: u32 = 1 << 16;
/// Segment ids are below this: an entry of an index file has no more bits for them.
pub(crate) const SEGMENT_IDS_END: u32 = 1 << 31;

/// A segment is full beyond this, in bytes; one longer object has a segment of its own.
pub(crate) const SEGMENT_TARGET_BYTES: u64 = 32 << 20;
/// Segments that are written at once; each may have a buffer of a megabyte.
pub(crate) const SEGMENTS_OPEN_MAX: usize = 24;
/// Ranges of hashes (up to 1,280 entries each) that a step of a checkpoint collects if none of them has anything to write.
pub(crate) const COLLECTED_RANGES_PER_STEP: usize = 64;
/// The longest dictionary that is trained.
pub(crate) const DICTIONARY_TRAINED_BYTES_MAX: usize = 16 << 10;
/// Values that a dictionary is trained on.
pub(crate) const DICTIONARY_SAMPLES: usize = 4096;
/// Longer values are no samples.
pub(crate) const DICTIONARY_SAMPLE_BYTES_MAX: usize = 8 << 10;
/// Longest segment, in bytes; a larger object has one of its own. An offset in it, in units of four bytes, fits 24 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Longest flat form of an object, in bytes, what one allocation of the engine holds: a large hash may be longer than any of its values.
pub(crate) const OBJECT_BYTES_MAX: u64 = u32::MAX as u64;
/// Longest dictionary, in bytes. Past some 16 KiB it gains little on sessions, and costs cache.
pub(crate) const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// A segment's writer asks to be written once it has buffered this many bytes, and a scan reads as many at a time.
pub(crate) const SEGMENT_IO_BYTES: usize = 1 << 20;
/// What the first read of a record asks for, in bytes: most records are shorter, and need no second one.
pub(crate) const RECORD_READ_BYTES: usize = 1 << 10;
/// A buffer that a larger record has blown up is given back down to this.
pub(crate) const BUFFER_BYTES_KEPT: usize = 1 << 20;

const _: () = assert!(SEGMENT_BYTES_MAX / 4 <= 1 << 24);

/// Damaged places of a file that a check lists; the others are counted.
pub(crate) const DAMAGE_LISTED_MAX: usize = 16;
/// Threads that check segments.
pub(crate) const CHECK_THREADS_MAX: usize = 8;
/// Records of each segment that an inventory looks at, to say how far they are compressed.
pub(crate) const SAMPLED_RECORDS_MAX: usize = 1000;

/// How long after a failure the next checkpoint or compaction is tried, in ms.
pub(crate) const CHECKPOINT_RETRY_MS: u64 = 5_000;
/// How often segments are looked at for compaction, in ms.
pub(crate) const COMPACTION_LOOK_MS: u64 = 2_000;
/// Bytes of segments of which nothing is alive that are not left lying about until the next checkpoint is due.
pub(crate) const DEAD_BYTES_PROMPT: u64 = 8 << 20;
/// Checkpoints after which training is tried again, when it did not help.
pub(crate) const DICTIONARY_RETRY_CHECKPOINTS: u32 = 16;
/// Bytes that must have been compressed for a dictionary to be judged by them.
pub(crate) const DICTIONARY_JUDGED_BYTES: u64 = 4 << 20;
/// A dictionary that compresses to so many thousandths of what it did when it was trained no longer fits.
pub(crate) const DICTIONARY_WORSE_PROMILLE: u64 = 1250;
/// What the background writes at most, as long as there is no hurry.
pub(crate) const STORAGE_BYTES_PER_SECOND: u64 = 128 << 20;
/// The longest that the storage thread sleeps.
pub(crate) const STORAGE_PAUSE_MAX: std::time::Duration = std::time::Duration::from_millis(50);
/// Bytes of a victim that are looked at in one step.
pub(crate) const COMPACTED_BYTES_PER_STEP: u64 = 1 << 20;
/// Live bytes that one compaction copies at most.
pub(crate) const COMPACTION_BYTES_MAX: u64 = 256 << 20;
/// A segment that dies whole this soon is not compacted, in ms.
pub(crate) const COMPACTION_SOON_MS: u64 = 60_000;
/// Segments below this are small, in bytes …
pub(crate) const SMALL_SEGMENT_BYTES: u64 = 4 << 20;
/// … and are put together once there are so many that die at about the same time.
pub(crate) const SMALL_SEGMENTS: usize = 8;
/// Ranges of hashes (up to 1,280 entries each) that the clock hand looks at in one hold of a shard's lock …
pub(crate) const HAND_RANGES_PER_HOLD: usize = 1;
/// … and how many holds a step has.
pub(crate) const HAND_STEP: usize = 64;
/// Bytes of objects that may be in memory however large the index is.
pub(crate) const OBJECTS_BYTES_MIN: u64 = 16 << 20;
/// Entries in a block of an index that a repair writes.
pub(crate) const INDEX_BLOCK_ENTRIES: usize = 40_000;
/// A pass over the index that compresses idle values begins no sooner than this after the last, in ms: values count as idle after one to two
/// of them.
pub(crate) const IDLE_PASS_MS: u64 = 10_000;
/// Ranges of hashes (up to 1,280 entries each) that a step of such a pass looks at.
pub(crate) const IDLE_RANGES_PER_STEP: usize = 4;
/// Shorter objects, key included, are not worth compressing.
pub(crate) const IDLE_BYTES_MIN: usize = 128;
/// Keys that are deleted in one hold of a shard's lock when memory is full.
pub(crate) const EVICTIONS_PER_HOLD: usize = 64;
/// Entries that are drawn to find one that dies soon (Redis: `maxmemory-samples`, 5).
pub(crate) const EVICTION_SAMPLES: usize = 8;
/// Sessions whose deadline has come that one transaction takes away.
pub(crate) const SESSIONS_REAPED_TOGETHER: usize = 16;
/// Sessions that a step of the sweep looks at.
pub(crate) const SESSIONS_SWEPT_PER_STEP: usize = 256;
/// How long events of sessions are kept, in ms, unless set …
pub(crate) const SESSION_EVENTS_MAX_AGE_MS: u64 = 7 * 24 * 3600 * 1000;
/// … and how many bytes of them.
pub(crate) const SESSION_EVENTS_BYTES_MAX: u64 = 64 << 20;
/// A chunk of events of sessions that has had so many bytes takes no more.
pub(crate) const SESSION_EVENTS_CHUNK_BYTES: usize = 64 << 10;
/// Space that writes leave free on the disk, for checkpoints and compaction; less on a small disk.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;
/// Memory is given back to the system once so much of it has become free, in bytes …
pub(crate) const TRIM_BYTES_MIN: u64 = 16 << 20;
/// … and no sooner than this after the last time, in ms.
pub(crate) const TRIM_PAUSE_MS: u64 = 1_000;
/// The same for what is merely held beyond what is in use, in ms: it may be that nothing of it can be given back.
pub(crate) const TRIM_PAUSE_LONG_MS: u64 = 5_000;
/// Entries of keys that have died that index files may list beside four times those that live.
pub(crate) const INDEX_ENTRIES_SLACK: u64 = 50_000;
/// Bytes of objects beyond the limit at which writes wait for values to leave, however low the limit.
pub(crate) const OVERFULL_BYTES: u64 = 2 << 20;
/// How long they wait before they look again.
pub(crate) const RELIEF_WAIT: std::time::Duration = std::time::Duration::from_millis(2);
/// A segment that lives no longer than this is not compacted for want of anything else to do, in ms: it is soon gone whole.
pub(crate) const COMPACTION_LEISURE_MS: u64 = 15 * 60_000;
