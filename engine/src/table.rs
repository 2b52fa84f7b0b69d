//! An extendible hash table that grows a little at a time and can be scanned while it grows.
//!
//! The index of each shard is one, and so is a hash that has outgrown its packed form. What it must never do: stall (the largest
//! single step is the split of one full segment, about 10 µs), or let a scan miss an element that was there throughout.
//!
//! ```text
//! hash  ┌ skipped ┬ directory ┬ ………………………… ┬ fingerprint ┬ slot ┐
//!       └ (shard) ┴ (top bits)┴             ┴   5 bits    ┴ low  ┘
//!
//! directory[top bits] ─► segment ─┬─ slots:   u16 each, 0 = free, else fingerprint << 11 | position + 1
//!                                 └─ entries: dense, at most 1280
//! ```
//!
//! The directory is indexed by the *top* bits of the hash, so every segment covers a contiguous range of hashes, and so does
//! every set of shards chosen by still higher bits. A scan walks hashes upwards and its cursor is a hash: when a segment
//! splits, the range splits with it and the cursor keeps its meaning. (Extendible hashing: Fagin et al., 1979; segments of a
//! fixed size and fingerprints: Dash, Lu et al., VLDB 2020.)
//!
//! Cost beside the elements themselves: slots at 31–62 % load (3.2–6.4 bytes per element) and half a chunk of slack in `entries`, 6 %.

mod chunks;

use crate::limits::{SEGMENT_ENTRIES_MAX, SEGMENT_SLOTS_MAX, SEGMENT_SLOTS_MIN};
use crate::prefetch;
use chunks::Chunks;

/// Bits of a slot that hold the position; the rest is fingerprint.
const POSITION_BITS: u32 = 11;
const POSITION_MASK: u16 = (1 << POSITION_BITS) - 1;

const _: () = assert!(SEGMENT_ENTRIES_MAX < POSITION_MASK as usize);
const _: () = assert!(SEGMENT_SLOTS_MAX.is_power_of_two() && SEGMENT_SLOTS_MIN.is_power_of_two());
const _: () = assert!(SEGMENT_ENTRIES_MAX * 8 == SEGMENT_SLOTS_MAX * 5, "full at a load of 62.5 %");

/// The deepest directory: 2^24 segments hold 10^10 elements. Only more than 1,280 elements that share 24 bits of a keyed
/// hash could ask for more, which does not happen; rather than let the directory take all memory, their segment then grows
/// past its maximum as far as a slot can point.
const DEPTH_MAX: u32 = 24;

/// An element knows its hash; the table never computes one.
pub(crate) trait Hashed {
    fn hash(&self) -> u64;
}

/// Where an element is, until the next change of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: u32,
    position: u32,
}

/// See the module's page.
pub(crate) struct Table<T> {
    directory: Vec<u32>,
    segments: Vec<Segment<T>>,
    /// log2 of the directory's length.
    depth: u32,
    /// Top bits of every hash that are alike in this table.
    skip: u32,
    len: usize,
}

struct Segment<T> {
    entries: Chunks<T>,
    slots: Box<[u16]>,
    /// How many of the directory's bits the segment's elements share.
    depth: u32,
    /// Whether any element was marked since the segment was last visited.
    marked: bool,
}

/// A segment's elements, and the range of hashes that it covers, ends included.
pub(crate) struct Visit<'a, T> {
    pub(crate) from: u64,
    pub(crate) to: u64,
    entries: &'a mut Chunks<T>,
    /// Whether any of them was [marked](Table::mark) since [`Table::unmark`].
    pub(crate) marked: bool,
}

impl<T> Visit<'_, T> {
    /// The elements, in no particular order.
    pub(crate) fn entries(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut()
    }
}

