//! Every line against text recorded from mdadm 4.2: genuine members of six arrays, then lines that
//! those arrays do not show.

use super::super::examine_bitmap::{examine_bitmap_text, map_bytes};
use super::super::placement::Minor;
use super::super::role::Role;
use super::super::{LogPlace, Ppl};
use super::*;

/// Name, device sectors, superblock, its text; then the start of the bitmap and its text.
type Golden =
    (&'static str, u64, &'static [u8], &'static str, Option<(&'static [u8], &'static str)>);

macro_rules! head {
    ($name:literal, $suffix:literal, $include:ident) => {
        $include!(concat!("../../tests/golden/heads/", $name, $suffix))
    };
}

macro_rules! golden {
    ($name:literal, $sectors:literal) => {
        golden!($name, $sectors, None)
    };
    ($name:literal, $sectors:literal, bitmap) => {
        golden!(
            $name,
            $sectors,
            Some((
                head!($name, ".bitmap", include_bytes),
                head!($name, ".examine-bitmap", include_str)
            ))
        )
    };
    ($name:literal, $sectors:literal, $bitmap:expr) => {
        (
            concat!($name, ".img"),
            $sectors,
            head!($name, ".superblock", include_bytes),
            head!($name, ".examine", include_str),
            $bitmap,
        )
    };
}

const GOLDEN: [Golden; 21] = [
    golden!("raid1-mirror.0", 8192),
    golden!("raid1-mirror.1", 8192),
    golden!("raid5-ls-64k.0", 6144),
    golden!("raid5-ls-64k.1", 6144),
    golden!("raid5-ls-64k.2", 6144),
    golden!("raid5-ls-64k.3", 6144),
    golden!("raid6-ls-32k.0", 6144),
    golden!("raid6-ls-32k.1", 6144),
    golden!("raid6-ls-32k.2", 6144),
    golden!("raid6-ls-32k.3", 6144),
    golden!("raid6-ls-32k.4", 6144),
    golden!("raid10-near2-128k.0", 6144),
    golden!("raid10-near2-128k.1", 6144),
    golden!("raid10-near2-128k.2", 6144),
    golden!("raid10-near2-128k.3", 6144),
    golden!("raid5-degraded-32k.0", 8192),
    golden!("raid5-degraded-32k.1", 8192),
    golden!("raid5-degraded-32k.2", 8192),
    golden!("raid5-bitmap-dirty-128k.0", 8192, bitmap),
    golden!("raid5-bitmap-dirty-128k.1", 8192, bitmap),
    golden!("raid5-bitmap-dirty-128k.2", 8192, bitmap),
];

#[test]
fn genuine_members_read_as_mdadm_reads_them() {
    for (name, sectors, bytes, text, bitmap) in GOLDEN {
        let block = Superblock::parse(bytes, 8, sectors).unwrap();
        let header = bitmap.map(|(map, _)| BitmapHeader::parse(map).unwrap());
        assert_eq!(examine_text(name, &block, sectors, header.as_ref()), text);
        assert_eq!(block.emit(), bytes, "{name}");
    }
}

#[test]
fn genuine_bitmaps_read_as_mdadm_reads_them() {
    for (name, sectors, bytes, _, bitmap) in GOLDEN {
        let Some((map, text)) = bitmap else { continue };
        let block = Superblock::parse(bytes, 8, sectors).unwrap();
        let header = BitmapHeader::parse(map).unwrap();
        assert_eq!(header.check_against(&block, sectors), Ok(()));
        assert!(!header.is_stale(block.events));
        assert_eq!(map_bytes(&header), 3);
        assert_eq!(examine_bitmap_text(name, &header, &map[256..]), text);
        assert_eq!(header.emit()[..], map[..256], "{name}");
    }
}

/// A genuine RAID5 member to change.
fn sample() -> Superblock {
    Superblock::parse(GOLDEN[2].2, 8, 6144).unwrap()
}

/// Checks that the text of a changed sample contains a line, or none with that label.
fn shows(change: impl Fn(&mut Superblock), line: &str) {
    let mut block = sample();
    change(&mut block);
    let text = examine_text("x", &block, 6144, None);
    match line.strip_suffix(" (none)") {
        Some(label) => assert!(!text.contains(label), "{label} in\n{text}"),
        None => assert!(text.lines().any(|own| own == line), "{line}\nnot in\n{text}"),
    }
}

#[test]
fn lines_the_samples_do_not_show() {
    let level = |number: i32, layout: u32| {
        move |block: &mut Superblock| (block.level_number, block.layout) = (number, layout)
    };
    shows(level(-1, 0), "     Raid Level : linear");
    shows(level(-1, 0), "       Rounding : 64K");
    shows(level(-1, 0), "     Array Size (none)");
    shows(|block| (block.level_number, block.size) = (-1, 0), "  Used Dev Size : 0 sectors");
    shows(level(7, 0), "     Raid Level : -unknown-");
    shows(level(0, 1), "     Chunk Size : 64K");
    shows(level(0, 1), "         Layout (none)");
    shows(level(4, 0), "         Layout (none)");
    shows(level(6, 10), "         Layout : ddf-N-continue");
    shows(level(6, 6), "         Layout : -unknown-");
    shows(level(10, 0x201), "         Layout : far=2");
    shows(level(10, 0x1_0203), "         Layout : near=3, offset=2");
    shows(level(10, 0x101), "         Layout :NO REDUNDANCY");
    shows(level(10, 0), "     Array Size (none)");
    shows(
        |block| (block.level_number, block.layout, block.other_features) = (0, 2, 4096),
        "         Layout : alternate",
    );
    shows(|block| block.size -= 128, "  Used Dev Size : 3968 sectors");
    shows(|block| block.size -= 128, "   Unused Space : before=1968 sectors, after=128 sectors");
    shows(|block| block.recovery_offset = Some(77), "Recovery Offset : 77 sectors");
    shows(|block| block.devflags = 3, "          Flags : write-mostly failfast");
    shows(|block| block.devflags = 4, "          Flags :");
    shows(|block| block.resync = Resync::From(9), "          State : active");
    shows(
        |block| block.bad_blocks_recorded = true,
        "  Bad Block Log : 512 entries available at offset 16 sectors - bad blocks present.",
    );
    shows(|block| block.bad_blocks = None, "  Bad Block Log (none)");
    shows(
        |block| block.bad_blocks = Some(LogPlace { offset: -8, sectors: 4, shift: 0 }),
        "  Bad Block Log : 256 entries available at offset -8 sectors",
    );
    shows(
        |block| block.ppl = Some(Ppl { offset: 8, sectors: 1000, multiple: false }),
        "            PPL : 1000 sectors at offset 8 sectors from superblock",
    );
    shows(|block| block.roles[0] = Role::Faulty, "   Device Role : spare");
    shows(|block| block.roles[0] = Role::Journal, "   Device Role : Journal");
    shows(|block| block.replacement = true, "   Device Role : Replacement device 0");
    shows(|block| (block.minor, block.super_offset) = (Minor::V1_1, 0), "        Version : 1.1");
    shows(|block| (block.minor, block.super_offset) = (Minor::V1_0, 6120), "        Version : 1.0");
}

#[test]
fn array_states() {
    let legend = "('A' == active, '.' == missing, 'R' == replacing)";
    let state = |letters: &str| format!("   Array State : {letters} {legend}");
    shows(|block| block.roles[1] = Role::Spare, &state("A.AA"));
    shows(|block| block.roles[9] = Role::Active(1), &state("ARAA"));
    let thrice = |block: &mut Superblock| {
        block.roles.truncate(6);
        block.roles[3] = Role::Active(1);
        block.roles[5] = Role::Active(1);
    };
    shows(thrice, &state("A?AA"));
    shows(thrice, " 0:0 1:1 2:2 3:1 4:3 5:1");
    shows(
        |block| block.roles[9] = Role::Active(9),
        "WARNING Array state is inconsistent - each number should appear only once",
    );
}

#[test]
fn reshape_lines() {
    let reshaping = |block: &mut Superblock| {
        block.reshape = Some(Reshape {
            position: 9216,
            delta_disks: 1,
            new_level: 6,
            new_layout: 18,
            new_chunk_sectors: 8,
            new_offset: Some(-24),
            backwards: false,
        });
    };
    shows(reshaping, "    Feature Map : 0x44");
    shows(reshaping, "     New Offset : 2024 sectors");
    shows(reshaping, "  Reshape pos'n : 4608");
    shows(reshaping, "  Delta Devices : 1 (3->4)");
    shows(reshaping, "      New Level : raid6");
    shows(reshaping, "     New Layout : -unknown-");
    shows(reshaping, "  New Chunksize : 4K");
    shows(reshaping, "   Unused Space (none)");
}

#[test]
fn a_wrong_checksum_is_shown_beside_the_right_one() {
    let block = sample();
    let examined = Examined {
        path: "x",
        superblock: &block,
        stored_checksum: Some(0x1234),
        device_sectors: 6144,
        bitmap: None,
    };
    assert!(examined.text().contains("       Checksum : 1234 - expected 8f48a4e6\n"));
}

#[test]
fn sizes_for_people() {
    for (bytes, text) in [
        (5_119_999, ""),
        (5_120_000, " (4.88 MiB 5.12 MB)"),
        (6_291_456, " (6.00 MiB 6.29 MB)"),
        ((2 << 30) - 1, " (2048.00 MiB 2147.48 MB)"),
        (2 << 30, " (2.00 GiB 2.15 GB)"),
        (2 << 40, " (2.00 TiB 2.20 TB)"),
        (-1, ""),
    ] {
        assert_eq!(human_size(bytes), text, "{bytes}");
    }
}
