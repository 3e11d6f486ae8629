//! Input that is wrong in every way we could think of: a clear error that names member, field or
//! sector and reason, and nothing written.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Dir, MIB, SUPERBLOCK};

/// raid5 of three with a little data.
fn raid5() -> Dir {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create -l5 -n3 -c64 0.img 1.img 2.img");
    dir.data("data", 100_000);
    dir.good("write --input data 0.img 1.img 2.img");
    dir
}

/// The verbs that write, on three members.
const WRITERS: [&str; 4] = ["write --input data", "repair", "rebuild", "fail --member slot:2"];

/// Every verb that writes must refuse with these words and write nothing.
#[track_caller]
fn refused_by_writers(dir: &Dir, complaints: &[&str]) {
    let before = dir.fingerprints();
    for verb in WRITERS {
        dir.fails(&format!("{verb} 0.img 1.img 2.img"), 4, complaints);
        assert_eq!(dir.fingerprints(), before, "{verb}");
    }
}

#[test]
fn a_corrupt_superblock_is_named_field_by_field() {
    // Offset, bytes, the field at fault. The checksum is made right again each time.
    let fields: [(usize, &[u8], &str); 9] = [
        (4, &[9], "major_version"),
        (72, &[99], "level"),
        (76, &[77], "layout"),
        (88, &[3], "chunksize"),
        (92, &[0, 0, 0, 0], "raid_disks"),
        (128, &[1, 0, 0, 0], "data_offset"),
        (136, &[0xff; 7], "data_size"),
        (144, &[99], "super_offset"),
        (220, &[0xff, 0xff], "max_dev"),
    ];
    for (offset, bytes, field) in fields {
        let dir = raid5();
        let change = |block: &mut [u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
        if field == "max_dev" {
            // Without a believable table there is no checksum to mend.
            dir.poke("1.img", SUPERBLOCK + offset as u64, bytes);
        } else {
            dir.bend("1.img", change);
        }
        refused_by_writers(&dir, &["1.img: ", field, "nothing was written"]);
        let text = dir.ends("read --output copy 0.img 1.img 2.img", 0);
        assert!(text.contains("copy"), "{text}");
    }
}

#[test]
fn a_flipped_bit_is_a_checksum_error() {
    let dir = raid5();
    let byte = dir.peek("1.img", SUPERBLOCK + 40, 1)[0];
    dir.poke("1.img", SUPERBLOCK + 40, &[byte ^ 1]);
    refused_by_writers(&dir, &["1.img: damaged", "sb_csum", "add up to"]);
    let run = dir.run("detail 0.img 1.img 2.img");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("1.img: left out: superblock at sector 8: sb_csum"), "{}", run.err);
}

#[test]
fn a_truncated_or_shrunk_member_is_damaged() {
    for bytes in [2 * MIB, 8192] {
        let dir = raid5();
        File::options().write(true).open(dir.path("1.img")).unwrap().set_len(bytes).unwrap();
        refused_by_writers(&dir, &["1.img: damaged"]);
    }
}

#[test]
fn a_member_of_no_length_is_no_member() {
    let dir = raid5();
    File::create(dir.path("1.img")).unwrap();
    refused_by_writers(&dir, &["1.img", "smaller than one sector"]);
}

#[test]
fn a_vanished_member_is_an_error_not_a_loss() {
    let dir = raid5();
    fs::remove_file(dir.path("1.img")).unwrap();
    refused_by_writers(&dir, &["1.img: no such file", "leave a vanished member out"]);
    dir.ends("detail 0.img 2.img", 1);
}

#[test]
fn one_member_twice_is_refused() {
    let dir = raid5();
    std::os::unix::fs::symlink("0.img", dir.path("alias.img")).unwrap();
    let before = dir.fingerprints();
    for verb in WRITERS {
        let complaints = ["0.img", "alias.img", "same storage"];
        dir.fails(&format!("{verb} 0.img alias.img 2.img"), 4, &complaints);
    }
    dir.fails("read --output copy 0.img 1.img 0.img", 4, &["same storage"]);
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn a_copied_member_counts_once() {
    let dir = raid5();
    fs::copy(dir.path("0.img"), dir.path("copy.img")).unwrap();
    let before = dir.fingerprints();
    let run = dir.run("detail 0.img copy.img 1.img 2.img");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("copy.img: left out: is a copy of"), "{}", run.err);
    dir.fails("write --input data 0.img copy.img 1.img 2.img", 4, &["copy.img: is a copy of"]);
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn members_of_two_arrays_are_not_mixed() {
    let dir = raid5();
    dir.sparse("3.img", 4 * MIB);
    dir.sparse("4.img", 4 * MIB);
    dir.good("create -l1 -n2 3.img 4.img");
    let before = dir.fingerprints();
    for verb in WRITERS {
        dir.fails(&format!("{verb} 0.img 1.img 2.img 3.img"), 2, &["2 arrays", "3.img", "--uuid"]);
    }
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn what_is_no_member_at_all_is_said_to_be_none() {
    let dir = raid5();
    dir.data("noise.img", 1 << 20);
    dir.fails("detail noise.img", 2, &["none of the devices", "no md superblock"]);
    dir.fails("detail .", 4, &["is a directory"]);
    dir.fails("detail /dev/null", 4, &["neither a file nor a block device"]);
    dir.ends("examine noise.img", 2);
}

#[test]
fn a_read_only_member_is_read_and_not_written() {
    let dir = raid5();
    fs::set_permissions(dir.path("1.img"), PermissionsExt::from_mode(0o444)).unwrap();
    let writable = || File::options().write(true).open(dir.path("1.img")).is_ok();
    let immutable = |how: &str| {
        Command::new("chattr").arg(how).arg(dir.path("1.img")).status().is_ok_and(|s| s.success())
    };
    // Root may write to everything that is not immutable.
    let marked = writable() && immutable("+i");
    if writable() {
        return common::skipped("this user may write to everything");
    }
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        refused_by_writers(&dir, &["1.img: permission denied"]);
        dir.ends("detail 0.img 1.img 2.img", 0);
    }));
    assert!(!marked || immutable("-i"));
    looked.unwrap();
}

