//! What a device is like: size, block size, limits and promises.

use super::{Fault, Op, Request};
use crate::size::SECTOR_BYTES;

/// The shape of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size in sectors.
    pub sectors: u64,
    /// Logical block: requests are aligned to it and writes are atomic in it. A power of two, at
    /// least 512 bytes.
    pub block_bytes: u32,
    /// Requests the device takes at once.
    pub queue_depth: u32,
    /// The request size at which the device works best, in sectors; 0 if it does not care.
    pub optimal_sectors: u32,
    /// Whether discarded blocks read as zeros.
    pub discard_zeroes: bool,
    /// Whether the device takes no writes.
    pub read_only: bool,
}

impl Geometry {
    /// A device of `sectors` with 512-byte blocks and a queue of 128.
    pub const fn new(sectors: u64) -> Self {
        Self {
            sectors,
            block_bytes: 512,
            queue_depth: 128,
            optimal_sectors: 0,
            discard_zeroes: false,
            read_only: false,
        }
    }

    /// Sectors in a logical block.
    pub const fn block_sectors(&self) -> u64 {
        self.block_bytes as u64 / SECTOR_BYTES
    }

    /// Whether a request may be carried out: inside the device, block-aligned, and a write only
    /// where writes are taken. Every device asks this first.
    pub fn check(&self, request: &Request) -> Result<(), Fault> {
        if request.op.is_write() && self.read_only {
            return Err(Fault::ReadOnly);
        }
        if matches!(request.op, Op::Flush) {
            return Ok(());
        }
        let bytes = request.op.bytes();
        let end =
            bytes.div_ceil(SECTOR_BYTES).checked_add(request.sector).ok_or(Fault::OutOfRange)?;
        if end > self.sectors {
            return Err(Fault::OutOfRange);
        }
        let aligned = bytes.is_multiple_of(u64::from(self.block_bytes))
            && request.sector.is_multiple_of(self.block_sectors());
        if aligned { Ok(()) } else { Err(Fault::Refused) }
    }
}
