//! The ring against the examiner, its system calls counted, its parts taken away, its drop timed.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant as WallTime};

use holdfast_core::block::{BlockDevice, Blocking, Geometry, Tag, conformance};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::time::Clock;

use super::*;
use crate::clock::HostClock;
use crate::file::{FileDisk, Kind};
use crate::testing::{LoopDevice, Mounted, TempDir, skipped};
use crate::transfer::Storage;

const MIB: u64 = 1 << 20;

struct World {
    clock: HostClock,
    pool: IoPool,
    ring: Ring,
}

impl World {
    /// A ring, or a reason to skip the test.
    fn new() -> Option<Self> {
        let clock = HostClock::new().unwrap();
        let pool = IoPool::new(NonZeroUsize::new(1).unwrap(), clock.wakeup()).unwrap();
        match Ring::new(clock.wakeup()) {
            Ok(ring) => Some(Self { clock, pool, ring }),
            Err(error) => {
                skipped(&format!("io_uring is refused here: {error}"));
                None
            }
        }
    }

    fn disk(&self, dir: &TempDir, name: &str, bytes: u64, direct: bool) -> FileDisk {
        let disk = FileDisk::new(dir.sparse(name, bytes), false, &self.pool).unwrap();
        disk.on_ring(&self.ring, direct)
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(9).fill(&mut data);
    data
}

fn read(tag: u64, sector: u64) -> Request {
    Request::new(Tag(tag), sector, Op::Read(Buf::zeroed(4096)))
}

#[test]
fn meets_the_examiner() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    for direct in [false, true] {
        for depth in [1, 2, 7, 128] {
            let name = format!("disk-{direct}-{depth}");
            let mut disk = world.disk(&dir, &name, 2 * MIB, direct).with_queue_depth(depth);
            conformance::examine(&mut disk, &mut world.clock);
        }
    }
}

#[test]
fn a_read_only_disk_meets_the_examiner() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    dir.sparse("disk", 2 * MIB);
    let file = File::open(dir.path("disk")).unwrap();
    let disk = FileDisk::new(file, true, &world.pool).unwrap();
    conformance::examine(&mut disk.on_ring(&world.ring, true), &mut world.clock);
}

#[test]
fn a_block_device_meets_the_examiner() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    dir.sparse("image", 2 * MIB);
    for block_bytes in ["512", "4096"] {
        let options = ["--sector-size", block_bytes];
        let Some(device) = LoopDevice::attach(&dir.path("image"), &options) else { return };
        let open = File::options().read(true).write(true).open(device.path());
        let disk = FileDisk::new(open.unwrap(), false, &world.pool).unwrap();
        conformance::examine(&mut disk.on_ring(&world.ring, true), &mut world.clock);
    }
}

#[test]
fn a_ring_without_table_and_arena_does_the_same() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    world.ring.with(|inner| {
        inner.free_files.clear();
        inner.arena = None;
    });
    let mut disk = world.disk(&dir, "disk", 2 * MIB, true);
    assert!(!world.ring.has_registered_buffers());
    conformance::examine(&mut disk, &mut world.clock);
}

/// 128 requests to four disks: what waits is handed over when it is a quarter of what the kernel has,
/// so calls grow with the logarithm; collecting the answers costs no further one.
#[test]
fn a_batch_is_few_system_calls() {
    let (mut waiting, mut given, mut calls) = (0, 0, 0);
    for _ in 0..128 {
        waiting += 1;
        if waiting * 4 >= given {
            (given, waiting, calls) = (given + waiting, 0, calls + 1);
        }
    }
    calls += u64::from(waiting > 0);
    assert!(calls < 24, "{calls}");
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    let mut disks: Vec<FileDisk> =
        (0..4).map(|n| world.disk(&dir, &n.to_string(), MIB, true)).collect();
    for _ in 0..3 {
        let before = world.ring.enters();
        for disk in &mut disks {
            (0..32).for_each(|tag| disk.submit(read(tag, tag * 8)).unwrap());
        }
        let mut finished = Vec::new();
        loop {
            let now = world.clock.now();
            disks.iter_mut().for_each(|disk| disk.poll(now, &mut finished));
            if finished.len() == 128 {
                break;
            }
            if disks.iter().all(|disk| disk.poll_at().is_none()) {
                world.clock.wait(None);
            }
        }
        assert!(finished.iter().all(|done| done.result.is_ok()));
        assert_eq!(world.ring.enters() - before, calls);
    }
}

#[test]
fn small_large_and_crooked_requests_see_the_same_bytes() {
    let dir = TempDir::new();
    let Some(world) = World::new() else { return };
    let disk = world.disk(&dir, "disk", 4 * MIB, true);
    let mut disk = Blocking::new(disk, world.clock);
    let mut wanted = vec![0; 4 << 20];
    let data = noise(1 << 20);
    for (at, len) in [
        (0, 1 << 20),
        (512, 512),
        (4096, 4096),
        (1536, 7 * 512),
        (65536, 65536),
        (8192, 8192),
        (1_048_576 - 512, 1024),
        (3 << 20, 12288),
    ] {
        let part = &data[..len];
        disk.write_at(at as u64, part).unwrap();
        wanted[at..at + len].copy_from_slice(part);
        let mut back = vec![0; 4 << 20];
        disk.read_at(0, &mut back).unwrap();
        assert!(back == wanted, "after {len} bytes at {at}");
    }
    disk.flush().unwrap();
    assert!(std::fs::read(dir.path("disk")).unwrap() == wanted);
}

