//! A disk over a file or block device, by positional I/O on worker threads, or on a ring.
//!
//! A request passes three places: the disk's own queue, where [`BlockDevice::submit`] puts it; the
//! pool, to which [`BlockDevice::poll`] hands the queue over in one go; and the mailbox, where the
//! worker leaves the completion for the next poll. `submit` and `poll` only move things and never
//! block. Requests of one disk run in parallel and finish in any order.
//!
//! A disk that was given a [`Ring`] sends its reads, writes and flushes there instead of to the pool,
//! and leaves the rest to the pool; see [`crate::uring`].
//!
//! Dropping a disk never waits. What no worker has begun is not begun any more; what is under way,
//! on a worker or in the kernel, ends there and keeps the file open (and its lock held) until then.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::block::{BlockDevice, Completion, Completions, Geometry, Request};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

use crate::pool::{IoPool, Job};
use crate::sys;
use crate::transfer::Storage;
use crate::uring::{Ring, Seat};
use crate::zeros::{self, Zeros};

pub use crate::transfer::Kind;

/// A file or block device as a [`BlockDevice`].
///
/// A trailing partial sector does not belong to the disk. The size is that at opening: a file cut
/// short since answers [`Fault::OutOfRange`](holdfast_core::block::Fault::OutOfRange) beyond its
/// new end, for reads as for writes.
///
/// After a flush has failed, all later flushes fail too: the kernel forgets that writes before it
/// were lost, and a flush speaks for all of them. Opening the disk anew starts afresh.
#[derive(Debug)]
pub struct FileDisk {
    shared: Arc<Shared>,
    pool: IoPool,
    /// Where reads, writes and flushes go, if there is a ring.
    seat: Option<Seat>,
    geometry: Geometry,
    /// Accepted, not yet handed to the pool.
    queue: Vec<Request>,
    /// Handed back by a full ring.
    held: Vec<Request>,
    /// Refused by `Geometry::check`, to be answered at the next poll.
    answered: Completions,
    /// Accepted and not yet answered, wherever they are.
    in_flight: usize,
}

/// What the workers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    mailbox: Mutex<Completions>,
    /// The disk is gone: begin nothing new.
    dropped: AtomicBool,
    /// Locked for as long as anything may be written.
    locks: Vec<Arc<File>>,
}

impl FileDisk {
    /// A disk over an open file, which must be readable, and writable unless `read_only`.
    ///
    /// Takes no lock and asks nobody whether the file is in use:
    /// [`open_members`](crate::member::open_members) does.
    pub fn new(file: File, read_only: bool, pool: &IoPool) -> io::Result<Self> {
        let kind = Kind::of(file.metadata()?.file_type()).ok_or_else(|| {
            let why = "neither a regular file nor a block device";
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let storage = Storage::new(file, kind);
        let mut geometry = Geometry { read_only, ..Geometry::new(storage.bytes()? / SECTOR_BYTES) };
        if kind == Kind::Block {
            geometry.block_bytes = rustix::fs::ioctl_blksszget(storage.file())?;
            // A hint: a device that names no size has none.
            let optimal = sys::block::optimal_bytes(storage.file()).unwrap_or(0);
            geometry.optimal_sectors = optimal / SECTOR_BYTES as u32;
        }
        geometry.discard_zeroes = !read_only && storage.probe_holes();
        Ok(Self::over(storage, geometry, pool))
    }

    pub(crate) fn over(storage: Storage, geometry: Geometry, pool: &IoPool) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage: Arc::new(storage),
                mailbox: Mutex::default(),
                dropped: AtomicBool::new(false),
                locks: Vec::new(),
            }),
            pool: pool.clone(),
            seat: None,
            geometry,
            queue: Vec::new(),
            held: Vec::new(),
            answered: Vec::new(),
            in_flight: 0,
        }
    }

    /// The same disk, its reads, writes and flushes carried out by the ring.
    ///
    /// `direct`: past the page cache where the file system takes that.
    ///
    /// # Panics
    /// If requests have been submitted already.
    #[must_use]
    pub fn on_ring(mut self, ring: &Ring, direct: bool) -> Self {
        assert_eq!(self.in_flight, 0, "a new disk has no requests");
        let file = self.shared.storage.file();
        self.seat = Some(Seat::take(ring, file, self.geometry.read_only, direct));
        self
    }

    /// Whether whole blocks go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.seat.as_ref().is_some_and(Seat::is_direct)
    }

    /// What the workers and the kernel share with the disk.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// The same disk, keeping these files open until its last request has ended.
    pub(crate) fn holding(mut self, locks: Vec<Arc<File>>) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("a new disk has no requests");
        shared.locks = locks;
        self
    }

    /// Another disk over the same open file, with a queue of its own: for two partitions of one
    /// image. A flush that fails on one fails on both.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage: Arc::clone(&self.shared.storage),
                mailbox: Mutex::default(),
                dropped: AtomicBool::new(false),
                locks: self.shared.locks.clone(),
            }),
            pool: self.pool.clone(),
            seat: None,
            geometry: self.geometry,
            queue: Vec::new(),
            held: Vec::new(),
            answered: Vec::new(),
            in_flight: 0,
        }
    }

    /// The same disk with another queue depth.
    ///
    /// # Panics
    /// If the depth is zero.
    #[must_use]
    pub fn with_queue_depth(mut self, depth: u32) -> Self {
        assert!(depth > 0, "a queue takes at least one request");
        self.geometry.queue_depth = depth;
        self
    }

    /// Regular file or block device.
    pub fn kind(&self) -> Kind {
        self.shared.storage.kind()
    }

    /// Whether a range of sectors is known to read as zeros, without reading it.
    ///
    /// Asks the filesystem on the calling thread; writes in flight may or may not be counted.
    pub fn reads_as_zeros(&self, sectors: Range<u64>) -> Zeros {
        if sectors.end > self.geometry.sectors {
            return Zeros::Unknown;
        }
        let bytes = sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
        zeros::reads_as_zeros(self.shared.storage.file(), bytes)
    }
}

