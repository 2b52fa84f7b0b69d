//! The engine's time: the wall clock at open plus monotonic time.
//!
//! A step of the wall clock in a running process neither kills nor prolongs a session. It starts from the later of the wall clock and the
//! latest time in the log, so that what was dead once stays dead.

use sessile_wal::Clock;
use std::sync::Arc;

/// See the module's page.
pub(crate) struct EngineClock {
    clock: Arc<dyn Clock>,
    /// What to add to monotonic milliseconds.
    start_ms: u64,
    start_ns: u64,
}

impl EngineClock {
    /// Starts at the later of the wall clock and `high_water_ms`.
    pub(crate) fn start(clock: Arc<dyn Clock>, high_water_ms: u64) -> EngineClock {
        let start_ns = clock.monotonic_ns();
        let start_ms = clock.wall_ms().max(high_water_ms);
        EngineClock { clock, start_ms, start_ns }
    }

    /// Milliseconds since the epoch.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.start_ms + (self.clock.monotonic_ns() - self.start_ns) / 1_000_000
    }
}
