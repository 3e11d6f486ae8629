//! Sizes, extremes and refusals.

use super::*;

#[test]
fn array_sizes_follow_the_level() {
    for (level, layout, n, chunk, size, expected) in [
        (Level::Raid1, 0, 3, 0, 1001, 1001),
        (Level::Raid4, 0, 3, 16, 1001, 992 * 2),
        (Level::Raid5, 2, 5, 16, 1001, 992 * 4),
        (Level::Raid6, 2, 5, 16, 1001, 992 * 3),
        // Seven chunks a member.
        (Level::Raid10, 0x102, 4, 16, 127, 14 * 16),
        (Level::Raid10, 0x102, 3, 16, 127, 10 * 16),
        (Level::Raid10, 0x103, 5, 16, 127, 11 * 16),
        (Level::Raid10, 0x201, 3, 16, 127, 9 * 16),
        (Level::Raid10, 0x301, 5, 16, 127, 10 * 16),
        (Level::Raid10, 0x10201, 5, 16, 127, 15 * 16),
        (Level::Raid10, 0x202, 5, 16, 127, 7 * 16),
    ] {
        let shape = shape(level, layout, n, chunk, size);
        let layout = Layout::new(&shape, &[]).unwrap();
        assert_eq!(layout.array_sectors(), expected, "{shape:x?}");
        assert_eq!(layout.shape(), &shape);
        assert!(layout.member_extent(n - 1) <= size);
    }
    for (level, chunk, expected) in
        [(Level::Linear, 0, 300), (Level::Linear, 16, 96 + 192), (Level::Raid0, 24, 96 + 192)]
    {
        let array = mapped(&shape(level, 0, 2, chunk, 0), &[101, 199]);
        assert_eq!(array.array_sectors(), expected, "{level} chunk {chunk}");
    }
}

/// The largest member a block device could be, in sectors.
const HUGE: u64 = 1 << 54;

#[test]
fn the_largest_arrays_map_back_to_themselves() {
    for (level, layout, n) in [
        (Level::Linear, 0, 384),
        (Level::Raid0, 0, 384),
        (Level::Raid1, 0, 384),
        (Level::Raid10, 0x102, 384),
        (Level::Raid10, 0x201, 384),
        (Level::Raid10, 0x10302, 384),
        (Level::Raid10, 0x1ff, 384),
        (Level::Raid10, 0x20203, 384),
    ] {
        for chunk in [8, 1 << 31] {
            let sizes = vec![HUGE; n as usize];
            let array = mapped(&shape(level, layout, n, chunk, HUGE), &sizes);
            let last = array.array_sectors() - 1;
            for sector in [0, last / 2, last] {
                for place in places(&array, sector) {
                    assert!(place.sector < HUGE);
                    let back = array.array_sector_of(place.slot, place.sector, 1);
                    assert_eq!(back, (Some(sector), 1), "{array:x?}");
                }
            }
        }
    }
    for (level, n) in [(Level::Raid4, 384), (Level::Raid5, 384), (Level::Raid6, 255)] {
        let array = parity(&shape(level, 0, n, 8, HUGE));
        let last = array.array_sectors() - 1;
        let (stripe, d, within) = array.locate(last);
        assert_eq!((stripe, d, within), (HUGE / 8 - 1, array.data_members() - 1, 7));
        assert_eq!(array.array_sector(stripe, d, within), last);
        array.stripe(stripe).data_slot(d);
    }
}

#[test]
fn a_size_beyond_64_bits_is_refused() {
    let max = u64::MAX;
    let too_large =
        |raid_disks| Err(LayoutError::TooLarge { raid_disks, member_sectors: u64::MAX });
    for (level, layout, n) in
        [(Level::Raid5, 2, 3), (Level::Raid6, 2, 4), (Level::Raid10, 0x102, 384)]
    {
        let made = Layout::new(&shape(level, layout, n, 8, max), &[]);
        assert_eq!(made.map(drop), too_large(n), "{level}");
    }
    for level in [Level::Linear, Level::Raid0] {
        let made = Layout::new(&shape(level, 0, 2, 8, 0), &[max, max]);
        assert_eq!(made.map(drop), too_large(2), "{level}");
    }
    assert_eq!(mapped(&shape(Level::Raid1, 0, 2, 0, max), &[]).array_sectors(), max);
}

fn refusal(level: Level, layout: u32, n: u32, chunk: u32) -> LayoutError {
    let sizes = vec![4096; n as usize];
    let made = Layout::new(&shape(level, layout, n, chunk, 4096), &sizes);
    made.expect_err("this shape is impossible")
}

