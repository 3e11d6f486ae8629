//! Every verb on real files, from end to end.

mod common;

use std::fs;

use common::{Dir, MIB, noise, sha256};

/// A made array of `count` members with noise all over it; the noise.
fn filled(dir: &Dir, create: &str, count: usize) -> Vec<u8> {
    dir.members(count, 4 * MIB);
    dir.good(create);
    let bytes =
        dir.json(&format!("detail --json {}", members(count)))["array_bytes"].as_u64().unwrap();
    let data = dir.data("data", bytes as usize);
    dir.good(&format!("write --input data {}", members(count)));
    data
}

fn members(count: usize) -> String {
    (0..count).map(|index| format!("{index}.img ")).collect()
}

/// Every level and a few layouts, with members to make them of.
const SHAPES: [(&str, usize, &str); 16] = [
    ("linear", 3, ""),
    ("0", 3, "-c 64"),
    ("1", 2, ""),
    ("1", 3, "-e 1.0"),
    ("4", 3, "-c 64"),
    ("5", 3, "-c 64"),
    ("5", 4, "-c 4 --layout right-asymmetric -e 1.1"),
    ("5", 4, "-c 64 --layout parity-first --bitmap internal --bitmap-chunk 64K"),
    ("6", 4, "-c 64"),
    ("6", 5, "-c 32 --layout ddf-N-continue"),
    ("6", 5, "-c 64 --layout left-symmetric-6"),
    ("10", 4, "-c 64"),
    ("10", 3, "-c 64"),
    ("10", 4, "-c 64 --layout f2"),
    ("10", 3, "-c 64 --layout o2"),
    ("10", 4, "-c 64 --layout 0x202 --bitmap internal --bitmap-chunk 64K"),
];

#[test]
fn what_is_written_is_read_at_every_level() {
    for (level, count, more) in SHAPES {
        let dir = Dir::new();
        let data =
            filled(&dir, &format!("create -l{level} -n{count} {more} {}", members(count)), count);
        let before = dir.fingerprints();
        let run = dir.run(&format!("read {}", members(count)));
        assert_eq!((run.code, sha256(&run.out)), (0, sha256(&data)), "{level} {more}: {}", run.err);
        assert_eq!(dir.fingerprints(), before, "{level} {more}: reading wrote something");
        if !["linear", "0"].contains(&level) {
            dir.good(&format!("check {}", members(count)));
        }
    }
}

#[test]
fn any_one_loss_is_survived_at_every_redundant_level() {
    for (level, count, more) in
        SHAPES.into_iter().filter(|(level, ..)| !["linear", "0"].contains(level))
    {
        let dir = Dir::new();
        let data =
            filled(&dir, &format!("create -l{level} -n{count} {more} {}", members(count)), count);
        for lost in 0..count {
            let rest = members(count).replace(&format!("{lost}.img "), "");
            let run = dir.run(&format!("read {rest}"));
            assert_eq!(
                sha256(&run.out),
                sha256(&data),
                "{level} {more} without {lost}: {}",
                run.err
            );
        }
    }
}

#[test]
fn members_come_in_any_order() {
    let dir = Dir::new();
    let data = filled(&dir, "create -l6 -n4 -c64 0.img 1.img 2.img 3.img", 4);
    let run = dir.run("read 3.img 1.img 0.img 2.img");
    assert_eq!(sha256(&run.out), sha256(&data));
}

#[test]
fn parts_of_an_array_are_read_and_written_at_any_byte() {
    let dir = Dir::new();
    let mut data = filled(&dir, "create -l5 -n3 -c64 0.img 1.img 2.img", 3);
    for (offset, length) in
        [(0, 1), (1, 511), (511, 2), (4095, 8194), (65_535, 70_000), (data.len() - 3, 3), (1000, 0)]
    {
        let fresh: Vec<u8> = noise(length + 7)[7..].to_vec();
        data[offset..offset + length].copy_from_slice(&fresh);
        let line = format!("write --offset {offset} {}", members(3));
        dir.run_with(&line, &fresh).ends(&line, 0);
        let run = dir.run(&format!("read --offset {offset} --length {length} {}", members(3)));
        assert!(run.out == fresh, "{offset} {length}: {}", run.err);
    }
    let run = dir.run(&format!("read {}", members(3)));
    assert_eq!(sha256(&run.out), sha256(&data), "the neighbours are as they were");
    dir.good("check 0.img 1.img 2.img");
}

