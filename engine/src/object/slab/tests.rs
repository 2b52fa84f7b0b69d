//! Slabs against a model, with threads, and against the system's own figures.

use super::cache::Cache;
use super::class::{BYTES_MAX, CLASSES, bytes_of, class_of};
use super::heap::Heap;
use super::region::SLAB_BYTES;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::mpsc;

/// Kept empty by the arenas that a test used, at most.
const KEPT_BYTES: usize = 4 * SLAB_BYTES;

/// An xorshift.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// A heap of its own, so that tests don't see each other. Its address space stays mapped.
fn heap() -> &'static Heap {
    /// Where a leak checker finds them.
    static HEAPS: Mutex<Vec<&'static Heap>> = Mutex::new(Vec::new());
    let heap = Box::leak(Box::new(Heap::new()));
    HEAPS.lock().push(heap);
    heap
}

/// An object filled with a byte of its own, which it checks when it is freed.
struct Filled {
    object: NonNull<u8>,
    bytes: usize,
    fill: u8,
}

// SAFETY: it owns the object.
unsafe impl Send for Filled {}

impl Filled {
    fn new(heap: &Heap, bytes: usize, fill: u8) -> Filled {
        let object = heap.allocate(class_of(bytes).expect("not too large")).expect("memory");
        assert!(object.addr().get().is_multiple_of(8) && object.addr().get() < 1 << 48);
        // SAFETY: the object has so many bytes.
        unsafe { object.write_bytes(fill, bytes) };
        Filled { object, bytes, fill }
    }

    fn range(&self) -> (usize, usize) {
        (self.object.addr().get(), self.object.addr().get() + bytes_of(self.class()))
    }

    fn class(&self) -> usize {
        class_of(self.bytes).expect("not too large")
    }

    fn check(&self) {
        // SAFETY: the object has so many bytes, all of them written.
        let bytes = unsafe { std::slice::from_raw_parts(self.object.as_ptr(), self.bytes) };
        // For Miri, which takes its time for each, the first ones (where a freed object holds a link) and some more.
        let looked_at = |at: usize| !cfg!(miri) || at < 4 || at.is_multiple_of(64);
        let mut bytes = bytes.iter().enumerate().filter(|&(at, _)| looked_at(at));
        assert!(bytes.all(|(_, &byte)| byte == self.fill), "an object of {} bytes changed", self.bytes);
    }

    fn free(self, heap: &Heap) {
        self.check();
        // SAFETY: it was allocated from this heap with this class, and is gone with this call.
        unsafe { heap.free(self.object, self.class()) };
    }

    fn is_in_sparse(&self, heap: &Heap) -> bool {
        // SAFETY: it is in use.
        unsafe { heap.is_in_sparse(self.object) }
    }
}

#[test]
fn objects_never_overlap_and_keep_their_contents() {
    let seeds = if cfg!(miri) { 1..2 } else { 1..9 };
    for seed in seeds {
        println!("seed {seed}");
        let (heap, mut random) = (heap(), Random(seed * 0x9E37_79B9));
        let mut live: Vec<Filled> = Vec::new();
        let mut ranges = BTreeMap::new();
        for step in 0..if cfg!(miri) { 600 } else { 60_000 } {
            // It grows, shrinks, and grows again.
            let shrinks = step / 10_000 % 2 == 1;
            if live.is_empty() || random.below(10) < if shrinks { 3 } else { 7 } {
                // Half of them in few classes, so that slabs fill.
                let bytes =
                    if random.below(2) == 0 { 400 + random.below(20) } else { random.below(BYTES_MAX + 1) };
                let new = Filled::new(heap, bytes, random.below(256) as u8);
                let (from, to) = new.range();
                if let Some((_, &before)) = ranges.range(..to).next_back() {
                    assert!(before <= from, "overlaps what is before it");
                }
                assert_eq!(ranges.insert(from, to), None);
                live.push(new);
            } else {
                let old = live.swap_remove(random.below(live.len()));
                ranges.remove(&old.range().0);
                old.free(heap);
            }
        }
        live.iter().for_each(Filled::check);
        assert!(heap.slab_bytes() >= live.iter().map(|one| bytes_of(one.class())).sum());
        live.into_iter().for_each(|one| one.free(heap));
        assert!(heap.slab_bytes() <= KEPT_BYTES, "{} bytes stay", heap.slab_bytes());
    }
}

