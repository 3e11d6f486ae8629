//! Parsing and emitting, seen from outside: genuine bytes, the documented example, every field
//! broken in turn, random superblocks.

use proptest::prelude::*;

use super::block::Unsupported;
use super::v1::{MAX_DEV, checksum, feature};
use super::*;
use crate::level::Level;

/// Puts bytes at an offset of a block.
fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Makes the checksum right again.
fn seal(block: &mut [u8]) {
    let max_dev = u32::from_le_bytes(block[220..224].try_into().unwrap()) as usize;
    if let Some(used) = block.get(..256 + 2 * max_dev) {
        let sum = checksum(used);
        put(block, 216, &sum.to_le_bytes());
    }
}

/// A spare being rebuilt into slot 1 of a RAID5 whose device 1 failed, as Linux wrote it.
fn example() -> Vec<u8> {
    let mut block = vec![0u8; 512];
    let rows: [(usize, &[u8]); 22] = [
        (0, &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0, 3]),
        (16, &[0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]),
        (24, &[0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]),
        (32, b"lab:demo"),
        (64, &[0xb0, 0xcc, 0, 0x6b, 0, 0, 0, 0, 5, 0, 0, 0, 2]),
        (80, &[0, 0x98, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 3]),
        (96, &[8]),
        (128, &[0, 8]),
        (136, &[0, 0x98]),
        (144, &[8]),
        (152, &[0, 0x43]),
        (160, &[3]),
        (168, &[0x63, 0x86, 0x9e, 0xbd, 0xdf, 0x6d, 0x5f, 0x19]),
        (176, &[0xa0, 0x95, 0x23, 0xeb, 0x91, 0xe7, 0x1d, 0x4c]),
        (184, &[0, 0, 8, 0, 16]),
        (192, &[0xb6, 0xcc, 0, 0x6b]),
        (200, &[0x34]),
        (208, &[0xff; 8]),
        (216, &[0xab, 0x7a, 0x66, 0x9d]),
        (220, &[0x80]),
        (256, &[0xff; 256]),
        (256, &[0, 0, 0xfe, 0xff, 0xff, 0xff, 1, 0, 2, 0]),
    ];
    rows.iter().for_each(|(at, bytes)| put(&mut block, *at, bytes));
    block
}

/// 20 MiB.
const DEVICE: u64 = 40_960;

fn parse(block: &[u8]) -> Result<Superblock, SuperblockError> {
    Superblock::parse(block, 8, DEVICE)
}

#[test]
fn the_documented_example_reads_as_documented() {
    let block = parse(&example()).unwrap();
    assert_eq!(block.set_uuid.to_string(), "00112233:44556677:8899aabb:ccddeeff");
    assert_eq!(block.name.to_string(), "lab:demo");
    assert_eq!((block.level(), block.layout), (Some(Level::Raid5), 2));
    assert_eq!((block.size, block.chunk_sectors, block.raid_disks), (38_912, 128, 3));
    assert_eq!((block.data_offset, block.data_size, block.super_offset), (2048, 38_912, 8));
    assert_eq!((block.bitmap_offset, block.bitmap_sector()), (Some(8), Some(16)));
    assert_eq!((block.recovery_offset, block.recovered_sectors()), (Some(17_152), 17_152));
    assert_eq!((block.dev_number, block.role()), (3, Role::Active(1)));
    assert_eq!(block.bad_blocks, Some(LogPlace { offset: 16, sectors: 8, shift: 0 }));
    assert_eq!((block.bad_blocks_sector(), block.bitmap_room(DEVICE)), (Some(24), Some(8)));
    assert_eq!((block.events, block.resync, block.minor), (52, Resync::Clean, Minor::V1_2));
    let first = [Role::Active(0), Role::Faulty, Role::Spare, Role::Active(1), Role::Active(2)];
    assert_eq!((&block.roles[..5], block.roles.len()), (&first[..], 128));
    assert_eq!((block.feature_map(), block.refuses_writing()), (3, None));
    assert_eq!(block.checksum(), 0x9d66_7aab);
    assert_eq!(block.emit(), example());
}

