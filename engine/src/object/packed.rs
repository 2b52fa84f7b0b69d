//! One allocation that is shared by counting and pointed at by one word.
//!
//! Every small object is one. The index can afford eight bytes to point at it, so a fat `Arc<[u8]>` (16 bytes) is too wide: at a
//! million sessions the difference is 8 MB of 30. What it must never do: change. A changed object is a new
//! one, so that readers and writers of the disk may hold the old one without a lock.
//!
//! ```text
//! ┌ location (40 bits), references (24 bits) ┬ length u32 ┬ bytes … ┐
//! ```
//!
//! The location says which record on disk holds the same bytes, so that a clean object can leave memory without being written again. It
//! belongs to the index entry that holds the object, and changes under its shard's lock only; other holders of the object ignore it.
#![allow(unsafe_code)] // The module exists for it: see above for what it pays.

use super::slab;
use crate::location::{LOCATION_BITS, Location};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

const LENGTH_AT: usize = size_of::<AtomicU64>();
pub(super) const HEADER_BYTES: usize = LENGTH_AT + size_of::<u32>();
const REFERENCE_BITS: u32 = 64 - LOCATION_BITS;
const REFERENCES: u64 = (1 << REFERENCE_BITS) - 1;
/// An object with more references is copied instead, long before they would reach the location's bits.
const REFERENCES_MAX: u64 = REFERENCES / 2;

// The low three bits of a pointer are free for a `Handle`.
const _: () = assert!(slab::ALIGNMENT == 8 && align_of::<AtomicU64>() <= slab::ALIGNMENT);

/// Immutable bytes, shared by counting. See the module's page.
pub(crate) struct Packed(NonNull<u8>);

// SAFETY: the bytes are never written after `concat` has returned; count and location are atomic.
unsafe impl Send for Packed {}
// SAFETY: as above; a shared `&Packed` only reads.
unsafe impl Sync for Packed {}

impl Packed {
    /// The concatenation of `parts`.
    ///
    /// # Panics
    /// If they are 4 GiB or more: callers bound keys and values far below.
    pub(crate) fn concat(parts: &[&[u8]]) -> Packed {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(total).expect("keys and values are bounded far below 4 GiB");
        let object = slab::allocate(HEADER_BYTES + total);
        // SAFETY: the allocation is big enough for the header, and aligned for both of its fields.
        unsafe {
            object.cast::<AtomicU64>().write(AtomicU64::new(1));
            object.add(LENGTH_AT).cast::<u32>().write(length);
        }
        let mut at = HEADER_BYTES;
        for part in parts {
            // SAFETY: `at + part.len()` never passes `HEADER_BYTES + total`, the allocation's size, and a fresh allocation
            // overlaps nothing.
            unsafe { object.add(at).as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            at += part.len();
        }
        Packed(object)
    }

    /// Location and references.
    #[inline]
    fn shared(&self) -> &AtomicU64 {
        // SAFETY: the pointer is valid and its header initialised as long as any `Packed` for it lives.
        unsafe { self.0.cast().as_ref() }
    }

    #[inline]
    fn length(&self) -> usize {
        // SAFETY: as above, and nobody ever writes it again.
        unsafe { self.0.add(LENGTH_AT).cast::<u32>().read() as usize }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `length` initialised bytes follow the header, and nobody ever writes them again.
        unsafe { std::slice::from_raw_parts(self.0.add(HEADER_BYTES).as_ptr(), self.length()) }
    }

    /// Bytes of memory the allocation asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        HEADER_BYTES + self.length()
    }

    /// Whether a copy in its place would help to give memory back: most of what is around it is free.
    #[inline]
    pub(crate) fn is_in_sparse(&self) -> bool {
        // SAFETY: the object was allocated with so many bytes, and lives.
        unsafe { slab::is_in_sparse(self.0, self.memory_bytes()) }
    }

    /// The record that holds the same bytes. For the index entry's owner.
    #[inline]
    pub(crate) fn location(&self) -> Option<Location> {
        Location::from_bits(self.shared().load(Ordering::Relaxed) >> REFERENCE_BITS)
    }

