//! io_uring: reads, writes and flushes that the kernel carries out beside us, without threads.
//!
//! A [`Ring`] is shared by all disks of a stack, as a pool is.
//! [`submit`](holdfast_core::block::BlockDevice::submit) of any of its disks fills the submission
//! ring; what waits there is handed to the kernel in one system call as soon as it is a quarter of
//! what the kernel has, or at the first [`poll`](holdfast_core::block::BlockDevice::poll) after
//! that: a large batch takes few calls, and no device runs dry while it is gathered. Answers are
//! collected from shared memory. The ring rings the stack's [`Wakeup`] itself.
//!
//! The ring is the fast path and knows only success. What it does not do (zeroing, discarding) and
//! what comes back short or refused (the end of a file, a file system that takes no `O_DIRECT`
//! there) is carried out again by a worker of the pool, whose answer counts.
//!
//! # Direct I/O
//!
//! Where the file system takes it, requests on whole 4 KiB blocks go past the page cache through a
//! second, `O_DIRECT` description of the same file; smaller ones (superblocks) through the first.
//! The kernel keeps the two coherent for requests that do not overlap in time, and the array's
//! locks see to that.
//!
//! # Registered files and buffers
//!
//! Files sit in the ring's table while their disk lives. Small requests go through slots of one
//! registered arena: copying 4 KiB costs less than pinning a page for each request. Either is left
//! out where the kernel refuses it (`RLIMIT_MEMLOCK`), and nothing else changes.
//!
//! # What the kernel borrows
//!
//! The kernel reads and writes the memory of a request until it has answered. So that memory lives
//! in the ring's table of flights, never in a disk: dropping a disk touches nothing of it, and a
//! ring whose last handle goes while requests are under way is handed to a reaper thread, with
//! buffers and files, which waits in our place. Nobody else ever does.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use holdfast_core::block::{Durability, Fault, Op, Request};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};
use io_uring::types::{Fd, Fixed, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::clock::Wakeup;
use crate::fault::classify;
use crate::file::Shared;
use crate::pool::{IoPool, Job};

/// Requests the submission ring holds; a batch larger than that takes a second call.
const ENTRIES: u32 = 512;
/// Requests under way at most: answers that find no room would be lost to nobody, but cost calls.
const MOST_FLIGHTS: usize = 4096;
/// Requests are handed over when they are this part of those the kernel has. Four files and 32 reads
/// of 4 KiB in flight on virtio: 0.81 of fio's rate when a turn's requests waited for its end, 0.94
/// with a quarter, no more with an eighth or one by one.
const SHARE: usize = 4;
/// Files in the ring's table: two for each disk.
const FILES: usize = 512;
/// Slots of the arena, and bytes of each.
const SLOTS: u16 = 256;
const SLOT_BYTES: usize = 8192;
/// Requests on multiples of this go direct.
const DIRECT_BYTES: u64 = 4096;
/// `RWF_DSYNC` of `include/uapi/linux/fs.h`.
const RWF_DSYNC: i32 = 2;

/// An io_uring, shared by cloning the handle.
#[derive(Clone, Debug)]
pub struct Ring {
    handle: Arc<Handle>,
}

/// The last one to go gives the ring up, or gives it to a reaper.
#[derive(Debug)]
struct Handle {
    inner: Mutex<Option<Box<Inner>>>,
}

/// The kernel's ring and everything the kernel may be using.
struct Inner {
    ring: IoUring,
    flights: Slab<Flight>,
    /// Pushed and not yet handed to the kernel.
    pending: usize,
    /// Batches handed over so far.
    enters: u64,
    /// How often a disk has been polled.
    turns: u64,
    arena: Option<Arena>,
    /// Free places of the file table; empty where there is no table.
    free_files: Vec<u32>,
    _wakeup: Wakeup,
}

/// A request the kernel has.
struct Flight {
    request: Request,
    shared: Arc<Shared>,
    pool: IoPool,
    slot: Option<u16>,
    /// Open for as long as the request may name it.
    _direct: Option<Arc<File>>,
}

/// Registered memory in slots.
struct Arena {
    memory: Buf,
    free: Vec<u16>,
}

/// A disk's seat at a ring.
#[derive(Debug)]
pub(crate) struct Seat {
    ring: Ring,
    cached: Place,
    direct: Option<(Arc<File>, Place)>,
    /// The file's size, as of the turn with this number.
    size: Option<(u64, u64)>,
}

/// How a file is named in a request.
#[derive(Clone, Copy, Debug)]
enum Place {
    Registered(u32),
    Plain(RawFd),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inner({} flights, {} enters)", self.flights.len(), self.enters)
    }
}

