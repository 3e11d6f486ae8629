use std::process::{Command, Stdio};

use super::*;
use crate::testing::{TempDir, skipped};

const DISK: u64 = 8 << 20;

fn table(disk: &[u8]) -> Option<Table> {
    let read = |offset: u64, into: &mut [u8]| {
        let from = offset as usize;
        let part = disk.get(from..from + into.len());
        into.copy_from_slice(part.ok_or_else(|| io::Error::other("outside the disk"))?);
        Ok(())
    };
    find(disk.len() as u64, read).expect("nothing outside the disk is read")
}

/// `(number, first sector, sectors)` of each partition.
fn places(disk: &[u8]) -> Vec<(u32, u64, u64)> {
    let table = table(disk).expect("a table");
    let place = |p: &Partition| (p.number, p.sectors.start, p.sectors.end - p.sectors.start);
    table.partitions.iter().map(place).collect()
}

/// A GPT as the specification draws it, two partitions, in blocks of this size.
fn gpt_disk(block: usize) -> Vec<u8> {
    let mut disk = vec![0; DISK as usize];
    disk[450] = 0xee;
    disk[454..458].copy_from_slice(&1u32.to_le_bytes());
    disk[458..462].copy_from_slice(&u32::MAX.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let last = DISK / block as u64 - 1;
    let array_blocks = (128 * 128 / block) as u64;
    let mut array = vec![0; 128 * 128];
    for (at, first, end, name) in [(0, 128u64, 255u64, "root"), (2, 256, 600, "m\u{e9}dia")] {
        let entry = &mut array[at * 128..][..128];
        entry[..16].fill(0xa1 + at as u8);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&end.to_le_bytes());
        for (unit, place) in name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    for (lba, array_lba) in [(1, 2), (last, last - array_blocks)] {
        let from = array_lba as usize * block;
        disk[from..from + array.len()].copy_from_slice(&array);
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x1_0000u32.to_le_bytes());
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[24..32].copy_from_slice(&lba.to_le_bytes());
        header[32..40].copy_from_slice(&(last + 1 - lba).to_le_bytes());
        header[40..48].copy_from_slice(&(2 + array_blocks).to_le_bytes());
        header[48..56].copy_from_slice(&(last - array_blocks - 1).to_le_bytes());
        header[72..80].copy_from_slice(&array_lba.to_le_bytes());
        header[80..84].copy_from_slice(&128u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        let sum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk[lba as usize * block..][..92].copy_from_slice(&header);
    }
    disk
}

#[test]
fn a_gpt_in_blocks_of_either_size_is_read() {
    for (block, unit) in [(512, 1), (4096, 8)] {
        let disk = gpt_disk(block);
        let expected = [(1, 128 * unit, 128 * unit), (3, 256 * unit, 345 * unit)];
        assert_eq!(places(&disk), expected, "{block}");
        let table = table(&disk).unwrap();
        assert_eq!((table.scheme, &table.flaws[..]), (Scheme::Gpt, &[][..]));
        assert_eq!(table.get(3).unwrap().name, "m\u{e9}dia");
        assert_eq!(table.get(2), None);
    }
}

/// Makes header and array sums of the primary right again.
fn seal(disk: &mut [u8]) {
    let (count, size) = (le32(disk, 512 + 80) as usize, le32(disk, 512 + 84) as usize);
    let array = (le64(disk, 512 + 72) as usize).saturating_mul(512);
    if let Some(entries) = disk.get(array..).and_then(|from| from.get(..count * size)) {
        let sum = crc32fast::hash(entries);
        disk[512 + 88..][..4].copy_from_slice(&sum.to_le_bytes());
    }
    disk[512 + 16..][..4].fill(0);
    let length = (le32(disk, 512 + 12) as usize).clamp(92, 512);
    let sum = crc32fast::hash(&disk[512..512 + length]);
    disk[512 + 16..][..4].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn the_backup_speaks_when_the_primary_is_not_believed() {
    let rows: [(usize, &[u8], bool, &str); 11] = [
        (512, b"X", false, ""),
        (512 + 60, &[1], false, "checksum"),
        (1024 + 40, &[1], false, "checksum of its array"),
        (512 + 12, &[91, 0], true, "92 to 512 bytes"),
        (512 + 24, &[2], true, "belongs to block 2"),
        (512 + 40, &[0xff; 8], true, "none of this disk's"),
        (512 + 48, &[0xff; 8], true, "none of this disk's"),
        (512 + 72, &[1], true, "does not lie on the disk"),
        (512 + 72, &[0xff; 8], true, "does not lie on the disk"),
        (512 + 80, &[0, 0, 1], true, "65536 entries"),
        (512 + 84, &[129], true, "entries of 129 bytes"),
    ];
    let sound = places(&gpt_disk(512));
    for (at, bytes, sums, word) in rows {
        let mut disk = gpt_disk(512);
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        if sums {
            seal(&mut disk);
        }
        assert_eq!(places(&disk), sound, "{word}");
        let flaws = table(&disk).unwrap().flaws.join("; ");
        assert!(flaws.contains(word) && flaws.contains("backup GPT at the end"), "{word}: {flaws}");
        // With the backup gone as well there is no table at all.
        let last = disk.len() - 512;
        disk[last] = 0;
        assert_eq!(table(&disk), None, "{word}");
    }
}

#[test]
fn entries_outside_the_usable_blocks_are_passed_over() {
    let mut disk = gpt_disk(512);
    disk[1024 + 40..1024 + 48].copy_from_slice(&127u64.to_le_bytes());
    seal(&mut disk);
    assert_eq!(places(&disk), [(3, 256, 345)]);
    assert!(table(&disk).unwrap().flaws[0].contains("partition 1: blocks 128 to 127"));
}

/// An MBR with these primary entries: type, start, sectors.
fn mbr_sector(entries: &[(u8, u32, u32)]) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    for (row, (kind, start, count)) in sector[446..510].chunks_exact_mut(16).zip(entries) {
        row[4] = *kind;
        row[8..12].copy_from_slice(&start.to_le_bytes());
        row[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector
}

fn mbr_disk(sectors: &[(usize, [u8; 512])]) -> Vec<u8> {
    let mut disk = vec![0; DISK as usize];
    sectors.iter().for_each(|(at, sector)| disk[at * 512..][..512].copy_from_slice(sector));
    disk
}

#[test]
fn an_mbr_and_its_logical_partitions_are_read() {
    let disk = mbr_disk(&[
        (0, mbr_sector(&[(0xfd, 63, 1000), (0, 0, 0), (0x05, 2048, 8192), (0x83, 12_000, 100)])),
        (2048, mbr_sector(&[(0xfd, 63, 500), (0x05, 1024, 600)])),
        (3072, mbr_sector(&[(0xfd, 32, 400), (0x05, 2048, 600)])),
        (4096, mbr_sector(&[(0xfd, 8, 16)])),
    ]);
    let expected = [(1, 63, 1000), (4, 12_000, 100), (5, 2111, 500), (6, 3104, 400), (7, 4104, 16)];
    assert_eq!(places(&disk), expected);
    assert_eq!(table(&disk).unwrap().flaws, [""; 0]);
}

#[test]
fn chains_that_lead_nowhere_end() {
    type Chain = Vec<(usize, [u8; 512])>;
    let rows: [(Chain, &str); 4] = [
        (vec![(2048, mbr_sector(&[(0xfd, 8, 16), (0x05, 0, 600)]))], "turns back"),
        (vec![(2048, mbr_sector(&[(0xfd, 8, 16), (0x05, u32::MAX, 600)]))], "leaves the disk"),
        (vec![(2048, mbr_sector(&[(0xfd, 8, 16), (0x05, 64, 600)]))], "no logical partition table"),
        (vec![], "no logical partition table"),
    ];
    for (chain, word) in rows {
        let first = (0, mbr_sector(&[(0x0f, 2048, 8192)]));
        let disk = mbr_disk(&[vec![first], chain].concat());
        let flaws = table(&disk).unwrap().flaws.join("; ");
        assert!(flaws.contains(word), "{word}: {flaws}");
    }
    // A chain that only goes on is cut.
    let mut long: Vec<_> = (0..200)
        .map(|link| (2048 + link, mbr_sector(&[(0xfd, 8, 1), (0x05, link as u32 + 1, 9)])))
        .collect();
    long.push((0, mbr_sector(&[(0x05, 2048, 8192)])));
    let table = table(&mbr_disk(&long)).unwrap();
    assert_eq!(table.partitions.len(), MAX_LOGICAL as usize);
    assert!(table.flaws.last().unwrap().contains("too long"));
}

#[test]
fn what_only_looks_like_an_mbr_is_none() {
    let disk = |sector| table(&mbr_disk(&[(0, sector)]));
    assert_eq!(disk(mbr_sector(&[])), None, "no entry");
    assert_eq!(disk(mbr_sector(&[(0x83, u32::MAX, 1)])), None, "outside the disk");
    let mut text = mbr_sector(&[(0x83, 63, 100)]);
    text[446] = b'D';
    assert_eq!(disk(text), None, "a boot sector with text");
    assert_eq!(table(&[0; 512]), None, "too small");
    let cut = disk(mbr_sector(&[(0x83, 63, u32::MAX)])).unwrap();
    assert_eq!(cut.partitions[0].sectors, 63..DISK / 512);
    assert!(cut.flaws[0].contains("beyond the disk"));
}

#[test]
fn linux_decides_which_table_counts() {
    // An MBR over an old GPT: the MBR.
    let mut disk = gpt_disk(512);
    disk[..512].copy_from_slice(&mbr_sector(&[(0xfd, 700, 9)]));
    assert_eq!(places(&disk), [(1, 700, 9)]);
    // A wiped first sector: the GPT, and a word about it.
    disk[..512].fill(0);
    assert_eq!(places(&disk).len(), 2);
    assert!(table(&disk).unwrap().flaws[0].contains("protective"));
}

#[test]
fn tables_of_sfdisk_are_read_as_sfdisk_reads_them() {
    for (label, script) in [
        ("gpt", "start=2048,size=4096\nstart=8192,size=1024,name=second\n"),
        ("dos", "start=2048,size=1024\nstart=4096,size=8192,type=5\nstart=4104,size=512\n"),
    ] {
        let dir = TempDir::new();
        dir.sparse("disk", DISK);
        let run = |args: &[&str], input: &str| -> Option<String> {
            let mut child = Command::new("sfdisk")
                .args(args)
                .arg(dir.path("disk"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            io::Write::write_all(&mut child.stdin.take()?, input.as_bytes()).ok()?;
            let output = child.wait_with_output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let Some(_) = run(&["--label", label], script) else {
            return skipped("no sfdisk");
        };
        let dump = run(&["--dump"], "").unwrap();
        let field = |line: &str, key: &str| -> Option<u64> {
            let rest = line.split_once(key)?.1.trim_start_matches([' ', '=']);
            rest.split(',').next()?.trim().parse().ok()
        };
        let theirs: Vec<(u64, u64)> = dump
            .lines()
            .filter(|line| !line.contains("type=5") && line.contains("start="))
            .map(|line| (field(line, "start").unwrap(), field(line, "size").unwrap()))
            .collect();
        let disk = std::fs::read(dir.path("disk")).unwrap();
        let ours: Vec<(u64, u64)> =
            places(&disk).into_iter().map(|(_, start, sectors)| (start, sectors)).collect();
        assert_eq!(ours, theirs, "{dump}");
        assert_eq!(table(&disk).unwrap().flaws, [""; 0]);
    }
}