#[test]
fn every_class_fills_and_empties_whole_slabs() {
    let heap = heap();
    // Few classes for Miri, of large objects.
    let (first, every) = if cfg!(miri) { (CLASSES / 2, 20) } else { (0, 1) };
    for class in (first..CLASSES).step_by(every) {
        let bytes = bytes_of(class);
        let count = 3 * (SLAB_BYTES / bytes);
        let before = heap.slab_bytes();
        let all: Vec<_> = (0..count).map(|n| Filled::new(heap, bytes, n as u8)).collect();
        let took = heap.slab_bytes().saturating_sub(before);
        assert!(took <= 3 * SLAB_BYTES, "{count} objects of {bytes} bytes took {took}");
        all.into_iter().for_each(|one| one.free(heap));
        assert!(heap.slab_bytes() <= KEPT_BYTES, "class {class}: {} bytes stay", heap.slab_bytes());
    }
}

#[test]
fn what_is_freed_in_one_class_serves_another() {
    let heap = heap();
    let mut random = Random(7);
    let count = if cfg!(miri) { 400 } else { 20_000 };
    let mut large: Vec<_> = (0..count).map(|n| Filled::new(heap, 352, n as u8)).collect();
    let full = heap.slab_bytes();
    assert!(full < count * 360 + 2 * SLAB_BYTES, "{full} bytes for {count} objects");
    let mut small = Vec::new();
    while !large.is_empty() {
        small.push(Filled::new(heap, 165, small.len() as u8));
        large.swap_remove(random.below(large.len())).free(heap);
    }
    let after = heap.slab_bytes();
    assert!(
        after <= count * 170 + 2 * SLAB_BYTES + KEPT_BYTES,
        "{after} bytes for {count} objects, before {full}"
    );
    small.into_iter().for_each(|one| one.free(heap));
}

#[test]
fn the_fullest_slab_is_filled_first_and_moving_out_of_sparse_ones_empties_them() {
    let heap = heap();
    let mut random = Random(11);
    let count = if cfg!(miri) { 700 } else { 50_000 };
    let bytes = 512;
    let mut live: Vec<_> = (0..count).map(|n| Filled::new(heap, bytes, n as u8)).collect();
    while live.len() > count / 10 {
        live.swap_remove(random.below(live.len())).free(heap);
    }
    let scattered = heap.slab_bytes();
    assert!(scattered > live.len() * bytes * 5, "nothing to do: {scattered}");
    let mut moved = 0;
    for one in &mut live {
        if one.is_in_sparse(heap) {
            let new = Filled::new(heap, bytes, one.fill);
            std::mem::replace(one, new).free(heap);
            moved += 1;
        }
    }
    let after = heap.slab_bytes();
    let needed = live.len() * bytes;
    assert!(after < needed * 5 / 4 + SLAB_BYTES + KEPT_BYTES, "{after} bytes for {needed}, moved {moved}");
    // It comes to rest.
    assert!(live.iter().filter(|one| one.is_in_sparse(heap)).count() * 20 <= live.len());
    live.into_iter().for_each(|one| one.free(heap));
}

#[test]
fn a_cache_keeps_few_and_gives_them_back() {
    let (heap, mut cache, mut random) = (heap(), Cache::new(), Random(3));
    let mut live = Vec::new();
    for step in 0..if cfg!(miri) { 500 } else { 100_000 } {
        if live.is_empty() || random.below(1000) < 510 - step % 20 {
            let bytes = [20, 100, 352, 380, 384][random.below(5)];
            let class = class_of(bytes).expect("not too large");
            let object = cache.allocate(heap, class).expect("memory");
            // SAFETY: the object has so many bytes.
            unsafe { object.write_bytes(step as u8, bytes) };
            live.push(Filled { object, bytes, fill: step as u8 });
        } else {
            let old = live.swap_remove(random.below(live.len()));
            old.check();
            // SAFETY: it was allocated above with this class, and is gone.
            unsafe { cache.free(heap, old.object, old.class()) };
        }
    }
    let mut ranges: Vec<_> = live.iter().map(Filled::range).collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "objects overlap");
    live.into_iter().for_each(|one| one.free(heap));
    // SAFETY: all that is in it came from there.
    unsafe { cache.flush(heap) };
    assert!(heap.slab_bytes() <= KEPT_BYTES, "{} bytes stay", heap.slab_bytes());
}

