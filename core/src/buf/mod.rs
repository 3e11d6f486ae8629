//! Memory that devices read into and write from.
//!
//! A [`Buf`] is owned and aligned to 4096 bytes, as direct I/O wants. A [`Payload`] is what a
//! write carries: shared and immutable, so that a mirror hands the same bytes to every member
//! without copying them and a striped write hands out slices.
//!
//! A fresh buffer is *blank*: it shows zeros that all buffers share and gets memory of its own
//! when somebody writes into it. Whoever handles bytes may ask whether they are [blank](is_blank)
//! and spare itself the work of finding out that zeros are zeros: a sparse device costs what is on
//! it and not what it could hold.
//!
//! This is the one room of the crate with `unsafe` in it: the standard library has no safe way to
//! ask for aligned memory.
#![allow(unsafe_code)]

mod memory;

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// The alignment of every buffer, in bytes.
pub const ALIGN: usize = 4096;

/// The largest buffer that can be blank.
const MOST_BLANK: usize = 1 << 20;

/// What blank buffers show. Mutable as far as the linker knows, so that it takes no room in a
/// binary; as memory nobody writes to it takes none there either.
#[repr(C, align(4096))]
struct Zeros(UnsafeCell<[u8; MOST_BLANK]>);

// SAFETY: nobody ever writes to it.
unsafe impl Sync for Zeros {}

static ZEROS: Zeros = Zeros(UnsafeCell::new([0; MOST_BLANK]));

const _: () = assert!(align_of::<Zeros>() == ALIGN);

/// Where the shared zeros begin.
const fn zeros() -> NonNull<u8> {
    NonNull::from_ref(&ZEROS.0).cast()
}

/// Whether these bytes belong to a buffer nobody has written to, and so are zeros. If not, they may
/// be zeros all the same.
pub fn is_blank(bytes: &[u8]) -> bool {
    let first = zeros().as_ptr().addr();
    (first..first + MOST_BLANK).contains(&bytes.as_ptr().addr())
}

/// Whether these bytes are zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    is_blank(bytes) || bytes.chunks(ALIGN).all(|part| *part == Buf::zeroed(ALIGN)[..part.len()])
}

/// Owned bytes, aligned to [`ALIGN`]. Fresh buffers are zeroed.
pub struct Buf {
    /// The shared zeros, memory of its own, or dangling if there are no bytes.
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a Buf owns its memory exclusively and gives access to it only through & and &mut, like
// a Box<[u8]>; the shared zeros it never gives out as &mut.
unsafe impl Send for Buf {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for Buf {}

impl Buf {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let start = match len {
            0 => NonNull::dangling(),
            1..=MOST_BLANK => zeros(),
            _ => memory::take_zeroed(len),
        };
        Self { start, len }
    }

    /// A copy of `bytes`.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let len = bytes.len();
        if len == 0 || len <= MOST_BLANK && is_blank(bytes) {
            return Self::zeroed(len);
        }
        Self::concat(len, std::iter::once(bytes))
    }

