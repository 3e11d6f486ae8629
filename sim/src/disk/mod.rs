//! A disk that keeps exactly what it promised, in virtual time.
//!
//! The promises of [`holdfast_core::block`] are taken by the letter, in the least convenient way:
//!
//! - requests in flight together land in the order of their latencies, which are dice;
//! - a write lands when it is answered; what is in flight when the power fails lands in part,
//!   block by block;
//! - an answered write may be lost until a flush *submitted after* the answer has been answered;
//! - a FUA write is durable from its answer on, and not a step earlier.
//!
//! On top of that a disk can be broken: see [`fault`] for the ways. Power fails for all disks at
//! once: see [`Pulse`].

mod cache;
pub mod fault;
mod medium;
mod pulse;
mod queue;

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, Durability, Fault, Geometry, Op, Request};
use holdfast_core::buf::Buf;
use holdfast_core::rng::Rng;
use holdfast_core::time::{Duration, Instant};

pub use fault::Silent;
pub use pulse::Pulse;
pub(crate) use pulse::mix;

use crate::world::VirtualClock;
use cache::{BLOCK, Cache};
use fault::Defects;
use medium::Medium;
pub use medium::PAGE;
use queue::{Fate, Pending, Queue};

/// How long a disk takes, in ticks: equally likely between `least` and `most`, and now and then
/// ten times that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Shortest, in ticks.
    pub least: u32,
    /// Longest, in ticks.
    pub most: u32,
}

/// The grain of a disk's answers: things that are equally late are answered together.
pub const TICK: Duration = Duration::from_micros(20);

/// The simulated disk. See the [module](self) for what it promises.
#[derive(Debug)]
pub struct SimDisk {
    id: u64,
    geometry: Geometry,
    clock: VirtualClock,
    pulse: Rc<Pulse>,
    rng: Rng,
    latency: Latency,
    medium: Medium,
    cache: Cache,
    queue: Queue,
    orders: u64,
    writes: u64,
    defects: Defects,
    /// Silent faults strike from this sector on: metadata is spared.
    data_offset: u64,
    data_reads: u64,
    /// Something was refused because the disk was gone.
    missed: bool,
}

impl SimDisk {
    /// A zeroed disk. `rng` decides latencies and what torn writes leave behind.
    pub fn new(
        id: u64,
        sectors: u64,
        latency: Latency,
        clock: VirtualClock,
        pulse: Rc<Pulse>,
        rng: Rng,
    ) -> Self {
        let geometry = Geometry { discard_zeroes: true, ..Geometry::new(sectors) };
        Self {
            id,
            geometry,
            clock,
            pulse,
            rng,
            latency,
            medium: Medium::zeroed(sectors),
            cache: Cache::default(),
            queue: Queue::default(),
            orders: 0,
            writes: 0,
            defects: Defects { slowness: 1, ..Defects::default() },
            data_offset: 0,
            data_reads: 0,
            missed: false,
        }
    }

    /// What readers see, beneath the queue and the defects.
    pub fn image(&self) -> Vec<u8> {
        self.medium.bytes()
    }

    /// The part of the [image](Self::image) from a sector on, [`PAGE`] bytes; `None` for zeros.
    ///
    /// # Panics
    /// If the sector is not a multiple of a page's.
    pub fn page(&self, sector: u64) -> Option<&[u8; PAGE]> {
        self.medium.page(sector)
    }