impl<T: Hashed> Table<T> {
    /// An empty table for hashes that share their top `skip` bits.
    pub(crate) fn new(skip: u32) -> Table<T> {
        Table { directory: vec![0], segments: vec![Segment::new(0)], depth: 0, skip, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn directory_index(&self, hash: u64) -> usize {
        // `depth` is 0 for a new table, and a shift by 64 is not a shift.
        ((hash << self.skip) >> 32 >> (32 - self.depth)) as usize
    }

    fn segment_index(&self, hash: u64) -> usize {
        self.directory[self.directory_index(hash)] as usize
    }

    /// First stage of a lookup to come: asks for the slot.
    pub(crate) fn prefetch_slot(&self, hash: u64) {
        let segment = &self.segments[self.segment_index(hash)];
        prefetch::line(std::ptr::from_ref(&segment.slots[segment.home(hash)]).cast());
    }

    /// Second stage, with the slot there: asks for the entry.
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        let segment = &self.segments[self.segment_index(hash)];
        if let Some(position) = segment.likely(hash) {
            prefetch::line(std::ptr::from_ref(segment.entries.get(position)).cast());
        }
    }

    /// Third stage, with the entry there: the entry that most likely is meant, to ask for what it points at.
    pub(crate) fn likely(&self, hash: u64) -> Option<&T> {
        let segment = &self.segments[self.segment_index(hash)];
        segment.likely(hash).map(|position| segment.entries.get(position))
    }

    /// The element with this hash for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<Place> {
        let segment = self.segment_index(hash);
        let position = self.segments[segment].find(hash, is)?;
        Some(Place { segment: segment as u32, position: position as u32 })
    }

    #[inline]
    pub(crate) fn get(&self, place: Place) -> &T {
        self.segments[place.segment as usize].entries.get(place.position as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: Place) -> &mut T {
        self.segments[place.segment as usize].entries.get_mut(place.position as usize)
    }

    /// Notes that the segment of this element has something for the next [`visit`](Self::visit) to look at.
    #[inline]
    pub(crate) fn mark(&mut self, place: Place) {
        self.segments[place.segment as usize].marked = true;
    }

    /// The segment that holds `hash`. Its elements' hashes must not change.
    pub(crate) fn visit(&mut self, hash: u64) -> Visit<'_, T> {
        let index = self.segment_index(hash);
        let segment = &mut self.segments[index];
        let shared = self.skip + segment.depth;
        // The hashes of a segment differ in the low bits only; a shift by 64 is not a shift, but a depth is at most 24.
        let differ = u64::MAX >> shared;
        Visit {
            from: hash & !differ,
            to: hash | differ,
            entries: &mut segment.entries,
            marked: segment.marked,
        }
    }

    /// Forgets the marks of the segment that holds `hash`.
    pub(crate) fn unmark(&mut self, hash: u64) {
        let index = self.segment_index(hash);
        self.segments[index].marked = false;
    }

    /// Adds an element; the caller has made sure that its equal isn't there.
    pub(crate) fn insert(&mut self, element: T) -> Place {
        let hash = element.hash();
        let mut index = self.segment_index(hash);
        while self.segments[index].entries.len() >= SEGMENT_ENTRIES_MAX
            && self.segments[index].depth < DEPTH_MAX
        {
            self.split(index, hash);
            index = self.segment_index(hash);
        }
        let position = self.segments[index].insert(element);
        self.len += 1;
        Place { segment: index as u32, position: position as u32 }
    }

    /// Fills an empty table with what `make` makes of `sources`, which are in the order of their hashes: nothing is moved twice, and no room is
    /// left unused.
    pub(crate) fn fill<S: Hashed>(&mut self, sources: &[S], mut make: impl FnMut(&S) -> T) {
        // Room for some growth before the first split.
        const FILL: usize = SEGMENT_ENTRIES_MAX - SEGMENT_ENTRIES_MAX / 8;
        /// Depth, and number of elements, of each segment in order.
        fn part<S: Hashed>(sources: &[S], skip: u32, depth: u32, parts: &mut Vec<(u32, usize)>) {
            if sources.len() <= FILL || depth == DEPTH_MAX {
                parts.push((depth, sources.len()));
                return;
            }
            let bit = 1u64 << (63 - skip - depth);
            let (lower, upper) = sources.split_at(sources.partition_point(|s| s.hash() & bit == 0));
            part(lower, skip, depth + 1, parts);
            part(upper, skip, depth + 1, parts);
        }
        assert!(self.len == 0);
        self.len = sources.len();
        let mut parts = Vec::new();
        part(sources, self.skip, 0, &mut parts);
        self.depth = parts.iter().map(|&(depth, _)| depth).max().unwrap_or(0);
        self.directory = Vec::with_capacity(1 << self.depth);
        self.segments = Vec::with_capacity(parts.len());
        let mut rest = sources;
        for (depth, count) in parts {
            let number = self.segments.len() as u32;
            self.directory.extend(std::iter::repeat_n(number, 1 << (self.depth - depth)));
            let (own, others) = rest.split_at(count);
            rest = others;
            self.segments.push(Segment::from_entries(depth, own.iter().map(&mut make).collect()));
        }
    }

