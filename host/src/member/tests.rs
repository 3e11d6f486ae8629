//! Opening as a table of refusals, then the same with real loop devices and mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use holdfast_core::block::{Blocking, conformance};

use super::*;
use crate::clock::HostClock;
use crate::pool::DEFAULT_THREADS;
use crate::testing::{LoopDevice, Mounted, TempDir, is_root, run, skipped};

const MIB: u64 = 1 << 20;

fn world() -> (HostClock, IoPool) {
    let clock = HostClock::new().unwrap();
    let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).unwrap();
    (clock, pool)
}

fn open<P: AsRef<Path>>(paths: &[P], access: Access) -> Result<Vec<Opened>, OpenError> {
    open_members(paths, access, &world().1)
}

fn refused<P: AsRef<Path>>(paths: &[P], access: Access) -> String {
    open(paths, access).unwrap_err().to_string()
}

#[test]
fn members_come_open_in_order_and_work() {
    let dir = TempDir::new();
    let (mut clock, pool) = world();
    let paths = ["a", "b", "c"].map(|name| dir.path(name));
    for (name, bytes) in [("a", MIB), ("b", 2 * MIB), ("c", MIB + 100)] {
        dir.sparse(name, bytes);
    }
    let mut members = open_members(&paths, Access::Write, &pool).unwrap();
    let shape: Vec<_> = members
        .iter()
        .map(|member| (member.path.clone(), member.sectors(), member.trailing_bytes))
        .collect();
    let [a, b, c] = paths;
    assert_eq!(shape, [(a, 2048, 0), (b, 4096, 0), (c, 2048, 100)]);
    assert!(members.iter().all(|member| member.kind == Kind::Regular));
    for member in &mut members {
        conformance::examine(&mut member.disk, &mut clock);
    }
}

#[test]
fn what_is_no_member_is_refused_by_name() {
    let dir = TempDir::new();
    fs::create_dir(dir.path("dir")).unwrap();
    dir.sparse("empty", 0);
    dir.sparse("tiny", 511);
    for (path, reason) in [
        (dir.path("missing"), "no such file"),
        (dir.path("dir"), "is a directory"),
        (dir.path("empty"), "smaller than one sector"),
        (dir.path("tiny"), "smaller than one sector"),
        ("/dev/zero".into(), "neither a file nor a block device"),
    ] {
        for access in [Access::Read, Access::Write] {
            let message = refused(&[&path], access);
            let wanted = format!("{}: ", path.display());
            assert!(message.starts_with(&wanted), "{message}");
            assert!(message.contains(reason), "{message}");
        }
    }
}

