//! How much memory a call has allocated at once, on the thread that asks.
//!
//! `unsafe` because an allocator is: each method hands its arguments on to the system's unchanged.

#![allow(unsafe_code, reason = "a counting allocator around the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static BEGAN: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's, with the same layout; counting touches no memory
// that is allocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise about the layout is the one made to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// From here on is counted. The runner has one thread.
pub(crate) fn begin() {
    let now = NOW.load(Ordering::Relaxed);
    BEGAN.store(now, Ordering::Relaxed);
    MOST.store(now, Ordering::Relaxed);
}

/// Bytes allocated at once since then, beyond what there was.
pub(crate) fn most() -> usize {
    MOST.load(Ordering::Relaxed).saturating_sub(BEGAN.load(Ordering::Relaxed))
}
