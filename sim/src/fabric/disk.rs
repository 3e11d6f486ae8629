//! The disk, and the two controllers before it.

use std::collections::BTreeMap;

use holdfast_core::block::{Fault, Op};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

const SECTOR: usize = SECTOR_BYTES as usize;

/// A write in a controller's cache.
#[derive(Clone, Debug)]
struct Cached {
    number: u64,
    data: Vec<u8>,
}

/// A disk with two controllers.
#[derive(Debug)]
pub struct Shelf {
    /// The present moment, for whoever looks at the shelf.
    pub now: Instant,
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// The number of the write each durable sector is from.
    durable_from: Vec<u64>,
    /// One for each controller, and what dead ones have left: any flush covers that.
    caches: [BTreeMap<u64, Cached>; 3],
    alive: [bool; 2],
    number: u64,
}

impl Shelf {
    /// A disk of zeros.
    pub fn new(sectors: u64) -> Self {
        let bytes = sectors as usize * SECTOR;
        Self {
            now: Instant::ZERO,
            seen: vec![0; bytes],
            durable: vec![0; bytes],
            durable_from: vec![0; sectors as usize],
            caches: [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()],
            alive: [true; 2],
            number: 0,
        }
    }

    /// Whether a controller works.
    pub const fn is_alive(&self, controller: usize) -> bool {
        self.alive[controller]
    }

    /// A controller dies; what it had in its cache is mirrored.
    pub fn kill(&mut self, controller: usize) {
        self.alive[controller] = false;
        let cache = std::mem::take(&mut self.caches[controller]);
        for (sector, cached) in cache {
            let left = &mut self.caches[2];
            if left.get(&sector).is_none_or(|other| other.number < cached.number) {
                left.insert(sector, cached);
            }
        }
    }

    /// A controller works again.
    pub const fn revive(&mut self, controller: usize) {
        self.alive[controller] = true;
    }

    /// A request arrives at a controller and is carried out.
    pub fn carry_out(&mut self, controller: usize, sector: u64, op: &mut Op) -> Result<(), Fault> {
        let from = sector as usize * SECTOR;
        let bytes = op.bytes() as usize;
        if from + bytes > self.seen.len() {
            return Err(Fault::OutOfRange);
        }
        match op {
            Op::Read(buf) => buf.copy_from_slice(&self.seen[from..from + bytes]),
            Op::Write(data, durability) => {
                let fua = *durability == holdfast_core::block::Durability::Fua;
                self.write(controller, sector, &data.clone(), fua);
            }
            Op::Zero(_) | Op::Discard(_) => self.write(controller, sector, &vec![0; bytes], false),
            Op::Flush => self.flush(controller),
        }
        Ok(())
    }

    fn write(&mut self, controller: usize, sector: u64, data: &[u8], fua: bool) {
        self.number += 1;
        let from = sector as usize * SECTOR;
        self.seen[from..from + data.len()].copy_from_slice(data);
        for (index, one) in data.chunks_exact(SECTOR).enumerate() {
            let sector = sector + index as u64;
            if fua {
                self.settle(sector, self.number, one);
            } else {
                let cached = Cached { number: self.number, data: one.to_vec() };
                self.caches[controller].insert(sector, cached);
            }
        }
    }

    fn settle(&mut self, sector: u64, number: u64, data: &[u8]) {
        let index = sector as usize;
        if number > self.durable_from[index] {
            self.durable_from[index] = number;
            self.durable[index * SECTOR..][..SECTOR].copy_from_slice(data);
        }
    }

    fn flush(&mut self, controller: usize) {
        for cache in [controller, 2] {
            for (sector, cached) in std::mem::take(&mut self.caches[cache]) {
                self.settle(sector, cached.number, &cached.data);
            }
        }
    }

    /// What a reader sees of a sector.
    pub fn seen(&self, sector: u64) -> &[u8] {
        &self.seen[sector as usize * SECTOR..][..SECTOR]
    }

    /// What is left of a sector after a power cut.
    pub fn durable(&self, sector: u64) -> &[u8] {
        &self.durable[sector as usize * SECTOR..][..SECTOR]
    }
}
