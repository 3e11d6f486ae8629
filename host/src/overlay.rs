//! Copy on write: a device whose writes go to a [`Log`] and whose reads see them, while the device
//! beneath stays as it is.
//!
//! A read of sectors the log does not hold goes to the device beneath, untouched; one of sectors it
//! holds only in part is put together from both. Writes are appended to the log on the pool's
//! threads; a flush makes the log durable. Several overlays share one log, one per member, so that
//! one file holds what happened to an array.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Fault, Geometry, Op, Request, Tag,
};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

use crate::blocklog::{Extent, Log};
use crate::pool::{IoPool, Job};

/// A device seen through a log.
#[derive(Debug)]
pub struct Overlay<D> {
    base: D,
    log: Arc<Log>,
    /// The number the log knows the device by.
    member: u32,
    pool: IoPool,
    /// Not yet handed to the pool.
    jobs: Jobs,
    /// Handed back by the device beneath.
    held: VecDeque<Request>,
    /// What was asked of the device beneath, by tag.
    asked: BTreeMap<u64, Asked>,
    /// Reads that are put together.
    patches: BTreeMap<u64, Patch>,
    next: u64,
    mailbox: Arc<Mutex<Vec<Letter>>>,
    answered: Completions,
    in_flight: usize,
}

#[derive(Default)]
struct Jobs(Vec<Job>);

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jobs({})", self.0.len())
    }
}

/// Why the device beneath was asked something.
#[derive(Debug)]
enum Asked {
    /// The request itself, under this tag.
    Through(Tag),
    /// A part of a read: which one, and where its bytes go.
    Part { patch: u64, at: usize },
}

/// A read that is put together from several places.
#[derive(Debug)]
struct Patch {
    tag: Tag,
    buf: Buf,
    left: usize,
    result: Result<(), Fault>,
}

/// What a worker found out.
#[derive(Debug)]
enum Letter {
    Answer(Completion),
    Parts { patch: u64, result: Result<Vec<(usize, Vec<u8>)>, Fault> },
}

impl<D: BlockDevice> Overlay<D> {
    /// The device `base`, as the log's member of this number.
    ///
    /// # Panics
    /// If the log knows no such member, or another size of it.
    pub fn new(base: D, log: Arc<Log>, member: u32, pool: &IoPool) -> Self {
        let known = log.members().get(member as usize).map(|facts| facts.sectors);
        assert_eq!(known, Some(base.geometry().sectors), "the caller compares sizes");
        Self {
            base,
            log,
            member,
            pool: pool.clone(),
            jobs: Jobs::default(),
            held: VecDeque::new(),
            asked: BTreeMap::new(),
            patches: BTreeMap::new(),
            next: 0,
            mailbox: Arc::default(),
            answered: Vec::new(),
            in_flight: 0,
        }
    }

    /// The device beneath.
    pub const fn base(&self) -> &D {
        &self.base
    }

    fn read(&mut self, request: Request) {
        let sectors = request.sector..request.sector + request.op.sectors();
        let held = self.log.within(self.member, sectors.clone());
        if held.is_empty() {
            return self.ask(Asked::Through(request.tag), request.sector, request.op);
        }
        let Op::Read(buf) = request.op else { unreachable!("only reads are put together") };
        let patch = self.next;
        self.next += 1;
        let gaps = gaps(&sectors, &held);
        let left = gaps.len() + 1;
        self.patches.insert(patch, Patch { tag: request.tag, buf, left, result: Ok(()) });
        for gap in gaps {
            let at = ((gap.start - sectors.start) * SECTOR_BYTES) as usize;
            let bytes = ((gap.end - gap.start) * SECTOR_BYTES) as usize;
            self.ask(Asked::Part { patch, at }, gap.start, Op::Read(Buf::zeroed(bytes)));
        }
        let (log, start) = (Arc::clone(&self.log), sectors.start);
        self.post(move || Letter::Parts { patch, result: parts(&log, start, held) });
    }

    /// Asks the device beneath, now or as soon as it takes it.
    fn ask(&mut self, asked: Asked, sector: u64, op: Op) {
        let tag = self.next;
        self.next += 1;
        self.asked.insert(tag, asked);
        let request = Request::new(Tag(tag), sector, op);
        // One that waits is not overtaken, or a queue of one would never let it in.
        if self.held.is_empty() {
            self.held.extend(self.base.submit(request).err());
        } else {
            self.held.push_back(request);
        }
    }

