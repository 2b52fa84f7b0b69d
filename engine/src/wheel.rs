//! The timing wheel: finds what is due without looking at anything that is not.
//!
//! One per shard, under the shard's lock. A timer is the hash of its key, 8 bytes; the index entry says in which slot its timer is
//! ([`Handle::timer`](crate::object::Handle::timer)), so a timer that fires from any other slot is stale and dropped. An extended
//! deadline moves nothing: the timer fires early, finds the later deadline and is armed again. A shortened one adds a timer to an
//! earlier slot and leaves the old one to go stale.
//!
//! ```text
//! level 0   128 slots of 16 ms      │ a slot of level n is opened one of its own widths before its time, and its
//! level 1   128 slots of 1.02 s     │ timers move to level n-1, which reaches two widths ahead: there is a whole
//! level 2   128 slots of 65.5 s     │ width's time to move a million of them, in bounded batches, before the
//! level 3   128 slots of 69.9 min   │ first one is due
//! level 4   128 slots of 74.6 h     │ beyond (400 days): the last slot of level 4, and again
//! ```
//!
//! What it must never do: fire late because of timers that are not due yet (level 0 goes first), or do unbounded work in one call.
//! (Hierarchical wheels: Varghese and Lauck, SOSP 1987; lazy re-arming instead of moving: measured against redis#14108.)

use std::iter;

/// Milliseconds of a tick, as a shift.
const TICK_SHIFT: u32 = 4;
const SLOTS: u64 = 128;
const LEVELS: usize = 5;
/// log2 of how many slots of a level one slot of the next level is wide.
const WIDTH_SHIFT: u32 = 6;
/// Timers in one link of a slot's chain.
const CHUNK_TIMERS: usize = 30;

const _: () = assert!(LEVELS as u64 * SLOTS < 1 << 10, "slot numbers from 1 on fit the entry's ten bits");

/// Where a timer is: 1 + level × 128 + slot; 0 means none.
pub(crate) type SlotNumber = u16;

/// A link of a chain of timers.
struct Chunk {
    next: Option<Box<Chunk>>,
    len: u16,
    timers: [u64; CHUNK_TIMERS],
}

const _: () = assert!(size_of::<Chunk>() == 256);

#[derive(Default)]
struct Chain(Option<Box<Chunk>>);

struct Level {
    slots: [Chain; SLOTS as usize],
    occupied: u128,
    /// The next slot to open, counted from the epoch in widths of this level.
    next: u64,
    /// What is left of the slots that were opened: pairs of slot number and chain, at most one.
    open: Option<(SlotNumber, Chain)>,
}

/// See the module's page.
pub(crate) struct Wheel {
    levels: Box<[Level; LEVELS]>,
    len: usize,
    /// Where a sweep for stale timers has got to.
    sweep_at: usize,
    /// What is left of the slot that is being swept.
    sweeping: Option<(SlotNumber, Chain)>,
}

impl Chain {
    fn push(&mut self, timer: u64) {
        match &mut self.0 {
            Some(chunk) if usize::from(chunk.len) < CHUNK_TIMERS => {
                chunk.timers[usize::from(chunk.len)] = timer;
                chunk.len += 1;
            }
            head => {
                let mut timers = [0; CHUNK_TIMERS];
                timers[0] = timer;
                *head = Some(Box::new(Chunk { next: head.take(), len: 1, timers }));
            }
        }
    }

    fn pop_chunk(&mut self) -> Option<Box<Chunk>> {
        let mut chunk = self.0.take()?;
        self.0 = chunk.next.take();
        Some(chunk)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // One after the other: dropping a chain of a million timers recursively would overflow the stack.
        while self.pop_chunk().is_some() {}
    }
}

impl Chunk {
    fn timers(&self) -> &[u64] {
        &self.timers[..usize::from(self.len)]
    }
}

/// A timer that fired, and where from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) slot: SlotNumber,
    pub(crate) hash: u64,
}

fn tick_of(now_ms: u64) -> u64 {
    now_ms >> TICK_SHIFT
}

fn shift_of(level: usize) -> u32 {
    WIDTH_SHIFT * level as u32
}

impl Wheel {
    /// An empty wheel at `now_ms` since the epoch.
    pub(crate) fn new(now_ms: u64) -> Wheel {
        let now = tick_of(now_ms);
        let level = |level: usize| Level {
            slots: std::array::from_fn(|_| Chain::default()),
            occupied: 0,
            // Level 0 opens a slot when its tick has come; the others open theirs one width ahead.
            next: if level == 0 { now + 1 } else { (now >> shift_of(level)) + 2 },
            open: None,
        };
        Wheel { levels: Box::new(std::array::from_fn(level)), len: 0, sweep_at: 0, sweeping: None }
    }