    /// Sets [`location`](Self::location).
    pub(crate) fn set_location(&self, location: Option<Location>) {
        let new = location.map_or(0, Location::bits) << REFERENCE_BITS;
        // References come and go meanwhile, the location is ours alone: flipping the bits that differ leaves the others be.
        let old = self.shared().load(Ordering::Relaxed) & !REFERENCES;
        self.shared().fetch_xor(old ^ new, Ordering::Relaxed);
    }

    /// Whether both are the same allocation.
    pub(crate) fn is_same(&self, other: &Packed) -> bool {
        self.0 == other.0
    }

    /// Gives the reference away as a pointer; [`from_raw`](Self::from_raw) takes it back.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// # Safety
    /// `pointer` comes from [`into_raw`](Self::into_raw) and is taken back once only.
    pub(super) unsafe fn from_raw(pointer: NonNull<u8>) -> Packed {
        Packed(pointer)
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("bytes", &self.bytes().len())
            .field("location", &self.location())
            .finish()
    }
}

impl Clone for Packed {
    #[inline]
    fn clone(&self) -> Packed {
        // Relaxed, as in `Arc`: a new reference is made from one that is already held.
        let before = self.shared().fetch_add(1, Ordering::Relaxed);
        if before & REFERENCES >= REFERENCES_MAX {
            return self.copy_instead();
        }
        Packed(self.0)
    }
}

impl Packed {
    /// Gives a reference too many back. It never was the last one, and threads that are here at the same time are too few to fill the other
    /// half of the bits.
    #[cold]
    fn copy_instead(&self) -> Packed {
        self.shared().fetch_sub(1, Ordering::Relaxed);
        Packed::concat(&[self.bytes()])
    }
}

impl Drop for Packed {
    #[inline]
    fn drop(&mut self) {
        let bytes = self.memory_bytes();
        if self.shared().fetch_sub(1, Ordering::Release) & REFERENCES != 1 {
            return;
        }
        // A load where a fence would do: ThreadSanitizer knows no fences.
        self.shared().load(Ordering::Acquire);
        // SAFETY: this was the last reference, the load makes every other holder's reads come before, and `concat` allocated so
        // many bytes.
        unsafe { slab::free(self.0, bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_concatenation() {
        let packed = Packed::concat(&[b"key", b"", b"value"]);
        assert_eq!(packed.bytes(), b"keyvalue");
        assert!(Packed::concat(&[]).bytes().is_empty());
    }

    #[test]
    fn is_shared_between_threads_and_freed_once() {
        let packed = Packed::concat(&[&[7; 1000]]);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mine = packed.clone();
                std::thread::spawn(move || {
                    (0..100).for_each(|_| drop(mine.clone()));
                    mine.bytes().iter().map(|&b| u32::from(b)).sum::<u32>()
                })
            })
            .collect();
        drop(packed);
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic") == 7000));
    }

    #[test]
    fn a_location_comes_and_goes_beside_the_references() {
        let packed = Packed::concat(&[b"bytes"]);
        let furthest = Location::new(crate::limits::SEGMENT_SLOTS - 1, crate::location::OFFSET_END - 4);
        let shared = packed.clone();
        for location in [Some(furthest), Some(Location::new(0, 64)), None, Some(furthest)] {
            packed.set_location(location);
            assert_eq!((packed.location(), shared.location()), (location, location));
        }
        drop(shared);
        assert_eq!((packed.location(), packed.bytes()), (Some(furthest), &b"bytes"[..]));
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of references take Miri hours")]
    fn more_references_than_can_be_counted_are_copies() {
        let packed = Packed::concat(&[b"popular"]);
        let many: Vec<_> = (0..REFERENCES_MAX + 10).map(|_| packed.clone()).collect();
        assert_eq!(many.iter().filter(|one| !one.is_same(&packed)).count(), 11);
        assert!(many.iter().all(|one| one.bytes() == b"popular"));
        drop(many);
        assert!(packed.clone().is_same(&packed));
    }
}