#[test]
fn what_does_not_fit_is_not_written() {
    let dir = Dir::new();
    filled(&dir, "create -l1 -n2 0.img 1.img", 2);
    let before = dir.fingerprints();
    dir.fails("write --offset 1 --input data 0.img 1.img", 4, &["has room", "nothing was written"]);
    dir.fails("write --offset 1T --input data 0.img 1.img", 64, &["the array ends"]);
    dir.fails("read --offset 1T 0.img 1.img", 64, &["the array ends"]);
    assert_eq!(dir.fingerprints(), before);
    let end = fs::metadata(dir.path("data")).unwrap().len() - 10;
    let line = format!("write --offset {end} 0.img 1.img");
    let run = dir.run_with(&line, &noise(100));
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("the array is full"), "{run:?}");
}

#[test]
fn a_file_is_written_sparsely_and_never_over_a_member() {
    use std::os::unix::fs::MetadataExt;
    let dir = Dir::new();
    dir.members(2, 64 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.run_with("write --offset 1M 0.img 1.img", b"here").ends("write", 0);
    dir.good("read --output copy 0.img 1.img");
    let copy = fs::metadata(dir.path("copy")).unwrap();
    assert!(copy.len() > 60 * MIB && copy.blocks() * 512 < MIB, "{} blocks", copy.blocks());
    let before = dir.fingerprints();
    fs::hard_link(dir.path("0.img"), dir.path("alias")).unwrap();
    for output in ["1.img", "./0.img", "alias"] {
        dir.fails(&format!("read --output {output} 0.img 1.img"), 64, &["is a member"]);
    }
    fs::remove_file(dir.path("alias")).unwrap();
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn a_member_fails_is_replaced_and_comes_back() {
    let dir = Dir::new();
    let data = filled(&dir, "create -l5 -n3 -c64 0.img 1.img 2.img", 3);
    dir.sparse("new.img", 4 * MIB);
    let text = dir.good("fail --member slot:1 0.img 1.img 2.img");
    assert!(text.contains("1.img (slot 1) is faulty") && text.contains("holdfast add"), "{text}");
    dir.fails("fail --member 0.img 0.img 1.img 2.img", 4, &["cannot spare slot 0"]);
    dir.fails("remove --member 0.img 0.img 1.img 2.img", 4, &["in use"]);
    dir.good("remove --member 1.img 0.img 1.img 2.img");
    let text = dir.good("add --member new.img 0.img 2.img");
    assert!(text.contains("holdfast rebuild"), "{text}");
    dir.ends("detail 0.img 2.img new.img", 1);
    dir.good("rebuild 0.img 2.img new.img");
    dir.ends("detail 0.img 2.img new.img", 0);
    dir.good("check 0.img 2.img new.img");
    let run = dir.run("read new.img 2.img");
    assert_eq!(sha256(&run.out), sha256(&data), "{}", run.err);
    dir.fails("add --member 1.img 0.img 2.img new.img", 4, &["1.img carries md superblock 1.2"]);
    dir.good("zero-superblock 1.img");
    dir.good("add --member 1.img 0.img 2.img new.img");
    let detail = dir.json("detail --json 0.img 1.img 2.img new.img");
    assert_eq!(detail["members"][1]["state"], "spare");
}

#[test]
fn a_spare_takes_over_at_rebuild() {
    let dir = Dir::new();
    dir.members(4, 4 * MIB);
    dir.good("create -l5 -n3 -x1 -c64 0.img 1.img 2.img 3.img");
    dir.good("fail --member 0.img 0.img 1.img 2.img 3.img");
    let text = dir.ends("rebuild --dry-run 0.img 1.img 2.img 3.img", 0);
    assert!(text.contains("would be done: recovery onto 1"), "{text}");
    dir.good("rebuild 0.img 1.img 2.img 3.img");
    let detail = dir.json("detail --json 0.img 1.img 2.img 3.img");
    assert_eq!((&detail["state"], &detail["members"][3]["slot"]), (&"clean".into(), &0.into()));
}

#[test]
fn create_ends_in_sync_whatever_the_members_held() {
    for (level, count) in [("1", 2), ("5", 3), ("6", 4), ("10", 4)] {
        let dir = Dir::new();
        for index in 0..count {
            let mut data = noise(4 * MIB as usize + index);
            data.drain(..index);
            fs::write(dir.path(&format!("{index}.img")), data).unwrap();
        }
        let members = members(count);
        dir.good(&format!("create -l{level} -n{count} {members}"));
        dir.good(&format!("check {members}"));
        assert_eq!(dir.json(&format!("detail --json {members}"))["state"], "clean", "{level}");
    }
}

#[test]
fn create_refuses_what_carries_something() {
    let dir = Dir::new();
    dir.members(2, 4 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let before = dir.fingerprints();
    dir.fails("create -l1 -n2 0.img 1.img", 4, &["0.img carries md superblock 1.2", "--force"]);
    dir.fails("create -l1 -n2 0.img 0.img", 4, &["same storage"]);
    dir.good("create --dry-run --force -l1 -n2 0.img 1.img");
    assert_eq!(dir.fingerprints(), before);
    dir.good("create --force --in-place -l0 -n2 0.img 1.img");
}

#[test]
fn create_leaves_a_slot_empty_when_asked() {
    let dir = Dir::new();
    dir.members(2, 4 * MIB);
    dir.good("create -l5 -n3 -c64 0.img missing 1.img");
    let detail = dir.json("detail --json 0.img 1.img");
    assert_eq!(detail["missing_slots"], serde_json::json!([1]));
    assert_eq!(detail["state"], "clean, degraded");
}

#[test]
fn dry_runs_write_nothing() {
    let dir = Dir::new();
    filled(&dir, "create -l5 -n3 -c64 0.img 1.img 2.img", 3);
    dir.sparse("new.img", 4 * MIB);
    dir.poke("0.img", MIB, b"rot");
    let before = dir.fingerprints();
    for (line, code) in [
        ("write --dry-run --input data 0.img 1.img 2.img", 0),
        ("repair --dry-run 0.img 1.img 2.img", 3),
        ("rebuild --dry-run 0.img 1.img 2.img", 0),
        ("fail --dry-run --member 0.img 0.img 1.img 2.img", 0),
        ("add --dry-run --member new.img 0.img 1.img 2.img", 0),
        ("zero-superblock --dry-run 0.img 1.img 2.img", 0),
        ("create --dry-run --force -l1 -n2 0.img 1.img", 0),
        ("plan -l1 -n2 0.img 1.img", 0),
    ] {
        dir.ends(line, code);
        assert_eq!(dir.fingerprints(), before, "{line}");
    }
}

#[test]
fn raid6_names_the_member_that_is_wrong_and_mends_it() {
    let dir = Dir::new();
    let data = filled(&dir, "create -l6 -n5 -c64 0.img 1.img 2.img 3.img 4.img", 5);
    dir.poke("3.img", MIB + 70_000, b"rot");
    let text = dir.ends("check --locate 0.img 1.img 2.img 3.img 4.img", 3);
    assert!(text.contains("P and Q agree that slot 3 (3.img) is wrong"), "{text}");
    dir.ends("repair --locate 0.img 1.img 2.img 3.img 4.img", 3);
    dir.ends("check 0.img 1.img 2.img 3.img 4.img", 0);
    let run = dir.run("read 0.img 1.img 2.img 3.img 4.img");
    assert_eq!(sha256(&run.out), sha256(&data));
    dir.sparse("5.img", 4 * MIB);
    dir.sparse("6.img", 4 * MIB);
    dir.good("create -l1 -n2 5.img 6.img");
    dir.fails("check --locate 5.img 6.img", 64, &["only raid6 can"]);
}

#[test]
fn what_points_at_no_one_member_is_not_called_mended() {
    let dir = Dir::new();
    filled(&dir, "create -l6 -n5 -c64 0.img 1.img 2.img 3.img 4.img", 5);
    for name in ["0.img", "1.img", "2.img"] {
        dir.poke(name, MIB + 70_000, format!("rot of {name}").as_bytes());
    }
    let run = dir.run("repair --locate 0.img 1.img 2.img 3.img 4.img");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("0 of 1 differences have been rewritten; 1 point at no"), "{run:?}");
    let answer = dir.json("check --json --locate 0.img 1.img 2.img 3.img 4.img");
    let count = |key: &str| answer[key].as_u64().unwrap();
    assert_eq!((count("mismatches_located"), count("mismatches_not_located")), (0, 1));
    let run = dir.run("repair 0.img 1.img 2.img 3.img 4.img");
    assert!(run.code == 3 && run.err.contains("what differed has been rewritten"), "{run:?}");
    dir.good("check 0.img 1.img 2.img 3.img 4.img");
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let dir = Dir::new();
    filled(&dir, "create -l1 -n2 0.img 1.img", 2);
    let bin = env!("CARGO_BIN_EXE_holdfast");
    let members = "0.img 1.img";
    for line in [
        format!("examine {members}"),
        format!("detail --json {members}"),
        format!("read {members}"),
        format!("write --input data {members}"),
        "map -l5 -n3 -c64 0".to_owned(),
        "completions bash".to_owned(),
        "--help".to_owned(),
    ] {
        let shell = std::process::Command::new("sh")
            .args(["-c", &format!("{bin} {line} > /dev/full")])
            .current_dir(dir.path("."))
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&shell.stderr);
        assert_eq!(shell.status.code(), Some(4), "{line}: {complaint}");
        assert!(complaint.contains("cannot be written"), "{line}: {complaint}");
    }
}

#[test]
fn zeros_and_ends_mean_what_they_say() {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create --size 0 -l5 -n3 -c64 0.img 1.img 2.img");
    let detail = dir.json("detail --json 0.img 1.img 2.img");
    assert_eq!(detail["member_data_bytes"].as_u64(), Some(3 * MIB));
    dir.fails("plan --size 0 -l5 -n3", 64, &["name the members"]);
    let text = dir.good("write 0.img 1.img 2.img");
    assert!(text.contains("wrote nothing"), "{text}");
    let text = dir.good("plan -l5 -n3 --size 2T");
    assert!(text.contains("(0.01 % of"), "{text}");
    for shape in ["-l5 -n3 -c64", "-l1 -n2", "-l10 -n8 -c64", "-l0 -n300 -c64"] {
        let line = format!("map {shape} {}", u64::MAX);
        dir.fails(&line, 64, &["beyond every array", "9223372036854775807"]);
        dir.good(&format!("map {shape} {}", i64::MAX));
    }
    dir.good(&format!("map -l0 -n8 -c64 --size 15E {}", i64::MAX));
}

#[test]
fn a_dirty_degraded_array_asks_for_force_and_says_what_is_at_risk() {
    let dir = Dir::new();
    filled(&dir, "create -l5 -n3 -c64 0.img 1.img 2.img", 3);
    for name in ["0.img", "1.img", "2.img"] {
        dir.bend(name, |block| block[208..216].fill(0));
    }
    let before = dir.fingerprints();
    for verb in ["read --output copy", "write --input data", "detail", "rebuild"] {
        dir.fails(&format!("{verb} 0.img 1.img"), 2, &["not stopped cleanly", "bytes", "--force"]);
    }
    assert_eq!(dir.fingerprints(), before);
    let run = dir.run("examine 0.img 1.img");
    let text = String::from_utf8_lossy(&run.out);
    assert_eq!(run.code, 2, "{text}");
    assert!(text.contains("not usable") && text.contains("--force"), "{text}");
    assert_eq!(dir.json("examine --json 0.img 1.img")["arrays"][0]["state"], "unusable");
    dir.ends("examine 0.img 1.img 2.img", 0);
    let run = dir.run("read --force --output copy 0.img 1.img");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("forced: the array was not stopped cleanly"), "{}", run.err);
    let detail = dir.json("detail --json --force 0.img 1.img");
    assert!(detail["at_risk_bytes"].as_u64().unwrap() > 0, "{detail}");
    assert_eq!(dir.json("detail --json 0.img 1.img 2.img").get("at_risk_bytes"), None);
    assert_eq!(dir.json("detail --json 0.img 1.img 2.img")["sync"]["action"], "resync");
    dir.good("rebuild 0.img 1.img 2.img");
    assert_eq!(dir.json("detail --json 0.img 1.img 2.img")["sync"], serde_json::Value::Null);
}

