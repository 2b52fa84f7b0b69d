//! Syncing on demand: for event loops that may not wait, a thread that does, woken only when it sleeps.

use std::{
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    WalError, WalStats,
    limits::REQUEST_SPINS,
    log::Log,
    sync::protocol::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

/// How often the thread that syncs looks before it sleeps: every look is a step for a model checker.
const SPINS: u32 = if cfg!(shuttle) { 1 } else { REQUEST_SPINS };

/// What was asked for, and the sleep of the thread that sees to it.
///
/// Whoever asks says what for and then looks whether the thread sleeps; the thread says that it sleeps and then looks what is asked for. One
/// sees the other.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// How far the log is to be synced.
    requested: AtomicU64,
    sleeping: AtomicBool,
    /// Whether the thread was told to return; and what guards the decision to sleep.
    released: Mutex<bool>,
    wake: Condvar,
}

impl Demand {
    pub(crate) fn requested(&self) -> u64 {
        self.requested.load(SeqCst)
    }

    pub(crate) fn request(&self, lsn: u64) {
        if self.requested.fetch_max(lsn, SeqCst) < lsn && self.sleeping.load(SeqCst) {
            // Who sleeps, or is about to, holds this lock until a call reaches it.
            drop(self.released.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Has the thread return, now or when it next wants to sleep.
    pub(crate) fn release(&self) {
        *self.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Sleeps until something is `unmet`, the thread is released, or the time is up; the caller looks which.
    pub(crate) fn sleep(&self, timeout: Duration, unmet: impl Fn() -> bool) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.store(true, SeqCst);
        if !unmet() && !*released {
            let woken = self.wake.wait_timeout(released, timeout);
            (released, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.store(false, SeqCst);
        *released = false;
    }
}

impl Log {
    pub(crate) fn sync_on_demand(&self, timeout: Duration) -> Result<bool, WalError> {
        self.check()?;
        let unmet = || self.demand.requested().min(self.appended()) > self.durable();
        // Right after a sync the clients whose replies it released are about to ask for the next: waking a sleeping thread takes
        // longer than that. (Measured: one client 1.04 to 1.2 times redis-server's rate, 64 clients 1.7 to 2.0 times.)
        if self.demand_met.swap(false, Relaxed) {
            for _ in 0..SPINS {
                if unmet() {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        if !unmet() {
            self.demand.sleep(timeout, unmet);
        }
        if !unmet() {
            return Ok(false);
        }
        // Everything appended: whoever appended it will ask next.
        let outcome = self.sync(self.appended());
        self.demand_met.store(true, Relaxed);
        outcome.map(|()| true)
    }

    pub(crate) fn stats(&self) -> WalStats {
        let counters = &self.counters;
        let (files, spare_files, file_bytes) = self.shelf.totals();
        let (appended_bytes, records) = {
            let buffer = self.buffer.0.lock();
            (buffer.record_bytes, buffer.records)
        };
        WalStats {
            appended_bytes,
            records,
            batches: counters.batches.load(Relaxed),
            writes: counters.writes.load(Relaxed),
            written_bytes: counters.written_bytes.load(Relaxed),
            syncs: counters.syncs.load(Relaxed),
            last_sync_us: counters.last_sync_us.load(Relaxed),
            last_sync_at_ns: counters.last_sync_at_ns.load(Relaxed),
            files,
            spare_files,
            file_bytes,
            appended: self.appended().into(),
            written: self.written().into(),
            durable: self.durable().into(),
            poisoned: self.is_poisoned(),
            disk_full: counters.disk_full.load(Relaxed),
        }
    }
}

/// Every execution of a few threads. `just loom`
#[cfg(all(test, loom))]
mod models {
    use loom::{sync::Arc, thread};

    use super::*;
    use crate::sync::protocol::atomic::{Ordering::*, check};

    #[derive(Default)]
    struct Shared {
        demand: Demand,
        appended: AtomicU64,
        durable: AtomicU64,
    }

    impl Shared {
        fn unmet(&self) -> bool {
            self.demand.requested().min(self.appended.load(Acquire)) > self.durable.load(Acquire)
        }

        /// As `Log::sync_on_demand`, until everything up to there is durable.
        fn sync_until(&self, upto: u64) {
            while self.durable.load(Acquire) < upto {
                if !self.unmet() {
                    self.demand.sleep(Duration::MAX, || self.unmet());
                }
                if self.unmet() {
                    self.durable.store(self.appended.load(Acquire), Release);
                }
            }
        }
    }

    /// A request that the thread does not see leaves it asleep, which loom reports as a deadlock.
    #[test]
    fn no_request_is_slept_through() {
        check(3, || {
            let shared = Arc::new(Shared::default());
            let syncer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.sync_until(2))
            };
            for lsn in 1..=2 {
                shared.appended.store(lsn, Release);
                shared.demand.request(lsn);
            }
            syncer.join().expect("does not panic");
        });
    }

    #[test]
    fn no_request_of_two_threads_is_slept_through() {
        check(3, || {
            let shared = Arc::new(Shared::default());
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        let lsn = shared.appended.fetch_add(1, AcqRel) + 1;
                        shared.demand.request(lsn);
                    })
                })
                .collect();
            shared.sync_until(2);
            for other in others {
                other.join().expect("does not panic");
            }
        });
    }

    #[test]
    fn who_is_released_does_not_sleep() {
        check(4, || {
            let demand = Arc::new(Demand::default());
            let sleeper = {
                let demand = Arc::clone(&demand);
                thread::spawn(move || demand.sleep(Duration::MAX, || false))
            };
            demand.release();
            sleeper.join().expect("does not panic");
        });
    }
}
