//! A guarded member: a block device over a block device.
//!
//! A request is carried out in *steps* of at most [`STEP_BLOCKS`]. A step that reads fetches units,
//! judges them and hands the blocks on. A step that writes waits until its regions are open, then
//! writes units, then, where the scheme says so, reads them back and writes again what is not
//! there.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Fault, Geometry, Op, Request, Tag,
};
use holdfast_core::buf::{Buf, Payload, is_zero};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};
use holdfast_core::time::Instant;

use super::Scheme;
use super::header::Header;
use super::regions::Regions;
use super::seal::{Found, Seal};
use super::shape::{BLOCK_BYTES, BLOCK_SECTORS, HEADER_SECTOR, MAP_SECTOR, Shape};
use super::units::{Units, places};
use super::versions::Versions;

/// Blocks carried out at once.
pub(super) const STEP_BLOCKS: u64 = 64;

/// Times a write that was not there when it was read back is written in all.
const WRITE_TRIES: u32 = 3;

/// A member with a guard before it; see the [module](super).
#[derive(Debug)]
pub struct Guarded<D> {
    inner: D,
    guard: Option<Box<Guard>>,
}

#[derive(Debug)]
pub(super) struct Guard {
    pub(super) scheme: Scheme,
    pub(super) shape: Shape,
    pub(super) member: u32,
    geometry: Geometry,
    /// The device could not be opened; everything is answered with this.
    pub(super) shut: Option<Fault>,
    /// The opening is not on the device: there was no room. Nothing is written before it is.
    pub(super) uncounted: Option<Header>,
    /// Its header is on the way to the device.
    counting: bool,
    pub(super) versions: Rc<RefCell<Versions>>,
    pub(super) next_version: u64,
    pub(super) regions: Regions,
    /// When held regions were looked at last.
    rests: u64,
    works: Slab<Work>,
    parts: Slab<Part>,
    /// Writes that wait for their regions.
    blocked: Vec<Key>,
    /// For the device.
    outbox: VecDeque<Request>,
    finished: Completions,
}

/// A request being carried out.
#[derive(Debug)]
struct Work {
    tag: Tag,
    op: Op,
    blocks: Range<u64>,
    step: Range<u64>,
    phase: Phase,
    /// Device requests not answered.
    left: u32,
    fault: Option<Fault>,
    /// What has been read, by place.
    got: Vec<Option<Buf>>,
    /// Version of the first block.
    version: u64,
}

#[derive(Debug)]
enum Phase {
    Reading,
    Opening,
    Writing { images: Vec<(u64, Payload)>, tries: u32 },
    ReadingBack { images: Vec<(u64, Payload)>, tries: u32 },
    Flushing { since: u64 },
}

/// A request to the device.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The header.
    Header,
    /// The map.
    Map,
    /// One of a work's.
    Of(Key, usize),
}

impl<D: BlockDevice> Guarded<D> {
    /// A member without a guard.
    pub(super) const fn open(inner: D) -> Self {
        Self { inner, guard: None }
    }

    pub(super) fn with_guard(
        inner: D,
        scheme: Scheme,
        member: u32,
        versions: Rc<RefCell<Versions>>,
    ) -> Self {
        let device = inner.geometry();
        let shape = Shape::of(scheme, device.sectors);
        let geometry = Geometry {
            sectors: shape.blocks() * BLOCK_SECTORS,
            block_bytes: BLOCK_BYTES as u32,
            discard_zeroes: false,
            ..device
        };
        let guard = Guard {
            scheme,
            shape,
            member,
            geometry,
            shut: None,
            uncounted: None,
            counting: false,
            versions,
            next_version: 1,
            regions: Regions::new(shape.blocks()),
            rests: 0,
            works: Slab::new(),
            parts: Slab::new(),
            blocked: Vec::new(),
            outbox: VecDeque::new(),
            finished: Vec::new(),
        };
        Self { inner, guard: Some(Box::new(guard)) }
    }

    pub(super) const fn parts_mut(&mut self) -> (&mut D, Option<&mut Box<Guard>>) {
        (&mut self.inner, self.guard.as_mut())
    }

    /// The device behind the guard.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The device behind the guard, to be broken or looked into.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.inner
    }

    /// Gives the device back.
    pub fn into_inner(self) -> D {
        self.inner
    }

    /// Whether there is a guard at all.
    pub const fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Where things are on the device.
    pub fn shape(&self) -> Shape {
        let plain = || Shape::of(Scheme::None, self.inner.geometry().sectors);
        self.guard.as_ref().map_or_else(plain, |guard| guard.shape)
    }
}