#[test]
fn stale_members_and_strangers_are_named_and_left_out() {
    let dir = Dir::new();
    let data = filled(&dir, "create -l1 -n3 0.img 1.img 2.img", 3);
    dir.good("fail --member 2.img 0.img 1.img 2.img");
    dir.data("fresh", 4096);
    dir.good("write --input fresh 0.img 1.img 2.img");
    dir.sparse("stranger.img", 4 * MIB);
    let run = dir.run("read stranger.img 2.img 0.img 1.img");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.out[4096..], data[4096..]);
    assert!(run.err.contains("stranger.img: left out: no md superblock"), "{}", run.err);
    assert!(run.err.contains("2.img: left out"), "{}", run.err);
}

#[test]
fn examine_groups_what_it_finds_in_a_directory() {
    let dir = Dir::new();
    dir.members(4, 4 * MIB);
    dir.good("create -l1 -n2 -N left 0.img 1.img");
    dir.good("create -l0 -n2 -N right 2.img 3.img");
    dir.data("readme", 100);
    let answer = dir.json("examine --json --scan .");
    let names: Vec<&str> = answer["arrays"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|array| array["name"].as_str())
        .collect();
    assert_eq!(names, ["left", "right"]);
    dir.fails("detail 0.img 1.img 2.img 3.img", 2, &["2 arrays", "--uuid"]);
    let uuid = answer["arrays"][1]["uuid"].as_str().unwrap();
    let detail = dir.json(&format!("detail --json --uuid {uuid} 0.img 1.img 2.img 3.img"));
    assert_eq!(detail["name"], "right");
}

