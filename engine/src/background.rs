//! Background work: functions that do a bounded amount and return, and the threads that merely call them.
//!
//! Expiry has a thread of its own, because the log's steps may wait for a disk and a key must be gone 100 ms after its deadline whatever the
//! disk does.

use crate::db::{Garbage, Inner};
use crate::limits::{
    EXPIRY_PAUSE_MAX, FREED_PER_STEP_MAX, TIMERS_PER_HOLD_MAX, TIMERS_PER_OBSERVED_HOLD_MAX,
};
use crate::sessions::reaper;
use crate::shard::Dead;
use crate::{Error, Options};
use crate::{evict_keys, idle_pass, observer, storage, tiering};
use sessile_wal::sync::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What a step of expiry says.
pub(crate) struct Reclaimed {
    /// How long until there is more to do.
    pub(crate) pause: Duration,
    /// Whether the log has been given something to write.
    pub(crate) logged: bool,
}

/// Takes away what is due by now, whether that goes on in the background or not, and hands all those sessions on whose deadline has come, to the
/// millisecond.
pub(crate) fn expire_due(inner: &Inner) {
    while expire(inner, inner.clock.now_ms()).pause.is_zero() {}
    let (now_ms, mut held) = (inner.clock.now_ms(), Vec::new());
    for shard in &inner.shards {
        shard.lock().hand_on(now_ms, &mut held);
    }
    inner.note_due_sessions(&mut held);
}

/// One hold of each shard's lock: takes away what is dead. Adds up the memory that is used, now and then.
pub(crate) fn expiry_step(inner: &Inner) -> Reclaimed {
    let now_ms = inner.clock.now_ms();
    let Reclaimed { pause, logged } = if inner.expiry_on.load(Ordering::Relaxed) {
        expire(inner, now_ms)
    } else {
        Reclaimed { pause: EXPIRY_PAUSE_MAX, logged: false }
    };
    inner.sample_memory(now_ms);
    Reclaimed { pause: if free_garbage(inner) { Duration::ZERO } else { pause }, logged }
}

/// Looks at the timers that have fired by `now_ms`, as many as a hold of each shard's lock may.
fn expire(inner: &Inner, now_ms: u64) -> Reclaimed {
    let (mut pause, mut logged) = (EXPIRY_PAUSE_MAX, false);
    let mut expired = 0;
    let witness = inner.witness();
    let timers_max = if witness.is_wanted() { TIMERS_PER_OBSERVED_HOLD_MAX } else { TIMERS_PER_HOLD_MAX };
    let mut dead = Dead { opened_ms: inner.clock.started_ms(), witness, ..Dead::default() };
    for shard in &inner.shards {
        let mut shard = shard.lock();
        let due = shard.next_due_ms();
        if due.is_some_and(|due| due <= now_ms) && shard.expire(now_ms, timers_max, &mut dead) {
            pause = Duration::ZERO;
        }
        if let Some(due) = shard.next_due_ms() {
            pause = pause.min(Duration::from_millis(due.saturating_sub(now_ms).max(1)));
        }
        if !dead.record.is_empty() {
            // Under the lock, as every record. The log is not asked: a full disk must not keep the dead in memory, and each of them
            // frees more than it adds to the log's buffer.
            inner.wal.append(&dead.record);
            dead.record.clear();
            logged = true;
        }
        drop(shard);
        inner.note_due_sessions(&mut dead.held);
        expired += dead.objects.len() as u64;
        inner.free(dead.objects.drain(..));
    }
    if expired > 0 {
        inner.expired_keys.fetch_add(expired, Ordering::Relaxed);
        inner.expiry_lag_ms.store(dead.lag_ms, Ordering::Relaxed);
        inner.expiry_lag_max_ms.fetch_max(dead.lag_ms, Ordering::Relaxed);
        // Time must not go back behind this: a dead key would come back.
        inner.wal.note_time();
    }
    dead.witness.end(inner);
    Reclaimed { pause, logged }
}

/// Frees some of what was too large to be freed in place; whether there is more.
pub(crate) fn free_garbage(inner: &Inner) -> bool {
    let mut garbage = inner.garbage.lock();
    let keep = garbage.len().saturating_sub(FREED_PER_STEP_MAX);
    let freed: Vec<Garbage> = garbage.drain(keep..).collect();
    let more = !garbage.is_empty();
    drop(garbage);
    drop(freed);
    more
}

