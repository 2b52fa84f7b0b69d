//! A few freed objects that a thread keeps for itself.
//!
//! Overwriting a value frees an object and allocates one of about the same size. Done through the heap that takes two locks and changes
//! two headers which other threads change too; here it touches nothing that is shared. Kept objects count as used in their slabs, and each may
//! be what keeps one from being empty, so there are few.

use super::heap::Heap;
use std::ptr::NonNull;

/// Stacks of a thread; a class has one of them, and shares it with others.
const STACKS: usize = 4;
/// Objects in one.
const DEPTH: usize = 8;
/// Objects that go back to the heap, or come from it, at a time.
const BATCH: usize = DEPTH / 2;

struct Stack {
    class: usize,
    len: usize,
    /// The first `len` are objects.
    objects: [NonNull<u8>; DEPTH],
}

/// See the module's page. [`flush`](Self::flush) it when its thread ends.
pub(super) struct Cache([Stack; STACKS]);

impl Cache {
    pub(super) const fn new() -> Cache {
        Cache([const { Stack { class: 0, len: 0, objects: [NonNull::dangling(); DEPTH] } }; STACKS])
    }

    /// As [`Heap::allocate`].
    #[inline]
    pub(super) fn allocate(&mut self, heap: &Heap, class: usize) -> Option<NonNull<u8>> {
        let stack = &mut self.0[class % STACKS];
        if stack.len > 0 {
            if stack.class != class {
                return heap.allocate(class);
            }
        } else {
            stack.class = class;
            stack.len = heap.allocate_several(class, &mut stack.objects[..BATCH]);
            // The first came from the lowest address: it goes first.
            stack.objects[..stack.len].reverse();
        }
        stack.len = stack.len.checked_sub(1)?;
        Some(stack.objects[stack.len])
    }

    /// As [`Heap::free`].
    ///
    /// # Safety
    /// The object comes from `heap` with this class, and is not used any more; so did all others that this cache was given.
    #[inline]
    pub(super) unsafe fn free(&mut self, heap: &Heap, object: NonNull<u8>, class: usize) {
        let stack = &mut self.0[class % STACKS];
        if stack.class != class || stack.len == DEPTH {
            // SAFETY: the caller's.
            unsafe { stack.make_room(heap, class) };
        }
        stack.objects[stack.len] = object;
        stack.len += 1;
    }

    /// Gives everything back.
    ///
    /// # Safety
    /// `heap` is the one that everything in it came from.
    pub(super) unsafe fn flush(&mut self, heap: &Heap) {
        for stack in &mut self.0 {
            // SAFETY: the caller's.
            unsafe { stack.give_back(heap, stack.len) };
        }
    }
}

impl Stack {
    /// Makes it a stack of this class with room.
    ///
    /// # Safety
    /// As [`Cache::flush`].
    #[cold]
    unsafe fn make_room(&mut self, heap: &Heap, class: usize) {
        // SAFETY: the caller's.
        unsafe { self.give_back(heap, if self.class == class { BATCH } else { self.len }) };
        self.class = class;
    }

    /// Gives back those that were kept longest.
    ///
    /// # Safety
    /// As [`Cache::flush`].
    unsafe fn give_back(&mut self, heap: &Heap, count: usize) {
        for &object in &self.objects[..count] {
            // SAFETY: it came from this heap with this class and was freed.
            unsafe { heap.free(object, self.class) };
        }
        self.objects.copy_within(count..self.len, 0);
        self.len -= count;
    }
}
