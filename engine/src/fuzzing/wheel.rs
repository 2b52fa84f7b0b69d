//! The timing wheel against a map of deadlines.

use super::Input;
use crate::wheel::{SlotNumber, Wheel};
use std::collections::HashMap;

/// A tick of the wheel, in ms: a timer fires within one of its deadline.
const TICK_MS: u64 = 16;
/// Timers that are not made to order come from so many hashes.
const HASHES: u64 = 300;
/// Beyond this after the latest deadline nothing is left in the wheel, in ms: it turns once in 400 days, and stale timers wait for their slot.
const TURN_MS: u64 = 1 << 36;

struct Bench {
    wheel: Wheel,
    now_ms: u64,
    /// Deadline, and the slot of the timer that counts.
    armed: HashMap<u64, (u64, SlotNumber)>,
}

/// Timers that are set, moved, dropped, swept and fired as a shard does: none fires before its deadline, none later than a tick after it, and the
/// wheel knows when it has something to do.
pub fn wheel(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let now_ms = input.long() >> 22;
    let mut bench = Bench { wheel: Wheel::new(now_ms), now_ms, armed: HashMap::new() };
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=2 => {
                let hash = u64::from(input.byte()) % HASHES;
                bench.set(hash, input.number());
            }
            3 => {
                let (first, after, apart) = (input.long(), input.number(), u64::from(input.byte()));
                (0..200).for_each(|number| {
                    bench.set(first.wrapping_add(number), after.saturating_add(number * apart));
                });
            }
            4 => {
                let hash = u64::from(input.byte()) % HASHES;
                bench.armed.remove(&hash);
            }
            _ => {
                let after_ms = input.number() >> 24;
                let (limit, sweep) = (usize::from(input.byte()) + 1, input.below(60));
                bench.advance(after_ms, limit, sweep);
            }
        }
    }
    bench.end();
}

impl Bench {
    fn set(&mut self, hash: u64, after_ms: u64) {
        let deadline = self.now_ms.saturating_add(after_ms).saturating_add(1);
        match self.armed.get_mut(&hash) {
            Some((old, slot)) if deadline >= *old || self.wheel.covers(*slot, deadline) => *old = deadline,
            _ => {
                let slot = self.wheel.arm(hash, deadline);
                assert!(self.wheel.covers(slot, deadline), "a timer that was just armed covers its deadline");
                self.armed.insert(hash, (deadline, slot));
            }
        }
    }

    fn advance(&mut self, after_ms: u64, limit: usize, sweep: usize) {
        let due_ms = self.wheel.next_due_ms();
        if self.wheel.len() == 0 {
            assert_eq!(due_ms, None);
        }
        if let Some(early_ms) =
            due_ms.filter(|due_ms| *due_ms > 0).map(|due_ms| (due_ms - 1).min(self.now_ms + after_ms))
            && early_ms >= self.now_ms
        {
            let mut fired = Vec::new();
            assert!(!self.wheel.advance(early_ms, usize::MAX, &mut fired));
            assert!(fired.is_empty(), "something was due before the wheel said so");
        }
        self.now_ms += after_ms;
        let mut fired = Vec::new();
        self.wheel.sweep(sweep, &mut fired);
        loop {
            let limit = limit + fired.len();
            let more = self.wheel.advance(self.now_ms, limit, &mut fired);
            for timer in &fired {
                match self.armed.get_mut(&timer.hash) {
                    Some(&mut (deadline, slot)) if slot == timer.slot && deadline <= self.now_ms => {
                        self.armed.remove(&timer.hash);
                    }
                    Some((deadline, slot)) if *slot == timer.slot => {
                        *slot = self.wheel.arm(timer.hash, *deadline);
                    }
                    _ => {}
                }
            }
            if !more {
                break;
            }
            fired.clear();
        }
        let late = self.armed.values().find(|(deadline, _)| deadline.saturating_add(TICK_MS) <= self.now_ms);
        assert_eq!(late, None, "at {}", self.now_ms);
        assert!(self.wheel.len() >= self.armed.len(), "each that is armed has a timer");
    }

    /// After the last deadline that is not beyond all time nothing is left but those.
    fn end(mut self) {
        let far = |deadline: u64| deadline > 1 << 50;
        self.armed.retain(|_, (deadline, _)| !far(*deadline));
        let last_ms = self.armed.values().map(|(deadline, _)| *deadline).max().unwrap_or(0).max(self.now_ms);
        // One turn after the other: a timer that is further away than the wheel reaches is armed again each time.
        for _ in 0..3 {
            if self.wheel.len() > 0 {
                self.advance((last_ms - self.now_ms.min(last_ms)) + TURN_MS, 1 << 20, 0);
            }
        }
        assert!(self.armed.is_empty());
        assert_eq!((self.wheel.len(), self.wheel.next_due_ms()), (0, None));
    }
}
