//! Plans against what mdadm 4.2 was seen to do, and against their own promises.

use proptest::prelude::*;

use super::super::name::Name;
use super::super::timestamp::Timestamp;
use super::super::uuid::Uuid;
use super::*;

const KIB: u64 = 2;
const TIB: u64 = 1024 * GIB;

fn uuid(number: usize) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    Uuid(bytes)
}

/// Devices of equal size, chunks of 512 KiB where the level has them.
fn wish(level: Level, count: usize, sectors: u64) -> NewArray {
    let layout = match level {
        Level::Raid5 | Level::Raid6 => 2,
        Level::Raid10 => 0x102,
        _ => 0,
    };
    NewArray {
        level,
        layout,
        chunk_sectors: if level.is_striped() { 1024 } else { 0 },
        minor: Minor::V1_2,
        bitmap: BitmapWish::Default,
        ppl: false,
        size: None,
        data_offset: None,
        name: Name::new("lab:new").unwrap(),
        set_uuid: Uuid([0xee; 16]),
        now: Timestamp::new(1_700_000_000, 0),
        members: (0..count).map(|slot| Some(NewMember::new(sectors, uuid(slot)))).collect(),
        spares: Vec::new(),
        assume_clean: false,
    }
}

fn sizes(array: &mut NewArray, sectors: &[u64]) {
    let member = |(slot, sectors): (usize, &u64)| Some(NewMember::new(*sectors, uuid(slot)));
    array.members = sectors.iter().enumerate().map(member).collect();
}

#[test]
fn places_mdadm_was_seen_to_choose() {
    use Level::{Raid0, Raid1, Raid5, Raid6, Raid10};
    let rows: [(u64, Level, u64, u64, Option<u64>, i32); 15] = [
        (2 * MIB, Raid1, 0, 2048, None, 16),
        (100 * MIB, Raid1, 0, 2048, None, 16),
        (20 * MIB, Raid5, 512, 4096, None, 16),
        (GIB, Raid5, 512, 4096, None, 16),
        (GIB, Raid1, 0, 4096, None, 16),
        (GIB, Raid5, 4096, 18_432, None, 16),
        (10 * GIB, Raid1, 0, 18_432, None, 136),
        (10 * GIB, Raid5, 512, 18_432, None, 136),
        (100 * GIB, Raid1, 0, 133_120, None, 136),
        (100 * GIB, Raid6, 512, 133_120, None, 136),
        (100 * GIB, Raid10, 512, 133_120, None, 136),
        (150 * GIB, Raid1, 0, 264_192, Some(2398), 16),
        (4 * TIB, Raid1, 0, 264_192, Some(65_534), 32),
        (18 * TIB, Raid1, 0, 264_192, Some(294_910), 88),
        (GIB, Raid0, 512, 4096, None, 8),
    ];
    for (sectors, level, chunk_kib, data_offset, bits, log) in rows {
        let mut array = wish(level, 4, sectors);
        array.chunk_sectors = (chunk_kib * KIB) as u32;
        let plan = plan(&array).unwrap();
        let member = plan.members[3];
        let case = format!("{level} {sectors}");
        assert_eq!(member.data_offset, data_offset, "{case}");
        assert_eq!(member.bad_blocks.map(|place| place.offset), Some(log), "{case}");
        assert_eq!(plan.bitmap.as_ref().map(|bitmap| bitmap.header.bits()), bits, "{case}");
        let chunk = plan.bitmap.map(|bitmap| (bitmap.offset, bitmap.header.chunk_bytes));
        assert_eq!(chunk, bits.map(|_| (8, 64 << 20)), "{case}");
    }
}

