//! Arrays that Linux made: read here, shown as mdadm shows them, and left as they were.
//!
//! The images and what Linux and mdadm said of them lie with the library's tests.

mod common;

use std::process::Command;

use common::{Dir, repository, sha256};
use serde_json::Value;

/// The cases, or nothing where they cannot be unpacked.
fn cases() -> Vec<Value> {
    let manifest = repository().join("raid/tests/golden/manifest.json");
    let text = std::fs::read(manifest).expect("the manifest is in the repository");
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    manifest["cases"].as_array().unwrap().clone()
}

/// A case's images in a directory of their own; none if this machine cannot unpack them.
fn unpack(case: &Value) -> Option<Dir> {
    let dir = Dir::new();
    let archive = repository().join("raid/tests/golden").join(case["archive"].as_str().unwrap());
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(dir.path("."));
    match tar.status() {
        Ok(status) if status.success() => Some(dir),
        _ => {
            common::skipped("no tar with zstd");
            None
        }
    }
}

fn images(case: &Value) -> Vec<&str> {
    let members = case["members"].as_array().unwrap();
    members.iter().map(|member| member["file"].as_str().unwrap()).collect()
}

#[test]
fn content_is_what_linux_wrote() {
    for case in cases() {
        let Some(dir) = unpack(&case) else { return };
        let (name, before) = (&case["name"], dir.fingerprints());
        let run = dir.run(&format!("read {}", images(&case).join(" ")));
        assert_eq!(run.code, 0, "{name}: {}", run.err);
        assert_eq!(sha256(&run.out), case["content"]["sha256"].as_str().unwrap(), "{name}");
        assert_eq!(dir.fingerprints(), before, "{name}: the images have changed");
    }
}

#[test]
fn verbose_examine_is_that_of_mdadm() {
    for case in cases() {
        let Some(dir) = unpack(&case) else { return };
        let before = dir.fingerprints();
        for member in case["members"].as_array().unwrap() {
            let file = member["file"].as_str().unwrap();
            let ours = dir.good(&format!("examine --verbose {file}"));
            let theirs = member["examine"].as_str().unwrap();
            // The first line is the path as it was given.
            let body = |text: &str| -> Vec<String> {
                text.trim_end().lines().skip(1).map(|line| line.trim_end().to_owned()).collect()
            };
            assert_eq!(body(&ours), body(theirs), "{file}");
        }
        assert_eq!(dir.fingerprints(), before);
    }
}

#[test]
fn mdstat_is_that_of_linux() {
    for case in cases() {
        let Some(dir) = unpack(&case) else { return };
        let files = images(&case);
        let run = dir.run(&format!("mdstat {}", files.join(" ")));
        let theirs = case["mdstat_when_opened"].as_str().unwrap();
        // There the devices were called membera, memberb, …, and the array md0.
        let mut theirs = theirs.replace("md0 :", "ARRAY :");
        let mut ours = String::from_utf8(run.out).unwrap();
        for (file, letter) in files.iter().zip('a'..) {
            theirs = theirs.replace(&format!("member{letter}["), &format!("{file}["));
        }
        let name = ours.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap().to_owned();
        ours = ours.replace(&format!("{name} :"), "ARRAY :");
        let lines = |text: &str| -> Vec<String> {
            let kept = text.lines().filter(|line| !line.starts_with("unused devices"));
            let kept: Vec<String> = kept.map(str::to_owned).collect();
            let last = kept.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
            kept[..=last].to_vec()
        };
        assert_eq!(lines(&ours), lines(&theirs), "{}", case["name"]);
    }
}

#[test]
fn linux_arrays_check_clean_unless_a_resync_is_due() {
    for case in cases() {
        let Some(dir) = unpack(&case) else { return };
        let before = dir.fingerprints();
        let run = dir.run(&format!("check {}", images(&case).join(" ")));
        assert!(run.code <= 1, "{}: {run:?}", case["name"]);
        assert_eq!(dir.fingerprints(), before, "a check writes nothing");
    }
}
