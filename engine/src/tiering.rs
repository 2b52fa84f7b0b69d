//! What stays in memory: the limit, how near it is, and the clock hand that decides which values leave.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How near memory is to its limit; read on every path, written by a background step.
pub(crate) struct Tiering {
    /// In bytes; `u64::MAX` for none.
    limit_bytes: AtomicU64,
    /// Whether values that were read once have to leave again.
    tight: AtomicBool,
    /// Whether reads are to be noted for the clock hand.
    counting: AtomicBool,
}

impl Tiering {
    pub(crate) fn new(limit_bytes: u64) -> Tiering {
        Tiering {
            limit_bytes: AtomicU64::new(limit_bytes),
            tight: AtomicBool::new(false),
            counting: AtomicBool::new(limit_bytes != u64::MAX),
        }
    }

    /// The limit of what is resident, in bytes; `u64::MAX` for none.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Whether reads are noted.
    #[inline]
    pub(crate) fn counts_accesses(&self) -> bool {
        self.counting.load(Ordering::Relaxed)
    }

    /// Whether memory is so near its limit that what was read once doesn't stay.
    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }
}