#[test]
fn one_gib_at_the_other_places() {
    let mut array = wish(Level::Raid1, 2, GIB);
    array.minor = Minor::V1_1;
    let first = plan(&array).unwrap().members[0];
    assert_eq!((first.super_offset, first.data_offset), (0, 4096));
    assert_eq!(first.bad_blocks.unwrap().offset, 16);
    array.minor = Minor::V1_0;
    array.bitmap = BitmapWish::Internal { chunk_bytes: None };
    let plan = plan(&array).unwrap();
    let first = plan.members[0];
    assert_eq!((first.super_offset, first.data_offset), (2_097_136, 0));
    assert_eq!(first.bad_blocks.unwrap().offset, -8);
    assert_eq!(plan.bitmap.as_ref().unwrap().offset, -16);
    assert_eq!((plan.size, first.data_size), (2_097_024, 2_097_120));
    assert_eq!(plan.bitmap_sector(&first), Some(2_097_120));
}

#[test]
fn superblocks_of_a_fresh_array() {
    let mut array = wish(Level::Raid5, 3, 20 * MIB);
    array.spares = vec![NewMember::new(30 * MIB, uuid(7))];
    array.members[1].as_mut().unwrap().write_mostly = true;
    let plan = plan(&array).unwrap();
    let blocks = plan.superblocks();
    let roles: Vec<Role> = blocks.iter().map(Superblock::role).collect();
    assert_eq!(roles, [Role::Active(0), Role::Active(1), Role::Active(2), Role::Spare]);
    assert_eq!(blocks[3].dev_number, 3);
    assert!(blocks.iter().all(|block| block.roles.len() == 128 && block.events == 0));
    assert!(blocks.iter().all(|block| block.resync == Resync::From(0)));
    assert!(blocks[1].write_mostly() && !blocks[0].write_mostly());
    assert_eq!((plan.size, plan.array_sectors), (36_864, 2 * 36_864));
    assert_eq!(plan.bitmap(), None);
}

#[test]
fn what_starts_clean() {
    let rows = [
        (Level::Raid1, 2, 0, false, Resync::From(0)),
        (Level::Raid1, 2, 0, true, Resync::Clean),
        (Level::Raid1, 2, 1, false, Resync::From(0)),
        (Level::Raid0, 2, 0, false, Resync::Clean),
        (Level::Raid5, 3, 1, false, Resync::Clean),
        (Level::Raid6, 4, 1, false, Resync::From(0)),
        (Level::Raid6, 4, 2, false, Resync::Clean),
        (Level::Raid10, 4, 1, false, Resync::From(0)),
    ];
    for (level, count, missing, assume_clean, resync) in rows {
        let mut array = wish(level, count, GIB);
        array.members[..missing].fill(None);
        array.assume_clean = assume_clean;
        assert_eq!(plan(&array).unwrap().resync, resync, "{level} {missing} missing");
    }
}

#[test]
fn what_would_not_assemble_is_not_made() {
    let raid10 =
        |layout, count, sectors| plan(&NewArray { layout, ..wish(Level::Raid10, count, sectors) });
    // two near copies of a chunk wrap onto the offset copy of another
    let collides = Err(CreateError::Geometry(crate::layout::LayoutError::CopiesCollide {
        layout: 0x1_0202,
        raid_disks: 5,
    }));
    assert_eq!(raid10(0x1_0202, 5, GIB).map(drop), collides);
    assert!(raid10(0x1_0202, 6, GIB).is_ok());
    // room for a chunk, but not for one in each section
    assert!(matches!(
        raid10(0x201, 4, 2 * MIB + 1024).unwrap_err(),
        CreateError::Geometry(crate::layout::LayoutError::MembersTooSmall { .. })
    ));
}

#[test]
fn stripes_over_unequal_members_say_their_layout() {
    let mut array = wish(Level::Raid0, 0, 0);
    let rows: [(&[u64], u32, Option<u32>); 4] = [
        (&[GIB, GIB], 0, None),
        (&[GIB, GIB + 1023], 0, None),
        (&[GIB, 2 * GIB], 0, Some(1)),
        (&[GIB, 2 * GIB], 2, Some(2)),
    ];
    for (sectors, layout, says) in rows {
        sizes(&mut array, sectors);
        array.layout = layout;
        let plan = plan(&array).unwrap();
        assert_eq!(plan.superblocks()[1].raid0_layout(), says);
        assert_eq!(plan.size, 0);
    }
}

