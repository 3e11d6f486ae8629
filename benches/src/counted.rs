//! A device that counts what it is asked, data apart from metadata.

use holdfast_core::block::{BlockDevice, Completions, Geometry, Op, Request, Tag};
use holdfast_core::time::Instant;

/// What a member was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reads of data.
    pub reads: u64,
    /// Writes of data.
    pub writes: u64,
    /// Bytes of data read.
    pub read_bytes: u64,
    /// Bytes of data written.
    pub written_bytes: u64,
    /// Flushes, and whatever lies before the data: superblocks, bitmaps, logs.
    pub other: u64,
}

impl Tally {
    /// Requests for data.
    pub const fn ios(&self) -> u64 {
        self.reads + self.writes
    }

    /// Bytes of data moved.
    pub const fn bytes(&self) -> u64 {
        self.read_bytes + self.written_bytes
    }

    /// What has been added since `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            read_bytes: self.read_bytes - before.read_bytes,
            written_bytes: self.written_bytes - before.written_bytes,
            other: self.other - before.other,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            read_bytes: self.read_bytes + other.read_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
            other: self.other + other.other,
        }
    }

    fn count(&mut self, request: &Request, data_from: u64) {
        match &request.op {
            _ if request.sector < data_from => self.other += 1,
            Op::Read(buf) => {
                self.reads += 1;
                self.read_bytes += buf.len() as u64;
            }
            Op::Write(data, _) => {
                self.writes += 1;
                self.written_bytes += data.len() as u64;
            }
            Op::Flush | Op::Discard(_) | Op::Zero(_) => self.other += 1,
        }
    }
}

/// A counted device.
#[derive(Debug)]
pub struct Counted<D> {
    inner: D,
    data_from: u64,
    tally: Tally,
}

impl<D> Counted<D> {
    /// Counts what `inner` is asked; everything is metadata until [`Counted::set_data_from`].
    pub const fn new(inner: D) -> Self {
        let none = Tally { reads: 0, writes: 0, read_bytes: 0, written_bytes: 0, other: 0 };
        Self { inner, data_from: u64::MAX, tally: none }
    }

    /// Where data begins.
    pub const fn set_data_from(&mut self, sector: u64) {
        self.data_from = sector;
    }

    /// The counts so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Gives the device back.
    pub fn into_inner(self) -> D {
        self.inner
    }
}

impl<D: BlockDevice> BlockDevice for Counted<D> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let mut tally = self.tally;
        tally.count(&request, self.data_from);
        // A request handed back will come again.
        self.inner.submit(request)?;
        self.tally = tally;
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.inner.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.inner.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.inner.abandon(tag);
    }
}
