//! A shard of copies, for a transaction that works on them without holding anybody's lock: see [`overlay`](crate::overlay).
//!
//! Flat objects are shared with the entries that they were copied from, and are never changed, only replaced; what the originals' records on
//! disk are is not the copies' business. Nothing dies here, and nothing is collected.

use super::{Entry, Shard};
use crate::key::Key;
use crate::live::LiveCounts;
use crate::object::{Handle, Object};
use std::sync::Arc;

impl Shard {
    /// An empty one.
    pub(crate) fn of_copies(now_ms: u64) -> Shard {
        Shard { private: true, ..Shard::new(0, now_ms, Arc::new(LiveCounts::of_copies())) }
    }

    /// Takes a copy in; it counts as unchanged.
    pub(crate) fn adopt(&mut self, key: &Key<'_>, object: Object, deadline_ms: u64, grid: u16) {
        let place = self.add(key.hash, key.database, Handle::new(object));
        let entry: &mut Entry = self.table.get_mut(place);
        entry.handle.set_grid(grid);
        entry.deadline_ms = deadline_ms;
        self.follow(place, crate::expiry::NEVER);
    }

    /// Gives the object of a key away, whether it lives or not, with its deadline and grid and whether it was changed.
    pub(crate) fn give_away(&mut self, key: &Key<'_>) -> Option<(Object, u64, u16, bool)> {
        let place = self.find(key)?;
        let entry = self.take_out(place);
        let (deadline_ms, grid, changed) = (entry.deadline_ms, entry.handle.grid(), entry.handle.is_dirty());
        Some((entry.handle.into_object(), deadline_ms, grid, changed))
    }
}
