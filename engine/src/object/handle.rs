//! An index entry's one word: an owning pointer to the object, and the entry's small fields in the bits that a pointer leaves free.
//!
//! ```text
//! 63      54 53    50 49 48 47                                3 2  1 0
//! ┌ timer ──┬ grid ──┬ free ┬ address of the object ────────────┬free┬S┐     S: structured
//! ```
//!
//! User-space addresses have 47 bits on x86-64 and 48 on AArch64, and both kinds of object are aligned to eight bytes; both are
//! asserted when a word is made. It pays 8 of the 32 bytes that an entry may cost.
#![allow(unsafe_code)] // See above for what it pays.

use super::{Object, Packed, Structured};
use crate::prefetch;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

const STRUCTURED: usize = 1;
/// Cache lines of an object that are asked for ahead: key and most of a session; the processor sees the rest coming.
const PREFETCHED_LINES: usize = 6;
const TIMER_SHIFT: u32 = 54;
const TIMER_MASK: usize = 0x3FF;
const GRID_SHIFT: u32 = 50;
const GRID_MASK: usize = 0xF;
const ADDRESS_MASK: usize = ((1 << 48) - 1) & !0b111;

const _: () = assert!(usize::BITS == 64, "the index packs addresses and fields into 64-bit words");
const _: () = assert!(align_of::<Structured>() >= 8);

/// See the module's page.
pub(crate) struct Handle(NonNull<u8>);

// SAFETY: it owns what it points at, a `Packed` or a `Box<Structured>`, and both are `Send`.
unsafe impl Send for Handle {}
// SAFETY: a shared `&Handle` only reads its object, and both kinds are `Sync`.
unsafe impl Sync for Handle {}

