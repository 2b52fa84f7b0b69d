//! Slabs by arena and class, and the objects in them.
//!
//! A thread allocates from one arena; an object goes back to the slab that it came from, whoever frees it. In each arena a class has one
//! slab that objects are taken from and lists of those with room, by how full they are. When the first is full, the fullest of the others is next:
//! so sparse slabs are left alone and become empty, and an empty one can serve any class, or leave memory. An arena that has no slab with
//! room takes one over from another arena before it asks for a new one.
//!
//! Locks: a class's in an arena, held for nanoseconds; under it, when a slab is needed, the same class's in other arenas (tried, never
//! waited for), the arena's reserve, the regions'. Pages are given back under no lock.

use super::class::{self, CLASSES, GRAIN};
use super::region::{Link, Regions, SLAB_BYTES, Slab, first_byte, slab_of};
use parking_lot::{Mutex, MutexGuard};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A power of two; more threads than this share.
const ARENAS: usize = 8;
/// Empty slabs that an arena keeps, so that a class that comes and goes costs no system calls.
const RESERVED_MAX: usize = 4;
/// Lists of slabs with room: from nearly empty to nearly full.
const LEVELS: usize = 8;
/// The `fullness` of the slab that objects are taken from, and of full ones: they are on no list.
const UNLISTED: u8 = u8::MAX;
/// Slabs of a lower level are sparse: an object is worth moving out.
const SPARSE_BELOW: u8 = LEVELS as u8 / 2;
/// No more freed objects.
const NO_OBJECT: u16 = u16::MAX;

const _: () = assert!(ARENAS.is_power_of_two() && SLAB_BYTES / GRAIN <= NO_OBJECT as usize);

/// The changing part of a slab's header. Objects are numbered by their offset in grains.
pub(super) struct State {
    pub(super) next: Link,
    previous: Link,
    /// Objects in use.
    used: u16,
    /// Objects that fit.
    capacity: u16,
    /// When fewer are in use it is on the wrong list.
    floor: u16,
    /// The object that was freed last; its first bytes name the one before.
    freed: u16,
    /// The first object that was never used.
    fresh: u16,
}

/// One class in one arena.
struct Class {
    /// Where objects are taken from.
    current: Link,
    levels: [Link; LEVELS],
}

// SAFETY: it owns the slabs that it points at, and their states: both are used under its lock only.
unsafe impl Send for Class {}

/// Own cache lines, or threads that use different classes would slow each other down.
#[repr(align(128))]
struct Padded<T>(Mutex<T>);

/// Empty slabs whose pages are still there.
struct Reserve {
    first: Link,
    slabs: usize,
}

// SAFETY: it owns the slabs that it points at: nobody else uses a slab in the reserve.
unsafe impl Send for Reserve {}

struct Arena {
    classes: [Padded<Class>; CLASSES],
    reserve: Padded<Reserve>,
}

/// An allocator. See the module's page.
pub(super) struct Heap {
    arenas: [Arena; ARENAS],
    regions: Regions,
}

