//! How many entries of the index each segment's records are held by.
//!
//! Counted under the shard locks whenever an entry takes or loses a location. A count of zero at the start of a checkpoint means that nothing
//! refers to the segment any more, neither now nor in the index files once that checkpoint is done: it is then unlinked without being read.
//! It must never be too low: that would unlink data.

use crate::limits::SEGMENT_SLOTS;
use crate::location::Location;
use sessile_wal::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

const CHUNK: usize = 1024;

/// Live records by slot. Grows a chunk at a time, so that no lock is needed to count.
pub(crate) struct LiveCounts {
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl LiveCounts {
    pub(crate) fn new() -> LiveCounts {
        LiveCounts { chunks: (0..SEGMENT_SLOTS as usize / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    /// Those of objects that are copies: nothing is counted.
    pub(crate) fn of_copies() -> LiveCounts {
        LiveCounts { chunks: Box::default() }
    }

    /// Whether they are [of copies](Self::of_copies).
    pub(crate) fn are_of_copies(&self) -> bool {
        self.chunks.is_empty()
    }

    fn of(&self, slot: u32) -> &AtomicU32 {
        let (chunk, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        &self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| AtomicU32::new(0)).collect())[at]
    }

    /// How many entries refer to the segment.
    pub(crate) fn get(&self, slot: u32) -> u32 {
        self.of(slot).load(Ordering::Acquire)
    }

    /// So many more entries refer to the segment of this location.
    pub(crate) fn take(&self, location: Location, entries: u32) {
        debug_assert!(!self.are_of_copies(), "a copy is in no segment");
        self.of(location.slot()).fetch_add(entries, Ordering::Relaxed);
    }

    /// An entry doesn't any more.
    pub(crate) fn release(&self, location: Location) {
        if self.are_of_copies() {
            return;
        }
        let before = self.of(location.slot()).fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "a segment with no live record lost one");
    }
}