    /// Takes an element out.
    pub(crate) fn remove(&mut self, place: Place) -> T {
        self.len -= 1;
        self.segments[place.segment as usize].remove(place.position as usize)
    }

    /// Splits the segment that holds `hash`, doubling the directory first if it has no bit to spare.
    fn split(&mut self, index: usize, hash: u64) {
        let depth = self.segments[index].depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let bit = 1u64 << (63 - self.skip - depth);
        let old = std::mem::replace(&mut self.segments[index], Segment::new(depth + 1));
        let marked = old.marked;
        let (mut lower, mut upper) = (Chunks::new(), Chunks::new());
        for element in old.entries.into_iter() {
            if element.hash() & bit == 0 { lower.push(element) } else { upper.push(element) }
        }
        self.segments[index] = Segment { marked, ..Segment::from_entries(depth + 1, lower) };
        let fresh = self.segments.len() as u32;
        self.segments.push(Segment { marked, ..Segment::from_entries(depth + 1, upper) });
        // The segment's share of the directory is contiguous; its upper half now belongs to the new segment.
        let width = 1usize << (self.depth - depth);
        let start = self.directory_index(hash) & !(width - 1);
        self.directory[start + width / 2..start + width].fill(fresh);
    }

    /// Calls `each` for elements in the order of their hashes, from the first hash that is at least `from`, until `count` or more
    /// were seen. Elements whose hashes agree in all but the low `ignored` bits are never parted. The hash to go on from, or
    /// `None` at the end.
    pub(crate) fn scan(
        &self,
        from: u64,
        count: usize,
        ignored: u32,
        each: &mut dyn FnMut(&T),
    ) -> Option<u64> {
        let mut at = self.directory_index(from);
        let mut seen = 0;
        while at < self.directory.len() {
            let segment = &self.segments[self.directory[at] as usize];
            let mut found: Vec<&T> = segment.entries.iter().filter(|e| e.hash() >= from).collect();
            if seen + found.len() > count {
                found.sort_unstable_by_key(|e| e.hash());
                for pair in 0..found.len() {
                    each(found[pair]);
                    seen += 1;
                    if let Some(next) = found.get(pair + 1)
                        && seen >= count
                        && next.hash() >> ignored != found[pair].hash() >> ignored
                    {
                        return Some(next.hash() >> ignored << ignored);
                    }
                }
            } else {
                seen += found.len();
                found.into_iter().for_each(&mut *each);
            }
            at = (at & !(self.width(segment) - 1)) + self.width(segment);
            if seen >= count && at < self.directory.len() {
                return Some(self.first_hash(at, from));
            }
        }
        None
    }

    /// How many entries of the directory lead to the segment.
    fn width(&self, segment: &Segment<T>) -> usize {
        1 << (self.depth - segment.depth)
    }

    /// The lowest hash of a directory entry; the skipped top bits are those of `like`.
    fn first_hash(&self, at: usize, like: u64) -> u64 {
        let top = if self.skip == 0 { 0 } else { like >> (64 - self.skip) << (64 - self.skip) };
        // `at` is positive, so `depth` is too, and both shifts are below 64.
        top | (at as u64) << (64 - self.depth) >> self.skip
    }

