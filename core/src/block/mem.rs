//! The simplest device: bytes in memory.
//!
//! Requests are carried out in order by `poll`, each by copying into or out of the disk's own
//! memory, so that what it costs is what a real device's copy costs. Untouched memory is not
//! resident (the allocator hands out zero pages lazily).

use std::collections::VecDeque;

use super::{BlockDevice, Completions, Fault, Geometry, Op, Request};
use crate::size::SECTOR_BYTES;
use crate::time::Instant;

/// A disk in memory, zeroed at first. Durable in the sense that nothing short of dropping it loses
/// a write.
#[derive(Debug)]
pub struct MemDisk {
    geometry: Geometry,
    bytes: Vec<u8>,
    queue: VecDeque<Request>,
}

impl MemDisk {
    /// A zeroed disk of `sectors` with 512-byte blocks.
    pub fn new(sectors: u64) -> Self {
        Self::with_geometry(Geometry { discard_zeroes: true, ..Geometry::new(sectors) })
    }

    /// A zeroed disk of this shape.
    pub fn with_geometry(geometry: Geometry) -> Self {
        let bytes = vec![0; (geometry.sectors * SECTOR_BYTES) as usize];
        Self { geometry, bytes, queue: VecDeque::new() }
    }

    /// A disk that holds these bytes.
    ///
    /// # Panics
    /// If they are not whole sectors.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let sectors = bytes.len() as u64 / SECTOR_BYTES;
        assert_eq!(bytes.len() as u64, sectors * SECTOR_BYTES, "whole sectors");
        let geometry = Geometry { discard_zeroes: true, ..Geometry::new(sectors) };
        Self { geometry, bytes, queue: VecDeque::new() }
    }

    /// The contents, beneath the queue.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The contents, to be changed behind the device's back.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn carry_out(&mut self, sector: u64, op: &mut Op) {
        if matches!(op, Op::Flush) {
            return;
        }
        let from = (sector * SECTOR_BYTES) as usize;
        let range = from..from + op.bytes() as usize;
        match op {
            Op::Read(buf) => buf.copy_from_slice(&self.bytes[range]),
            Op::Write(data, _) => self.bytes[range].copy_from_slice(data),
            Op::Flush => {}
            Op::Discard(_) if !self.geometry.discard_zeroes => {}
            Op::Discard(_) | Op::Zero(_) => self.bytes[range].fill(0),
        }
    }
}

impl BlockDevice for MemDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.queue.len() >= self.geometry.queue_depth as usize {
            return Err(request);
        }
        self.queue.push_back(request);
        Ok(())
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        while let Some(mut request) = self.queue.pop_front() {
            let result: Result<(), Fault> = self.geometry.check(&request);
            if result.is_ok() {
                self.carry_out(request.sector, &mut request.op);
            }
            finished.push(request.complete(result));
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::time::StepClock;

    #[test]
    fn meets_the_examiner() {
        for block_bytes in [512, 4096] {
            for queue_depth in [1, 2, 128] {
                let geometry = Geometry { block_bytes, queue_depth, ..Geometry::new(1 << 12) };
                conformance::examine(
                    &mut MemDisk::with_geometry(geometry),
                    &mut StepClock::default(),
                );
            }
        }
    }

    #[test]
    fn a_read_only_disk_meets_the_examiner() {
        let geometry = Geometry { read_only: true, ..Geometry::new(1 << 12) };
        conformance::examine(&mut MemDisk::with_geometry(geometry), &mut StepClock::default());
    }
}
