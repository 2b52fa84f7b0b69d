//! Every limit of the log, by name. Formats, recovery and memory use depend on them, so they are checked against
//! each other at compile time.

/// The unit of writing: every write starts on such a boundary and covers whole pages, in bytes.
pub const PAGE_BYTES: usize = 4096;
/// Length of the header block of a log file, in bytes.
pub const FILE_HEADER_BYTES: usize = 4096;
/// Length of a batch header, in bytes.
pub const BATCH_HEADER_BYTES: usize = 40;
/// Batches start at multiples of this, in bytes.
pub const BATCH_ALIGN: usize = 8;
/// A batch is closed once its payload would pass this (a single longer record has a batch of its own), in bytes.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The longest record, in bytes: a value of 512 MiB with its key and framing.
pub const RECORD_BYTES_MAX: usize = (512 << 20) + (1 << 20);
/// Size of the first log file, in bytes; each next one is twice as large, up to `segment_bytes_max`.
pub const SEGMENT_BYTES_FIRST: u64 = 1 << 20;
/// The smallest log file that can be asked for, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 8192;
/// The largest `segment_bytes_max` that can be asked for, in bytes.
pub const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;
/// Default of `segment_bytes_max`, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Default of `buffer_bytes_max`, in bytes.
pub const BUFFER_BYTES_DEFAULT: usize = 64 << 20;
/// How much of the next file one background step writes through, in bytes.
pub const PREPARE_CHUNK_BYTES: usize = 1 << 20;
/// In what portions that is written, in bytes. The page cache keeps a file in units as large as the writes that brought
/// it in, and each small write costs time proportional to its unit: behind portions of 1 MiB, on ext4, twice as much as
/// behind these.
pub const PREPARE_WRITE_BYTES: usize = 16 << 10;
/// Room that only deletes may use once the disk is full, in bytes (at most an eighth of the file).
pub const DELETE_RESERVE_BYTES: u64 = 64 << 10;
/// A buffer larger than this is freed after use instead of being kept for the next batch, in bytes.
pub const BUFFER_KEPT_BYTES: usize = 4 << 20;
/// Window through which recovery reads, in bytes.
pub const READ_WINDOW_BYTES: usize = 1 << 20;
/// Longest interval between two syncs in `everysec`, in nanoseconds.
pub const SYNC_INTERVAL_NS: u64 = 1_000_000_000;
/// The log counts as idle, and gets its mark, after this long without an append, in nanoseconds.
pub const IDLE_NS: u64 = 50_000_000;
/// A full disk is tried again at most this often, in nanoseconds.
pub const DISK_FULL_RETRY_NS: u64 = 100_000_000;
/// The longest pause `step` asks for, in nanoseconds.
pub const STEP_PAUSE_NS_MAX: u64 = 1_000_000_000;

const _: () = {
    assert!(FILE_HEADER_BYTES.is_multiple_of(PAGE_BYTES));
    assert!(BATCH_HEADER_BYTES.is_multiple_of(BATCH_ALIGN));
    assert!(PAGE_BYTES.is_multiple_of(BATCH_ALIGN));
    assert!(RECORD_BYTES_MAX < u32::MAX as usize - BATCH_BYTES_MAX - 64);
    assert!(BATCH_BYTES_MAX < 1 << 28, "the record count of a batch has 28 bits");
    assert!(SEGMENT_BYTES_MIN >= (FILE_HEADER_BYTES + PAGE_BYTES) as u64);
    assert!(PREPARE_CHUNK_BYTES.is_multiple_of(PAGE_BYTES));
    assert!(PREPARE_CHUNK_BYTES.is_multiple_of(PREPARE_WRITE_BYTES));
    assert!(READ_WINDOW_BYTES >= BATCH_HEADER_BYTES);
};

/// How often the thread that syncs on demand looks for the next request, right after a sync, before it sleeps: about 40 µs.
pub const REQUEST_SPINS: u32 = 3000;