#[test]
fn absent_short_and_damaged_are_told_apart() {
    let broken = |at: usize, byte: u8| {
        let mut block = example();
        block[at] ^= byte;
        parse(&block).unwrap_err()
    };
    assert_eq!(broken(0, 1), SuperblockError::NotFound { magic: 0xa92b_4efd });
    assert_eq!(parse(&[0; 4096]).unwrap_err(), SuperblockError::NotFound { magic: 0 });
    assert!(matches!(broken(40, 1), SuperblockError::Checksum { stored: 0x9d66_7aab, .. }));
    assert_eq!(broken(220, 0xff).field(), Some("sb_csum"));
    assert_eq!(broken(220, 1), SuperblockError::Short { have: 512, need: 514 });
    let short = SuperblockError::Short { have: 511, need: 512 };
    assert_eq!(parse(&example()[..511]).unwrap_err(), short);
    let short = SuperblockError::Short { have: 255, need: 256 };
    assert_eq!(parse(&example()[..255]).unwrap_err(), short);
}

#[test]
fn a_damaged_block_can_still_be_shown() {
    let mut block = example();
    put(&mut block, 216, &[0; 4]);
    let shown = Superblock::parse_unverified(&block, 8, DEVICE).unwrap();
    assert_eq!((shown.stored, shown.expected), (0, 0x9d66_7aab));
}

#[test]
fn each_field_broken_in_turn_is_named() {
    let rows: [(usize, &[u8], &str); 41] = [
        (0, &[0], "magic"),
        (4, &[0], "major_version"),
        (4, &[2], "major_version"),
        (8, &[1, 4], "feature_map"),
        (8, &[0, 0xc], "feature_map"),
        (8, &[0, 6], "feature_map"),
        (8, &[0, 0x10], "feature_map"),
        (8, &[64], "feature_map"),
        (88, &[0], "chunksize"),
        (88, &[4], "chunksize"),
        (88, &[0x81], "chunksize"),
        (88, &[0, 0, 0, 0x80], "chunksize"),
        (92, &[0], "raid_disks"),
        (92, &[0x81, 7], "raid_disks"),
        (80, &[1, 0x98], "size"),
        (80, &[0xff; 8], "size"),
        (96, &[0], "bitmap_offset"),
        (96, &[0xf7, 0xff, 0xff, 0xff], "bitmap_offset"),
        (96, &[0xf0, 0xff, 0xff, 0xff], "bitmap_offset"),
        (96, &[0, 0, 0, 0x7f], "bitmap_offset"),
        (96, &[0, 8], "bitmap_offset"),
        (128, &[8, 0], "data_offset"),
        (128, &[0, 0xa1], "data_offset"),
        (128, &[0xff; 8], "data_offset"),
        (128, &[1, 8], "data_size"),
        (136, &[9, 0], "data_size"),
        (136, &[1, 0x98], "data_size"),
        (136, &[0xff; 8], "data_size"),
        (144, &[0], "super_offset"),
        (144, &[0xff; 8], "super_offset"),
        (8, &[0xb], "bblog_offset"),
        (8, &[0xb, 0, 0, 0, 0], "bblog_size"),
        (8, &[0xb, 0, 0, 0, 1], "bblog_size"),
        (8, &[0xb, 0, 0, 0, 2], "bblog_shift"),
        (220, &[0x81, 7], "max_dev"),
        (220, &[0xff; 4], "max_dev"),
        (224, &[0, 3], "logical_block_size"),
        (224, &[1], "logical_block_size"),
        (224, &[0, 0, 2], "logical_block_size"),
        (160, &[0x80, 7], "dev_number"),
        (160, &[0xff; 4], "dev_number"),
    ];
    for (at, bytes, name) in rows {
        let mut block = example();
        block.resize(4096, 0xff);
        // Log fields are broken together with the feature bit that makes them count.
        let log: (usize, &[u8]) = match (name, bytes) {
            ("bblog_offset", _) => (188, &[0xff; 4]),
            ("bblog_size", [.., 0]) => (186, &[0]),
            ("bblog_size", _) => (186, &[9]),
            ("bblog_shift", _) => (185, &[54]),
            _ => (188, &[16]),
        };
        let bytes = if at == 8 && bytes.len() > 4 { &bytes[..4] } else { bytes };
        put(&mut block, log.0, if name.starts_with("bblog") { log.1 } else { &[] });
        put(&mut block, at, bytes);
        seal(&mut block);
        let error = parse(&block).expect_err(name);
        assert_eq!(error.field(), Some(name), "{at} {bytes:x?}: {error}");
        if name != "magic" {
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}

#[test]
fn any_single_byte_may_lie_without_harm() {
    for at in 0..256 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut block = example();
            block[at] = value;
            seal(&mut block);
            if let Ok(parsed) = parse(&block) {
                assert_eq!(parsed.emit(), block, "byte {at} = {value:#x}");
                let _ = examine::examine_text("x", &parsed, DEVICE, None);
                let _ = (parsed.bitmap_room(DEVICE), parsed.refuses_writing());
            }
        }
    }
}