impl Ring {
    /// A ring that rings `wakeup` with every answer.
    ///
    /// # Errors
    /// Where io_uring is not there (`ENOSYS`) or not allowed (`EPERM`): by a seccomp filter, by
    /// `kernel.io_uring_disabled`, in a container. Threads do the same work then.
    pub fn new(wakeup: Wakeup) -> io::Result<Self> {
        let ring = IoUring::builder().setup_cqsize(2 * MOST_FLIGHTS as u32).build(ENTRIES)?;
        ring.submitter().register_eventfd(wakeup.as_fd().as_raw_fd())?;
        let files = ring.submitter().register_files(&[-1; FILES]).is_ok();
        let arena = Arena::register(&ring);
        let inner = Inner {
            ring,
            flights: Slab::new(),
            pending: 0,
            enters: 0,
            turns: 0,
            arena,
            free_files: if files { (0..FILES as u32).rev().collect() } else { Vec::new() },
            _wakeup: wakeup,
        };
        Ok(Self { handle: Arc::new(Handle { inner: Mutex::new(Some(Box::new(inner))) }) })
    }

    /// How often a batch was handed to the kernel: one system call each.
    pub fn enters(&self) -> u64 {
        self.with(|inner| inner.enters)
    }

    /// Whether requests can use registered memory.
    pub fn has_registered_buffers(&self) -> bool {
        self.with(|inner| inner.arena.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Inner>>> {
        self.handle.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(self.lock().as_mut().expect("the ring is there while somebody has a handle"))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut inner) = inner else { return };
        // An error would be met again by the reaper.
        let _ = inner.enter();
        inner.reap();
        if inner.flights.is_empty() {
            return;
        }
        // Should the thread not start, the ring is leaked rather than freed under the kernel's
        // hands.
        let inner = ManuallyDrop::new(inner);
        let reap = move || ManuallyDrop::into_inner(inner).wait_for_all();
        let _ = thread::Builder::new().name("holdfast-reaper".to_owned()).spawn(reap);
    }
}

impl Inner {
    fn is_full(&mut self) -> bool {
        self.flights.len() >= MOST_FLIGHTS
            || (self.ring.submission().is_full() && self.enter().is_err())
            || self.ring.submission().is_full()
    }

    /// Puts a request into the submission ring, or gives it back when that is full.
    fn push(&mut self, seat: &Seat, mut flight: Flight) -> Result<(), Flight> {
        if self.is_full() {
            return Err(flight);
        }
        let direct = seat.direct.as_ref().filter(|_| is_direct(&flight.request));
        let place = direct.map_or(seat.cached, |(_, place)| *place);
        flight._direct = direct.map(|(file, _)| Arc::clone(file));
        let memory = self.borrow(&mut flight);
        let at = flight.request.sector.saturating_mul(SECTOR_BYTES);
        let key = self.flights.insert(flight);
        let entry = memory.entry(place, at).user_data(key.to_bits());
        // SAFETY: `entry` names memory of the flight or of its arena slot, both kept until the
        // answer has come (`Handle::drop` hands them to the reaper), and a file that the flight's
        // `shared` (or the ring's table) keeps open.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("there was room");
        self.pending += 1;
        if self.pending * SHARE >= self.flights.len() - self.pending {
            // What went wrong is met again when somebody waits for the answer.
            let _ = self.enter();
        }
        Ok(())
    }