#[test]
fn a_truncated_file_gives_errors_and_stays_short() {
    let dir = TempDir::new();
    let Some(world) = World::new() else { return };
    let file = dir.sparse("disk", MIB);
    let truncate = file.try_clone().unwrap();
    let disk = FileDisk::new(file, false, &world.pool).unwrap().on_ring(&world.ring, true);
    let mut disk = Blocking::new(disk, world.clock);
    let mut bytes = vec![0; 8192];
    disk.read_at(MIB - 8192, &mut bytes).unwrap();
    truncate.set_len(MIB - 4096).unwrap();
    assert_eq!(disk.read_at(MIB - 8192, &mut bytes), Err(Fault::OutOfRange), "half is gone");
    for durability in [Durability::Cached, Durability::Fua] {
        let op = Op::Write(Payload::zeroed(4096), durability);
        assert_eq!(disk.execute((MIB - 4096) / 512, op).result, Err(Fault::OutOfRange));
    }
    assert_eq!(truncate.metadata().unwrap().len(), MIB - 4096);
    disk.write_at(0, &[1; 512]).unwrap();
}

#[test]
fn a_full_filesystem_is_full() {
    let dir = TempDir::new();
    let Some(world) = World::new() else { return };
    let options = ["-t", "tmpfs", "-o", "size=1m"];
    let at = dir.path("small");
    let Some(_mounted) = Mounted::new(&options, Path::new("tmpfs"), &at) else { return };
    let disk = world.disk(&dir, "small/disk", 8 * MIB, true);
    let mut disk = Blocking::new(disk, world.clock);
    let mut at = 0;
    while let Ok(()) = disk.write_at(at, &[7; 65536]) {
        at += 65536;
    }
    assert!(at < 2 * MIB);
    for durability in [Durability::Cached, Durability::Fua] {
        let op = Op::Write(Payload::from_slice(&[7; 65536]), durability);
        assert_eq!(disk.execute(at / SECTOR_BYTES, op).result, Err(Fault::Full));
    }
    disk.flush().expect("what was taken before is not lost by it");
}

/// A disk that never answers: a pipe nobody writes to.
fn stuck(world: &World) -> (FileDisk, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let storage = Storage::new(File::from(OwnedFd::from(reader)), Kind::Regular);
    let disk = FileDisk::over(storage, Geometry::new(1024), &world.pool);
    (disk.on_ring(&world.ring, false), writer)
}

#[test]
fn nobody_waits_for_a_stuck_member() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    let (mut stuck, writer) = stuck(&world);
    let shared = stuck.shared();
    let mut sound = world.disk(&dir, "sound", 2 * MIB, true);
    let mut none = Vec::new();
    // One within the arena, one with memory of its own.
    stuck.submit(read(1, 0)).unwrap();
    stuck.submit(Request::new(Tag(2), 0, Op::Read(Buf::zeroed(1 << 16)))).unwrap();
    stuck.poll(world.clock.now(), &mut none);
    assert!(none.is_empty(), "nothing is there to be read");
    conformance::examine(&mut sound, &mut world.clock);
    let began = WallTime::now();
    drop(stuck);
    drop(sound);
    drop(world);
    assert!(began.elapsed() < Duration::from_secs(1), "dropping waits for nobody");
    assert!(shared.strong_count() > 0, "the kernel still has the buffers, so they are still there");
    // The pipe's end ends the reads, and the reaper.
    drop(writer);
    let patience = WallTime::now() + Duration::from_secs(20);
    while shared.strong_count() > 0 {
        assert!(WallTime::now() < patience, "the reaper gives everything back");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A file's place in the table is used again, never while a request may still name it.
#[test]
fn places_are_given_back() {
    let dir = TempDir::new();
    let Some(mut world) = World::new() else { return };
    let free = |ring: &Ring| ring.with(|inner| inner.free_files.len());
    let before = free(&world.ring);
    let mut disk = world.disk(&dir, "first", MIB, true);
    let used = before - free(&world.ring);
    assert!(used <= 2);
    // Submitted, never polled: dropping hands it to the kernel before its place goes.
    let data = Payload::from_slice(&[7; 4096]);
    disk.submit(Request::new(Tag(1), 0, Op::Write(data, Durability::Cached))).unwrap();
    drop(disk);
    assert_eq!(free(&world.ring), before);
    let mut second = world.disk(&dir, "second", MIB, true);
    conformance::examine(&mut second, &mut world.clock);
    drop(second);
    drop(world);
    let first = std::fs::read(dir.path("first")).unwrap();
    assert!(first[..4096].iter().all(|&byte| byte == 7), "it went to its own file");
}
