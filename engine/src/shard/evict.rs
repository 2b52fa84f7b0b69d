//! What the clock hand does to a shard.

use super::{Entry, Shard, Weight};
use crate::expiry::NEVER;
use crate::key::is_internal;
use crate::object::{Form, Object, Packed, layout};
use crate::observer::Witness;
use crate::record::{Name, Operation};
use crate::table::{Hashed, Place};

impl Entry {
    /// Puts the object out of memory, if a segment holds it; the object, to be freed.
    fn evict(&mut self) -> Option<Object> {
        let location = self.handle.location().filter(|_| self.handle.form() != Form::Cold)?;
        let database = self.handle.database();
        Some(self.handle.replace(Object::Cold { location, database }))
    }

    /// Copies a flat object that lies among free memory to where that is not so, so that the memory around it can be given back.
    fn rehouse(&mut self) {
        let location = self.handle.location();
        let Some(packed) = self.handle.share().filter(Packed::is_in_sparse) else { return };
        let copy = Packed::concat(&[packed.bytes()]);
        let copy = if self.handle.form() == Form::Idle { Object::Idle(copy) } else { Object::Packed(copy) };
        drop(self.handle.replace(copy));
        self.handle.set_location(location);
    }
}

impl Shard {
    /// Puts those objects around the hash `from` out of memory that were not read since the last time and are clean. The last hash that was
    /// looked at.
    pub(crate) fn evict(&mut self, from: u64, left: &mut Vec<Object>) -> u64 {
        let Shard { table, weight, twins, .. } = self;
        let mut visit = table.visit(from);
        let to = visit.to;
        // Entries that share a hash are told apart by their keys, which must be in memory. There are practically never any.
        if *twins > 0 {
            return to;
        }
        for entry in visit.entries() {
            if entry.handle.is_accessed() {
                entry.handle.set_accessed(false);
                entry.rehouse();
                continue;
            }
            weight.sub(Weight::of(&entry.handle));
            left.extend(entry.evict());
            weight.add(Weight::of(&entry.handle));
        }
        to
    }

    /// Finds flat objects around the hash `from` that were not read since the last time and are worth compressing. The last hash that was looked
    /// at.
    pub(crate) fn find_idle(&mut self, from: u64, bytes_min: usize, found: &mut Vec<(u64, Packed)>) -> u64 {
        let shared = self.twins > 0;
        let mut visit = self.table.visit(from);
        let to = visit.to;
        for entry in visit.entries() {
            if entry.handle.is_accessed() {
                entry.handle.set_accessed(false);
            } else if entry.handle.form() == Form::Flat
                && !shared
                && let Some(packed) = entry.handle.share()
                && packed.bytes().len() >= bytes_min
            {
                found.push((entry.hash, packed));
            }
        }
        to
    }

    /// Deletes keys around the hash `from` that were not read since the last time, up to so many; `volatile`: only those with a deadline. The
    /// last hash that was looked at.
    pub(crate) fn evict_keys(
        &mut self,
        from: u64,
        volatile: bool,
        limit: usize,
        record: &mut Vec<u8>,
        witness: &mut Witness<'_>,
        victims: &mut Vec<Object>,
    ) -> u64 {
        let mut visit = self.table.visit(from);
        let to = visit.to;
        let mut unread = Vec::new();
        for entry in visit.entries() {
            if entry.handle.is_accessed() {
                entry.handle.set_accessed(false);
            } else if (!volatile || entry.deadline_ms != NEVER) && !is_internal(entry.handle.database()) {
                unread.push(entry.hash);
            }
        }
        for hash in unread.into_iter().take(limit) {
            // Of entries that share a hash, whichever: they were drawn by lot anyway.
            let may_go = |entry: &Entry| {
                (!volatile || entry.deadline_ms != NEVER) && !is_internal(entry.handle.database())
            };
            if let Some(place) = self.table.find(hash, may_go) {
                victims.push(self.delete(place, record, witness));
            }
        }
        to
    }

    /// Deletes the first to die of a few entries around a random hash.
    pub(crate) fn evict_sampled(
        &mut self,
        random: u64,
        volatile: bool,
        samples: usize,
        record: &mut Vec<u8>,
        witness: &mut Witness<'_>,
        victims: &mut Vec<Object>,
    ) {
        let mut first: Option<(u64, u64)> = None;
        for sample in 0..samples as u64 {
            let drawn = self.table.near(random.wrapping_add(sample.wrapping_mul(0x9E37_79B9)));
            if let Some(entry) = drawn.filter(|entry| !volatile || entry.deadline_ms != NEVER)
                && !is_internal(entry.handle.database())
                && first.is_none_or(|(deadline_ms, _)| entry.deadline_ms < deadline_ms)
            {
                first = Some((entry.deadline_ms, entry.hash()));
            }
        }
        if let Some((deadline_ms, hash)) = first
            && let Some(place) = self
                .table
                .find(hash, |entry| entry.deadline_ms == deadline_ms && !is_internal(entry.handle.database()))
        {
            victims.push(self.delete(place, record, witness));
        }
    }

    /// Deletes an entry, and adds that to the record.
    fn delete(&mut self, place: Place, record: &mut Vec<u8>, witness: &mut Witness<'_>) -> Object {
        let entry = self.table.get(place);
        if witness.is_wanted() {
            witness.tell_evicted(entry);
        }
        let name = match (entry.handle.view(), entry.handle.idle()) {
            (Some(view), _) => self.name(place, view.database(), view.key()),
            (None, Some(flat)) => self.name(place, layout::database(flat), layout::parts(flat).key),
            // Of entries that share a hash none is cold.
            (None, None) => Name::Hash(entry.hash),
        };
        Operation::Delete { name }.encode(record);
        self.remove(place)
    }
}
