//! `recover search` over members whose superblocks are gone: what it must find, and what it must
//! not pretend to know.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Dir, MIB, repository, sha256, skipped};
use serde_json::Value;

/// The members' names, not in slot order.
const NAMES: [&str; 6] = ["d.img", "b.img", "f.img", "a.img", "c.img", "e.img"];

/// Directories with sources, and large files of random bytes.
fn tree(dir: &Dir) {
    let copy = |from: &str| {
        let to = dir.path("tree").join(from);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(repository().join(from)).unwrap().flatten() {
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    [
        "raid/src",
        "raid/src/array",
        "raid/src/superblock",
        "cli/src",
        "cli/src/commands",
        "host/src",
        "sim/src",
        "docs",
    ]
    .into_iter()
    .for_each(copy);
    for (index, bytes) in [5_000_321usize, 4_000_123].into_iter().enumerate() {
        let noise = common::noise(bytes + index * 7);
        fs::write(dir.path("tree").join(format!("large{index}.bin")), &noise[index * 7..]).unwrap();
    }
}

/// A filesystem with the tree in it, `fs.img`, and the tree; none where the tools are missing.
fn filesystem(dir: &Dir, kind: &str) -> Option<Dir> {
    let sources = Dir::new();
    tree(&sources);
    let image = dir.path("fs.img");
    let made = if kind == "ext4" {
        dir.sparse("fs.img", 40 * MIB);
        Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(sources.path("tree"))
            .arg(&image)
            .output()
    } else {
        dir.sparse("fs.img", 304 * MIB);
        let mut proto = "/none\n0 0\nd--755 0 0\n".to_owned();
        prototype(&sources.path("tree"), &mut proto);
        fs::write(sources.path("proto"), proto + "$\n").unwrap();
        Command::new("mkfs.xfs").arg("-q").arg("-p").arg(sources.path("proto")).arg(&image).output()
    };
    match made {
        Ok(output) if output.status.success() => Some(sources),
        Ok(output) => panic!("{kind}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            skipped(&format!("no mkfs for {kind}"));
            None
        }
    }
}

/// mkfs.xfs fills a filesystem from a list of names.
fn prototype(directory: &Path, list: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            writeln!(list, "{name} d--755 0 0").unwrap();
            prototype(&path, list);
            writeln!(list, "$").unwrap();
        } else {
            writeln!(list, "{name} ---644 0 0 {}", path.display()).unwrap();
        }
    }
}

/// An array with `fs.img` on it, its superblocks gone. Members in slot order.
fn lost_array(dir: &Dir, shape: &str, count: usize, member_mib: u64) -> Vec<&'static str> {
    let members: Vec<&str> = NAMES[..count].to_vec();
    members.iter().for_each(|name| dir.sparse(name, member_mib * MIB));
    let list = members.join(" ");
    dir.good(&format!("create {shape} --raid-devices {count} {list}"));
    dir.good(&format!("write {list} --input fs.img"));
    dir.good(&format!("zero-superblock --yes {list}"));
    members
}

/// Runs the search over members in alphabetical order.
fn search(dir: &Dir, members: &[&str], more: &str) -> Value {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    dir.json(&format!("--json recover search {} {more}", sorted.join(" ")))
}

fn order(candidate: &Value) -> Vec<Option<&str>> {
    candidate["order"].as_array().unwrap().iter().map(Value::as_str).collect()
}

#[track_caller]
fn is_first(answer: &Value, level: &str, layout: &str, chunk: u64, expected: &[Option<&str>]) {
    assert_eq!(answer["verdict"], "first", "{answer:#}");
    let first = &answer["candidates"][0];
    assert_eq!(first["rank"], 1);
    assert_eq!(first["level"], level, "{answer:#}");
    assert_eq!(first["layout"], layout, "{answer:#}");
    assert_eq!(first["chunk_bytes"], chunk, "{answer:#}");
    assert_eq!(order(first), expected, "{answer:#}");
    assert_ne!(first["sure"], "barely", "{answer:#}");
}

fn whole<'a>(members: &[&'a str]) -> Vec<Option<&'a str>> {
    members.iter().copied().map(Some).collect()
}

/// What `--output` writes begins with the filesystem that was written.
fn reads_the_same(dir: &Dir, members: &[&str]) {
    search(dir, members, "--output out.img");
    let (fs, out) = (fs::read(dir.path("fs.img")).unwrap(), fs::read(dir.path("out.img")).unwrap());
    assert_eq!(sha256(&out[..fs.len()]), sha256(&fs));
}