    /// Pages of the [image](Self::image) that hold something, and their first sectors.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8; PAGE])> {
        self.medium.pages()
    }

    /// What sectors hold; `None` if that is zeros.
    pub fn peek(&self, sector: u64, sectors: u64) -> Option<Buf> {
        self.medium.copy(sector, sectors)
    }

    /// Puts bytes on the medium behind the device's back, durably.
    pub fn put(&mut self, sector: u64, bytes: &[u8]) {
        self.medium.write(sector, bytes);
    }

    /// Where the data begins: reads from there on are counted, silent faults strike there.
    pub const fn set_data_offset(&mut self, sector: u64) {
        self.data_offset = sector;
    }

    /// Reads of data answered so far.
    pub const fn data_reads(&self) -> u64 {
        self.data_reads
    }

    /// Whether it answers at all.
    pub const fn is_gone(&self) -> bool {
        self.defects.gone
    }

    /// Whether something was asked of it while it was gone.
    pub const fn has_missed(&self) -> bool {
        self.missed
    }

    /// Whether it takes writes at all, apart from single sectors.
    pub const fn takes_writes(&self) -> bool {
        !self.defects.gone && !self.defects.read_only && !self.defects.full
    }

    /// Sectors that cannot be read, though the disk answers, or must not be: they have missed a write
    /// while they were dead.
    pub fn bad_sectors(&self) -> impl Iterator<Item = u64> {
        let Defects { latent, dead, stale, .. } = &self.defects;
        latent.iter().chain(dead).chain(stale).copied()
    }

    /// Whether some sector cannot or must not be read.
    pub fn has_bad_sectors(&self) -> bool {
        self.bad_sectors().next().is_some()
    }

    /// Sectors that hold what nobody meant to be there.
    pub fn unsound_sectors(&self) -> impl Iterator<Item = u64> {
        self.defects.unsound.iter().copied()
    }

    /// Whether some sector holds what nobody meant to be there.
    pub fn has_unsound_sectors(&self) -> bool {
        !self.defects.unsound.is_empty()
    }

    /// Sectors that silent faults have struck since the last call.
    pub fn take_struck(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.defects.struck)
    }

    /// Sectors that were not what they were meant to be at some time since the last call.
    pub fn take_once_unsound(&mut self) -> Vec<u64> {
        let sectors = std::mem::take(&mut self.defects.once_unsound);
        self.defects.once_unsound.clone_from(&self.defects.unsound);
        sectors.into_iter().collect()
    }

    /// Goes away. What is in flight lands in part and is answered with an error.
    pub fn vanish(&mut self) {
        self.defects.gone = true;
        self.missed |= !self.queue.is_empty();
        let soon = self.clock.time() + TICK * 4;
        (0..self.queue.len()).for_each(|place| self.land_in_part(place));
        self.queue.change(|pending| {
            pending.fate = Fate::Severed;
            pending.due = pending.due.min(soon);
        });
    }

    /// Is back, with what it had when it went.
    pub const fn come_back(&mut self) {
        self.defects.gone = false;
    }

    /// These sectors cannot be read until they are written.
    pub fn add_latent(&mut self, range: Range<u64>) {
        self.defects.latent.extend(range);
    }

    /// These sectors can be neither read nor written.
    pub fn add_dead(&mut self, range: Range<u64>) {
        self.defects.dead.extend(range);
    }

    /// Flips bits on the medium.
    pub fn corrupt(&mut self, range: Range<u64>) {
        let mut bytes = vec![0; (range.end - range.start) as usize * BLOCK];
        self.medium.read(range.start, &mut bytes);
        for byte in bytes.iter_mut().step_by(37) {
            *byte ^= 0x5a;
        }
        self.medium.write(range.start, &bytes);
        self.defects.spoil(range);
    }

    /// The next write of data does this instead.
    pub const fn set_silent(&mut self, silent: Silent) {
        self.defects.silent = Some(silent);
    }

    /// Whether there is no room for writes.
    pub const fn set_full(&mut self, full: bool) {
        self.defects.full = full;
    }

    /// Whether writes are refused. As real ones, the disk does not tell beforehand.
    pub const fn set_read_only(&mut self, read_only: bool) {
        self.defects.read_only = read_only;
    }

    /// Whether flushes do nothing.
    pub const fn set_lying(&mut self, lying: bool) {
        self.defects.lying = lying;
    }

    /// Every latency is this many times as long.
    pub const fn set_slowness(&mut self, times: u32) {
        self.defects.slowness = times;
    }

    /// So many of the next requests are not answered until released.
    pub const fn stick(&mut self, requests: u32) {
        self.defects.sticky = requests;
    }

    /// What is stuck goes on.
    pub fn release(&mut self) {
        self.defects.sticky = 0;
        let soon = self.clock.time() + TICK;
        self.queue.change(|pending| {
            if pending.fate == Fate::Held {
                (pending.fate, pending.due) = (Fate::Normal, soon);
            }
        });
    }

    /// Ends every fault that time or a technician can end; what is on the medium stays as it is:
    /// dead sectors hold again what they held when they died.
    pub fn repair(&mut self) {
        self.release();
        let Defects { gone, latent, stale, unsound, once_unsound, struck, .. } =
            std::mem::take(&mut self.defects);
        let left =
            Defects { gone, latent, stale, unsound, once_unsound, struck, ..Defects::default() };
        self.defects = Defects { slowness: 1, ..left };
    }

    /// The process using the disk dies: what was answered stays, what was in flight lands in part.
    pub fn kill(&mut self) {
        (0..self.queue.len()).for_each(|place| self.land_in_part(place));
        self.queue.clear();
    }

    /// The power fails: of what is not durable any subset is left, block by block.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.kill();
        self.cache.cut_at_random(&mut self.medium, rng);
        self.defects.sticky = 0;
    }

    /// Blocks whose contents a power cut would leave to chance, and how many contents each has.
    pub fn crash_choices(&self) -> Vec<(u64, usize)> {
        self.cache.choices()
    }

    /// The image that a power cut leaves if `choose` says, of so many contents of a block, which
    /// one stays, oldest first.
    pub fn image_after_cut(&self, mut choose: impl FnMut(u64, usize) -> usize) -> Vec<u8> {
        let mut medium = self.medium.clone();
        self.cache.leave_all(&mut medium, &mut choose);
        medium.bytes()
    }

    /// As a power cut would, leaves one open block with the contents numbered `choice`, oldest
    /// first.
    pub fn power_cut_one(&mut self, block: u64, choice: usize) {
        self.cache.cut_one(&mut self.medium, block, choice);
    }

    /// Some blocks of a request in flight land.
    fn land_in_part(&mut self, place: usize) {
        let pending = self.queue.at(place);
        if pending.fate == Fate::Severed
            || !pending.request.op.is_write()
            || self.geometry.check(&pending.request).is_err()
            || self.defects.refuses(&pending.request.op).is_some_and(|f| f != Fault::Gone)
        {
            return;
        }
        let (from, sectors) = (pending.request.sector, pending.request.op.sectors());
        let data = match &pending.request.op {
            Op::Write(data, _) => Some(data.clone()),
            _ => None,
        };
        self.writes += 1;
        for block in 0..sectors {
            if self.rng.below(2) == 0 {
                let at = block as usize * BLOCK;
                self.land(from + block, 1, data.as_ref().map(|d| &d[at..at + BLOCK]));
            }
        }
    }

    /// Writes blocks, zeros if there is no data.
    fn land(&mut self, sector: u64, sectors: u64, data: Option<&[u8]>) {
        self.cache.note(self.writes, sector..sector + sectors, &self.medium);
        match data {
            Some(data) => self.medium.write(sector, data),
            None => self.medium.zero(sector, sectors),
        }
        self.defects.heal(sector..sector + sectors);
    }

    fn write(&mut self, sector: u64, data: Option<&[u8]>, sectors: u64) -> Result<(), Fault> {
        let dead: Vec<u64> = self.defects.dead.range(sector..sector + sectors).copied().collect();
        self.defects.stale.extend(&dead);
        let dead = !dead.is_empty();
        let silent = match sector >= self.data_offset {
            true => self.defects.silent.take(),
            false => None,
        };
        self.writes += 1;
        match silent {
            _ if dead => self.write_some(sector, data, sectors),
            None => self.land(sector, sectors, data),
            Some(Silent::Lost) => self.defects.spoil(sector..sector + sectors),
            Some(Silent::Torn) => {
                self.write_some(sector, data, sectors);
                self.defects.spoil(sector..sector + sectors);
            }
            Some(Silent::Misdirected(by)) => {
                let room = self.geometry.sectors - self.data_offset - sectors;
                let there = self.data_offset + (sector - self.data_offset + by) % (room + 1);
                self.land(there, sectors, data);
                self.defects.spoil(sector..sector + sectors);
                self.defects.spoil(there..there + sectors);
            }
        }
        if dead { Err(Fault::Medium) } else { Ok(()) }
    }

    /// A random subset of the blocks lands; dead ones never do.
    fn write_some(&mut self, sector: u64, data: Option<&[u8]>, sectors: u64) {
        for block in 0..sectors {
            if self.rng.below(2) == 0 && !self.defects.dead.contains(&(sector + block)) {
                let at = block as usize * BLOCK;
                self.land(sector + block, 1, data.map(|data| &data[at..at + BLOCK]));
            }
        }
    }

    fn carry_out(&mut self, sector: u64, op: &mut Op, covers: u64) -> Result<(), Fault> {
        if let Some(fault) = self.defects.refuses(op) {
            return Err(fault);
        }
        let sectors = op.sectors();
        match op {
            Op::Read(buf) => {
                if !self.defects.readable(sector..sector + sectors) {
                    return Err(Fault::Medium);
                }
                self.data_reads += u64::from(sector >= self.data_offset);
                self.medium.fill(sector, buf);
                Ok(())
            }
            Op::Write(data, durability) => {
                let result = self.write(sector, Some(data), sectors);
                if *durability == Durability::Fua && result.is_ok() && !self.defects.lying {
                    self.cache.settled(sector..sector + sectors);
                }
                result
            }
            Op::Zero(_) | Op::Discard(_) => self.write(sector, None, sectors),
            // Room for what was taken is sought when it has to last (delayed allocation).
            Op::Flush if self.defects.full && !self.cache.is_empty() => Err(Fault::Full),
            Op::Flush => {
                if !self.defects.lying {
                    self.cache.flushed(covers);
                }
                Ok(())
            }
        }
    }

    fn delay(&mut self) -> Duration {
        let Latency { least, most } = self.latency;
        let ticks = self.rng.within(u64::from(least)..u64::from(most) + 1) as u32;
        let tail = if self.rng.below(32) == 0 { 10 } else { 1 };
        TICK * (ticks * tail * self.defects.slowness)
    }

    fn answer(&mut self, pending: Pending, finished: &mut Completions) {
        let Pending { mut request, fate, covers, .. } = pending;
        let checked = match fate {
            Fate::Severed => Err(Fault::Gone),
            _ => self.geometry.check(&request),
        };
        let (sector, kind) = (request.sector, kind_number(&request.op));
        let result = match checked {
            Ok(()) => self.carry_out(sector, &mut request.op, covers),
            Err(fault) => Err(fault),
        };
        self.missed |= result == Err(Fault::Gone);
        let outcome = result.map_or_else(|fault| fault as u64 + 1, |()| 0);
        let time = self.clock.time().as_nanos() / 1000;
        self.pulse.step(self.id << 56 ^ kind << 52 ^ outcome << 48 ^ sector << 24 ^ time);
        finished.push(request.complete(result));
    }
}

const fn kind_number(op: &Op) -> u64 {
    match op {
        Op::Read(_) => 0,
        Op::Write(_, Durability::Cached) => 1,
        Op::Write(_, Durability::Fua) => 2,
        Op::Flush => 3,
        Op::Discard(_) => 4,
        Op::Zero(_) => 5,
    }
}

impl BlockDevice for SimDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.queue.len() >= self.geometry.queue_depth as usize {
            return Err(request);
        }
        let fate = match self.defects.sticky {
            0 => Fate::Normal,
            _ => {
                self.defects.sticky -= 1;
                Fate::Held
            }
        };
        let due = self.clock.time() + self.delay();
        let (order, covers) = (self.orders, self.writes);
        self.orders += 1;
        self.queue.push(Pending { due, order, request, fate, covers });
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        while !self.pulse.is_out()
            && let Some(pending) = self.queue.take_due(now)
        {
            self.answer(pending, finished);
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        self.queue.next().filter(|_| !self.pulse.is_out())
    }
}

#[cfg(test)]
mod tests;
