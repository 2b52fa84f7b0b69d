//! Having oneself woken when the log has moved, without waiting for it.
//!
//! An event loop that holds replies back until the log has come to some point registers its interest and looks at the log once more; whoever
//! has moved the log asks whether anybody is interested. One sees the other:
//!
//! ```text
//! loop:      interest on ─ fence ─ look at the log: there yet?   no: sleep
//! log:                               move the log ─ fence ─ interest on?  yes: wake
//! ```
//!
//! Without both fences a processor may do the second half of a line before the first, and the reply is never sent.

use crate::sync::protocol::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst, fence};

/// Whether somebody wants to be woken when the log moves.
#[derive(Debug, Default)]
pub struct Interest(AtomicBool);

impl Interest {
    /// From now on [`is_on`](Self::is_on). Look at the log *after* this, since it may have moved before.
    pub fn register(&self) {
        self.0.store(true, Relaxed);
        fence(SeqCst);
    }

    /// Nobody is interested any more.
    pub fn withdraw(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether somebody is: to be asked *after* the log was moved.
    pub fn is_on(&self) -> bool {
        fence(SeqCst);
        self.0.load(Relaxed)
    }
}

/// Every execution of a few threads. `just loom`
#[cfg(all(test, loom))]
mod models {
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    use super::*;
    use crate::sync::protocol::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
        check,
    };

    /// A loop with a waker, as `mio`'s: a wake that comes while it is awake is not lost.
    #[derive(Default)]
    struct Shared {
        interest: Interest,
        acknowledged: AtomicU64,
        woken: Mutex<bool>,
        wakes: Condvar,
    }

    impl Shared {
        /// As the log's notifier.
        fn log_moved(&self) {
            if self.interest.is_on() {
                self.wake();
            }
        }

        fn wake(&self) {
            *self.woken.lock().expect("no panic") = true;
            self.wakes.notify_one();
        }

        fn sleep(&self) {
            let mut woken = self.woken.lock().expect("no panic");
            while !*woken {
                woken = self.wakes.wait(woken).expect("no panic");
            }
            *woken = false;
        }

        /// As an event loop with a reply that waits for `lsn`.
        fn reply_after(&self, lsn: u64) {
            loop {
                let acknowledged = self.acknowledged.load(Acquire);
                if acknowledged >= lsn {
                    return;
                }
                self.interest.register();
                if self.acknowledged.load(Acquire) != acknowledged {
                    self.wake();
                }
                self.sleep();
                self.interest.withdraw();
            }
        }
    }

    /// A reply that is never sent leaves its loop asleep, which loom reports as a deadlock.
    #[test]
    fn no_reply_stays_parked() {
        check(4, || {
            let shared = Arc::new(Shared::default());
            let log = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    for lsn in 1..=2 {
                        shared.acknowledged.store(lsn, Release);
                        shared.log_moved();
                    }
                })
            };
            shared.reply_after(1);
            shared.reply_after(2);
            log.join().expect("does not panic");
        });
    }
}
