//! An index entry's one word: where the object is, and the entry's small fields in the bits that this leaves free.
//!
//! ```text
//! 63      54 53    50 49 48 47                                    3  2 1  0
//! ┌ timer ──┬ grid ──┬D ┬I ┬ address of the object ─────────────────┬A┬form┐   D: object not on disk as it is   form 0: flat
//!                          ┬ database ┬ slot (16) ┬ offset/4 (24) ──┤        I: entry not in the index files as it is   1: structured
//!                          47       43 42       27 26               3        A: accessed lately                 2: idle (flat, compressed)
//!                                                                                                              3: cold (on disk only)
//! ```
//!
//! User-space addresses have 47 bits on x86-64 and 48 on AArch64, and all kinds of object are aligned to eight bytes; both are
//! asserted when a word is made. It pays 8 of the 32 bytes that an entry may cost.
#![allow(unsafe_code)] // See above for what it pays.

use super::{Object, Packed, Structured};
use crate::key::INDEX_DATABASES;
use crate::location::{LOCATION_BITS, Location};
use crate::prefetch;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, without_provenance_mut};
use std::sync::Arc;

/// Cache lines of an object that are asked for ahead: key and most of a session; the processor sees the rest coming.
const PREFETCHED_LINES: usize = 6;
const TIMER_SHIFT: u32 = 54;
const TIMER_MASK: usize = 0x3FF;
const GRID_SHIFT: u32 = 50;
const GRID_MASK: usize = 0xF;
const DIRTY: usize = 1 << 49;
const INDEX_DIRTY: usize = 1 << 48;
const ADDRESS_MASK: usize = ((1 << 48) - 1) & !0b111;
const ACCESSED: usize = 0b100;
const FORM_MASK: usize = 0b11;
const LOCATION_SHIFT: u32 = 3;
const DATABASE_SHIFT: u32 = 43;
const DATABASE_MASK: usize = 0x1F;
/// What stays when an entry gets another object.
const ENTRY_MASK: usize =
    TIMER_MASK << TIMER_SHIFT | GRID_MASK << GRID_SHIFT | DIRTY | INDEX_DIRTY | ACCESSED;

const _: () = assert!(usize::BITS == 64, "the index packs addresses and fields into 64-bit words");
const _: () = assert!(align_of::<Structured>() >= 8);
const _: () = assert!(LOCATION_SHIFT + LOCATION_BITS == DATABASE_SHIFT);
const _: () = assert!(INDEX_DATABASES as usize <= DATABASE_MASK + 1);

/// See the module's page.
pub(crate) struct Handle(NonNull<u8>);

// SAFETY: it owns what it points at, a reference to a `Packed` or an `Arc<Structured>`, and both are `Send`, as what they refer to is `Send` and `Sync`.
unsafe impl Send for Handle {}
// SAFETY: a shared `&Handle` only reads its object, and both kinds are `Sync`.
unsafe impl Sync for Handle {}

/// In which form the object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// In memory, flat.
    Flat,
    /// In memory, grown out of the flat form.
    Structured,
    /// In memory, flat, its payload compressed.
    Idle,
    /// On disk only.
    Cold,
}