    fn write(&mut self, request: Request) {
        let (log, member) = (Arc::clone(&self.log), self.member);
        self.post(move || {
            let sectors = request.sector..request.sector + request.op.sectors();
            let result = match &request.op {
                Op::Write(data, durability) => {
                    log.write(member, request.sector, data).and_then(|()| match durability {
                        Durability::Fua => log.sync(),
                        Durability::Cached => Ok(()),
                    })
                }
                Op::Discard(_) | Op::Zero(_) => log.zero(member, sectors),
                Op::Flush => log.sync(),
                Op::Read(_) => unreachable!("reads go another way"),
            };
            Letter::Answer(request.complete(result))
        });
    }

    fn post(&mut self, work: impl FnOnce() -> Letter + Send + 'static) {
        let mailbox = Arc::clone(&self.mailbox);
        self.jobs.0.push(Box::new(move || {
            let letter = work();
            mailbox.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        }));
    }

    /// Takes an answer of the device beneath.
    fn base_done(&mut self, completion: Completion) {
        match self.asked.remove(&completion.tag.0).expect("an answer to a request of ours") {
            Asked::Through(tag) => self.answered.push(Completion { tag, ..completion }),
            Asked::Part { patch, at } => {
                let bytes = match completion.op {
                    Op::Read(buf) => completion.result.map(|()| vec![(at, buf.to_vec())]),
                    _ => unreachable!("only reads were asked for"),
                };
                self.patch(patch, bytes);
            }
        }
    }

