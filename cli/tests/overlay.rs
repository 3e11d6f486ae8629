//! Overlays: members stay as they are, the file holds what was written, a kill costs nothing that
//! was flushed, and a commit can be killed and goes on.

mod common;

use std::fs;
use std::thread;
use std::time::Duration;

use common::{Dir, MIB, noise, sha256};

/// A RAID5 of three with data on it; the members' fingerprints.
fn array(data_mib: usize) -> (Dir, Vec<u8>, Vec<String>) {
    let dir = Dir::new();
    dir.members(3, 24 * MIB);
    dir.good("create -l5 -n3 -c64 0.img 1.img 2.img");
    let data = dir.data("data", data_mib << 20);
    dir.good("write --input data 0.img 1.img 2.img");
    let members = members(&dir);
    (dir, data, members)
}

fn members(dir: &Dir) -> Vec<String> {
    let images = dir.fingerprints().into_iter().filter(|(name, _)| name.ends_with(".img"));
    images.map(|(_, print)| print).collect()
}

/// Other bytes than the first ones.
fn other(bytes: usize) -> Vec<u8> {
    noise(bytes).into_iter().map(|byte| !byte).collect()
}

#[test]
fn members_stay_as_they_are_until_a_commit() {
    let (dir, data, before) = array(6);
    let new = other(3 << 20);
    fs::write(dir.path("new"), &new).unwrap();
    dir.good("write --overlay o --input new --offset 1M 0.img 1.img 2.img");
    assert_eq!(members(&dir), before);
    let mut expected = data.clone();
    expected[1 << 20..4 << 20].copy_from_slice(&new);
    let through = dir.run("read --overlay o --length 6M 0.img 1.img 2.img");
    assert!(through.code == 0 && through.out == expected, "{}", through.err);
    assert!(
        dir.run("read --length 6M 0.img 1.img 2.img").out == data,
        "beside it all is as it was"
    );
    // A second verb goes on in the same file; a degraded array keeps its parity in there, too.
    dir.good("fail --overlay o -m 1.img 0.img 1.img 2.img");
    dir.ends("detail --overlay o 0.img 1.img 2.img", 1);
    dir.ends("detail 0.img 1.img 2.img", 0);
    let found = dir.run("examine --overlay o 0.img 1.img 2.img");
    assert_eq!(found.code, 1, "{}", found.err);
    assert_eq!(members(&dir), before);
    let diff = dir.json("--json overlay diff o");
    assert_eq!((diff["state"].as_str(), diff["torn_bytes"].as_u64()), (Some("open"), Some(0)));
    let held: u64 =
        diff["members"].as_array().unwrap().iter().map(|m| m["bytes"].as_u64().unwrap()).sum();
    assert!((3 << 20..8 << 20).contains(&held), "{held}");
    let said = dir.good("overlay commit o");
    assert!(said.contains("are on the members"), "{said}");
    dir.ends("detail 0.img 1.img 2.img", 1);
    let run = dir.run("read --length 6M 0.img 2.img");
    assert!(run.code == 0 && run.out == expected, "{}", run.err);
    dir.fails("overlay commit o", 4, &["committed already"]);
    dir.fails("read --overlay o 0.img 2.img", 4, &["has been committed"]);
    dir.good("overlay discard o");
    assert!(!dir.path("o").exists());
}

#[test]
fn what_is_forced_goes_to_an_overlay_unless_told_otherwise() {
    let (dir, ..) = array(2);
    // One member lags: it missed a write.
    dir.good("fail -m 1.img 0.img 1.img 2.img");
    dir.good("write --input data 0.img 2.img");
    fs::remove_file(dir.path("0.img")).unwrap();
    let before = members(&dir);
    let run = dir.run("write --force --input data 1.img 2.img");
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(members(&dir), before);
    let files: Vec<String> = dir.fingerprints().into_iter().map(|(name, _)| name).collect();
    let overlay = files.iter().find(|name| name.ends_with(".overlay")).expect("a file of its own");
    assert!(overlay.starts_with("holdfast-") && run.err.contains(overlay.as_str()), "{}", run.err);
    dir.good("write --force --in-place --input data 1.img 2.img");
    assert_ne!(members(&dir), before);
    // What the file holds was meant for the members as they were.
    dir.fails(&format!("overlay commit {overlay}"), 4, &["metadata has changed since"]);
    dir.fails(&format!("detail --overlay {overlay} 1.img 2.img"), 4, &["has written metadata"]);
}