/// The arena of this thread.
#[inline]
fn arena_of_thread() -> usize {
    const NONE: usize = usize::MAX;
    thread_local! {
        static ARENA: Cell<usize> = const { Cell::new(NONE) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    ARENA.with(|arena| {
        if arena.get() == NONE {
            arena.set(NEXT.fetch_add(1, Ordering::Relaxed) % ARENAS);
        }
        arena.get()
    })
}

impl Heap {
    pub(super) const fn new() -> Heap {
        let arenas = [const {
            let classes =
                [const { Padded(Mutex::new(Class { current: None, levels: [None; LEVELS] })) }; CLASSES];
            Arena { classes, reserve: Padded(Mutex::new(Reserve { first: None, slabs: 0 })) }
        }; ARENAS];
        Heap { arenas, regions: Regions::new() }
    }

    /// Bytes of the slabs that hold objects or are kept for some.
    pub(super) fn slab_bytes(&self) -> usize {
        self.regions.taken_bytes()
    }

    /// An object of a class, aligned to eight bytes, its contents anything; `None` if the system has no memory.
    pub(super) fn allocate(&self, class: usize) -> Option<NonNull<u8>> {
        let mut object = [NonNull::dangling()];
        (self.allocate_several(class, &mut object) == 1).then_some(object[0])
    }

    /// Objects of a class from one slab, as many as it has and are wanted; how many. 0 if the system has no memory.
    pub(super) fn allocate_several(&self, class: usize, objects: &mut [NonNull<u8>]) -> usize {
        let number = arena_of_thread();
        let mut lists = self.arenas[number].classes[class].0.lock();
        let slab = match lists.current {
            Some(slab) => slab,
            None => match self.next_current(&mut lists, number, class) {
                Some(slab) => slab,
                None => return 0,
            },
        };
        // SAFETY: the slab is of this class, whose lock we hold, and has room: `current` is unset with its last object.
        let state = unsafe { state_of(slab) };
        let count = objects.len().min(usize::from(state.capacity - state.used));
        for object in &mut objects[..count] {
            // SAFETY: there is room for so many.
            *object = unsafe { state.take(slab, class) };
        }
        if state.used == state.capacity {
            lists.current = None;
        }
        count
    }

    /// Makes the fullest slab with room the current one; if the arena has none, another arena's, or a new one.
    #[cold]
    fn next_current(&self, lists: &mut Class, number: usize, class: usize) -> Link {
        let slab = match lists.levels.iter().rev().find_map(|&first| first) {
            Some(slab) => {
                // SAFETY: it is on a list of this class, whose lock is held.
                unsafe { lists.unlink(slab) };
                slab
            }
            None => self.take_over(number, class).or_else(|| self.new_slab(number, class))?,
        };
        // SAFETY: it is of this class, and on no list. As for any full slab, the first object that is freed in it gives it a level.
        unsafe { state_of(slab).floor = state_of(slab).capacity };
        lists.current = Some(slab);
        Some(slab)
    }

    /// Takes a slab with much room from another arena, whose threads free more than they allocate.
    fn take_over(&self, number: usize, class: usize) -> Link {
        (1..ARENAS).find_map(|other| {
            // Waiting, with a lock held, might be for someone who waits for us.
            let mut theirs = self.arenas[(number + other) % ARENAS].classes[class].0.try_lock()?;
            let slab = theirs.levels.iter().find_map(|&first| first)?;
            // SAFETY: it is on a list of that class, whose lock is held: so nobody relies on its arena.
            unsafe {
                theirs.unlink(slab);
                // Below `ARENAS`.
                (*slab.as_ptr()).arena.store(number as u8, Ordering::Relaxed);
            }
            Some(slab)
        })
    }

    fn new_slab(&self, number: usize, class: usize) -> Link {
        let slab = self.arenas[number].take_reserved().or_else(|| self.regions.take())?;
        // Fewer than its bytes.
        let capacity = (SLAB_BYTES / class::bytes_of(class)) as u16;
        // SAFETY: the slab is free and ours; its header is valid, and nobody else refers to it.
        unsafe {
            // Below `ARENAS`.
            (*slab.as_ptr()).arena.store(number as u8, Ordering::Relaxed);
            (*slab.as_ptr()).fullness.store(UNLISTED, Ordering::Relaxed);
            *state_of(slab) = State::new(capacity);
        }
        Some(slab)
    }

    /// Locks the class that a slab is in, in the arena that it belongs to.
    ///
    /// # Safety
    /// An object of this class is in use in the slab.
    #[inline]
    unsafe fn lock_of(&self, slab: NonNull<Slab>, class: usize) -> (&Arena, MutexGuard<'_, Class>) {
        loop {
            // SAFETY: headers are never unmapped.
            let number = || usize::from(unsafe { (*slab.as_ptr()).arena.load(Ordering::Relaxed) });
            let arena = &self.arenas[number() % ARENAS];
            let lists = arena.classes[class].0.lock();
            // It changes under this lock only.
            if std::ptr::eq(arena, &self.arenas[number() % ARENAS]) {
                return (arena, lists);
            }
        }
    }

    /// Takes an object back.
    ///
    /// # Safety
    /// It comes from [`allocate`](Self::allocate) of the same heap and class, and is not used any more.
    pub(super) unsafe fn free(&self, object: NonNull<u8>, class: usize) {
        // SAFETY: the object is in a slab of ours.
        let slab = unsafe { slab_of(object) };
        // SAFETY: the object is in use in it until we put it back.
        let (arena, mut lists) = unsafe { self.lock_of(slab, class) };
        // SAFETY: the slab is of this class, whose lock we hold, and the object is in use and in it.
        let (used, floor) = unsafe {
            let state = state_of(slab);
            state.put(slab, object);
            (state.used, state.floor)
        };
        if lists.current == Some(slab) {
            if used > 0 {
                return;
            }
            lists.current = None;
        } else if used < floor {
            // SAFETY: as above, and the slab was full or on a list.
            unsafe { lists.sink(slab) };
            if used > 0 {
                return;
            }
        } else {
            return;
        }
        drop(lists);
        // SAFETY: it holds no object and is on no list.
        unsafe { self.release(arena, slab) };
    }

    /// # Safety
    /// The slab is this heap's, holds no object, and is on no list.
    #[cold]
    unsafe fn release(&self, arena: &Arena, slab: NonNull<Slab>) {
        let mut reserve = arena.reserve.0.lock();
        if reserve.slabs < RESERVED_MAX {
            // SAFETY: the slab is free, and so ours alone.
            unsafe { state_of(slab).next = reserve.first };
            reserve.first = Some(slab);
            reserve.slabs += 1;
            return;
        }
        drop(reserve);
        // SAFETY: as above.
        unsafe { self.regions.give_back(slab) };
    }

    /// Whether the object's slab is less than half full, so that moving the object helps to empty it.
    ///
    /// # Safety
    /// The object comes from [`allocate`](Self::allocate), and is in use.
    pub(super) unsafe fn is_in_sparse(&self, object: NonNull<u8>) -> bool {
        // SAFETY: the object is in a slab, and headers are never unmapped.
        unsafe { (*slab_of(object).as_ptr()).fullness.load(Ordering::Relaxed) < SPARSE_BELOW }
    }
}

impl Arena {
    fn take_reserved(&self) -> Link {
        let mut reserve = self.reserve.0.lock();
        let slab = reserve.first?;
        // SAFETY: slabs in the reserve are its own.
        reserve.first = unsafe { state_of(slab).next };
        reserve.slabs -= 1;
        Some(slab)
    }
}

impl Class {
    /// Takes a slab off its list.
    ///
    /// # Safety
    /// It is of this class, whose lock is held, and on the list that its `fullness` names.
    unsafe fn unlink(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the slab and its neighbours are of this class, and three different ones.
        unsafe {
            let State { next, previous, .. } = *state_of(slab);
            match previous {
                Some(previous) => state_of(previous).next = next,
                None => *self.level_of(slab) = next,
            }
            if let Some(next) = next {
                state_of(next).previous = previous;
            }
            (*slab.as_ptr()).fullness.store(UNLISTED, Ordering::Relaxed);
        }
    }

    /// Moves a slab that has become emptier to the list where it belongs, or off the lists if it is empty.
    ///
    /// # Safety
    /// It is of this class, whose lock is held, not full, and on the list that its `fullness` names, if any.
    unsafe fn sink(&mut self, slab: NonNull<Slab>) {
        // SAFETY: as above; the slab that was first, if any, is another one, since this one is on no list by then.
        unsafe {
            let fullness = &(*slab.as_ptr()).fullness;
            if fullness.load(Ordering::Relaxed) != UNLISTED {
                self.unlink(slab);
            }
            let state = state_of(slab);
            if state.used == 0 {
                return;
            }
            let (used, capacity) = (usize::from(state.used), usize::from(state.capacity));
            let level = used * LEVELS / capacity;
            // Both are at most the number of objects in a slab.
            state.floor = (level * capacity).div_ceil(LEVELS).max(1) as u16;
            fullness.store(level as u8, Ordering::Relaxed);
            let first = self.level_of(slab);
            (state.previous, state.next) = (None, *first);
            if let Some(second) = first.replace(slab) {
                state_of(second).previous = Some(slab);
            }
        }
    }

    /// The list that the slab's `fullness` names.
    ///
    /// # Safety
    /// It is of this class, whose lock is held.
    unsafe fn level_of(&mut self, slab: NonNull<Slab>) -> &mut Link {
        // SAFETY: headers are never unmapped.
        let level = unsafe { (*slab.as_ptr()).fullness.load(Ordering::Relaxed) };
        &mut self.levels[usize::from(level) % LEVELS]
    }
}

/// A slab's state.
///
/// # Safety
/// The slab is one of ours, its class's lock is held (or it is in no class, and the caller took it off its last list), and no other
/// reference to its state is in use.
#[inline]
unsafe fn state_of<'a>(slab: NonNull<Slab>) -> &'a mut State {
    // SAFETY: the caller's; headers are never unmapped, and zeros are a valid state.
    unsafe { &mut *(*slab.as_ptr()).state.get() }
}

impl State {
    fn new(capacity: u16) -> State {
        State { next: None, previous: None, used: 0, capacity, floor: capacity, freed: NO_OBJECT, fresh: 0 }
    }

    /// Takes an object from the slab.
    ///
    /// # Safety
    /// It is the state of this slab, which is of this class and has room.
    #[inline]
    unsafe fn take(&mut self, slab: NonNull<Slab>, class: usize) -> NonNull<u8> {
        debug_assert!(self.used < self.capacity);
        self.used += 1;
        // SAFETY: `freed` and `fresh` are in the slab. Since there is room, there is a freed object, and then its first bytes name another
        // or none, or one that was never used.
        unsafe {
            let first = first_byte(slab);
            if self.freed == NO_OBJECT {
                let object = first.add(usize::from(self.fresh) * GRAIN);
                // At most a slab's grains.
                self.fresh += (class::bytes_of(class) / GRAIN) as u16;
                object
            } else {
                let object = first.add(usize::from(self.freed) * GRAIN);
                self.freed = object.cast::<u16>().read();
                object
            }
        }
    }

    /// Puts an object back.
    ///
    /// # Safety
    /// It is the state of this slab, and the object is in the slab, in use, and not used any more.
    #[inline]
    unsafe fn put(&mut self, slab: NonNull<Slab>, object: NonNull<u8>) {
        debug_assert!(self.used > 0);
        self.used -= 1;
        // SAFETY: the object is free, at least two bytes, and aligned.
        unsafe { object.cast::<u16>().write(self.freed) };
        // SAFETY: the caller's.
        let offset = object.addr().get() - unsafe { first_byte(slab) }.addr().get();
        // Below a slab's grains.
        self.freed = (offset / GRAIN) as u16;
    }
}
