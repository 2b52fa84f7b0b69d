//! The engine's limits, each with what it bounds.

/// Elements in one segment of a [table](crate::table); also bounds the longest single step of growth (one split).
pub(crate) const SEGMENT_ENTRIES_MAX: usize = 1280;
/// Slots of a full segment: a load of 62.5 %.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 2048;
/// Slots of an empty segment.
pub(crate) const SEGMENT_SLOTS_MIN: usize = 8;

/// Longest key or value, in bytes (Redis's own limit).
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// A hash stays in its flat form up to this many fields …
pub(crate) const PACKED_FIELDS_MAX: usize = 128;
/// … and this many bytes in all; a longer string that is changed in place becomes growable.
pub(crate) const PACKED_BYTES_MAX: usize = 8 << 10;

/// Timers handled in one hold of a shard's lock: about 100 µs of work.
pub(crate) const TIMERS_PER_HOLD_MAX: usize = 256;

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
