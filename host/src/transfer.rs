//! What a worker does to a file: one operation, carried out with system calls that block.
//!
//! Two kinds of storage are told apart where they differ, in sizes and in zeroing:
//!
//! | operation | regular file | block device |
//! |---|---|---|
//! | `Zero` | punch a hole; where there are no holes, write zeros | `BLKZEROOUT`; else write zeros |
//! | `Discard` | punch a hole; where there are no holes, nothing | `BLKDISCARD`; else nothing |
//!
//! # A file that was cut short
//!
//! The geometry says how long the file was when it was opened. Beyond its present end a read would
//! be short, which is an error; a write would silently make the file longer, with a hole of
//! invented zeros before it, so writers look first.
//!
//! # A sync that failed
//!
//! The kernel reports a failed write-back once and marks the pages clean; a second `fdatasync`
//! would succeed although the data is lost. A flush promises durability for *every* write before
//! it, so after one failed sync no later one is believed: see [`Storage::sync`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::size::SECTOR_BYTES;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use crate::fault::classify;
use crate::sys;

/// What is behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A block device.
    Block,
}

impl Kind {
    /// The kind of storage, if it is storage.
    pub(crate) fn of(file_type: std::fs::FileType) -> Option<Self> {
        if file_type.is_file() {
            Some(Self::Regular)
        } else if file_type.is_block_device() {
            Some(Self::Block)
        } else {
            None
        }
    }
}

/// A file and what has been learned about it. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Storage {
    file: File,
    kind: Kind,
    /// Whether the cheap way to zeros (a hole, `BLKZEROOUT`) is worth trying.
    cheap_zeros: AtomicBool,
    /// The fault of the first sync that failed.
    lost: OnceLock<Fault>,
}

/// Zeros are written in pieces of this size where there is no cheaper way.
const ZERO_PIECE: usize = 1 << 20;

impl Storage {
    pub(crate) fn new(file: File, kind: Kind) -> Self {
        Self { file, kind, cheap_zeros: AtomicBool::new(true), lost: OnceLock::new() }
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Present size in bytes.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        match self.kind {
            Kind::Regular => Ok(self.file.metadata()?.len()),
            Kind::Block => Ok(sys::block::size_bytes(&self.file)?),
        }
    }

    /// Whether holes can be punched. Remembers the answer.
    ///
    /// Tried beyond the end of the file, where a hole changes nothing.
    pub(crate) fn probe_holes(&self) -> bool {
        let beyond = self.bytes().unwrap_or(0).next_multiple_of(4096);
        let works = self.kind == Kind::Regular && self.punch(beyond..beyond + 4096).is_ok();
        self.cheap_zeros.store(works || self.kind == Kind::Block, Ordering::Relaxed);
        works
    }

    /// Carries out a request that has passed `Geometry::check`.
    pub(crate) fn carry_out(&self, sector: u64, op: &mut Op) -> Result<(), Fault> {
        if matches!(op, Op::Flush) {
            return self.sync();
        }
        let start = sector * SECTOR_BYTES;
        let range = start..start + op.bytes();
        if range.is_empty() {
            return Ok(());
        }
        if op.is_write() {
            self.check_end(range.end)?;
        }
        match op {
            Op::Read(buf) => self.file.read_exact_at(buf, start).map_err(|e| classify(&e)),
            Op::Write(data, Durability::Cached) => self.write(data, start),
            Op::Write(data, Durability::Fua) => self.write_durably(data, start),
            Op::Flush => unreachable!("a flush covers no range"),
            Op::Discard(_) => self.discard(range),
            Op::Zero(_) => self.zero(range),
        }
    }

    /// Refuses what would make a file longer.
    fn check_end(&self, end: u64) -> Result<(), Fault> {
        // A block device refuses by itself.
        if self.kind == Kind::Block {
            return Ok(());
        }
        let present = self.bytes().map_err(|e| classify(&e))?;
        if end > present {
            return Err(Fault::OutOfRange);
        }
        Ok(())
    }

    fn write(&self, data: &[u8], at: u64) -> Result<(), Fault> {
        self.file.write_all_at(data, at).map_err(|e| classify(&e))
    }

    /// Writes so that the bytes are durable afterwards.
    ///
    /// `RWF_DSYNC` syncs only the range written. When it fails, an ordinary write of the same bytes
    /// tells which half of it failed: if that write succeeds, it was the sync (or the kernel or
    /// filesystem has no `RWF_DSYNC`, and the whole file must be synced instead).
    fn write_durably(&self, data: &[u8], at: u64) -> Result<(), Fault> {
        match self.write_dsync(data, at) {
            Ok(()) => Ok(()),
            Err(errno) => self.write_after_dsync(data, at, errno),
        }
    }

    /// A durable write that a ring tried and that failed so.
    pub(crate) fn settle_durable(&self, sector: u64, op: &Op, errno: Errno) -> Result<(), Fault> {
        match op {
            Op::Write(data, _) => self.write_after_dsync(data, sector * SECTOR_BYTES, errno),
            _ => unreachable!("only writes are durable ones"),
        }
    }

    fn write_after_dsync(&self, data: &[u8], at: u64, errno: Errno) -> Result<(), Fault> {
        self.write(data, at)?;
        match errno {
            Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => self.sync(),
            failed => Err(self.sync_failed(&failed.into())),
        }
    }

