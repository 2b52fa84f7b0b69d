//! The segments that are open: which slot each has, what is known of it, and which of them are whole.
//!
//! A segment is here from before an entry refers to it until no entry and no reader does. Its file is unlinked only once the manifest no
//! longer lists it.

use crate::dictionary::Dictionary;
use crate::limits::SEGMENT_SLOTS;
use crate::live::LiveCounts;
use crate::location::Location;
use crate::segment::SegmentFile;
use sessile_wal::sync::RwLock;
use sessile_wal::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An open segment.
pub(crate) struct Segment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) slot: u32,
    pub(crate) records: u32,
    pub(crate) bytes: u64,
    /// The latest moment at which one of its records can die, in ms since the epoch, as it was when it was written.
    pub(crate) dies_ms: u64,
    /// Compaction has found damage in it: it is left as it is.
    pub(crate) damaged: AtomicBool,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("path", &self.file.path())
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Segment {
    pub(crate) fn id(&self) -> u32 {
        self.file.id()
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// See the module's page.
pub(crate) struct Segments {
    pub(crate) live: Arc<LiveCounts>,
    slots: RwLock<Slots>,
    dictionaries: RwLock<BTreeMap<u32, Arc<Dictionary>>>,
}

#[derive(Default)]
struct Slots {
    open: Vec<Option<Arc<Segment>>>,
    /// Free ones below the length of `open`, the longest free first: so that a location means something else as late as possible.
    free: VecDeque<u32>,
}

impl Segments {
    pub(crate) fn new(live: Arc<LiveCounts>) -> Segments {
        Segments { live, slots: RwLock::default(), dictionaries: RwLock::default() }
    }

    /// A slot for a segment to come; `None` if there are as many as there can be.
    pub(crate) fn reserve(&self) -> Option<u32> {
        let mut slots = self.slots.write();
        if slots.open.len() < SEGMENT_SLOTS as usize && slots.free.len() < 64 {
            slots.open.push(None);
            // Below `SEGMENT_SLOTS`, so it fits.
            return Some((slots.open.len() - 1) as u32);
        }
        slots.free.pop_front()
    }

    /// Gives a reserved slot back that was not used, or one whose segment is gone.
    pub(crate) fn give_back(&self, slot: u32) {
        let mut slots = self.slots.write();
        if let Some(open) = slots.open.get_mut(slot as usize) {
            *open = None;
            slots.free.push_back(slot);
        }
    }

    /// Puts a segment in the slot that was reserved for it.
    pub(crate) fn open(&self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        if let Some(open) = self.slots.write().open.get_mut(segment.slot as usize) {
            *open = Some(Arc::clone(&segment));
        }
        segment
    }

    /// The segment that a location is in.
    pub(crate) fn at(&self, location: Location) -> Option<Arc<Segment>> {
        self.slots.read().open.get(location.slot() as usize)?.clone()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.slots.read().open.iter().flatten().cloned().collect()
    }

    /// How many of a segment's records are held by entries.
    pub(crate) fn live_records(&self, segment: &Segment) -> u32 {
        self.live.get(segment.slot)
    }

    /// Bytes of a segment's live records, about: as if all had the same length.
    pub(crate) fn live_bytes(&self, segment: &Segment) -> u64 {
        let live = u64::from(self.live_records(segment).min(segment.records));
        segment
            .bytes
            .checked_mul(live)
            .map_or(segment.bytes, |product| product / u64::from(segment.records.max(1)))
    }

    pub(crate) fn add_dictionary(&self, dictionary: Arc<Dictionary>) {
        self.dictionaries.write().insert(dictionary.id(), dictionary);
    }

    pub(crate) fn dictionary(&self, id: u32) -> Option<Arc<Dictionary>> {
        self.dictionaries.read().get(&id).cloned()
    }

    /// All dictionaries, by id.
    pub(crate) fn dictionaries(&self) -> Vec<Arc<Dictionary>> {
        self.dictionaries.read().values().cloned().collect()
    }
}
