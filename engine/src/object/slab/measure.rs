//! What an allocation costs: `cargo test --release -p sessile --lib slab::measure -- --ignored --nocapture`.

use super::tests::Random;
use super::{allocate, free};
use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::Barrier;
use std::time::Instant;

const BYTES: usize = 356;

#[derive(Clone, Copy)]
struct Allocator {
    name: &'static str,
    allocate: fn(usize) -> NonNull<u8>,
    free: fn(NonNull<u8>, usize),
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).expect("small")
}

const ALLOCATORS: [Allocator; 2] = [
    Allocator {
        name: "system",
        // SAFETY: not empty.
        allocate: |bytes| NonNull::new(unsafe { alloc(layout(bytes)) }).expect("memory"),
        // SAFETY: allocated above.
        free: |object, bytes| unsafe { dealloc(object.as_ptr(), layout(bytes)) },
    },
    Allocator {
        name: "slabs",
        allocate,
        // SAFETY: allocated so.
        free: |object, bytes| unsafe { free(object, bytes) },
    },
];

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds per step, the slowest thread's.
fn timed(threads: usize, steps: usize, run: impl Fn(usize) -> f64 + Sync) -> f64 {
    let (barrier, run) = (&Barrier::new(threads), &run);
    let slowest = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    run(thread)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).fold(0.0, f64::max)
    });
    slowest / steps as f64
}

#[test]
#[ignore = "it measures"]
fn against_the_system() {
    println!("ns, objects of {BYTES} bytes     | system | slabs");
    for threads in [1, 4] {
        row(&format!("pair, {threads} threads"), |allocator| {
            timed(threads, 10_000_000, |_| {
                let begun = now();
                for _ in 0..10_000_000 {
                    let object = black_box((allocator.allocate)(BYTES));
                    // SAFETY: it is that long.
                    unsafe { object.write(1) };
                    (allocator.free)(object, BYTES);
                }
                begun.elapsed().as_nanos() as f64
            })
        });
        let count = 1_000_000 / threads;
        row(&format!("fill, {threads} threads"), |allocator| {
            timed(threads, count, |_| {
                let begun = now();
                let all: Vec<_> = (0..count).map(|_| touched(allocator, BYTES)).collect();
                let took = begun.elapsed();
                all.into_iter().for_each(|object| (allocator.free)(object, BYTES));
                took.as_nanos() as f64
            })
        });
        row(&format!("random overwrite, {threads} threads"), |allocator| {
            timed(threads, count, |thread| {
                let mut random = Random(thread as u64 + 1);
                let mut all: Vec<_> = (0..count).map(|_| touched(allocator, BYTES)).collect();
                let begun = now();
                for _ in 0..count {
                    let old = std::mem::replace(&mut all[random.below(count)], touched(allocator, BYTES));
                    (allocator.free)(old, BYTES);
                }
                let took = begun.elapsed();
                all.into_iter().for_each(|object| (allocator.free)(object, BYTES));
                took.as_nanos() as f64
            })
        });
        row(&format!("random free, {threads} threads"), |allocator| {
            timed(threads, count, |thread| {
                let mut random = Random(thread as u64 + 1);
                let mut all: Vec<_> = (0..count).map(|_| touched(allocator, BYTES)).collect();
                for at in 0..count {
                    all.swap(at, random.below(count));
                }
                let begun = now();
                all.into_iter().for_each(|object| (allocator.free)(object, BYTES));
                begun.elapsed().as_nanos() as f64
            })
        });
    }
}

fn touched(allocator: Allocator, bytes: usize) -> NonNull<u8> {
    let object = (allocator.allocate)(bytes);
    // SAFETY: it is that long.
    unsafe { object.write_bytes(1, bytes) };
    object
}

fn row(what: &str, measure: impl Fn(Allocator) -> f64) {
    let [system, slabs] = ALLOCATORS.map(|allocator| {
        let mut all: Vec<_> = (0..5).map(|_| measure(allocator)).collect();
        all.sort_by(f64::total_cmp);
        println!("{what:30} {:8} {:.1?}", allocator.name, all);
        all[0]
    });
    println!("{what:30} | {system:6.1} | {slabs:6.1}");
}
