//! Bad-block logs of foreign origin: shown, honoured, and mended by the next update.

mod common;

use common::{Dir, MIB, SUPERBLOCK};

/// Where a 1.2 member's log begins, in bytes.
fn log_offset(dir: &Dir, name: &str) -> u64 {
    let block = dir.peek(name, SUPERBLOCK, 256);
    let offset = i32::from_le_bytes(block[188..192].try_into().unwrap());
    SUPERBLOCK.checked_add_signed(i64::from(offset) * 512).unwrap()
}

fn data_offset(dir: &Dir, name: &str) -> u64 {
    let block = dir.peek(name, SUPERBLOCK, 256);
    u64::from_le_bytes(block[128..136].try_into().unwrap())
}

/// Gives a member these entries, and the feature bit that announces them.
fn announce(dir: &Dir, name: &str, entries: &[u64], fill: u8) {
    let mut log: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    log.resize(4096, fill);
    dir.poke(name, log_offset(dir, name), &log);
    dir.bend(name, |block| block[8] |= 8);
}

fn mirror() -> (Dir, Vec<u8>) {
    let dir = Dir::new();
    dir.members(2, 8 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let data = dir.data("data", MIB as usize);
    dir.good("write --input data 0.img 1.img");
    (dir, data)
}

#[test]
fn unsorted_entries_are_shown_in_order_and_never_read() {
    let (dir, data) = mirror();
    let start = data_offset(&dir, "0.img");
    let entry = |sector: u64, sectors: u64| (start + sector) << 10 | sectors;
    announce(&dir, "0.img", &[entry(600, 88), entry(8, 8), entry(88, 512)], 0xff);
    // What is listed is wrong there, as on a disk that was rebuilt from one with holes.
    dir.poke("0.img", (start + 8) * 512, &[0xbd; 4096]);
    dir.poke("0.img", (start + 650) * 512, &[0xbd; 512]);
    let said = dir.good("examine --bad-blocks 0.img 1.img");
    let expected = format!(
        "Bad-blocks on 0.img:\n{:>20} for 8 sectors\n{:>20} for 600 sectors\n\
         Bad-blocks list is empty in 1.img\n",
        start + 8,
        start + 88
    );
    assert_eq!(said, expected);
    let run = dir.run("read 0.img 1.img --length 1MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    let json = dir.json("--json examine --bad-blocks 0.img 1.img");
    assert_eq!(json["members"][0]["log"]["bad_sectors"], 608);
    assert_eq!(json["members"][0]["log"]["ranges"][0]["in_data"], true);
    assert_eq!(json["members"][1]["log"]["ranges"].as_array().unwrap().len(), 0);
}

#[test]
fn a_flag_copied_without_its_log_costs_nothing_and_is_told() {
    let (dir, data) = mirror();
    announce(&dir, "1.img", &[], 0);
    let before = dir.fingerprints();
    let run = dir.run("read 1.img --length 1MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    let words = "1.img: the bad-block log is announced but was never initialised";
    assert!(run.err.contains(words) && run.err.contains("Linux 6.7"), "{}", run.err);
    assert_eq!(dir.fingerprints(), before);
    // The next update of the metadata says what is true.
    dir.good("write --input data 0.img 1.img");
    let flags = dir.peek("1.img", SUPERBLOCK + 8, 1)[0];
    assert_eq!(flags & 8, 0, "{flags:#x}");
    assert!(!dir.run("read 1.img --length 1MiB").err.contains("bad-block"));
}

#[test]
fn entries_of_length_zero_do_not_hide_the_others() {
    let (dir, data) = mirror();
    let start = data_offset(&dir, "0.img");
    announce(&dir, "0.img", &[0, (start + 16) << 10 | 8, (start + 32) << 10], 0xff);
    dir.poke("0.img", (start + 16) * 512, &[0xbd; 4096]);
    let run = dir.run("read 0.img 1.img --length 1MiB");
    assert!(run.code == 0 && run.out == data, "{}", run.err);
    assert!(run.err.contains("2 of 3 bad-block entries have length zero"), "{}", run.err);
    // Alone it says what it does not know.
    let run = dir.run("read 0.img --length 1MiB");
    assert_eq!(run.code, 4, "{}", run.err);
}