#[test]
fn map_and_plan_answer_without_an_array() {
    let dir = Dir::new();
    let text = dir.good("map -l5 --layout left-symmetric -n4 --chunk 64K 1MiB");
    assert!(text.contains("chunk 16 -> stripe 5: data on slot 0 sector 640"), "{text}");
    assert!(text.contains("P on slot 2"), "{text}");
    let plan = dir.json("plan --json -l5 -n4 -c64 --size 1G");
    assert_eq!(plan["array_bytes"].as_u64(), Some(3 << 30));
    assert_eq!(plan["losses"][0]["fatal_sets"], 0);
    assert_eq!(plan["losses"][1]["fatal_sets"], 6);
    for level in ["linear", "0", "1", "4", "6", "10"] {
        for (size, bytes) in [("1G", 1 << 30), ("10T", 10 << 40)] {
            let plan = dir.json(&format!("plan --json -l{level} -n4 --size {size}"));
            assert!(plan["array_bytes"].as_u64().unwrap() >= bytes, "{level}: {plan}");
        }
    }
}

#[test]
fn a_plan_is_what_create_makes() {
    let dir = Dir::new();
    dir.members(3, 40 * MIB);
    let plan = dir.json("plan --json -l5 -n3 -c64 0.img 1.img 2.img");
    dir.good("create -l5 -n3 -c64 0.img 1.img 2.img");
    let detail = dir.json("detail --json 0.img 1.img 2.img");
    for key in ["array_bytes", "member_data_bytes", "chunk_bytes", "level", "layout_number"] {
        assert_eq!(plan[key], detail[key], "{key}");
    }
}