    /// Calls `each` for every element, in no particular order.
    pub(crate) fn for_each(&self, each: &mut dyn FnMut(&T)) {
        for segment in &self.segments {
            segment.entries.iter().for_each(&mut *each);
        }
    }

    /// The elements, in no particular order.
    pub(crate) fn iter(&self) -> Elements<'_, T> {
        Elements { segments: self.segments.iter(), current: None, position: 0 }
    }

    /// An element drawn at random, each as likely as the others; `None` if there is none.
    pub(crate) fn draw(&self, random: &mut dyn FnMut() -> u64) -> Option<&T> {
        /// A table that was emptied is mostly empty segments: then the walk of [`nth`](Self::nth) is shorter than the luck it takes.
        const TRIES_MAX: usize = 64;
        if self.len == 0 {
            return None;
        }
        if self.segments.len() > 1 {
            for _ in 0..TRIES_MAX {
                // Any entry of the directory, and any position that a segment may have: what is there counts, by the first entry that
                // leads to its segment, so that large shares of the hashes are not drawn more often than small ones.
                let at = below(random(), self.directory.len());
                let position = below(random(), SEGMENT_ENTRIES_MAX);
                let segment = &self.segments[self.directory[at] as usize];
                if at & (self.width(segment) - 1) == 0
                    && position < segment.entries.len()
                    && segment.entries.len() <= SEGMENT_ENTRIES_MAX
                {
                    return Some(segment.entries.get(position));
                }
            }
        }
        self.nth(below(random(), self.len))
    }

    /// The `index`-th element in an order that holds until the next change.
    pub(crate) fn nth(&self, mut index: usize) -> Option<&T> {
        for segment in &self.segments {
            if index < segment.entries.len() {
                return Some(segment.entries.get(index));
            }
            index -= segment.entries.len();
        }
        None
    }

    /// An element of the segment that `random` falls into, or of the next one that has any. Nearly uniform: segments cover equal
    /// shares of the hashes up to a factor of two, and hold elements in proportion.
    pub(crate) fn near(&self, random: u64) -> Option<&T> {
        let start = self.directory_index(random);
        for offset in 0..self.directory.len() {
            let at = (start + offset) & (self.directory.len() - 1);
            let entries = &self.segments[self.directory[at] as usize].entries;
            if entries.len() > 0 {
                return Some(entries.get(random as u32 as usize % entries.len()));
            }
        }
        None
    }

    /// Bytes the table itself occupies, elements included, what they point to excluded.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.segments.iter().map(Segment::memory_bytes).sum::<usize>()
            + self.segments.capacity() * size_of::<Segment<T>>()
            + self.directory.capacity() * size_of::<u32>()
    }
}

/// A random number below a bound that is positive: the high half of the product.
fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

/// See [`Table::iter`].
pub(crate) struct Elements<'a, T> {
    segments: std::slice::Iter<'a, Segment<T>>,
    current: Option<&'a Segment<T>>,
    position: usize,
}

impl<T> Clone for Elements<'_, T> {
    fn clone(&self) -> Self {
        Elements { segments: self.segments.clone(), ..*self }
    }
}

impl<'a, T> Iterator for Elements<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(segment) = self.current
                && self.position < segment.entries.len()
            {
                self.position += 1;
                return Some(segment.entries.get(self.position - 1));
            }
            self.current = Some(self.segments.next()?);
            self.position = 0;
        }
    }
}

impl<T: Hashed> Segment<T> {
    fn new(depth: u32) -> Segment<T> {
        Segment {
            entries: Chunks::new(),
            slots: vec![0; SEGMENT_SLOTS_MIN].into_boxed_slice(),
            depth,
            marked: false,
        }
    }

    fn from_entries(depth: u32, entries: Chunks<T>) -> Segment<T> {
        let mut segment = Segment { slots: Box::default(), entries, depth, marked: false };
        segment.rebuild(Segment::<T>::slots_for(segment.entries.len()));
        segment
    }

    /// The number of slots for `len` elements at a load of at most 62.5 %.
    fn slots_for(len: usize) -> usize {
        (len * 8 / 5 + 1).next_power_of_two().max(SEGMENT_SLOTS_MIN)
    }

