//! One allocation that is shared by counting and pointed at by one word.
//!
//! Every small object is one. The index can afford eight bytes to point at it, so a fat `Arc<[u8]>` (16 bytes) is too wide: at a
//! million sessions the difference is 8 MB of 30. What it must never do: change. A changed object is a new
//! one, so that readers and writers of the disk may hold the old one without a lock.
//!
//! ```text
//! ┌ references u32 ┬ length u32 ┬ location u64 ┬ bytes … ┐
//! ```
//!
//! The location says which record on disk holds the same bytes, so that a clean object can leave memory without being written again. It
//! belongs to the index entry that holds the object, and changes under its shard's lock only; other holders of the object ignore it.
#![allow(unsafe_code)] // The module exists for it: see above for what it pays.

use crate::location::Location;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[repr(C)]
struct Header {
    references: AtomicU32,
    length: u32,
    /// The bits of a [`Location`]; 0 for none.
    location: AtomicU64,
}

pub(super) const HEADER_BYTES: usize = size_of::<Header>();
/// Leaves the three low bits of a pointer free for [`Handle`](super::Handle).
const ALIGNMENT: usize = 8;

const _: () = assert!(HEADER_BYTES == 16 && align_of::<Header>() <= ALIGNMENT);
/// More references than this are a leak, and the next ones would wrap.
const REFERENCES_MAX: u32 = u32::MAX / 2;

/// Immutable bytes, shared by counting. See the module's page.
pub(crate) struct Packed(NonNull<Header>);

// SAFETY: the bytes are never written after `concat` has returned; count and location are atomic.
unsafe impl Send for Packed {}
// SAFETY: as above; a shared `&Packed` only reads.
unsafe impl Sync for Packed {}

impl Packed {
    fn layout(length: usize) -> Layout {
        // A length fits 32 bits, so the sum is far below `isize::MAX`, and the alignment is a power of two.
        match Layout::from_size_align(HEADER_BYTES + length, ALIGNMENT) {
            Ok(layout) => layout,
            Err(_) => unreachable!("{length} bytes were checked to fit 32 bits"),
        }
    }

    /// The concatenation of `parts`.
    ///
    /// # Panics
    /// If they are 4 GiB or more: callers bound keys and values far below.
    pub(crate) fn concat(parts: &[&[u8]]) -> Packed {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(total).expect("keys and values are bounded far below 4 GiB");
        let layout = Packed::layout(total);
        // SAFETY: the layout is at least a header long.
        let pointer = unsafe { alloc(layout) };
        let Some(header) = NonNull::new(pointer.cast::<Header>()) else { handle_alloc_error(layout) };
        // SAFETY: the allocation is big enough for the header and aligned for it.
        unsafe {
            header.write(Header { references: AtomicU32::new(1), length, location: AtomicU64::new(0) })
        };
        let mut at = HEADER_BYTES;
        for part in parts {
            // SAFETY: `at + part.len()` never passes `HEADER_BYTES + total`, the allocation's size, and a fresh allocation
            // overlaps nothing.
            unsafe { pointer.add(at).copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            at += part.len();
        }
        Packed(header)
    }

    fn header(&self) -> &Header {
        // SAFETY: the pointer is valid and its header initialised as long as any `Packed` for it lives.
        unsafe { self.0.as_ref() }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let length = self.header().length as usize;
        // SAFETY: `length` initialised bytes follow the header, and nobody ever writes them again.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(HEADER_BYTES), length) }
    }

    /// Bytes of memory the allocation asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        HEADER_BYTES + self.header().length as usize
    }

    /// The record that holds the same bytes. For the index entry's owner.
    #[inline]
    pub(crate) fn location(&self) -> Option<Location> {
        Location::from_bits(self.header().location.load(Ordering::Relaxed))
    }

    /// Sets [`location`](Self::location).
    pub(crate) fn set_location(&self, location: Option<Location>) {
        self.header().location.store(location.map_or(0, Location::bits), Ordering::Relaxed);
    }

    /// Whether both are the same allocation.
    pub(crate) fn is_same(&self, other: &Packed) -> bool {
        self.0 == other.0
    }

    /// Gives the reference away as a pointer; [`from_raw`](Self::from_raw) takes it back.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        let pointer = self.0.cast();
        std::mem::forget(self);
        pointer
    }

    /// # Safety
    /// `pointer` comes from [`into_raw`](Self::into_raw) and is taken back once only.
    pub(super) unsafe fn from_raw(pointer: NonNull<u8>) -> Packed {
        Packed(pointer.cast())
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
        let before = self.header().references.fetch_add(1, Ordering::Relaxed);
        assert!(before < REFERENCES_MAX, "two thousand million references to one object are a leak");
        Packed(self.0)
    }
}

impl Drop for Packed {
    #[inline]
    fn drop(&mut self) {
        let header = self.header();
        let layout = Packed::layout(header.length as usize);
        if header.references.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: this was the last reference, the fence makes every other holder's reads come before, and the layout is the
        // one that `concat` allocated with.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
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
}
