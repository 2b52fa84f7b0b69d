//! A role that one thread at a time takes for everyone (writer, syncer), and the waiting of the others.
//!
//! Each taking of the role is a *turn*. Those whose records the running turn covers wait in that turn's room; those who
//! came later wait in the next turn's room, and one of them is called to take the role when it becomes free, unless its
//! holder takes another turn at once. At the end of a turn a few of those in its room are woken, and whoever leaves a room
//! served wakes a few more, so that neither the role's holder nor the disk waits until all are awake. Whoever is called to
//! a free role and has nothing to do passes the call on, so a free role never leaves a sleeper behind.
//!
//! A room has several seats, each with its own lock and condition, so that the many who are woken at once do not then
//! queue for one lock.
//!
//! Lock order: a seat's lock is taken last, with nothing else taken under it.

use std::sync::PoisonError;

use crate::sync::protocol::{
    Condvar, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    thread_number,
};

const ROOMS: usize = 4;
const SEATS: usize = if cfg!(loom) { 2 } else { 16 };
/// How many seats the end of a turn wakes, and how many whoever leaves a room.
const SEATS_WOKEN_FIRST: usize = 4;
const SEATS_WOKEN_THEN: usize = 2;
/// What a turn reaches before it is known: everything appended so far, so those who come now are covered. Only who wants
/// the role itself asks for more.
const NOT_YET_KNOWN: u64 = u64::MAX - 1;

/// In [`Role::state`]: somebody takes the turn.
const BUSY: u64 = 1;
/// One turn more.
const TURN: u64 = 2;

fn is_busy(state: u64) -> bool {
    state & BUSY != 0
}

fn turn_of(state: u64) -> u64 {
    state / TURN
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Role {
    /// Number of the current or last turn, and in the lowest bit whether somebody takes it. One word: who saw the last turn's number, and that
    /// the role is taken, but by the next turn's holder, would sleep in a room that nobody comes back to.
    state: AtomicU64,
    /// How far the current turn reaches.
    reach: AtomicU64,
    rooms: [Room; ROOMS],
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Room {
    /// How many wait in all seats together.
    waiting: AtomicUsize,
    seats: [Seat; SEATS],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Seat {
    waiting: AtomicUsize,
    /// Guards nothing but the decision to sleep.
    lock: Mutex<()>,
    wake: Condvar,
}

/// The role, held until dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    role: &'a Role,
}

impl Role {
    /// Takes the role if it is free.
    pub(crate) fn try_take(&self) -> Option<Turn<'_>> {
        let state = self.state.load(SeqCst);
        if is_busy(state) {
            return None;
        }
        let next = state + TURN + BUSY;
        self.state.compare_exchange(state, next, SeqCst, SeqCst).ok()?;
        self.reach.store(NOT_YET_KNOWN, SeqCst);
        Some(Turn { role: self })
    }

    /// Takes the role, waiting for it.
    pub(crate) fn take(&self, spins: u32) -> Turn<'_> {
        loop {
            if let Some(turn) = self.try_take() {
                return turn;
            }
            self.wait(u64::MAX, spins, || false);
        }
    }

    /// Returns once `done()` is true, or the role may be free; the caller looks which.
    pub(crate) fn wait(&self, upto: u64, spins: u32, done: impl Fn() -> bool) {
        for _ in 0..spins {
            std::hint::spin_loop();
            if done() || !self.is_busy() {
                return;
            }
        }
        loop {
            let state = self.state.load(SeqCst);
            let turn = turn_of(state);
            // Who sees a new turn with the old reach waits for one too many, but is called when the role is free.
            let room = self.room(if upto <= self.reach.load(SeqCst) { turn } else { turn + 1 });
            let seat = room.seat();
            let guard = seat.lock.lock().unwrap_or_else(PoisonError::into_inner);
            room.waiting.fetch_add(1, SeqCst);
            seat.waiting.fetch_add(1, SeqCst);
            // A turn ends by changing the state and then looks at `waiting`: one of us sees the other.
            let sleeps = is_busy(state) && self.state.load(SeqCst) == state && !done();
            if sleeps {
                drop(seat.wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
            } else {
                drop(guard);
            }
            seat.waiting.fetch_sub(1, SeqCst);
            room.waiting.fetch_sub(1, SeqCst);
            // While we were counted we may have been woken, or called, for others, even if we did not sleep: pass it on.
            let (done, busy) = (done(), self.is_busy());
            if done || !busy || !sleeps {
                room.wake(SEATS_WOKEN_THEN);
            }
            if done && !busy {
                self.call_one();
            }
            if done || !busy {
                return;
            }
        }
    }

    fn is_busy(&self) -> bool {
        is_busy(self.state.load(SeqCst))
    }

    /// Number of the current or last turn.
    fn turn(&self) -> u64 {
        turn_of(self.state.load(SeqCst))
    }

    /// Wakes everyone, to look again.
    pub(crate) fn wake_all(&self) {
        for room in &self.rooms {
            room.wake(SEATS);
        }
    }

    fn room(&self, turn: u64) -> &Room {
        &self.rooms[(turn % ROOMS as u64) as usize]
    }

    fn call_one(&self) {
        let turn = self.turn();
        if !self.room(turn + 1).call() {
            self.room(turn).call();
        }
    }
}

impl Turn<'_> {
    /// Says how far this turn reaches, so that those it covers wait for it and not for the next.
    pub(crate) fn reaches(&self, lsn: u64) {
        self.role.reach.store(lsn, SeqCst);
    }

    /// Whether anyone waits for the next turn.
    pub(crate) fn next_is_wanted(&self) -> bool {
        self.role.room(self.role.turn() + 1).waiting.load(SeqCst) > 0
    }

    /// Ends this turn, which served all it covers, and begins the next without giving up the role.
    pub(crate) fn again(&self) {
        // Nobody else changes the state meanwhile.
        let turn = turn_of(self.role.state.fetch_add(TURN, SeqCst));
        self.role.reach.store(NOT_YET_KNOWN, SeqCst);
        // Who comes to the old room at the last moment was served, and leaves by itself.
        self.role.room(turn).wake(SEATS_WOKEN_FIRST);
    }

    /// Ends a turn that did not serve all it covers: everyone has to look for themselves.
    pub(crate) fn fail(self) {
        let role = self.role;
        drop(self);
        role.wake_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turn = turn_of(self.role.state.fetch_sub(BUSY, SeqCst));
        self.role.room(turn + 1).call();
        self.role.room(turn).wake(SEATS_WOKEN_FIRST);
    }
}

