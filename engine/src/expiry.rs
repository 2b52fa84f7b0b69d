//! Deadlines: how callers say them, and how sparsely a touch is logged.
//!
//! # The grid
//!
//! A touch that goes to the log each time would cost a log record for every read of a session. Instead the log holds the
//! deadline rounded *up* to a grid of at most 5 % of the idle period, and a touch writes only when its rounded deadline is another
//! than the one before: a session read once a second with an idle time of half an hour is logged every minute. The memory holds the
//! exact deadline. After a crash a deadline may be late by up to one step of the grid, and is never early.
//!
//! Expiry itself writes no record, because the log has the deadline; except for a key that is reclaimed while the log's rounded deadline is
//! still to come: that is one deletion in the log (9 bytes), or a crash within the step would bring a dead session back to life.
//!
//! Entries remember their grid as its exponent (`step = 4^grid` ms, 0 for "logged as it is"), so a touch with another idle period
//! knows that what the log holds was rounded otherwise.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a key dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// Never, unless deleted.
    Never,
    /// This long from now (to the millisecond, rounded up).
    After(Duration),
    /// At this moment, in milliseconds since the epoch.
    AtMs(u64),
    /// As the key that is replaced: its deadline stays, or there is none.
    Keep,
    /// After `idle` without a touch, and in any case `absolute` after now. The key carries both limits: each
    /// [`touch`](crate::Db::touch) moves the deadline to `min(now + idle, absolute)`, and no command moves it beyond `absolute`.
    Idle {
        /// How long the key lives without being touched.
        idle: Duration,
        /// How long it lives at most.
        absolute: Option<Duration>,
    },
}

impl From<Duration> for Expiry {
    fn from(after: Duration) -> Expiry {
        Expiry::After(after)
    }
}

impl From<SystemTime> for Expiry {
    /// A time before the epoch is long past.
    fn from(at: SystemTime) -> Expiry {
        Expiry::AtMs(at.duration_since(UNIX_EPOCH).map_or(0, ms))
    }
}

/// How a touch moves a deadline. A [`Duration`] converts into the first kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Touch {
    /// To this long from now (never beyond the key's absolute limit, if it has one).
    For(Duration),
    /// As the key's own idle limit says ([`Expiry::Idle`]); a key without one keeps its deadline.
    Policy,
}

impl From<Duration> for Touch {
    fn from(idle: Duration) -> Touch {
        Touch::For(idle)
    }
}

/// Whole milliseconds of a duration, rounded up so that nothing dies early.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// `u64::MAX` stands for "never" in an index entry.
pub(crate) const NEVER: u64 = u64::MAX;

/// The coarsest grid that an entry's four bits can say: steps of 4^15 ms, 12 days.
pub(crate) const GRID_MAX: u16 = 15;

/// The grid for an idle period: the widest whose step is at most 5 % of it.
pub(crate) fn grid_for(idle_ms: u64) -> u16 {
    let step_max = idle_ms / 20;
    if step_max < 4 { 0 } else { (step_max.ilog2() as u16 / 2).min(GRID_MAX) }
}

/// The widest grid up to `grid` on which a deadline is not rounded beyond `limit_ms`. So what the log and the index files hold never exceeds
/// the absolute limit, also where only the entry is looked at, and not the object that knows the limit.
pub(crate) fn grid_within(deadline_ms: u64, grid: u16, limit_ms: u64) -> u16 {
    (0..=grid).rev().find(|&grid| logged_deadline(deadline_ms, grid) <= limit_ms).unwrap_or(0)
}

/// The deadline that the log and the index files hold: rounded up to the grid.
pub(crate) fn logged_deadline(deadline_ms: u64, grid: u16) -> u64 {
    let step = 1u64 << (2 * grid);
    deadline_ms.checked_next_multiple_of(step).unwrap_or(deadline_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_logged_is_late_by_at_most_five_percent_and_never_early(
            idle_ms in 0u64..1 << 40, now in 0u64..1 << 42, limit: Option<u32>,
        ) {
            let deadline = now + idle_ms;
            let limit = limit.map_or(NEVER, |more| deadline + u64::from(more));
            let grid = grid_within(deadline, grid_for(idle_ms), limit);
            let logged = logged_deadline(deadline, grid);
            prop_assert!(logged >= deadline && logged <= limit);
            prop_assert!(logged - deadline <= idle_ms / 20);
        }
    }

    #[test]
    fn half_an_hour_has_steps_of_a_minute() {
        assert_eq!(1u64 << (2 * grid_for(1_800_000)), 65_536);
        assert_eq!(grid_for(60), 0);
        assert_eq!(logged_deadline(NEVER - 1, 15), NEVER - 1);
    }
}
