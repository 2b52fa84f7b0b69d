//! What the clock hand does to a shard.

use super::{Entry, Shard, Weight};
use crate::object::{Form, Object};
use crate::table::Visit;

impl Entry {
    /// Puts the object out of memory, if a segment holds it; the object, to be freed.
    fn evict(&mut self) -> Option<Object> {
        let location = self.handle.location().filter(|_| self.handle.form() != Form::Cold)?;
        let database = self.handle.database();
        Some(self.handle.replace(Object::Cold { location, database }))
    }
}

impl Shard {
    /// Puts those objects around the hash `from` out of memory that were not read since the last time and are clean. The last hash that was
    /// looked at.
    pub(crate) fn evict(&mut self, from: u64, left: &mut Vec<Object>) -> u64 {
        let Shard { table, weight, twins, .. } = self;
        let Visit { to, entries, .. } = table.visit(from);
        // Entries that share a hash are told apart by their keys, which must be in memory. There are practically never any.
        if *twins > 0 {
            return to;
        }
        for entry in entries {
            if entry.handle.is_accessed() {
                entry.handle.set_accessed(false);
                continue;
            }
            weight.sub(Weight::of(&entry.handle));
            left.extend(entry.evict());
            weight.add(Weight::of(&entry.handle));
        }
        to
    }
}