impl Room {
    /// The calling thread's seat.
    fn seat(&self) -> &Seat {
        &self.seats[thread_number() % SEATS]
    }

    /// Wakes all in some of the seats.
    fn wake(&self, seats: usize) {
        if self.waiting.load(SeqCst) > 0 {
            self.taken_seats().take(seats).for_each(|seat| seat.wake.notify_all());
        }
    }

    /// Wakes one; returns whether there was anyone.
    fn call(&self) -> bool {
        if self.waiting.load(SeqCst) == 0 {
            return false;
        }
        let seat = self.taken_seats().next();
        if let Some(seat) = seat {
            seat.wake.notify_one();
        }
        seat.is_some()
    }

    fn taken_seats(&self) -> impl Iterator<Item = &Seat> {
        let taken = self.seats.iter().filter(|seat| seat.waiting.load(SeqCst) > 0);
        // Whoever counted itself holds the lock until it sleeps, so from here on a call reaches it.
        taken.inspect(|seat| drop(seat.lock.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    /// Each thread asks for numbers in turn; whoever has the role serves all asked so far. Sleeping at once, spinning a
    /// little, or never sleeping: everyone is served.
    #[test]
    fn everyone_is_served() {
        for spins in [0, 10, 1000] {
            let role = Arc::new(Role::default());
            let asked = Arc::new(AtomicU64::new(0));
            let served = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (role, asked, served) = (role.clone(), asked.clone(), served.clone());
                    thread::spawn(move || {
                        for _ in 0..3000 {
                            let mine = asked.fetch_add(1, SeqCst) + 1;
                            while served.load(SeqCst) < mine {
                                match role.try_take() {
                                    Some(turn) => {
                                        let upto = asked.load(SeqCst);
                                        turn.reaches(upto);
                                        thread::yield_now();
                                        served.fetch_max(upto, SeqCst);
                                    }
                                    None => role.wait(mine, spins, || served.load(SeqCst) >= mine),
                                }
                            }
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("does not panic");
            }
            assert_eq!(served.load(SeqCst), 8 * 3000);
        }
    }

    #[test]
    fn the_role_is_held_by_one() {
        let role = Role::default();
        let turn = role.try_take().expect("is free");
        assert!(role.try_take().is_none());
        drop(turn);
        assert!(role.try_take().is_some());
    }
}

/// Every execution of a few threads. `RUSTFLAGS="--cfg loom" cargo test -p sessile-wal --lib models`
#[cfg(all(test, loom))]
mod models {
    use loom::{sync::Arc, thread};

    use super::*;
    use crate::sync::protocol::atomic::{AtomicBool, check};

    /// What a log is to the threads that append to it and wait: whoever has the role serves all that was asked for.
    #[derive(Default)]
    struct Shared {
        role: Role,
        asked: AtomicU64,
        served: AtomicU64,
    }

    impl Shared {
        fn is_served(&self, mine: u64) -> bool {
            self.served.load(SeqCst) >= mine
        }

        fn serve(&self, turn: &Turn<'_>) {
            let upto = self.asked.load(SeqCst);
            turn.reaches(upto);
            self.served.fetch_max(upto, SeqCst);
        }

        /// As `Log::write`.
        fn ask_and_wait(&self) {
            let mine = self.asked.fetch_add(1, SeqCst) + 1;
            while !self.is_served(mine) {
                match self.role.try_take() {
                    Some(turn) => self.serve(&turn),
                    None => self.role.wait(mine, 0, || self.is_served(mine)),
                }
            }
        }

        /// As `Log::sync`, whose holder goes on while others wait.
        fn ask_and_wait_longer(&self) {
            let mine = self.asked.fetch_add(1, SeqCst) + 1;
            while !self.is_served(mine) {
                match self.role.try_take() {
                    Some(turn) => {
                        self.serve(&turn);
                        if turn.next_is_wanted() {
                            turn.again();
                            self.serve(&turn);
                        }
                    }
                    None => self.role.wait(mine, 0, || self.is_served(mine)),
                }
            }
        }
    }

    /// Who is never woken stands still, which loom reports as a deadlock.
    fn everyone(threads: usize, times: usize, ask: fn(&Shared)) {
        let shared = Arc::new(Shared::default());
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || (0..times).for_each(|_| ask(&shared)))
            })
            .collect();
        (0..times).for_each(|_| ask(&shared));
        for other in others {
            other.join().expect("does not panic");
        }
        assert_eq!(shared.served.load(SeqCst), (threads * times) as u64);
    }

    #[test]
    fn two_are_served() {
        check(4, || everyone(2, 1, Shared::ask_and_wait));
    }

    #[test]
    fn two_are_served_again_and_again() {
        check(3, || everyone(2, 3, Shared::ask_and_wait));
    }

    #[test]
    fn three_are_served() {
        check(3, || everyone(3, 1, Shared::ask_and_wait));
    }

    #[test]
    fn three_are_served_by_one_that_goes_on() {
        check(3, || everyone(3, 1, Shared::ask_and_wait_longer));
    }

    #[test]
    fn three_are_served_twice() {
        check(2, || everyone(3, 2, Shared::ask_and_wait_longer));
    }

    /// The syncer takes the writer's role, whose turns it waits for with no position of its own.
    #[test]
    fn a_role_is_taken_by_all_who_want_nothing_but_it() {
        check(3, || {
            let shared = Arc::new(Shared::default());
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || drop(shared.role.take(0)))
            };
            drop(shared.role.take(0));
            other.join().expect("does not panic");
        });
    }

