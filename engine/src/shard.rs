//! A share of the index with its timers, behind one lock.
//!
//! The lock guards everything here and is held for nanoseconds, never across I/O, and never while a large object is freed.
//! Lock order: shards by number, ascending; then the log's buffer. Nothing in a shard knows of either.
//!
//! An entry says how it differs from what the segments and index files hold:
//!
//! | dirty | index dirty | |
//! | --- | --- | --- |
//! | no | no | both are as the entry is |
//! | no | yes | a segment has the object; deadline or place differ in the index files |
//! | yes | yes | the object was changed; the index files have an older entry |
//! | yes | no | the index files have no entry: a new key |
//!
//! Neither dirty nor located is an object that a checkpoint has collected and is about to write.

mod collect;
mod copies;
mod evict;
mod fields;

use crate::expiry::{NEVER, logged_deadline};
use crate::key::{DATABASES, INDEX_DATABASES, Key, is_cleared_by, is_held, is_internal};
use crate::limits::TIMERS_PER_HOLD_MAX;
use crate::live::LiveCounts;
use crate::location::Location;
use crate::object::{Form, Handle, Object, Packed, View, layout};
use crate::observer::{Cold, Witness};
use crate::record::{Name, Operation};
use crate::table::{Hashed, Place, Table};
use crate::watch::Watched;
use crate::wheel::{Fired, Wheel};
pub(crate) use collect::{Collected, CollectedObject, Image};
use std::sync::Arc;

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
    ///
    /// # Panics
    /// If it can't be read as it is: a transaction brings the objects of all its keys in before it looks at them.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        self.handle.view().expect("a transaction brings in what it looks at")
    }

    /// The deadline as log and index files hold it.
    pub(crate) fn logged_deadline_ms(&self) -> u64 {
        logged_deadline(self.deadline_ms, self.handle.grid())
    }

    /// Whether the index files have, or are about to have, an entry for the key.
    fn is_persisted(&self) -> bool {
        !self.handle.is_dirty() || self.handle.is_index_dirty()
    }

    /// Whether this is the entry of that key; of a cold one that is not known without a look at the disk.
    #[inline]
    pub(crate) fn is_of(&self, key: &Key<'_>) -> bool {
        match self.handle.view() {
            Some(view) => view.is_of(key.database, key.bytes),
            None => self.handle.idle().is_some_and(|flat| layout::is_of(flat, key.database, key.bytes)),
        }
    }

    /// No segment holds the object as it is any more.
    fn soil(&mut self, live: &LiveCounts) {
        // Where the object of a copy is on disk is the original's business.
        if let Some(location) = self.handle.location()
            && !live.are_of_copies()
        {
            live.release(location);
            if self.handle.form() != Form::Cold {
                self.handle.set_location(None);
            }
        }
        if !self.handle.is_dirty() {
            self.handle.set_index_dirty(true);
            self.handle.set_dirty(true);
        }
    }
}

/// An entry as index files hold it.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) hash: u64,
    pub(crate) database: u8,
    pub(crate) location: Location,
    pub(crate) deadline_ms: u64,
    pub(crate) grid: u16,
}

impl Hashed for Loaded {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Loaded {
    fn handle(&self) -> Handle {
        let mut handle = Handle::new(Object::Cold { location: self.location, database: self.database });
        handle.set_grid(self.grid);
        handle
    }
}

/// Per database: keys, and keys that have a deadline.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) keys: u32,
    pub(crate) with_deadline: u32,
}

/// What the objects of entries add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Bytes that they ask for.
    pub(crate) bytes: usize,
    /// Of these, in objects that no segment holds.
    pub(crate) dirty_bytes: usize,
    pub(crate) dirty: u32,
    /// Compressed in memory.
    pub(crate) idle: u32,
    /// On disk only.
    pub(crate) cold: u32,
}

