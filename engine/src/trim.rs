//! Giving memory that was freed back to the system.
//!
//! When a million sessions die, the index that held them is freed in pieces between others, and glibc keeps such pieces: measured, 66 MiB of
//! 400 stayed resident. Asked, it returns every whole page that is free. It takes its arenas' locks for some milliseconds, so it is asked only
//! when much has become free, and not often. Other allocators do so by themselves, or not at all.
#![allow(unsafe_code)] // See above for what it pays.

use crate::limits::{TRIM_BYTES_MIN, TRIM_PAUSE_MS};
use parking_lot::Mutex;

/// When memory is given back.
#[derive(Default)]
pub(crate) struct Trim(Mutex<State>);

#[derive(Default)]
struct State {
    /// The most that was in use since the last time.
    peak_bytes: u64,
    last_ms: u64,
}

impl Trim {
    /// Gives free memory back if much has become free since the last time. `used_bytes`: what is in use now, as the engine counts it.
    pub(crate) fn step(&self, used_bytes: u64, now_ms: u64) {
        let mut state = self.0.lock();
        state.peak_bytes = state.peak_bytes.max(used_bytes);
        let freed = state.peak_bytes - used_bytes;
        if freed < TRIM_BYTES_MIN.max(used_bytes / 8) || now_ms < state.last_ms + TRIM_PAUSE_MS {
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
