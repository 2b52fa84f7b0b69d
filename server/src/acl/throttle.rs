//! Wrong passwords are slowed down: whoever guesses from an address waits longer for each answer.
//!
//! The first few failures cost nothing, as people mistype. From then on each attempt from that address, right or wrong (or the answer's delay would
//! tell), is answered only after a delay that doubles up to [`DELAY_MS_MAX`], and halves again with time. Clients on this machine are not delayed: they
//! could read its memory. Attempts on many connections take turns, so that they are no faster than on one; who would have to wait longer than
//! [`WAIT_MS_MAX`] for its turn is refused unheard. The table is bounded; when it is full, the address that has failed longest ago is forgotten.

use sessile_wal::sync::Mutex;
use std::collections::HashMap;

/// Failures that cost nothing.
const FREE_FAILURES: u32 = 5;
/// The longest delay, ms.
const DELAY_MS_MAX: u64 = 2000;
/// The longest wait for a turn, ms.
const WAIT_MS_MAX: u64 = 30_000;
/// A failure is forgotten after this long, ms.
const FORGOTTEN_MS: u64 = 10_000;
/// Addresses remembered.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_ms: u64,
    /// When the last attempt that waits has its turn.
    turn_ms: u64,
}

impl Failures {
    fn delay_ms(self, now_ms: u64) -> u64 {
        match self.at(now_ms).checked_sub(FREE_FAILURES) {
            None | Some(0) => 0,
            Some(excess) => (1_u64 << excess.min(20)).saturating_mul(10).min(DELAY_MS_MAX),
        }
    }

    fn at(self, now_ms: u64) -> u32 {
        let forgotten = now_ms.saturating_sub(self.last_ms) / FORGOTTEN_MS;
        self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<String, Failures>>);

/// The part of `address:port` that stays the same.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl Throttle {
    /// How long an attempt from there has to wait for its answer, in ms.
    pub fn delay_ms(&self, address: &str, now_ms: u64) -> u64 {
        self.0.lock().get(host(address)).map_or(0, |failures| failures.delay_ms(now_ms))
    }

    /// Gives an attempt from there its turn: how long it has to wait, in ms; `None` if too many wait already.
    pub fn take_turn(&self, address: &str, now_ms: u64) -> Option<u64> {
        let mut all = self.0.lock();
        let Some(failures) = all.get_mut(host(address)) else { return Some(0) };
        let delay_ms = failures.delay_ms(now_ms);
        if delay_ms == 0 {
            return Some(0);
        }
        let turn_ms = failures.turn_ms.max(now_ms).saturating_add(delay_ms);
        let wait_ms = turn_ms - now_ms;
        if wait_ms > WAIT_MS_MAX {
            return None;
        }
        failures.turn_ms = turn_ms;
        Some(wait_ms)
    }

    /// Notes a wrong password.
    pub fn note_failure(&self, address: &str, now_ms: u64) {
        let mut all = self.0.lock();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(host(address)) {
            let oldest =
                all.iter().min_by_key(|(_, failures)| failures.last_ms).map(|(host, _)| host.clone());
            oldest.map(|oldest| all.remove(&oldest));
        }
        let failures =
            all.entry(host(address).to_owned()).or_insert(Failures { count: 0, last_ms: now_ms, turn_ms: 0 });
        failures.count = failures.at(now_ms).saturating_add(1);
        failures.last_ms = now_ms;
    }

    /// Notes a right one.
    pub fn note_success(&self, address: &str) {
        self.0.lock().remove(host(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slower_and_time_forgives() {
        let throttle = Throttle::default();
        let mut delays = Vec::new();
        for _ in 0..20 {
            delays.push(throttle.delay_ms("10.0.0.1:1000", 0));
            throttle.note_failure("10.0.0.1:1000", 0);
        }
        assert_eq!(&delays[..9], [0, 0, 0, 0, 0, 0, 20, 40, 80]);
        assert_eq!(delays[19], DELAY_MS_MAX);
        assert_eq!(throttle.delay_ms("10.0.0.1:2000", 0), DELAY_MS_MAX, "another port of the same host");
        assert_eq!(throttle.delay_ms("10.0.0.2:1000", 0), 0);
        assert_eq!(throttle.delay_ms("10.0.0.1:1", 20 * FORGOTTEN_MS), 0);
        throttle.note_success("10.0.0.1:1000");
        assert_eq!(throttle.delay_ms("10.0.0.1:1000", 0), 0);
    }

    #[test]
    fn attempts_at_the_same_time_take_turns() {
        let throttle = Throttle::default();
        assert_eq!(throttle.take_turn("10.0.0.1:1", 0), Some(0));
        (0..20).for_each(|_| throttle.note_failure("10.0.0.1:1", 0));
        for turn in 1..=WAIT_MS_MAX / DELAY_MS_MAX {
            assert_eq!(throttle.take_turn("10.0.0.1:1", 0), Some(turn * DELAY_MS_MAX));
        }
        assert_eq!(throttle.take_turn("10.0.0.1:1", 0), None);
        assert_eq!(throttle.take_turn("10.0.0.2:1", 0), Some(0));
        assert_eq!(throttle.take_turn("10.0.0.1:1", DELAY_MS_MAX), Some(WAIT_MS_MAX));
    }

    #[test]
    fn the_table_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..ADDRESSES_MAX as u64 + 10 {
            throttle.note_failure(&format!("host{number}:1"), number);
        }
        assert_eq!(throttle.0.lock().len(), ADDRESSES_MAX);
        assert!(!throttle.0.lock().contains_key("host0"));
    }
}