impl Guard {
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.works.len() + self.finished.len() >= self.geometry.queue_depth as usize {
            return Err(request);
        }
        let checked = self.shut.map_or_else(|| self.geometry.check(&request), Err);
        let nothing_to_do = match request.op {
            Op::Discard(_) => true,
            Op::Flush => false,
            _ => request.op.bytes() == 0,
        };
        if checked.is_err() || nothing_to_do {
            self.finished.push(request.complete(checked));
        } else {
            self.begin(request);
        }
        Ok(())
    }

    fn begin(&mut self, request: Request) {
        let Request { tag, sector, op } = request;
        let first = sector / BLOCK_SECTORS;
        let blocks = first..first + op.sectors() / BLOCK_SECTORS;
        let version = self.next_version;
        if op.is_write() {
            self.next_version += blocks.end - blocks.start;
            if self.scheme.mirrors_versions() {
                // At once: what is written beside it carries this version.
                let mut versions = self.versions.borrow_mut();
                versions.begin(blocks.clone());
                for (block, version) in blocks.clone().zip(version..) {
                    versions.learn(self.member, block, version);
                }
            }
        }
        let work = Work {
            tag,
            op,
            step: blocks.start..blocks.start,
            blocks,
            phase: Phase::Reading,
            left: 0,
            fault: None,
            got: Vec::new(),
            version,
        };
        let key = self.works.insert(work);
        self.step(key);
    }

    /// Begins the next step, or ends the work.
    fn step(&mut self, key: Key) {
        let work = &mut self.works[key];
        if matches!(work.op, Op::Flush) {
            work.phase = Phase::Flushing { since: self.regions.time() };
            return self.ask(key, vec![(0, Op::Flush)]);
        }
        if work.step.end == work.blocks.end {
            return self.finish(key, Ok(()));
        }
        work.step = work.step.end..(work.step.end + STEP_BLOCKS).min(work.blocks.end);
        if work.op.is_write() {
            work.phase = Phase::Opening;
            self.regions.begin(&work.step);
            self.blocked.push(key);
        } else {
            work.phase = Phase::Reading;
            self.read_units(key);
        }
    }

    fn read_units(&mut self, key: Key) {
        let places = places(self.shape, self.scheme.is_apart(), &self.works[key].step);
        let read =
            |(sector, sectors)| (sector, Op::Read(Buf::zeroed((sectors * SECTOR_BYTES) as usize)));
        self.ask(key, places.into_iter().map(read).collect());
    }

    /// Asks the device for these things, all at once.
    fn ask(&mut self, key: Key, requests: Vec<(u64, Op)>) {
        let work = &mut self.works[key];
        work.left = requests.len() as u32;
        work.got.clear();
        work.got.resize_with(requests.len(), || None);
        for (place, (sector, op)) in requests.into_iter().enumerate() {
            let part = self.parts.insert(Part::Of(key, place));
            self.outbox.push_back(Request::new(Tag(part.to_bits()), sector, op));
        }
    }

    /// Lets writes go whose regions are open by now, and writes the map if it has to change.
    fn open_regions(&mut self) {
        if self.regions.is_held() {
            let versions = self.versions.borrow();
            if std::mem::replace(&mut self.rests, versions.rests()) < versions.rests() {
                self.regions.close(|blocks| versions.is_busy(blocks));
            }
        }
        let blocked = std::mem::take(&mut self.blocked);
        for key in blocked {
            let open = self.uncounted.is_none() && self.regions.are_open(&self.works[key].step);
            if open && !self.meets_another(key) {
                let images = self.seal_units(key);
                self.write_units(key, images, 1);
            } else {
                self.blocked.push(key);
            }
        }
        if let Some(header) = self.uncounted {
            if !self.counting && !self.blocked.is_empty() {
                self.counting = true;
                self.put(Part::Header, HEADER_SECTOR, &header.emit());
            }
        } else if let Some(bits) = self.regions.write() {
            self.put(Part::Map, MAP_SECTOR, &bits.emit());
        }
    }

    /// Writes a sector of the guard's own, durably.
    fn put(&mut self, part: Part, sector: u64, bytes: &[u8]) {
        let part = self.parts.insert(part);
        let op = Op::Write(Payload::from_slice(bytes), Durability::Fua);
        self.outbox.push_back(Request::new(Tag(part.to_bits()), sector, op));
    }

    /// Whether an earlier write to the same blocks is not over. A device may carry out two writes in
    /// any order; here the older one would leave a version that is known to be outdated, or a block
    /// beside the seal of the other, or be read back by neither.
    fn meets_another(&self, key: Key) -> bool {
        let Work { step, version, .. } = &self.works[key];
        let earlier = |work: &Work| {
            work.op.is_write()
                && work.version < *version
                && work.blocks.start < step.end
                && step.start < work.blocks.end
        };
        self.works.iter().any(|(_, work)| earlier(work))
    }

    /// The units of a step, with fresh seals.
    fn seal_units(&self, key: Key) -> Vec<(u64, Payload)> {
        let work = &self.works[key];
        let apart = self.scheme.is_apart();
        let mut units = Units::blank((work.step.end - work.step.start) as usize, apart);
        let versions = self.versions.borrow();
        for (index, block) in work.step.clone().enumerate() {
            let past = (block - work.blocks.start) as usize;
            if let Op::Write(data, _) = &work.op {
                let data = &data[past * BLOCK_BYTES..][..BLOCK_BYTES];
                units.data_mut(index).copy_from_slice(data);
            }
            let row = match self.scheme.mirrors_versions() {
                true => versions.row(block),
                false => Vec::new(),
            };
            let version = work.version + past as u64;
            let seal = Seal::of(units.data(index), self.member, block, version, &row);
            seal.emit(units.seal_mut(index));
        }
        let places = places(self.shape, apart, &work.step).into_iter();
        let bufs = units.into_bufs().into_iter().map(Payload::from);
        places.map(|(sector, _)| sector).zip(bufs).collect()
    }

    fn write_units(&mut self, key: Key, images: Vec<(u64, Payload)>, tries: u32) {
        let durability = match self.works[key].op {
            Op::Write(_, durability) => durability,
            _ => Durability::Cached,
        };
        let write =
            |(sector, data): &(u64, Payload)| (*sector, Op::Write(data.clone(), durability));
        let requests = images.iter().map(write).collect();
        self.works[key].phase = Phase::Writing { images, tries };
        self.ask(key, requests);
    }

    /// The device has answered.
    fn answered(&mut self, done: Completion) {
        let part = self.parts.remove(Key::from_bits(done.tag.0)).expect("asked for");
        let (key, place) = match part {
            Part::Header => return self.counted(done.result),
            Part::Map => return self.map_written(done.result),
            Part::Of(key, place) => (key, place),
        };
        let work = &mut self.works[key];
        work.left -= 1;
        if let Err(fault) = done.result {
            work.fault.get_or_insert(fault);
        }
        if let Op::Read(buf) = done.op {
            work.got[place] = Some(buf);
        }
        if work.left == 0 {
            self.all_answered(key);
        }
    }

    fn counted(&mut self, result: Result<(), Fault>) {
        self.counting = false;
        match result {
            Ok(()) => self.uncounted = None,
            Err(fault) => self.refuse_blocked(fault),
        }
    }

    fn map_written(&mut self, result: Result<(), Fault>) {
        self.regions.written(result.is_ok());
        if let Err(fault) = result {
            self.refuse_blocked(fault);
        }
    }

    fn refuse_blocked(&mut self, fault: Fault) {
        for key in std::mem::take(&mut self.blocked) {
            self.end_write(key, Err(fault));
        }
    }

    fn all_answered(&mut self, key: Key) {
        let work = &mut self.works[key];
        let fault = work.fault.take();
        match std::mem::replace(&mut work.phase, Phase::Reading) {
            Phase::Reading => match fault {
                Some(fault) => self.finish(key, Err(fault)),
                None => self.judge(key),
            },
            Phase::Opening => unreachable!("a write that waits has asked for nothing"),
            Phase::Writing { images, tries } => match fault {
                Some(fault) => self.end_write(key, Err(fault)),
                None if self.scheme.reads_back() => {
                    self.works[key].phase = Phase::ReadingBack { images, tries };
                    self.read_units(key);
                }
                None => self.end_write(key, Ok(())),
            },
            Phase::ReadingBack { images, tries } => self.compare(key, fault, images, tries),
            Phase::Flushing { since } => {
                if fault.is_none() {
                    let versions = self.versions.borrow();
                    self.regions.flushed(since, |blocks| versions.is_busy(blocks));
                }
                self.finish(key, fault.map_or(Ok(()), Err));
            }
        }
    }

    /// Whether what was read back is what was written.
    fn compare(&mut self, key: Key, fault: Option<Fault>, images: Vec<(u64, Payload)>, tries: u32) {
        let got = &self.works[key].got;
        let same = |((_, data), got): (&(u64, Payload), &Option<Buf>)| {
            got.as_ref().is_some_and(|got| **got == **data)
        };
        let landed = fault.is_none() && images.iter().zip(got).all(same);
        match fault {
            _ if landed => self.end_write(key, Ok(())),
            None | Some(Fault::Medium) if tries < WRITE_TRIES => {
                self.write_units(key, images, tries + 1);
            }
            fault => self.end_write(key, Err(fault.unwrap_or(Fault::Medium))),
        }
    }

    /// A step of a write is over.
    fn end_write(&mut self, key: Key, result: Result<(), Fault>) {
        let Work { step, blocks, .. } = &self.works[key];
        self.regions.end(step);
        if self.scheme.mirrors_versions() {
            // Of what comes after a step that failed nothing will land either.
            let end = if result.is_ok() { step.end } else { blocks.end };
            self.versions.borrow_mut().end(step.start..end);
        }
        match result {
            Ok(()) => self.step(key),
            Err(_) => self.finish(key, result),
        }
    }

    /// Hands on the blocks of a step if all of them are what they should be.
    fn judge(&mut self, key: Key) {
        let work = &mut self.works[key];
        let bufs = work.got.drain(..).flatten().collect();
        let units = Units::from_bufs(bufs).expect("reads come back with buffers");
        let (step, start) = (work.step.clone(), work.blocks.start);
        let sound = (0..)
            .zip(step.clone())
            .all(|(index, block)| self.is_sound(block, units.data(index), units.seal(index)));
        if !sound {
            return self.finish(key, Err(Fault::Corrupt));
        }
        let Op::Read(buf) = &mut self.works[key].op else { unreachable!("only reads are judged") };
        for (index, block) in step.enumerate() {
            let past = (block - start) as usize;
            buf.put(past * BLOCK_BYTES, units.data(index));
        }
        self.step(key);
    }

    /// Whether a block is what its seal, and what is known of it, say.
    pub(super) fn is_sound(&self, block: u64, data: &[u8], seal: &[u8]) -> bool {
        let known = match self.scheme.mirrors_versions() {
            true => self.versions.borrow().get(self.member, block),
            false => 0,
        };
        match Seal::find(seal) {
            Found::Blank => known == 0 && is_zero(data),
            Found::Nonsense => false,
            Found::Seal(seal) => {
                let ours = !self.scheme.identifies() || self.owns(block, &seal);
                ours && seal.version >= known && seal.data_check == crc32fast::hash(data)
            }
        }
    }

    /// Whether a seal was made for this block of this member.
    pub(super) const fn owns(&self, block: u64, seal: &Seal) -> bool {
        seal.member == self.member && seal.block == block
    }

    fn finish(&mut self, key: Key, result: Result<(), Fault>) {
        let work = self.works.remove(key).expect("a work ends once");
        self.finished.push(Completion { tag: work.tag, op: work.op, result });
    }

    fn poll(&mut self, now: Instant, inner: &mut impl BlockDevice, finished: &mut Completions) {
        let mut answers = Vec::new();
        loop {
            self.open_regions();
            while let Some(request) = self.outbox.pop_front() {
                if let Err(back) = inner.submit(request) {
                    self.outbox.push_front(back);
                    break;
                }
            }
            inner.poll(now, &mut answers);
            if answers.is_empty() {
                break;
            }
            for done in answers.drain(..) {
                self.answered(done);
            }
        }
        finished.append(&mut self.finished);
    }
}

impl<D: BlockDevice> BlockDevice for Guarded<D> {
    fn geometry(&self) -> Geometry {
        let guard = self.guard.as_ref();
        guard.map_or_else(|| self.inner.geometry(), |guard| guard.geometry)
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        match &mut self.guard {
            None => self.inner.submit(request),
            Some(guard) => guard.submit(request),
        }
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        match &mut self.guard {
            None => self.inner.poll(now, finished),
            Some(guard) => guard.poll(now, &mut self.inner, finished),
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        self.inner.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        // A guard carries requests out to their end: a write half done would be torn.
        if self.guard.is_none() {
            self.inner.abandon(tag);
        }
    }
}
