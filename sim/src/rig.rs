//! A running array, and somebody who waits for it.
//!
//! A [`Rig`] owns an array over its devices and a handle on the world's clock. Simple calls
//! ([`Rig::read`], [`Rig::write`], …) run one request to its end; [`Rig::begin`] and
//! [`Rig::finish`] keep several in flight; [`Rig::pass`] lets time go by.

use std::collections::BTreeMap;

use holdfast_core::block::{BlockDevice, Completion, Durability, Fault, MemDisk, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::{Clock, Duration, Instant};
use holdfast_raid::{
    Action, AssembleError, Assembled, Config, Event, Options, Probe, assemble, scan,
};

use crate::decor::{Faulty, Recorded, Slow, Volatile};
use crate::world::{VirtualClock, World};

/// Polls after which an array that is still not quiet never will be.
const PATIENCE: u32 = 2_000_000;

/// An array over devices, in virtual time.
#[derive(Debug)]
pub struct Rig<D> {
    array: Assembled<D>,
    clock: VirtualClock,
    next_tag: u64,
    finished: BTreeMap<Tag, Completion>,
    events: Vec<Event>,
}

impl<D: BlockDevice> Rig<D> {
    /// Assembles the array these devices make up.
    ///
    /// # Panics
    /// If they make up none.
    pub fn start(devices: Vec<D>) -> Self {
        Self::open(devices, Config::default(), false).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Assembles with these knobs, in a world of its own.
    pub fn open(devices: Vec<D>, config: Config, force: bool) -> Result<Self, AssembleError> {
        let options = Options { force, set: None };
        Self::open_in(devices, config, &options, World::new(0).clock())
    }

    /// Assembles with these knobs under this clock.
    pub fn open_in(
        mut devices: Vec<D>,
        config: Config,
        options: &Options,
        mut clock: VirtualClock,
    ) -> Result<Self, AssembleError> {
        let probes = scan(&mut devices, &mut clock);
        let array = assemble(probes, config, options)?;
        Ok(Self {
            array: Assembled::new(array, devices),
            clock,
            next_tag: 0,
            finished: BTreeMap::new(),
            events: Vec::new(),
        })
    }

    /// The array.
    pub const fn array(&self) -> &Assembled<D> {
        &self.array
    }

    /// The array.
    pub const fn array_mut(&mut self) -> &mut Assembled<D> {
        &mut self.array
    }

    /// A member's device.
    pub fn device(&mut self, member: usize) -> &mut D {
        self.array.device_mut(member)
    }

    /// A handle on the clock the array lives by.
    pub fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    /// Gives the running array back.
    pub fn into_array(self) -> Assembled<D> {
        self.array
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        self.clock.time()
    }

    /// The array's size in bytes.
    pub fn size(&self) -> usize {
        (self.array.geometry().sectors * SECTOR_BYTES) as usize
    }

    /// Hands the array a request; whether it took it.
    pub fn try_begin(&mut self, sector: u64, op: Op) -> Result<Tag, Op> {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        match self.array.submit(Request::new(tag, sector, op)) {
            Ok(()) => Ok(tag),
            Err(back) => Err(back.op),
        }
    }

    /// Hands the array a request.
    ///
    /// # Panics
    /// If its queue is full.
    pub fn begin(&mut self, sector: u64, op: Op) -> Tag {
        let taken = self.try_begin(sector, op);
        taken.unwrap_or_else(|op| panic!("the queue is full: {op:?} at {sector}"))
    }

    /// Begins a write of `data` at byte `at`.
    pub fn begin_write(&mut self, at: usize, data: &[u8]) -> Tag {
        let op = Op::Write(Payload::from_slice(data), Durability::Cached);
        self.begin(at as u64 / SECTOR_BYTES, op)
    }

    /// Begins a read of `len` bytes at byte `at`.
    pub fn begin_read(&mut self, at: usize, len: usize) -> Tag {
        self.begin(at as u64 / SECTOR_BYTES, Op::Read(Buf::zeroed(len)))
    }

    /// Polls the array once, at the present moment.
    pub fn poll(&mut self) {
        let mut finished = Vec::new();
        self.array.poll(self.clock.time(), &mut finished);
        for done in finished {
            let before = self.finished.insert(done.tag, done);
            assert!(before.is_none(), "a request is answered once");
        }
        self.events.extend(self.array.take_events());
    }

    /// Jumps to when something is due.
    fn wait(&mut self) {
        let due = self.array.poll_at();
        assert!(due.is_some(), "a request is lost: nothing is due in {:#?}", self.array.status());
        self.clock.wait(due);
    }

    /// The answer to a request, if there is one by now.
    pub fn answer(&mut self, tag: Tag) -> Option<Completion> {
        self.finished.remove(&tag)
    }

    /// Waits for the answer to a request.
    pub fn finish(&mut self, tag: Tag) -> Completion {
        for _ in 0..PATIENCE {
            self.poll();
            if let Some(done) = self.answer(tag) {
                return done;
            }
            self.wait();
        }
        panic!("never answered: {tag:?} of {:#?}", self.array.status())
    }

    /// Runs one request to its end.
    pub fn execute(&mut self, sector: u64, op: Op) -> Completion {
        let tag = self.begin(sector, op);
        self.finish(tag)
    }

    /// Reads `len` bytes at byte `at`.
    pub fn read(&mut self, at: usize, len: usize) -> Result<Vec<u8>, Fault> {
        let done = self.execute(at as u64 / SECTOR_BYTES, Op::Read(Buf::zeroed(len)));
        let Op::Read(buf) = done.op else { unreachable!("a read answers a read") };
        done.result.map(|()| buf.to_vec())
    }

    /// Reads everything.
    pub fn read_all(&mut self) -> Result<Vec<u8>, Fault> {
        self.read(0, self.size())
    }

    /// Writes `data` at byte `at`.
    pub fn write(&mut self, at: usize, data: &[u8]) -> Result<(), Fault> {
        let tag = self.begin_write(at, data);
        self.finish(tag).result
    }

    /// Makes what was written durable.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.execute(0, Op::Flush).result
    }

    /// Lets a span of time go by.
    pub fn pass(&mut self, span: Duration) {
        let until = self.now() + span;
        for _ in 0..PATIENCE {
            self.poll();
            match self.array.poll_at().filter(|&at| at < until) {
                Some(at) => self.clock.wait(Some(at)),
                None => break,
            }
        }
        self.clock.wait(Some(until));
        self.poll();
    }

    /// Waits until nothing is in flight and no pass is running.
    pub fn settle(&mut self) {
        for _ in 0..PATIENCE {
            self.poll();
            if self.array.is_quiet() {
                return;
            }
            self.wait();
        }
        panic!("never quiet: {:#?}", self.array.status())
    }

    /// Stops the array in good order and gives the devices back.
    pub fn stop(mut self) -> Vec<D> {
        self.array.stop();
        for _ in 0..PATIENCE {
            self.poll();
            if self.array.is_stopped() {
                return self.array.into_devices();
            }
            self.wait();
        }
        panic!("never stops: {:#?}", self.array.status())
    }

    /// Drops the array where it is and gives the devices back: what they had done is there, what
    /// they had not is not.
    pub fn crash(self) -> Vec<D> {
        self.array.into_devices()
    }

    /// What the array reported since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.extend(self.array.take_events());
        std::mem::take(&mut self.events)
    }

    /// Runs a pass to its end; the mismatched sectors it found.
    ///
    /// # Panics
    /// If it cannot be started or does not reach its end.
    pub fn run(&mut self, action: Action) -> u64 {
        self.take_events();
        let started = self.array.start(action);
        started.unwrap_or_else(|refusal| panic!("{action}: {refusal}"));
        self.settle();
        let finished = |event: &Event| match event {
            Event::SyncFinished { action: done, complete, mismatch_sectors } if *done == action => {
                Some((*complete, *mismatch_sectors))
            }
            _ => None,
        };
        let (complete, mismatches) =
            self.events.iter().find_map(finished).expect("a pass reports its end");
        assert!(complete, "the {action} reaches its end: {:?}", self.events);
        mismatches
    }

    /// Mismatched sectors that a check finds.
    pub fn check(&mut self) -> u64 {
        self.run(Action::Check { locate: false })
    }

    /// What the devices' own metadata says at this moment.
    pub fn probe(&mut self) -> Vec<Probe>
    where
        D: Contents,
    {
        let devices = 0..self.array.status().members.len();
        let mut copies: Vec<MemDisk> = devices.map(|i| self.array.device(i).copy()).collect();
        scan(&mut copies, &mut VirtualClock::default())
    }
}

/// A device whose contents can be looked at behind its back.
pub trait Contents {
    /// A disk with the contents that are durable.
    fn copy(&self) -> MemDisk;
}

impl Contents for MemDisk {
    fn copy(&self) -> MemDisk {
        Self::from_bytes(self.bytes().to_vec())
    }
}

impl<D: BlockDevice + Contents> Contents for Faulty<D> {
    fn copy(&self) -> MemDisk {
        self.inner().copy()
    }
}

impl<D: BlockDevice + Contents> Contents for Slow<D> {
    fn copy(&self) -> MemDisk {
        self.inner().copy()
    }
}

impl<D: BlockDevice + Contents> Contents for Volatile<D> {
    fn copy(&self) -> MemDisk {
        self.inner().copy()
    }
}

impl<D: Contents> Contents for Recorded<D> {
    fn copy(&self) -> MemDisk {
        self.inner().copy()
    }
}