/// A look at the object behind a handle.
#[derive(Clone, Copy)]
pub(crate) enum View<'a> {
    /// The bytes of a flat object.
    Packed(&'a [u8]),
    /// An object that has grown out of that.
    Structured(&'a Structured),
}

impl Handle {
    /// Takes the object over; timer and grid are 0.
    pub(crate) fn new(object: Object) -> Handle {
        let (pointer, tag) = match object {
            Object::Packed(packed) => (packed.into_raw(), 0),
            Object::Structured(structured) => (NonNull::from(Box::leak(structured)).cast::<u8>(), STRUCTURED),
        };
        assert_eq!(pointer.addr().get() & !ADDRESS_MASK, 0, "an address of more than 48 bits, or misaligned");
        Handle(pointer.map_addr(|address| address | tag))
    }

    fn is_structured(&self) -> bool {
        self.0.addr().get() & STRUCTURED != 0
    }

    fn pointer(&self) -> NonNull<u8> {
        // SAFETY: `new` put a non-null address into the masked bits, and nothing changes them.
        unsafe { NonNull::new_unchecked(self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)) }
    }

    /// The flat object, borrowed by value: not to be dropped, and not to outlive `self`.
    fn packed(&self) -> ManuallyDrop<Packed> {
        debug_assert!(!self.is_structured());
        // SAFETY: the pointer came from `Packed::into_raw` in `new`; wrapped so, it is never given back a second time.
        ManuallyDrop::new(unsafe { Packed::from_raw(self.pointer()) })
    }

    /// The object.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        if self.is_structured() {
            // SAFETY: the pointer came from a box in `new`, we own it, and `self` is borrowed as long as the reference.
            return View::Structured(unsafe { self.pointer().cast::<Structured>().as_ref() });
        }
        let packed = self.packed();
        let bytes: *const [u8] = packed.bytes();
        // SAFETY: the bytes live in the allocation that `self` keeps alive while it is borrowed, not in the local copy of
        // the pointer; while we hold a reference to the allocation nobody else can change them.
        View::Packed(unsafe { &*bytes })
    }

    /// A structured object, to be changed in place; `None` for a flat one, which is replaced as a whole.
    pub(crate) fn structured_mut(&mut self) -> Option<&mut Structured> {
        if !self.is_structured() {
            return None;
        }
        // SAFETY: as in `view`, and `self` is borrowed mutably.
        Some(unsafe { self.pointer().cast::<Structured>().as_mut() })
    }

    /// Asks for the first lines of the object.
    pub(crate) fn prefetch(&self) {
        let start = self.pointer().as_ptr().cast_const();
        for line in 0..PREFETCHED_LINES {
            prefetch::line(start.wrapping_add(line * 64));
        }
    }

    /// Another reference to a flat object; `None` for a structured one.
    #[inline]
    pub(crate) fn share(&self) -> Option<Packed> {
        (!self.is_structured()).then(|| (*self.packed()).clone())
    }

    /// Puts another object in place and returns the old one; timer and grid stay.
    pub(crate) fn replace(&mut self, object: Object) -> Object {
        let mut new = Handle::new(object);
        new.set_timer(self.timer());
        new.set_grid(self.grid());
        std::mem::replace(self, new).into_object()
    }

    /// The object, given back.
    pub(crate) fn into_object(self) -> Object {
        let this = ManuallyDrop::new(self);
        if this.is_structured() {
            // SAFETY: the pointer came from a box in `new`, and `this` will not free it.
            Object::Structured(unsafe { Box::from_raw(this.pointer().cast::<Structured>().as_ptr()) })
        } else {
            // SAFETY: the pointer came from `into_raw` in `new`, and `this` will not free it.
            Object::Packed(unsafe { Packed::from_raw(this.pointer()) })
        }
    }

    fn field(&self, shift: u32, mask: usize) -> u16 {
        (self.0.addr().get() >> shift & mask) as u16
    }

    fn set_field(&mut self, shift: u32, mask: usize, value: u16) {
        assert!(usize::from(value) <= mask);
        // SAFETY: the address bits, which are not all zero, stay as they are.
        self.0 = unsafe {
            NonNull::new_unchecked(
                self.0.as_ptr().map_addr(|word| word & !(mask << shift) | usize::from(value) << shift),
            )
        };
    }

    /// The wheel slot that holds this entry's timer; 0 for none. See [`Wheel`](crate::wheel::Wheel).
    #[inline]
    pub(crate) fn timer(&self) -> u16 {
        self.field(TIMER_SHIFT, TIMER_MASK)
    }

    /// Sets [`timer`](Self::timer).
    #[inline]
    pub(crate) fn set_timer(&mut self, slot: u16) {
        self.set_field(TIMER_SHIFT, TIMER_MASK, slot);
    }

    /// The grid that logged deadlines of this entry are rounded up to; 0 for exact. See [`grid`](crate::expiry).
    #[inline]
    pub(crate) fn grid(&self) -> u16 {
        self.field(GRID_SHIFT, GRID_MASK)
    }

    /// Sets [`grid`](Self::grid).
    #[inline]
    pub(crate) fn set_grid(&mut self, grid: u16) {
        self.set_field(GRID_SHIFT, GRID_MASK, grid);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A bitwise copy takes the ownership over; `self` is not used again.
        drop(Handle(self.0).into_object());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_object_and_fields_apart() {
        let mut handle = Handle::new(Object::Packed(Packed::concat(&[b"hello"])));
        handle.set_timer(640);
        handle.set_grid(15);
        assert!(matches!(handle.view(), View::Packed(b"hello")));
        let shared = handle.share().expect("flat");
        assert!(handle.structured_mut().is_none());
        let old = handle.replace(Object::Packed(Packed::concat(&[b"world"])));
        assert!(matches!(old, Object::Packed(old) if old.bytes() == shared.bytes()));
        assert_eq!((handle.timer(), handle.grid()), (640, 15));
        handle.set_timer(0);
        assert_eq!((handle.timer(), handle.grid()), (0, 15));
        assert!(matches!(handle.into_object(), Object::Packed(new) if new.bytes() == b"world"));
    }

    #[test]
    fn holds_structured_objects_too() {
        let structured = Structured::string(0, b"key", None, b"value".to_vec());
        let mut handle = Handle::new(Object::Structured(Box::new(structured)));
        handle.set_timer(3);
        assert!(handle.share().is_none());
        assert!(matches!(handle.view(), View::Structured(s) if s.key() == b"key"));
        assert!(handle.structured_mut().is_some());
        drop(handle);
    }
}
