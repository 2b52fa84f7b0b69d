//! A clock that moves only when told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use crate::Clock;

/// A simulated clock; clones share the time.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Times>);

#[derive(Debug)]
struct Times {
    wall_ms: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl SimClock {
    /// A clock that stands at `wall_ms` milliseconds since the epoch.
    #[must_use]
    pub fn new(wall_ms: u64) -> SimClock {
        SimClock(Arc::new(Times {
            wall_ms: AtomicU64::new(wall_ms),
            monotonic_ns: AtomicU64::new(1_000_000),
        }))
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance_ms(&self, ms: u64) {
        self.0.wall_ms.fetch_add(ms, SeqCst);
        self.0.monotonic_ns.fetch_add(ms * 1_000_000, SeqCst);
    }

    /// Steps the wall clock, as an administrator might; monotonic time is not touched.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.0.wall_ms.store(wall_ms, SeqCst);
    }
}

impl Default for SimClock {
    /// A clock that stands in November 2023.
    fn default() -> SimClock {
        SimClock::new(1_700_000_000_000)
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms.load(SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns.load(SeqCst)
    }
}
