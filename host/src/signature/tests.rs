//! Synthetic marks as a table, then what real tools write.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;
use crate::testing::{TempDir, run, skipped};

const MIB: u64 = 1 << 20;

/// The marks on a device that is zero but for these bytes.
fn marks_on(bytes: u64, content: &[(u64, &[u8])]) -> Vec<(What, u64)> {
    let mut device = vec![0; bytes as usize];
    for (offset, piece) in content {
        let at = *offset as usize;
        device[at..at + piece.len()].copy_from_slice(piece);
    }
    let found = find(bytes, |offset, buf| {
        assert!(offset.is_multiple_of(4 * KIB));
        let end = offset + buf.len() as u64;
        assert!(end.is_multiple_of(4 * KIB) || end == bytes);
        buf.copy_from_slice(&device[offset as usize..end as usize]);
        Ok(())
    });
    let found = found.unwrap();
    found.iter().map(|found| (found.what, found.offset)).collect()
}

fn ext(compatible: u8, incompatible: u8, read_only: u8) -> Vec<u8> {
    let mut sb = vec![0; 1024];
    sb[0] = 16;
    sb[0x38..0x3A].copy_from_slice(&[0x53, 0xEF]);
    (sb[0x5C], sb[0x60], sb[0x64]) = (compatible, incompatible, read_only);
    sb
}

