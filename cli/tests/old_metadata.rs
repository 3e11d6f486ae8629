//! Metadata 0.90: shown, read and left alone. The arrays are made as 1.0, whose data starts at
//! sector 0 as well, and given the older superblock in both byte orders.

mod common;

use std::process::Command;

use common::{Dir, MIB, has_program, skipped};

const MAGIC: u32 = 0xa92b_4efc;
/// Members of 8 MiB: the superblock is 64 KiB before the end.
const PLACE: u64 = 8 * MIB - 65_536;
const SIZE_KIB: u32 = 7 * 1024;

/// What the older superblock of one member is to say.
#[derive(Clone, Copy)]
struct Old {
    level: u32,
    chunk_bytes: u32,
    slots: u32,
    number: u32,
    events: u32,
    clean: bool,
    big_endian: bool,
}

impl Old {
    fn bytes(self) -> Vec<u8> {
        let mut words = vec![0u32; 1024];
        let facts = [
            (0, MAGIC),
            (2, 90),
            (5, 0x0011_2233),
            (13, 0x4455_6677),
            (14, 0x8899_aabb),
            (15, 0xccdd_eeff),
            (6, 0x6b00_ccb0),
            (7, self.level),
            (8, SIZE_KIB),
            (9, self.slots),
            (10, self.slots),
            (11, 3),
            (32, 0x6b00_ccb6),
            (33, u32::from(self.clean)),
            (34, self.slots),
            (35, self.slots),
            (if self.big_endian { 40 } else { 39 }, self.events),
            (64, if self.level == 5 { 2 } else { 0 }),
            (65, self.chunk_bytes),
        ];
        facts.iter().for_each(|(at, word)| words[*at] = *word);
        for number in 0..self.slots {
            let at = 128 + 32 * number as usize;
            words[at..at + 5].copy_from_slice(&[number, 7, number, number, 6]);
        }
        let own = 128 + 32 * self.number as usize;
        words.copy_within(own..own + 32, 992);
        let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
        words[38] = (sum as u32).wrapping_add((sum >> 32) as u32);
        let order = |word: &u32| match self.big_endian {
            true => word.to_be_bytes(),
            false => word.to_le_bytes(),
        };
        words.iter().flat_map(order).collect()
    }
}

/// An array with data on it whose members carry the older superblock instead of theirs.
fn array(level: u32, slots: u32, big_endian: bool) -> (Dir, Vec<u8>, Old) {
    let dir = Dir::new();
    dir.members(slots as usize, 8 * MIB);
    let names = names(slots);
    let chunk = if level == 1 { "" } else { "--chunk 64K" };
    // raid0 uses all there is, which ends where the superblock begins.
    let size = if level == 0 { String::new() } else { format!("--size {SIZE_KIB}") };
    dir.good(&format!("create -l{level} -n{slots} -e1.0 {size} --bitmap none {chunk} {names}"));
    let data = dir.data("data", 3 * MIB as usize);
    dir.good(&format!("write --input data {names}"));
    dir.good(&format!("zero-superblock {names}"));
    let chunk_bytes = if level == 1 { 0 } else { 65_536 };
    let old = Old { level, chunk_bytes, slots, number: 0, events: 9, clean: true, big_endian };
    for number in 0..slots {
        dir.poke(&format!("{number}.img"), PLACE, &Old { number, ..old }.bytes());
    }
    (dir, data, old)
}

fn names(slots: u32) -> String {
    (0..slots).map(|index| format!("{index}.img")).collect::<Vec<_>>().join(" ")
}

#[test]
fn arrays_are_read_in_either_byte_order() {
    for (level, slots) in [(1, 2), (5, 3), (0, 2)] {
        for big_endian in [false, true] {
            let (dir, data, _) = array(level, slots, big_endian);
            let (names, before) = (names(slots), dir.fingerprints());
            let run = dir.run(&format!("read {names} --length 3MiB"));
            assert_eq!((run.code, run.out == data), (0, true), "raid{level}: {}", run.err);
            let detail = dir.json(&format!("detail --json {names}"));
            assert_eq!(detail["uuid"], "00112233:44556677:8899aabb:ccddeeff");
            let examine = dir.json(&format!("examine --json {names}"));
            assert_eq!(examine["arrays"][0]["metadata"], "0.90");
            assert_eq!(examine["arrays"][0]["state"], "good");
            let mdstat = dir.good(&format!("mdstat {names}"));
            assert!(!mdstat.contains("super"), "Linux names no version for 0.90: {mdstat}");
            assert_eq!(dir.fingerprints(), before);
        }
    }
}

#[test]
fn a_degraded_one_is_read_by_parity() {
    let (dir, data, _) = array(5, 3, false);
    let run = dir.run("read 0.img 2.img --length 3MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
}

#[test]
fn nothing_is_ever_written_to_one() {
    let (dir, _, _) = array(5, 3, false);
    let before = dir.fingerprints();
    dir.sparse("new.img", 8 * MIB);
    for verb in ["write --input data", "repair", "rebuild", "fail -m 0.img", "add -m new.img"] {
        let line = format!("{verb} 0.img 1.img 2.img");
        dir.fails(&line, 2, &["metadata 0.90 is read, not written", "--update=metadata"]);
    }
    std::fs::remove_file(dir.path("new.img")).unwrap();
    assert_eq!(dir.fingerprints(), before);
    dir.fails("create -l1 -n2 -e0.90 a b", 64, &["0.90", "expected 1.0, 1.1 or 1.2"]);
}

#[test]
fn a_stale_member_is_told_and_not_read() {
    let (dir, data, old) = array(1, 2, false);
    dir.poke("0.img", 0, &[0x5a; 4096]);
    dir.poke("0.img", PLACE, &Old { events: 4, ..old }.bytes());
    let run = dir.run("read 0.img 1.img --length 3MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    assert!(run.err.contains("0.img: left out: missed 5 updates"), "{}", run.err);
}

#[test]
fn zero_superblock_takes_either_byte_order_off() {
    for big_endian in [false, true] {
        let (dir, ..) = array(1, 2, big_endian);
        let said = dir.good("zero-superblock 0.img 1.img");
        assert!(said.contains("erased superblock 0.90 at sector 16256"), "{said}");
        dir.ends("examine 0.img 1.img", 2);
    }
}

#[test]
fn verbose_examine_has_the_lines_of_mdadm() {
    if !has_program("mdadm") {
        return skipped("no mdadm");
    }
    for (level, slots) in [(1, 2), (5, 3), (0, 2)] {
        let (dir, ..) = array(level, slots, false);
        let ours = dir.good("examine --verbose 1.img");
        let mut mdadm = Command::new("mdadm");
        mdadm.args(["--examine", "1.img"]).current_dir(dir.path(".")).env("TZ", "UTC");
        let theirs = mdadm.output().unwrap();
        assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
        let words = |text: &str| -> Vec<String> {
            let tidy = |line: &str| {
                let line = line.split(" (local to").next().unwrap_or(line);
                // Names of devices are looked up in /dev there.
                let line = line.split("   /dev").next().unwrap_or(line);
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            };
            text.lines().skip(1).map(tidy).filter(|line| !line.is_empty()).collect()
        };
        assert_eq!(words(&ours), words(&String::from_utf8_lossy(&theirs.stdout)), "raid{level}");
    }
}