impl Weight {
    pub(crate) fn of(handle: &Handle) -> Weight {
        let (bytes, dirty) = (handle.memory_bytes(), handle.is_dirty());
        Weight {
            bytes,
            dirty_bytes: if dirty { bytes } else { 0 },
            dirty: u32::from(dirty),
            idle: u32::from(handle.form() == Form::Idle),
            cold: u32::from(handle.form() == Form::Cold),
        }
    }

    pub(crate) fn add(&mut self, other: Weight) {
        self.bytes += other.bytes;
        self.dirty_bytes += other.dirty_bytes;
        self.dirty += other.dirty;
        self.idle += other.idle;
        self.cold += other.cold;
    }

    fn sub(&mut self, other: Weight) {
        self.bytes -= other.bytes;
        self.dirty_bytes -= other.dirty_bytes;
        self.dirty -= other.dirty;
        self.idle -= other.idle;
        self.cold -= other.cold;
    }
}

/// What one hold of the lock found dead.
#[derive(Default)]
pub(crate) struct Dead<'a> {
    /// To be freed after the lock.
    pub(crate) objects: Vec<Object>,
    /// The longest that one of them outlived its deadline while the database was open, in ms.
    pub(crate) lag_ms: u64,
    /// When the database was opened: what had died before could not be taken away before.
    pub(crate) opened_ms: u64,
    /// Deletions of those that the log takes to be alive, because it holds their deadline rounded up: a record to be appended before the
    /// lock is given back, or a crash would bring them to life again.
    pub(crate) record: Vec<u8>,
    /// Hashes of held keys ([`is_held`]) that are dead: they stay, and whoever takes such keys away is told of them.
    pub(crate) held: Vec<u64>,
    /// Who tells of them.
    pub(crate) witness: Witness<'a>,
}

/// See the module's page.
pub(crate) struct Shard {
    table: Table<Entry>,
    wheel: Wheel,
    counts: [Counts; INDEX_DATABASES as usize],
    weight: Weight,
    live: Arc<LiveCounts>,
    /// Hashes of removed entries that the index files still hold.
    tombstones: Vec<u64>,
    /// Entries that share their hash with one that was there before. Practically always zero.
    twins: u32,
    /// All entries were taken out at once, and the index files have to be told of all of them.
    cleared: bool,
    /// The entries are copies of others', for a transaction alone.
    private: bool,
    /// Whose changes somebody wants to know of.
    watched: Watched,
    /// Scratch for [`expire`](Self::expire).
    fired: Vec<Fired>,
}

impl Shard {
    /// An empty shard for hashes that share their top `skip` bits.
    pub(crate) fn new(skip: u32, now_ms: u64, live: Arc<LiveCounts>) -> Shard {
        Shard {
            table: Table::new(skip),
            wheel: Wheel::new(now_ms),
            counts: [Counts::default(); INDEX_DATABASES as usize],
            weight: Weight::default(),
            live,
            tombstones: Vec::new(),
            twins: 0,
            cleared: false,
            private: false,
            watched: Watched::default(),
            fired: Vec::new(),
        }
    }

    pub(crate) fn table(&self) -> &Table<Entry> {
        &self.table
    }

    pub(crate) fn counts(&self, database: u8) -> Counts {
        self.counts[usize::from(database)]
    }

    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Whether all entries were taken out at once since a snapshot was collected: a delta can't say that.
    pub(crate) fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// Entries that share their hash with one that was there before.
    pub(crate) fn twins(&self) -> u32 {
        self.twins
    }

    /// The hashes that several entries share.
    pub(crate) fn twin_hashes(&self) -> Vec<u64> {
        let mut hashes = Vec::new();
        if self.twins > 0 {
            self.table.for_each(&mut |entry| hashes.push(entry.hash));
            hashes.sort_unstable();
            hashes = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
            hashes.dedup();
        }
        hashes
    }

