//! Errands of this loop's connections: handed to the threads that may wait for a disk, and back from them.

use super::EventLoop;
use crate::errand::Errand;
use crate::net::disk_threads::Job;
use std::sync::Arc;

impl EventLoop {
    /// Sends off what a connection needs before it can go on, if it needs anything. While the threads have too much to do, the connection
    /// keeps it, and comes here again as a paused one does.
    pub(super) fn send_errand(&mut self, token: usize) {
        let Some(Some(slot)) = self.slots.get_mut(token) else { return };
        let Some(errand) = slot.connection.take_errand() else { return };
        let id = slot.connection.client().card.id;
        let job = Job { errand, back_to: Arc::clone(&self.handle), token, id };
        if let Err(errand) = self.disk.offer(job) {
            slot.connection.errand_refused(errand);
        }
    }

    /// An errand is done: its connection, if it is still there, goes on in this turn.
    pub(super) fn errand_done(&mut self, token: usize, id: u64, errand: Box<Errand>) {
        let Some(Some(slot)) = self.slots.get_mut(token) else { return };
        if slot.connection.client().card.id != id {
            return;
        }
        slot.connection.errand_done(errand);
        if !slot.queued {
            slot.queued = true;
            self.ready.push(token);
        }
    }
}