#[test]
fn states_we_do_not_maintain_are_read_but_not_written() {
    let rows: [(usize, &[u8], Unsupported); 8] = [
        (8, &[3, 0x20], Unsupported::Features(0x2000)),
        (11, &[0x80], Unsupported::Features(0x8000_0000)),
        (12, &[1], Unsupported::Padding),
        (255, &[1], Unsupported::Padding),
        (72, &[0xfc, 0xff, 0xff, 0xff], Unsupported::Level(-4)),
        (8, &[7], Unsupported::Reshape),
        (8, &[3, 2], Unsupported::Journal),
        (8, &[3, 1], Unsupported::Clustered),
    ];
    for (at, bytes, reason) in rows {
        let mut block = example();
        put(&mut block, 120, &[128]);
        put(&mut block, at, bytes);
        seal(&mut block);
        let parsed = parse(&block).unwrap();
        assert_eq!(parsed.refuses_writing(), Some(reason), "{at} {bytes:x?}");
        assert_eq!(parsed.emit(), block);
    }
}

#[test]
fn a_ppl_takes_the_place_of_the_bitmap() {
    let mut block = example();
    put(&mut block, 8, &[0, 8]);
    put(&mut block, 96, &[8, 0, 0, 7]);
    seal(&mut block);
    let parsed = parse(&block).unwrap();
    assert_eq!(parsed.ppl, Some(Ppl { offset: 8, sectors: 0x700, multiple: true }));
    assert_eq!(parsed.refuses_writing(), None);
    assert_eq!(parsed.emit(), block);
    put(&mut block, 72, &[4]);
    seal(&mut block);
    assert_eq!(parse(&block).unwrap().refuses_writing(), Some(Unsupported::Ppl));
}

#[test]
fn a_reshape_half_way() {
    let mut block = example();
    put(&mut block, 8, &[0x44]);
    put(&mut block, 92, &[4, 0, 0, 0]);
    put(&mut block, 100, &[5, 0, 0, 0, 0, 0x24]);
    put(&mut block, 112, &[1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0xe8, 0xff, 0xff, 0xff]);
    seal(&mut block);
    let parsed = parse(&block).unwrap();
    let reshape = Reshape {
        position: 9216,
        delta_disks: 1,
        new_level: 5,
        new_layout: 2,
        new_chunk_sectors: 8,
        new_offset: Some(-24),
        backwards: false,
    };
    assert_eq!(parsed.reshape, Some(reshape));
    assert_eq!(parsed.emit(), block);
    let rows: [(usize, &[u8], &str); 5] = [
        (112, &[4, 0, 0, 0], "delta_disks"),
        (112, &[0, 0, 0, 0x80], "delta_disks"),
        (120, &[3], "new_chunk"),
        (124, &[0, 0xf0, 0xff, 0xff], "new_offset"),
        (124, &[0x01, 0xf8, 0xff, 0xff], "new_offset"),
    ];
    for (at, bytes, name) in rows {
        let mut broken = block.clone();
        put(&mut broken, at, bytes);
        seal(&mut broken);
        assert_eq!(parse(&broken).expect_err(name).field(), Some(name));
    }
}

#[test]
fn a_logical_block_size_is_not_corruption() {
    let mut block = example();
    put(&mut block, 224, &[0, 2]);
    seal(&mut block);
    let parsed = parse(&block).unwrap();
    assert_eq!((parsed.logical_block_size, parsed.refuses_writing()), (512, None));
    assert_eq!(parsed.emit(), block);
}

#[test]
fn leftovers_under_clear_bits_are_ignored_and_kept() {
    let mut block = example();
    put(&mut block, 8, &[0]);
    put(&mut block, 96, &[0xff; 32]);
    put(&mut block, 188, &[0xff; 4]);
    seal(&mut block);
    let parsed = parse(&block).unwrap();
    assert_eq!((parsed.bitmap_offset, parsed.reshape, parsed.recovery_offset), (None, None, None));
    assert_eq!(parsed.bad_blocks, None, "a log inside the superblock is no log");
    assert_eq!(parsed.emit(), block);
}

#[test]
fn a_finished_rebuild_leaves_no_trace() {
    let mut parsed = parse(&example()).unwrap();
    parsed.recovery_offset = None;
    let block = parsed.emit();
    assert_eq!((block[8], &block[152..160]), (feature::BITMAP_OFFSET as u8, &[0u8; 8][..]));
    assert_eq!(parse(&block).unwrap().emit(), block);
}