fn gpt(number: u64, len: u32) -> Vec<u8> {
    let mut header = b"EFI PART\0\0\x01\0".to_vec();
    header.resize(len as usize, 0);
    header[12..16].copy_from_slice(&len.to_le_bytes());
    header[24..32].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

fn mbr(status: u8, kind: u8, start: u32, len: u32) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[446] = status;
    sector[450] = kind;
    sector[454..458].copy_from_slice(&start.to_le_bytes());
    sector[458..462].copy_from_slice(&len.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn fat(name_at: usize, name: &[u8]) -> Vec<u8> {
    let mut sector = mbr(0, 0, 0, 0);
    sector[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
    sector[name_at..name_at + name.len()].copy_from_slice(name);
    // Boot code that happens to look like a partition.
    sector[450..462].copy_from_slice(&[7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    sector
}

fn pv() -> Vec<u8> {
    let mut label = b"LABELONE".to_vec();
    label.resize(24, 7);
    label.extend_from_slice(b"LVM2 001");
    label
}

const MD1: &[u8] = b"\xFC\x4E\x2B\xA9\x01\0\0\0";
const MD0: &[u8] = b"\xFC\x4E\x2B\xA9\0\0\0\0";
const MD0_BIG: &[u8] = b"\xA9\x2B\x4E\xFC\0\0\0\0";

#[test]
fn each_mark_is_known_by_its_place() {
    let end = 4 * MIB;
    let cases: [(u64, &[u8], What, u64); 32] = [
        (0, MD1, What::Md11, 0),
        (4096, MD1, What::Md12, 4096),
        (end - 8192, MD1, What::Md10, end - 8192),
        (end - 65536, MD0, What::Md090, end - 65536),
        (end - 65536, MD0_BIG, What::Md090, end - 65536),
        (end - 1024, b"Intel Raid ISM Cfg Sig. 1.0", What::Imsm, end - 1024),
        (end - 512, b"\xDE\x11\xDE\x11", What::Ddf, end - 512),
        (1024, &ext(0, 0x2, 0x3), What::Ext2, 1024),
        (1024, &ext(0x4, 0x6, 0x3), What::Ext3, 1024),
        (1024, &ext(0x4, 0x42, 0x3), What::Ext4, 1024),
        (1024, &ext(0, 0x2, 0x8), What::Ext4, 1024),
        (1024, &ext(0, 0x8, 0), What::ExtJournal, 1024),
        (0, b"XFSB", What::Xfs, 0),
        (65600, b"_BHRfS_M", What::Btrfs, 65536),
        (4086, b"SWAPSPACE2", What::Swap, 0),
        (65526, b"SWAP-SPACE", What::Swap, 0),
        (0, &pv(), What::LvmPv, 0),
        (1536, &pv(), What::LvmPv, 1536),
        (0, b"LUKS\xBA\xBE\0\x01", What::Luks, 0),
        (16384, b"SKUL\xBA\xBE\0\x02", What::Luks, 16384),
        (512, &gpt(1, 92), What::Gpt, 512),
        (4096, &gpt(1, 512), What::Gpt, 4096),
        (end - 512, &gpt(8191, 92), What::GptBackup, end - 512),
        (end - 4096, &gpt(1023, 92), What::GptBackup, end - 4096),
        (0, &mbr(0x80, 0x83, 2048, 4096), What::Mbr, 0),
        (3, b"NTFS    ", What::Ntfs, 0),
        (3, b"EXFAT   ", What::ExFat, 0),
        (0, &fat(82, b"FAT32   "), What::Fat, 0),
        (0, &fat(54, b"FAT16   "), What::Fat, 0),
        (0, b"hsqs", What::Squashfs, 0),
        (4120, &BCACHE_MAGIC, What::Bcache, 4096),
        (4120, &BCACHEFS_MAGIC, What::Bcachefs, 4096),
    ];
    for (at, mark, what, offset) in cases {
        assert_eq!(marks_on(end, &[(at, mark)]), [(what, offset)], "{what}");
    }
}

#[test]
fn zfs_labels_are_at_both_ends_in_either_byte_order() {
    let magic: &[u8] = &0x00BA_B10C_u64.to_le_bytes();
    let swapped: &[u8] = &0x00BA_B10C_u64.to_be_bytes();
    let content = [(128 * KIB, magic), (384 * KIB + 5 * KIB, swapped), (4 * MIB - KIB, magic)];
    let labels = [0, 256 * KIB, 4 * MIB - 256 * KIB].map(|at| (What::Zfs, at));
    // The odd end does not count towards a label.
    assert_eq!(marks_on(4 * MIB + 4096, &content), labels);
}

#[test]
fn what_only_looks_like_a_mark_is_none() {
    let mut broken = gpt(1, 92);
    broken[40] ^= 1;
    let cases: [(u64, &[u8]); 13] = [
        (512, &broken),
        (512, &gpt(2, 92)),
        (512, b"EFI PART\0\0\x01\0\xFF\xFF\xFF\xFF"),
        (0, &mbr(0x80, 0, 2048, 4096)),
        (0, &mbr(0x12, 0x83, 2048, 4096)),
        (0, &mbr(0x80, 0x83, 0, 4096)),
        (0, &mbr(0x80, 0x83, 1 << 20, 4096)),
        (1024 + 0x38, &[0x53, 0xEF]),
        (0, b"\xFC\x4E\x2B\xA9\0\0\0\0"),
        (8192, MD1),
        (0, b"LABELONE"),
        (510, &[0x55, 0xAA]),
        (0, &[0xFF; 512]),
    ];
    for (at, content) in cases {
        assert_eq!(marks_on(MIB, &[(at, content)]), [], "{content:?} at {at}");
    }
}

#[test]
fn several_marks_are_listed_in_order() {
    let disk = [
        (0, &mbr(0, 0xEE, 1, u32::MAX)[..]),
        (512, &gpt(1, 92)),
        (4096, MD1),
        (MIB - 512, &gpt(2047, 92)),
    ];
    let marks =
        [(What::Mbr, 0), (What::Gpt, 512), (What::Md12, 4096), (What::GptBackup, MIB - 512)];
    assert_eq!(marks_on(MIB, &disk), marks);
}

#[test]
fn devices_of_every_small_size_are_searched_without_reading_past_the_end() {
    for sectors in (0..64).chain([127, 128, 129, 1023, 1024, 1025]) {
        assert_eq!(marks_on(sectors * SECTOR, &[]), [], "{sectors} sectors");
    }
    assert_eq!(marks_on(24 * SECTOR, &[(4096, MD1)]), [(What::Md12, 4096)]);
    assert_eq!(marks_on(16 * SECTOR, &[(0, MD1)]), [(What::Md11, 0)]);
    assert_eq!(marks_on(2 * SECTOR, &[(512, &gpt(1, 92))]), [(What::Gpt, 512)]);
}

#[test]
fn a_device_that_cannot_be_read_is_not_called_empty() {
    let outcome = find(MIB, |offset, _| match offset {
        0 => Ok(()),
        _ => Err(io::Error::other("medium error")),
    });
    assert!(outcome.is_err());
}

/// What each tool writes is what we see. Tools that are not there are skipped.
#[test]
fn real_tools_leave_the_marks_we_know() {
    let dir = TempDir::new();
    let tools: [(&[&str], &str, What); 10] = [
        (&["mke2fs", "-q", "-F", "-t", "ext2"], "", What::Ext2),
        (&["mke2fs", "-q", "-F", "-t", "ext3"], "", What::Ext3),
        (&["mke2fs", "-q", "-F", "-t", "ext4"], "", What::Ext4),
        (&["mke2fs", "-q", "-F", "-O", "journal_dev"], "", What::ExtJournal),
        (&["mkswap", "-q"], "", What::Swap),
        (&["mkfs.xfs", "-q"], "", What::Xfs),
        (&["mkfs.btrfs", "-q"], "", What::Btrfs),
        (&["mkfs.vfat"], "", What::Fat),
        (&["sfdisk", "-q"], "label: gpt\n,,\n", What::Gpt),
        (&["sfdisk", "-q"], "label: dos\n,,\n", What::Mbr),
    ];
    for (number, (tool, input, what)) in tools.into_iter().enumerate() {
        let name = format!("image-{number}");
        let file = dir.sparse(&name, 512 * MIB);
        let stdin = dir.path("input");
        std::fs::write(&stdin, input).unwrap();
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]).arg(dir.path(&name));
        command.stdin(File::open(stdin).unwrap());
        if run(&mut command).is_none() {
            skipped(&format!("{} is not here", tool.join(" ")));
            continue;
        }
        let found = find(512 * MIB, |offset, buf| file.read_exact_at(buf, offset)).unwrap();
        assert!(found.iter().any(|found| found.what == what), "{tool:?}: {found:?}");
        let others = found.iter().filter(|found| found.what != what);
        // A GPT comes with a protective DOS table and a backup.
        let expected = if what == What::Gpt { 2 } else { 0 };
        assert_eq!(others.count(), expected, "{tool:?}: {found:?}");
    }
}
