//! Threads that wait for events.
//!
//! What it must never do: let one sleep through an event. A listener notes how often it was told before it looks for events, and sleeps only as long
//! as that is still so; the teller counts first and asks then whether anybody sleeps, the sleeper says first that it sleeps and looks then.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// See the module's page. The lock guards nothing but the moment between a last look and the sleep; it is a leaf.
#[derive(Default)]
pub(crate) struct Listeners {
    told: AtomicU64,
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Listeners {
    /// How often they were told so far: to be asked before a look for events, and given to [`wait`](Self::wait) after a vain one.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// There may be new events, or the database was closed, or a listener is to end.
    pub(crate) fn tell(&self) {
        self.told.fetch_add(1, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock());
            self.wake.notify_all();
        }
    }

    /// Sleeps until they are told once more than `seen`, or for so long; whether they were told.
    #[cfg_attr(not(feature = "typed"), expect(dead_code, reason = "the typed API listens"))]
    pub(crate) fn wait(&self, seen: u64, at_most: Option<Duration>) -> bool {
        let mut guard = self.lock.lock();
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let mut timed_out = false;
        while self.told() == seen && !timed_out {
            match at_most {
                None => self.wake.wait(&mut guard),
                // A wake-up without a reason ends the wait early or prolongs it by as much again; both are harmless.
                Some(at_most) => timed_out = self.wake.wait_for(&mut guard, at_most).timed_out(),
            }
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        self.told() != seen
    }
}
