//! Threads that run [`Errand`]s, so that no event loop waits for a disk.
//!
//! There are few of them: they sleep in the kernel while the disk works. Errands that may take long (a walk over all keys, a checkpoint)
//! never occupy all of them, and one of those runs at any time if one waits, so that neither kind starves the other. A loop that finds the
//! queue full keeps its errand and offers it again.
//!
//! One lock guards the queue. It is held for a push or a pop, never while an errand runs.

use super::script_threads::ScriptThreads;
use super::{LoopHandle, Message};
use crate::errand::Errand;
use sessile_wal::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads. A disk has few heads, and a solid state disk that is asked for values at random gives most of what it has to four.
const THREADS: usize = 4;
/// How many of them may be on long errands at a time.
const LONG_MAX: usize = 2;
/// Errands that wait, at most.
const QUEUE_MAX: usize = 4096;

const _: () = assert!(LONG_MAX < THREADS);

/// An errand, and whom to tell when it is done.
pub struct Job {
    /// What to do.
    pub errand: Box<Errand>,
    /// The loop that its connection lives on.
    pub back_to: Arc<LoopHandle>,
    /// The connection's place there.
    pub token: usize,
    /// Its client's number.
    pub id: u64,
}

/// What waits; of jobs, but for tests of their order.
struct Queue<T> {
    short: VecDeque<T>,
    long: VecDeque<T>,
    long_running: usize,
    ending: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { short: VecDeque::new(), long: VecDeque::new(), long_running: 0, ending: false }
    }
}

impl<T> Queue<T> {
    /// The next job, and whether it is a long one.
    fn next(&mut self) -> Option<(T, bool)> {
        if self.long_running == 0
            && let Some(job) = self.long.pop_front()
        {
            return Some((job, true));
        }
        if let Some(job) = self.short.pop_front() {
            return Some((job, false));
        }
        if self.long_running < LONG_MAX {
            return self.long.pop_front().map(|job| (job, true));
        }
        None
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue<Job>>,
    /// Told of each job, and of the end.
    changed: Condvar,
}

/// See the module's page. Dropping it drops what waits, and waits for what runs.
pub struct DiskThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Those that run what may never end.
    scripts: ScriptThreads,
}

impl DiskThreads {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub fn start() -> io::Result<DiskThreads> {
        let mut all = DiskThreads {
            shared: Arc::default(),
            threads: Vec::with_capacity(THREADS),
            scripts: ScriptThreads::default(),
        };
        for _ in 0..THREADS {
            let shared = Arc::clone(&all.shared);
            let thread = std::thread::Builder::new()
                .name("sessile-disk".to_owned())
                .spawn(move || super::end_process_on_panic("a disk thread", || work(&shared)))?;
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// Has a job done.
    ///
    /// # Errors
    ///
    /// The errand, when too many wait already.
    pub fn offer(&self, job: Job) -> Result<(), Box<Errand>> {
        if job.errand.is_endless() {
            return self.scripts.offer(job);
        }
        let mut queue = self.shared.queue.lock();
        if queue.short.len() + queue.long.len() >= QUEUE_MAX {
            return Err(job.errand);
        }
        if job.errand.is_long() {
            queue.long.push_back(job);
        } else {
            queue.short.push_back(job);
        }
        drop(queue);
        // Who wakes can take it, or whoever runs a long one takes it after that.
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for DiskThreads {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.ending = true;
        queue.short.clear();
        queue.long.clear();
        drop(queue);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panics has ended the process.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared) {
    let mut queue = shared.queue.lock();
    while !queue.ending {
        let Some((Job { mut errand, back_to, token, id }, long)) = queue.next() else {
            shared.changed.wait(&mut queue);
            continue;
        };
        queue.long_running += usize::from(long);
        MutexGuard::unlocked(&mut queue, || {
            errand.run();
            back_to.send(Message::Done { token, id, errand });
        });
        queue.long_running -= usize::from(long);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_long_nor_short_errands_keep_the_others_waiting() {
        let mut queue = Queue { short: (0..10).collect(), long: (100..110).collect(), ..Queue::default() };
        assert_eq!(queue.next(), Some((100, true)), "one long one runs if any waits");
        queue.long_running = 1;
        assert_eq!(
            (queue.next(), queue.next()),
            (Some((0, false)), Some((1, false))),
            "then those that are short"
        );
        queue.short.clear();
        assert_eq!(queue.next(), Some((101, true)), "more long ones when nothing else waits");
        queue.long_running = LONG_MAX;
        assert_eq!(queue.next(), None, "but not on all threads");
        queue.short.push_back(7);
        assert_eq!(queue.next(), Some((7, false)));
        queue.long_running = 0;
        assert_eq!(queue.next(), Some((102, true)));
    }
}
