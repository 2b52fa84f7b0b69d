//! Locks, conditions, atomics: the seam through which a model checker decides who runs next.
//!
//! | built with | locks ([`Mutex`], [`RwLock`], [`Condvar`]) | [`protocol`] |
//! | --- | --- | --- |
//! | nothing special | `parking_lot`'s, as they are | the standard library's, as they are |
//! | `--cfg shuttle` | shuttle's: random schedules of the whole engine | shuttle's |
//! | `--cfg loom` | `parking_lot`'s | loom's: every schedule, and every value that a load may see |
//!
//! [`protocol`] is for what is made by hand of atomics and conditions, such as the log's [roles](crate): it is small enough to be tried
//! exhaustively. Everything else takes its locks from here, so that shuttle may take turns wherever one is taken. (The slabs' allocator
//! doesn't: it is part of what a scheduler runs on. Miri and ThreadSanitizer look at it.)
//!
//! What a release is built of is the first row: re-exports, which cost nothing. What this must never do: choose by a cargo feature, which
//! whoever builds everything with all features would switch on.

#[cfg(shuttle)]
mod explore;
#[cfg(loom)]
mod loom_atomic;
#[cfg(shuttle)]
mod shuttle_locks;

#[cfg(shuttle)]
pub use explore::explore;
#[cfg(shuttle)]
pub use shuttle::{rand, thread};

#[cfg(not(shuttle))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(shuttle)]
pub use shuttle_locks::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Atomics that are looked at between locks.
pub mod atomic {
    #[cfg(shuttle)]
    pub use shuttle::sync::atomic::*;
    #[cfg(not(shuttle))]
    pub use std::sync::atomic::*;
}

/// What protocols made by hand consist of. The mutex is one that is poisoned by a panic.
pub mod protocol {
    /// Loom's atomics.
    #[cfg(loom)]
    pub mod atomic {
        pub use super::super::loom_atomic::*;
    }
    #[cfg(loom)]
    pub use loom::sync::{Condvar, Mutex};
    #[cfg(shuttle)]
    pub use shuttle::sync::{Condvar, Mutex, atomic};
    #[cfg(not(any(loom, shuttle)))]
    pub use std::sync::{Condvar, Mutex, atomic};

    /// A number for the calling thread; threads that begin one after the other have different ones.
    #[cfg(not(any(loom, shuttle)))]
    #[inline]
    pub fn thread_number() -> usize {
        use atomic::{AtomicUsize, Ordering::Relaxed};
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Relaxed);
        }
        THREAD.with(|number| *number)
    }

    /// A number for the calling thread.
    #[cfg(loom)]
    pub fn thread_number() -> usize {
        let id = format!("{:?}", loom::thread::current().id());
        id.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
    }

    /// A number for the calling thread.
    #[cfg(shuttle)]
    pub fn thread_number() -> usize {
        shuttle::current::me().into()
    }
}
