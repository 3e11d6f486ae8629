//! The block device: a completion queue with owned buffers.
//!
//! A request goes in with [`BlockDevice::submit`], together with the buffers it needs; its
//! completion comes out of [`BlockDevice::poll`], exactly once, together with those buffers. In
//! between the device owns them. Nothing blocks, nothing calls back.
//!
//! # What a device promises, and nothing more
//!
//! - *Flush*: a completed [`Op::Flush`] makes durable every write that had **completed** before
//!   the flush was **submitted**.
//! - *FUA*: a write with [`Durability::Fua`] is durable when it completes.
//! - *Order*: requests in flight together may land in any order. Who needs an order waits.
//! - *Atomicity*: a write is atomic per block ([`Geometry::block_bytes`]) only; a write cut short
//!   by a power loss may leave any subset of its blocks.
//! - *Discard*: contents become unspecified, unless [`Geometry::discard_zeroes`] promises zeros.
//! - *Buffers*: a read's completion returns *a* buffer of the size that was asked for, not
//!   necessarily the same one; after an error its contents mean nothing.
//! - *Answers*: every accepted request is answered exactly once, also after [`BlockDevice::abandon`].
//! - *Bounds*: what lies outside the device or is not block-aligned completes with
//!   [`Fault::OutOfRange`] or [`Fault::Refused`] and touches nothing.

pub mod blocking;
pub mod conformance;
mod fault;
mod geometry;
mod mem;
mod request;

pub use blocking::Blocking;
pub use fault::{Fault, Responder};
pub use geometry::Geometry;
pub use mem::MemDisk;
pub use request::{Completion, Durability, Op, Request, Tag};

use crate::time::Instant;

/// Answers collected by one [`BlockDevice::poll`].
pub type Completions = Vec<Completion>;

/// A device that answers requests later, possibly in another order. See the [module](self) for
/// what it promises.
pub trait BlockDevice {
    /// Size, block size and limits. May change between two polls of a device that can be resized.
    fn geometry(&self) -> Geometry;

    /// Queues a request, or hands it back when the queue is full.
    ///
    /// A queue that was full has room again after some [`BlockDevice::poll`]. A device with
    /// nothing in flight accepts at least one request.
    fn submit(&mut self, request: Request) -> Result<(), Request>;

    /// Pushes queued requests out and appends what has finished. Never blocks.
    fn poll(&mut self, now: Instant, finished: &mut Completions);

    /// When `poll` next has work of its own accord, if ever.
    fn poll_at(&self) -> Option<Instant>;

    /// Says that nobody waits for this request any more. Best effort: the completion still comes,
    /// exactly once.
    fn abandon(&mut self, tag: Tag) {
        let _ = tag;
    }
}

impl<D: BlockDevice + ?Sized> BlockDevice for Box<D> {
    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        (**self).submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        (**self).poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        (**self).poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        (**self).abandon(tag);
    }
}

impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        (**self).submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        (**self).poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        (**self).poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        (**self).abandon(tag);
    }
}