#[test]
fn the_raid6_of_linux_is_found_and_read_without_its_superblocks() {
    let dir = Dir::new();
    let archive = repository().join("raid/tests/golden/raid6-ls-32k.tar.zst");
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(dir.path("."));
    if !tar.status().is_ok_and(|status| status.success()) {
        return skipped("no tar with zstd");
    }
    let names: Vec<String> = (0..5).map(|index| format!("raid6-ls-32k.{index}.img")).collect();
    let sum = {
        let run = dir.run(&format!("read {}", names.join(" ")));
        sha256(&run.out)
    };
    dir.good(&format!("zero-superblock --yes {}", names.join(" ")));
    let shuffled = [3, 1, 4, 0, 2].map(|index: usize| names[index].as_str()).join(" ");
    let before = dir.fingerprints();
    let answer = dir.json(&format!("--json recover search {shuffled}"));
    assert_eq!(answer["verdict"], "first_by_convention");
    let first = &answer["candidates"][0];
    assert_eq!((&first["level"], &first["layout"]), (&"raid6".into(), &"left-symmetric".into()));
    assert_eq!(
        (&first["chunk_bytes"], &first["data_offset_sectors"]),
        (&32768.into(), &2048.into())
    );
    assert_eq!(order(first), names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
    assert_eq!(answer["candidates"][1]["layout"], "left-asymmetric");
    assert!(answer["open"][0].as_str().unwrap().contains("by default"), "{answer:#}");
    assert_eq!(dir.fingerprints(), before, "a member has changed");
    let run = dir.run(&format!("recover search {shuffled} --output -"));
    assert_eq!((run.code, sha256(&run.out)), (0, sum), "{}", run.err);
}

#[test]
fn ext4_on_raid5_is_found_whole_degraded_with_a_stranger_and_with_a_stale_member() {
    let dir = Dir::new();
    let Some(_sources) = filesystem(&dir, "ext4") else { return };
    let members = lost_array(&dir, "--level 5 --chunk 64K", 4, 18);
    let before = dir.fingerprints();
    is_first(&search(&dir, &members, ""), "raid5", "left-symmetric", 65536, &whole(&members));
    assert_eq!(dir.fingerprints(), before, "a member has changed");
    reads_the_same(&dir, &members);

    for missing in 0..4 {
        let rest: Vec<&str> =
            members.iter().copied().filter(|one| *one != members[missing]).collect();
        let mut expected = whole(&members);
        expected[missing] = None;
        is_first(&search(&dir, &rest, ""), "raid5", "left-symmetric", 65536, &expected);
    }
    reads_the_same(&dir, &members[..3]);

    fs::write(dir.path("e.img"), common::noise(18 * MIB as usize)).unwrap();
    let strange: Vec<&str> = members.iter().copied().chain(["e.img"]).collect();
    let answer = search(&dir, &strange, "");
    is_first(&answer, "raid5", "left-symmetric", 65536, &whole(&members));
    assert!(answer["left_out"][0]["why"].as_str().unwrap().starts_with("a stranger"), "{answer:#}");
}

#[test]
fn a_stale_member_is_told_from_the_current_one() {
    let dir = Dir::new();
    let Some(sources) = filesystem(&dir, "ext4") else { return };
    let members: Vec<&str> = NAMES[..4].to_vec();
    let list = members.join(" ");
    members.iter().for_each(|name| dir.sparse(name, 18 * MIB));
    dir.good(&format!("create --level 5 --chunk 64K --raid-devices 4 {list}"));
    dir.good(&format!("write {list} --input fs.img"));
    fs::copy(dir.path(members[1]), dir.path("e.img")).unwrap();
    // What was written since: a new file system with the same files, elsewhere.
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"])
        .arg(sources.path("tree"))
        .arg(dir.path("fs.img"))
        .status();
    assert!(made.unwrap().success());
    dir.good(&format!("write {list} --input fs.img"));
    dir.good(&format!("zero-superblock --yes {list} e.img"));
    // Beside the current one, and in its place.
    let beside: Vec<&str> = members.iter().copied().chain(["e.img"]).collect();
    is_first(&search(&dir, &beside, ""), "raid5", "left-symmetric", 65536, &whole(&members));
    let instead = [members[0], "e.img", members[2], members[3]];
    let mut expected = whole(&members);
    expected[1] = None;
    let answer = search(&dir, &instead, "");
    is_first(&answer, "raid5", "left-symmetric", 65536, &expected);
    assert_eq!(answer["left_out"][0]["member"], "e.img");
    reads_the_same(&dir, &instead);
}

#[test]
fn ext4_on_raid10_and_raid0_is_found() {
    let dir = Dir::new();
    let Some(_sources) = filesystem(&dir, "ext4") else { return };
    for (shape, layout) in [("", "near=2"), ("--layout f2", "far=2"), ("--layout o2", "offset=2")] {
        let members = lost_array(&dir, &format!("--level 10 --chunk 64K {shape}"), 4, 24);
        let answer = search(&dir, &members, "");
        let first = &answer["candidates"][0];
        assert_eq!((&answer["verdict"], &first["layout"]), (&"first".into(), &layout.into()));
        if layout == "near=2" {
            // Twins: which of them is first does not matter, and is not claimed.
            assert_eq!(first["interchangeable"], serde_json::json!([[0, 1], [2, 3]]));
        } else {
            assert_eq!(order(first), whole(&members), "{answer:#}");
        }
        reads_the_same(&dir, &members);
        reads_the_same(&dir, &members[1..]);
    }
    let members = lost_array(&dir, "--level 0 --chunk 32K", 3, 18);
    is_first(&search(&dir, &members, ""), "raid0", "", 32768, &whole(&members));
    reads_the_same(&dir, &members);
    fs::write(dir.path("e.img"), common::noise(18 * MIB as usize)).unwrap();
    let strange: Vec<&str> = members.iter().copied().chain(["e.img"]).collect();
    is_first(&search(&dir, &strange, ""), "raid0", "", 32768, &whole(&members));
    let run = dir.run(&format!("recover search {} {} --output gone.img", members[0], members[1]));
    assert_ne!(run.code, 0);
    assert!(!dir.path("gone.img").exists(), "a raid0 without a member is not read");
}

#[test]
fn xfs_is_found_on_every_level() {
    let dir = Dir::new();
    let Some(_sources) = filesystem(&dir, "xfs") else { return };
    for (shape, level, layout, count, mib) in [
        ("--level 5 --chunk 128K --layout ra", "raid5", "right-asymmetric", 4, 106),
        ("--level 6 --chunk 64K --layout la", "raid6", "left-asymmetric", 5, 106),
        ("--level 0 --chunk 128K", "raid0", "", 3, 106),
        ("--level 10 --chunk 128K --layout o2", "raid10", "offset=2", 4, 156),
    ] {
        let members = lost_array(&dir, shape, count, mib);
        let chunk = if shape.contains("128K") { 131_072 } else { 65536 };
        is_first(&search(&dir, &members, ""), level, layout, chunk, &whole(&members));
        reads_the_same(&dir, &members);
        if level != "raid0" {
            let mut expected = whole(&members);
            expected[0] = None;
            is_first(&search(&dir, &members[1..], ""), level, layout, chunk, &expected);
        }
    }
}

#[test]
fn what_the_bytes_cannot_tell_is_said_and_nothing_is_first() {
    let dir = Dir::new();
    let data = common::noise(30 * MIB as usize);
    fs::write(dir.path("fs.img"), data).unwrap();
    let members = lost_array(&dir, "--level 5 --chunk 64K", 4, 12);
    let answer = search(&dir, &members, "");
    assert_eq!(answer["verdict"], "nothing");
    assert_eq!(answer["candidates"], serde_json::json!([]));
    assert!(answer["known"][0].as_str().unwrap().contains("a raid4 or raid5 of 4"), "{answer:#}");
    assert!(answer["open"][0].as_str().unwrap().contains("all 24 orders"), "{answer:#}");
    let list = members.join(" ");
    dir.fails(&format!("recover search {list} --output out.img"), 2, &["no candidate is first"]);
    assert!(!dir.path("out.img").exists());
}

#[test]
fn wrong_usage_and_strangers_are_refused() {
    let dir = Dir::new();
    dir.members(2, MIB);
    dir.fails("recover search 0.img", 64, &["2"]);
    dir.fails("recover search 0.img 0.img", 4, &["0.img"]);
    dir.fails("recover search 0.img 1.img --output 1.img", 64, &["is one of the members"]);
    dir.fails("recover search 0.img none.img", 4, &["none.img"]);
    assert_eq!(dir.run("recover search 0.img 1.img").code, 2);
}