impl BlockDevice for FileDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.in_flight >= self.geometry.queue_depth as usize {
            return Err(request);
        }
        self.in_flight += 1;
        match self.geometry.check(&request) {
            Ok(()) => {
                let left = self.offer_to_ring(request);
                self.queue.extend(left);
            }
            Err(fault) => self.answered.push(request.complete(Err(fault))),
        }
        Ok(())
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        let already = finished.len();
        finished.append(&mut self.answered);
        if self.seat.is_some() {
            self.turn_ring();
        }
        self.pool.run(self.queue.drain(..).map(|request| {
            let shared = Arc::clone(&self.shared);
            Box::new(move || shared.serve(request)) as Job
        }));
        if self.in_flight > finished.len() - already {
            self.pool.assert_sound();
            finished.append(&mut self.shared.mailbox());
        }
        self.in_flight -= finished.len() - already;
    }

    /// The earliest moment of all while something waits for a poll, otherwise never: workers and
    /// rings ring the bell.
    fn poll_at(&self) -> Option<Instant> {
        let waiting = !self.queue.is_empty()
            || !self.answered.is_empty()
            || !self.held.is_empty()
            || self.in_flight > 0 && self.seat.as_ref().is_some_and(|seat| self.has_news(seat));
        waiting.then_some(Instant::ZERO)
    }
}

impl FileDisk {
    /// The request, if the ring does not do such or there is none; a full ring has it wait.
    fn offer_to_ring(&mut self, request: Request) -> Option<Request> {
        let Some(seat) = self.seat.as_mut().filter(|_| Seat::does(&request)) else {
            return Some(request);
        };
        self.held.extend(seat.push(request, &self.shared, &self.pool).err());
        None
    }

    /// Offers again what a full ring handed back, and lets the ring go on.
    fn turn_ring(&mut self) {
        for request in std::mem::take(&mut self.held) {
            self.offer_to_ring(request);
        }
        if let Some(seat) = &self.seat {
            seat.turn();
        }
    }

    /// Whether a poll would move something: another disk's poll may have collected our answers.
    fn has_news(&self, seat: &Seat) -> bool {
        seat.has_pending() || !self.shared.mailbox().is_empty()
    }
}

impl Drop for FileDisk {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn mailbox(&self) -> impl std::ops::DerefMut<Target = Completions> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an answer for the next poll.
    pub(crate) fn post(&self, completion: Completion) {
        self.mailbox().push(completion);
    }

