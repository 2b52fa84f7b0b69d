//! How many event loops carry connections: as few as can carry the load.
//!
//! A loop that is nearly busy takes up many requests in one wait, and a request then costs little beside its own read and write; four
//! loops that are mostly idle wake for each request, which costs half as much again in processor time. So one loop carries all the
//! connections until it is nearly busy; then another joins, and stays only if more is done with it than without. When fewer would do for
//! a while, one retires. This module decides and knows nothing of sockets; the first loop asks it and sees to what it says.

/// How often the load is looked at, in nanoseconds.
pub(super) const LOOK_NS: u64 = 100_000_000;
/// A loop that is working for more than this share of the time is nearly busy.
const BUSY_SHARE: f64 = 0.6;
/// One retires when the others would be working for less than this share of the time.
const LEISURE_SHARE: f64 = 0.5;
/// Looks in a row that must show too few loops.
const LOOKS_BEFORE_GROWING: u32 = 2;
/// Looks in a row that must show too many.
const LOOKS_BEFORE_SHRINKING: u32 = 20;
/// Looks after which a loop that has joined must have shown its worth.
const LOOKS_ON_PROBATION: u32 = 4;
/// By how much more must be done with another loop for it to stay.
const WORTH: f64 = 1.15;
/// Looks without trying again after one was not worth it; doubles each time.
const REST_LOOKS: u32 = 50;
const REST_LOOKS_MAX: u32 = 800;

/// What to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// One more loop.
    Grow,
    /// One less.
    Shrink,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Balance {
    last_ns: u64,
    last_busy_ns: Vec<u64>,
    last_commands: u64,
    looks_busy: u32,
    looks_at_leisure: u32,
    /// Commands a second before a loop joined, and looks since; while it is on probation.
    probation: Option<(f64, u32)>,
    rest: u32,
    rest_next: u32,
}

impl Balance {
    /// Whether it is time for a look.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns.wrapping_sub(self.last_ns) >= LOOK_NS
    }

    /// A look at the load: for how long each loop has worked so far, how many of them carry connections, how many commands were done so
    /// far by all.
    pub(super) fn look(
        &mut self,
        now_ns: u64,
        busy_ns: &[u64],
        active: usize,
        commands: u64,
    ) -> Option<Change> {
        let elapsed_ns = now_ns.wrapping_sub(self.last_ns).max(1) as f64;
        let first = self.last_busy_ns.len() != busy_ns.len();
        // A loop that has worked longer than time has passed was in the midst of it at the last look.
        let share = |now: &u64, before: &u64| (now.saturating_sub(*before) as f64 / elapsed_ns).min(1.0);
        let load: f64 = busy_ns.iter().zip(&self.last_busy_ns).map(|(now, before)| share(now, before)).sum();
        let rate = commands.saturating_sub(self.last_commands) as f64 * 1e9 / elapsed_ns;
        self.last_ns = now_ns;
        self.last_busy_ns.clear();
        self.last_busy_ns.extend_from_slice(busy_ns);
        self.last_commands = commands;
        self.rest = self.rest.saturating_sub(1);
        if first {
            return None;
        }
        if let Some((rate_before, looks)) = self.probation {
            if looks < LOOKS_ON_PROBATION {
                self.probation = Some((rate_before, looks + 1));
                return None;
            }
            self.probation = None;
            if rate < rate_before * WORTH && active > 1 {
                self.rest_next = (self.rest_next * 2).clamp(REST_LOOKS, REST_LOOKS_MAX);
                self.rest = self.rest_next;
                return Some(Change::Shrink);
            }
            self.rest_next = 0;
        }
        self.looks_busy = if load > BUSY_SHARE * active as f64 { self.looks_busy + 1 } else { 0 };
        let at_leisure = active > 1 && load < LEISURE_SHARE * (active - 1) as f64;
        self.looks_at_leisure = if at_leisure { self.looks_at_leisure + 1 } else { 0 };
        if self.looks_busy >= LOOKS_BEFORE_GROWING && active < busy_ns.len() && self.rest == 0 {
            self.looks_busy = 0;
            self.probation = Some((rate, 0));
            return Some(Change::Grow);
        }
        if self.looks_at_leisure >= LOOKS_BEFORE_SHRINKING {
            self.looks_at_leisure = 0;
            return Some(Change::Shrink);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs looks until something changes, at most `looks` of them; `shares` and `rate` say what each shows.
    fn run(
        balance: &mut Balance,
        state: &mut (u64, Vec<u64>, u64),
        shares: &[f64],
        active: usize,
        rate: u64,
        looks: u32,
    ) -> Option<Change> {
        for _ in 0..looks {
            state.0 += LOOK_NS;
            for (busy, share) in state.1.iter_mut().zip(shares) {
                *busy += (LOOK_NS as f64 * share) as u64;
            }
            state.2 += rate / 10;
            if let Some(change) = balance.look(state.0, &state.1, active, state.2) {
                return Some(change);
            }
        }
        None
    }

    #[test]
    fn another_loop_joins_when_one_is_busy_and_stays_if_it_is_worth_it() {
        let (mut balance, mut state) = (Balance::default(), (0, vec![0; 4], 0));
        assert_eq!(run(&mut balance, &mut state, &[0.5], 1, 50_000, 100), None);
        assert_eq!(run(&mut balance, &mut state, &[0.95], 1, 90_000, 3), Some(Change::Grow));
        assert_eq!(run(&mut balance, &mut state, &[0.55, 0.55], 2, 150_000, 100), None);
    }

    #[test]
    fn a_loop_that_is_not_worth_it_goes_and_is_not_tried_again_soon() {
        let (mut balance, mut state) = (Balance::default(), (0, vec![0; 4], 0));
        assert_eq!(run(&mut balance, &mut state, &[0.95], 1, 90_000, 3), Some(Change::Grow));
        assert_eq!(run(&mut balance, &mut state, &[0.9, 0.9], 2, 92_000, 10), Some(Change::Shrink));
        assert_eq!(run(&mut balance, &mut state, &[0.95], 1, 90_000, REST_LOOKS - 2), None);
        assert_eq!(run(&mut balance, &mut state, &[0.95], 1, 90_000, 5), Some(Change::Grow));
    }

    #[test]
    fn one_retires_when_fewer_would_do_for_a_while() {
        let (mut balance, mut state) = (Balance::default(), (0, vec![0; 4], 0));
        assert_eq!(run(&mut balance, &mut state, &[0.1, 0.1, 0.1], 3, 1_000, LOOKS_BEFORE_SHRINKING), None);
        assert_eq!(run(&mut balance, &mut state, &[0.1, 0.1, 0.1], 3, 1_000, 2), Some(Change::Shrink));
    }

    #[test]
    fn there_are_never_more_loops_than_exist_or_fewer_than_one() {
        let (mut balance, mut state) = (Balance::default(), (0, vec![0; 2], 0));
        assert_eq!(run(&mut balance, &mut state, &[1.0, 1.0], 2, 1_000, 100), None);
        let (mut balance, mut state) = (Balance::default(), (0, vec![0; 2], 0));
        assert_eq!(run(&mut balance, &mut state, &[0.0], 1, 0, 100), None);
    }
}
