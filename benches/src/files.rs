//! Ground of real members: files and block devices, opened anew for every array.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_host::clock::{HostClock, cpu_time};
use holdfast_host::file::FileDisk;
use holdfast_host::member::{Access, open_members};
use holdfast_host::pool::{DEFAULT_THREADS, IoPool};
use holdfast_host::uring::Ring;

use crate::stripe::Ground;

/// Where the superblock of a member of ours lies (metadata 1.2), and how much is wiped there.
const SUPERBLOCK: std::ops::Range<u64> = 4096..8192;

/// Members by their paths.
pub struct Files<'a> {
    /// The members, whose contents are lost.
    pub paths: Vec<PathBuf>,
    /// Through io_uring and past the page cache; otherwise by threads and through it.
    pub uring: bool,
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Ground for Files<'_> {
    type Device = FileDisk;
    type Clock = HostClock;

    fn prepare(&mut self) -> Result<(Vec<FileDisk>, HostClock), String> {
        let failed = |error: io::Error| format!("no clock, threads or ring: {error}");
        let clock = HostClock::new().map_err(failed)?;
        let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).map_err(failed)?;
        let opened = open_members(&self.paths, Access::Write, &pool).map_err(|e| e.to_string())?;
        let disks = opened.into_iter().map(|member| member.disk);
        let disks = match self.uring {
            true => {
                let ring = Ring::new(clock.wakeup()).map_err(failed)?;
                disks.map(|disk| disk.on_ring(&ring, true)).collect()
            }
            false => disks.collect(),
        };
        Ok((disks, clock))
    }

    fn cpu_time(&self) -> Option<Duration> {
        Some(cpu_time())
    }

    fn stopped(&self) -> bool {
        (self.stop)()
    }
}

impl Files<'_> {
    /// Takes our superblocks away again: the members are nobody's now.
    pub fn wipe(&self) -> io::Result<()> {
        let zeros = vec![0; (SUPERBLOCK.end - SUPERBLOCK.start) as usize];
        for path in &self.paths {
            File::options().write(true).open(path)?.write_all_at(&zeros, SUPERBLOCK.start)?;
        }
        Ok(())
    }
}

/// Members in a directory of their own, gone when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    /// The files.
    pub paths: Vec<PathBuf>,
}

impl Scratch {
    /// Makes so many files, every block of them written, so that no run pays for first writes.
    ///
    /// `progress` hears how many bytes of how many are done, and says whether to go on.
    pub fn make(
        parent: &Path,
        members: u32,
        bytes: u64,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> io::Result<Self> {
        let directory = parent.join(format!("holdfast-bench-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        // From here on, whatever fails takes the directory with it.
        let mut scratch = Self { directory, paths: Vec::new() };
        let mut noise = vec![0; 1 << 20];
        Rng::new(1).fill(&mut noise);
        let total = u64::from(members) * bytes;
        for number in 0..members {
            let path = scratch.directory.join(format!("member{number}.img"));
            let file = File::create_new(&path)?;
            scratch.paths.push(path);
            let mut at = 0;
            while at < bytes {
                let piece = (bytes - at).min(noise.len() as u64);
                file.write_all_at(&noise[..piece as usize], at)?;
                at += piece;
                if !progress(u64::from(number) * bytes + at, total) {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped"));
                }
            }
            file.sync_all()?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
