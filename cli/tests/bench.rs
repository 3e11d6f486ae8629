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
fn parity_is_measured_for_every_engine_and_told_in_three_forms() {
    let dir = Dir::new();
    let sweep = "bench parity -n 3,4 -b 4K --op xor_gen,pq_check,rec_2data --rounds 1";
    let answer: serde_json::Value =
        serde_json::from_str(&dir.good(&format!("{sweep} --json --csv all.csv"))).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    let of = |op: &str, engine: &str| {
        rows.iter().filter(|row| row["op"] == op && row["engine"] == engine).count()
    };
    assert_eq!([of("xor_gen", "portable"), of("pq_check", "portable")], [2, 2]);
    assert_eq!(of("rec_2data", answer["chosen"].as_str().unwrap()), 2);
    for row in rows {
        let (best, median) = (&row["gb_per_s"], &row["median_gb_per_s"]);
        assert!(best.as_f64() >= median.as_f64() && median.as_f64() > Some(0.0), "{row}");
    }
    let limits = answer["limits"].as_object().unwrap();
    assert!(limits["l2_read_gb_per_s"].as_f64() > limits["dram_read_gb_per_s"].as_f64());
    let csv = std::fs::read_to_string(dir.path("all.csv")).unwrap();
    assert_eq!(csv.lines().count(), rows.len() + 1);
    let told = dir.good(&format!("{sweep} --engine portable --threads 1,2"));
    assert!(told.contains("one core reads from L1") && told.contains("N=4"), "{told}");
    assert_eq!(told.lines().filter(|line| line.contains("portable")).count(), 3 * 2, "{told}");
}

#[test]
fn an_engine_nobody_has_is_refused_by_name() {
    let dir = Dir::new();
    dir.fails("bench parity --engine mmx", 64, &["mmx", "portable"]);
    dir.fails("bench parity --op xor_guess", 64, &["xor_guess", "pq_update"]);
    dir.fails("bench parity --members 1", 64, &["--members"]);
    dir.fails("bench parity --cold 1T", 64, &["at most 8 GiB"]);
    let mut forced = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
    forced.env("HOLDFAST_PARITY", "mmx").args("map --level 5 -n 3 -c 64K 0".split(' '));
    let run = forced.output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(64), "{said}");
    assert!(said.contains("HOLDFAST_PARITY=mmx") && said.contains("portable"), "{said}");
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
