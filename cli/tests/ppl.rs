//! RAID5 with a partial parity log, from the command line: made, shown, killed, and started with a
//! member missing.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Dir, MIB, SUPERBLOCK, sha256};

const ALL: &str = "0.img 1.img 2.img 3.img";

fn made(dir: &Dir) {
    dir.members(4, 24 * MIB);
    dir.good(&format!("create -l5 -n4 -c64K -k ppl {ALL}"));
}

#[test]
fn policies_are_what_mdadm_takes_for_one() {
    let dir = Dir::new();
    dir.members(4, 24 * MIB);
    for (options, says) in [
        ("-l6 -k ppl", "only raid5"),
        ("-l5 -k ppl --bitmap internal", "not both"),
        ("-l5 -k ppl --bitmap-chunk 64K", "not both"),
        ("-l5 -k resync --bitmap internal", "not both"),
        ("-l5 -k bitmap --bitmap none", "there is no bitmap"),
        ("-l5 -k journal", "makes no write journals"),
    ] {
        let run = dir.run(&format!("create -n4 {options} {ALL}"));
        assert!(run.code == 64 && run.err.contains(says), "{options}: {} {}", run.code, run.err);
    }
    let run = dir.run(&format!("create -l5 -n4 -c64K -k ppl --data-offset 8K {ALL}"));
    assert!(run.code == 64 && run.err.contains("leaves no room"), "{} {}", run.code, run.err);
    for (options, policy) in [("", "resync"), ("-k bitmap", "bitmap"), ("-k ppl", "ppl")] {
        let dir = Dir::new();
        dir.members(4, 24 * MIB);
        dir.good(&format!("create -l5 -n4 {options} {ALL}"));
        for verb in ["detail", "examine"] {
            let json = dir.good(&format!("{verb} --json {ALL}"));
            assert!(json.contains(&format!("\"consistency_policy\": \"{policy}\"")), "{json}");
        }
    }
    let dir = Dir::new();
    made(&dir);
    let text = dir.good("examine --verbose 0.img");
    assert!(text.contains("PPL : 2048 sectors at offset 8 sectors from superblock"), "{text}");
}

/// A write from `offset` on that is killed half way.
fn killed_in_a_write(dir: &Dir, offset: u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["write", "--offset", &offset.to_string()])
        .args(ALL.split(' '))
        .current_dir(dir.path("."))
        .env("XDG_STATE_HOME", dir.state())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || while input.write_all(&[0x5a; 1 << 16]).is_ok() {});
    // The superblock's resync offset: zero while a write may be under way.
    while dir.peek("0.img", SUPERBLOCK + 208, 8) != [0; 8] {
        assert_eq!(child.try_wait().unwrap(), None, "it writes until it is killed");
        thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    feeder.join().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_array_starts_without_a_member_and_without_force() {
    for lost in 0..4 {
        let dir = Dir::new();
        made(&dir);
        let data = dir.data("data", 8 << 20);
        dir.good(&format!("write --input data {ALL}"));
        killed_in_a_write(&dir, (8 << 20) + lost * 12345);
        let left: Vec<&str> = ALL.split(' ').filter(|m| *m != format!("{lost}.img")).collect();
        let left = left.join(" ");
        let examined = dir.ends(&format!("examine {left}"), 1);
        assert!(examined.contains("made good"), "{examined}");
        // First as it lies, then written to.
        let run = dir.run(&format!("read --length 8M {left}"));
        assert_eq!(sha256(&run.out), sha256(&data), "read without {lost}: {}", run.err);
        dir.good(&format!("write --offset 8M --input data {left}"));
        let run = dir.run(&format!("read --length 8M {left}"));
        assert_eq!(sha256(&run.out), sha256(&data), "without {lost}: {}", run.err);
    }
}
