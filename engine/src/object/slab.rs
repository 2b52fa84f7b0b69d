//! The allocator of small objects.
//!
//! A session store frees by the million: idle values are replaced by their compressed form, cold ones leave, whole waves expire. A general
//! allocator keeps nearly all of that memory, since among neighbours of all sizes and ages something is always alive. Here objects of one size
//! share *slabs* of 64 KiB, an object has no header of the allocator's, and an empty slab's pages go back to the system.
//! Measured in `docs/decisions/0010-slabs-for-objects.md`.
//!
//! - `cache`: what a thread keeps for itself;
//! - `class`: which sizes there are;
//! - `region`: where slabs come from and their pages go;
//! - `heap`: which slab an object comes from and goes to.
//!
//! What it must never do: allocate by way of itself, or panic when something is freed.
#![allow(unsafe_code)] // The module exists for it: see above for what it pays.

mod cache;
mod class;
mod heap;
#[cfg(test)]
mod measure;
mod region;
#[cfg(test)]
mod tests;

use cache::Cache;
use heap::Heap;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ptr::NonNull;

/// What an object's address is a multiple of.
pub(super) const ALIGNMENT: usize = class::GRAIN;

/// One for the process: it costs nothing until it is used, and databases share what they free.
static HEAP: Heap = Heap::new();

/// A cache that its thread leaves to the heap.
struct CacheOfThread(UnsafeCell<Cache>);

impl Drop for CacheOfThread {
    fn drop(&mut self) {
        // SAFETY: all that is in it came from there.
        unsafe { self.0.get_mut().flush(&HEAP) };
    }
}

thread_local! {
    static CACHE: CacheOfThread = const { CacheOfThread(UnsafeCell::new(Cache::new())) };
}

/// Miri and a sanitizer (with `--cfg sessile_system_allocator`) see more in objects that have an allocation each. Slabs are looked at in their
/// own tests.
const ON: bool = !cfg!(any(miri, sessile_system_allocator));

/// Bytes that the slabs of this process take, freed objects among them included, objects too large for slabs not.
pub(crate) fn slab_bytes() -> usize {
    HEAP.slab_bytes()
}

fn layout(bytes: usize) -> Layout {
    match Layout::from_size_align(bytes, ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => unreachable!("an object of {bytes} bytes was checked to be shorter than 8 GiB"),
    }
}

#[inline]
fn class_of(bytes: usize) -> Option<usize> {
    if ON { class::class_of(bytes) } else { None }
}

/// So many bytes, at least one and less than 8 GiB, aligned to [`ALIGNMENT`], their contents anything. If there is no memory the process
/// ends, as it does for any other.
#[inline]
pub(super) fn allocate(bytes: usize) -> NonNull<u8> {
    assert!(bytes > 0);
    let object = match class_of(bytes) {
        Some(class) => CACHE
            // SAFETY: it is this thread's own, and neither cache nor heap come back here.
            .try_with(|cache| unsafe { (*cache.0.get()).allocate(&HEAP, class) })
            .unwrap_or_else(|_| HEAP.allocate(class)),
        // SAFETY: it is not empty.
        None => NonNull::new(unsafe { alloc(layout(bytes)) }),
    };
    object.unwrap_or_else(|| handle_alloc_error(layout(bytes)))
}

/// Frees an object.
///
/// # Safety
/// It comes from [`allocate`] with so many bytes, and is not used any more.
#[inline]
pub(super) unsafe fn free(object: NonNull<u8>, bytes: usize) {
    match class_of(bytes) {
        Some(class) => {
            // SAFETY: the caller's; the same number of bytes has the same class. The cache is this thread's own, and neither cache
            // nor heap come back here.
            let freed = CACHE.try_with(|cache| unsafe { (*cache.0.get()).free(&HEAP, object, class) });
            if freed.is_err() {
                // SAFETY: the caller's, as above. The thread ends, and its cache is gone.
                unsafe { HEAP.free(object, class) };
            }
        }
        // SAFETY: the caller's; the layout is that of `allocate`.
        None => unsafe { dealloc(object.as_ptr(), layout(bytes)) },
    }
}

/// Whether most of the slab that an object is in is free, so that moving the object would help to give memory back.
///
/// # Safety
/// The object comes from [`allocate`] with so many bytes, and is in use.
pub(super) unsafe fn is_in_sparse(object: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's; objects of a class are in slabs.
    class_of(bytes).is_some() && unsafe { HEAP.is_in_sparse(object) }
}
