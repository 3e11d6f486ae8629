//! The exit codes, one test per row of the table in `holdfast --help`.

mod common;

use common::{Dir, MIB};

/// raid5 of three members with data on it.
fn raid5() -> Dir {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create -l5 -n3 -c64 0.img 1.img 2.img");
    dir.data("data", 1 << 20);
    dir.good("write --input data 0.img 1.img 2.img");
    dir
}

/// Makes data and parity differ in one place.
fn spoil(dir: &Dir) {
    let data_offset = MIB;
    dir.poke("0.img", data_offset + 5000, b"rot");
}

#[test]
fn reporting_0_good() {
    let dir = raid5();
    for verb in ["examine", "detail", "mdstat", "check"] {
        dir.ends(&format!("{verb} 0.img 1.img 2.img"), 0);
    }
}

#[test]
fn reporting_1_degraded() {
    let dir = raid5();
    for verb in ["examine", "detail", "mdstat", "check"] {
        dir.ends(&format!("{verb} 0.img 2.img"), 1);
    }
}

#[test]
fn reporting_2_unusable() {
    let dir = raid5();
    for verb in ["examine", "detail", "mdstat", "check"] {
        dir.ends(&format!("{verb} 1.img"), 2);
    }
}

#[test]
fn reporting_3_mismatch_found() {
    let dir = raid5();
    spoil(&dir);
    let text = dir.ends("check 0.img 1.img 2.img", 3);
    assert!(text.contains("1 difference, 8 sectors by md's count"), "{text}");
}

#[test]
fn reporting_4_error() {
    let dir = raid5();
    for verb in ["examine", "detail", "mdstat", "check"] {
        dir.fails(&format!("{verb} 0.img 1.img nowhere.img"), 4, &["nowhere.img", "no such file"]);
    }
}

#[test]
fn doing_0_done_in_full() {
    let dir = raid5();
    dir.ends("read --output copy 0.img 1.img 2.img", 0);
    dir.ends("repair 0.img 1.img 2.img", 0);
    dir.ends("rebuild 0.img 1.img 2.img", 0);
}

#[test]
fn doing_0_also_on_a_degraded_array() {
    let dir = raid5();
    dir.ends("read --output copy 0.img 2.img", 0);
    dir.ends("write --input data 0.img 2.img", 0);
}

#[test]
fn doing_2_the_array_cannot_be_used() {
    let dir = raid5();
    dir.ends("read --output copy 1.img", 2);
    dir.ends("write --input data 1.img", 2);
    dir.ends("rebuild 1.img", 2);
}

#[test]
fn doing_3_done_but_something_differed() {
    let dir = raid5();
    spoil(&dir);
    dir.ends("repair 0.img 1.img 2.img", 3);
    dir.ends("check 0.img 1.img 2.img", 0);
}

#[test]
fn doing_3_done_but_something_is_lost() {
    let dir = unreadable_mirror();
    let answer = dir.json("read --json --keep-going --output copy 0.img 1.img");
    let lost = &answer["unreadable"][0];
    assert_eq!(
        (lost["offset_bytes"].as_u64(), lost["length_bytes"].as_u64()),
        (Some(8192), Some(4096))
    );
    dir.ends("read --keep-going --output copy 0.img 1.img", 3);
    dir.ends("check 0.img 1.img", 3);
    let answer = dir.json("check --json 0.img 1.img");
    let lost = &answer["unreadable"][0];
    let end = lost["offset_bytes"].as_u64().unwrap() + lost["length_bytes"].as_u64().unwrap();
    assert!(lost["offset_bytes"].as_u64() <= Some(8192) && end >= 12288, "{answer}");
}

#[test]
fn doing_4_error() {
    let dir = unreadable_mirror();
    let complaints = ["bytes 8192..12287", "0.img", "1.img", "--keep-going"];
    dir.fails("read --output copy 0.img 1.img", 4, &complaints);
    dir.fails("read --output /nowhere/copy 0.img 1.img", 4, &["/nowhere/copy"]);
}

#[test]
fn usage_64() {
    let dir = raid5();
    for line in [
        "",
        "frobnicate",
        "read",
        "create -l5 0.img",
        "create -l9 -n2 0.img 1.img",
        "check --nonsense 0.img",
    ] {
        let run = dir.run(line);
        assert_eq!(run.code, 64, "{line}: {run:?}");
    }
    dir.fails("create -l5 -n3 0.img", 64, &["3 slots"]);
    dir.fails("read --json", 64, &["\"schema\": \"holdfast/1\"", "\"exit_code\": 64"]);
}

#[test]
fn help_and_version_are_no_mistakes() {
    let dir = Dir::new();
    dir.ends("--help", 0);
    dir.ends("create --help", 0);
    dir.ends("--version", 0);
}

/// A mirror both of whose members list the same 8 sectors as bad.
fn unreadable_mirror() -> Dir {
    let dir = Dir::new();
    dir.members(2, 4 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.data("data", 1 << 20);
    dir.good("write --input data 0.img 1.img");
    for name in ["0.img", "1.img"] {
        // 8 sectors from array byte 8192 on; the log counts from the start of the device.
        let first = (MIB + 8192) / 512;
        let log = 4096 + 16 * 512;
        dir.poke(name, log, &[0xff; 4096]);
        dir.poke(name, log, &(first << 10 | 8).to_le_bytes());
        dir.bend(name, |block| block[8] |= 8);
    }
    dir
}