    /// How many timers there are, stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slot for a deadline: the finest level that reaches it, else the furthest slot that exists. Never later than the
    /// deadline's own tick, rounded up.
    fn slot_for(&self, deadline_ms: u64) -> (usize, u64) {
        // Rounded up, so that a timer of level 0 never fires before its deadline.
        let tick = deadline_ms.saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT;
        for level in 0..LEVELS {
            let at = tick >> shift_of(level);
            let next = self.levels[level].next;
            if at < next + SLOTS {
                if at >= next {
                    return (level, at);
                }
                // This level has opened the deadline's slot already: it belongs to the level below, as far out as that
                // reaches (firing early is harmless), or is due now.
                return match level.checked_sub(1) {
                    Some(below) => (below, self.levels[below].next + SLOTS - 1),
                    None => (0, next),
                };
            }
        }
        (LEVELS - 1, self.levels[LEVELS - 1].next + SLOTS - 1)
    }

    fn number(level: usize, at: u64) -> SlotNumber {
        (1 + level as u64 * SLOTS + at % SLOTS) as SlotNumber
    }

    /// Whether a timer in slot `armed` (not 0) fires no later than one armed anew for `deadline_ms` would.
    pub(crate) fn covers(&self, armed: SlotNumber, deadline_ms: u64) -> bool {
        let (level, at) = self.slot_for(deadline_ms);
        let armed = u64::from(armed - 1);
        let (armed_level, armed_slot) = ((armed / SLOTS) as usize, armed % SLOTS);
        // The armed slot's time: the only one of its residue that has not been opened; one that is open fires at once.
        let next = self.levels[armed_level].next;
        let armed_at = next + (armed_slot.wrapping_sub(next) % SLOTS);
        let opens = |level: usize, at: u64| {
            let start = at << shift_of(level);
            if level == 0 { start } else { start.saturating_sub(1 << shift_of(level)) }
        };
        opens(armed_level, armed_at) <= opens(level, at)
    }

    /// Adds a timer. The slot, for the entry to remember.
    pub(crate) fn arm(&mut self, hash: u64, deadline_ms: u64) -> SlotNumber {
        let (level, at) = self.slot_for(deadline_ms);
        let slot = at % SLOTS;
        self.levels[level].slots[slot as usize].push(hash);
        self.levels[level].occupied |= 1 << slot;
        self.len += 1;
        Self::number(level, at)
    }

    /// Takes up to about `limit` timers that have fired by `now_ms` into `fired`, those that are due first. Whether there are more.
    pub(crate) fn advance(&mut self, now_ms: u64, limit: usize, fired: &mut Vec<Fired>) -> bool {
        let now = tick_of(now_ms);
        for level in 0..LEVELS {
            while fired.len() < limit {
                if !self.take_open(level, fired) && !self.open_next(level, now) {
                    break;
                }
            }
        }
        fired.len() >= limit
    }

    /// Calls `each` with the timers that are to fire next, in a wheel that has nothing to fire at `now_ms`: among them are those for deadlines that
    /// have come since the tick began, or had come when they were armed.
    pub(crate) fn for_each_next(&self, now_ms: u64, each: &mut dyn FnMut(u64)) {
        // All of them are in one slot: the level may not have been advanced for long, and every slot before that one is empty then.
        let level = &self.levels[0];
        let slot = level.next.max(tick_of(now_ms) + 1) % SLOTS;
        let next = &level.slots[slot as usize];
        // Some may be on their way elsewhere.
        let swept = self.sweeping.as_ref().filter(|(number, _)| *number == Self::number(0, slot));
        for chain in iter::once(next).chain(swept.map(|(_, chain)| chain)) {
            let mut chunk = chain.0.as_deref();
            while let Some(this) = chunk {
                this.timers().iter().for_each(|&hash| each(hash));
                chunk = this.next.as_deref();
            }
        }
    }

    /// Moves one chunk of the level's open slot to `fired`; whether there was one.
    fn take_open(&mut self, level: usize, fired: &mut Vec<Fired>) -> bool {
        let Some((slot, chain)) = &mut self.levels[level].open else { return false };
        let Some(chunk) = chain.pop_chunk() else {
            self.levels[level].open = None;
            return false;
        };
        self.len -= chunk.timers().len();
        fired.extend(chunk.timers().iter().map(|&hash| Fired { slot: *slot, hash }));
        true
    }

