//! What clients are told without having asked: what this turn's commands had to tell, and what other loops, or the engine, had.

use super::EventLoop;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// Hands over what this turn's commands had to tell: to this loop's clients directly, to others' by one message a loop. Comes after the
    /// log was pushed, so that most of what they are told needs to wait for nothing.
    pub(super) fn tell_others(&mut self) {
        let worker = &mut self.worker;
        if !worker.broadcasts.is_empty() {
            let bytes_max = worker.live.pushed_bytes_max();
            worker.server.tracking.broadcast(&mut worker.broadcasts, &mut worker.signals, bytes_max);
        }
        if worker.signals.is_empty() {
            return;
        }
        let own = self.worker.signals.take_own(self.number);
        self.look_into_inboxes(&own);
        self.worker.signals.send(&self.worker.server.loops);
    }

    /// These clients, by place and number, have something in their inboxes.
    pub(super) fn look_into_inboxes(&mut self, clients: &[(usize, u64)]) {
        for &(token, id) in clients {
            let Some(Some(slot)) = self.slots.get_mut(token) else { continue };
            let card = &slot.connection.client().card;
            // Else it has left: it is looked at where it has arrived.
            if card.id != id {
                continue;
            }
            if card.killed.load(Ordering::SeqCst) {
                if card.overrun.load(Ordering::Relaxed) {
                    tracing::warn!(client = %card.origin.address, "closing a client: it takes less than it is told, by client-output-buffer-limit");
                    self.worker.figures.output_overruns.add(1);
                }
                slot.connection.drop_now();
            } else {
                slot.connection.take_pushes(&mut self.worker);
            }
            self.queue_flush(token);
        }
    }
}
