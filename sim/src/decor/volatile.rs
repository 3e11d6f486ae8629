//! A device with a write cache that a power cut empties.
//!
//! A write is answered as soon as it is in the cache. A flush carries the cache to the device
//! beneath; a FUA write goes there at once. At a power cut each cached sector has reached the
//! device or has not, by the roll of a die: writes survive in any subset and tear inside.
//!
//! The device beneath must carry out its requests in the order it gets them, as a memory disk
//! does; delays belong around this decorator, not beneath it.

use std::collections::BTreeMap;

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Geometry, MemDisk, Op, Request, Tag,
};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

const SECTOR: usize = SECTOR_BYTES as usize;

/// Contents by sector.
type Sectors = BTreeMap<u64, Payload>;

/// A device behind a volatile cache.
#[derive(Debug)]
pub struct Volatile<D> {
    inner: D,
    cache: Sectors,
    answers: Completions,
    flights: BTreeMap<Tag, Flight>,
    next_tag: u64,
}

/// A request the device beneath is carrying out.
#[derive(Debug)]
enum Flight {
    /// A request of ours.
    Through(Tag),
    /// A read, and what the cache knew better when it began.
    Read { tag: Tag, sector: u64, newer: Sectors },
    /// The cache being carried down for a flush.
    Drain,
}

impl<D: BlockDevice> Volatile<D> {
    /// Puts an empty cache before `inner`.
    pub const fn new(inner: D) -> Self {
        Self {
            inner,
            cache: BTreeMap::new(),
            answers: Vec::new(),
            flights: BTreeMap::new(),
            next_tag: 0,
        }
    }

    /// The device, without what is cached.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// Sectors that a power cut would put at risk.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    fn launch(&mut self, flight: Flight, sector: u64, op: Op) {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.flights.insert(tag, flight);
        let taken = self.inner.submit(Request::new(tag, sector, op));
        taken.expect("the queue beneath is at least as deep, and drained in every poll");
    }

    fn remember(&mut self, sector: u64, data: &Payload) {
        for (index, at) in (0..data.len()).step_by(SECTOR).enumerate() {
            let end = (at + SECTOR).min(data.len());
            self.cache.insert(sector + index as u64, data.slice(at..end));
        }
    }

    fn forget(&mut self, sector: u64, sectors: u64) {
        let range = sector..sector + sectors;
        let known: Vec<u64> = self.cache.range(range).map(|(&sector, _)| sector).collect();
        for sector in known {
            self.cache.remove(&sector);
        }
    }

    fn carry_out(&mut self, request: Request) {
        let Request { tag, sector, op } = request;
        let sectors = op.sectors();
        match op {
            Op::Read(buf) => {
                let cached = self.cache.range(sector..sector + sectors);
                let newer = cached.map(|(&at, data)| (at, data.clone())).collect();
                let flight = Flight::Read { tag, sector, newer };
                self.launch(flight, sector, Op::Read(buf));
            }
            Op::Write(data, Durability::Cached) => {
                self.remember(sector, &data);
                let op = Op::Write(data, Durability::Cached);
                self.answers.push(Request::new(tag, sector, op).complete(Ok(())));
            }
            Op::Flush => {
                for (at, data) in std::mem::take(&mut self.cache) {
                    let op = Op::Write(data, Durability::Cached);
                    self.launch(Flight::Drain, at, op);
                    self.settle();
                }
                self.launch(Flight::Through(tag), 0, Op::Flush);
            }
            op => {
                self.forget(sector, sectors);
                self.launch(Flight::Through(tag), sector, op);
            }
        }
    }

    /// Takes the answers of the device beneath.
    fn settle(&mut self) {
        let mut done = Vec::new();
        self.inner.poll(Instant::ZERO, &mut done);
        for done in done {
            let flight = self.flights.remove(&done.tag).expect("asked for");
            let answer = match flight {
                Flight::Drain => continue,
                Flight::Through(tag) => Completion { tag, ..done },
                Flight::Read { tag, sector, newer } => {
                    let mut answer = Completion { tag, ..done };
                    if let Op::Read(buf) = &mut answer.op {
                        for (at, data) in newer {
                            let from = (at - sector) as usize * SECTOR;
                            buf[from..from + data.len()].copy_from_slice(&data);
                        }
                    }
                    answer
                }
            };
            self.answers.push(answer);
        }
    }
}

impl Volatile<MemDisk> {
    /// Everything cached reaches the disk, as when only a process dies.
    pub fn drained(mut self) -> MemDisk {
        for (sector, data) in std::mem::take(&mut self.cache) {
            self.inner.bytes_mut()[sector as usize * SECTOR..][..data.len()].copy_from_slice(&data);
        }
        self.inner
    }

    /// The power fails: what is left on the disk.
    pub fn power_cut(mut self, rng: &mut Rng) -> MemDisk {
        for (sector, data) in std::mem::take(&mut self.cache) {
            if rng.below(2) == 0 {
                let at = sector as usize * SECTOR;
                self.inner.bytes_mut()[at..at + data.len()].copy_from_slice(&data);
            }
        }
        self.inner
    }
}

impl<D: BlockDevice> BlockDevice for Volatile<D> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.answers.len() >= self.geometry().queue_depth as usize {
            return Err(request);
        }
        match self.geometry().check(&request) {
            Ok(()) => {
                self.carry_out(request);
                self.settle();
            }
            Err(fault) => self.answers.push(request.complete(Err(fault))),
        }
        Ok(())
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        self.settle();
        finished.append(&mut self.answers);
    }

    fn poll_at(&self) -> Option<Instant> {
        (!self.answers.is_empty()).then_some(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{VirtualClock, World};
    use holdfast_core::block::{Blocking, conformance};

    fn disk() -> Volatile<MemDisk> {
        Volatile::new(MemDisk::new(1 << 10))
    }

    #[test]
    fn meets_the_examiner() {
        conformance::examine(&mut disk(), &mut VirtualClock::default());
    }

    #[test]
    fn a_power_cut_spares_what_was_flushed_and_any_subset_of_the_rest() {
        let mut disk = Blocking::new(disk(), VirtualClock::default());
        disk.write_at(0, &[1; 65536]).unwrap();
        disk.flush().unwrap();
        disk.write_at(32768, &[2; 32768]).unwrap();
        let fua = Op::Write(Payload::from_slice(&[3; 512]), Durability::Fua);
        assert_eq!(disk.execute(127, fua).result, Ok(()));
        let mut seen = vec![0; 32768];
        disk.read_at(32768, &mut seen).unwrap();
        assert!(seen[..32256].iter().all(|&b| b == 2) && seen[32256] == 3);
        let left = disk.into_inner().0.power_cut(&mut World::new(1).rng(1));
        let left = &left.bytes()[..65536];
        assert!(left[..32768].iter().all(|&b| b == 1));
        assert!(left[65024..].iter().all(|&b| b == 3));
        let survived = left[32768..65024].chunks(512).filter(|s| s[0] == 2).count();
        assert!((10..53).contains(&survived), "{survived}");
    }
}
