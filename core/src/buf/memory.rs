//! Aligned memory, and what a thread keeps of it for its next buffer.
//!
//! Buffers come and go by the million, in a few sizes. Asked for aligned memory an allocator cuts it
//! out of something larger, and sews the cuttings together again when it comes back; and what it
//! hands out next is seldom what is in the cache. So memory of up to [`MOST`] bytes comes in whole
//! pages, and a thread keeps a little of each size that was given back to it. Nobody can tell, but
//! by the clock.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

use super::ALIGN;

/// The largest piece that is kept.
const MOST: usize = 64 << 10;

/// Bytes a thread keeps of each size.
const KEPT: usize = 512 << 10;

/// Pieces a thread keeps, by pages, from one page on.
struct Spare([Vec<NonNull<u8>>; MOST / ALIGN]);

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare([const { Vec::new() }; MOST / ALIGN])) };
}

/// Pages of a piece that may be kept.
const fn pages(len: usize) -> Option<usize> {
    if len <= MOST { Some(len.div_ceil(ALIGN)) } else { None }
}

fn layout(len: usize) -> Layout {
    let size = pages(len).map_or(len, |pages| pages * ALIGN);
    Layout::from_size_align(size, ALIGN).expect("a buffer is smaller than the address space")
}

/// Memory for `len` bytes, at least one, with anything in it.
pub(super) fn take(len: usize) -> NonNull<u8> {
    kept(len).unwrap_or_else(|| fresh(len, alloc))
}

/// The same with zeros in it.
pub(super) fn take_zeroed(len: usize) -> NonNull<u8> {
    let Some(start) = kept(len) else { return fresh(len, alloc_zeroed) };
    // SAFETY: the piece has at least `len` bytes and is ours.
    unsafe { start.as_ptr().write_bytes(0, len) };
    start
}

/// Gives memory for `len` bytes back.
///
/// # Safety
/// It was taken for as many bytes, and nobody uses it any more.
pub(super) unsafe fn give(start: NonNull<u8>, len: usize) {
    let keep = |pages: usize| {
        let keep = |spare: &RefCell<Spare>| {
            let pieces = &mut spare.borrow_mut().0[pages - 1];
            let room = pieces.len() < KEPT / (pages * ALIGN);
            if room {
                pieces.push(start);
            }
            room
        };
        // A thread that ends keeps nothing.
        SPARE.try_with(keep).unwrap_or(false)
    };
    if !pages(len).is_some_and(keep) {
        // SAFETY: the caller's promise: it was allocated with this very layout.
        unsafe { dealloc(start.as_ptr(), layout(len)) }
    }
}

fn kept(len: usize) -> Option<NonNull<u8>> {
    let pages = pages(len)?;
    SPARE.try_with(|spare| spare.borrow_mut().0[pages - 1].pop()).ok().flatten()
}

fn fresh(len: usize, alloc: unsafe fn(Layout) -> *mut u8) -> NonNull<u8> {
    assert!(len > 0, "no memory is asked for");
    let layout = layout(len);
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Drop for Spare {
    fn drop(&mut self) {
        for (pages, pieces) in (1..).zip(&mut self.0) {
            for start in pieces.drain(..) {
                // SAFETY: pieces of so many pages were allocated with this layout, and are unused.
                unsafe { dealloc(start.as_ptr(), layout(pages * ALIGN)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_next_and_zeroed_on_demand() {
        for len in [1, 4096, 4097, MOST, MOST + 1] {
            let first = take(len);
            // SAFETY: there are `len` bytes, and nobody else has them.
            unsafe { first.as_ptr().write_bytes(7, len) };
            // SAFETY: taken for as many, and not used again.
            unsafe { give(first, len) };
            let again = take_zeroed(len);
            assert!(len > MOST || again == first, "{len}");
            // SAFETY: there are `len` bytes, with zeros in them.
            let bytes = unsafe { std::slice::from_raw_parts(again.as_ptr(), len) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            // SAFETY: as above.
            unsafe { give(again, len) };
        }
    }

    #[test]
    fn a_thread_keeps_a_little_and_takes_nothing_along() {
        let count = 2 * KEPT / ALIGN;
        let pieces: Vec<_> = (0..count).map(|_| take(ALIGN)).collect();
        // SAFETY: taken for as many bytes.
        pieces.into_iter().for_each(|start| unsafe { give(start, ALIGN) });
        SPARE.with(|spare| assert_eq!(spare.borrow().0[0].len(), KEPT / ALIGN));
    }
}
