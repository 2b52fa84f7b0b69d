//! The background beat: what the log does when nobody asks, in bounded steps. Threads merely call it.

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed},
    time::Duration,
};

use crate::{
    Durability, WalError,
    limits::{DISK_FULL_RETRY_NS, IDLE_NS, STEP_PAUSE_NS_MAX, SYNC_INTERVAL_NS},
    log::Log,
};

/// What a [`Wal::step`](crate::Wal::step) did, and when it wants to be called next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Call again after this long at the latest; zero means that there is more to do right now.
    pub pause: Duration,
    /// Whether `written` or `durable` advanced.
    pub advanced: bool,
}

/// What the beat remembers from one step to the next.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    /// What was appended when the log was last seen busy, and when that was.
    seen: u64,
    since_ns: u64,
    /// Where the last idle mark ended.
    marked: u64,
    /// When the last mark was written because someone asked.
    marked_at_ns: u64,
    /// When it was last noted beside the log how far it is durable.
    noted_at_ns: u64,
}

impl Log {
    pub(crate) fn step(&self) -> Result<Step, WalError> {
        self.check()?;
        self.step_wanted.store(false, Relaxed);
        let Some(mut beat) = self.beat.try_lock() else {
            return Ok(Step { pause: Duration::from_nanos(STEP_PAUSE_NS_MAX), advanced: false });
        };
        let before = (self.written(), self.durable());
        let now_ns = self.clock.monotonic_ns();
        let outcome = self.beat(&mut beat, now_ns);
        // Not at every turn of a busy log; an idle one has told all there is after the next beat.
        let is_idle = self.appended() == beat.marked;
        if is_idle || now_ns.saturating_sub(beat.noted_at_ns) >= SYNC_INTERVAL_NS {
            beat.noted_at_ns = now_ns;
            self.note_synced();
        }
        drop(beat);
        let advanced = (self.written(), self.durable()) != before;
        if advanced {
            self.notify();
        }
        let pause_ns = match outcome {
            Ok(pause_ns) => pause_ns,
            // Said by admit to those it concerns; here it only means to try again.
            Err(WalError::DiskFull { .. }) => DISK_FULL_RETRY_NS,
            Err(error) => return Err(error),
        };
        Ok(Step { pause: Duration::from_nanos(pause_ns), advanced })
    }

    /// One step; returns the pause after it.
    fn beat(&self, beat: &mut Beat, now_ns: u64) -> Result<u64, WalError> {
        let mut pause_ns = STEP_PAUSE_NS_MAX;
        if self.mark_wanted.load(Relaxed) {
            if now_ns.saturating_sub(beat.marked_at_ns) >= SYNC_INTERVAL_NS || beat.marked_at_ns == 0 {
                self.mark_wanted.store(false, Relaxed);
                beat.marked_at_ns = now_ns;
                self.append_mark(false);
            } else {
                pause_ns = pause_ns.min(SYNC_INTERVAL_NS - (now_ns - beat.marked_at_ns));
            }
        }
        let (appended, before) = (self.appended(), self.written());
        let written = self.write(appended);
        if self.written() != before {
            // Not after the sync, for which nobody waits who has asked for this.
            self.notify();
        }
        let synced = self.sync_if_due(now_ns);
        let more = self.prepare_some(now_ns)?;
        written?;
        pause_ns = pause_ns.min(synced?);
        if appended != beat.seen {
            (beat.seen, beat.since_ns) = (appended, now_ns);
        }
        if beat.marked != appended && self.wanted.load(Acquire) <= self.durable() {
            let idle_ns = now_ns.saturating_sub(beat.since_ns);
            if idle_ns >= IDLE_NS {
                let end = self.append_mark(true).get();
                (beat.seen, beat.marked) = (end, end);
                self.write(end)?;
            } else {
                pause_ns = pause_ns.min(IDLE_NS - idle_ns);
            }
        }
        Ok(if more { 0 } else { pause_ns })
    }

    /// Syncs what has waited long enough; returns how long the rest may wait.
    fn sync_if_due(&self, now_ns: u64) -> Result<u64, WalError> {
        let since_ns = self.unsynced_since_ns.load(Relaxed);
        if since_ns == 0 || self.durability() == Durability::No {
            return Ok(STEP_PAUSE_NS_MAX);
        }
        let age_ns = now_ns.saturating_sub(since_ns);
        if age_ns < SYNC_INTERVAL_NS {
            return Ok(SYNC_INTERVAL_NS - age_ns);
        }
        self.sync(self.wanted.load(Acquire))?;
        Ok(STEP_PAUSE_NS_MAX)
    }

    /// Works on the next file for one bounded step; true when there is more to do.
    fn prepare_some(&self, now_ns: u64) -> Result<bool, WalError> {
        if self.counters.disk_full.load(Relaxed) && now_ns < self.retry_at_ns.load(Relaxed) {
            return Ok(false);
        }
        let mut files = self.files.lock();
        let refused_bytes = self.refused_bytes.load(Relaxed);
        let Some((base, size)) = self.next_file(refused_bytes, &files) else {
            self.refused_bytes.store(0, Relaxed);
            return Ok(false);
        };
        let step = match files.has_space(size) {
            Ok(true) => files.prepare_step(base, size),
            Ok(false) => Err(WalError::DiskFull { path: self.dir.clone(), needed_bytes: size }),
            Err(error) => Err(error),
        };
        drop(files);
        let ready = step.map_err(|error| self.no_file(error))?;
        if ready {
            self.next_file_ready(base, size);
            self.space_returned();
            // Whoever was refused by admit_now may ask again.
            self.notify();
        }
        Ok(!ready)
    }
}
