//! Connections that change loops: when `balance` says that more or fewer loops should carry them.
//!
//! A connection moves with its socket and all its state, between two turns, and only when it owes its client nothing and waits for nothing. It is counted for
//! the loop that gets it from the moment it leaves, and whoever asked for its end meanwhile is heard when it arrives.

use super::{EventLoop, Slot, TICK_MS};
use crate::net::Message;
use crate::net::balance::Change;
use mio::{Interest, Token};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// Looks at the load, and changes how many loops carry connections if need be.
    pub(super) fn rebalance(&mut self, now_ns: u64) {
        let server = Arc::clone(&self.worker.server);
        let Some(loops) = server.loops.get() else { return };
        let active = server.active_loops().len();
        let busy_ns: Vec<u64> = loops.iter().map(|handle| handle.busy_ns.load(Ordering::Relaxed)).collect();
        let commands = server.figures.lock().iter().map(|figures| figures.processed.get()).sum();
        if server.is_shutting_down() {
            return;
        }
        match self.balance.look(now_ns, &busy_ns, active, commands) {
            Some(Change::Grow) => {
                server.set_active_loops(active + 1);
                for handle in loops.iter().take(active) {
                    handle.send(Message::GiveAway { one_in: active + 1, busy_only: true, to: active });
                }
                tracing::debug!("{} event loops carry connections", active + 1);
            }
            Some(Change::Shrink) => {
                let rest = active - 1;
                server.set_active_loops(rest);
                if let Some(handle) = loops.get(rest) {
                    for to in 0..rest {
                        handle.send(Message::GiveAway { one_in: rest - to, busy_only: false, to });
                    }
                }
                tracing::debug!("{rest} event loops carry connections");
            }
            None => {}
        }
    }

    /// Hands connections that owe nothing to their clients over to another loop.
    pub(super) fn give_away(&mut self, one_in: usize, busy_only: bool, to: usize) {
        let server = Arc::clone(&self.worker.server);
        let Some(receiver) = server.loops.get().and_then(|loops| loops.get(to)) else { return };
        let since_ms = self.worker.now_ms.saturating_sub(TICK_MS);
        let mut candidates = 0;
        for token in 0..self.slots.len() {
            if self.ending_since_ms.is_some() {
                return;
            }
            let mut goes = |slot: &Slot| {
                let busy = slot.connection.client().card.active_ms.load(Ordering::Relaxed) >= since_ms;
                let movable = !slot.connection.has_output()
                    && !slot.connection.is_finished(&self.worker)
                    && !slot.connection.is_waiting()
                    && (busy || !busy_only);
                candidates += usize::from(movable);
                movable && usize::is_multiple_of(candidates, one_in)
            };
            let Some(place) = self.slots.get_mut(token) else { return };
            if let Some(mut slot) = place.take_if(|slot| goes(slot)) {
                if self.poll.registry().deregister(&mut slot.stream).is_err() {
                    *place = Some(slot);
                    continue;
                }
                self.free.push(token);
                self.handle.connections.fetch_sub(1, Ordering::Relaxed);
                receiver.connections.fetch_add(1, Ordering::Relaxed);
                receiver.send(Message::Moved(slot));
            }
        }
    }

    /// Takes in a connection that another loop has given away, and that is counted already.
    pub(super) fn take_over(&mut self, mut slot: Box<Slot>) {
        let token = self.free_token();
        if let Err(error) = self.poll.registry().register(
            &mut slot.stream,
            Token(token),
            Interest::READABLE | Interest::WRITABLE,
        ) {
            tracing::warn!(%error, "a connection can't be watched and is closed");
            slot.connection.leave(&self.worker.server);
            self.handle.connections.fetch_sub(1, Ordering::Relaxed);
            self.free.push(token);
            return;
        }
        let card = &slot.connection.client().card;
        *card.place.lock() = Some((self.number, token));
        // Whoever asked for its end while it was on its way found it nowhere.
        if card.killed.load(Ordering::SeqCst) {
            slot.connection.drop_now();
        }
        // What it was told since it left.
        slot.connection.take_pushes(&mut self.worker);
        if self.ending_since_ms.is_some() {
            slot.connection.close_after_replies();
        }
        slot.readable = true;
        slot.writable = true;
        slot.queued = true;
        slot.to_flush = false;
        slot.in_parked = false;
        slot.in_postponed = false;
        slot.in_syncing = false;
        self.slots[token] = Some(slot);
        self.ready.push(token);
    }
}
