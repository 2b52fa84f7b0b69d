//! Reproducible randomness: xorshift64*, seeded from `SESSILE_SEED` or from the clock, the seed always printed.
#![expect(
    clippy::disallowed_methods,
    reason = "a fresh seed comes from the wall clock; no clock is simulated here"
)]

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// One stream of random figures; the same seed gives the same stream.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // Spread small seeds over all bits, and never start at zero, where xorshift stays.
        Random { state: seed.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A figure in `range`, which must not be empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True `percent` times out of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.within(0..choices.len() as u64) as usize]
    }
}

/// The seed of a test: `SESSILE_SEED`, or a fresh one. It is printed, so that a failure can be replayed.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = match std::env::var("SESSILE_SEED") {
        Ok(text) => text.parse().expect("SESSILE_SEED is an unsigned integer"),
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |elapsed| elapsed.as_nanos() as u64)
                % 1_000_000_007
        }
    };
    println!("{test}: SESSILE_SEED={seed}");
    seed
}

/// A count from the environment, for campaigns whose length the caller chooses.
pub(crate) fn count(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("{variable} must be an unsigned integer, not {text:?}"))
        }
        Err(_) => default,
    }
}
