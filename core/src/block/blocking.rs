//! Any device as a plain file: read, write and flush that return when they are done.
//!
//! For tests, examples, tools that do one thing after another, and the first lesson.

use super::{BlockDevice, Completion, Completions, Durability, Fault, Op, Request, Tag};
use crate::buf::{Buf, Payload};
use crate::size::SECTOR_BYTES;
use crate::time::Clock;

/// A device with a clock to wait on. Offsets and lengths are bytes, block-aligned.
#[derive(Debug)]
pub struct Blocking<D, C> {
    device: D,
    clock: C,
    next_tag: u64,
    finished: Completions,
}

/// The largest single request, in bytes; longer transfers are cut.
const PIECE: usize = 1 << 20;

impl<D: BlockDevice, C: Clock> Blocking<D, C> {
    /// Wraps a device.
    pub const fn new(device: D, clock: C) -> Self {
        Self { device, clock, next_tag: 0, finished: Vec::new() }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The device, to be told things a block device is not told.
    pub const fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The clock.
    pub const fn clock_mut(&mut self) -> &mut C {
        &mut self.clock
    }

    /// Gives the device and the clock back.
    pub fn into_inner(self) -> (D, C) {
        (self.device, self.clock)
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.device.geometry().sectors * SECTOR_BYTES
    }

    /// Fills `bytes` from `offset`.
    pub fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut at = offset;
        for piece in bytes.chunks_mut(PIECE) {
            let completion = self.run(at, Op::Read(Buf::zeroed(piece.len())))?;
            let Op::Read(buf) = completion.op else { unreachable!("a read answers a read") };
            piece.copy_from_slice(&buf);
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`. Durable after the next [`Blocking::flush`].
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE) {
            self.run(at, Op::Write(Payload::from_slice(piece), Durability::Cached))?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.run(0, Op::Flush).map(drop)
    }

    /// Forgets a range.
    pub fn discard(&mut self, offset: u64, bytes: u64) -> Result<(), Fault> {
        self.run(offset, Op::Discard(bytes / SECTOR_BYTES)).map(drop)
    }

    /// Zeroes a range.
    pub fn zero(&mut self, offset: u64, bytes: u64) -> Result<(), Fault> {
        self.run(offset, Op::Zero(bytes / SECTOR_BYTES)).map(drop)
    }

    fn run(&mut self, offset: u64, op: Op) -> Result<Completion, Fault> {
        if !offset.is_multiple_of(SECTOR_BYTES) {
            return Err(Fault::Refused);
        }
        let completion = self.execute(offset / SECTOR_BYTES, op);
        completion.result.map(|()| completion)
    }

    /// Runs one operation to its completion.
    pub fn execute(&mut self, sector: u64, op: Op) -> Completion {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        let mut request = Some(Request::new(tag, sector, op));
        loop {
            if let Some(held) = request.take() {
                request = self.device.submit(held).err();
            }
            let now = self.clock.now();
            self.device.poll(now, &mut self.finished);
            if let Some(at) = self.finished.iter().position(|done| done.tag == tag) {
                return self.finished.swap_remove(at);
            }
            // A device that answers at once is polled again; any other is waited for.
            let due = self.device.poll_at().is_some_and(|at| at <= now);
            if !due && request.is_none() {
                self.clock.wait(self.device.poll_at());
            }
        }
    }
}
