//! A range of a device as a device of its own: a partition of a disk.
//!
//! Requests are moved by the window's start and checked against its size before they reach the
//! device, so nothing is ever read or written outside the window. The whole device is a window, too.

use std::ops::Range;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Op, Request, Tag};
use holdfast_core::time::Instant;

/// The sectors `[start, start + sectors)` of a device.
#[derive(Debug)]
pub struct Window<D> {
    device: D,
    start: u64,
    sectors: u64,
    /// Refused by the window's own geometry, to be answered at the next poll.
    refused: Completions,
}

impl<D: BlockDevice> Window<D> {
    /// All of the device.
    pub fn whole(device: D) -> Self {
        let sectors = device.geometry().sectors;
        Self { device, start: 0, sectors, refused: Vec::new() }
    }

    /// The sectors of `range`, rounded down to whole blocks at its end.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`] if the range does not lie on the device, [`Fault::Refused`] if it does
    /// not begin with a block.
    pub fn over(device: D, range: Range<u64>) -> Result<Self, Fault> {
        let geometry = device.geometry();
        if range.start > range.end || range.end > geometry.sectors {
            return Err(Fault::OutOfRange);
        }
        if !range.start.is_multiple_of(geometry.block_sectors()) {
            return Err(Fault::Refused);
        }
        let sectors = range.end - range.start;
        let sectors = sectors - sectors % geometry.block_sectors();
        Ok(Self { device, start: range.start, sectors, refused: Vec::new() })
    }

    /// First sector of the window on the device.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The device beneath.
    pub const fn device(&self) -> &D {
        &self.device
    }
}

impl<D: BlockDevice> BlockDevice for Window<D> {
    fn geometry(&self) -> Geometry {
        Geometry { sectors: self.sectors, ..self.device.geometry() }
    }

    fn submit(&mut self, mut request: Request) -> Result<(), Request> {
        if let Err(fault) = self.geometry().check(&request) {
            self.refused.push(request.complete(Err(fault)));
            return Ok(());
        }
        let flush = matches!(request.op, Op::Flush);
        let sector = request.sector;
        if !flush {
            request.sector += self.start;
        }
        self.device.submit(request).map_err(|mut back| {
            back.sector = sector;
            back
        })
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        finished.append(&mut self.refused);
        self.device.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        if self.refused.is_empty() { self.device.poll_at() } else { Some(Instant::ZERO) }
    }

    fn abandon(&mut self, tag: Tag) {
        self.device.abandon(tag);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::{MemDisk, conformance};
    use holdfast_core::time::StepClock;

    use super::*;

    #[test]
    fn meets_the_examiner_and_touches_nothing_outside() {
        for block_bytes in [512u32, 4096] {
            for queue_depth in [1, 128] {
                let geometry = Geometry { block_bytes, queue_depth, ..Geometry::new(4096) };
                let mut disk = MemDisk::with_geometry(geometry);
                disk.bytes_mut().fill(0xa5);
                let mut window = Window::over(disk, 1024..3075).unwrap();
                let block = u64::from(block_bytes / 512);
                assert_eq!(window.geometry().sectors, 2051 / block * block);
                conformance::examine(&mut window, &mut StepClock::default());
                let bytes = window.device().bytes();
                assert!(bytes[..1024 * 512].iter().all(|byte| *byte == 0xa5), "before");
                assert!(bytes[3075 * 512..].iter().all(|byte| *byte == 0xa5), "behind");
            }
        }
    }

    #[test]
    fn a_window_lies_on_its_device_and_begins_with_a_block() {
        let disk = || MemDisk::with_geometry(Geometry { block_bytes: 4096, ..Geometry::new(64) });
        let fault = |range| Window::over(disk(), range).err();
        assert_eq!(fault(0..64), None);
        assert_eq!(fault(64..64), None);
        assert_eq!(fault(8..65), Some(Fault::OutOfRange));
        assert_eq!(fault(4..64), Some(Fault::Refused));
        #[expect(clippy::reversed_empty_ranges, reason = "a table may say that")]
        let backwards = 16..8;
        assert_eq!(fault(backwards), Some(Fault::OutOfRange));
    }
}