    /// A few of the flat objects, for training a dictionary.
    pub(crate) fn sample(&self, count: usize, bytes_max: usize) -> Vec<Packed> {
        let mut samples = Vec::new();
        let stride = (self.table.len() / count.max(1)).max(1);
        let mut at = 0;
        // One in `stride`, wherever it is: the table has no order that values could follow.
        while at < self.table.len() && samples.len() < count {
            if let Some(packed) = self.table.nth(at).and_then(|entry| match entry.handle.form() {
                Form::Flat => entry.handle.share(),
                _ => None,
            }) && packed.bytes().len() <= bytes_max
            {
                samples.push(packed);
            }
            at += stride;
        }
        samples
    }

    /// Whether any object can't be read as it is.
    #[inline]
    pub(crate) fn has_away(&self) -> bool {
        self.weight.cold + self.weight.idle > 0
    }

    /// Bytes of memory for index, timers and tombstones, about.
    pub(crate) fn index_bytes(&self) -> usize {
        self.table.memory_bytes() + self.wheel.memory_bytes() + self.tombstones.capacity() * size_of::<u64>()
    }

    /// The key's entry, dead or alive.
    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        self.table.find(key.hash, |entry| entry.is_of(key))
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
    pub(crate) fn has_twin(&self, place: Place) -> bool {
        let entry = self.table.get(place);
        self.table.find(entry.hash, |other| !std::ptr::eq(other, entry)).is_some()
    }

    /// The entry that an operation of the log means by a hash: the only one, or of several the one that dies last. (Such an
    /// operation was written when the index held one; the others had died by then, only not in the log.)
    pub(crate) fn by_hash(&self, hash: u64) -> Option<Place> {
        if self.twins == 0 {
            return self.table.find(hash, |_| true);
        }
        let mut last = None;
        let _ = self.table.find(hash, |entry| {
            last = last.max(Some(entry.deadline_ms));
            false
        });
        self.table.find(hash, |entry| Some(entry.deadline_ms) == last)
    }

    /// The first entry with this hash for which `is` holds.
    pub(crate) fn find_hash(&self, hash: u64, is: impl FnMut(&Entry) -> bool) -> Option<Place> {
        self.table.find(hash, is)
    }

    /// Changes an entry's object or flags, and what they add up to.
    fn alter<R>(&mut self, place: Place, change: impl FnOnce(&mut Entry, &LiveCounts) -> R) -> R {
        let entry = self.table.get_mut(place);
        self.weight.sub(Weight::of(&entry.handle));
        let result = change(entry, &self.live);
        self.weight.add(Weight::of(&entry.handle));
        result
    }

    /// Makes the key hold `object`, whatever it held before; the old object, to be freed after the lock.
    pub(crate) fn put(
        &mut self,
        key: &Key<'_>,
        object: Object,
        deadline_ms: u64,
        grid: u16,
    ) -> Option<Object> {
        if let Some(place) = self.find(key) {
            return Some(self.put_at(place, object, deadline_ms, grid));
        }
        self.insert(key.hash, key.database, object, deadline_ms, grid);
        None
    }

    /// As [`put`](Self::put), for an entry that is there.
    pub(crate) fn put_at(&mut self, place: Place, object: Object, deadline_ms: u64, grid: u16) -> Object {
        let old = self.replace(place, object);
        self.set_deadline(place, deadline_ms, grid);
        self.arm_fields(place);
        old
    }

    /// Adds an entry for a key that has none.
    pub(crate) fn insert(&mut self, hash: u64, database: u8, object: Object, deadline_ms: u64, grid: u16) {
        let mut handle = Handle::new(object);
        handle.set_dirty(true);
        let place = self.add(hash, database, handle);
        self.table.mark(place);
        self.set_deadline(place, deadline_ms, grid);
        self.arm_fields(place);
    }