    /// A copy of `parts`, one behind the other.
    ///
    /// # Panics
    /// If they are not `len` bytes together.
    pub fn concat<'a>(len: usize, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        if len == 0 {
            return Self::zeroed(0);
        }
        let start = memory::take(len);
        let mut fresh = Fresh { start, len, done: 0 };
        parts.for_each(|part| fresh.push(part));
        assert_eq!(fresh.done, len, "the parts fill the buffer");
        std::mem::forget(fresh);
        Self { start, len }
    }

    /// Copies bytes in from byte `at` on; of what is blank into what is blank nothing is copied.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at, "it fits");
        if !(self.is_blank() && is_blank(bytes)) {
            self[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Makes all bytes zeros.
    pub fn clear(&mut self) {
        if !self.is_blank() {
            *self = Self::zeroed(self.len);
        }
    }

    /// Whether nobody has written to it.
    pub fn is_blank(&self) -> bool {
        self.start == zeros()
    }

    #[cold]
    fn stop_being_blank(&mut self) {
        self.start = memory::take_zeroed(self.len);
    }
}

/// Memory being filled from its beginning; given back if that comes to nothing.
struct Fresh {
    start: NonNull<u8>,
    len: usize,
    done: usize,
}

impl Fresh {
    fn push(&mut self, part: &[u8]) {
        assert!(part.len() <= self.len - self.done, "the parts fill the buffer");
        // SAFETY: there is room for it, and fresh memory overlaps nothing.
        unsafe {
            let to = self.start.as_ptr().add(self.done);
            std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
        }
        self.done += part.len();
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: taken for as many bytes, and never handed out.
        unsafe { memory::give(self.start, self.len) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if self.len > 0 && !self.is_blank() {
            // SAFETY: taken for as many bytes, and we were the only ones to use it.
            unsafe { memory::give(self.start, self.len) }
        }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` initialised bytes that are ours or shared and never
        // change (or dangles with len 0).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.is_blank() {
            self.stop_being_blank();
        }
        // SAFETY: as in deref, the bytes are ours, and &mut self makes the access exclusive.
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
        let blank = self.is_blank() && other.is_blank();
        blank && self.len == other.len || **self == **other
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

    /// A copy of `parts`, one behind the other; blank if all of them are.
    ///
    /// # Panics
    /// If they are not `len` bytes together.
    pub fn concat<'a>(len: usize, parts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let blank = len <= MOST_BLANK && parts.clone().all(is_blank);
        let buf = if blank { Buf::zeroed(len) } else { Buf::concat(len, parts) };
        buf.into()
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
            assert!(is_zero(&buf) && is_zero(&vec![0; len]));
            buf.fill(7);
            assert_eq!(buf.clone(), buf);
            assert!(len == 0 || !is_zero(&buf));
        }
    }

    #[test]
    fn buffers_are_blank_until_somebody_writes() {
        for len in [1, 4096, MOST_BLANK, MOST_BLANK + 1] {
            let mut buf = Buf::zeroed(len);
            assert_eq!((buf.is_blank(), is_blank(&buf)), (len <= MOST_BLANK, len <= MOST_BLANK));
            assert_eq!(Buf::from_slice(&buf).is_blank(), buf.is_blank());
            assert_eq!(buf.clone(), buf);
            buf[len - 1] = 1;
            assert!(!buf.is_blank() && !is_blank(&buf));
            assert!(Buf::zeroed(len).iter().all(|&byte| byte == 0), "all others are as before");
            buf.clear();
            assert_eq!((buf.len(), buf), (len, Buf::zeroed(len)));
        }
        assert!(!Buf::zeroed(0).is_blank());
        let whole = Payload::zeroed(8192);
        assert!(is_blank(&whole.slice(4096..8192)));
    }

    #[test]
    fn parts_come_one_behind_the_other() {
        let buf = Buf::concat(5, [&[1, 2][..], &[], &[3, 4, 5]].into_iter());
        assert_eq!(*buf, [1, 2, 3, 4, 5]);
        for parts in [&[1, 2][..], &[1, 2, 3, 4]] {
            let made = std::panic::catch_unwind(|| Buf::concat(3, std::iter::once(parts)));
            assert!(made.is_err(), "{parts:?}");
        }
    }

    #[test]
    fn what_is_put_is_there_whoever_is_blank() {
        let ones = Buf::from_slice(&[1; 512]);
        let mut buf = Buf::zeroed(1536);
        buf.put(512, &Buf::zeroed(512));
        assert!(buf.is_blank());
        buf.put(512, &ones);
        assert_eq!(*buf, [[0; 512], [1; 512], [0; 512]].concat());
        buf.put(512, &Buf::zeroed(1024));
        assert!(!buf.is_blank() && buf == Buf::zeroed(1536));
    }

    #[test]
    fn slices_share_their_memory() {
        let whole = Payload::from_slice(&[1, 2, 3, 4, 5]);
        let part = whole.slice(1..4).slice(1..3);
        assert_eq!(*part, [3, 4]);
        assert_eq!(part.as_ptr().addr(), whole.as_ptr().addr() + 2);
    }
}
