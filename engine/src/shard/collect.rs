//! What a checkpoint takes from a shard, a range of hashes at a time, and how it says afterwards that it was written.

use super::{Entry, Shard, Weight};
use crate::expiry::NEVER;
use crate::location::Location;
use crate::object::{Form, Packed, Policy, View, layout};
use crate::table::Visit;

/// The object of an entry, as it was when it was collected.
pub(crate) enum Image {
    /// Flat, and shared: nobody changes it, it is only replaced.
    Flat(Packed),
    /// Flat but for its payload, which is compressed.
    Idle(Packed),
    /// Flattened for us.
    Flattened(Vec<u8>),
}

impl Image {
    fn head(&self) -> &[u8] {
        match self {
            Image::Flat(packed) | Image::Idle(packed) => packed.bytes(),
            Image::Flattened(bytes) => bytes,
        }
    }
}

/// An entry that the index files have otherwise or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectedEntry {
    pub(crate) hash: u64,
    /// As the log holds it: for an idle policy, rounded up.
    pub(crate) deadline_ms: u64,
    pub(crate) grid: u16,
    pub(crate) database: u8,
}

/// An object that no segment holds as it is.
pub(crate) struct CollectedObject {
    pub(crate) entry: CollectedEntry,
    /// The latest moment at which it can die.
    pub(crate) dies_ms: u64,
    pub(crate) image: Image,
}

/// What has changed in a range of hashes.
#[derive(Default)]
pub(crate) struct Collected {
    /// The range, ends included.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Objects to be written, with their entries.
    pub(crate) objects: Vec<CollectedObject>,
    /// Entries whose objects a segment holds.
    pub(crate) entries: Vec<(CollectedEntry, Location)>,
    /// Hashes that the index files have to forget.
    pub(crate) removed: Vec<u64>,
    /// Something happened in the range, even if nothing of it is left.
    pub(crate) marked: bool,
}

impl Collected {
    /// Whether there is nothing to say about the range. Of one in which a new key came and went there is: its cut, for the log may have what
    /// happened to the key, but not the key.
    pub(crate) fn is_empty(&self) -> bool {
        !self.marked && self.objects.is_empty() && self.entries.is_empty() && self.removed.is_empty()
    }
}

impl Entry {
    fn collect(&mut self, into: &mut Collected) {
        let entry = CollectedEntry {
            hash: self.hash,
            deadline_ms: self.logged_deadline_ms(),
            grid: self.handle.grid(),
            database: self.handle.database(),
        };
        if let Some(location) = self.handle.location() {
            self.handle.set_index_dirty(false);
            into.entries.push((entry, location));
            return;
        }
        let policy: Option<Policy> = match self.handle.view() {
            Some(view) => view.policy(),
            None => self.handle.idle().and_then(|flat| layout::parts(flat).policy),
        };
        let limit = policy.map_or(NEVER, |policy| policy.absolute_ms);
        let dies_ms = if limit == NEVER { entry.deadline_ms } else { limit };
        let image = match (self.handle.share(), self.handle.view()) {
            (Some(packed), _) if self.handle.form() == Form::Idle => Image::Idle(packed),
            (Some(packed), _) => Image::Flat(packed),
            (None, Some(View::Structured(structured))) => {
                let mut flat = Vec::new();
                structured.encode(&mut flat);
                Image::Flattened(flat)
            }
            // Flat objects are shared, and cold ones have a location.
            (None, _) => return,
        };
        self.handle.set_dirty(false);
        self.handle.set_index_dirty(false);
        into.objects.push(CollectedObject { entry, dies_ms, image });
    }
}

impl Shard {
    /// Collects what has changed around the hash `from`, or everything there is, and takes it as written. One hold's worth: the entries
    /// of one segment of the table. `tombstones` are those taken before of this shard.
    ///
    /// A large structured object is flattened here, under the lock, which takes about a millisecond for each megabyte.
    pub(crate) fn collect(&mut self, from: u64, all: bool, tombstones: &[u64]) -> Collected {
        let Shard { table, weight, tombstones: fresh, twins, .. } = self;
        let mut visit = table.visit(from);
        let Visit { from, to, marked, .. } = visit;
        let mut collected = Collected { from, to, marked, ..Collected::default() };
        let removed = &mut collected.removed;
        let within =
            tombstones.partition_point(|&hash| hash < from)..tombstones.partition_point(|&hash| hash <= to);
        removed.extend_from_slice(&tombstones[within]);
        if !fresh.is_empty() {
            fresh.retain(|&hash| {
                let within = (from..=to).contains(&hash);
                if within {
                    removed.push(hash);
                }
                !within
            });
        }
        if !all && !marked && removed.is_empty() {
            return collected;
        }
        removed.sort_unstable();
        removed.dedup();
        let mut shared = Vec::new();
        if *twins > 0 {
            let mut hashes: Vec<u64> = visit.entries().map(|entry| entry.hash).collect();
            hashes.sort_unstable();
            shared.extend(hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
        }
        for entry in visit.entries() {
            let handle = &entry.handle;
            let changed = handle.is_dirty() || handle.is_index_dirty();
            // Whoever names a hash in a delta says everything about it.
            let named = || {
                !collected.removed.is_empty() && collected.removed.binary_search(&entry.hash).is_ok()
                    || shared.contains(&entry.hash)
            };
            if !(all || changed || named()) {
                continue;
            }
            // The dead ones too: a transaction that began when one of them lived may still change it.
            weight.sub(Weight::of(&entry.handle));
            entry.collect(&mut collected);
            weight.add(Weight::of(&entry.handle));
        }
        if all {
            collected.removed.clear();
        }
        table.unmark(from);
        collected
    }

    /// Begins the collection of the shard, of what has changed or of all: the hashes of removed entries that index files still hold.
    pub(crate) fn begin_collection(&mut self, all: bool) -> Vec<u64> {
        if all {
            self.cleared = false;
        }
        std::mem::take(&mut self.tombstones)
    }

    /// Says that a segment now holds the collected object at `location`, if the entry still has it; whether it has.
    pub(crate) fn settle(&mut self, object: &CollectedObject, location: Location) -> bool {
        let Some(place) = self.find_written(object) else { return false };
        self.live.take(location, 1);
        self.table.get_mut(place).handle.set_location(Some(location));
        true
    }

    /// Takes back that the object was about to be written.
    pub(crate) fn unsettle(&mut self, object: &CollectedObject) {
        if let Some(place) = self.find_written(object) {
            self.table.mark(place);
            self.alter(place, |entry, _| {
                entry.handle.set_dirty(true);
                entry.handle.set_index_dirty(true);
            });
        }
    }

    /// Whoever changes an object makes it dirty: one that is neither dirty nor anywhere on disk is as it was collected, in whatever form.
    fn find_written(&self, object: &CollectedObject) -> Option<crate::table::Place> {
        let head = object.image.head();
        let (database, key) = (layout::database(head), layout::parts(head).key);
        self.table.find(object.entry.hash, |entry| {
            let handle = &entry.handle;
            let is_of = match handle.view() {
                Some(view) => view.is_of(database, key),
                None => handle.idle().is_some_and(|flat| layout::is_of(flat, database, key)),
            };
            is_of && !handle.is_dirty() && handle.location().is_none()
        })
    }
}
