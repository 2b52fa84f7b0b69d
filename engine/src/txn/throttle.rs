//! Throttles: how often something may be done, by the generic cell rate algorithm.
//!
//! The key holds the *theoretical arrival time*: when the last of what was allowed would have come, had it come evenly. It is a string of decimal digits,
//! in ns since the epoch, and the key dies at that time, when it says nothing any more. All arithmetic is in whole ns, and wide enough for all that
//! the limits admit. What is refused writes nothing.

use super::{Txn, WrongKind};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::limits::THROTTLE_NUMBER_MAX;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How many may come at once beyond the first.
    pub max_burst: u64,
    /// How many in each period.
    pub count: u64,
    /// In seconds.
    pub period_s: u64,
}

/// Whether it may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// It may not.
    pub limited: bool,
    /// How many may come at once.
    pub limit: u64,
    /// How many more may come now.
    pub remaining: u64,
    /// In how many seconds as many may come as were asked for; `None` if they may now, or never may.
    pub retry_after_s: Option<u64>,
    /// In how many seconds all of the limit is there again.
    pub reset_after_s: u64,
}

/// Why a throttle says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThrottleError {
    /// The key holds another kind of value.
    #[error(transparent)]
    WrongKind(#[from] WrongKind),
    /// The key holds a string that no throttle has written.
    #[error("the key holds no throttle")]
    NoThrottle,
    /// A number is beyond the limit, or zero where that makes no sense.
    #[error("{argument} must be between {least} and {THROTTLE_NUMBER_MAX}")]
    OutOfRange {
        /// Which.
        argument: &'static str,
        /// The least that it may be.
        least: u64,
    },
}

const NS_PER_MS: u128 = 1_000_000;
const NS_PER_S: u128 = 1_000_000_000;

// An interval is never 0, and the longest sum fits: a burst of the longest intervals behind the latest time.
const _: () = assert!(THROTTLE_NUMBER_MAX as u128 <= NS_PER_S);

fn within(argument: &'static str, number: u64, least: u64) -> Result<u128, ThrottleError> {
    if number < least || number > THROTTLE_NUMBER_MAX {
        return Err(ThrottleError::OutOfRange { argument, least });
    }
    Ok(u128::from(number))
}

/// Whole seconds that are not before the end of so many ns.
fn seconds(ns: u128) -> u64 {
    u64::try_from(ns.div_ceil(NS_PER_S)).unwrap_or(u64::MAX)
}

/// The time that a key says, ns since the epoch.
fn parse(value: &[u8]) -> Option<u128> {
    const DIGITS_MAX: usize = 38;
    let is_number = (1..=DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

impl Txn<'_> {
    /// Asks whether `quantity` more may come, and counts them if so. Nothing is counted, and nothing written, for a quantity of 0.
    ///
    /// # Errors
    /// [`ThrottleError`]; nothing has changed then.
    pub fn throttle(
        &mut self,
        key: &Key<'_>,
        throttle: Throttle,
        quantity: u64,
    ) -> Result<Throttled, ThrottleError> {
        let limit = within("max-burst", throttle.max_burst, 0)? + 1;
        let count = within("count", throttle.count, 1)?;
        let period_ns = within("period", throttle.period_s, 1)? * NS_PER_S;
        let quantity = within("quantity", quantity, 0)?;
        let now = u128::from(self.now_ms) * NS_PER_MS;
        let stored = match self.string(key)? {
            Some(value) => Some(parse(value).ok_or(ThrottleError::NoThrottle)?),
            None => None,
        };

        let interval = period_ns / count;
        let (tolerance, increment) = (interval * limit, interval * quantity);
        let arrival = stored.map_or(now, |stored| stored.max(now));
        let next_arrival = arrival + increment;
        let wait = next_arrival.saturating_sub(now + tolerance);
        let limited = wait > 0;
        let ahead = if limited { arrival - now } else { next_arrival - now };
        if !limited && quantity > 0 {
            let deadline_ms = u64::try_from(next_arrival.div_ceil(NS_PER_MS)).unwrap_or(u64::MAX);
            self.put_string(key, next_arrival.to_string().as_bytes(), Some(deadline_ms.min(NEVER - 1)));
        }
        Ok(Throttled {
            limited,
            // Both are at most the limit, which came as an u64.
            limit: limit as u64,
            remaining: (tolerance.saturating_sub(ahead) / interval) as u64,
            retry_after_s: (limited && increment <= tolerance).then(|| seconds(wait)),
            reset_after_s: seconds(ahead),
        })
    }
}