#[test]
fn impossible_shapes_are_named() {
    use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};
    for (level, layout, n, chunk, message) in [
        (Raid5, 2, 1, 8, "raid_disks is 1, but raid5 needs at least 2"),
        (Raid1, 0, 0, 8, "raid_disks is 0, but raid1 needs at least 1"),
        (Raid6, 2, 256, 8, "raid_disks is 256, but raid6 allows at most 255"),
        (Raid0, 0, 4000, 8, "raid_disks is 4000, but raid0 allows at most 384"),
        (Raid5, 6, 3, 8, "layout 0x6 is unknown for raid5"),
        (Raid6, 7, 4, 8, "layout 0x7 is unknown for raid6"),
        (Raid6, 21, 4, 8, "layout 0x15 is unknown for raid6"),
        (Raid4, 2, 4, 8, "layout 0x2 is unknown for raid4"),
        (Raid0, 3, 4, 8, "layout 0x3 is unknown for raid0"),
        (Raid1, 1, 4, 8, "layout 0x1 is unknown for raid1"),
        (Linear, 1, 4, 8, "layout 0x1 is unknown for linear"),
        (Raid10, 0x80102, 4, 8, "raid10 layout 0x80102 sets reserved bits"),
        (Raid10, 0x60102, 4, 8, "raid10 layout 0x60102 has far set rule 3, which does not exist"),
        (Raid10, 0x101, 4, 8, "raid10 with 1 near and 1 far copies needs 2..=4 in all"),
        (Raid10, 0x100, 4, 8, "raid10 with 0 near and 1 far copies needs 2..=4 in all"),
        (Raid10, 0, 4, 8, "raid10 with 0 near and 0 far copies needs 2..=4 in all"),
        (Raid10, 0x203, 4, 8, "raid10 with 3 near and 2 far copies needs 2..=4 in all"),
        (Raid10, 0x10202, 5, 8, "raid10 layout 0x10202 on 5 members puts two chunks in one place"),
        (Raid10, 0x40202, 9, 8, "raid10 layout 0x40202 on 9 members puts two chunks in one place"),
        (Raid0, 0, 4, 0, "chunk_sectors is 0, but raid0 is striped"),
        (Raid5, 2, 4, 0, "chunk_sectors is 0, but raid5 is striped"),
        (Raid5, 2, 4, 4, "chunk_sectors is 4, but raid5 needs a power of two, 8 or more"),
        (Raid10, 0x102, 4, 24, "chunk_sectors is 24, but raid10 needs a power of two, 8 or more"),
        (Raid5, 2, 4, 8192, "member_sectors is 4096, but at least 8192 are needed"),
        (Raid10, 0x201, 4, 4096, "member_sectors is 4096, but at least 8192 are needed"),
        (Raid0, 0, 4, 4097, "slot 0 has 4096 sectors of data, less than one chunk of 4097"),
    ] {
        assert_eq!(refusal(level, layout, n, chunk).to_string(), message);
    }
}

#[test]
fn raid0_of_mixed_sizes_must_state_its_layout() {
    let try_sizes = |sizes: &[u64]| {
        Layout::new(&shape(Level::Raid0, 0, sizes.len() as u32, 8, 0), sizes).map(drop)
    };
    assert_eq!(try_sizes(&[80, 80, 80]), Ok(()));
    assert_eq!(try_sizes(&[80, 87, 80]), Ok(()), "the same number of chunks");
    assert_eq!(try_sizes(&[80, 80, 88]), Ok(()), "one member goes on alone");
    assert_eq!(try_sizes(&[80, 88, 88]), Err(LayoutError::AmbiguousZones));
    assert_eq!(try_sizes(&[80, 88, 96]), Err(LayoutError::AmbiguousZones));
}

#[test]
fn linear_and_raid0_need_every_size() {
    for level in [Level::Linear, Level::Raid0] {
        let made = Layout::new(&shape(level, 0, 3, 8, 4096), &[64, 64]);
        let expected = LayoutError::WrongNumberOfSizes { level, raid_disks: 3, given: 2 };
        assert_eq!(made.map(drop), Err(expected));
        let made = Layout::new(&shape(level, 0, 2, 8, 4096), &[64, 7]);
        let expected = LayoutError::MemberTooSmall { slot: 1, sectors: 7, chunk_sectors: 8 };
        assert_eq!(made.map(drop), Err(expected));
    }
}

/// No claim of a superblock makes the constructor panic.
#[test]
fn hostile_shapes_are_answered() {
    let numbers = [0, 1, 2, 3, 4, 8, 255, 256, 384, 0xff01, 0xffff, 0x1_ffff, 0x5_0202, u32::MAX];
    let sizes = [0, 1, 7, 8, 1 << 40, 1 << 54, u64::MAX - 1, u64::MAX];
    for level in Level::ALL {
        for layout in numbers {
            for raid_disks in numbers {
                for chunk in numbers.into_iter().chain([1 << 31]) {
                    for size in sizes {
                        let members = vec![size; raid_disks.min(400) as usize];
                        let shape = shape(level, layout, raid_disks, chunk, size);
                        if let Ok(made) = Layout::new(&shape, &members) {
                            assert!(made.array_sectors() > 0, "{shape:x?}");
                        }
                    }
                }
            }
        }
    }
}
