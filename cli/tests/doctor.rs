//! What the doctor finds, and what the fixes change.

mod common;

use std::fs;
use std::process::Command;

use common::{Dir, MIB, SUPERBLOCK, has_program, skipped};

fn array(options: &str) -> Dir {
    let dir = Dir::new();
    dir.members(4, 64 * MIB);
    dir.good(&format!("create -l5 -n4 -c64 {options} 0.img 1.img 2.img 3.img"));
    dir.data("data", 2 * MIB as usize);
    dir.good("write --input data 0.img 1.img 2.img 3.img");
    dir
}

const ALL: &str = "0.img 1.img 2.img 3.img";

#[test]
fn a_healthy_array_needs_nothing() {
    let dir = array("");
    let before = dir.fingerprints();
    let said = dir.good(&format!("doctor {ALL}"));
    assert!(said.contains("fresh: the highest event count of all"), "{said}");
    assert!(said.contains("it starts\nnothing to do"), "{said}");
    dir.good(&format!("doctor --fix {ALL}"));
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn what_forcing_would_cost_is_bounded_by_the_bitmap() {
    let dir = array("--bitmap internal --bitmap-chunk 1M");
    dir.good(&format!("fail -m 1.img {ALL}"));
    // 64 KiB of the array: one region of one mebibyte.
    dir.good("write --input data --offset 32M 0.img 2.img 3.img");
    fs::remove_file(dir.path("3.img")).unwrap();
    let found = dir.json("doctor --json 0.img 1.img 2.img");
    let array = &found["arrays"][0];
    assert_eq!(array["state"], "unusable");
    assert_eq!(array["missing_slots"], serde_json::json!([1, 3]));
    let risk = &array["forcing"][0];
    assert_eq!(
        (risk["path"].as_str(), risk["makes_it_start"].as_bool()),
        (Some("1.img"), Some(true))
    );
    let regions = risk["regions"].as_u64().unwrap();
    assert!((1..=2).contains(&regions), "{risk}");
    assert_eq!(risk["member_bytes"].as_u64(), Some(regions * MIB));
    assert_eq!(risk["array_bytes"].as_u64(), Some(2 * regions * MIB), "slot 3 is computed from it");
    let next = array["next"].as_str().unwrap();
    assert_eq!(next, "holdfast read --force 0.img 1.img 2.img --output FILE");
    // And the command works as it is written.
    dir.good(&next.replace("holdfast ", "").replace("FILE", "copy"));
}

#[test]
fn the_next_command_of_a_degraded_array_leads_back() {
    let dir = array("");
    dir.good(&format!("fail -m 2.img {ALL}"));
    dir.good("write --input data 0.img 1.img 3.img");
    let found = dir.json(&format!("doctor --json {ALL}"));
    let array = &found["arrays"][0];
    assert_eq!(array["state"], "degraded");
    assert!(array["forcing"][0]["bound"].as_str().unwrap().contains("no bitmap"), "{array}");
    let mut steps = 0;
    loop {
        let found = dir.json(&format!("doctor --json {ALL}"));
        let Some(next) = found["arrays"][0]["next"].as_str().map(str::to_owned) else { break };
        dir.good(next.strip_prefix("holdfast ").unwrap());
        steps += 1;
        assert!(steps < 4, "{next}");
    }
    dir.ends(&format!("detail {ALL}"), 0);
}

#[test]
fn a_logical_block_size_is_explained_and_cleared() {
    let dir = array("");
    for name in ALL.split(' ') {
        dir.bend(name, |block| block[224..228].copy_from_slice(&512u32.to_le_bytes()));
    }
    let before = dir.fingerprints();
    let said = dir.good(&format!("doctor {ALL}"));
    assert!(said.contains("Linux up to 6.18 refuses 0.img: logical_block_size 512"), "{said}");
    let dry = dir.good(&format!("doctor --fix --dry-run {ALL}"));
    assert!(dry.contains("0.img: would clear logical_block_size"), "{dry}");
    assert_eq!(dir.fingerprints(), before);
    dir.good(&format!("doctor --fix --overlay o {ALL}"));
    fs::remove_file(dir.path("o")).unwrap();
    assert_eq!(dir.fingerprints(), before);
    let run = dir.run(&format!("doctor --fix {ALL}"));
    assert_eq!(run.code, 0, "{}", run.err);
    for name in ALL.split(' ') {
        assert_eq!(dir.peek(name, SUPERBLOCK + 224, 4), [0; 4], "{name}");
    }
    if has_program("mdadm") {
        let mut mdadm = Command::new("mdadm");
        let output =
            mdadm.args(["--examine", "0.img"]).current_dir(dir.path(".")).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("- correct"));
    } else {
        skipped("no mdadm");
    }
    assert!(!dir.good(&format!("doctor {ALL}")).contains("refuses"));
    let undo = dir.undos().pop().unwrap();
    dir.good(&format!("restore --no-undo {}", undo.display()));
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn a_copied_bad_block_flag_is_explained_and_cleared() {
    let dir = array("");
    let block = dir.peek("3.img", SUPERBLOCK, 256);
    let offset = i32::from_le_bytes(block[188..192].try_into().unwrap());
    dir.poke("3.img", SUPERBLOCK + offset as u64 * 512, &[0; 4096]);
    dir.bend("3.img", |block| block[8] |= 8);
    let said = dir.good(&format!("doctor {ALL}"));
    assert!(said.contains("Linux from 6.7 on refuses 3.img"), "{said}");
    dir.good(&format!("doctor --fix {ALL}"));
    assert_eq!(dir.peek("3.img", SUPERBLOCK + 8, 1)[0] & 8, 0);
    assert!(!dir.good(&format!("doctor {ALL}")).contains("refuses"));
}

#[test]
fn members_of_nothing_are_sent_to_the_search() {
    let dir = Dir::new();
    dir.members(2, 4 * MIB);
    let said = dir.ends("doctor 0.img 1.img", 2);
    assert!(said.contains("next: holdfast recover search 0.img 1.img"), "{said}");
}
