//! The house rules that no compiler checks: arrows between crates, licences, rooms for `unsafe`,
//! and nothing of anybody's machine in the files.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::repository;
use serde_json::Value;

/// Who may depend on whom, dev-dependencies included.
const ARROWS: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("raid", &["core"]),
    ("bond", &["core"]),
    ("multipath", &["core"]),
    ("host", &["core"]),
    ("sim", &["core", "raid", "bond", "multipath"]),
    ("cli", &["core", "raid", "bond", "multipath", "host", "sim", "benches"]),
    ("benches", &["core", "raid", "bond", "multipath", "host", "sim"]),
];

/// Licences we can live with.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "CC0-1.0",
];

/// Crates that must not come in, and what stands in their place.
const BANNED: [(&str, &str); 9] = [
    ("anyhow", "errors are types that name member and range"),
    ("chrono", "superblock times are a screen of our own arithmetic"),
    ("lazy_static", "std::sync::OnceLock"),
    ("log", "libraries are silent: events go out as values"),
    ("once_cell", "std::sync::OnceLock"),
    ("openssl-sys", "rustls, behind the feature `tls`"),
    ("rand", "rand_chacha, whose stream is stable by contract"),
    ("tokio", "completion queues and a few threads"),
    ("tracing", "libraries are silent: events go out as values"),
];

/// Crates that may be there in two versions at once: macros under different macros, and what ring draws
/// its keys with (feature `tls`) beside what tests draw with.
const DOUBLE: [&str; 2] = ["getrandom", "syn"];

/// The rooms with `unsafe` in them.
const ROOMS: [&str; 8] = [
    "core/src/buf/",
    "raid/src/parity/",
    "host/src/image.rs",
    "host/src/sys/",
    "host/src/uring.rs",
    "benches/src/parity/limits.rs",
    "benches/parity/isal.rs",
    "cli/tests/fuzz/alloc.rs",
];

/// What cargo knows of the packages this machine builds, as this test was built. Those of other systems need not have been downloaded.
fn metadata() -> Value {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let features = if cfg!(feature = "tls") { "holdfast-cli/tls" } else { "" };
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform, "--features", features])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo answers in JSON")
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().expect("a list of packages").iter()
}

/// Our own packages by folder.
fn ours(metadata: &Value) -> BTreeMap<String, &Value> {
    let own = packages(metadata).filter(|package| package["source"].is_null());
    own.map(|package| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().file_name().unwrap();
        (folder.to_str().unwrap().to_owned(), package)
    })
    .collect()
}

#[test]
fn arrows_between_crates_are_those_of_the_architecture() {
    let metadata = metadata();
    let own = ours(&metadata);
    for (folder, package) in &own {
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| name == folder)
            .unwrap_or_else(|| panic!("{folder}: a new crate has no place in the table of arrows"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if let Some(to) = name.strip_prefix("holdfast-") {
                assert!(allowed.contains(&to), "{folder} must not depend on {to}");
            }
        }
    }
    assert_eq!(own.len(), ARROWS.len(), "a crate of the table is missing");
}

#[test]
fn every_dependency_has_a_licence_we_can_live_with() {
    for package in packages(&metadata()) {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or("none"));
        // In an SPDX expression each OR offers a choice, and all parts of an AND bind.
        let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
        let offers = |part: &str| part.split(" OR ").any(|one| LICENCES.contains(&one.trim()));
        let fine = plain.split(" AND ").all(offers);
        assert!(fine, "{name} is under {licence}");
    }
}

#[test]
fn dependencies_come_from_the_registry_alone() {
    for package in packages(&metadata()) {
        let source = package["source"].as_str().unwrap_or("registry+ours");
        assert!(source.starts_with("registry+"), "{} comes from {source}", package["name"]);
    }
}

#[test]
fn nothing_banned_is_asked_for_and_every_version_is_named() {
    let metadata = metadata();
    for (folder, package) in ours(&metadata) {
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| *banned == name) {
                panic!("{folder} asks for {name}; instead: {instead}");
            }
            let outside = !dependency["source"].is_null();
            assert!(!outside || dependency["req"] != "*", "{folder}: {name} of any version");
        }
    }
}

#[test]
fn no_crate_is_built_in_two_versions() {
    let metadata = metadata();
    let mut seen = BTreeSet::new();
    for name in packages(&metadata).map(|package| package["name"].as_str().unwrap()) {
        let first = seen.insert(name);
        assert!(first || DOUBLE.contains(&name), "{name} is there in two versions");
    }
}

/// Tracked text files; all of them where there is no git.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output();
    let listed = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let mut files = BTreeSet::new();
    for name in listed.unwrap_or_default().split(|byte| *byte == 0) {
        files.insert(PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    }
    // What is new counts as well, before it is tracked.
    for (folder, _) in ARROWS {
        collect(&repository().join(folder), &mut files);
    }
    files.into_iter().filter(|file| repository().join(file).is_file()).collect()
}

fn collect(directory: &Path, files: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = directory.read_dir() else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(inside) = path.strip_prefix(repository()) {
            files.insert(inside.to_owned());
        }
    }
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let allow = ["allow(unsafe", "_code"].concat();
    let block = ["unsafe", " {"].concat();
    for file in tracked().into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs")) {
        let name = file.to_string_lossy().into_owned();
        let text = fs::read_to_string(repository().join(&file)).unwrap();
        let has = text.contains(&allow) || text.contains(&block);
        let room = ROOMS.iter().any(|room| name.starts_with(room));
        assert!(!has || room, "{name}: unsafe outside its rooms {ROOMS:?}");
    }
}

#[test]
fn no_file_knows_anybodys_machine() {
    // Put together here, so that this file does not find itself.
    let traces = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"]].map(|parts| parts.concat());
    for file in tracked() {
        let Ok(text) = fs::read_to_string(repository().join(&file)) else { continue };
        for trace in &traces {
            assert!(!text.contains(trace.as_str()), "{}: speaks of {trace}", file.display());
        }
    }
}
