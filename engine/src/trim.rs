//! Giving memory that was freed back to the system.
//!
//! When a million sessions die, the index that held them is freed in pieces between others, and glibc keeps such pieces: measured, 66 MiB of
//! 400 stayed resident. Asked, it returns every whole page that is free. It takes its arenas' locks for some milliseconds, so it is asked only
//! when much has become free, and not often. Other allocators do so by themselves, or not at all.
#![allow(unsafe_code)] // See above for what it pays.

use crate::limits::{TRIM_BYTES_MIN, TRIM_PAUSE_LONG_MS, TRIM_PAUSE_MS};
use sessile_wal::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// When memory is given back.
#[derive(Default)]
pub(crate) struct Trim {
    state: Mutex<State>,
    /// What the process holds, as its owner has said last; 0 if it has not.
    resident_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The most that was in use since the last time.
    peak_bytes: u64,
    last_ms: u64,
}

impl Trim {
    /// Notes what the process holds.
    pub(crate) fn note_resident(&self, resident_bytes: u64) {
        self.resident_bytes.store(resident_bytes, Ordering::Relaxed);
    }

    /// Gives free memory back if much has become free since the last time. `used_bytes`: what is in use now, as the engine counts it.
    pub(crate) fn step(&self, used_bytes: u64, now_ms: u64) {
        let mut state = self.state.lock();
        state.peak_bytes = state.peak_bytes.max(used_bytes);
        let freed = state.peak_bytes - used_bytes;
        let much = TRIM_BYTES_MIN.max(used_bytes / 8);
        // Growth and checkpoints leave pieces behind, too, whatever is in use.
        let held_back = self.resident_bytes.load(Ordering::Relaxed).saturating_sub(used_bytes);
        let pause_ms = if freed >= much {
            TRIM_PAUSE_MS
        } else if held_back >= much {
            TRIM_PAUSE_LONG_MS
        } else {
            return;
        };
        if now_ms < state.last_ms + pause_ms {
            return;
        }
        (state.peak_bytes, state.last_ms) = (used_bytes, now_ms);
        drop(state);
        give_back();
    }
}

fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: it takes a number, touches nothing but free memory, and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