    fn write_dsync(&self, mut data: &[u8], mut at: u64) -> rustix::io::Result<()> {
        while !data.is_empty() {
            match pwritev2(&self.file, &[IoSlice::new(data)], at, ReadWriteFlags::DSYNC) {
                // The ordinary write that follows says why nothing more fits.
                Ok(0) => return Err(Errno::NOSPC),
                Ok(count) => {
                    data = &data[count..];
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Makes everything written so far durable, unless something has already been lost.
    fn sync(&self) -> Result<(), Fault> {
        self.synced(self.file.sync_data())
    }

    /// What a sync that ended so is worth: nothing, once something has been lost.
    pub(crate) fn synced(&self, synced: io::Result<()>) -> Result<(), Fault> {
        if let Some(&fault) = self.lost.get() {
            return Err(fault);
        }
        synced.map_err(|error| self.sync_failed(&error))
    }

    fn sync_failed(&self, error: &io::Error) -> Fault {
        *self.lost.get_or_init(|| classify(error))
    }

    fn discard(&self, range: Range<u64>) -> Result<(), Fault> {
        let result = match self.kind {
            Kind::Regular if !self.cheap_zeros.load(Ordering::Relaxed) => return Ok(()),
            // Zeros were promised, so a hole that cannot be punched is written.
            Kind::Regular => return self.zero(range),
            Kind::Block => sys::block::discard(&self.file, range),
        };
        match result {
            Err(errno) if !is_unsupported(errno) => Err(classify(&errno.into())),
            // To forget nothing is within the promise of a discard.
            _ => Ok(()),
        }
    }

    fn zero(&self, range: Range<u64>) -> Result<(), Fault> {
        if self.cheap_zeros.load(Ordering::Relaxed) {
            let result = match self.kind {
                Kind::Regular => self.punch(range.clone()),
                Kind::Block => sys::block::zero_out(&self.file, range.clone()),
            };
            match result {
                Ok(()) => return Ok(()),
                Err(errno) if is_unsupported(errno) => {}
                Err(errno) => return Err(classify(&errno.into())),
            }
        }
        self.write_zeros(range)
    }

    fn punch(&self, range: Range<u64>) -> rustix::io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match fallocate(&self.file, flags, range.start, range.end - range.start) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), Fault> {
        static ZEROS: [u8; ZERO_PIECE] = [0; ZERO_PIECE];
        let mut at = range.start;
        while at < range.end {
            let piece = (range.end - at).min(ZERO_PIECE as u64) as usize;
            self.write(&ZEROS[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

/// Whether an error means "not here" rather than "failed".
fn is_unsupported(errno: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOTTY, Errno::INVAL].contains(&errno)
}

#[cfg(test)]
mod tests {
    use holdfast_core::buf::Payload;

    use super::*;
    use crate::testing::TempDir;

    const SECTOR: usize = SECTOR_BYTES as usize;

    fn storage(dir: &TempDir, bytes: u64) -> Storage {
        Storage::new(dir.sparse("disk", bytes), Kind::Regular)
    }

    fn write(fill: u8, durability: Durability) -> Op {
        Op::Write(Payload::from_slice(&[fill; SECTOR]), durability)
    }

    #[test]
    fn zeros_are_written_where_holes_cannot_be_punched() {
        let dir = TempDir::new();
        let bytes = 3 * ZERO_PIECE as u64;
        let disk = storage(&dir, bytes);
        disk.file.write_all_at(&vec![7; bytes as usize], 0).unwrap();
        disk.cheap_zeros.store(false, Ordering::Relaxed);
        assert_eq!(disk.carry_out(0, &mut Op::Discard(8)), Ok(()));
        let sectors = bytes / SECTOR_BYTES - 2;
        assert_eq!(disk.carry_out(1, &mut Op::Zero(sectors)), Ok(()));
        let mut now = vec![1; bytes as usize];
        disk.file.read_exact_at(&mut now, 0).unwrap();
        let (first, rest) = now.split_at(SECTOR);
        let (middle, last) = rest.split_at(rest.len() - SECTOR);
        assert!(first.iter().chain(last).all(|&b| b == 7), "neighbours stay");
        assert!(middle.iter().all(|&b| b == 0));
    }

    #[test]
    fn nothing_makes_a_shortened_file_long_again() {
        let dir = TempDir::new();
        let disk = storage(&dir, 1 << 20);
        disk.probe_holes();
        disk.file.set_len(4096).unwrap();
        for mut op in
            [write(1, Durability::Cached), write(1, Durability::Fua), Op::Zero(1), Op::Discard(1)]
        {
            assert_eq!(disk.carry_out(8, &mut op), Err(Fault::OutOfRange), "{op:?}");
            assert_eq!(disk.carry_out(7, &mut op), Ok(()), "{op:?}");
        }
        assert_eq!(disk.bytes().unwrap(), 4096);
    }

    #[test]
    fn after_a_failed_sync_no_flush_is_believed() {
        let dir = TempDir::new();
        let disk = storage(&dir, 4096);
        assert_eq!(disk.carry_out(0, &mut Op::Flush), Ok(()));
        disk.sync_failed(&Errno::IO.into());
        disk.sync_failed(&Errno::NOSPC.into());
        assert_eq!(disk.carry_out(0, &mut Op::Flush), Err(Fault::Medium));
        // These two promise nothing about earlier writes.
        for durability in [Durability::Cached, Durability::Fua] {
            assert_eq!(disk.carry_out(0, &mut write(1, durability)), Ok(()));
        }
        assert_eq!(disk.carry_out(0, &mut Op::Flush), Err(Fault::Medium));
    }

    #[test]
    fn a_write_refused_outright_loses_nothing_taken_before() {
        let dir = TempDir::new();
        dir.sparse("disk", 4096);
        let read_only = File::open(dir.path("disk")).unwrap();
        let disk = Storage::new(read_only, Kind::Regular);
        for durability in [Durability::Cached, Durability::Fua] {
            let refused = disk.carry_out(0, &mut write(1, durability));
            assert_eq!(refused, Err(Fault::Gone), "EBADF");
        }
        assert_eq!(disk.lost.get(), None);
    }
}