#[test]
fn the_role_table_grows_into_the_next_sector() {
    let mut parsed = parse(&example()).unwrap();
    parsed.set_role(128, Role::Active(2));
    let block = parsed.emit();
    assert_eq!((block.len(), parsed.sectors()), (1024, 2));
    assert!(block[514..].iter().all(|byte| *byte == 0xff));
    let again = Superblock::parse(&block, 8, DEVICE).unwrap();
    assert_eq!((again.role_of(128), again.role_of(127)), (Role::Active(2), Role::Spare));
}

#[test]
fn a_copy_in_another_place_is_no_superblock() {
    let error = Superblock::parse(&example(), 0, DEVICE).unwrap_err();
    assert_eq!(error.field(), Some("super_offset"));
    let error = Superblock::parse(&example(), 8, 16).unwrap_err();
    assert_eq!(error.field(), Some("super_offset"), "the device has no room for one");
}

#[test]
fn the_latest_block_on_a_member_counts() {
    let mut old = parse(&example()).unwrap();
    let mut new = old.clone();
    (old.minor, old.ctime) = (Minor::V1_0, Timestamp::new(5, 999));
    new.ctime = Timestamp::new(6, 0);
    assert_eq!(placement::latest(&[old.clone(), new.clone()]), Some(1));
    assert_eq!(placement::latest(&[new.clone(), old.clone()]), Some(0));
    old.ctime = new.ctime;
    assert_eq!(placement::latest(&[new, old]), Some(1), "1.0 is looked at first");
    assert_eq!(placement::latest(&[]), None);
}

/// A superblock of any legal content.
fn any_superblock() -> impl Strategy<Value = Superblock> {
    let roles =
        prop::collection::vec(any::<u16>().prop_map(Role::from_number), 0..=MAX_DEV as usize);
    let places = (0u64..1 << 40, 10u64..1 << 40, any::<u64>(), any::<bool>(), -200i32..2000);
    let counts = (any::<u64>(), any::<u64>(), 0..MAX_DEV, any::<u8>(), 1u32..1921);
    (roles, any::<[u8; 16]>(), any::<[u8; 32]>(), places, counts).prop_map(
        |(roles, uuid, name, (gap, data_size, recovery, rebuilding, bitmap), counts)| {
            let mut block = parse(&example()).unwrap();
            block.roles = roles;
            block.tail.clear();
            block.set_uuid = Uuid(uuid);
            block.name = Name(name);
            block.data_offset = 2048 + gap;
            block.data_size = data_size;
            block.size = data_size - 1;
            block.recovery_offset = rebuilding.then_some(recovery);
            block.bitmap_offset = (bitmap > 0).then_some(8 + bitmap % 1024);
            block.bad_blocks = None;
            (block.events, block.ctime.0, block.dev_number, block.devflags, block.raid_disks) =
                counts;
            block.resync = Resync::from_number(block.events.rotate_left(7));
            block.journal_tail = None;
            block
        },
    )
}

proptest! {
    #[test]
    fn emit_and_parse_are_inverse(block in any_superblock()) {
        let mut bytes = block.emit();
        let device = block.data_offset + block.data_size;
        let parsed = Superblock::parse(&bytes, 8, device).unwrap();
        prop_assert_eq!(parsed.emit(), bytes.clone());
        let mut same = parsed.clone();
        (same.raw, same.tail) = (block.raw, block.tail.clone());
        same.journal_tail = None;
        // A log place under a clear bit stays in the kept bytes, not in the emitted field.
        same.bad_blocks = None;
        prop_assert_eq!(same, block);
        bytes.resize(4096, 7);
        prop_assert_eq!(Superblock::parse(&bytes, 8, device).unwrap().roles, parsed.roles);
    }

    #[test]
    fn any_bytes_are_read_without_harm(
        mut bytes in prop::collection::vec(any::<u8>(), 0..1500),
        at in prop::sample::select(vec![0u64, 8, 4096]),
        device in prop_oneof![any::<u64>(), 0u64..10_000],
    ) {
        if bytes.len() >= 256 {
            put(&mut bytes, 0, &example()[..8]);
            put(&mut bytes, 144, &at.to_le_bytes());
            bytes[222..224].fill(0);
            seal(&mut bytes);
        }
        let _ = Superblock::parse(&bytes, at, device);
    }
}
