//! Members inside whole-disk images: found, used, and nothing outside them touched.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{Dir, MIB, skipped};

/// Partitions a disk of 24 MiB: 1 holds something else, 2 is for the array. Where sfdisk is missing,
/// nothing.
fn partition(dir: &Dir, name: &str, label: &str) -> Option<()> {
    dir.sparse(name, 24 * MIB);
    let kind = if label == "gpt" { "R" } else { "fd" };
    let script = format!("start=2048,size=8192\nstart=16384,size=24576,type={kind}\n");
    let mut child = Command::new("sfdisk")
        .args(["--label", label, "--quiet"])
        .arg(dir.path(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(script.as_bytes()).ok()?;
    child.wait().ok()?.success().then_some(())
}

/// Two disks with a mirror in their second partitions, and what it holds.
fn mirror(label: &str) -> Option<(Dir, Vec<u8>)> {
    let dir = Dir::new();
    for disk in ["a.img", "b.img"] {
        if partition(&dir, disk, label).is_none() {
            skipped("no sfdisk");
            return None;
        }
    }
    dir.good("create -l1 -n2 a.img#2 b.img#2");
    let data = dir.data("data", 5 * MIB as usize);
    dir.good("write --input data a.img#2 b.img#2");
    Some((dir, data))
}

/// Everything but partition 2 of a disk.
fn outside(dir: &Dir, name: &str) -> Vec<u8> {
    let disk = dir.peek(name, 0, 24 * MIB as usize);
    let (from, to) = (16_384 * 512, (16_384 + 24_576) * 512);
    [&disk[..from], &disk[to..]].concat()
}

#[test]
fn a_disk_with_one_member_is_that_member() {
    for label in ["gpt", "dos"] {
        let Some((dir, data)) = mirror(label) else { return };
        for members in ["a.img b.img", "a.img#2 b.img", "b.img#2 a.img#2"] {
            let run = dir.run(&format!("read {members} --length 5MiB"));
            assert!(run.code == 0 && run.out == data, "{label} {members}: {}", run.err);
        }
        let found = dir.good("examine a.img b.img");
        assert!(found.contains("a.img#2") && found.contains("b.img#2"), "{found}");
        let found = dir.good("examine --scan .");
        assert!(found.contains("a.img#2") && found.contains("usable"), "{found}");
        dir.ends("detail a.img b.img#2", 0);
    }
}

#[test]
fn nothing_outside_the_partition_is_ever_written() {
    for label in ["gpt", "dos"] {
        let dir = Dir::new();
        for disk in ["a.img", "b.img", "c.img"] {
            let Some(()) = partition(&dir, disk, label) else { return skipped("no sfdisk") };
            dir.poke(disk, MIB, &[0xa5; 4096]);
            dir.poke(disk, (16_384 + 24_576) * 512, &[0x5a; 4096]);
        }
        let disks = ["a.img", "b.img", "c.img"];
        let before = disks.map(|disk| outside(&dir, disk));
        dir.good("create -l1 -n2 a.img#2 b.img#2");
        dir.data("data", 9 * MIB as usize);
        dir.good("write --input data a.img b.img");
        dir.good("fail -m a.img#2 a.img b.img");
        dir.good("add -m c.img#2 b.img");
        dir.good("rebuild b.img c.img");
        dir.good("zero-superblock a.img#2");
        assert!(disks.map(|disk| outside(&dir, disk)) == before, "{label}");
    }
}

#[test]
fn the_backup_table_leads_to_the_member_too() {
    let Some((dir, data)) = mirror("gpt") else { return };
    dir.poke("a.img", 512, &[0; 512]);
    let run = dir.run("read a.img b.img --length 5MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    assert!(
        run.err.contains("a.img: the backup GPT at the end of the disk is used"),
        "{}",
        run.err
    );
}

#[test]
fn what_is_unclear_is_asked_for() {
    let Some((dir, _)) = mirror("gpt") else { return };
    dir.good("create -l1 -n2 --force --in-place a.img#1 missing");
    let words = ["2 of its partitions are md members", "a.img#1 or a.img#2"];
    dir.fails("detail a.img b.img", 4, &words);
    let found = dir.ends("examine a.img b.img", 1);
    assert!(found.contains("a.img#1") && found.contains("a.img#2"), "{found}");
    dir.fails("detail a.img#7 b.img", 4, &["no such partition", "has partitions 1, 2"]);
    dir.fails("detail a.img#2 a.img#2", 4, &["a.img#2 and a.img#2 are the same storage"]);
    dir.sparse("plain.img", 8 * MIB);
    dir.fails("detail plain.img#1", 4, &["plain.img has no partition table"]);
    dir.fails("read a.img#2 b.img#2 --output a.img", 64, &["is a member of the array"]);
}

#[test]
fn two_partitions_of_one_disk_can_be_members() {
    let dir = Dir::new();
    let Some(()) = partition(&dir, "disk.img", "gpt") else { return skipped("no sfdisk") };
    dir.good("create -l1 -n2 --size 3M disk.img#1 disk.img#2");
    let data = dir.data("data", MIB as usize);
    dir.good("write --input data disk.img#1 disk.img#2");
    let run = dir.run("read disk.img#2 --length 1MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    assert!(dir.good("check disk.img#1 disk.img#2").contains("everything agrees"));
}

#[test]
fn creating_on_a_whole_disk_means_the_whole_disk() {
    let Some((dir, _)) = mirror("gpt") else { return };
    dir.fails("create -l1 -n2 a.img b.img", 4, &["a.img carries", "--force"]);
}
