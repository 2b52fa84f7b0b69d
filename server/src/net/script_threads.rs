//! Threads that run errands which may never end: scripts that take long.
//!
//! Each has a thread to itself, up to a number; more wait. A thread that has nothing to do stays for a while, as it keeps a script engine that
//! takes time to build, and then ends.
//!
//! One lock guards the queue. It is held for a push or a pop, never while an errand runs.

use super::Message;
use super::disk_threads::Job;
use crate::errand::Errand;
use sessile_wal::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Threads at most.
const THREADS_MAX: usize = 16;
/// Errands that wait, at most.
const QUEUE_MAX: usize = 1024;
/// What a thread's stack may grow to.
const STACK_BYTES: usize = 8 << 20;
/// How long a thread without anything to do stays.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    ending: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told of each job, and of the end.
    changed: Condvar,
    /// Told when a thread has ended.
    ended: Condvar,
}

/// See the module's page. Dropping it drops what waits, and waits for what runs: whoever drops it sees to it that it ends.
#[derive(Default)]
pub(super) struct ScriptThreads {
    shared: Arc<Shared>,
}

impl ScriptThreads {
    /// Has a job done.
    ///
    /// # Errors
    ///
    /// The errand, when too many wait already or there is no thread for it.
    pub(super) fn offer(&self, job: Job) -> Result<(), Box<Errand>> {
        let mut queue = self.shared.queue.lock();
        if queue.ending || queue.jobs.len() >= QUEUE_MAX {
            return Err(job.errand);
        }
        if queue.idle <= queue.jobs.len() && queue.threads < THREADS_MAX {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new()
                .name("sessile-script".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || super::end_process_on_panic("a script thread", || work(&shared)));
            match started {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    tracing::error!("no thread for a script: {error}");
                    return Err(job.errand);
                }
                // One of those that run will come to it.
                Err(_) => {}
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for ScriptThreads {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.ending = true;
        queue.jobs.clear();
        self.shared.changed.notify_all();
        while queue.threads > 0 {
            self.shared.ended.wait(&mut queue);
        }
    }
}

fn work(shared: &Shared) {
    let mut queue = shared.queue.lock();
    while !queue.ending {
        let Some(Job { mut errand, back_to, token, id }) = queue.jobs.pop_front() else {
            queue.idle += 1;
            let late = shared.changed.wait_for(&mut queue, PATIENCE).timed_out();
            queue.idle -= 1;
            if late && queue.jobs.is_empty() {
                break;
            }
            continue;
        };
        MutexGuard::unlocked(&mut queue, || {
            errand.run();
            back_to.send(Message::Done { token, id, errand });
        });
    }
    queue.threads -= 1;
    shared.ended.notify_all();
}