    /// One request, on a worker thread.
    fn serve(&self, mut request: Request) {
        if self.dropped.load(Ordering::Relaxed) {
            return;
        }
        let result = self.storage.carry_out(request.sector, &mut request.op);
        self.post(request.complete(result));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::os::unix::fs::FileExt;

    use holdfast_core::block::{Blocking, Durability, Fault, Op, Tag, conformance};
    use holdfast_core::buf::{Buf, Payload};
    use holdfast_core::time::Clock;

    use super::*;
    use crate::clock::HostClock;
    use crate::pool::DEFAULT_THREADS;
    use crate::testing::{LoopDevice, Mounted, TempDir};

    const MIB: u64 = 1 << 20;

    fn world(threads: usize) -> (HostClock, IoPool) {
        let clock = HostClock::new().unwrap();
        let pool = IoPool::new(NonZeroUsize::new(threads).unwrap(), clock.wakeup()).unwrap();
        (clock, pool)
    }

    fn disk(dir: &TempDir, name: &str, bytes: u64, pool: &IoPool) -> FileDisk {
        FileDisk::new(dir.sparse(name, bytes), false, pool).unwrap()
    }

    fn write(tag: u64, sector: u64, fill: u8) -> Request {
        let data = Payload::from_slice(&[fill; 4096]);
        Request::new(Tag(tag), sector, Op::Write(data, Durability::Cached))
    }

    #[test]
    fn meets_the_examiner() {
        let dir = TempDir::new();
        for threads in [1, 2, 5] {
            let (mut clock, pool) = world(threads);
            for depth in [1, 2, 7, 128] {
                let name = format!("disk-{threads}-{depth}");
                let mut disk = disk(&dir, &name, 2 * MIB, &pool).with_queue_depth(depth);
                conformance::examine(&mut disk, &mut clock);
            }
        }
    }

    #[test]
    fn a_read_only_disk_meets_the_examiner() {
        let dir = TempDir::new();
        let (mut clock, pool) = world(2);
        dir.sparse("disk", 2 * MIB);
        let file = File::open(dir.path("disk")).unwrap();
        let mut disk = FileDisk::new(file, true, &pool).unwrap();
        conformance::examine(&mut disk, &mut clock);
    }

    #[test]
    fn a_block_device_meets_the_examiner() {
        let dir = TempDir::new();
        let (mut clock, pool) = world(2);
        dir.sparse("image", 2 * MIB);
        for block_bytes in ["512", "4096"] {
            let options = ["--sector-size", block_bytes];
            let Some(device) = LoopDevice::attach(&dir.path("image"), &options) else {
                return;
            };
            let open = File::options().read(true).write(true).open(device.path());
            let mut disk = FileDisk::new(open.unwrap(), false, &pool).unwrap();
            assert_eq!(disk.kind(), Kind::Block);
            assert_eq!(disk.geometry().block_bytes.to_string(), block_bytes);
            conformance::examine(&mut disk, &mut clock);
        }
    }

    #[test]
    fn a_partial_sector_at_the_end_is_not_part_of_the_disk() {
        let dir = TempDir::new();
        let (_clock, pool) = world(1);
        assert_eq!(disk(&dir, "disk", 1000, &pool).geometry().sectors, 1);
    }

    #[test]
    fn what_is_not_storage_is_refused() {
        let (_clock, pool) = world(1);
        let zero = File::open("/dev/zero").unwrap();
        let error = FileDisk::new(zero, true, &pool).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_truncated_file_gives_errors_instead_of_zeros() {
        let dir = TempDir::new();
        let (clock, pool) = world(2);
        let file = dir.sparse("disk", MIB);
        let truncate = file.try_clone().unwrap();
        let disk = FileDisk::new(file, false, &pool).unwrap();
        let mut disk = Blocking::new(disk, clock);
        let mut bytes = vec![0; 8192];
        disk.read_at(MIB - 8192, &mut bytes).unwrap();
        truncate.set_len(MIB - 4096).unwrap();
        assert_eq!(
            disk.read_at(MIB - 8192, &mut bytes),
            Err(Fault::OutOfRange),
            "half of it is gone"
        );
        assert_eq!(disk.write_at(MIB - 512, &[1; 512]), Err(Fault::OutOfRange));
        assert_eq!(truncate.metadata().unwrap().len(), MIB - 4096);
        disk.write_at(0, &[1; 512]).unwrap();
    }

    #[test]
    fn zeroing_makes_holes_that_are_known_to_be_zeros() {
        let dir = TempDir::new();
        let (clock, pool) = world(2);
        let disk = disk(&dir, "disk", MIB, &pool);
        let holes = disk.reads_as_zeros(0..2048) == Zeros::Yes;
        let mut disk = Blocking::new(disk, clock);
        disk.write_at(0, &vec![7; MIB as usize]).unwrap();
        assert_eq!(disk.device().reads_as_zeros(0..2048), Zeros::Unknown);
        disk.zero(0, MIB / 2).unwrap();
        if holes && disk.device().geometry().discard_zeroes {
            assert_eq!(disk.device().reads_as_zeros(0..1024), Zeros::Yes);
        }
        assert_eq!(disk.device().reads_as_zeros(0..1025), Zeros::Unknown);
        assert_eq!(disk.device().reads_as_zeros(2048..2049), Zeros::Unknown);
    }

    /// A write to each of fifty disks that share two threads, then everything read back.
    #[test]
    fn many_disks_share_a_few_threads() {
        const DISKS: u64 = 50;
        let dir = TempDir::new();
        let mut clock = HostClock::new().unwrap();
        let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).unwrap();
        let mut disks: Vec<FileDisk> =
            (0..DISKS).map(|n| disk(&dir, &format!("disk-{n}"), MIB, &pool)).collect();
        for round in 0..2 {
            for (n, disk) in (0u64..).zip(&mut disks) {
                for piece in 0..4 {
                    let request = match round {
                        0 => write(piece, piece * 8, (n + piece) as u8),
                        _ => {
                            let buf = Buf::zeroed(4096);
                            Request::new(Tag(piece), piece * 8, Op::Read(buf))
                        }
                    };
                    disk.submit(request).unwrap();
                }
            }
            let mut answers = 0;
            while answers < DISKS * 4 {
                for (n, disk) in (0u64..).zip(&mut disks) {
                    let mut finished = Vec::new();
                    let now = clock.now();
                    disk.poll(now, &mut finished);
                    answers += finished.len() as u64;
                    for done in finished {
                        assert_eq!(done.result, Ok(()));
                        if let Op::Read(buf) = done.op {
                            let fill = (n + done.tag.0) as u8;
                            assert!(buf.iter().all(|&byte| byte == fill));
                        }
                    }
                }
                if answers < DISKS * 4 {
                    clock.wait(None);
                }
            }
        }
        assert!(disks.iter().all(|disk| disk.in_flight == 0));
    }

    #[test]
    fn dropping_a_disk_with_requests_in_flight_closes_its_file_soon() {
        let dir = TempDir::new();
        let (mut clock, pool) = world(2);
        for round in 0..20 {
            let mut doomed = disk(&dir, &format!("doomed-{round}"), MIB, &pool);
            let shared = Arc::downgrade(&doomed.shared);
            for tag in 0..100 {
                doomed.submit(write(tag, tag * 8, 1)).unwrap();
            }
            let mut finished = Vec::new();
            doomed.poll(clock.now(), &mut finished);
            drop(doomed);
            while shared.strong_count() > 0 {
                std::thread::yield_now();
            }
        }
        let mut survivor = disk(&dir, "survivor", MIB, &pool);
        conformance::examine(&mut survivor, &mut clock);
    }

    #[test]
    fn what_no_worker_has_begun_when_its_disk_is_dropped_is_never_begun() {
        let dir = TempDir::new();
        let (mut clock, pool) = world(1);
        let mut doomed = disk(&dir, "doomed", MIB, &pool);
        let shared = Arc::downgrade(&doomed.shared);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let blocker: Job = Box::new(move || held.recv().unwrap());
        pool.run([blocker].into_iter());
        doomed.submit(write(1, 0, 7)).unwrap();
        doomed.poll(clock.now(), &mut Vec::new());
        drop(doomed);
        release.send(()).unwrap();
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
        let bytes = std::fs::read(dir.path("doomed")).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_full_filesystem_is_full_and_nothing_else() {
        let dir = TempDir::new();
        let at = dir.path("small");
        let options = ["-t", "tmpfs", "-o", "size=1m"];
        let Some(_mounted) = Mounted::new(&options, std::path::Path::new("tmpfs"), &at) else {
            return;
        };
        let (clock, pool) = world(2);
        let disk = disk(&dir, "small/disk", 8 * MIB, &pool);
        let mut disk = Blocking::new(disk, clock);
        let mut at = 0;
        while let Ok(()) = disk.write_at(at, &[7; 65536]) {
            at += 65536;
        }
        assert!(at < 2 * MIB);
        assert_eq!(disk.write_at(at, &[7; 65536]), Err(Fault::Full));
        let durable = Op::Write(Payload::from_slice(&[7; 65536]), Durability::Fua);
        let refused = disk.execute(at / SECTOR_BYTES, durable);
        assert_eq!(refused.result, Err(Fault::Full));
        disk.flush().expect("what was taken before is not lost by it");
        disk.discard(0, 65536).unwrap();
        disk.write_at(at, &[7; 32768]).expect("room was made by the discard");
    }

    #[test]
    fn bytes_reach_the_file_itself() {
        let dir = TempDir::new();
        let (clock, pool) = world(1);
        let mut disk = Blocking::new(disk(&dir, "disk", MIB, &pool), clock);
        disk.write_at(4096, b"holdfast".repeat(64).as_slice()).unwrap();
        disk.flush().unwrap();
        let mut bytes = [0; 8];
        let file = File::open(dir.path("disk")).unwrap();
        file.read_exact_at(&mut bytes, 4096).unwrap();
        assert_eq!(&bytes, b"holdfast");
    }
}
