//! Where a record is on disk: the slot of its segment in the table of open segments, and its offset in it.
//!
//! A slot is the segment's number while the database is open; index files name segments by their ids. 40 bits, because an index entry has
//! no more for it.

use crate::limits::SEGMENT_SLOTS;
use std::num::NonZeroU64;

/// Records begin on multiples of this in their segment.
pub(crate) const RECORD_ALIGNMENT: u64 = 4;
/// Bits of an offset, in units of [`RECORD_ALIGNMENT`]: 64 MiB.
const OFFSET_BITS: u32 = 24;
/// Bits of a slot.
const SLOT_BITS: u32 = SEGMENT_SLOTS.trailing_zeros();
/// Bits of a location.
pub(crate) const LOCATION_BITS: u32 = OFFSET_BITS + SLOT_BITS;
/// Offsets are below this.
pub(crate) const OFFSET_END: u64 = RECORD_ALIGNMENT << OFFSET_BITS;

/// See the module's page. Not zero, since no record is where a segment's header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location(NonZeroU64);

impl Location {
    /// # Panics
    /// If the slot or the offset is out of range, the offset is not aligned, or zero: writers keep to all of that.
    pub(crate) fn new(slot: u32, offset: u64) -> Location {
        assert!(slot < SEGMENT_SLOTS && offset < OFFSET_END && offset.is_multiple_of(RECORD_ALIGNMENT));
        let bits = (u64::from(slot) << OFFSET_BITS) | (offset / RECORD_ALIGNMENT);
        Location(NonZeroU64::new(bits).expect("a record is behind its segment's header"))
    }

    /// The bits that [`bits`](Self::bits) gave; `None` for 0.
    pub(crate) fn from_bits(bits: u64) -> Option<Location> {
        NonZeroU64::new(bits).map(Location)
    }

    /// Below 2^[`LOCATION_BITS`].
    pub(crate) fn bits(self) -> u64 {
        self.0.get()
    }

    /// The segment's slot.
    pub(crate) fn slot(self) -> u32 {
        // 16 bits.
        (self.0.get() >> OFFSET_BITS) as u32
    }

    /// The record's offset in the segment, in bytes.
    pub(crate) fn offset(self) -> u64 {
        (self.0.get() & ((1 << OFFSET_BITS) - 1)) * RECORD_ALIGNMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        for (slot, offset) in [(0, 64), (SEGMENT_SLOTS - 1, OFFSET_END - 4), (77, 4096)] {
            let location = Location::new(slot, offset);
            assert_eq!((location.slot(), location.offset()), (slot, offset));
            assert!(location.bits() < 1 << LOCATION_BITS);
            assert_eq!(Location::from_bits(location.bits()), Some(location));
        }
    }
}