/// A look at a readable object behind a handle.
#[derive(Clone, Copy)]
pub(crate) enum View<'a> {
    /// The bytes of a flat object.
    Packed(&'a [u8]),
    /// An object that has grown out of that.
    Structured(&'a Structured),
}

impl Handle {
    /// Takes the object over; timer, grid and flags are 0.
    pub(crate) fn new(object: Object) -> Handle {
        let (pointer, form) = match object {
            Object::Packed(packed) => (packed.into_raw(), 0),
            Object::Structured(structured) => {
                // An `Arc` never points at null.
                let pointer = Arc::into_raw(structured).cast_mut().cast::<u8>();
                (NonNull::new(pointer).expect("as said"), 1)
            }
            Object::Idle(packed) => (packed.into_raw(), 2),
            Object::Cold { location, database } => {
                // 40 bits and 5 bits, so it fits the 45 bits of an address.
                let word = (location.bits() as usize) << LOCATION_SHIFT
                    | (usize::from(database) & DATABASE_MASK) << DATABASE_SHIFT;
                match NonNull::new(without_provenance_mut::<u8>(word)) {
                    Some(pointer) => (pointer, 3),
                    None => unreachable!("a location is not zero"),
                }
            }
        };
        assert_eq!(pointer.addr().get() & !ADDRESS_MASK, 0, "an address of more than 48 bits, or misaligned");
        Handle(pointer.map_addr(|address| address | form))
    }

    fn word(&self) -> usize {
        self.0.addr().get()
    }

    /// In which form the object is.
    #[inline]
    pub(crate) fn form(&self) -> Form {
        match self.word() & FORM_MASK {
            0 => Form::Flat,
            1 => Form::Structured,
            2 => Form::Idle,
            _ => Form::Cold,
        }
    }

    /// Whether the object can be read as it is.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.word() & FORM_MASK < 2
    }

    fn pointer(&self) -> NonNull<u8> {
        debug_assert!(self.form() != Form::Cold);
        // SAFETY: `new` put a non-null address into the masked bits, and nothing changes them.
        unsafe { NonNull::new_unchecked(self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)) }
    }

    /// The flat object, borrowed by value: not to be dropped, and not to outlive `self`.
    fn packed(&self) -> ManuallyDrop<Packed> {
        debug_assert!(matches!(self.form(), Form::Flat | Form::Idle));
        // SAFETY: the pointer came from `Packed::into_raw` in `new`; wrapped so, it is never given back a second time.
        ManuallyDrop::new(unsafe { Packed::from_raw(self.pointer()) })
    }

    fn structured(&self) -> &Structured {
        debug_assert!(self.form() == Form::Structured);
        // SAFETY: the pointer came from an `Arc` in `new`, whose reference is ours, and `self` is borrowed as long as ours is.
        unsafe { self.pointer().cast::<Structured>().as_ref() }
    }

    /// The bytes of a flat object, compressed or not.
    fn flat_bytes(&self) -> &[u8] {
        let packed = self.packed();
        let bytes: *const [u8] = packed.bytes();
        // SAFETY: the bytes live in the allocation that `self` keeps alive while it is borrowed, not in the local copy of
        // the pointer; while we hold a reference to the allocation nobody else can change them.
        unsafe { &*bytes }
    }

    /// The object, if it can be read as it is.
    #[inline]
    pub(crate) fn view(&self) -> Option<View<'_>> {
        match self.form() {
            Form::Flat => Some(View::Packed(self.flat_bytes())),
            Form::Structured => Some(View::Structured(self.structured())),
            Form::Idle | Form::Cold => None,
        }
    }

    /// The head of an idle object: its key can be read, its payload is compressed.
    pub(crate) fn idle(&self) -> Option<&[u8]> {
        (self.form() == Form::Idle).then(|| self.flat_bytes())
    }

    /// The database of the key.
    pub(crate) fn database(&self) -> u8 {
        match self.form() {
            Form::Flat | Form::Idle => super::layout::database(self.flat_bytes()),
            Form::Structured => self.structured().database(),
            // Five bits.
            Form::Cold => (self.word() >> DATABASE_SHIFT & DATABASE_MASK) as u8,
        }
    }

    /// Bytes of memory that the object asks for.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self.form() {
            Form::Flat | Form::Idle => self.packed().memory_bytes(),
            Form::Structured => self.structured().memory_bytes(),
            Form::Cold => 0,
        }
    }

    /// The record that holds the object as it is.
    pub(crate) fn location(&self) -> Option<Location> {
        match self.form() {
            Form::Flat | Form::Idle => self.packed().location(),
            Form::Structured => self.structured().location(),
            Form::Cold => {
                Location::from_bits((self.word() >> LOCATION_SHIFT) as u64 & ((1 << LOCATION_BITS) - 1))
            }
        }
    }

    /// Sets [`location`](Self::location).
    ///
    /// # Panics
    /// If a cold entry would lose the only place that its object is in.
    pub(crate) fn set_location(&mut self, location: Option<Location>) {
        match self.form() {
            Form::Flat | Form::Idle => self.packed().set_location(location),
            Form::Structured => self.structured().set_location(location),
            Form::Cold => {
                let location = location.expect("a cold object is in a segment");
                let database = self.database();
                drop(self.replace(Object::Cold { location, database }));
            }
        }
    }

    /// A structured object, to be changed in place; `None` for others, which are replaced as a whole. If somebody else has it too, it is copied
    /// first, which takes its time: see [`is_shared`](Self::is_shared).
    pub(crate) fn structured_mut(&mut self) -> Option<&mut Structured> {
        if self.form() != Form::Structured {
            return None;
        }
        if self.is_shared() {
            let copy = self.structured().copy();
            drop(self.replace(Object::Structured(Arc::new(copy))));
        }
        let mut own = self.arc();
        let only: *mut Structured = Arc::get_mut(&mut own)?;
        // SAFETY: ours is the only reference, which `get_mut` has seen (with what others have read before they gave theirs up); new ones are
        // made of ours alone, by `share_structured`, and `self` is borrowed mutably as long as this one.
        Some(unsafe { &mut *only })
    }

    /// Whether a structured object is looked at by somebody else as well, so that a change would have to copy it.
    pub(crate) fn is_shared(&self) -> bool {
        self.form() == Form::Structured && Arc::strong_count(&self.arc()) > 1
    }

    /// Another reference to a structured object; `None` for others.
    pub(crate) fn share_structured(&self) -> Option<Arc<Structured>> {
        (self.form() == Form::Structured).then(|| Arc::clone(&self.arc()))
    }

    /// The structured object, borrowed by value: not to be dropped, and not to outlive `self`.
    fn arc(&self) -> ManuallyDrop<Arc<Structured>> {
        debug_assert!(self.form() == Form::Structured);
        // SAFETY: the pointer came from `Arc::into_raw` in `new`; wrapped so, its reference is never given back a second time.
        ManuallyDrop::new(unsafe { Arc::from_raw(self.pointer().cast::<Structured>().as_ptr()) })
    }

    /// Asks for the first lines of the object, if it is in memory.
    pub(crate) fn prefetch(&self) {
        if self.form() != Form::Cold {
            let start = self.pointer().as_ptr().cast_const();
            for line in 0..PREFETCHED_LINES {
                prefetch::line(start.wrapping_add(line * 64));
            }
        }
    }

    /// Another reference to a flat object, compressed or not; `None` for others.
    #[inline]
    pub(crate) fn share(&self) -> Option<Packed> {
        matches!(self.form(), Form::Flat | Form::Idle).then(|| (*self.packed()).clone())
    }

    /// Whether this is the very same object in memory.
    pub(crate) fn is_same(&self, object: &Object) -> bool {
        match (self.form(), object) {
            (Form::Flat, Object::Packed(flat)) => self.packed().is_same(flat),
            (Form::Structured, Object::Structured(other)) => Arc::ptr_eq(&self.arc(), other),
            _ => false,
        }
    }

    /// Puts another object in place and returns the old one; the entry's fields stay.
    pub(crate) fn replace(&mut self, object: Object) -> Object {
        let kept = self.word() & ENTRY_MASK;
        let mut new = Handle::new(object);
        new.0 = new.0.map_addr(|word| word | kept);
        std::mem::replace(self, new).into_object()
    }

    /// The object, given back.
    pub(crate) fn into_object(self) -> Object {
        let this = ManuallyDrop::new(self);
        match this.form() {
            // SAFETY: the pointer came from `into_raw` in `new`, and `this` will not free it.
            Form::Flat => Object::Packed(unsafe { Packed::from_raw(this.pointer()) }),
            // SAFETY: as above.
            Form::Idle => Object::Idle(unsafe { Packed::from_raw(this.pointer()) }),
            Form::Structured => {
                // SAFETY: the pointer came from `Arc::into_raw` in `new`, and `this` will not give its reference back.
                Object::Structured(unsafe { Arc::from_raw(this.pointer().cast::<Structured>().as_ptr()) })
            }
            Form::Cold => match this.location() {
                Some(location) => Object::Cold { location, database: this.database() },
                None => unreachable!("a cold object is in a segment"),
            },
        }
    }

    fn set_bits(&mut self, mask: usize, bits: usize) {
        debug_assert!(mask & (ADDRESS_MASK | FORM_MASK) == 0);
        // SAFETY: the address bits, which are not all zero, stay as they are.
        self.0 = unsafe { NonNull::new_unchecked(self.0.as_ptr().map_addr(|word| word & !mask | bits)) };
    }

    fn set_flag(&mut self, flag: usize, on: bool) {
        self.set_bits(flag, if on { flag } else { 0 });
    }

    /// The wheel slot that holds this entry's timer; 0 for none. See [`Wheel`](crate::wheel::Wheel).
    #[inline]
    pub(crate) fn timer(&self) -> u16 {
        (self.word() >> TIMER_SHIFT & TIMER_MASK) as u16
    }

    /// Sets [`timer`](Self::timer).
    #[inline]
    pub(crate) fn set_timer(&mut self, slot: u16) {
        assert!(usize::from(slot) <= TIMER_MASK);
        self.set_bits(TIMER_MASK << TIMER_SHIFT, usize::from(slot) << TIMER_SHIFT);
    }

    /// The grid that logged deadlines of this entry are rounded up to; 0 for exact. See [`grid`](crate::expiry).
    #[inline]
    pub(crate) fn grid(&self) -> u16 {
        (self.word() >> GRID_SHIFT & GRID_MASK) as u16
    }

    /// Sets [`grid`](Self::grid).
    #[inline]
    pub(crate) fn set_grid(&mut self, grid: u16) {
        assert!(usize::from(grid) <= GRID_MASK);
        self.set_bits(GRID_MASK << GRID_SHIFT, usize::from(grid) << GRID_SHIFT);
    }

    /// Whether no segment holds the object as it is, nor is one about to.
    pub(crate) fn is_dirty(&self) -> bool {
        self.word() & DIRTY != 0
    }

    /// Sets [`is_dirty`](Self::is_dirty).
    pub(crate) fn set_dirty(&mut self, on: bool) {
        self.set_flag(DIRTY, on);
    }

    /// Whether the index files hold the entry otherwise than it is. Of a dirty object's entry: whether they hold it at all.
    pub(crate) fn is_index_dirty(&self) -> bool {
        self.word() & INDEX_DIRTY != 0
    }

    /// Sets [`is_index_dirty`](Self::is_index_dirty).
    pub(crate) fn set_index_dirty(&mut self, on: bool) {
        self.set_flag(INDEX_DIRTY, on);
    }

    /// Whether it was read since the clock hand came by.
    pub(crate) fn is_accessed(&self) -> bool {
        self.word() & ACCESSED != 0
    }

    /// Sets [`is_accessed`](Self::is_accessed).
    pub(crate) fn set_accessed(&mut self, on: bool) {
        self.set_flag(ACCESSED, on);
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
    use super::super::Body;
    use super::*;

    #[test]
    fn keeps_object_and_fields_apart() {
        let mut handle = Handle::new(Object::Packed(Packed::concat(&[b"hello"])));
        handle.set_timer(640);
        handle.set_grid(15);
        handle.set_dirty(true);
        handle.set_accessed(true);
        assert!(matches!(handle.view(), Some(View::Packed(b"hello"))));
        let shared = handle.share().expect("flat");
        assert!(handle.structured_mut().is_none());
        let old = handle.replace(Object::Packed(Packed::concat(&[b"world"])));
        assert!(matches!(old, Object::Packed(old) if old.bytes() == shared.bytes()));
        assert_eq!((handle.timer(), handle.grid()), (640, 15));
        assert!(handle.is_dirty() && handle.is_accessed() && !handle.is_index_dirty());
        handle.set_timer(0);
        handle.set_dirty(false);
        assert_eq!((handle.timer(), handle.grid()), (0, 15));
        assert!(!handle.is_dirty() && handle.is_accessed());
        assert!(matches!(handle.into_object(), Object::Packed(new) if new.bytes() == b"world"));
    }

    #[test]
    fn holds_structured_objects_too() {
        let structured = Structured::new(0, b"key", None, Body::String(b"value".to_vec()));
        let mut handle = Handle::new(Object::Structured(Arc::new(structured)));
        handle.set_timer(3);
        assert!(handle.share().is_none());
        assert!(matches!(handle.view(), Some(View::Structured(s)) if s.key() == b"key"));
        assert!(handle.structured_mut().is_some());
        let location = Location::new(1, 64);
        handle.set_location(Some(location));
        let shared = handle.share_structured().expect("structured");
        assert!(handle.is_shared() && handle.is_same(&Object::Structured(Arc::clone(&shared))));
        // Who changes it leaves what others look at as it is.
        let own = handle.structured_mut().expect("structured");
        own.body = Body::String(b"other".to_vec());
        assert!(!handle.is_shared() && handle.location() == Some(location) && handle.timer() == 3);
        assert!(matches!(&shared.body, Body::String(value) if value == b"value"));
        assert!(!handle.is_same(&Object::Structured(shared)));
        drop(handle);
    }

    #[test]
    fn holds_a_location_and_database_instead_of_an_object() {
        let location = Location::new(crate::limits::SEGMENT_SLOTS - 1, crate::location::OFFSET_END - 4);
        let mut handle = Handle::new(Object::Packed(Packed::concat(&[&[0, 19, 0]])));
        handle.set_timer(1);
        handle.set_index_dirty(true);
        let database = handle.database();
        drop(handle.replace(Object::Cold { location, database }));
        assert_eq!((handle.form(), handle.location(), handle.database()), (Form::Cold, Some(location), 19));
        assert!(handle.view().is_none() && handle.share().is_none() && handle.memory_bytes() == 0);
        let elsewhere = Location::new(0, 64);
        handle.set_location(Some(elsewhere));
        assert_eq!((handle.location(), handle.database(), handle.timer()), (Some(elsewhere), 19, 1));
        assert!(handle.is_index_dirty());
        assert!(matches!(handle.into_object(), Object::Cold { location, .. } if location == elsewhere));
    }
}