#[test]
fn a_locked_member_is_looked_at_and_not_read() {
    let dir = raid5();
    let mut locker = Command::new("flock");
    locker.args(["1.img", "sh", "-c", "echo locked; exec sleep 60"]);
    locker.current_dir(dir.path(".")).stdout(std::process::Stdio::piped());
    let Ok(mut locker) = locker.spawn() else {
        return common::skipped("no flock(1)");
    };
    let mut said = [0; 7];
    std::io::Read::read_exact(locker.stdout.as_mut().unwrap(), &mut said).unwrap();
    let before = dir.fingerprints();
    let write = dir.run("write --input data 0.img 1.img 2.img");
    let read = dir.run("read --output copy 0.img 1.img 2.img");
    let detail = dir.run("detail 0.img 1.img 2.img");
    let examine = dir.run("examine 0.img 1.img 2.img");
    let forced = dir.run("read --force --output - 0.img 1.img 2.img");
    let check = dir.run("check 0.img 1.img 2.img");
    let repair = dir.run("repair --dry-run 0.img 1.img 2.img");
    let check_forced = dir.run("check --force 0.img 1.img 2.img");
    let after = dir.fingerprints();
    stop(&mut locker);
    assert_eq!((write.code, read.code, detail.code, forced.code), (4, 4, 0, 0), "{read:?}");
    assert_eq!((check.code, repair.code, check_forced.code), (4, 4, 0), "{check:?}");
    for run in [write, read, detail, examine, check, repair] {
        assert!(run.err.contains("1.img: locked by"), "{}", run.err);
    }
    assert_eq!(before, after);
}

/// Ends flock(1) and the sleep(1) that inherited its lock.
fn stop(locker: &mut std::process::Child) {
    let pid = locker.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    locker.kill().unwrap();
    locker.wait().unwrap();
    for child in children.unwrap_or_default().split_ascii_whitespace() {
        let _ = Command::new("kill").arg(child).status();
    }
}

#[test]
fn lagging_members_are_taken_only_by_force() {
    let dir = raid5();
    for (name, back) in [("0.img", 5u64), ("1.img", 5)] {
        dir.bend(name, |block| {
            let events = u64::from_le_bytes(block[200..208].try_into().unwrap());
            block[200..208].copy_from_slice(&events.saturating_sub(back).to_le_bytes());
        });
    }
    let before = dir.fingerprints();
    dir.fails("write --input data 0.img 1.img 2.img", 2, &["missed", "updates", "--force"]);
    assert_eq!(dir.fingerprints(), before);
    let run = dir.run("read --force --output copy 0.img 1.img 2.img");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("updates behind, used because force was asked for"), "{}", run.err);
    let detail = dir.json("detail --json --force 0.img 1.img 2.img");
    let forced = |member: &serde_json::Value| member["why"].as_str().is_some();
    assert!(detail["members"].as_array().unwrap().iter().any(forced), "{detail}");
}

#[test]
fn a_device_that_is_too_small_is_refused() {
    let dir = raid5();
    dir.sparse("small.img", 2 * MIB);
    let before = dir.fingerprints();
    dir.fails("add --member small.img 0.img 1.img 2.img", 4, &["small.img", "sectors"]);
    dir.fails("add --dry-run --member small.img 0.img 1.img 2.img", 4, &["small.img", "sectors"]);
    dir.fails("create -l5 -n3 --size 1G small.img missing missing", 64, &[]);
    assert_eq!(dir.fingerprints(), before);
    dir.sparse("tiny.img", 4096);
    dir.fails("create -l1 -n2 tiny.img missing", 4, &["tiny.img"]);
}

#[test]
fn a_device_the_array_cannot_take_keeps_what_it_carries() {
    let dir = raid5();
    dir.sparse("x.img", 2 * MIB);
    dir.sparse("y.img", 2 * MIB);
    dir.good("create -l1 -n2 x.img y.img");
    let before = dir.fingerprints();
    for more in ["", "--dry-run"] {
        let line = format!("add --force {more} --member x.img 0.img 1.img 2.img");
        dir.fails(&line, 4, &["x.img cannot be added", "sectors"]);
        assert_eq!(dir.fingerprints(), before, "{line}");
    }
    dir.good("detail x.img y.img");
}
