//! A disk in memory that has one fault, at a place chosen beforehand.
//!
//! Writes are counted over all disks of a set: the fault of a write strikes the n-th of them.

use std::cell::Cell;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Op, Request};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;
use holdfast_raid::integrity::{BLOCK_SECTORS, Shape};

/// What a write does instead of landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    /// Nothing.
    Lost,
    /// Only its first sectors land.
    First,
    /// Only its last sector lands.
    Last,
    /// It lands on the other block of the same disk.
    Misdirected,
}

/// What the disks of a set share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Writes of data so far.
    pub(super) writes: Cell<u32>,
    /// Which of them goes wrong, and how.
    pub(super) strike: Cell<Option<(u32, Mischief)>>,
    /// Whether it has.
    pub(super) struck: Cell<bool>,
}

/// The disk. It answers at once, in order.
#[derive(Debug)]
pub(super) struct Shaky {
    bytes: Vec<u8>,
    queue: Vec<Request>,
    shape: Shape,
    /// The first of its two blocks of data.
    first_block: u64,
    /// A sector that cannot be read until it is written.
    latent: Option<u64>,
    shared: Rc<Shared>,
}

impl Shaky {
    pub(super) const fn new(
        bytes: Vec<u8>,
        shape: Shape,
        first_block: u64,
        shared: Rc<Shared>,
    ) -> Self {
        Self { bytes, queue: Vec::new(), shape, first_block, latent: None, shared }
    }

    /// The places of one of its two blocks: the block, and its seal if it has one.
    pub(super) fn places(&self, block: u64) -> Vec<u64> {
        let block = self.first_block + block;
        let data = self.shape.device_range(block * BLOCK_SECTORS..(block + 1) * BLOCK_SECTORS);
        let seal = self.shape.seal_sector(block);
        let sealed = self.shape.device_range(0..BLOCK_SECTORS).start > 0;
        if sealed { vec![data.start, seal] } else { vec![data.start] }
    }

    /// A sector cannot be read until it is written.
    pub(super) const fn make_latent(&mut self, sector: u64) {
        self.latent = Some(sector);
    }

    /// Bits of a sector flip.
    pub(super) fn corrupt(&mut self, sector: u64) {
        let at = (sector * SECTOR_BYTES) as usize;
        for byte in self.bytes[at..at + SECTOR_BYTES as usize].iter_mut().step_by(37) {
            *byte ^= 0x5a;
        }
    }

    /// The same place of the other block, if this is a place of data.
    fn elsewhere(&self, sector: u64) -> Option<u64> {
        let (here, there) = (self.places(0), self.places(1));
        let swap = |(from, to): (&u64, &u64)| match sector {
            _ if sector == *from => Some(*to),
            _ if sector == *to => Some(*from),
            _ => None,
        };
        here.iter().zip(&there).find_map(swap)
    }

    fn land(&mut self, sector: u64, data: &[u8]) {
        let at = (sector * SECTOR_BYTES) as usize;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        let sectors = sector..sector + data.len() as u64 / SECTOR_BYTES;
        self.latent.take_if(|latent| sectors.contains(latent));
    }

    /// Whether this write goes wrong, and then does it.
    fn strikes(&mut self, sector: u64, data: &[u8]) -> bool {
        let Some(other) = self.elsewhere(sector) else { return false };
        let number = self.shared.writes.get();
        self.shared.writes.set(number + 1);
        let Some((_, mischief)) = self.shared.strike.get().filter(|(at, _)| *at == number) else {
            return false;
        };
        let sector_bytes = SECTOR_BYTES as usize;
        let last = data.len() - sector_bytes;
        if last == 0 && matches!(mischief, Mischief::First | Mischief::Last) {
            // One sector lands whole or not at all.
            return false;
        }
        self.shared.struck.set(true);
        match mischief {
            Mischief::Lost => {}
            Mischief::First => self.land(sector, &data[..data.len() / 2 / 512 * 512]),
            Mischief::Last => self.land(sector + last as u64 / SECTOR_BYTES, &data[last..]),
            Mischief::Misdirected => self.land(other, data),
        }
        true
    }

    fn carry_out(&mut self, sector: u64, op: &mut Op) -> Result<(), Fault> {
        let at = (sector * SECTOR_BYTES) as usize;
        let sectors = sector..sector + op.sectors();
        match op {
            Op::Read(_) if self.latent.is_some_and(|latent| sectors.contains(&latent)) => {
                return Err(Fault::Medium);
            }
            Op::Read(buf) => {
                let len = buf.len();
                buf.copy_from_slice(&self.bytes[at..at + len]);
            }
            Op::Write(data, _) => {
                if !self.strikes(sector, data) {
                    self.land(sector, data);
                }
            }
            Op::Flush => {}
            // Members that promise no zeros are not asked for any.
            Op::Discard(_) | Op::Zero(_) => return Err(Fault::Refused),
        }
        Ok(())
    }
}

impl BlockDevice for Shaky {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.bytes.len() as u64 / SECTOR_BYTES)
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.queue.push(request);
        Ok(())
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        for mut request in std::mem::take(&mut self.queue) {
            let checked = self.geometry().check(&request);
            let result = checked.and_then(|()| self.carry_out(request.sector, &mut request.op));
            finished.push(request.complete(result));
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}
