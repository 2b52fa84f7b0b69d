//! The seam to time. Nothing else in the workspace reads a clock.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Where the log and the engine get the time from.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC. It may jump, in both directions.
    fn wall_ms(&self) -> u64;
    /// Nanoseconds since an arbitrary moment. It never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the real clock behind the seam")]
    fn wall_ms(&self) -> u64 {
        // A clock before 1970 reads as 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock behind the seam")]
    fn monotonic_ns(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}
