//! Where slabs come from: large mappings, cut into slabs of 64 KiB, with all the slabs' headers in the place of the first one.
//!
//! ```text
//! a region, aligned to its own size
//! ┌ header 0 │ header 1 │ … ┬ slab 1 ──────┬ slab 2 ──────┬ …
//! └ 64 KiB                  ┴ objects only ┴
//! ```
//!
//! Headers stand together because at the beginning of each slab they would all compete for the same few lines of the processor's
//! caches. An object's address names its region, its slab and so its header.
//!
//! Address space is never given back, pages are: a slab that is given back costs its header, and reads as zeros when it is used again.

use super::heap::State;
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What objects of one class share.
pub(super) const SLAB_BYTES: usize = 64 << 10;
/// Miri is too slow for large ones.
pub(super) const REGION_BYTES: usize = if cfg!(miri) { 256 << 10 } else { 64 << 20 };
const SLABS_PER_REGION: usize = REGION_BYTES / SLAB_BYTES;

const _: () = assert!(SLABS_PER_REGION * size_of::<Slab>() <= SLAB_BYTES && REGION_BYTES.is_power_of_two());

/// The header of a slab; valid when all its bytes are zero.
#[repr(C, align(64))]
pub(super) struct Slab {
    /// The arena it belongs to. Changes under its class's lock in that arena, or while no object is in it.
    pub(super) arena: AtomicU8,
    /// How full it is about, for those without the lock: see [`heap`](super::heap).
    pub(super) fullness: AtomicU8,
    /// Its class's lock guards it; while it is in no class, whoever took it off its last list.
    pub(super) state: UnsafeCell<State>,
}

/// A slab, or none.
pub(super) type Link = Option<NonNull<Slab>>;

/// The slab that an object is in.
///
/// # Safety
/// `object` points into a slab of a region that was made here.
#[inline]
pub(super) unsafe fn slab_of(object: NonNull<u8>) -> NonNull<Slab> {
    let slab = object.as_ptr().map_addr(|address| {
        let region = address & !(REGION_BYTES - 1);
        region + (address - region) / SLAB_BYTES * size_of::<Slab>()
    });
    // SAFETY: it is in the object's region, which doesn't begin at zero.
    unsafe { NonNull::new_unchecked(slab.cast()) }
}

/// The first byte of a slab.
///
/// # Safety
/// `slab` comes from [`slab_of`] or [`Regions::take`].
#[inline]
pub(super) unsafe fn first_byte(slab: NonNull<Slab>) -> NonNull<u8> {
    let first = slab.as_ptr().map_addr(|address| {
        let region = address & !(REGION_BYTES - 1);
        region + (address - region) / size_of::<Slab>() * SLAB_BYTES
    });
    // SAFETY: it is in the slab's region, which doesn't begin at zero.
    unsafe { NonNull::new_unchecked(first.cast()) }
}

/// All regions of one heap. Its lock is held for a system call at most, when there is a region to map.
pub(super) struct Regions {
    free: Mutex<Free>,
    /// Slabs that were taken and not given back.
    taken: AtomicUsize,
}

struct Free {
    /// Slabs whose pages were given back, linked by their `next`.
    given_back: Link,
    /// The header of the next slab of the last region that was never used.
    fresh: Link,
    fresh_left: usize,
}

// SAFETY: it owns the slabs that it points at: nobody else uses a slab that is free.
unsafe impl Send for Free {}

impl Regions {
    pub(super) const fn new() -> Regions {
        let free = Free { given_back: None, fresh: None, fresh_left: 0 };
        Regions { free: Mutex::new(free), taken: AtomicUsize::new(0) }
    }

    /// Bytes of the slabs that were taken and not given back.
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed) * SLAB_BYTES
    }

    /// A slab that nobody uses; `None` if the system has no memory.
    pub(super) fn take(&self) -> Link {
        let mut free = self.free.lock();
        let slab = match free.given_back {
            Some(slab) => {
                // SAFETY: a free slab is ours.
                free.given_back = unsafe { (*(*slab.as_ptr()).state.get()).next };
                slab
            }
            None => free.carve()?,
        };
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(slab)
    }

    /// Gives the pages of a slab back to the system, and the slab to whoever needs one.
    ///
    /// # Safety
    /// `slab` comes from [`take`](Self::take) of the same regions, and neither it nor anything in it is used any more.
    pub(super) unsafe fn give_back(&self, slab: NonNull<Slab>) {
        // SAFETY: nobody uses the slab, and it is one of ours.
        unsafe { pages::give_back(first_byte(slab), SLAB_BYTES) };
        let mut free = self.free.lock();
        // SAFETY: as above.
        unsafe { (*(*slab.as_ptr()).state.get()).next = free.given_back };
        free.given_back = Some(slab);
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Free {
    fn carve(&mut self) -> Link {
        if self.fresh_left == 0 {
            let region = pages::map(REGION_BYTES)?.cast::<Slab>();
            // SAFETY: a region begins with an array of headers; the first one is that of the array's own place.
            self.fresh = Some(unsafe { region.add(1) });
            self.fresh_left = SLABS_PER_REGION - 1;
        }
        let slab = self.fresh?;
        self.fresh_left -= 1;
        // SAFETY: at most one past the last header, which is never used: `fresh_left` is 0 then.
        self.fresh = Some(unsafe { slab.add(1) });
        Some(slab)
    }
}

/// The system's memory.
#[cfg(not(miri))]
mod pages {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use std::ffi::c_void;
    use std::ptr::{NonNull, null_mut};

    /// Zeros, aligned to `bytes` (a power of two); a page takes memory once it is written. `None` if there is no room.
    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping where the system likes it touches no other.
        let mapped =
            unsafe { mmap_anonymous(null_mut(), 2 * bytes, ProtFlags::READ | ProtFlags::WRITE, flags) }
                .ok()?
                .cast::<u8>();
        // Twice as much has an aligned half in it, and what is before and behind that goes.
        let before = mapped.addr().wrapping_neg() & (bytes - 1);
        // SAFETY: `before` is less than `bytes`, and all of it is inside the mapping.
        let (region, end) = unsafe { (mapped.add(before), mapped.add(before + bytes)) };
        unmap(mapped.cast(), before);
        unmap(end.cast(), bytes - before);
        // Huge pages would make 2 MiB resident for one object, and again after their small pages were given back.
        // SAFETY: the region is mapped, and the advice changes no contents. It may be unknown: then there are none.
        let _ = unsafe { madvise(region.cast(), bytes, Advice::LinuxNoHugepage) };
        NonNull::new(region)
    }

    fn unmap(at: *mut c_void, bytes: usize) {
        if bytes > 0 {
            // SAFETY: `map` alone knows of these pages, and nothing points to them. If it fails, address space is lost.
            let _ = unsafe { munmap(at, bytes) };
        }
    }

    /// Gives pages back; they read as zeros afterwards.
    ///
    /// # Safety
    /// Nobody uses what is in them.
    pub(super) unsafe fn give_back(first: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's. If it fails, the pages stay resident.
        let _ = unsafe { madvise(first.as_ptr().cast(), bytes, Advice::LinuxDontNeed) };
    }
}

/// Miri has no `madvise`; that the contents of a slab don't matter once it is free is shown by overwriting them.
#[cfg(miri)]
mod pages {
    use std::alloc::{Layout, alloc_zeroed};
    use std::ptr::NonNull;

    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, bytes).ok()?;
        // SAFETY: the layout is not empty.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    }

    pub(super) unsafe fn give_back(first: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { first.write_bytes(0xA5, bytes) };
    }
}
