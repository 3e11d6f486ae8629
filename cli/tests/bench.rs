//! `holdfast bench` from outside: answers that repeat, files that are nobody's afterwards, wrong
//! usage by name, and the homework's lines.

mod common;

use common::{Dir, MIB};

/// A sweep over modelled members that takes no time.
const SMALL: &str = "bench stripe --level 5,1 --chunk 16K,256K --request 4K --depth 1,8 --runs 2 \
                     --requests 30";

#[test]
fn a_modelled_sweep_repeats_to_the_byte() {
    let dir = Dir::new();
    for model in ["hdd", "ssd", "nvme"] {
        let line =
            format!("--json {SMALL} --model {model} -n 3 --csv {model}.csv --html {model}.html");
        let first = dir.good(&line);
        let files = [format!("{model}.csv"), format!("{model}.html")];
        let written = files.clone().map(|name| std::fs::read(dir.path(&name)).unwrap());
        assert_eq!(first, dir.good(&line), "{model}");
        assert_eq!(written, files.map(|name| std::fs::read(dir.path(&name)).unwrap()));
        let answer: serde_json::Value = serde_json::from_str(&first).unwrap();
        // raid1 has no chunks: five patterns and two depths, once; raid5 twice that.
        assert_eq!(answer["cells"].as_array().unwrap().len(), 30);
        assert_eq!(answer["complete"], true);
        let csv = String::from_utf8(written[0].clone()).unwrap();
        assert_eq!(csv.lines().count(), 31);
        let columns = csv.lines().next().unwrap().split(',').count();
        assert!(csv.lines().all(|line| line.split(',').count() == columns));
    }
}

#[test]
fn a_sweep_ends_with_advice_and_the_lines_for_mkfs() {
    let dir = Dir::new();
    let told = dir.good(&format!("{SMALL} --model hdd -n 4"));
    assert!(told.contains("raid5 of 4:"), "{told}");
    assert!(told.contains("mkfs.ext4 -E stride=") && told.contains("mkfs.xfs -d su="), "{told}");
}

#[test]
fn real_members_are_measured_and_left_empty() {
    let dir = Dir::new();
    let sweep = "bench stripe --json --level 5 --chunk 64K --request 4K,128K --depth 4 --runs 1 \
                 --requests 40";
    for io in ["uring", "threads"] {
        let answer = dir.good(&format!("{sweep} --io {io} --dir . --member-size 16M -n 3"));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let cells = answer["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 10);
        assert!(cells.iter().all(|cell| cell["cpu_ns_per_byte"].as_f64().unwrap() > 0.0));
        let left = std::fs::read_dir(dir.path(".")).unwrap().count();
        assert_eq!(left, 0, "the members made are gone");
    }
    dir.members(3, 16 * MIB);
    dir.good(&format!("{sweep} --yes 0.img 1.img 2.img"));
    dir.ends("examine 0.img 1.img 2.img", 2);
}

#[test]
fn members_that_carry_something_are_refused() {
    let dir = Dir::new();
    dir.members(3, 16 * MIB);
    dir.good("create -l5 -n3 0.img 1.img 2.img");
    let before = std::fs::read(dir.path("0.img")).unwrap();
    let run = dir.run("bench stripe --level 5 --yes 0.img 1.img 2.img");
    assert_eq!(run.code, 4, "{}", run.err);
    assert!(run.err.contains("carries") && run.err.contains("--force"), "{}", run.err);
    assert!(std::fs::read(dir.path("0.img")).unwrap() == before);
}

#[test]
fn wrong_usage_is_named() {
    let dir = Dir::new();
    for (line, word) in [
        ("stripe", "required"),
        ("stripe --model tape", "tape"),
        ("stripe --model hdd --dir .", "cannot be used with"),
        ("stripe --model hdd --level 6 -n 3", "raid6 takes 4"),
        ("stripe --model hdd -n 100000", "not 100000"),
        ("stripe --model hdd --chunk 3K", "power of two"),
        ("stripe --model hdd --request 100", "whole sectors"),
        ("stripe --model hdd --request 1T", "up to"),
        ("stripe --model hdd --depth 0", "--depth 0"),
        ("stripe --model hdd --level 0 --lost 1", "can spare no member"),
        ("stripe --model hdd --runs 0", "--runs"),
        ("stripe --dir . --member-size 1M", "at least 16 MiB"),
        ("ostep -L 6", "--level 6"),
        ("ostep -L 1 -D 3", "no pairs"),
        ("ostep -C 5000", "whole blocks"),
        ("ostep -n 4000000000", "at most"),
    ] {
        let run = dir.run(&format!("bench {line}"));
        assert_eq!(run.code, 64, "{line}: {}", run.err);
        assert!(run.err.contains(word), "{line}: {}", run.err);
    }
}

#[test]
fn the_homework_reads_as_in_the_book() {
    let dir = Dir::new();
    let solved = dir.good("bench ostep -n 2 -R 20 -L 5 -w 100 -c");
    let expected = "\
LOGICAL WRITE to  addr:16 size:4096
  read  [disk 0, offset 5]    read  [disk 2, offset 5]
  write [disk 0, offset 5]    write [disk 2, offset 5]

LOGICAL WRITE to  addr:8 size:4096
  read  [disk 0, offset 2]    read  [disk 1, offset 2]
  write [disk 0, offset 2]    write [disk 1, offset 2]

";
    assert_eq!(solved, expected);
    let asked = dir.good("bench ostep -n 1 -R 20");
    assert_eq!(asked, "LOGICAL READ from addr:16 size:4096\n  Physical reads/writes?\n\n");
    let reverse = dir.good("bench ostep --numRequests 1 --randRange 20 --reverse");
    assert_eq!(reverse, "LOGICAL OPERATION is ?\n  read  [disk 0, offset 4]\n\n");
    let timed = dir.good("bench ostep -t -c -n 100 -L 4");
    assert!(timed.ends_with("total time 386.1 ms\n"), "{timed}");
    let json: serde_json::Value =
        serde_json::from_str(&dir.good("bench ostep --json -n 3")).unwrap();
    assert_eq!(json["requests"].as_array().unwrap().len(), 3);
}
