//! Loom's atomics, with sequentially consistent operations made of fences, which is how loom knows them.
//!
//! Loom takes a `SeqCst` load or store for an `AcqRel` one, and so finds faults where there are none. Hardware makes a sequentially consistent
//! operation of a weaker one and a fence, either before it or behind it: both are right, and each makes a little more than is promised. What
//! holds in both holds by what is promised, so a [`check`] explores both.
//!
//! Another thing that loom does not know: that nothing comes between a read and the write of one operation. A blind `store` beside another
//! thread's `swap` has it see values that no machine shows. Where one thread stores, others must `compare_exchange`.

use loom::sync::atomic as model;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::Location;

pub use loom::sync::atomic::{Ordering, fence};

// The threads of a model are all one of the system's.
std::thread_local! {
    /// Whether the fence stands behind the operation.
    static BEHIND: Cell<bool> = const { Cell::new(false) };
    /// What was done in this execution.
    static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Explores every execution of `model`, with at most `preemptions` preemptions of a thread; with fences before, then behind. An execution
/// that fails is shown, step by step.
pub fn check(preemptions: usize, model: impl Fn() + Send + Sync + Copy + 'static) {
    std::panic::set_hook(Box::new(|panic| {
        // Threads that are given up end by a panic that says nothing.
        if panic.payload_as_str().is_none() {
            return;
        }
        eprintln!("{panic}");
        STEPS.with_borrow_mut(|steps| steps.drain(..).for_each(|step| eprintln!("  {step}")));
    }));
    for behind in [false, true] {
        BEHIND.set(behind);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(preemptions);
        builder.max_branches = 100_000;
        builder.check(move || {
            STEPS.with_borrow_mut(Vec::clear);
            model();
        });
    }
}

#[track_caller]
fn fenced<R: Debug>(order: Ordering, what: &str, operation: impl FnOnce() -> R) -> R {
    let (before, behind) = match (order, BEHIND.get()) {
        (Ordering::SeqCst, false) => (true, false),
        (Ordering::SeqCst, true) => (false, true),
        _ => (false, false),
    };
    if before {
        fence(Ordering::SeqCst);
    }
    let result = operation();
    if behind {
        fence(Ordering::SeqCst);
    }
    let (thread, at) = (loom::thread::current().id(), Location::caller());
    let step = format!("{thread:?} {}:{} {what} {result:?} {order:?}", at.file(), at.line());
    STEPS.with_borrow_mut(|steps| steps.push(step));
    result
}

macro_rules! atomic {
    ($name:ident, $value:ty $(, $method:ident)*) => {
        /// An atomic of the model.
        #[derive(Debug, Default)]
        pub struct $name(model::$name);

        #[allow(dead_code, missing_docs)] // The standard library's, as far as they are used.
        impl $name {
            pub fn new(value: $value) -> $name {
                $name(model::$name::new(value))
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                fenced(order, "load", || self.0.load(order))
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                fenced(order, "store", || {
                    self.0.store(value, order);
                    value
                });
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                fenced(order, "swap", || self.0.swap(value, order))
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let exchange = || self.0.compare_exchange(current, new, success, failure);
                fenced(success, "compare_exchange", exchange)
            }

            $(#[track_caller]
            pub fn $method(&self, value: $value, order: Ordering) -> $value {
                fenced(order, stringify!($method), || self.0.$method(value, order))
            })*
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU64, u64, fetch_add, fetch_sub, fetch_max);
atomic!(AtomicUsize, usize, fetch_add, fetch_sub, fetch_max);
