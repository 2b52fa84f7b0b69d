//! What operations on [sessions](crate::sessions) ask of a transaction beside what all keys have.

use super::{Access, PRIVATE, Txn};
use crate::key::{Key, KeyHasher, SYSTEM};
use crate::object::{Form, Object, Packed, layout};
use crate::table::Place;

/// What a transaction has done to what concerns all sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Concerns {
    /// It may have changed the classes.
    classes: bool,
    /// It has appended events, and this is the last chunk of them; 0 if it has not.
    last_chunk: u64,
}

impl<'db> Txn<'db> {
    pub(crate) fn hasher(&self) -> &'db KeyHasher {
        &self.inner.hasher
    }

    /// Whether a key may be used: its shard is locked, and its object can be read.
    pub(crate) fn holds(&self, key: &Key<'_>) -> bool {
        if let Some(private) = self.private {
            return private.has(key);
        }
        let number = self.inner.shard_number(key.hash);
        let position = match &self.shards[..] {
            [only] if only.0 == number || only.0 == PRIVATE => Some(0),
            all if all.len() == self.inner.shards.len() => Some(number),
            some => some.binary_search_by_key(&number, |shard| shard.0).ok(),
        };
        let Some((_, shard)) = position.and_then(|position| self.shards.get(position)) else { return false };
        // What `bring` would read.
        let away = || {
            shard.find_hash(key.hash, |entry| match entry.handle().form() {
                Form::Flat | Form::Structured => false,
                Form::Idle => {
                    entry.handle().idle().is_some_and(|flat| layout::is_of(flat, key.database, key.bytes))
                }
                Form::Cold => entry.deadline_ms() > self.now_ms || self.access != Access::Read,
            })
        };
        !shard.has_away() || away().is_none()
    }

    /// Whether the key has an entry, whether that lives or not.
    pub(crate) fn has_entry(&self, key: &Key<'_>) -> bool {
        self.shard(key).find(key).is_some()
    }

    /// A living key's object, with its deadline in ms since the epoch ([`NEVER`](crate::expiry::NEVER) for none).
    #[inline]
    pub(crate) fn living(&self, key: &Key<'_>) -> Option<(crate::object::View<'_>, u64)> {
        self.entry(key).map(|entry| (entry.view(), entry.deadline_ms()))
    }

    /// Replaces bytes inside a flat object, of which neither log nor disk hear: what they hold is as good. `from` is where they are, and there are
    /// as many now. Of an object that is not flat the caller is told, by `false`.
    pub(crate) fn rewrite_unlogged(&mut self, key: &Key<'_>, from: usize, bytes: &[u8]) -> bool {
        let now_ms = self.now_ms;
        let shard = self.shard_mut(key);
        let place: Option<Place> = shard.live(key, now_ms);
        let Some(place) = place else { return false };
        let Some(flat) = shard.entry(place).handle().share() else { return false };
        let flat_bytes = flat.bytes();
        let (Some(before), Some(after)) = (flat_bytes.get(..from), flat_bytes.get(from + bytes.len()..))
        else {
            return false;
        };
        let object = Object::Packed(Packed::concat(&[before, bytes, after]));
        let old = shard.reshape(place, object);
        drop(flat);
        self.discard(old);
        true
    }

    /// Whether it sees the classes of sessions otherwise than everybody else: it has changed them, or works on copies.
    pub(crate) fn has_own_classes(&self) -> bool {
        self.private.is_some() || self.concerns.classes
    }

    /// The classes of sessions were changed.
    pub(crate) fn note_classes(&mut self) {
        self.concerns.classes = true;
    }

    /// Events were appended, to that chunk last.
    pub(crate) fn note_events(&mut self, last_chunk: u64) {
        self.concerns.last_chunk = last_chunk;
    }

    /// Copies of these keys are about to take the place of the originals.
    pub(crate) fn note_copies<'k>(&mut self, keys: impl Iterator<Item = &'k Key<'k>>) {
        if keys.into_iter().any(|key| key.database == SYSTEM) {
            self.concerns = Concerns { classes: true, last_chunk: self.inner.sessions.last_chunk() };
        }
    }

    /// Makes known what has changed, with the locks still held; whether there are new events.
    pub(super) fn settle_sessions(&self) -> bool {
        let Concerns { classes, last_chunk } = self.concerns;
        if self.private.is_some() {
            return false;
        }
        if classes {
            self.inner.sessions_changed(self);
        }
        if last_chunk != 0 {
            self.inner.sessions.note_last_chunk(last_chunk);
        }
        last_chunk != 0
    }
}
