//! A share of the index with its timers, behind one lock.
//!
//! The lock guards everything here and is held for nanoseconds, never across I/O, and never while a large object is freed.
//! Lock order: shards by number, ascending; then the log's buffer. Nothing in a shard knows of either.

use crate::expiry::{NEVER, logged_deadline};
use crate::key::{DATABASES, Key};
use crate::limits::TIMERS_PER_HOLD_MAX;
use crate::object::{Handle, Object, View};
use crate::record::{Name, Operation};
use crate::table::{Hashed, Place, Table};
use crate::wheel::{Fired, Wheel};

/// What the index knows of a key: 24 bytes; the key itself lives with the object.
pub(crate) struct Entry {
    hash: u64,
    deadline_ms: u64,
    handle: Handle,
}

const _: () = assert!(size_of::<Entry>() == 24);

impl Hashed for Entry {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Entry {
    /// When the key dies, in ms since the epoch; [`NEVER`].
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The object.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        self.handle.view()
    }

    pub(crate) fn into_object(self) -> Object {
        self.handle.into_object()
    }
}

/// Per database: keys, and keys that have a deadline.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) keys: u32,
    pub(crate) with_deadline: u32,
}

/// What one hold of the lock found dead.
#[derive(Default)]
pub(crate) struct Dead {
    /// To be freed after the lock.
    pub(crate) objects: Vec<Object>,
    /// The longest that one of them outlived its deadline while the database was open, in ms.
    pub(crate) lag_ms: u64,
    /// When the database was opened: what had died before could not be taken away before.
    pub(crate) opened_ms: u64,
    /// Deletions of those that the log takes to be alive, because it holds their deadline rounded up: a record to be appended before the
    /// lock is given back, or a crash would bring them to life again.
    pub(crate) record: Vec<u8>,
}

/// See the module's page.
pub(crate) struct Shard {
    table: Table<Entry>,
    wheel: Wheel,
    counts: [Counts; DATABASES as usize],
    /// Bytes that the objects asked for.
    object_bytes: usize,
    /// Scratch for [`expire`](Self::expire).
    fired: Vec<Fired>,
}

impl Shard {
    /// An empty shard for hashes that share their top `skip` bits.
    pub(crate) fn new(skip: u32, now_ms: u64) -> Shard {
        Shard {
            table: Table::new(skip),
            wheel: Wheel::new(now_ms),
            counts: [Counts::default(); DATABASES as usize],
            object_bytes: 0,
            fired: Vec::new(),
        }
    }

    pub(crate) fn table(&self) -> &Table<Entry> {
        &self.table
    }

    pub(crate) fn counts(&self, database: u8) -> Counts {
        self.counts[usize::from(database)]
    }