    /// Whose changes somebody wants to know of.
    pub(crate) fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn add(&mut self, hash: u64, database: u8, handle: Handle) -> Place {
        self.twins += u32::from(self.table.find(hash, |_| true).is_some());
        self.weight.add(Weight::of(&handle));
        self.counts[usize::from(database)].keys += 1;
        self.table.insert(Entry { hash, deadline_ms: NEVER, handle })
    }

    /// Adds an entry that index files hold: on disk, and as it is there.
    pub(crate) fn load(&mut self, entry: Loaded) {
        let place = self.add(entry.hash, entry.database, entry.handle());
        self.live.take(entry.location, 1);
        self.table.get_mut(place).deadline_ms = entry.deadline_ms;
        self.follow(place, NEVER);
    }

    /// As [`load`](Self::load), of many in the order of their hashes, into an empty shard.
    pub(crate) fn load_all(&mut self, loaded: &[Loaded]) {
        debug_assert!(self.table.len() == 0);
        // The counters of segments are shared by all who load: a run of records of one segment is counted at once.
        let mut run: Option<(Location, u32)> = None;
        let Shard { table, wheel, weight, counts, live, .. } = self;
        table.fill(loaded, |one| {
            let mut handle = one.handle();
            if one.deadline_ms != NEVER {
                handle.set_timer(wheel.arm(one.hash, one.deadline_ms));
            }
            weight.add(Weight::of(&handle));
            let counts = &mut counts[usize::from(one.database)];
            counts.keys += 1;
            counts.with_deadline += u32::from(one.deadline_ms != NEVER);
            run = match run {
                Some((first, count)) if first.slot() == one.location.slot() => Some((first, count + 1)),
                _ => {
                    if let Some((first, count)) = run {
                        live.take(first, count);
                    }
                    Some((one.location, 1))
                }
            };
            Entry { hash: one.hash, deadline_ms: one.deadline_ms, handle }
        });
        if let Some((first, count)) = run {
            live.take(first, count);
        }
        self.twins = loaded.windows(2).filter(|pair| pair[0].hash == pair[1].hash).count() as u32;
    }

    /// Takes all entries of a hash out, as a newer index file says; they are as index files hold them.
    pub(crate) fn unload(&mut self, hash: u64) {
        while let Some(place) = self.table.find(hash, |_| true) {
            drop(self.take_out(place));
        }
    }

    /// Replaces the object of an entry by another of the same key.
    pub(crate) fn replace(&mut self, place: Place, object: Object) -> Object {
        self.note_changed(place);
        self.table.mark(place);
        self.alter(place, |entry, live| {
            entry.soil(live);
            entry.handle.replace(object)
        })
    }

