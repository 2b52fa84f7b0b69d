//! Event loops: sockets in, connections driven, sockets out. The only place that knows of sockets.
//!
//! There are as many loops as there are cores; each owns its connections and executes their commands directly on the shared engine. As
//! many of them carry connections as the load needs (`balance`). The first one also accepts, and hands each new connection to the one
//! of those that has the fewest. What crosses between loops goes through a [`LoopHandle`]: a mailbox and a way to wake the loop.

mod balance;
mod disk_threads;
mod event_loop;
mod listen;
mod script_threads;
mod stream;

pub use disk_threads::{DiskThreads, Job};
pub use event_loop::EventLoop;
pub use listen::{ListenError, Listener, listen};
pub use stream::Stream;

use crate::client::Origin;
use crate::errand::Errand;
use sessile_wal::Interest;
use sessile_wal::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What one loop tells another.
pub enum Message {
    /// A connection that is yours from now on.
    Connection(Stream, Origin),
    /// A connection with all its state that another loop has given away.
    Moved(Box<event_loop::Slot>),
    /// Give one in so many connections to that loop.
    GiveAway {
        /// How many connections there are to one that goes.
        one_in: usize,
        /// Whether connections stay that have been idle lately: they are no load.
        busy_only: bool,
        /// The number of the loop that gets them.
        to: usize,
    },
    /// What this connection waits for is done.
    Done {
        /// Its place.
        token: usize,
        /// Its number.
        id: u64,
        /// What was done.
        errand: Box<Errand>,
    },
    /// These clients, by place and number, have something in their inboxes.
    Inboxes(Vec<(usize, u64)>),
    /// End this client, if it is still there.
    Kill {
        /// Its place.
        token: usize,
        /// Its number.
        id: u64,
    },
}

/// How others reach a loop.
pub struct LoopHandle {
    waker: mio::Waker,
    mail: Mutex<Vec<Message>>,
    has_mail: AtomicBool,
    /// Whether replies on this loop, or clients, wait for the log.
    parked: Interest,
    connections: AtomicUsize,
    /// For how long it has worked, as opposed to slept, in nanoseconds.
    busy_ns: AtomicU64,
}

impl LoopHandle {
    /// Wakes the loop. Should that fail (it can't, short of a broken kernel object), the loop looks at its mail at its next turn.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "waking an event loop failed");
        }
    }

    /// Puts a message into the mailbox and wakes the loop.
    pub fn send(&self, message: Message) {
        self.mail.lock().push(message);
        self.has_mail.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the loop if replies on it wait for the log, which has moved.
    pub fn log_moved(&self) {
        if self.parked.is_on() {
            self.wake();
        }
    }
}

/// The loops, once they run.
pub type Loops = OnceLock<Vec<Arc<LoopHandle>>>;

/// Runs the work of a thread. A panic may leave locked data half changed, while the log on disk is whole: starting again is safe, going on is
/// not, so that it ends the process.
pub(crate) fn end_process_on_panic<T>(what: &str, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("{what} panicked: ending the process; what was acknowledged is in the log");
        std::process::abort()
    })
}