#[test]
fn a_forced_create_makes_an_array_that_exists_in_the_file_alone() {
    let (dir, data, before) = array(2);
    let run = dir.run("create --force -l1 -n2 0.img 1.img");
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(members(&dir), before);
    let overlay = dir.fingerprints().into_iter().find(|(name, _)| name.ends_with(".overlay"));
    let (overlay, _) = overlay.expect("a file of its own");
    let detail = dir.json(&format!("detail --json --overlay {overlay} 0.img 1.img"));
    assert_eq!(detail["level"], "raid1");
    dir.good(&format!("overlay discard {overlay}"));
    let run = dir.run("read --length 2M 0.img 1.img 2.img");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
}

#[test]
fn nothing_is_left_behind_by_a_verb_that_was_refused() {
    let (dir, ..) = array(1);
    dir.sparse("tiny.img", 2 * MIB);
    let before = dir.fingerprints();
    dir.fails("add --force -m tiny.img 0.img 1.img 2.img", 4, &["cannot be added"]);
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn a_write_killed_anywhere_costs_only_itself() {
    let (dir, data, before) = array(8);
    let new = other(8 << 20);
    fs::write(dir.path("new"), &new).unwrap();
    for round in 0..6u64 {
        let mut child = dir.start("write --overlay o --input new 0.img 1.img 2.img");
        thread::sleep(Duration::from_millis(8 + 9 * round));
        let _ = child.kill();
        child.wait().unwrap();
        if !dir.path("o").exists() {
            continue;
        }
        // Whatever was under way: each sector is one that was written or the one from before.
        let run = dir.run("read --overlay o --length 8M 0.img 1.img 2.img");
        assert_eq!(run.code, 0, "{}", run.err);
        let either = |at: usize| {
            let sector = &run.out[at..at + 512];
            sector == &data[at..at + 512] || sector == &new[at..at + 512]
        };
        assert!((0..8 << 20).step_by(512).all(either));
    }
    assert_eq!(members(&dir), before);
    dir.good("write --overlay o --input new 0.img 1.img 2.img");
    dir.good("rebuild --overlay o 0.img 1.img 2.img");
    dir.good("check --overlay o 0.img 1.img 2.img");
    let run = dir.run("read --overlay o --length 8M 0.img 1.img 2.img");
    assert!(run.out == new, "{}", run.err);
    assert_eq!(members(&dir), before);
}

#[test]
fn a_commit_killed_again_and_again_is_finished_by_the_next() {
    let (dir, _, before) = array(12);
    let new = other(12 << 20);
    fs::write(dir.path("new"), &new).unwrap();
    dir.good("write --overlay o --input new 0.img 1.img 2.img");
    let mut seen_half_way = false;
    for millis in [6, 12, 9, 18, 14] {
        let mut child = dir.start("overlay commit o");
        thread::sleep(Duration::from_millis(millis));
        let _ = child.kill();
        child.wait().unwrap();
        let state = dir.json("--json overlay diff o")["state"].as_str().unwrap().to_owned();
        match state.as_str() {
            "open" => assert_eq!(members(&dir), before),
            "committing" => {
                seen_half_way = true;
                let run = dir.run("read --overlay o --length 12M 0.img 1.img 2.img");
                assert!(run.code == 0 && run.out == new, "the file still holds it: {}", run.err);
                dir.fails("write --overlay o --input new 0.img 1.img 2.img", 4, &["not finished"]);
                dir.fails("overlay discard o", 4, &["not finished"]);
            }
            _ => break,
        }
    }
    if dir.json("--json overlay diff o")["state"] != "committed" {
        dir.good("overlay commit o");
    }
    let run = dir.run("read --length 12M 0.img 1.img 2.img");
    assert_eq!(sha256(&run.out), sha256(&new), "{} half way: {seen_half_way}", run.err);
    dir.good("check 0.img 1.img 2.img");
}

#[test]
fn what_had_been_flushed_and_is_damaged_is_refused() {
    let (dir, ..) = array(1);
    dir.good("write --overlay o --input data 0.img 1.img 2.img");
    let length = dir.path("o").metadata().unwrap().len();
    let byte = dir.peek("o", length / 2, 1)[0];
    dir.poke("o", length / 2, &[byte ^ 1]);
    let words = ["damaged at byte", "had been safe"];
    dir.fails("read --overlay o 0.img 1.img 2.img", 4, &words);
    dir.fails("overlay commit o", 4, &words);
}
