//! The engine's time: the wall clock at open plus monotonic time.
//!
//! A step of the wall clock in a running process neither kills nor prolongs a session. It starts from the later of the wall clock and the
//! latest time in the log, so that what was dead once stays dead. For the same reason the log is given the engine's time, not the wall
//! clock's: else a clock that was wrong for a moment would decide what is alive after the next start.

use sessile_wal::Clock;
use std::sync::{Arc, OnceLock};

/// See the module's page.
#[derive(Clone)]
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

    /// When the engine's time began, in ms since the epoch.
    pub(crate) fn started_ms(&self) -> u64 {
        self.start_ms
    }

    /// The monotonic clock, in ns.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    /// Milliseconds since the epoch.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.start_ms + (self.clock.monotonic_ns() - self.start_ns) / 1_000_000
    }

    /// Microseconds since the epoch.
    pub(crate) fn now_us(&self) -> u64 {
        self.start_ms * 1000 + (self.clock.monotonic_ns() - self.start_ns) / 1000
    }
}

/// The clock that the log is opened with: the wall clock's time until the log has been read and the engine's time begins, then that.
pub(crate) struct LogClock {
    clock: Arc<dyn Clock>,
    started: OnceLock<EngineClock>,
}

impl LogClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> LogClock {
        LogClock { clock, started: OnceLock::new() }
    }

    /// Begins the engine's time.
    pub(crate) fn start(&self, high_water_ms: u64) -> EngineClock {
        self.started.get_or_init(|| EngineClock::start(Arc::clone(&self.clock), high_water_ms)).clone()
    }
}

impl Clock for LogClock {
    fn wall_ms(&self) -> u64 {
        self.started.get().map_or_else(|| self.clock.wall_ms(), EngineClock::now_ms)
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }
}