#[test]
fn an_arena_without_room_takes_over_what_another_has() {
    let heap = heap();
    let count: usize = if cfg!(miri) { 300 } else { 10_000 };
    let fill = || (0..count).map(|n| Filled::new(heap, 512, n as u8)).collect::<Vec<_>>();
    let mut mine = fill();
    // Every other one goes, so no slab is empty.
    let mut number = 0;
    mine.retain(|one| {
        number += 1;
        let stays = number % 2 == 0;
        if !stays {
            Filled { ..*one }.free(heap);
        }
        stays
    });
    let before = heap.slab_bytes();
    // New threads: none of them is in this one's arena until all arenas were given out.
    let theirs = (0..count.div_ceil(1000))
        .flat_map(|_| {
            let thread = std::thread::spawn(move || {
                (0..100).map(|n| Filled::new(heap, 512, n as u8)).collect::<Vec<_>>()
            });
            thread.join().expect("no panic")
        })
        .collect::<Vec<_>>();
    assert_eq!(heap.slab_bytes(), before, "there was room for them");
    mine.into_iter().chain(theirs).for_each(|one| one.free(heap));
}

#[test]
fn threads_free_what_others_allocated() {
    let heap = heap();
    let threads = 4;
    let rounds = if cfg!(miri) { 100 } else { 50_000 };
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel::<Filled>()).unzip();
    let handles: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(number, mine)| {
            let others = senders.clone();
            std::thread::spawn(move || {
                let mut random = Random(number as u64 + 1);
                let mut kept = Vec::new();
                for _ in 0..rounds {
                    let bytes = [40, 165, 352, 353, 1000, 4000][random.below(6)];
                    let new = Filled::new(heap, bytes, random.below(256) as u8);
                    match random.below(3) {
                        0 => kept.push(new),
                        _ => others[random.below(threads)].send(new).expect("they live as long"),
                    }
                    mine.try_iter().for_each(|theirs| theirs.free(heap));
                    if kept.len() > 500 {
                        kept.swap_remove(random.below(kept.len())).free(heap);
                    }
                }
                kept.into_iter().for_each(|one| one.free(heap));
                (mine, others)
            })
        })
        .collect();
    drop(senders);
    let receivers: Vec<_> = handles.into_iter().map(|thread| thread.join().expect("no panic").0).collect();
    for receiver in receivers {
        receiver.try_iter().for_each(|left| left.free(heap));
    }
    assert!(heap.slab_bytes() <= threads * KEPT_BYTES, "{} bytes stay", heap.slab_bytes());
}

/// Resident bytes of the mapping that an address is in.
#[cfg(all(target_os = "linux", not(miri)))]
fn resident_bytes(address: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the system's figures are no data of ours")]
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
    let mut inside = false;
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let parsed = |text| usize::from_str_radix(text, 16).expect("an address");
            inside = (parsed(from)..parsed(to)).contains(&address);
        } else if inside && first == "Rss:" {
            let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
            return kib.expect("a number") << 10;
        }
    }
    panic!("{address:x} is mapped");
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn pages_are_given_back() {
    let heap = heap();
    let all: Vec<_> = (0..100_000).map(|n| Filled::new(heap, 352, n as u8)).collect();
    let address = all[0].range().0;
    let before = resident_bytes(address);
    assert!(before >= 32 << 20, "{before} bytes are resident");
    all.into_iter().for_each(|one| one.free(heap));
    let after = resident_bytes(address);
    // The headers, and what the arena keeps.
    assert!(after <= before - (32 << 20) + KEPT_BYTES + SLAB_BYTES, "{after} of {before} bytes are resident");
}