    /// A turn that fails wakes everyone, so that each finds out for itself.
    #[test]
    fn a_failed_turn_leaves_nobody_asleep() {
        check(2, || {
            let shared = Arc::new(Shared::default());
            let failed = Arc::new(AtomicBool::default());
            let ask = |shared: &Shared, failed: &AtomicBool| {
                let mine = shared.asked.fetch_add(1, SeqCst) + 1;
                loop {
                    if failed.load(SeqCst) {
                        return;
                    }
                    match shared.role.try_take() {
                        Some(turn) => {
                            turn.reaches(shared.asked.load(SeqCst));
                            failed.store(true, SeqCst);
                            shared.role.wake_all();
                            turn.fail();
                            return;
                        }
                        None => {
                            shared.role.wait(mine, 0, || shared.is_served(mine) || failed.load(SeqCst));
                        }
                    }
                }
            };
            let other = {
                let (shared, failed) = (Arc::clone(&shared), Arc::clone(&failed));
                thread::spawn(move || ask(&shared, &failed))
            };
            ask(&shared, &failed);
            other.join().expect("does not panic");
        });
    }
}

/// Random schedules of more threads than can be tried exhaustively. `just shuttle`
#[cfg(all(test, shuttle))]
mod schedules {
    use std::sync::Arc;

    use shuttle::thread;

    use super::*;
    use crate::sync::explore;

    #[derive(Default)]
    struct Shared {
        role: Role,
        asked: AtomicU64,
        served: AtomicU64,
    }

    impl Shared {
        fn serve(&self, turn: &Turn<'_>) {
            let upto = self.asked.load(SeqCst);
            turn.reaches(upto);
            self.served.fetch_max(upto, SeqCst);
        }

        fn ask_and_wait(&self, turns: u32) {
            let mine = self.asked.fetch_add(1, SeqCst) + 1;
            while self.served.load(SeqCst) < mine {
                match self.role.try_take() {
                    Some(turn) => {
                        self.serve(&turn);
                        for _ in 1..turns {
                            if !turn.next_is_wanted() {
                                break;
                            }
                            turn.again();
                            self.serve(&turn);
                        }
                    }
                    None => self.role.wait(mine, 1, || self.served.load(SeqCst) >= mine),
                }
            }
        }
    }

    /// Who is never woken stands still, which shuttle reports as a deadlock.
    #[test]
    fn everyone_is_served() {
        for turns in [1, 3] {
            explore("everyone_is_served", 5_000, move || {
                let shared = Arc::new(Shared::default());
                let threads: Vec<_> = (0..5)
                    .map(|_| {
                        let shared = shared.clone();
                        thread::spawn(move || (0..4).for_each(|_| shared.ask_and_wait(turns)))
                    })
                    .collect();
                threads.into_iter().for_each(|thread| thread.join().expect("does not panic"));
                assert_eq!(shared.served.load(SeqCst), 20);
            });
        }
    }
}
