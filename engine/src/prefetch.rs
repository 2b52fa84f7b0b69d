//! A hint to the processor that a cache line will be read soon.
//!
//! A lookup in a large index waits for main memory three times, each address depending on the line before. A pipelined batch knows all
//! its keys: asking for the lines of all of them, a stage at a time, lets the waits overlap. Measured with 16 requests in a
//! pipeline over a million keys: see `docs/decisions/0008-prefetch.md`.
#![allow(unsafe_code)] // See above for what it pays.

/// Asks for the line that holds the byte at `pointer`.
#[inline]
pub(crate) fn line(pointer: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch is a hint; it reads nothing and never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = pointer;
}
