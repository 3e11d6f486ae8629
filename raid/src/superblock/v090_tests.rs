use super::*;
use crate::superblock::Unsupported;

/// 20 MiB and a bit: the superblock is at sector 40832.
const DEVICE: u64 = 40_963;
const PLACE: u64 = 40_832;

/// Words of a RAID5 of three in slots 2, 0 and 1 with a failed fourth and a spare fifth.
fn example() -> Vec<u32> {
    let mut words = vec![0u32; 1024];
    let rows = [
        (0, MAGIC),
        (2, 90),
        (5, 0x0011_2233),
        (6, 0x6b00_ccb0),
        (7, 5),
        (8, 19_456),
        (9, 4),
        (10, 3),
        (11, 7),
        (13, 0x4455_6677),
        (14, 0x8899_aabb),
        (15, 0xccdd_eeff),
        (32, 0x6b00_ccb6),
        (33, 1),
        (34, 3),
        (35, 4),
        (36, 1),
        (37, 1),
        (39, 52),
        (64, 2),
        (65, 65_536),
    ];
    rows.iter().for_each(|(at, word)| words[*at] = *word);
    for (number, (slot, state)) in [(2, 6), (0, 6), (1, 6), (3, 9), (4, 0)].iter().enumerate() {
        let device = [number as u32, 7, number as u32, *slot, *state];
        words[128 + 32 * number..][..5].copy_from_slice(&device);
    }
    let own = words[128..160].to_vec();
    words[992..].copy_from_slice(&own);
    words
}

/// The bytes a machine of this order writes, with the checksum made right.
fn bytes(mut words: Vec<u32>, big_endian: bool) -> Vec<u8> {
    if big_endian {
        for pair in [39, 41, 44] {
            words.swap(pair, pair + 1);
        }
    }
    words[38] = 0;
    let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
    words[38] = (sum as u32).wrapping_add((sum >> 32) as u32);
    let order = |word: &u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    words.iter().flat_map(order).collect()
}

fn with(changes: &[(usize, u32)]) -> Vec<u8> {
    let mut words = example();
    changes.iter().for_each(|(at, word)| words[*at] = *word);
    bytes(words, false)
}

fn parse(block: &[u8]) -> Result<Superblock, SuperblockError> {
    Superblock::parse(block, PLACE, DEVICE)
}

#[test]
fn both_byte_orders_mean_the_same() {
    let little = parse(&bytes(example(), false)).unwrap();
    let big = parse(&bytes(example(), true)).unwrap();
    for block in [&little, &big] {
        assert_eq!(block.minor, Minor::V0_90);
        assert_eq!(block.set_uuid.to_string(), "00112233:44556677:8899aabb:ccddeeff");
        assert_eq!((block.level(), block.layout), (Some(Level::Raid5), 2));
        assert_eq!((block.size, block.chunk_sectors, block.raid_disks), (38_912, 128, 3));
        assert_eq!((block.data_offset, block.data_size), (0, PLACE));
        assert_eq!(
            (block.events, block.resync, block.role()),
            (52, Resync::Clean, Role::Active(2))
        );
        let table = [Role::Active(2), Role::Active(0), Role::Active(1), Role::Faulty, Role::Spare];
        assert_eq!(block.roles[..5], table);
        assert_eq!(block.refuses_writing(), Some(Unsupported::OldMetadata));
    }
    assert!(!little.v090.as_ref().unwrap().big_endian && big.v090.as_ref().unwrap().big_endian);
    // The bitmap of an array carries the words as its machine stored them.
    let uuids = [&little, &big].map(|block| block.bitmap_uuid().to_string());
    assert_eq!(uuids[0], "33221100:77665544:bbaa9988:ffeeddcc");
    assert_eq!(uuids[1], "00112233:44556677:8899aabb:ccddeeff");
}

#[test]
fn events_take_both_words() {
    let block = parse(&with(&[(39, 7), (40, 3)])).unwrap();
    assert_eq!(block.events, 3 << 32 | 7);
    let mut words = example();
    (words[39], words[40]) = (7, 3);
    assert_eq!(parse(&bytes(words, true)).unwrap().events, 3 << 32 | 7);
}

#[test]
fn the_checkpoint_counts_only_if_nothing_came_after_it() {
    let rows: [(&[(usize, u32)], Resync); 4] = [
        (&[(33, 1), (43, 9)], Resync::Clean),
        (&[(33, 0), (41, 52), (43, 4096)], Resync::From(4096)),
        (&[(33, 0), (41, 51), (43, 4096)], Resync::From(0)),
        (&[(33, 0), (41, 52), (43, u32::MAX)], Resync::From(0)),
    ];
    for (changes, resync) in rows {
        assert_eq!(parse(&with(changes)).unwrap().resync, resync, "{changes:?}");
    }
}

#[test]
fn what_is_optional_is_seen() {
    let block = parse(&with(&[(33, 0x101), (128 + 4, 0x206)])).unwrap();
    assert_eq!((block.bitmap_offset, block.bitmap_sector()), (Some(8), Some(PLACE + 8)));
    assert!(block.write_mostly());
    // Chunks mean nothing to a mirror, whatever an old mdadm stored.
    let mirror = parse(&with(&[(7, 1), (64, 0)])).unwrap();
    assert_eq!(mirror.chunk_sectors, 0);
    let reshape = [(2, 91), (44, 1024), (46, 5), (47, 1), (48, 2), (49, 65_536)];
    let block = parse(&with(&reshape)).unwrap();
    let about = block.reshape.unwrap();
    assert_eq!((about.position, about.delta_disks, about.new_chunk_sectors), (1024, 1, 128));
    assert_eq!(block.refuses_writing(), Some(Unsupported::Reshape));
}

#[test]
fn each_field_broken_in_turn_is_named() {
    let rows: [(&[(usize, u32)], &str); 9] = [
        (&[(2, 92)], "minor_version"),
        (&[(10, 0)], "raid_disks"),
        (&[(10, 28)], "raid_disks"),
        (&[(992, 27)], "this_disk.number"),
        (&[(8, 20_417)], "size"),
        (&[(8, u32::MAX)], "size"),
        (&[(65, 0)], "chunk_size"),
        (&[(65, 3 << 12)], "chunk_size"),
        (&[(65, 2048)], "chunk_size"),
    ];
    for (changes, field) in rows {
        assert_eq!(parse(&with(changes)).unwrap_err().field(), Some(field), "{changes:?}");
    }
    parse(&with(&[(8, 20_416)])).unwrap();
    let mut block = bytes(example(), false);
    block[2000] ^= 1;
    assert!(matches!(parse(&block), Err(SuperblockError::Checksum { .. })));
    let short = SuperblockError::Short { have: 512, need: 4096 };
    assert_eq!(parse(&bytes(example(), false)[..512]).unwrap_err(), short);
    let misplaced = Superblock::parse(&bytes(example(), false), 8, DEVICE).unwrap_err();
    assert_eq!(misplaced.field(), Some("major_version"));
}

#[test]
fn checksums_of_other_architectures_agree_when_folded() {
    // The same sum with a carry left in the upper half: 16 bits agree.
    let mut block = bytes(example(), false);
    let sum = u32::from_le_bytes(block[152..156].try_into().unwrap());
    let other = folded(sum);
    assert_ne!(sum, other);
    block[152..156].copy_from_slice(&other.to_le_bytes());
    parse(&block).unwrap();
}