    /// Puts parts of a read in their places; the last one answers it.
    fn patch(&mut self, number: u64, parts: Result<Vec<(usize, Vec<u8>)>, Fault>) {
        let patch = self.patches.get_mut(&number).expect("parts of a read that waits");
        match parts {
            Err(fault) => patch.result = Err(fault),
            Ok(parts) => {
                for (at, bytes) in parts {
                    patch.buf[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        patch.left -= 1;
        if patch.left == 0 {
            let patch = self.patches.remove(&number).expect("just seen");
            let Patch { tag, buf, result, .. } = patch;
            self.answered.push(Completion { tag, op: Op::Read(buf), result });
        }
    }

    fn letters(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The parts of `sectors` that are not held.
fn gaps(sectors: &Range<u64>, held: &[Extent]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut from = sectors.start;
    for extent in held {
        if extent.sectors.start > from {
            gaps.push(from..extent.sectors.start);
        }
        from = extent.sectors.end;
    }
    if from < sectors.end {
        gaps.push(from..sectors.end);
    }
    gaps
}

/// The bytes of what is held, each with its place in a buffer that begins at sector `start`.
fn parts(log: &Log, start: u64, held: Vec<Extent>) -> Result<Vec<(usize, Vec<u8>)>, Fault> {
    let part = |extent: Extent| {
        let at = ((extent.sectors.start - start) * SECTOR_BYTES) as usize;
        let sectors = extent.sectors.end - extent.sectors.start;
        let mut bytes = vec![0; (sectors * SECTOR_BYTES) as usize];
        log.read(extent.place, &mut bytes)?;
        Ok((at, bytes))
    };
    held.into_iter().map(part).collect()
}

impl<D: BlockDevice> BlockDevice for Overlay<D> {
    fn geometry(&self) -> Geometry {
        let read_only = self.log.is_read_only();
        Geometry { read_only, discard_zeroes: !read_only, ..self.base.geometry() }
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let geometry = self.geometry();
        if self.in_flight >= geometry.queue_depth as usize {
            return Err(request);
        }
        self.in_flight += 1;
        match geometry.check(&request) {
            Err(fault) => self.answered.push(request.complete(Err(fault))),
            Ok(()) if matches!(request.op, Op::Flush) && !geometry.read_only => self.write(request),
            // Nothing was written through here, so there is nothing to make durable.
            Ok(()) if request.op.bytes() == 0 => self.answered.push(request.complete(Ok(()))),
            Ok(()) if matches!(request.op, Op::Read(_)) => self.read(request),
            Ok(()) => self.write(request),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        while let Some(request) = self.held.pop_front() {
            if let Err(back) = self.base.submit(request) {
                self.held.push_front(back);
                break;
            }
        }
        let mut from_base = Vec::new();
        self.base.poll(now, &mut from_base);
        from_base.into_iter().for_each(|completion| self.base_done(completion));
        self.pool.run(self.jobs.0.drain(..));
        self.pool.assert_sound();
        for letter in self.letters() {
            match letter {
                Letter::Answer(completion) => self.answered.push(completion),
                Letter::Parts { patch, result } => self.patch(patch, result),
            }
        }
        self.in_flight -= self.answered.len();
        finished.append(&mut self.answered);
    }

    fn poll_at(&self) -> Option<Instant> {
        let waiting = !self.answered.is_empty() || !self.jobs.0.is_empty() || !self.held.is_empty();
        if waiting { Some(Instant::ZERO) } else { self.base.poll_at() }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use holdfast_core::block::{Blocking, MemDisk, conformance};

    use super::*;
    use crate::blocklog::{Kind, MemberFacts};
    use crate::clock::HostClock;
    use crate::testing::TempDir;

    fn world() -> (HostClock, IoPool) {
        let clock = HostClock::new().unwrap();
        let pool = IoPool::new(NonZeroUsize::new(2).unwrap(), clock.wakeup()).unwrap();
        (clock, pool)
    }

    fn facts(geometry: Geometry) -> MemberFacts {
        MemberFacts {
            name: b"disk".to_vec(),
            sectors: geometry.sectors,
            block_bytes: geometry.block_bytes,
            fingerprint: 0,
        }
    }

    fn log(dir: &TempDir, name: &str, geometries: &[Geometry]) -> Arc<Log> {
        let facts: Vec<MemberFacts> = geometries.iter().map(|g| facts(*g)).collect();
        Arc::new(Log::create(&dir.path(name), Kind::Overlay, 0, &facts).unwrap())
    }

    #[test]
    fn meets_the_examiner_and_leaves_the_device_alone() {
        let dir = TempDir::new();
        let (mut clock, pool) = world();
        for (block_bytes, queue_depth) in [(512, 1), (512, 128), (4096, 2)] {
            let shape = Geometry { block_bytes, queue_depth, ..Geometry::new(4096) };
            // As the command opens it: for reading only.
            let geometry = Geometry { read_only: true, ..shape };
            let mut base = MemDisk::with_geometry(geometry);
            base.bytes_mut().fill(0x3c);
            let log = log(&dir, &format!("log-{block_bytes}-{queue_depth}"), &[geometry]);
            let mut overlay = Overlay::new(base, log, 0, &pool);
            conformance::examine(&mut overlay, &mut clock);
            assert!(overlay.base().bytes().iter().all(|byte| *byte == 0x3c));
        }
    }

    #[test]
    fn one_that_takes_no_writes_meets_the_examiner() {
        let dir = TempDir::new();
        let (mut clock, pool) = world();
        let geometry = Geometry::new(1 << 12);
        log(&dir, "log", &[geometry]).write(0, 0, &[7; 512]).unwrap();
        let log = Arc::new(Log::open(&dir.path("log"), false).unwrap());
        let mut overlay = Overlay::new(MemDisk::with_geometry(geometry), log, 0, &pool);
        conformance::examine(&mut overlay, &mut clock);
    }

    #[test]
    fn members_share_a_log_and_keep_apart() {
        let dir = TempDir::new();
        let (mut clock, pool) = world();
        let geometry = Geometry::new(64);
        let shared = log(&dir, "log", &[geometry; 2]);
        let overlay =
            |log, member| Overlay::new(MemDisk::with_geometry(geometry), log, member, &pool);
        let mut first = Blocking::new(overlay(Arc::clone(&shared), 0), &mut clock);
        first.write_at(8 * 512, &[1; 512]).unwrap();
        first.flush().unwrap();
        drop(first);
        let mut second = Blocking::new(overlay(Arc::clone(&shared), 1), &mut clock);
        second.write_at(9 * 512, &[2; 512]).unwrap();
        drop(second);
        drop(shared);
        let again = Arc::new(Log::open(&dir.path("log"), false).unwrap());
        for (member, expected) in [(0, [1, 0]), (1, [0, 2])] {
            let mut disk = Blocking::new(overlay(Arc::clone(&again), member), &mut clock);
            let mut bytes = [9; 1024];
            disk.read_at(8 * 512, &mut bytes).unwrap();
            assert_eq!([bytes[0], bytes[512]], expected);
        }
    }
}
