//! Hashes whose fields have deadlines.
//!
//! The entry's deadline is the earlier of the key's own and of the last field's death, so that everybody who looks at entries alone (who counts
//! keys, walks over them, or finds one that is on disk) knows whether a key is alive. The key's own deadline is then with the fields.
//!
//! The entry's timer fires at the first field's death, too, while the object is in memory: what is dead then is taken out of it. That changes
//! nothing for anyone: readers leave out what is dead, wherever it still is. So it is not logged, and the object is as good as the record that a
//! segment has of it. An object on disk, or compressed, is left alone; it is pruned when it was brought in.

use super::{Dead, Entry, Shard};
use crate::expiry::{NEVER, grid_within};
use crate::limits::FIELDS_PRUNED_MAX;
use crate::object::packed_hash::{self, Fields, Head};
use crate::object::{Body, Deaths, Object, Packed, Structured, View};
use crate::observer::Occurrence;
use crate::table::Place;

impl Entry {
    /// When fields die, of a hash in memory that has such.
    #[inline]
    pub(crate) fn deaths(&self) -> Option<Deaths> {
        self.handle.view().and_then(|view| view.deaths())
    }

    /// The key's own deadline: as if fields had none.
    #[inline]
    pub(crate) fn key_deadline_ms(&self) -> u64 {
        match self.deaths() {
            Some(Deaths { last_ms, key_deadline_ms, .. })
                if last_ms != NEVER && self.deadline_ms >= last_ms =>
            {
                key_deadline_ms
            }
            _ => self.deadline_ms,
        }
    }
}

impl Shard {
    /// Sets the deadline of an entry whose fields, or whose key's own deadline, have been changed.
    pub(crate) fn follow_deaths(&mut self, place: Place, key_deadline_ms: u64) {
        let entry = self.table.get_mut(place);
        if let Some(Structured { body: Body::Hash(fields), .. }) = entry.handle.structured_mut() {
            fields.set_key_deadline(key_deadline_ms);
        }
        let last_ms = entry.deaths().map_or(NEVER, |deaths| deaths.last_ms);
        let (deadline_ms, grid) = if last_ms <= key_deadline_ms {
            (last_ms, 0)
        } else {
            (key_deadline_ms, grid_within(key_deadline_ms, entry.handle.grid(), last_ms))
        };
        self.set_deadline(place, deadline_ms, grid);
        self.arm_fields(place);
    }

    /// Sees to it that the timer of a hash in memory fires when its first field dies.
    #[inline]
    pub(super) fn arm_fields(&mut self, place: Place) {
        if let Some(Deaths { first_ms, .. }) = self.table.get(place).deaths() {
            self.arm_by(place, first_ms);
        }
    }

    fn arm_by(&mut self, place: Place, at_ms: u64) {
        let entry = self.table.get_mut(place);
        let armed = entry.handle.timer();
        if at_ms != NEVER && (armed == 0 || !self.wheel.covers(armed, at_ms)) {
            let slot = self.wheel.arm(entry.hash, at_ms);
            entry.handle.set_timer(slot);
        }
    }

    /// Sees to it that the timer of an entry whose last one has fired fires for whatever comes first.
    pub(super) fn rearm(&mut self, place: Place) {
        let entry = self.table.get(place);
        let first_ms = entry.deaths().map_or(NEVER, |deaths| deaths.first_ms);
        self.arm_by(place, entry.deadline_ms.min(first_ms));
    }

    /// Takes dead fields out of the hash of a living entry, at most so many if it is a large one; how many that were, and what was in its place,
    /// to be freed after the lock.
    pub(crate) fn prune(&mut self, place: Place, now_ms: u64, limit: usize) -> (usize, Option<Object>) {
        let entry = self.table.get(place);
        let Some(deaths) = entry.deaths().filter(|deaths| deaths.first_ms <= now_ms) else {
            return (0, None);
        };
        let Some(View::Packed(flat)) = entry.handle.view() else {
            let pruned = self.alter(place, |entry, _| match entry.handle.structured_mut() {
                Some(Structured { body: Body::Hash(fields), .. }) => fields.prune(now_ms, limit),
                _ => 0,
            });
            return (pruned, None);
        };
        let fields = Fields::of(flat);
        let timed = fields.live(now_ms).any(|field| field.deadline_ms != NEVER);
        let mut pruned = Vec::with_capacity(flat.len());
        packed_hash::put_all(&mut pruned, Head::of(flat, deaths.key_deadline_ms), timed, fields.live(now_ms));
        let count = fields.len() - fields.live(now_ms).count();
        (count, Some(self.reshape(place, Object::Packed(Packed::concat(&[&pruned])))))
    }

    /// As [`prune`](Self::prune), for the wheel.
    pub(super) fn prune_due(&mut self, place: Place, now_ms: u64, dead: &mut Dead<'_>) {
        let (pruned, old) = self.prune(place, now_ms, FIELDS_PRUNED_MAX);
        if pruned > 0 {
            dead.witness.tell(Occurrence::FieldsExpired, self.table.get(place));
        }
        dead.objects.extend(old);
    }
}
