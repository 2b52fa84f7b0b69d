//! What a transaction tells the observer: keys that it finds dead before the timers have come to them.
//!
//! They are taken away first, so that whoever is told of expired keys hears of one before anything that the transaction makes of it.

use super::Txn;
use crate::key::{Key, is_held};
use crate::object::{Packed, layout};
use crate::observer::Occurrence;
use crate::table::Place;
use std::sync::atomic::Ordering;

impl Txn<'_> {
    /// Takes those of `keys` away that are dead, and tells the observer of them. Those on disk only are left to [`bring`](Self::bring),
    /// and to a background step.
    #[cold]
    pub(crate) fn bury_dead(&mut self, keys: &[Key<'_>]) {
        let (inner, now_ms) = (self.inner, self.now_ms);
        let mut witness = inner.witness();
        for key in keys {
            let position = self.position(key);
            let shard = &mut self.shards[position].1;
            let dead = |&place: &Place| shard.entry(place).deadline_ms() <= now_ms && !is_held(key.database);
            let Some(place) = shard.find(key).filter(dead) else {
                continue;
            };
            witness.tell_key(Occurrence::Expired, key.database, key.bytes);
            self.told = true;
            let object = shard.bury(place, now_ms, &mut self.record);
            self.garbage.push(object);
            inner.expired_keys.fetch_add(1, Ordering::Relaxed);
            // As in the step that finds keys dead.
            inner.wal.note_time();
        }
    }

    /// Takes a dead entry away whose object was not in memory, and tells the observer whose it was, if it could be read.
    #[cold]
    pub(super) fn bury_read(&mut self, position: usize, place: Place, flat: Option<Packed>) {
        let (inner, now_ms) = (self.inner, self.now_ms);
        if let Some(flat) = flat {
            let (database, key) = (layout::database(flat.bytes()), layout::parts(flat.bytes()).key);
            inner.witness().tell_key(Occurrence::Expired, database, key);
            self.told = true;
        }
        let object = self.shards[position].1.bury(place, now_ms, &mut self.record);
        self.garbage.push(object);
        inner.expired_keys.fetch_add(1, Ordering::Relaxed);
        inner.wal.note_time();
    }
}