    fn rebuild(&mut self, slots: usize) {
        self.slots = vec![0; slots].into_boxed_slice();
        for position in 0..self.entries.len() {
            let hash = self.entries.get(position).hash();
            let slot = self.free_slot(hash);
            self.slots[slot] = Self::slot_value(hash, position);
        }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn slot_value(hash: u64, position: usize) -> u16 {
        // The five bits above the longest slot number.
        let fingerprint = (hash >> SEGMENT_SLOTS_MAX.trailing_zeros()) as u16 & 0x1F;
        fingerprint << POSITION_BITS | (position as u16 + 1)
    }

    fn free_slot(&self, hash: u64) -> usize {
        let mut slot = self.home(hash);
        while self.slots[slot] != 0 {
            slot = self.after(slot);
        }
        slot
    }

    /// The position that the first slot of that fingerprint names, without a look at the entry.
    #[inline]
    fn likely(&self, hash: u64) -> Option<usize> {
        let wanted = Self::slot_value(hash, 0) >> POSITION_BITS;
        let mut slot = self.home(hash);
        loop {
            let value = self.slots[slot];
            if value == 0 {
                return None;
            }
            if value >> POSITION_BITS == wanted {
                return Some((value & POSITION_MASK) as usize - 1);
            }
            slot = self.after(slot);
        }
    }

    #[inline]
    fn find(&self, hash: u64, mut is: impl FnMut(&T) -> bool) -> Option<usize> {
        let wanted = Self::slot_value(hash, 0) >> POSITION_BITS;
        let mut slot = self.home(hash);
        loop {
            let value = self.slots[slot];
            if value == 0 {
                return None;
            }
            if value >> POSITION_BITS == wanted {
                let position = (value & POSITION_MASK) as usize - 1;
                let entry = self.entries.get(position);
                if entry.hash() == hash && is(entry) {
                    return Some(position);
                }
            }
            slot = self.after(slot);
        }
    }

    fn insert(&mut self, element: T) -> usize {
        let len = self.entries.len();
        assert!(len < POSITION_MASK as usize, "{len} elements share {DEPTH_MAX} bits of a keyed hash");
        let hash = element.hash();
        self.entries.push(element);
        let slots = Self::slots_for(len + 1);
        if slots > self.slots.len() {
            self.rebuild(slots);
        } else {
            let slot = self.free_slot(hash);
            self.slots[slot] = Self::slot_value(hash, len);
        }
        len
    }

    /// The slot that points at `position`.
    fn slot_of(&self, position: usize) -> usize {
        let mut slot = self.home(self.entries.get(position).hash());
        while (self.slots[slot] & POSITION_MASK) as usize != position + 1 {
            slot = self.after(slot);
        }
        slot
    }

    fn remove(&mut self, position: usize) -> T {
        self.close_gap(self.slot_of(position));
        let last = self.entries.len() - 1;
        if position != last {
            let slot = self.slot_of(last);
            self.slots[slot] = Self::slot_value(self.entries.get(last).hash(), position);
        }
        let element = self.entries.swap_remove(position);
        self.give_back();
        element
    }

    /// Moves later slots of the same run back, so that no search stops early at the gap.
    fn close_gap(&mut self, mut hole: usize) {
        let mut slot = hole;
        loop {
            slot = self.after(slot);
            let value = self.slots[slot];
            if value == 0 {
                self.slots[hole] = 0;
                return;
            }
            let home = self.home(self.entries.get((value & POSITION_MASK) as usize - 1).hash());
            let mask = self.slots.len() - 1;
            // Movable if its home is not between the hole (excluded) and where it is.
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(hole) & mask {
                self.slots[hole] = value;
                hole = slot;
            }
        }
    }

    /// Returns the slots' memory after many removals, with room so that the next insertions don't grow them at once.
    fn give_back(&mut self) {
        let len = self.entries.len();
        let slots = Self::slots_for(len + len / 8);
        if slots * 2 <= self.slots.len() {
            self.rebuild(slots);
        }
    }

    fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes() + self.slots.len() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    impl Hashed for u64 {
        fn hash(&self) -> u64 {
            *self
        }
    }

    /// A hash that spreads small numbers.
    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ number.wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31)
    }

    #[test]
    fn finds_what_was_inserted_and_not_what_was_removed() {
        let mut table = Table::new(0);
        for number in 0..20_000 {
            table.insert(spread(number));
        }
        for number in (0..20_000).step_by(3) {
            let place = table.find(spread(number), |_| true).expect("inserted");
            assert_eq!(table.remove(place), spread(number));
        }
        for number in 0..20_000 {
            assert_eq!(table.find(spread(number), |_| true).is_some(), number % 3 != 0, "{number}");
        }
        assert_eq!(table.len(), 20_000 - 20_000_usize.div_ceil(3));
    }

    #[test]
    fn a_filled_table_is_as_one_that_grew() {
        for count in [0, 1, 1000, 1280, 5_000, 60_000] {
            let mut hashes: Vec<u64> = (0..count).map(|number| spread(number) >> 3 | 5 << 61).collect();
            hashes.sort_unstable();
            let mut table = Table::new(3);
            table.fill(&hashes, |&hash| hash);
            assert_eq!(table.len(), hashes.len());
            assert!(hashes.iter().all(|&hash| table.find(hash, |_| true).is_some()));
            let mut seen = Vec::new();
            assert!(table.scan(5 << 61, usize::MAX, 0, &mut |&hash| seen.push(hash)).is_none());
            seen.sort_unstable();
            assert_eq!(seen, hashes);
            for number in count..count + 20_000 {
                table.insert(spread(number) >> 3 | 5 << 61);
            }
            assert!((0..count + 20_000).all(|n| table.find(spread(n) >> 3 | 5 << 61, |_| true).is_some()));
        }
    }

    #[test]
    fn costs_at_most_eight_bytes_beside_each_element_of_24_at_any_size() {
        struct Wide([u64; 3]);
        impl Hashed for Wide {
            fn hash(&self) -> u64 {
                self.0[0]
            }
        }
        let mut table = Table::new(0);
        for number in 0..400_000 {
            table.insert(Wide([spread(number), 0, 0]));
            if number % 5_000 == 0 && number > 2_000 {
                let each = table.memory_bytes() as f64 / table.len() as f64;
                assert!(each <= 32.0, "{each:.1} bytes an element at {number}");
            }
        }
    }

    /// No insertion moves more than the elements of one full segment, and the directory.
    #[test]
    fn an_insertion_splits_one_segment_at_most() {
        let mut table = Table::new(6);
        let mut moved_most = 0;
        for number in 0..300_000u64 {
            let hash = spread(number) >> 6;
            let segment = table.segment_index(hash);
            let (before, segments, directory) =
                (table.segments[segment].entries.len(), table.segments.len(), table.directory.len());
            table.insert(hash);
            let split = table.segments.len() - segments;
            assert!(split <= 1, "{split} splits for one insertion");
            assert!(table.directory.len() <= 2 * directory);
            moved_most = moved_most.max(if split == 1 { before } else { 0 });
            assert!(table.segments[segment].entries.len() <= SEGMENT_ENTRIES_MAX);
        }
        assert_eq!(moved_most, SEGMENT_ENTRIES_MAX);
        assert!(table.directory.len() <= 4 * table.segments.len(), "{} entries", table.directory.len());
    }

    #[test]
    fn gives_memory_back_when_emptied() {
        let mut table = Table::new(0);
        for number in 0..100_000 {
            table.insert(spread(number));
        }
        let full = table.memory_bytes();
        for number in 0..100_000 {
            let place = table.find(spread(number), |_| true).expect("inserted");
            table.remove(place);
        }
        assert!(table.memory_bytes() < full / 20, "{} of {full}", table.memory_bytes());
    }

    #[test]
    fn every_element_is_drawn_as_often() {
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            spread(seed ^ seed >> 29)
        };
        for (count, removed) in [(0, 0), (1, 0), (2, 0), (10, 0), (6_000, 0), (30_000, 29_990)] {
            let mut table = Table::new(0);
            for number in 0..count {
                table.insert(spread(number));
            }
            for number in 0..removed {
                let place = table.find(spread(number), |_| true).expect("inserted");
                table.remove(place);
            }
            let (left, mut drawn) = (count - removed, BTreeMap::new());
            let times = left * 40;
            for _ in 0..times {
                *drawn.entry(*table.draw(&mut random).expect("not empty")).or_insert(0u64) += 1;
            }
            assert_eq!(table.draw(&mut random).is_some(), left > 0);
            // 40 each are expected, and the deviation of a fair draw is about 6.3.
            let chi: f64 = drawn.values().map(|&n| (n as f64 - 40.0).powi(2) / 40.0).sum::<f64>()
                + 40.0 * (left - drawn.len() as u64) as f64;
            assert!(chi < left as f64 * 1.1 + 30.0, "{chi} for {left}");
        }
    }

    #[test]
    fn elements_with_equal_hashes_live_side_by_side_and_are_scanned_together() {
        struct Twin(u64, u32);
        impl Hashed for Twin {
            fn hash(&self) -> u64 {
                self.0
            }
        }
        let mut table = Table::new(0);
        for twin in 0..3 {
            for number in 0..5_000 {
                table.insert(Twin(spread(number), twin));
            }
        }
        assert!(table.find(spread(7), |t| t.1 == 2).is_some());
        assert!(table.find(spread(7), |t| t.1 == 3).is_none());
        let (mut from, mut seen) = (0, 0);
        loop {
            let mut hashes = BTreeMap::new();
            let next = table.scan(from, 10, 12, &mut |t: &Twin| *hashes.entry(t.0).or_insert(0) += 1);
            assert!(hashes.values().all(|&n| n == 3));
            seen += hashes.len();
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen, 5_000);
    }

    proptest! {
        #[test]
        fn equals_a_set_and_a_scan_misses_nothing_that_stayed(
            operations in prop::collection::vec((0u64..3_000, 0u8..8), 1..6_000),
            skip in 0u32..8,
            count in 1usize..50,
        ) {
            let top = if skip == 0 { 0 } else { (0b1010_1010u64 & ((1 << skip) - 1)) << (64 - skip) };
            let hash = |number: u64| top | spread(number) >> skip;
            let mut table = Table::new(skip);
            let mut model = BTreeSet::new();
            let stayed: Vec<u64> = (10_000..12_000).map(hash).collect();
            for &h in &stayed {
                table.insert(h);
            }
            let (mut from, mut scanned, mut done) = (top, BTreeSet::new(), false);
            for (number, action) in operations {
                let h = hash(number);
                match action {
                    0..=3 if model.insert(h) => { table.insert(h); }
                    4..=6 if model.remove(&h) => {
                        let place = table.find(h, |_| true).expect("in the model");
                        table.remove(place);
                    }
                    0..=6 => {}
                    _ if !done => match table.scan(from, count, 12, &mut |&e| { scanned.insert(e); }) {
                        Some(next) => { prop_assert!(next > from); from = next }
                        None => done = true,
                    },
                    _ => {}
                }
                prop_assert_eq!(table.find(h, |_| true).is_some(), model.contains(&h));
            }
            while !done {
                match table.scan(from, count, 12, &mut |&e| { scanned.insert(e); }) {
                    Some(next) => { prop_assert!(next > from); from = next }
                    None => done = true,
                }
            }
            prop_assert_eq!(table.len(), model.len() + stayed.len());
            prop_assert!(stayed.iter().all(|h| scanned.contains(h)));
            let mut all = BTreeSet::new();
            table.for_each(&mut |&e| { all.insert(e); });
            model.extend(&stayed);
            prop_assert_eq!(&all, &model);
            prop_assert_eq!(table.iter().copied().collect::<Vec<_>>().len(), model.len());
            prop_assert_eq!(&table.iter().copied().collect::<BTreeSet<_>>(), &model);
            prop_assert_eq!((0..table.len()).filter_map(|n| table.nth(n).copied()).collect::<BTreeSet<_>>(), model);
        }
    }
}
