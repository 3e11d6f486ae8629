//! Memory that devices read into and write from.
//!
//! A [`Buf`] is owned and aligned to 4096 bytes, as direct I/O wants. A [`Payload`] is what a
//! write carries: shared and immutable, so that a mirror hands the same bytes to every member
//! without copying them and a striped write hands out slices.
//!
//! This is the one room of the crate with `unsafe` in it: the standard library has no safe way to
//! ask for aligned memory.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// The alignment of every buffer, in bytes.
pub const ALIGN: usize = 4096;

/// Owned bytes, aligned to [`ALIGN`]. Fresh buffers are zeroed.
pub struct Buf {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a Buf owns its memory exclusively and gives access to it only through & and &mut, like
// a Box<[u8]>.
unsafe impl Send for Buf {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for Buf {}

impl Buf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len }
    }

    /// A copy of `bytes`.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, ALIGN).expect("a buffer is smaller than the address space")
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `start` came from alloc_zeroed with this very layout.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) }
        }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` initialised bytes we own (or dangles with len 0).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and &mut self makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Clone for Buf {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl PartialEq for Buf {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buf {}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len)
    }
}

/// The bytes of a write: shared, immutable, sliceable without copying.
#[derive(Clone)]
pub struct Payload {
    buf: Arc<Buf>,
    start: usize,
    len: usize,
}

impl Payload {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Buf::zeroed(len).into()
    }

    /// A copy of `bytes`.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Buf::from_slice(bytes).into()
    }

    /// The part of these bytes in `range`, sharing the memory.
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len);
        Self {
            buf: Arc::clone(&self.buf),
            start: self.start + range.start,
            len: range.end - range.start,
        }
    }
}

impl From<Buf> for Payload {
    fn from(buf: Buf) -> Self {
        let len = buf.len();
        Self { buf: Arc::new(buf), start: 0, len }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.start..self.start + self.len]
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_writable() {
        for len in [0, 1, 512, 4096, 100_000] {
            let mut buf = Buf::zeroed(len);
            assert!(buf.iter().all(|&b| b == 0));
            assert!(len == 0 || buf.as_ptr().addr().is_multiple_of(ALIGN));
            buf.fill(7);
            assert_eq!(buf.clone(), buf);
        }
    }

    #[test]
    fn slices_share_their_memory() {
        let whole = Payload::from_slice(&[1, 2, 3, 4, 5]);
        let part = whole.slice(1..4).slice(1..3);
        assert_eq!(*part, [3, 4]);
        assert_eq!(part.as_ptr().addr(), whole.as_ptr().addr() + 2);
    }
}