#[test]
fn array_sizes_of_plans() {
    let rows = [
        (Level::Raid1, 2, 2_093_056),
        (Level::Raid0, 2, 2 * 2_093_056),
        (Level::Linear, 2, 2 * 2_093_056),
        (Level::Raid4, 3, 2 * 2_093_056),
        (Level::Raid6, 5, 3 * 2_093_056),
        (Level::Raid10, 3, 2044 * 3 / 2 * 1024),
    ];
    for (level, count, sectors) in rows {
        assert_eq!(plan(&wish(level, count, GIB)).unwrap().array_sectors, sectors, "{level}");
    }
}

#[test]
fn the_bitmap_begins_with_every_bit_set() {
    let mut array = wish(Level::Raid10, 4, GIB);
    array.bitmap = BitmapWish::Internal { chunk_bytes: Some(1 << 20) };
    let plan = plan(&array).unwrap();
    let bytes = plan.bitmap().unwrap();
    let header = BitmapHeader::parse(&bytes).unwrap();
    assert_eq!((header.sync_size, header.bits()), (plan.array_sectors, 2044));
    assert_eq!((bytes.len(), plan.bitmap_sector(&plan.members[0])), (4096, Some(16)));
    assert!(bytes[256..].iter().all(|byte| *byte == 0xff));
}

#[test]
fn what_cannot_be_made_is_named() {
    let fails = |change: &dyn Fn(&mut NewArray), level, count, text: &str| {
        let mut array = wish(level, count, GIB);
        change(&mut array);
        let error = plan(&array).expect_err(text).to_string();
        assert_eq!(error, text);
    };
    use Level::{Linear, Raid0, Raid1, Raid5, Raid6, Raid10};
    let same = |_: &mut NewArray| {};
    fails(&same, Raid6, 3, "raid6 takes 4 to 255 members, not 3");
    fails(&same, Raid1, 385, "raid1 takes 1 to 384 members, not 385");
    fails(&|a| a.members[..2].fill(None), Raid5, 3, "raid5 cannot start with 2 members missing");
    fails(&|a| a.members[0] = None, Raid0, 2, "raid0 cannot start with 1 members missing");
    fails(&|a| a.layout = 9, Raid5, 3, "raid5 of 3 members has no layout 0x9");
    fails(&|a| a.layout = 0x103, Raid10, 2, "raid10 of 2 members has no layout 0x103");
    let text = "raid1 does not take chunks of 8 sectors: it has none";
    fails(&|a| a.chunk_sectors = 8, Raid1, 2, text);
    let text = "raid5 does not take chunks of 24 sectors: \
                expected a power of two of at least 8 sectors (4 KiB)";
    fails(&|a| a.chunk_sectors = 24, Raid5, 3, text);
    let text = "raid0 does not take chunks of 12 sectors: expected a multiple of 8 sectors (4 KiB)";
    fails(&|a| a.chunk_sectors = 12, Raid0, 2, text);
    let text = "linear uses all of every member; a size has no meaning";
    fails(&|a| a.size = Some(8), Linear, 2, text);
    fails(
        &|a| a.spares = vec![NewMember::new(GIB, uuid(9))],
        Raid0,
        2,
        "raid0 has no redundancy and takes no spares",
    );
    let text = "member 1 has 23 sectors, 24 are needed";
    fails(&|a| sizes(a, &[GIB, 23]), Raid1, 2, text);
    let text = "member 1 has 4000 sectors, 5120 are needed";
    fails(&|a| sizes(a, &[GIB, 4000, GIB]), Raid5, 3, text);
    let text = "member 2 has 2097152 sectors, 2101248 are needed";
    fails(
        &|a| (a.size, a.spares) = (Some(GIB), vec![NewMember::new(GIB, uuid(9))]),
        Raid1,
        2,
        &text.replace("member 2", "member 0"),
    );
    let text = "member 0 has 9007199254740993 sectors, more than md can address";
    fails(&|a| sizes(a, &[(1 << 53) + 1, GIB]), Raid1, 2, text);
    fails(&|a| a.members[1] = a.members[0], Raid1, 2, "members 0 and 1 have the same uuid");
    let text = "data offset 8 leaves no room for the metadata: 9 sectors are needed";
    fails(&|a| a.data_offset = Some(8), Raid1, 2, text);
    let internal = BitmapWish::Internal { chunk_bytes: None };
    fails(&|a| a.bitmap = internal, Raid0, 2, "a bitmap has no meaning for raid0");
    let odd = BitmapWish::Internal { chunk_bytes: Some(100_000) };
    let text = "bitmap chunk of 100000 bytes: expected a power of two from 65536 to 2147483648";
    fails(&|a| a.bitmap = odd, Raid1, 2, text);
    let tiny = |a: &mut NewArray| {
        sizes(a, &[128, 128]);
        (a.data_offset, a.bitmap) = (Some(64), BitmapWish::Internal { chunk_bytes: None });
    };
    fails(&tiny, Raid1, 2, "the members are too small for a bitmap");
}

