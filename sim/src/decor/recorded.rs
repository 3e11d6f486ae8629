//! A device that remembers what it was asked.

use std::ops::Range;

use holdfast_core::block::{
    BlockDevice, Completions, Durability, Fault, Geometry, Op, Request, Tag,
};
use holdfast_core::time::Instant;

use super::Kind;

/// One request a device accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its tag, unique among those in flight.
    pub tag: Tag,
    /// What was asked.
    pub kind: Kind,
    /// First sector (of no meaning for a flush).
    pub sector: u64,
    /// Sectors.
    pub sectors: u64,
    /// Whether it had to be durable on completion.
    pub fua: bool,
    /// The answer, once there is one.
    pub answer: Option<Result<(), Fault>>,
}

impl Entry {
    /// Whether it touches some sector of the range.
    pub const fn overlaps(&self, range: &Range<u64>) -> bool {
        self.sector < range.end && range.start < self.sector + self.sectors
    }
}

/// A device and the trace of what it was asked, oldest first.
#[derive(Debug)]
pub struct Recorded<D> {
    inner: D,
    trace: Vec<Entry>,
}

impl<D> Recorded<D> {
    /// Records what `inner` is asked from now on.
    pub const fn new(inner: D) -> Self {
        Self { inner, trace: Vec::new() }
    }

    /// The device.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The device.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.inner
    }

    /// Gives the device back.
    pub fn into_inner(self) -> D {
        self.inner
    }

    /// Everything asked since the trace was last cleared.
    pub fn trace(&self) -> &[Entry] {
        &self.trace
    }

    /// Forgets what was asked so far. Answers still to come are not recorded.
    pub fn clear(&mut self) {
        self.trace.clear();
    }

    /// Requests of a kind that touch a range.
    pub fn count(&self, kind: Kind, range: Range<u64>) -> usize {
        self.of(kind).filter(|entry| entry.overlaps(&range)).count()
    }

    /// Requests of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.trace.iter().filter(move |entry| entry.kind == kind)
    }
}

impl<D: BlockDevice> BlockDevice for Recorded<D> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let entry = Entry {
            tag: request.tag,
            kind: Kind::of(&request.op),
            sector: request.sector,
            sectors: request.op.sectors(),
            fua: matches!(request.op, Op::Write(_, Durability::Fua)),
            answer: None,
        };
        self.inner.submit(request)?;
        self.trace.push(entry);
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let first = finished.len();
        self.inner.poll(now, finished);
        for done in &finished[first..] {
            let mut latest = self.trace.iter_mut().rev();
            if let Some(entry) = latest.find(|e| e.tag == done.tag && e.answer.is_none()) {
                entry.answer = Some(done.result);
            }
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        self.inner.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.inner.abandon(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use holdfast_core::block::{Blocking, MemDisk, conformance};

    #[test]
    fn meets_the_examiner() {
        let mut device = Recorded::new(MemDisk::new(1 << 10));
        conformance::examine(&mut device, &mut World::new(1).clock());
        assert!(device.trace().iter().all(|entry| entry.answer.is_some()));
    }

    #[test]
    fn remembers_what_where_and_how_it_went() {
        let device = Recorded::new(MemDisk::new(64));
        let mut device = Blocking::new(device, World::new(1).clock());
        device.write_at(4096, &[1; 1024]).unwrap();
        device.flush().unwrap();
        assert!(device.read_at(64 * 512, &mut [0; 512]).is_err());
        let trace = device.device().trace();
        let kinds: Vec<Kind> = trace.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Write, Kind::Flush, Kind::Read]);
        assert_eq!((trace[0].sector, trace[0].sectors, trace[0].fua), (8, 2, false));
        assert_eq!(trace[2].answer, Some(Err(Fault::OutOfRange)));
        assert_eq!(device.device().count(Kind::Write, 9..10), 1);
        assert_eq!(device.device().count(Kind::Write, 10..64), 0);
    }
}
