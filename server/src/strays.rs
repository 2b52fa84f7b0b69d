//! Tokens that no session has, counted by the address that they come from: whoever guesses is told of by an `unknown` event.
//!
//! What must never happen is that the count itself grows without bound: at most so many addresses are known at a time, and each for a minute.

use sessile_wal::sync::Mutex;
use std::collections::HashMap;

/// For so long unknown tokens are counted together, and an address is told of at most once, ms.
const PERIOD_MS: u64 = 60_000;
/// From so many in a period on.
const TOLD_FROM: u64 = 100;
/// Addresses that are counted at a time. Beyond, those whose period is over make room, and else nobody.
const ADDRESSES_MAX: usize = 4096;

#[derive(Debug)]
struct Stray {
    /// Since then, ms since the epoch.
    since_ms: u64,
    count: u64,
    told: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Strays {
    by_address: Mutex<HashMap<Box<str>, Stray>>,
}

impl Strays {
    /// Counts so many more from an address; how many are to be told of, if they are many and were not told of in this period. Whoever is answered a
    /// number is to tell of it: nobody else is going to.
    pub fn count(&self, address: &str, more: u64, now_ms: u64) -> Option<u64> {
        let mut by_address = self.by_address.lock();
        let is_over = |stray: &Stray| stray.since_ms.saturating_add(PERIOD_MS) <= now_ms;
        if !by_address.contains_key(address) {
            if by_address.len() >= ADDRESSES_MAX {
                by_address.retain(|_, stray| !is_over(stray));
            }
            if by_address.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        let new = || Stray { since_ms: now_ms, count: 0, told: false };
        let stray = by_address.entry(address.into()).or_insert_with(new);
        if is_over(stray) {
            *stray = new();
        }
        stray.count = stray.count.saturating_add(more);
        if stray.told || stray.count < TOLD_FROM {
            return None;
        }
        let many = stray.count;
        // The minute between two events begins with the first.
        *stray = Stray { since_ms: now_ms, count: 0, told: true };
        Some(many)
    }
}

/// The host of an address as `CLIENT LIST` writes it: connections from one host count together.
pub fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_of_once_a_minute() {
        let strays = Strays::default();
        for n in 1..100 {
            assert_eq!(strays.count("10.0.0.1", 1, n), None, "{n}");
        }
        assert_eq!(strays.count("10.0.0.2", 1, 100), None, "another one has a count of its own");
        assert_eq!(strays.count("10.0.0.1", 2, 100), Some(101));
        assert_eq!(strays.count("10.0.0.1", 500, 100 + PERIOD_MS - 1), None);
        assert_eq!(strays.count("10.0.0.1", 99, 100 + PERIOD_MS), None, "a new minute");
        assert_eq!(strays.count("10.0.0.1", 1, 100 + PERIOD_MS), Some(100));
    }

    #[test]
    fn slow_guesses_never_add_up() {
        let strays = Strays::default();
        for n in 0..1000 {
            assert_eq!(strays.count("10.0.0.1", 1, n * PERIOD_MS / 50), None, "{n}");
        }
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let strays = Strays::default();
        for n in 0..2 * ADDRESSES_MAX {
            strays.count(&format!("10.0.{}.{}", n >> 8, n & 255), 1, 1);
        }
        assert_eq!(strays.by_address.lock().len(), ADDRESSES_MAX);
        strays.count("10.9.9.9", 1, 1 + PERIOD_MS);
        assert_eq!(strays.by_address.lock().len(), 1);
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        assert_eq!(host("127.0.0.1:50312"), "127.0.0.1");
        assert_eq!(host("[::1]:50312"), "[::1]");
        assert_eq!(host("nowhere"), "nowhere");
    }
}
