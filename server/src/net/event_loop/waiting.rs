//! Clients that wait (`BLPOP`): when their time is up, or the log is where they want it.
//!
//! Those that somebody else has served are told so by [`Signals`](crate::push::Signals): their connection is looked at, and goes on.

use super::{EventLoop, Slot};
use crate::blocked::Wait;
use std::collections::BTreeSet;
use std::time::Duration;

impl EventLoop {
    /// How long until the first wait's time is up.
    pub(super) fn until_next_timer(&self) -> Option<Duration> {
        let timer_ms = self.timers.first().map(|&(deadline_ms, _)| deadline_ms);
        let pause_ms = match self.postponed.is_empty() {
            true => None,
            false => Some(self.worker.server.pause.until_ms().unwrap_or(0)),
        };
        let deadline_ms = timer_ms.into_iter().chain(pause_ms).min()?;
        Some(Duration::from_millis(deadline_ms.saturating_sub(self.worker.server.db.now_ms())))
    }

    /// Enters a connection whose client waits where it will be found when the time has come.
    pub(super) fn enter_waits(&mut self, token: usize) {
        let Some(Some(slot)) = self.slots.get_mut(token) else { return };
        let wait = slot.connection.wait();
        let timer_ms = wait.and_then(Wait::deadline_ms);
        let syncs = wait.is_some_and(|wait| wait.awaited_sync().is_some());
        if timer_ms != slot.timer_ms {
            set_timer(&mut self.timers, token, &mut slot.timer_ms, timer_ms);
        }
        if slot.connection.is_postponed() && !std::mem::replace(&mut slot.in_postponed, true) {
            self.postponed.push(token);
        }
        if syncs && !std::mem::replace(&mut slot.in_syncing, true) {
            self.syncing.push(token);
            self.handle.parked.register();
            // The sync may have come before we said that we wait for it.
            self.handle.wake();
        }
    }

    /// Ends the waits whose time is up: their connections go on in this turn.
    pub(super) fn look_at_waits(&mut self) {
        if self.timers.is_empty() && self.postponed.is_empty() {
            return;
        }
        let now_ms = self.worker.server.db.now_ms();
        while let Some(&(deadline_ms, token)) = self.timers.first()
            && deadline_ms <= now_ms
        {
            self.timers.pop_first();
            let Some(Some(slot)) = self.slots.get_mut(token) else { continue };
            slot.timer_ms = None;
            // Else it was served at the last moment, and is told so.
            if slot.connection.look_at_time(now_ms) {
                go_on(slot, token, &mut self.ready);
            }
        }
        if !self.postponed.is_empty() && !self.worker.server.pause.is_on(now_ms) {
            for token in std::mem::take(&mut self.postponed) {
                let Some(Some(slot)) = self.slots.get_mut(token) else { continue };
                slot.in_postponed = false;
                slot.connection.end_pause();
                go_on(slot, token, &mut self.ready);
            }
        }
    }

    /// The log has moved, or failed: ends the waits for that.
    pub(super) fn look_at_syncs(&mut self) {
        self.handle.parked.register();
        let (durable, failed) = (self.worker.server.db.durable(), self.worker.server.db.log_failed());
        let (slots, ready) = (&mut self.slots, &mut self.ready);
        self.syncing.retain(|&token| {
            let Some(Some(slot)) = slots.get_mut(token) else { return false };
            if slot.connection.wait().is_some_and(|wait| wait.look_at_log(durable, failed)) {
                go_on(slot, token, ready);
            }
            slot.in_syncing = slot.connection.wait().is_some_and(|wait| wait.awaited_sync().is_some());
            slot.in_syncing
        });
        if self.syncing.is_empty() && self.parked.is_empty() {
            self.handle.parked.withdraw();
        }
    }
}

fn go_on(slot: &mut Slot, token: usize, list: &mut Vec<usize>) {
    if !slot.queued {
        slot.queued = true;
        list.push(token);
    }
}

/// Enters, moves or removes a connection in the list of waits.
pub(super) fn set_timer(
    timers: &mut BTreeSet<(u64, usize)>,
    token: usize,
    entered_ms: &mut Option<u64>,
    deadline_ms: Option<u64>,
) {
    if let Some(before_ms) = entered_ms.take() {
        timers.remove(&(before_ms, token));
    }
    if let Some(deadline_ms) = deadline_ms {
        timers.insert((deadline_ms, token));
    }
    *entered_ms = deadline_ms;
}
