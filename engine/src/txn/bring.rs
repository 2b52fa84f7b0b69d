//! Bringing in what a transaction needs before it looks at anything: objects that are on disk, or compressed.
//!
//! What was read is put into the entries for as long as the transaction holds their locks. A value that had not been read lately goes back to
//! where it was at the end, so that a scan over cold sessions does not push the hot ones out; one that had, stays.

use super::Txn;
use crate::Error;
use crate::fetch::{Fetch, Source};
use crate::key::{Key, is_held};
use crate::location::Location;
use crate::object::{self, Form, Object, Packed, layout};
use crate::record::{Name, Operation};
use crate::segments::Segment;
use crate::shard::Shard;
use crate::table::Place;
use crate::txn::Access;
use std::sync::Arc;

/// An object that goes back to where it was when the transaction ends.
pub(super) struct Visitor {
    hash: u64,
    /// What was brought in.
    brought: Packed,
    /// What the entry held before.
    back: Object,
}

impl Txn<'_> {
    /// Whether [`bring`](Self::bring) has to look at the keys.
    #[inline]
    pub(crate) fn wants_bring(&self) -> bool {
        self.inner.tiering.counts_accesses() || self.shards.iter().any(|(_, shard)| shard.has_away())
    }

    /// Brings in the objects of all keys; what has to be read first, if anything.
    ///
    /// # Errors
    /// What went wrong with reading one of them.
    pub(crate) fn bring(
        &mut self,
        keys: &[Key<'_>],
        mut fetched: Option<Fetch>,
    ) -> Result<Option<Fetch>, Error> {
        let mut wanted = Fetch::new(self.inner);
        for key in keys {
            self.bring_key(key, fetched.as_mut(), &mut wanted)?;
        }
        if wanted.is_empty() {
            // What was lent before stays, if nothing was read this time: a walk has still to look at it.
            if fetched.is_some() {
                self.lend_heads(fetched);
            }
            return Ok(None);
        }
        // What was read for the other keys must not be read again.
        if let Some(fetched) = fetched {
            wanted.join(fetched);
        }
        // Nor what was brought in and now goes back: two keys could undo each other's reads for ever.
        for Visitor { brought, back, .. } in &self.visitors {
            if let Some(source) = self.source_of(back) {
                wanted.has_read(source, brought.clone());
            }
        }
        Ok(Some(wanted))
    }

    /// Where an object is read from.
    fn source_of(&self, object: &Object) -> Option<Source> {
        match object {
            Object::Idle(packed) => {
                let dictionary = crate::idle::dictionary_id(packed.bytes())
                    .and_then(|id| self.inner.segments.dictionary(id));
                Some(Source::Idle { packed: packed.clone(), dictionary })
            }
            Object::Cold { location, .. } => {
                let segment = self.inner.segments.at(*location)?;
                Some(Source::Cold { location: *location, segment })
            }
            Object::Packed(_) | Object::Structured(_) => None,
        }
    }

    fn bring_key(
        &mut self,
        key: &Key<'_>,
        mut fetched: Option<&mut Fetch>,
        wanted: &mut Fetch,
    ) -> Result<(), Error> {
        let (position, now_ms) = (self.position(key), self.now_ms);
        // Several entries may have this hash; which of those on disk is meant is not known before they were read.
        loop {
            let shard = &mut self.shards[position].1;
            let Some(place) = shard.find_hash(key.hash, |entry| match entry.handle().form() {
                Form::Flat | Form::Structured => false,
                Form::Idle => {
                    entry.handle().idle().is_some_and(|flat| layout::is_of(flat, key.database, key.bytes))
                }
                Form::Cold => entry.deadline_ms() > now_ms || self.access != Access::Read,
            }) else {
                break;
            };
            let entry = shard.entry(place);
            // One that is held is brought in like a living one: it stays beside whatever is made of the key that was asked for.
            let dead = entry.deadline_ms() <= now_ms && !is_held(entry.handle().database());
            if dead && self.access == Access::Read {
                break;
            }
            if dead && !self.inner.observed.is_on() {
                // A dead entry whose key is not known must not stay beside a new one.
                let object = shard.bury(place, now_ms, &mut self.record);
                self.discard(object);
                continue;
            }
            let handle = entry.handle();
            let source = match (handle.share(), handle.location()) {
                (Some(packed), _) => {
                    let dictionary = crate::idle::dictionary_id(packed.bytes())
                        .and_then(|id| self.inner.segments.dictionary(id));
                    Source::Idle { packed, dictionary }
                }
                (None, Some(location)) => match self.inner.segments.at(location) {
                    Some(segment) => Source::Cold { location, segment },
                    None => unreachable!("a segment stays open while an entry refers to it"),
                },
                (None, None) => unreachable!("a cold object is in a segment"),
            };
            let Some(read) = fetched.as_mut().and_then(|fetched| fetched.take(&source)) else {
                wanted.want(source);
                break;
            };
            if dead {
                // The key was read for this.
                self.bury_read(position, place, read.ok());
                continue;
            }
            let flat = read?;
            self.install(position, place, key.hash, flat);
        }
        if self.inner.tiering.counts_accesses() {
            let shard = &mut self.shards[position].1;
            if let Some(place) = shard.find(key) {
                shard.set_accessed(place, true);
            }
        }
        Ok(())
    }

    /// Removes a key whose object is at that place, and can't be read there; whether it was alive. Not if another key has its hash: without the
    /// object there is no telling which is which.
    pub(crate) fn remove_damaged(&mut self, key: &Key<'_>, at: Location, segment: &Arc<Segment>) -> bool {
        let same_segment = self.inner.segments.at(at).is_some_and(|now| Arc::ptr_eq(&now, segment));
        let position = self.position(key);
        let shard = &mut self.shards[position].1;
        let place = shard.find_hash(key.hash, |entry| {
            entry.handle().form() == Form::Cold && entry.handle().location() == Some(at)
        });
        let Some(place) = place.filter(|&place| same_segment && !shard.has_twin(place)) else { return false };
        let alive = shard.entry(place).deadline_ms() > self.now_ms;
        Operation::Delete { name: Name::Hash(key.hash) }.encode(&mut self.record);
        let object = self.shards[position].1.remove(place);
        self.discard(object);
        alive
    }

    fn install(&mut self, position: usize, place: Place, hash: u64, flat: Packed) {
        let object = object::from_packed(flat, &self.inner.hasher);
        let brought = match &object {
            Object::Packed(packed) => Some(packed.clone()),
            _ => None,
        };
        let shard = &mut self.shards[position].1;
        let was_accessed = shard.entry(place).handle().is_accessed();
        let back = shard.reshape(place, object);
        let stays = was_accessed || shard.has_twin(place) || !self.inner.tiering.is_tight();
        match brought {
            // A visitor that is changed meanwhile stays, whatever it was.
            Some(brought) if !stays => self.visitors.push(Visitor { hash, brought, back }),
            _ => self.discard(back),
        }
    }

    /// Puts the visitors back that nobody has changed, nor given a twin.
    pub(super) fn see_off(&mut self) {
        for Visitor { hash, brought, back } in std::mem::take(&mut self.visitors) {
            let position = self.position_of(hash);
            let shard: &mut Shard = &mut self.shards[position].1;
            let place = shard.find_hash(hash, |entry| {
                let handle = entry.handle();
                !handle.is_dirty() && handle.share().is_some_and(|packed| packed.is_same(&brought))
            });
            // Of entries that share their hash none may be cold: their keys tell them apart.
            if let Some(place) = place.filter(|&place| !shard.has_twin(place)) {
                let object = shard.reshape(place, back);
                self.garbage.push(object);
            }
        }
    }
}