/// One step of the log's background work; how long until the next.
pub(crate) fn log_step(inner: &Inner) -> Result<Duration, Error> {
    inner.wal.step().map(|step| step.pause).map_err(Error::of_log)
}

/// One step of what bounds memory; how long until the next.
pub(crate) fn tiering_step(inner: &Inner) -> Duration {
    tiering::step(inner).min(idle_pass::step(inner)).min(evict_keys::step(inner)).min(observer::step(inner))
}

/// Where the threads of a database pause.
#[derive(Default)]
pub(crate) struct Pauses {
    pub(crate) expiry: Pause,
    pub(crate) log: Pause,
    pub(crate) storage: Pause,
    pub(crate) tiering: Pause,
    pub(crate) sessions: Pause,
    sync: Pause,
}

/// Where a thread pauses, and is woken.
#[derive(Default)]
pub(crate) struct Pause {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    woken: bool,
}

impl Pause {
    /// Waits for `pause` or until woken; whether to go on.
    fn wait(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stop && !state.woken && !pause.is_zero() {
            self.changed.wait_for(&mut state, pause);
        }
        state.woken = false;
        !state.stop
    }

    /// Ends the pause, or the next one if there is none.
    pub(crate) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }

    fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }
}

/// The threads of an open database; dropping them stops them, and then makes the log durable.
pub(crate) struct Threads {
    inner: Arc<Inner>,
    running: Vec<JoinHandle<()>>,
}

/// How long the log thread waits before it tries again after a failure. A log that a failed write or sync has closed only waits to be
/// stopped; one whose next file could not be made goes on once it can.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How long the tiering thread sleeps while there is no limit: a change of the limit wakes it.
const TIERING_PAUSE_MAX: Duration = Duration::from_secs(3600);
/// How long the sync thread waits for a request before it looks whether to stop.
const SYNC_WAIT: Duration = Duration::from_millis(500);

impl Threads {
    pub(crate) fn start(inner: &Arc<Inner>, options: &Options) -> io::Result<Threads> {
        let mut threads = Threads { inner: Arc::clone(inner), running: Vec::new() };
        if options.background {
            threads.spawn("sessile-expiry", |inner| {
                loop {
                    let reclaimed = expiry_step(inner);
                    if reclaimed.logged {
                        inner.pauses.log.wake();
                    }
                    if !inner.pauses.expiry.wait(reclaimed.pause) {
                        return;
                    }
                }
            })?;
            threads.spawn("sessile-log", |inner| {
                let mut failed = false;
                loop {
                    let next = match log_step(inner) {
                        Ok(next) => {
                            failed = false;
                            next
                        }
                        Err(error) => {
                            if !std::mem::replace(&mut failed, true) {
                                tracing::error!(%error, "the log has failed");
                            }
                            FAILED_PAUSE
                        }
                    };
                    if !inner.pauses.log.wait(next) {
                        return;
                    }
                }
            })?;
        }
        if options.background {
            threads
                .spawn("sessile-storage", |inner| while inner.pauses.storage.wait(storage::step(inner)) {})?;
            threads.spawn("sessile-tiering", |inner| {
                while inner.pauses.tiering.wait(tiering_step(inner).min(TIERING_PAUSE_MAX)) {}
            })?;
            threads.spawn(
                "sessile-sessions",
                |inner| {
                    while inner.pauses.sessions.wait(reaper::step(inner)) {}
                },
            )?;
        }
        if options.background && options.sync_thread {
            threads.spawn("sessile-sync", |inner| {
                // A failure poisons the log, and the log thread reports it.
                while inner.pauses.sync.wait(match inner.wal.sync_on_demand(SYNC_WAIT) {
                    Ok(_) => Duration::ZERO,
                    Err(_) => FAILED_PAUSE,
                }) {}
            })?;
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce(&Inner) + Send + 'static) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        self.running.push(Builder::new().name(name.into()).spawn(move || run(&inner))?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.storage.close();
        let Pauses { expiry, log, storage, tiering, sessions, sync } = &self.inner.pauses;
        for pause in [expiry, log, storage, tiering, sessions, sync] {
            pause.stop();
        }
        self.inner.wal.wake();
        for thread in self.running.drain(..) {
            // A panic there was reported by its thread.
            let _ = thread.join();
        }
        if self.inner.check_open().is_ok()
            && let Err(error) = self.inner.wal.close()
        {
            tracing::error!(%error, "closing could not make the log durable");
        }
    }
}