    /// Bytes of memory, about: index, timers and objects.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.wheel.memory_bytes() + self.object_bytes
    }

    /// The key's entry, dead or alive.
    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        self.table.find(key.hash, |entry| entry.view().is_of(key.database, key.bytes))
    }

    /// The key's entry, if it lives at `now_ms`.
    #[inline]
    pub(crate) fn live(&self, key: &Key<'_>, now_ms: u64) -> Option<Place> {
        self.find(key).filter(|&place| self.table.get(place).deadline_ms > now_ms)
    }

    #[inline]
    pub(crate) fn entry(&self, place: Place) -> &Entry {
        self.table.get(place)
    }

    /// Whether the index holds another key with this entry's hash.
    fn has_twin(&self, place: Place) -> bool {
        let entry = self.table.get(place);
        self.table.find(entry.hash, |other| !std::ptr::eq(other, entry)).is_some()
    }

    /// The entry that an operation of the log means by a hash: the only one, or of several the one that dies last. (Such an
    /// operation was written when the index held one; the others had died by then, only not in the log.)
    pub(crate) fn by_hash(&self, hash: u64) -> Option<Place> {
        let mut last = None;
        let _ = self.table.find(hash, |entry| {
            last = last.max(Some(entry.deadline_ms));
            false
        });
        self.table.find(hash, |entry| Some(entry.deadline_ms) == last)
    }

    /// Makes the key hold `object`, whatever it held before; the old object, to be freed after the lock.
    pub(crate) fn put(
        &mut self,
        key: &Key<'_>,
        object: Object,
        deadline_ms: u64,
        grid: u16,
    ) -> Option<Object> {
        self.object_bytes += object.memory_bytes();
        if let Some(place) = self.find(key) {
            let old = self.table.get_mut(place).handle.replace(object);
            self.object_bytes -= old.memory_bytes();
            self.set_deadline(place, deadline_ms, grid);
            return Some(old);
        }
        let place =
            self.table.insert(Entry { hash: key.hash, deadline_ms: NEVER, handle: Handle::new(object) });
        self.counts[usize::from(key.database)].keys += 1;
        self.set_deadline(place, deadline_ms, grid);
        None
    }

    /// Replaces the object of an entry by another of the same key.
    pub(crate) fn replace(&mut self, place: Place, object: Object) -> Object {
        self.object_bytes += object.memory_bytes();
        let old = self.table.get_mut(place).handle.replace(object);
        self.object_bytes -= old.memory_bytes();
        old
    }

    /// Changes the object of an entry in place.
    pub(crate) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Handle) -> R) -> R {
        let handle = &mut self.table.get_mut(place).handle;
        let before = handle.view().memory_bytes();
        let result = change(handle);
        self.object_bytes = self.object_bytes - before + handle.view().memory_bytes();
        result
    }

    /// Sets the deadline, and the grid that the log's copy of it is rounded to.
    pub(crate) fn set_deadline(&mut self, place: Place, deadline_ms: u64, grid: u16) {
        let entry = self.table.get_mut(place);
        let before = std::mem::replace(&mut entry.deadline_ms, deadline_ms);
        entry.handle.set_grid(grid);
        if (before == NEVER) != (deadline_ms == NEVER) {
            let count = &mut self.counts[usize::from(entry.view().database())].with_deadline;
            if deadline_ms == NEVER {
                *count -= 1;
            } else {
                *count += 1;
            }
        }
        let armed = entry.handle.timer();
        // An extended deadline keeps its timer.
        let covered =
            armed != 0 && (deadline_ms >= before && before != NEVER || self.wheel.covers(armed, deadline_ms));
        if deadline_ms != NEVER && !covered {
            let slot = self.wheel.arm(entry.hash, deadline_ms);
            entry.handle.set_timer(slot);
        }
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, place: Place) -> Entry {
        let entry = self.table.remove(place);
        let view = entry.view();
        self.object_bytes -= view.memory_bytes();
        let counts = &mut self.counts[usize::from(view.database())];
        counts.keys -= 1;
        counts.with_deadline -= u32::from(entry.deadline_ms != NEVER);
        entry
    }

    /// Removes what has died by `now_ms`, looking at no more than about `limit` timers. Whether there may be more.
    pub(crate) fn expire(&mut self, now_ms: u64, limit: usize, dead: &mut Dead) -> bool {
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        let more = self.wheel.advance(now_ms, limit, &mut fired);
        if !more && self.wheel.len() > self.timers_max() {
            self.wheel.sweep(limit, &mut fired);
        }
        for Fired { slot, hash } in fired.drain(..) {
            let Some(place) = self.table.find(hash, |entry| entry.handle.timer() == slot) else { continue };
            let entry = self.table.get_mut(place);
            if entry.deadline_ms <= now_ms {
                dead.lag_ms = dead.lag_ms.max(now_ms.saturating_sub(entry.deadline_ms.max(dead.opened_ms)));
                self.log_death(place, now_ms, &mut dead.record);
                dead.objects.push(self.remove(place).into_object());
            } else if entry.deadline_ms == NEVER {
                entry.handle.set_timer(0);
            } else {
                let slot = self.wheel.arm(hash, entry.deadline_ms);
                entry.handle.set_timer(slot);
            }
        }
        self.fired = fired;
        more
    }

    /// Adds the deletion of a dead entry to `record`, if the log holds a later deadline for it.
    fn log_death(&self, place: Place, now_ms: u64, record: &mut Vec<u8>) {
        let entry = self.table.get(place);
        let grid = entry.handle.grid();
        if grid == 0 {
            return;
        }
        let view = entry.view();
        let limit_ms = view.policy().map_or(NEVER, |policy| policy.absolute_ms);
        if logged_deadline(entry.deadline_ms, grid, limit_ms) > now_ms {
            let name = self.name(place, view.database(), view.key());
            Operation::Delete { name }.encode(record);
        }
    }

    /// How the log is to name an entry's key.
    pub(crate) fn name<'k>(&self, place: Place, database: u8, key: &'k [u8]) -> Name<'k> {
        if self.has_twin(place) {
            Name::Key { database, key }
        } else {
            Name::Hash(self.table.get(place).hash)
        }
    }

    /// How many keys of all databases live at `now_ms`. Looks at each.
    pub(crate) fn live_keys(&self, now_ms: u64) -> u64 {
        let mut live = 0;
        self.table.for_each(&mut |entry| live += u64::from(entry.deadline_ms > now_ms));
        live
    }

    /// When [`expire`](Self::expire) next has something to do, in ms since the epoch; `None` if nothing has a deadline.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        if self.wheel.len() > self.timers_max() { Some(0) } else { self.wheel.next_due_ms() }
    }

    /// Keys that were deleted early leave stale timers: they may be about as many as there are keys, but not more.
    fn timers_max(&self) -> usize {
        2 * self.table.len() + 4 * TIMERS_PER_HOLD_MAX
    }

    /// Takes all keys out, or those of one database. What was taken out, to be freed after the lock.
    pub(crate) fn clear(&mut self, database: Option<u8>, skip: u32, now_ms: u64) -> (Shard, Vec<Object>) {
        let fresh = Shard::new(skip, now_ms);
        let others =
            |database: u8| (0..DATABASES).any(|other| other != database && self.counts(other).keys > 0);
        let Some(database) = database.filter(|&database| others(database)) else {
            return (std::mem::replace(self, fresh), Vec::new());
        };
        let mut hashes = Vec::new();
        self.table.for_each(&mut |entry| {
            if entry.view().database() == database {
                hashes.push(entry.hash);
            }
        });
        let taken = hashes.into_iter().filter_map(|hash| {
            let place = self.table.find(hash, |entry| entry.view().database() == database)?;
            Some(self.remove(place).into_object())
        });
        let taken = taken.collect();
        (fresh, taken)
    }
}
