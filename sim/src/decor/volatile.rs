//! A device with a write cache that a power cut empties.
//!
//! A write is answered as soon as it is in the cache. A flush carries the cache to the device
//! beneath and flushes that; a FUA write goes there at once. At a power cut each cached block has
//! reached the device or has not, by the roll of a die: writes survive in any subset and tear inside.
//! A device may promise more than a block at once, as disks with sectors of 4 KiB do that answer for
//! 512 bytes ([`Volatile::with_atoms`]).
//!
//! The device beneath may be slow and may answer in any order. So that an older write never lands
//! over a newer one, whatever goes down to it goes one *errand* after the other: a flush with all it
//! has to carry, a FUA write, a range of zeros. What is carried down stays in the cache until it has
//! landed, so readers, who wait for no errand, always find the newest.

use std::collections::{BTreeMap, VecDeque};

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Fault, Geometry, MemDisk, Op, Request, Tag,
};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

/// Most bytes that are carried down in one request.
const RUN_BYTES: usize = 256 << 10;

/// What a block will hold, and when it was told so.
#[derive(Clone, Debug)]
struct Cached {
    data: Payload,
    order: u64,
}

/// Blocks by their first sector.
type Blocks = BTreeMap<u64, Cached>;

/// A device behind a volatile cache.
#[derive(Debug)]
pub struct Volatile<D> {
    inner: D,
    cache: Blocks,
    /// Blocks the cache holds before it begins to write back of its own accord.
    capacity: usize,
    /// Sectors that a power cut leaves together; 0 for a block.
    atom: u64,
    /// Counts what was taken into the cache.
    orders: u64,
    errand: Option<Errand>,
    /// Errands to come.
    queue: VecDeque<Request>,
    /// Writes the cache has no room for yet.
    postponed: VecDeque<Request>,
    /// Requests the device beneath had no room for.
    waiting: VecDeque<Request>,
    flights: BTreeMap<Tag, Flight>,
    next_tag: u64,
    answers: Completions,
    /// Requests accepted and not given back yet.
    held: usize,
    /// The power is off.
    dark: bool,
}

/// What is going down.
#[derive(Debug)]
struct Errand {
    /// Done once the cache has been carried down; none if the cache is merely too full.
    then: Option<Request>,
    /// What was taken into the cache later is newer than the errand.
    order: u64,
    /// Requests beneath that carry the cache down.
    left: usize,
    result: Result<(), Fault>,
}

/// A request the device beneath is carrying out.
#[derive(Debug)]
enum Flight {
    /// A read, and what the cache knew better when it began.
    Read { tag: Tag, sector: u64, newer: Blocks },
    /// A part of the cache, and where it goes.
    Part(u64),
    /// What the errand was for, under its own tag, and where it goes.
    Errand(Tag, u64),
}

impl<D: BlockDevice> Volatile<D> {
    /// Puts an empty cache before `inner`, which keeps everything until a flush.
    pub const fn new(inner: D) -> Self {
        Self {
            inner,
            cache: BTreeMap::new(),
            capacity: usize::MAX,
            atom: 0,
            orders: 0,
            errand: None,
            queue: VecDeque::new(),
            postponed: VecDeque::new(),
            waiting: VecDeque::new(),
            flights: BTreeMap::new(),
            next_tag: 0,
            answers: Vec::new(),
            held: 0,
            dark: false,
        }
    }

    /// The same with room for so many blocks; beyond that it writes back without being asked.
    #[must_use]
    pub fn with_capacity(self, blocks: usize) -> Self {
        Self { capacity: blocks.max(1), ..self }
    }

    /// The same with so many aligned bytes that a power cut leaves together or not at all.
    #[must_use]
    pub fn with_atoms(self, bytes: u64) -> Self {
        Self { atom: bytes / SECTOR_BYTES, ..self }
    }