fn any_wish() -> impl Strategy<Value = NewArray> {
    let device = prop_oneof![24u64..20_000, 20_000u64..10_000_000, 1u64 << 24..1 << 40];
    let place = prop::sample::select(Minor::WRITTEN.to_vec());
    let level = prop::sample::select(Level::ALL.to_vec());
    let bitmap = prop::option::of(prop::option::of(12u32..32));
    let extras = (prop::option::of(0u64..5000), prop::option::of(any::<u64>()), 3u32..12);
    let devices =
        (prop::collection::vec(device.clone(), 1..8), prop::collection::vec(device, 0..3));
    (level, place, bitmap, extras, devices).prop_map(|(level, minor, bitmap, extras, devices)| {
        let (data_offset, size, chunk) = extras;
        let mut array = wish(level, 0, 0);
        sizes(&mut array, &devices.0);
        if level.is_redundant() {
            let spare = |(index, sectors)| NewMember::new(sectors, uuid(100 + index));
            array.spares = devices.1.into_iter().enumerate().map(spare).collect();
            array.size = size.map(|size| size % 1_000_000);
        }
        array.chunk_sectors = if level == Level::Raid1 { 0 } else { 1 << chunk };
        (array.minor, array.data_offset) = (minor, data_offset);
        array.bitmap = bitmap.map_or(BitmapWish::Default, |bits| BitmapWish::Internal {
            chunk_bytes: bits.map(|bits| 1 << bits),
        });
        array
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn plans_keep_their_promises(array in any_wish()) {
        let Ok(plan) = plan(&array) else { return Ok(()) };
        for (member, block) in plan.members.iter().zip(plan.superblocks()) {
            let device = member.device.sectors;
            if Minor::at(member.super_offset, device) != Some(array.minor) {
                continue; // So small that 1.0 and 1.2 meet.
            }
            let bytes = block.emit();
            let parsed = Superblock::parse(&bytes, member.super_offset, device);
            prop_assert_eq!(parsed.as_ref().map(Superblock::emit), Ok(bytes));
            let parsed = parsed.unwrap();
            prop_assert_eq!(parsed.bad_blocks, member.bad_blocks);
            prop_assert_eq!(parsed.refuses_writing(), None);
            prop_assert!(plan.size <= member.data_size);
            if let Some(bitmap) = &plan.bitmap {
                prop_assert_eq!(bitmap.header.check_against(&parsed, device), Ok(()));
                let end = plan.bitmap_sector(member).unwrap() + bitmap.sectors;
                let past_data = array.minor == Minor::V1_0 && end <= member.super_offset;
                prop_assert!(past_data || end <= member.data_offset);
            }
        }
        let choice = super::super::choose(&plan.superblocks(), false).unwrap();
        prop_assert!(choice.enough);
    }
}
