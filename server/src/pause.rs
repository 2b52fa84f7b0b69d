//! `CLIENT PAUSE`: for a while, clients' commands wait, all of them or those that write.
//!
//! Commands look at it one load each. A command that finds itself stopped is not executed; its connection goes on when the pause is over,
//! which its loop looks after. Keys die on time all the same: nothing here stands in for them.

use crate::command::{Command, flags};
use sessile_wal::sync::Mutex;
use sessile_wal::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Paused {
    /// Commands that write, or may be part of a write elsewhere.
    Writes = 0,
    /// Every command.
    Everything = 1,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Pause {
    /// When it ends, ms since the epoch; 0 if there is none.
    until_ms: AtomicU64,
    paused: AtomicU8,
    /// Held while the two change together.
    change: Mutex<()>,
}

impl Pause {
    /// Begins a pause, or extends the one there is: it never ends earlier, nor stops less, than was asked for.
    pub fn begin(&self, paused: Paused, until_ms: u64, now_ms: u64) {
        let _change = self.change.lock();
        let going_on = self.is_on(now_ms);
        let paused =
            if going_on { self.paused.load(Ordering::Relaxed).max(paused as u8) } else { paused as u8 };
        let until_ms = if going_on { self.until_ms.load(Ordering::Relaxed).max(until_ms) } else { until_ms };
        self.paused.store(paused, Ordering::Relaxed);
        self.until_ms.store(until_ms, Ordering::SeqCst);
    }

    /// Ends it.
    pub fn end(&self) {
        let _change = self.change.lock();
        self.until_ms.store(0, Ordering::SeqCst);
    }

    /// When it ends, if there is one.
    pub fn until_ms(&self) -> Option<u64> {
        Some(self.until_ms.load(Ordering::Relaxed)).filter(|&until_ms| until_ms != 0)
    }

    /// Whether there is one.
    pub fn is_on(&self, now_ms: u64) -> bool {
        self.until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Whether it stops this command now. `writes`: it writes without its row saying so (`EXEC` of commands that do).
    #[inline]
    pub fn stops(&self, command: &Command, writes: bool, now_ms: u64) -> bool {
        self.until_ms.load(Ordering::Relaxed) != 0
            && self.is_on(now_ms)
            && (self.paused.load(Ordering::Relaxed) == Paused::Everything as u8
                || writes
                || may_write(command))
    }
}

/// Whether a command writes, or does what a replica would have to do too.
fn may_write(command: &Command) -> bool {
    command.flags & flags::WRITE != 0
        || matches!(
            command.name,
            "eval" | "evalsha" | "fcall" | "publish" | "spublish" | "pfcount" | "script"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_only_ever_extended_until_it_is_over() {
        let pause = Pause::default();
        assert!(!pause.is_on(0));
        pause.begin(Paused::Everything, 1000, 0);
        pause.begin(Paused::Writes, 500, 10);
        assert!(pause.is_on(999) && !pause.is_on(1000));
        assert_eq!(pause.paused.load(Ordering::Relaxed), Paused::Everything as u8);
        pause.begin(Paused::Writes, 2000, 1000);
        assert_eq!(pause.paused.load(Ordering::Relaxed), Paused::Writes as u8);
        pause.end();
        assert!(!pause.is_on(1500) && pause.until_ms().is_none());
    }
}