    /// The device, without what is cached.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The device, without what is cached.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.inner
    }

    /// Blocks that a power cut would put at risk.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// The power fails. Each cached block reaches the device or does not, by the dice; nothing that
    /// was asked is answered any more. What reaches the device is on its way until
    /// [`is_still`](Self::is_still) says otherwise.
    pub fn power_fails(&mut self, rng: &mut Rng) {
        self.dark = true;
        self.queue.clear();
        self.postponed.clear();
        self.waiting.clear();
        self.answers.clear();
        self.lose_some(rng);
        self.carry_down();
        self.push_waiting();
    }

    /// Leaves a random part of the cache.
    fn lose_some(&mut self, rng: &mut Rng) {
        let atom = self.atom.max(self.block_sectors());
        let (mut last, mut stays) = (None, false);
        self.cache.retain(|sector, _| {
            if last.replace(sector / atom) != Some(sector / atom) {
                stays = rng.below(2) == 0;
            }
            stays
        });
    }

    /// Whether nothing is on its way to the device beneath.
    pub fn is_still(&self) -> bool {
        self.flights.is_empty() && self.waiting.is_empty()
    }

    fn block_sectors(&self) -> u64 {
        self.geometry().block_sectors()
    }

    fn launch(&mut self, flight: Flight, sector: u64, op: Op) {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.flights.insert(tag, flight);
        self.waiting.push_back(Request::new(tag, sector, op));
    }

    /// Hands over what the device beneath has room for; whether anything went.
    fn push_waiting(&mut self) -> bool {
        let before = self.waiting.len();
        while let Some(request) = self.waiting.pop_front() {
            if let Err(back) = self.inner.submit(request) {
                self.waiting.push_front(back);
                break;
            }
        }
        self.waiting.len() < before
    }

    fn remember(&mut self, sector: u64, data: &Payload) {
        let (block, sectors) = (self.geometry().block_bytes as usize, self.block_sectors());
        self.orders += 1;
        for (index, at) in (0..data.len()).step_by(block).enumerate() {
            let cached = Cached { data: data.slice(at..at + block), order: self.orders };
            self.cache.insert(sector + index as u64 * sectors, cached);
        }
    }

    /// Blocks of a range are beneath, as they were when the errand began.
    fn landed(&mut self, sector: u64, sectors: u64, until: u64) {
        let range = sector..sector + sectors;
        let old = self.cache.range(range).filter(|(_, cached)| cached.order <= until);
        for sector in old.map(|(sector, _)| *sector).collect::<Vec<_>>() {
            self.cache.remove(&sector);
        }
    }

    /// Whether writes have to wait until some of the cache has gone down.
    fn is_crowded(&self) -> bool {
        self.cache.len() / 2 >= self.capacity
    }

    fn take(&mut self, request: Request) {
        let Request { tag, sector, op } = request;
        let sectors = op.sectors();
        match op {
            Op::Read(buf) => {
                let newer = self.cache.range(sector..sector + sectors);
                let newer = newer.map(|(at, cached)| (*at, cached.clone())).collect();
                self.launch(Flight::Read { tag, sector, newer }, sector, Op::Read(buf));
            }
            Op::Write(data, Durability::Cached) if self.is_crowded() => {
                let op = Op::Write(data, Durability::Cached);
                self.postponed.push_back(Request::new(tag, sector, op));
            }
            Op::Write(data, Durability::Cached) => {
                self.remember(sector, &data);
                let op = Op::Write(data, Durability::Cached);
                self.answers.push(Request::new(tag, sector, op).complete(Ok(())));
            }
            op => self.queue.push_back(Request::new(tag, sector, op)),
        }
    }

    /// Begins the next errand, if it is time for one; whether it is.
    fn set_out(&mut self) -> bool {
        let idle = self.errand.is_none() && !self.dark;
        let over_full = self.cache.len() > self.capacity;
        if !idle || self.queue.is_empty() && !over_full {
            return false;
        }
        let then = self.queue.pop_front();
        let carries = then.as_ref().is_none_or(|request| matches!(request.op, Op::Flush));
        let left = if carries { self.carry_down() } else { 0 };
        self.errand = Some(Errand { then, order: self.orders, left, result: Ok(()) });
        self.carried();
        true
    }

    /// Sends down everything that is cached, in runs; how many.
    fn carry_down(&mut self) -> usize {
        let step = self.block_sectors();
        let most = (RUN_BYTES / self.geometry().block_bytes as usize).max(1);
        let mut runs: Vec<(u64, Vec<Payload>)> = Vec::new();
        for (&sector, cached) in &self.cache {
            match runs.last_mut() {
                Some((first, parts))
                    if parts.len() < most && *first + parts.len() as u64 * step == sector =>
                {
                    parts.push(cached.data.clone());
                }
                _ => runs.push((sector, vec![cached.data.clone()])),
            }
        }
        let count = runs.len();
        for (sector, parts) in runs {
            let bytes = parts.iter().map(|part| part.len()).sum();
            let data = Payload::concat(bytes, parts.iter().map(|part| &part[..]));
            self.launch(Flight::Part(sector), sector, Op::Write(data, Durability::Cached));
        }
        count
    }

    /// Once everything has been carried down the errand's own request goes, or is answered if
    /// something could not be.
    fn carried(&mut self) {
        let Some(errand) = self.errand.as_mut().filter(|errand| errand.left == 0) else { return };
        match (errand.then.take(), errand.result) {
            (Some(Request { tag, sector, op }), Ok(())) => {
                self.launch(Flight::Errand(tag, sector), sector, op);
            }
            (then, result) => {
                self.errand = None;
                self.answers.extend(then.map(|request| request.complete(result)));
            }
        }
    }

    /// The device beneath has answered.
    fn answered(&mut self, done: Completion) {
        let flight = self.flights.remove(&done.tag).expect("asked for");
        if self.dark {
            return;
        }
        let (sectors, landed) = (done.op.sectors(), done.result.is_ok() && done.op.is_write());
        match flight {
            Flight::Read { tag, sector, newer } => {
                let mut answer = Completion { tag, ..done };
                if let Op::Read(buf) = &mut answer.op {
                    for (at, Cached { data, .. }) in newer {
                        buf.put((at - sector) as usize * SECTOR_BYTES as usize, &data);
                    }
                }
                self.answers.push(answer);
            }
            Flight::Part(sector) => {
                let errand = self.errand.as_mut().expect("parts belong to one");
                errand.left -= 1;
                errand.result = errand.result.and(done.result);
                let until = errand.order;
                if landed {
                    self.landed(sector, sectors, until);
                }
                self.carried();
            }
            Flight::Errand(tag, sector) => {
                let errand = self.errand.take().expect("it is under way");
                if landed {
                    self.landed(sector, sectors, errand.order);
                }
                self.answers.push(Completion { tag, ..done });
            }
        }
    }
}