#[test]
fn a_failure_is_told_apart_from_others() {
    let path = Path::new("disk");
    for (errno, start) in [
        (Errno::ACCESS, "disk: permission denied; run as a user who may read and write it"),
        (Errno::PERM, "disk: permission denied"),
        (Errno::ROFS, "disk: read-only"),
        (Errno::BUSY, "disk: busy"),
        (Errno::NXIO, "disk: smaller than one sector"),
        (Errno::IO, "disk: Input/output error"),
    ] {
        let message = OpenError::of(path, Access::Write, errno.into()).to_string();
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn one_writer_excludes_another_and_readers_do_not_care() {
    let dir = TempDir::new();
    dir.sparse("a", MIB);
    dir.sparse("b", MIB);
    let (a, b) = (dir.path("a"), dir.path("b"));
    let writer = open(&[&a], Access::Write).unwrap();
    open(&[&a, &b], Access::Read).unwrap();
    let error = open(&[&b, &a], Access::Write).unwrap_err();
    assert!(matches!(&error, OpenError::Locked { path, .. } if *path == a), "{error}");
    open(&[&b], Access::Write).expect("a refusal leaves nothing locked");
    drop(writer);
    open(&[&a], Access::Write).expect("a lock goes with its disk");
}

#[test]
fn another_process_is_named_as_the_holder() {
    let dir = TempDir::new();
    dir.sparse("a", MIB);
    let path = dir.path("a");
    let mut locker = Command::new("flock");
    locker.arg(&path).args(["sleep", "60"]);
    let Ok(mut locker) = locker.spawn() else {
        return skipped("no flock(1)");
    };
    while lock::holder_of(&path).is_none() && locker.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = open(&[&path], Access::Write);
    let pid = locker.id();
    // sleep(1) has inherited the lock, so it has to go as well.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    locker.kill().unwrap();
    locker.wait().unwrap();
    for child in children.unwrap_or_default().split_ascii_whitespace() {
        run(Command::new("kill").arg(child));
    }
    let message = error.unwrap_err().to_string();
    assert!(message.contains(&format!("(process {pid})")), "{message}");
    open(&[&path], Access::Write).expect("it has let go");
}

#[test]
fn two_names_of_one_file_are_one_member() {
    let dir = TempDir::new();
    dir.sparse("a", MIB);
    dir.sparse("b", MIB);
    fs::hard_link(dir.path("a"), dir.path("hard")).unwrap();
    symlink(dir.path("a"), dir.path("soft")).unwrap();
    for second in ["a", "hard", "soft"] {
        let paths = [dir.path("a"), dir.path("b"), dir.path(second)];
        for access in [Access::Read, Access::Write] {
            let error = open(&paths, access).unwrap_err();
            let OpenError::SameDevice { first, second } = error else { panic!("{error}") };
            assert_eq!((&first, &second), (&paths[0], &paths[2]));
        }
    }
    open(&[dir.path("soft"), dir.path("b")], Access::Write).expect("one link alone is fine");
}

#[test]
fn a_dropped_disk_lets_go_even_with_writes_in_flight() {
    use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
    use holdfast_core::buf::Payload;
    use holdfast_core::time::Instant;

    let dir = TempDir::new();
    dir.sparse("a", 64 * MIB);
    let (_clock, pool) = world();
    for _ in 0..5 {
        let mut members = open_members(&[dir.path("a")], Access::Write, &pool).unwrap();
        let disk = &mut members[0].disk;
        let data = Payload::zeroed(MIB as usize);
        for tag in 0..64 {
            let op = Op::Write(data.clone(), Durability::Cached);
            disk.submit(Request::new(Tag(tag), tag * 2048, op)).unwrap();
        }
        disk.poll(Instant::ZERO, &mut Vec::new());
    }
}

#[test]
fn a_loop_device_works_and_is_the_same_storage_as_its_file() {
    let dir = TempDir::new();
    let (mut clock, pool) = world();
    dir.sparse("image", 4 * MIB);
    let image = dir.path("image");
    let Some(device) = LoopDevice::attach(&image, &["--sizelimit", "2097152"]) else {
        return;
    };
    let options = ["--offset", "2097152"];
    let Some(upper) = LoopDevice::attach(&image, &options) else {
        return;
    };
    let pairs = [
        (image.as_path(), device.path(), false),
        (upper.path(), image.as_path(), false),
        (device.path(), upper.path(), true),
    ];
    for (first, second, allowed) in pairs {
        let result = open(&[first, second], Access::Read);
        assert_eq!(result.is_ok(), allowed, "{result:?}");
    }
    let mut members = open_members(&[device.path()], Access::Write, &pool).unwrap();
    let member = &mut members[0];
    assert_eq!((member.kind, member.sectors()), (Kind::Block, 4096));
    let twice = refused(&[device.path()], Access::Write);
    assert!(twice.contains("busy") || twice.contains("locked"), "{twice}");
    conformance::examine(&mut member.disk, &mut clock);
}

#[test]
fn a_writer_of_a_loop_device_and_one_of_its_file_exclude_each_other() {
    let dir = TempDir::new();
    dir.sparse("image", 4 * MIB);
    dir.sparse("other", MIB);
    let image = dir.path("image");
    let half = MIB.to_string();
    let attach = |options: &[&str]| LoopDevice::attach(&image, options);
    let (Some(whole), Some(low), Some(high)) =
        (attach(&[]), attach(&["--sizelimit", &half]), attach(&["--offset", &half]))
    else {
        return;
    };
    let names = [image.as_path(), whole.path(), low.path()];
    for first in names {
        let writer = open(&[first], Access::Write).unwrap();
        for second in names {
            let error = open(&[second], Access::Write).unwrap_err();
            let expected = matches!(
                &error,
                OpenError::Locked { path, .. } | OpenError::Busy(path) if path == second
            );
            assert!(expected, "{first:?} {second:?}: {error}");
            let holder = lock::holder_of(second);
            assert!(holder.is_none_or(|holder| holder.pid == std::process::id()));
            open(&[second], Access::Read).expect("readers do not care");
        }
        open(&[dir.path("other")], Access::Write).expect("another file is free");
        drop(writer);
    }
    // Both halves of one image, by one writer.
    let writer = open(&[low.path(), high.path()], Access::Write).unwrap();
    let error = open(&[&image], Access::Write).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(writer);
    open(&[&image], Access::Write).expect("locks go with their disks");
}

#[test]
fn a_second_node_of_a_device_is_the_same_device() {
    let dir = TempDir::new();
    dir.sparse("image", 4 * MIB);
    let Some(device) = LoopDevice::attach(&dir.path("image"), &[]) else {
        return;
    };
    let numbers = fs::metadata(device.path()).unwrap();
    let numbers = std::os::unix::fs::MetadataExt::rdev(&numbers);
    let node = dir.path("node");
    let (major, minor) = (rustix::fs::major(numbers), rustix::fs::minor(numbers));
    let mut mknod = Command::new("mknod");
    mknod.arg(&node).arg("b");
    mknod.args([major.to_string(), minor.to_string()]);
    if run(&mut mknod).is_none() || File::open(&node).is_err() {
        return skipped("device nodes do not work in the temporary directory");
    }
    let error = open(&[device.path(), &node], Access::Read).unwrap_err();
    assert!(matches!(error, OpenError::SameDevice { .. }), "{error}");
    // Locks on two nodes do not meet; the exclusive open does.
    let _writer = open(&[device.path()], Access::Write).unwrap();
    let error = open(&[&node], Access::Write).unwrap_err();
    assert!(matches!(error, OpenError::Busy(_)), "{error}");
}

#[test]
fn a_read_only_loop_device_is_not_written() {
    let dir = TempDir::new();
    dir.sparse("image", MIB);
    let Some(device) = LoopDevice::attach(&dir.path("image"), &["--read-only"]) else {
        return;
    };
    let message = refused(&[device.path()], Access::Write);
    assert!(message.contains("read-only"), "{message}");
    open(&[device.path()], Access::Read).unwrap();
}

#[test]
fn a_mounted_member_is_refused_by_every_name() {
    let dir = TempDir::new();
    dir.sparse("image", 8 * MIB);
    let (image, at) = (dir.path("image"), dir.path("a place"));
    let Some(device) = LoopDevice::attach(&image, &[]) else {
        return;
    };
    if run(Command::new("mkfs.ext4").arg("-q").arg(device.path())).is_none() {
        return skipped("no mkfs.ext4");
    }
    let Some(mounted) = Mounted::new(&[], device.path(), &at) else {
        return;
    };
    for path in [device.path(), &image] {
        let message = refused(&[path], Access::Write);
        let wanted = format!("mounted at {}; unmount it first", at.display());
        assert!(message.ends_with(&wanted), "{message}");
        open(&[path], Access::Read).unwrap();
    }
    drop(mounted);
    open(&[&image], Access::Write).unwrap();
}

#[test]
fn the_disk_this_system_runs_from_is_refused() {
    let root = fs::metadata("/").unwrap();
    let device = std::os::unix::fs::MetadataExt::dev(&root);
    let dir = Sysfs::default().block_dir(device);
    let node = dir.and_then(|dir| Some(Path::new("/dev").join(dir.file_name()?)));
    let Some(node) = node.filter(|node| node.exists()) else {
        return skipped("the root filesystem is on no block device");
    };
    let message = refused(&[&node], Access::Write);
    if File::open(&node).is_err() {
        // Some machines let nobody open it: then that is the reason given.
        return assert!(message.contains(&*node.to_string_lossy()), "{message}");
    }
    assert!(message.contains("mounted at /"), "{message}");
    open(&[&node], Access::Read).unwrap();
}

#[test]
fn swap_on_a_file_is_refused() {
    let dir = TempDir::new();
    let (clock, pool) = world();
    dir.sparse("swap", 2 * MIB);
    let path = dir.path("swap");
    // No holes: swapon(2) refuses them.
    let member = open_members(&[&path], Access::Write, &pool).unwrap().remove(0);
    let mut disk = Blocking::new(member.disk, clock);
    disk.write_at(0, &vec![1; 2 * MIB as usize]).unwrap();
    disk.flush().unwrap();
    drop(disk);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let made = run(Command::new("mkswap").arg(&path)).is_some();
    if !made || !is_root() || run(Command::new("swapon").arg(&path)).is_none() {
        return skipped("swap needs root, mkswap and a willing filesystem");
    }
    let message = open(&[&path], Access::Write).map(drop);
    run(Command::new("swapoff").arg(&path));
    let message = message.unwrap_err().to_string();
    assert!(message.contains("used as swap; turn the swap off first"), "{message}");
}