    /// The memory a request uses: its own, or a slot of the arena with the bytes to be written.
    fn borrow(&mut self, flight: &mut Flight) -> Borrowed {
        let slot = match (&flight.request.op, &mut self.arena) {
            (Op::Read(_) | Op::Write(..), Some(arena))
                if flight.request.op.bytes() <= SLOT_BYTES as u64 =>
            {
                arena.free.pop()
            }
            _ => None,
        };
        flight.slot = slot;
        let fixed = slot.map(|slot| self.arena.as_mut().expect("a slot is of an arena").at(slot));
        match &mut flight.request.op {
            Op::Read(buf) => {
                let own = buf.as_mut_ptr();
                Borrowed::Read { to: fixed.unwrap_or(own), len: buf.len(), fixed: slot.is_some() }
            }
            Op::Write(data, durability) => {
                if let Some(fixed) = fixed {
                    // SAFETY: the slot is ours, free until now, and no shorter than the data.
                    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), fixed, data.len()) };
                }
                let from = fixed.map_or(data.as_ptr(), <*mut u8>::cast_const);
                let flags = if *durability == Durability::Fua { RWF_DSYNC } else { 0 };
                Borrowed::Write { from, len: data.len(), fixed: slot.is_some(), flags }
            }
            _ => Borrowed::Nothing,
        }
    }

    /// Hands what is pending to the kernel: one system call, which does not wait.
    fn enter(&mut self) -> io::Result<()> {
        let overflow = self.ring.submission().cq_overflow();
        if self.pending == 0 && !overflow {
            return Ok(());
        }
        loop {
            self.enters += 1;
            match self.ring.submit() {
                Ok(taken) => {
                    self.pending -= taken;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Collects what the kernel has answered and puts it into the disks' mailboxes.
    fn reap(&mut self) {
        let answers: Vec<(u64, i32)> =
            self.ring.completion().map(|done| (done.user_data(), done.result())).collect();
        for (bits, result) in answers {
            let flight = self.flights.remove(Key::from_bits(bits));
            self.land(flight.expect("the kernel answers each request once"), result);
        }
    }

    fn land(&mut self, mut flight: Flight, result: i32) {
        if let Some(slot) = flight.slot {
            let arena = self.arena.as_mut().expect("a slot is of an arena");
            if let (Op::Read(buf), Ok(len)) = (&mut flight.request.op, usize::try_from(result)) {
                let len = len.min(buf.len());
                // SAFETY: the kernel has answered, so the slot is ours again, and it holds at least
                // `len` bytes.
                unsafe { std::ptr::copy_nonoverlapping(arena.at(slot), buf.as_mut_ptr(), len) };
            }
            arena.free.push(slot);
        }
        flight.settle(result);
    }

    /// Waits until the kernel has answered everything.
    fn wait_for_all(mut self: Box<Self>) {
        while !self.flights.is_empty() {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing can be learned any more; a thread that turns in circles helps nobody.
                Err(_) => thread::sleep(std::time::Duration::from_millis(100)),
            }
            self.reap();
        }
    }

    fn seat_file(&mut self, fd: RawFd) -> Place {
        let Some(index) = self.free_files.pop() else { return Place::Plain(fd) };
        match self.ring.submitter().register_files_update(index, &[fd]) {
            Ok(1) => Place::Registered(index),
            _ => {
                self.free_files.push(index);
                Place::Plain(fd)
            }
        }
    }

    /// Frees a file's place, unless a request that names it may still be unsubmitted.
    fn unseat_file(&mut self, place: Place) {
        let Place::Registered(index) = place else { return };
        let submitted = self.enter().is_ok() && self.pending == 0;
        if submitted && self.ring.submitter().register_files_update(index, &[-1]).is_ok() {
            self.free_files.push(index);
        }
    }
}

impl Arena {
    /// Memory the kernel pins once and for all, if it does.
    fn register(ring: &IoUring) -> Option<Self> {
        let mut memory = Buf::zeroed(usize::from(SLOTS) * SLOT_BYTES);
        let whole = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
        // SAFETY: the arena lives as long as the ring (both are fields of `Inner`, and the ring,
        // declared first, is dropped first), and nothing else refers to its memory.
        unsafe { ring.submitter().register_buffers(&[whole]) }.ok()?;
        Some(Self { memory, free: (0..SLOTS).rev().collect() })
    }

    fn at(&mut self, slot: u16) -> *mut u8 {
        self.memory[usize::from(slot) * SLOT_BYTES..].as_mut_ptr()
    }
}

/// What the kernel is to use, in its own terms.
#[derive(Clone, Copy)]
enum Borrowed {
    Read { to: *mut u8, len: usize, fixed: bool },
    Write { from: *const u8, len: usize, fixed: bool, flags: i32 },
    Nothing,
}

impl Borrowed {
    fn entry(self, place: Place, at: u64) -> squeue::Entry {
        // The crate's two kinds of file are two types.
        macro_rules! entry {
            ($file:expr) => {
                match self {
                    Self::Read { to, len, fixed: true } => {
                        opcode::ReadFixed::new($file, to, len as u32, 0).offset(at).build()
                    }
                    Self::Read { to, len, fixed: false } => {
                        opcode::Read::new($file, to, len as u32).offset(at).build()
                    }
                    Self::Write { from, len, fixed: true, flags } => {
                        let write = opcode::WriteFixed::new($file, from, len as u32, 0);
                        write.offset(at).rw_flags(flags).build()
                    }
                    Self::Write { from, len, fixed: false, flags } => {
                        let write = opcode::Write::new($file, from, len as u32);
                        write.offset(at).rw_flags(flags).build()
                    }
                    Self::Nothing => opcode::Fsync::new($file).flags(FsyncFlags::DATASYNC).build(),
                }
            };
        }
        match place {
            Place::Registered(index) => entry!(Fixed(index)),
            Place::Plain(fd) => entry!(Fd(fd)),
        }
    }
}

impl Flight {
    /// Answers the request, or has a worker do it again the long way.
    fn settle(self, result: i32) {
        let Self { mut request, shared, pool, .. } = self;
        let bytes = request.op.bytes();
        let outcome = match (&request.op, u64::try_from(result)) {
            (Op::Flush, Ok(_)) => shared.storage.synced(Ok(())),
            (_, Ok(moved)) if moved == bytes => Ok(()),
            (Op::Flush, Err(_)) => {
                let error = io::Error::from_raw_os_error(result.wrapping_neg());
                shared.storage.synced(Err(error))
            }
            (Op::Write(_, Durability::Fua), Err(_)) => {
                let errno = Errno::from_raw_os_error(result.wrapping_neg());
                let again: Job = Box::new(move || {
                    let outcome = shared.storage.settle_durable(request.sector, &request.op, errno);
                    shared.post(request.complete(outcome));
                });
                pool.run([again].into_iter());
                return;
            }
            (_, Err(_)) if !is_refusal(result) => {
                Err(classify(&io::Error::from_raw_os_error(result.wrapping_neg())))
            }
            _ => {
                let again: Job = Box::new(move || {
                    let outcome = shared.storage.carry_out(request.sector, &mut request.op);
                    shared.post(request.complete(outcome));
                });
                pool.run([again].into_iter());
                return;
            }
        };
        shared.post(request.complete(outcome));
    }
}

/// Whether an error speaks of the way rather than of the medium.
fn is_refusal(result: i32) -> bool {
    let refusals = [Errno::INVAL, Errno::AGAIN, Errno::INTR, Errno::OPNOTSUPP, Errno::CANCELED];
    refusals.iter().any(|errno| errno.raw_os_error() == result.wrapping_neg())
}

/// Whether a request can go past the page cache.
fn is_direct(request: &Request) -> bool {
    let aligned = |address: usize| (address as u64).is_multiple_of(SECTOR_BYTES);
    let memory = match &request.op {
        Op::Read(buf) => aligned(buf.as_ptr().addr()),
        Op::Write(data, _) => aligned(data.as_ptr().addr()),
        _ => false,
    };
    memory
        && request.op.bytes().is_multiple_of(DIRECT_BYTES)
        && request.sector.saturating_mul(SECTOR_BYTES).is_multiple_of(DIRECT_BYTES)
}

impl Seat {
    /// A seat for a file. `direct`: past the page cache where the file system takes that.
    pub(crate) fn take(ring: &Ring, file: &File, read_only: bool, direct: bool) -> Self {
        let direct = direct.then(|| reopen_direct(file, read_only)).and_then(Result::ok);
        let (cached, direct) = ring.with(|inner| {
            let cached = inner.seat_file(file.as_raw_fd());
            let direct = direct.map(|file| {
                let place = inner.seat_file(file.as_raw_fd());
                (Arc::new(file), place)
            });
            (cached, direct)
        });
        Self { ring: ring.clone(), cached, direct, size: None }
    }

    /// Whether whole blocks go past the page cache.
    pub(crate) const fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Whether the ring does this kind of request.
    pub(crate) fn does(request: &Request) -> bool {
        match &request.op {
            Op::Read(_) | Op::Write(..) => (1..=1 << 30).contains(&request.op.bytes()),
            Op::Flush => true,
            Op::Discard(_) | Op::Zero(_) => false,
        }
    }

    /// Puts a checked request into the ring, answers it at once if the file has become too short
    /// for it, or gives it back when the ring is full.
    pub(crate) fn push(
        &mut self,
        request: Request,
        shared: &Arc<Shared>,
        pool: &IoPool,
    ) -> Result<(), Request> {
        if request.op.is_write()
            && let Err(fault) = self.check_end(&request, shared)
        {
            shared.post(request.complete(Err(fault)));
            return Ok(());
        }
        let flight = Flight {
            request,
            shared: Arc::clone(shared),
            pool: pool.clone(),
            slot: None,
            _direct: None,
        };
        self.ring.with(|inner| inner.push(self, flight)).map_err(|flight| flight.request)
    }

    /// A write beyond the end would silently make the file longer: asked once a turn.
    fn check_end(&mut self, request: &Request, shared: &Shared) -> Result<(), Fault> {
        let turns = self.ring.with(|inner| inner.turns);
        let size = match self.size {
            Some((turn, size)) if turn == turns => size,
            _ => shared.storage.bytes().map_err(|error| classify(&error))?,
        };
        self.size = Some((turns, size));
        let end = request.sector * SECTOR_BYTES + request.op.bytes();
        if end > size { Err(Fault::OutOfRange) } else { Ok(()) }
    }

    /// Hands everybody's requests to the kernel and collects everybody's answers. False if some
    /// had to stay.
    pub(crate) fn turn(&self) -> bool {
        self.ring.with(|inner| {
            inner.turns += 1;
            let _ = inner.enter();
            inner.reap();
            inner.pending == 0
        })
    }

    /// Whether requests wait for the next call.
    pub(crate) fn has_pending(&self) -> bool {
        self.ring.with(|inner| inner.pending > 0)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (cached, direct) = (self.cached, self.direct.as_ref().map(|(_, place)| *place));
        self.ring.with(|inner| {
            inner.reap();
            inner.unseat_file(cached);
            if let Some(place) = direct {
                inner.unseat_file(place);
            }
        });
    }
}

/// Another description of an open file, past the page cache.
fn reopen_direct(file: &File, read_only: bool) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::DIRECT.bits().cast_signed();
    File::options().read(true).write(!read_only).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests;