#[test]
fn detail_has_the_keys_scripts_rely_on() {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    let uuid = "00112233:44556677:8899aabb:ccddeeff";
    dir.good(&format!("create -l5 -n3 -c64 -N lab:demo --uuid {uuid} 0.img 1.img 2.img"));
    let detail = dir.json("detail --json 0.img 1.img 2.img");
    let expected = serde_json::json!({
        "schema": "holdfast/1", "uuid": uuid, "name": "lab:demo", "level": "raid5",
        "layout": "left-symmetric", "layout_number": 2, "chunk_bytes": 65536,
        "array_bytes": 2 * 3 * MIB, "member_data_bytes": 3 * MIB, "raid_devices": 3,
        "state": "clean", "sync": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&detail[key], value, "{key}");
    }
    for key in [
        "path",
        "slot",
        "dev_number",
        "role",
        "state",
        "events",
        "data_offset_bytes",
        "recovery_offset_bytes",
        "device_uuid",
        "why",
    ] {
        assert!(detail["members"][0].get(key).is_some(), "{key}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let dir = Dir::new();
    filled(&dir, "create -l1 -n2 0.img 1.img", 2);
    let bin = env!("CARGO_BIN_EXE_holdfast");
    for (verb, left) in [("read", "16"), ("examine --verbose", "16"), ("--help", "1")] {
        let members = if verb == "--help" { "" } else { "0.img 1.img" };
        let script =
            format!("{bin} {verb} {members} 2>stderr | head -c {left} >/dev/null; cat stderr");
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(dir.path("."))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shell.stdout).into_owned();
        assert!(text.is_empty(), "{verb}: {text}");
    }
}

#[test]
fn write_mostly_is_remembered() {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create -l1 -n2 0.img --write-mostly 1.img");
    dir.good("add --write-mostly --member 2.img 0.img 1.img");
    let detail = dir.json("detail --json 0.img 1.img 2.img");
    let flags: Vec<bool> =
        (0..3).map(|index| detail["members"][index]["write_mostly"].as_bool().unwrap()).collect();
    assert_eq!(flags, [false, true, true]);
    assert!(dir.good("mdstat 0.img 1.img 2.img").contains("1.img[1](W)"));
}

#[test]
fn the_fault_table_is_filled_in_and_agrees() {
    let dir = Dir::new();
    let answer = dir.json("sim table --faults --json");
    assert_eq!(answer["agrees"], true);
    let cells = answer["faults"].as_array().unwrap();
    let seen = |fault: &str, column: &str| {
        let is = |cell: &&serde_json::Value| cell["fault"] == fault && cell["column"] == column;
        cells.iter().find(is).unwrap()["seen"].clone()
    };
    assert_eq!(seen("silent corruption, read", "raid5"), "silent");
    assert_eq!(seen("silent corruption, read", "raid5+version"), "heal");
    assert_eq!(seen("power cut, one gone, journal", "raid5"), "later");
    let text = dir.good("sim table --faults");
    assert!(text.contains("every cell is what the fault model says"), "{text}");
}

#[test]
fn sets_of_lost_disks_and_images_of_power_cuts_are_counted_and_agree() {
    let dir = Dir::new();
    let text = dir.good("sim table --losses --images");
    for line in [
        "raid10 near       4 of 28   24 of 56  54 of 70  56 of 56",
        "raid5, two chunks and P    8       2           6                      later",
        "every cell is what the fault model says",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn colliding_copies_are_refused_before_anything_is_written() {
    let dir = Dir::new();
    dir.members(5, 8 * MIB);
    let members = "0.img 1.img 2.img 3.img 4.img";
    for line in [
        "plan -l10 -n5 --layout 0x10202 --size 1G".to_owned(),
        format!("create -l10 -n5 --layout 0x10202 {members}"),
    ] {
        let run = dir.run(&line);
        assert_eq!(run.code, 64, "{line}: {run:?}");
        assert!(run.err.contains("two chunks in one place"), "{line}: {}", run.err);
    }
    dir.good(&format!("create -l10 -n5 --layout n2 {members}"));
}

#[test]
fn a_pass_goes_no_faster_than_it_may() {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.good("fail --member slot:1 0.img 1.img");
    dir.good("remove --member 1.img 0.img 1.img");
    dir.good("add --member 2.img 0.img");
    let began = std::time::Instant::now();
    dir.good("rebuild --speed-max 4M 0.img 2.img");
    // 3 MiB of data; the last window is not waited for
    assert!(began.elapsed().as_millis() >= 250, "{:?}", began.elapsed());
    for (line, word) in [
        ("rebuild --speed-max 0 0.img 2.img", "never ends"),
        ("read --member-deadline soon 0.img 2.img", "500ms"),
        ("write --late-write fail 0.img 2.img", "--member-deadline"),
    ] {
        let run = dir.run(line);
        assert_eq!(run.code, 64, "{line}: {run:?}");
        assert!(run.err.contains(word), "{line}: {}", run.err);
    }
    dir.good("read --member-deadline 5s --max-read-errors 1 --output copy 0.img 2.img");
}
