//! Runs that end before they are done: killed, or without room. The next verb goes on from the
//! recorded place, and what was acknowledged is there.

mod common;

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Dir, MIB, noise, sha256};

/// Starts a verb and kills it after a while, as a power cut would end it.
fn cut_short(dir: &Dir, words: &[&str], after: Duration) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(words)
        .current_dir(dir.path("."))
        .env("XDG_STATE_HOME", dir.state())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(after);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_rebuild_killed_again_and_again_comes_to_its_end() {
    for (level, count) in [("1", 2), ("5", 3), ("6", 4), ("10", 4)] {
        let dir = Dir::new();
        dir.members(count + 1, 24 * MIB);
        let members: Vec<String> = (0..=count).map(|index| format!("{index}.img")).collect();
        let all = members.join(" ");
        dir.good(&format!("create -l{level} -n{count} -x1 {all}"));
        let data = dir.data("data", 16 << 20);
        dir.good(&format!("write --input data {all}"));
        dir.good(&format!("fail --member slot:1 {all}"));
        let words: Vec<&str> =
            ["rebuild"].into_iter().chain(members.iter().map(String::as_str)).collect();
        for millis in [5, 15, 25, 40] {
            cut_short(&dir, &words, Duration::from_millis(millis));
        }
        dir.good(&format!("rebuild {all}"));
        dir.ends(&format!("check {all}"), 0);
        let run = dir.run(&format!("read --length 16M {all}"));
        assert_eq!(sha256(&run.out), sha256(&data), "{level}: {}", run.err);
    }
}

#[test]
fn a_write_killed_half_way_leaves_an_array_that_mends_itself() {
    for (level, count, bitmap) in [
        ("1", 2, ""),
        ("5", 3, ""),
        ("5", 3, "--bitmap internal --bitmap-chunk 64K"),
        ("10", 4, ""),
    ] {
        let dir = Dir::new();
        dir.members(count, 24 * MIB);
        let members: Vec<String> = (0..count).map(|index| format!("{index}.img")).collect();
        let all = members.join(" ");
        dir.good(&format!("create -l{level} -n{count} {bitmap} {all}"));
        dir.data("data", 20 << 20);
        let words: Vec<&str> = ["write", "--input", "data"]
            .into_iter()
            .chain(members.iter().map(String::as_str))
            .collect();
        for millis in [5, 15, 30] {
            cut_short(&dir, &words, Duration::from_millis(millis));
        }
        dir.good(&format!("rebuild {all}"));
        dir.ends(&format!("check {all}"), 0);
        dir.ends(&format!("detail {all}"), 0);
        dir.good(&format!("write --input data {all}"));
        let run = dir.run(&format!("read --length 20M {all}"));
        assert_eq!(sha256(&run.out), sha256(&noise(20 << 20)), "{level} {bitmap}: {}", run.err);
    }
}

#[test]
fn a_create_killed_in_its_resync_is_finished_by_rebuild() {
    let dir = Dir::new();
    for index in 0..3 {
        dir.data(&format!("{index}.img"), 24 << 20);
    }
    let words = ["create", "--yes", "-l5", "-n3", "0.img", "1.img", "2.img"];
    cut_short(&dir, &words, Duration::from_millis(20));
    let run = dir.run("rebuild 0.img 1.img 2.img");
    // Too early, and there is no array at all yet; never half of one.
    assert!([0, 2].contains(&run.code), "{run:?}");
    if run.code == 0 {
        dir.ends("check 0.img 1.img 2.img", 0);
    }
}

/// A full disk is nobody's fault: an honest error, no member failed, and what was there before is
/// still there.
#[test]
fn a_full_disk_fails_no_member() {
    let dir = Dir::new();
    let bin = env!("CARGO_BIN_EXE_holdfast");
    let script = format!(
        "mount -t tmpfs -o size=8m none . && cd . && \
         for i in 0 1 2; do truncate -s 16M $i.img || exit 99; done && \
         {bin} create -l5 -n3 -c64 0.img 1.img 2.img && \
         head -c 16M /dev/urandom | {bin} write 0.img 1.img 2.img; echo \"write $?\"; \
         {bin} detail 0.img 1.img 2.img; echo \"detail $?\"; \
         timeout 60 {bin} rebuild 0.img 1.img 2.img; echo \"rebuild $?\"; \
         mount -o remount,size=100m . && {bin} rebuild 0.img 1.img 2.img; echo \"again $?\""
    );
    let output = Command::new("unshare")
        .env("XDG_STATE_HOME", dir.state())
        .args(["--mount", "sh", "-c", &format!("cd '{}' && {script}", dir.path(".").display())])
        .output();
    let Ok(output) = output else { return common::skipped("no unshare(1)") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if !text.contains("created raid5") {
        return common::skipped("no mounts in a namespace of one's own");
    }
    assert!(text.contains("write 4"), "{text}{complaints}");
    assert!(complaints.contains("no space left"), "{complaints}");
    assert!(complaints.contains("make room"), "{complaints}");
    assert!(text.contains("rebuild 4"), "it ends, and says why: {text}{complaints}");
    assert!(text.contains("again 0"), "{text}{complaints}");
    assert!(complaints.lines().count() < 20, "one line per member: {complaints}");
    assert!(text.contains("detail 0"), "every member is still in sync: {text}{complaints}");
}