    /// Opens the level's next slot that holds anything, if its time has come; whether it did.
    fn open_next(&mut self, level: usize, now: u64) -> bool {
        let this = &mut self.levels[level];
        let now_at = now >> shift_of(level);
        // The first slot that may not be opened yet.
        let end = if level == 0 { now_at + 1 } else { now_at + 2 };
        while this.next < end {
            if this.occupied == 0 {
                this.next = end;
                return false;
            }
            let slot = this.next % SLOTS;
            // Skip the empty slots at once.
            let empty = u64::from(this.occupied.rotate_right(slot as u32).trailing_zeros());
            if empty > 0 {
                this.next = end.min(this.next + empty);
                continue;
            }
            if let Some(swept) = self.sweeping.take_if(|swept| swept.0 == Self::number(level, slot)) {
                // The rest of a slot that is being swept is due with the slot, and goes first.
                this.open = Some(swept);
                return true;
            }
            let chain = std::mem::take(&mut this.slots[slot as usize]);
            this.occupied &= !(1 << slot);
            this.open = Some((Self::number(level, this.next), chain));
            this.next += 1;
            return true;
        }
        false
    }

    /// When `advance` next has something to do, in ms since the epoch; `None` while the wheel is empty. May be early.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let due = self.levels.iter().enumerate().filter_map(|(level, this)| {
            if this.open.is_some() {
                return Some(0);
            }
            if this.occupied == 0 {
                return None;
            }
            let slot = (this.next % SLOTS) as u32;
            let at = this.next + u64::from(this.occupied.rotate_right(slot).trailing_zeros());
            let ahead = u64::from(level > 0);
            Some((at - ahead) << shift_of(level) << TICK_SHIFT)
        });
        due.min()
    }

    /// A step of a sweep for stale timers: fires about `limit` timers early, wherever they are; whoever handles them drops the
    /// stale ones and arms the others again. Keys that are deleted and made again all day would otherwise leave a timer each
    /// until its time. Timers for one hash within one link are taken as one.
    pub(crate) fn sweep(&mut self, limit: usize, fired: &mut Vec<Fired>) {
        let mut slots_left = LEVELS * SLOTS as usize;
        while fired.len() < limit && slots_left > 0 {
            let Some((slot, chain)) = &mut self.sweeping else {
                let (level, slot) = (self.sweep_at / SLOTS as usize, self.sweep_at % SLOTS as usize);
                self.sweep_at = (self.sweep_at + 1) % (LEVELS * SLOTS as usize);
                slots_left -= 1;
                let this = &mut self.levels[level];
                if this.occupied & 1 << slot != 0 {
                    // The slot stays marked, so that it is opened in time whatever the sweep still holds of it.
                    let chain = std::mem::take(&mut this.slots[slot]);
                    self.sweeping = Some((Self::number(level, slot as u64), chain));
                }
                continue;
            };
            let Some(mut chunk) = chain.pop_chunk() else {
                let (level, slot) =
                    (usize::from(*slot - 1) / SLOTS as usize, usize::from(*slot - 1) % SLOTS as usize);
                let this = &mut self.levels[level];
                if this.slots[slot].0.is_none() {
                    this.occupied &= !(1 << slot);
                }
                self.sweeping = None;
                continue;
            };
            let timers = &mut chunk.timers[..usize::from(chunk.len)];
            self.len -= timers.len();
            timers.sort_unstable();
            fired.extend(timers.chunk_by(|a, b| a == b).map(|same| Fired { slot: *slot, hash: same[0] }));
        }
    }

    /// Bytes of memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<[Level; LEVELS]>() + self.len.div_ceil(CHUNK_TIMERS) * size_of::<Chunk>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Fires everything that is due, arming again what fired early, as a shard does.
    fn run(
        wheel: &mut Wheel,
        deadlines: &mut HashMap<u64, (u64, SlotNumber)>,
        now_ms: u64,
        sweep: usize,
    ) -> Vec<u64> {
        let mut dead = Vec::new();
        loop {
            let mut fired = Vec::new();
            wheel.sweep(sweep, &mut fired);
            let more = wheel.advance(now_ms, 100, &mut fired);
            for timer in fired {
                match deadlines.get_mut(&timer.hash) {
                    Some(&mut (deadline, slot)) if slot == timer.slot && deadline <= now_ms => {
                        deadlines.remove(&timer.hash);
                        dead.push(timer.hash);
                    }
                    Some((deadline, slot)) if *slot == timer.slot => *slot = wheel.arm(timer.hash, *deadline),
                    _ => {}
                }
            }
            if !more {
                return dead;
            }
        }
    }

    proptest! {
        /// Against a sorted map: nothing fires before its deadline, nothing later than a tick after it.
        #[test]
        fn fires_each_timer_within_a_tick_of_its_deadline(
            start in 0u64..1 << 41,
            steps in prop::collection::vec((0u64..200, 0u8..6, 0u64..1 << 37, 0u32..37, 0usize..40), 1..300),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut deadlines: HashMap<u64, (u64, SlotNumber)> = HashMap::new();
            for (hash, action, far, shift, sweep) in steps {
                let far = far >> shift;
                match action {
                    0..=2 => {
                        // Set, extend or shorten.
                        let deadline = now + far + 1;
                        match deadlines.get_mut(&hash) {
                            Some((old, slot)) if deadline >= *old || wheel.covers(*slot, deadline) => *old = deadline,
                            _ => drop(deadlines.insert(hash, (deadline, wheel.arm(hash, deadline)))),
                        }
                    }
                    3 => drop(deadlines.remove(&hash)),
                    _ => {
                        now += far;
                        let overdue: Vec<u64> =
                            deadlines.iter().filter(|(_, d)| d.0 + (1 << TICK_SHIFT) <= now).map(|(&h, _)| h).collect();
                        let dead = run(&mut wheel, &mut deadlines, now, sweep);
                        for hash in overdue {
                            prop_assert!(dead.contains(&hash), "{} is late at {}", hash, now);
                        }
                        let mut next = Vec::new();
                        wheel.for_each_next(now, &mut |hash| next.push(hash));
                        for (hash, _) in deadlines.iter().filter(|(_, d)| d.0 <= now) {
                            prop_assert!(next.contains(hash), "{} is not among the next at {}", hash, now);
                        }
                    }
                }
                if let Some(first) = deadlines.values().map(|d| d.0).min() {
                    let due = wheel.next_due_ms().expect("not empty");
                    prop_assert!(due <= first.max(now) + (1 << TICK_SHIFT));
                }
            }
        }
    }

    /// The ticks since the last one that was advanced to were looked at one by one: after a quiet day, for a good while, under a shard's lock.
    #[test]
    fn the_next_timers_are_found_at_once_however_long_nothing_was_due() {
        let mut wheel = Wheel::new(0);
        wheel.arm(1, 1 << 50);
        let now = 1 << 45;
        let mut deadlines = HashMap::from([(2, (now + 1, wheel.arm(2, now + 1)))]);
        run(&mut wheel, &mut deadlines, now, 0);
        let mut next = Vec::new();
        wheel.for_each_next(now + 1, &mut |hash| next.push(hash));
        assert_eq!(next, [2]);
        let quiet = Wheel::new(0);
        quiet.for_each_next(1 << 60, &mut |_| panic!("there is none"));
    }

    #[test]
    fn a_slot_that_is_being_swept_is_not_late() {
        let mut wheel = Wheel::new(0);
        let mut deadlines: HashMap<_, _> =
            (0..10_000).map(|hash| (hash, (50_000, wheel.arm(hash, 50_000)))).collect();
        assert_eq!(run(&mut wheel, &mut deadlines, 100, 64), []);
        assert_eq!(run(&mut wheel, &mut deadlines, 50_016, 0).len(), 10_000);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn sweeping_bounds_what_deleted_keys_leave_behind() {
        let mut wheel = Wheel::new(0);
        let mut slot = 0;
        for _ in 0..30_000 {
            slot = wheel.arm(7, 1 << 32);
        }
        let mut deadlines = HashMap::from([(7, (1 << 32, slot))]);
        for now in 0..300 {
            run(&mut wheel, &mut deadlines, now * 16, 300);
        }
        assert!(wheel.len() < 50, "{} timers for one key", wheel.len());
        assert_eq!(run(&mut wheel, &mut deadlines, (1 << 32) + 16, 0), [7]);
    }

    #[test]
    fn a_million_timers_in_one_second_come_in_batches_and_in_time() {
        let mut wheel = Wheel::new(1_000);
        let mut deadlines: HashMap<_, _> =
            (0..1_000_000).map(|h| (h, (1_800_000 + h % 1000, wheel.arm(h, 1_800_000 + h % 1000)))).collect();
        for now in (1_000..1_799_990).step_by(500) {
            assert_eq!(run(&mut wheel, &mut deadlines, now, 0), []);
        }
        let mut dead = 0;
        for now in (1_800_000..1_801_016).step_by(8) {
            dead += run(&mut wheel, &mut deadlines, now, 0).len();
            assert!(deadlines.values().all(|d| d.0 + 16 > now) || now % 128 != 0);
        }
        assert_eq!((dead, wheel.len()), (1_000_000, 0));
    }
}