impl Volatile<MemDisk> {
    /// Everything cached reaches the disk, as when only a process dies.
    pub fn drained(mut self) -> MemDisk {
        for (sector, Cached { data, .. }) in std::mem::take(&mut self.cache) {
            let at = (sector * SECTOR_BYTES) as usize;
            self.inner.bytes_mut()[at..at + data.len()].copy_from_slice(&data);
        }
        self.inner
    }

    /// The power fails: what is left on the disk.
    pub fn power_cut(mut self, rng: &mut Rng) -> MemDisk {
        self.lose_some(rng);
        self.drained()
    }
}

impl<D: BlockDevice> BlockDevice for Volatile<D> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.held >= self.geometry().queue_depth as usize {
            return Err(request);
        }
        self.held += 1;
        match self.geometry().check(&request) {
            _ if self.dark => self.answers.push(request.complete(Err(Fault::Gone))),
            Ok(()) => self.take(request),
            Err(fault) => self.answers.push(request.complete(Err(fault))),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let mut beneath = Vec::new();
        loop {
            let begun = self.set_out();
            let pushed = self.push_waiting();
            self.inner.poll(now, &mut beneath);
            if beneath.is_empty() && !begun && !pushed {
                break;
            }
            beneath.drain(..).for_each(|done| self.answered(done));
            while !self.is_crowded()
                && let Some(request) = self.postponed.pop_front()
            {
                self.take(request);
            }
        }
        self.held -= self.answers.len();
        finished.append(&mut self.answers);
    }

    fn poll_at(&self) -> Option<Instant> {
        match self.answers.is_empty() && (self.queue.is_empty() || self.errand.is_some()) {
            true => self.inner.poll_at(),
            false => Some(Instant::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decor::{Latency, Slow};
    use crate::world::{VirtualClock, World};
    use holdfast_core::block::{Blocking, conformance};
    use holdfast_core::time::Duration;

    fn disk() -> Volatile<MemDisk> {
        Volatile::new(MemDisk::new(1 << 10))
    }

    /// Over a disk that answers late and in another order than it was asked.
    fn late(capacity: usize) -> Volatile<Slow<MemDisk>> {
        let latency = Latency::between(Duration::ZERO, Duration::from_millis(3));
        let geometry = Geometry { queue_depth: 3, block_bytes: 4096, ..Geometry::new(1 << 12) };
        let slow = Slow::new(MemDisk::with_geometry(geometry), latency, World::new(4).rng(1));
        Volatile::new(slow).with_capacity(capacity)
    }

    #[test]
    fn meets_the_examiner() {
        conformance::examine(&mut disk(), &mut VirtualClock::default());
        for capacity in [1, 8, usize::MAX] {
            conformance::examine(&mut late(capacity), &mut VirtualClock::default());
        }
    }

    #[test]
    fn a_cache_that_is_full_writes_back_of_its_own_accord() {
        let mut disk = Blocking::new(late(4), VirtualClock::default());
        for block in 0..64 {
            disk.write_at(block * 4096, &[block as u8 + 1; 4096]).unwrap();
            assert!(disk.device().cached() <= 8, "{block}");
        }
        for block in 0..64 {
            let mut seen = [0; 4096];
            disk.read_at(block * 4096, &mut seen).unwrap();
            assert_eq!(seen, [block as u8 + 1; 4096]);
        }
    }

    /// Flushes, FUA writes and zeros in flight together over a late device: an older block never
    /// lands over a newer one, and what was flushed survives a cut.
    #[test]
    fn errands_go_one_after_the_other() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut disk = late(if seed % 2 == 0 { 3 } else { usize::MAX });
            let (clock, mut tag) = (VirtualClock::default(), 0);
            let mut wanted = [0u8; 4];
            for byte in 1..40 {
                let block = rng.below(4);
                let op = match rng.below(4) {
                    0 => Op::Flush,
                    1 => Op::Zero(8),
                    2 => Op::Write(Payload::from_slice(&[byte; 4096]), Durability::Fua),
                    _ => Op::Write(Payload::from_slice(&[byte; 4096]), Durability::Cached),
                };
                wanted[block as usize] = match &op {
                    Op::Flush => wanted[block as usize],
                    Op::Zero(_) => 0,
                    _ => byte,
                };
                let is_flush = matches!(op, Op::Flush);
                settle(
                    &mut disk,
                    &clock,
                    Request::new(Tag(tag), block * 8, op),
                    is_flush,
                    &mut rng,
                );
                tag += 1;
            }
            settle(&mut disk, &clock, Request::new(Tag(tag), 0, Op::Flush), false, &mut rng);
            disk.power_fails(&mut rng);
            let bytes = disk.inner().inner().bytes();
            for (block, byte) in wanted.into_iter().enumerate() {
                assert!(
                    bytes[block * 4096..][..4096].iter().all(|&b| b == byte),
                    "seed {seed}, block {block}: {} is not {byte}",
                    bytes[block * 4096]
                );
            }
        }
    }

    /// Submits a request and waits for it, but that some flushes are only begun.
    fn settle(
        disk: &mut Volatile<Slow<MemDisk>>,
        clock: &VirtualClock,
        request: Request,
        is_flush: bool,
        rng: &mut Rng,
    ) {
        let tag = request.tag;
        let mut request = Some(request);
        let hurried = is_flush && rng.below(2) == 0;
        loop {
            if let Some(ask) = request.take() {
                request = disk.submit(ask).err();
            }
            let mut done = Vec::new();
            disk.poll(clock.time(), &mut done);
            if request.is_none() && (hurried || done.iter().any(|done| done.tag == tag)) {
                return;
            }
            clock.advance(Duration::from_micros(100));
        }
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

    #[test]
    fn atoms_survive_whole_or_not_at_all() {
        let mut disk = Blocking::new(disk().with_atoms(4096), VirtualClock::default());
        disk.write_at(512, &[1; 1 << 18]).unwrap();
        let left = disk.into_inner().0.power_cut(&mut Rng::new(1));
        let atoms = left.bytes()[4096..1 << 18].chunks(4096);
        assert!(atoms.clone().all(|atom| atom.iter().all(|byte| *byte == atom[0])));
        let survived = atoms.filter(|atom| atom[0] == 1).count();
        assert!((16..48).contains(&survived), "{survived}");
    }

    #[test]
    fn what_survives_a_cut_of_a_late_device_is_a_subset_too() {
        let mut disk = Blocking::new(late(usize::MAX), VirtualClock::default());
        disk.write_at(0, &[1; 64 << 12]).unwrap();
        let (mut disk, clock) = disk.into_inner();
        disk.power_fails(&mut Rng::new(1));
        while !disk.is_still() {
            disk.poll(clock.time(), &mut Vec::new());
            clock.advance(Duration::from_millis(1));
        }
        let bytes = &disk.inner().inner().bytes()[..64 << 12];
        let survived = bytes.chunks(4096).filter(|block| block[0] == 1).count();
        assert!((16..48).contains(&survived), "{survived}");
        assert!(bytes.chunks(4096).all(|block| block.iter().all(|&b| b == block[0])));
    }
}