    /// Changes the object of an entry in place.
    pub(crate) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Handle) -> R) -> R {
        self.note_changed(place);
        self.table.mark(place);
        self.alter(place, |entry, live| {
            entry.soil(live);
            change(&mut entry.handle)
        })
    }

    /// Puts the same object in another form, wherever it is: nothing changes for anyone but memory. What it was, to be freed after the lock.
    pub(crate) fn reshape(&mut self, place: Place, object: Object) -> Object {
        let old = self.alter(place, |entry, _| {
            let location = entry.handle.location();
            let old = entry.handle.replace(object);
            if entry.handle.form() != Form::Cold {
                entry.handle.set_location(location);
            }
            old
        });
        self.arm_fields(place);
        old
    }

    /// Sets or clears the mark that the clock hand looks for; whether it was set.
    pub(crate) fn set_accessed(&mut self, place: Place, on: bool) -> bool {
        let handle = &mut self.table.get_mut(place).handle;
        let before = handle.is_accessed();
        if before != on {
            handle.set_accessed(on);
        }
        before
    }

    /// Moves an object's record, if it is still where it was; whether it was.
    pub(crate) fn relocate(&mut self, hash: u64, from: Location, to: Location) -> bool {
        let Some(place) = self.table.find(hash, |entry| entry.handle.location() == Some(from)) else {
            return false;
        };
        self.live.take(to, 1);
        self.live.release(from);
        let entry = self.table.get_mut(place);
        entry.handle.set_location(Some(to));
        entry.handle.set_index_dirty(true);
        self.table.mark(place);
        true
    }

    /// Tells those who watch the entry. Not of its death: they know its deadline.
    #[inline]
    pub(crate) fn note_changed(&mut self, place: Place) {
        if !self.watched.is_empty() {
            self.watched.note(self.table.get(place).hash);
        }
    }

    /// Sets the deadline, and the grid that the log's copy of it is rounded to.
    pub(crate) fn set_deadline(&mut self, place: Place, deadline_ms: u64, grid: u16) {
        self.note_changed(place);
        let entry = self.table.get_mut(place);
        let logged_before = logged_deadline(entry.deadline_ms, entry.handle.grid());
        let before = std::mem::replace(&mut entry.deadline_ms, deadline_ms);
        let changed = entry.handle.grid() != grid || logged_before != logged_deadline(deadline_ms, grid);
        entry.handle.set_grid(grid);
        if changed && !entry.handle.is_dirty() && !entry.handle.is_index_dirty() {
            entry.handle.set_index_dirty(true);
            self.table.mark(place);
        }
        self.follow(place, before);
    }

    /// Counts a deadline that was `before`, and sees to it that a timer fires in time.
    fn follow(&mut self, place: Place, before: u64) {
        let entry = self.table.get_mut(place);
        let deadline_ms = entry.deadline_ms;
        if (before == NEVER) != (deadline_ms == NEVER) {
            let count = &mut self.counts[usize::from(entry.handle.database())].with_deadline;
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
    pub(crate) fn remove(&mut self, place: Place) -> Object {
        self.note_changed(place);
        self.remove_unnoted(place)
    }

    fn remove_unnoted(&mut self, place: Place) -> Object {
        let entry = self.table.get(place);
        if entry.is_persisted() {
            self.tombstones.push(entry.hash);
        }
        self.take_out(place).handle.into_object()
    }

    /// Removes an entry that has died by `now_ms`. The index files need not be told of it if their deadline says the same.
    fn remove_dead(&mut self, place: Place, now_ms: u64) -> Object {
        let entry = self.table.get(place);
        if entry.is_persisted() && (entry.handle.is_index_dirty() || entry.logged_deadline_ms() > now_ms) {
            self.tombstones.push(entry.hash);
        }
        self.take_out(place).handle.into_object()
    }

    fn take_out(&mut self, place: Place) -> Entry {
        let entry = self.table.remove(place);
        if self.twins > 0 && self.table.find(entry.hash, |_| true).is_some() {
            self.twins -= 1;
        }
        if let Some(location) = entry.handle.location() {
            self.live.release(location);
        }
        self.weight.sub(Weight::of(&entry.handle));
        let counts = &mut self.counts[usize::from(entry.handle.database())];
        counts.keys -= 1;
        counts.with_deadline -= u32::from(entry.deadline_ms != NEVER);
        entry
    }

    /// Hands those held keys on that have died by `now_ms`, although their timers have not fired: they do so once a tick. To be called when
    /// [`expire`](Self::expire) has nothing more to do.
    pub(crate) fn hand_on(&mut self, now_ms: u64, held: &mut Vec<u64>) {
        let mut near = Vec::new();
        self.wheel.for_each_next(now_ms, &mut |hash| near.push(hash));
        for hash in near {
            let is_due = |entry: &Entry| {
                entry.deadline_ms <= now_ms && entry.handle.timer() != 0 && is_held(entry.handle.database())
            };
            while let Some(place) = self.table.find(hash, is_due) {
                self.table.get_mut(place).handle.set_timer(0);
                held.push(hash);
            }
        }
    }

    /// Removes what has died by `now_ms`, looking at no more than about `limit` timers. Whether there may be more.
    pub(crate) fn expire(&mut self, now_ms: u64, limit: usize, dead: &mut Dead<'_>) -> bool {
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        let more = self.wheel.advance(now_ms, limit, &mut fired);
        if !more && self.wheel.len() > self.timers_max() {
            self.wheel.sweep(limit, &mut fired);
        }
        for Fired { slot, hash } in fired.drain(..) {
            let Some(place) = self.table.find(hash, |entry| entry.handle.timer() == slot) else { continue };
            if self.twins > 0 {
                self.expire_twins(slot, hash, now_ms, dead);
                continue;
            }
            let entry = self.table.get_mut(place);
            if entry.deadline_ms <= now_ms {
                self.expire_entry(place, now_ms, dead);
            } else {
                entry.handle.set_timer(0);
                self.prune_due(place, now_ms, dead);
                self.rearm(place);
            }
        }
        self.fired = fired;
        more
    }

    fn expire_entry(&mut self, place: Place, now_ms: u64, dead: &mut Dead<'_>) {
        let Entry { deadline_ms, hash, ref handle } = *self.table.get(place);
        if is_held(handle.database()) {
            self.table.get_mut(place).handle.set_timer(0);
            dead.held.push(hash);
            return;
        }
        if dead.witness.is_wanted() && !dead.witness.tell_dead(self.table.get(place), now_ms) {
            // It is on disk: it goes when its key was read. None of those has a twin, whose timers are looked at again and again.
            if let Some(location) = handle.location() {
                self.table.get_mut(place).handle.set_timer(0);
                dead.witness.cold.push(Cold::Dead { hash, location });
                return;
            }
        }
        dead.lag_ms = dead.lag_ms.max(now_ms.saturating_sub(deadline_ms.max(dead.opened_ms)));
        dead.objects.push(self.bury(place, now_ms, &mut dead.record));
    }

    /// A timer does not say which of several entries with its hash it is for: all that are in its slot are looked at. One by one, an entry
    /// that is armed anew in a slot of the same number would be taken for the next.
    fn expire_twins(&mut self, slot: u16, hash: u64, now_ms: u64, dead: &mut Dead<'_>) {
        while let Some(place) = self.table.find(hash, |entry| entry.handle.timer() == slot) {
            let entry = self.table.get_mut(place);
            if entry.deadline_ms <= now_ms {
                self.expire_entry(place, now_ms, dead);
            } else {
                entry.handle.set_timer(0);
            }
        }
        let unarmed = |entry: &Entry| {
            // Those were handed on, and are not armed again.
            if entry.deadline_ms <= now_ms && is_held(entry.handle.database()) {
                return false;
            }
            let first_ms = entry.deaths().map_or(NEVER, |deaths| deaths.first_ms);
            entry.handle.timer() == 0 && entry.deadline_ms.min(first_ms) != NEVER
        };
        while let Some(place) = self.table.find(hash, unarmed) {
            // Never with a timer in between: pruning does not arm one that is to be found here again.
            self.prune_due(place, now_ms, dead);
            self.rearm(place);
        }
    }

    /// Removes a dead entry, and adds its deletion to `record` if the log holds a later deadline for it.
    pub(crate) fn bury(&mut self, place: Place, now_ms: u64, record: &mut Vec<u8>) -> Object {
        let entry = self.table.get(place);
        if entry.handle.grid() != 0 && entry.logged_deadline_ms() > now_ms {
            let name = match entry.handle.view() {
                Some(view) => self.name(place, view.database(), view.key()),
                None => match entry.handle.idle() {
                    Some(flat) => self.name(place, layout::database(flat), layout::parts(flat).key),
                    // Of entries that share a hash none is cold.
                    None => Name::Hash(entry.hash),
                },
            };
            Operation::Delete { name }.encode(record);
        }
        self.remove_dead(place, now_ms)
    }

    /// How the log is to name an entry's key.
    pub(crate) fn name<'k>(&self, place: Place, database: u8, key: &'k [u8]) -> Name<'k> {
        // Which keys share a hash with it is not known among copies.
        if self.private || self.has_twin(place) {
            Name::Key { database, key }
        } else {
            Name::Hash(self.table.get(place).hash)
        }
    }

    /// How many keys of all numbered databases live at `now_ms`. Looks at each.
    pub(crate) fn live_keys(&self, now_ms: u64) -> u64 {
        let mut live = 0;
        self.table.for_each(&mut |entry| {
            live += u64::from(entry.deadline_ms > now_ms && !is_internal(entry.handle.database()));
        });
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

    /// Takes all keys of numbered databases out, or those of one. What was taken out, to be freed after the lock.
    pub(crate) fn clear(
        &mut self,
        database: Option<u8>,
        skip: u32,
        now_ms: u64,
    ) -> (Option<Cleared>, Vec<Object>) {
        self.note_cleared(database, now_ms);
        let mut fresh = Shard { cleared: true, ..Shard::new(skip, now_ms, Arc::clone(&self.live)) };
        let others =
            |database: u8| (0..INDEX_DATABASES).any(|other| other != database && self.counts(other).keys > 0);
        let Some(database) = database.filter(|&database| others(database)) else {
            fresh.watched = std::mem::take(&mut self.watched);
            self.move_internal(&mut fresh);
            return (Some(Cleared(std::mem::replace(self, fresh))), Vec::new());
        };
        let mut hashes = Vec::new();
        self.table.for_each(&mut |entry| {
            if entry.handle.database() == database {
                hashes.push(entry.hash);
            }
        });
        let taken = hashes.into_iter().filter_map(|hash| {
            let place = self.table.find(hash, |entry| entry.handle.database() == database)?;
            Some(self.remove_unnoted(place))
        });
        let taken = taken.collect();
        (None, taken)
    }

    /// Moves the keys of internal databases into another shard of the same hashes. Costs as much as there are keys.
    fn move_internal(&mut self, to: &mut Shard) {
        if (DATABASES..INDEX_DATABASES).all(|database| self.counts(database).keys == 0) {
            return;
        }
        let mut hashes = Vec::new();
        self.table.for_each(&mut |entry| {
            if is_internal(entry.handle.database()) {
                hashes.push(entry.hash);
            }
        });
        for hash in hashes {
            let Some(place) = self.table.find(hash, |entry| is_internal(entry.handle.database())) else {
                continue;
            };
            // Taken before it is given back: the segment must not seem to be without live records for a moment.
            if let Some(location) = self.table.get(place).handle.location() {
                self.live.take(location, 1);
            }
            let Entry { hash, deadline_ms, mut handle } = self.take_out(place);
            handle.set_timer(0);
            let database = handle.database();
            let place = to.add(hash, database, handle);
            to.table.mark(place);
            to.table.get_mut(place).deadline_ms = deadline_ms;
            to.follow(place, NEVER);
            to.arm_fields(place);
        }
    }

    /// Tells those who watch a key of the database that lives and is about to be taken out.
    fn note_cleared(&mut self, database: Option<u8>, now_ms: u64) {
        let Shard { watched, table, .. } = self;
        watched.note_if(database, |hash| {
            let alive = |entry: &Entry| {
                entry.deadline_ms > now_ms && is_cleared_by(database, entry.handle.database())
            };
            table.find(hash, alive).is_some()
        });
    }
}

/// A shard whose keys were all removed at once: what its entries held of segments is given back when it is dropped, in the background.
pub(crate) struct Cleared(Shard);

impl Drop for Cleared {
    fn drop(&mut self) {
        let Shard { table, live, .. } = &self.0;
        table.for_each(&mut |entry| {
            if let Some(location) = entry.handle.location() {
                live.release(location);
            }
        });
    }
}
