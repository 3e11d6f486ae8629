//! How large an array is, which layouts and chunks a level takes, how many members it needs.
//!
//! The plain arithmetic that [`create`](super::create) and [`choose`](mod@super::choose) share. Where
//! each chunk lives is not asked here.
//!
//! Sources: Linux `raid0.c` (`raid0_size`), `md-linear.c`, `raid5.c` (`raid5_size`), `raid10.c`
//! (`setup_geo`, `raid10_size`), mdadm `util.c` (`enough`).

use crate::level::Level;

/// Copies a RAID10 layout keeps: `(near, far)`.
pub const fn raid10_copies(layout: u32) -> (u32, u32) {
    (layout & 0xff, layout >> 8 & 0xff)
}

/// Whether `layout` is one the level has, for this many slots.
pub fn layout_is_valid(level: Level, layout: u32, raid_disks: u32) -> bool {
    match level {
        Level::Linear | Level::Raid1 | Level::Raid4 => layout == 0,
        Level::Raid0 => layout <= 2,
        Level::Raid5 => layout <= 5,
        Level::Raid6 => matches!(layout, 0..=5 | 8..=10 | 16..=20),
        Level::Raid10 => {
            let (near, far) = raid10_copies(layout);
            // Bits 17 and 18 choose the far sets; 3 is no choice.
            let known = layout >> 19 == 0 && layout >> 17 != 3;
            known && near >= 1 && far >= 1 && (2..=raid_disks).contains(&(near * far))
        }
    }
}

/// `size` rounded down to whole chunks; no chunk, no rounding.
pub const fn whole_chunks(sectors: u64, chunk_sectors: u32) -> u64 {
    match chunk_sectors {
        0 => sectors,
        chunk => sectors - sectors % chunk as u64,
    }
}

/// Sectors of the array. `size` is what each member contributes, `data_sizes` what each has: RAID0
/// and linear use all of it. Saturates instead of overflowing.
pub fn array_sectors(
    level: Level,
    layout: u32,
    chunk_sectors: u32,
    raid_disks: u32,
    size: u64,
    data_sizes: &[u64],
) -> u64 {
    let usable = whole_chunks(size, chunk_sectors);
    match level {
        Level::Linear | Level::Raid0 => data_sizes
            .iter()
            .map(|sectors| whole_chunks(*sectors, chunk_sectors))
            .fold(0, u64::saturating_add),
        Level::Raid1 => size,
        Level::Raid4 | Level::Raid5 | Level::Raid6 => {
            let data = raid_disks.saturating_sub(level.parity_members());
            usable.saturating_mul(data.into())
        }
        Level::Raid10 => {
            let (near, far) = raid10_copies(layout);
            let (near, far, chunk) = (near.max(1), far.max(1), u64::from(chunk_sectors.max(1)));
            let rows = usable / chunk / u64::from(far);
            (rows.saturating_mul(raid_disks.into()) / u64::from(near)).saturating_mul(chunk)
        }
    }
}

/// Whether the array can serve data with the slots that are `present`.
pub fn enough(level: Level, layout: u32, present: &[bool]) -> bool {
    let missing = present.iter().filter(|here| !**here).count();
    match level {
        Level::Linear | Level::Raid0 => missing == 0,
        Level::Raid1 => missing < present.len(),
        Level::Raid4 | Level::Raid5 => missing <= 1,
        Level::Raid6 => missing <= 2,
        Level::Raid10 => enough_copies(layout, present),
    }
}

/// Every window of `near × far` neighbouring slots, starting at each multiple of `near`, holds all
/// copies of some chunk: one of them must be present.
fn enough_copies(layout: u32, present: &[bool]) -> bool {
    let (near, far) = raid10_copies(layout);
    let (near, copies, slots) = (near as usize, near as usize * far as usize, present.len());
    if near == 0 || slots == 0 {
        return false;
    }
    let mut start = 0;
    loop {
        if !(0..copies).any(|step| present[(start + step) % slots]) {
            return false;
        }
        start = (start + near) % slots;
        if start == 0 {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_sizes() {
        use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};
        type Row = (Level, u32, u32, u32, u64, &'static [u64], u64);
        let rows: [Row; 11] = [
            (Linear, 0, 0, 2, 0, &[100, 57], 157),
            (Linear, 0, 8, 2, 0, &[100, 57], 96 + 56),
            (Raid0, 0, 16, 2, 0, &[100, 57], 96 + 48),
            (Raid1, 0, 0, 3, 101, &[200, 200, 200], 101),
            (Raid4, 0, 8, 3, 100, &[], 2 * 96),
            (Raid5, 2, 8, 4, 100, &[], 3 * 96),
            (Raid6, 2, 8, 5, 100, &[], 3 * 96),
            (Raid10, 0x102, 8, 4, 100, &[], 2 * 96),
            (Raid10, 0x102, 8, 3, 100, &[], 12 * 3 / 2 * 8),
            (Raid10, 0x201, 8, 3, 104, &[], 6 * 3 * 8),
            (Raid10, 0x202, 8, 6, 104, &[], 6 * 6 / 2 * 8),
        ];
        for (level, layout, chunk, disks, size, data, sectors) in rows {
            assert_eq!(array_sectors(level, layout, chunk, disks, size, data), sectors, "{level}");
        }
        assert_eq!(array_sectors(Raid5, 2, 8, 3, u64::MAX, &[]), u64::MAX);
    }

    #[test]
    fn which_members_may_be_missing() {
        use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};
        let rows = [
            (Linear, 0, "UU", true),
            (Linear, 0, "U_", false),
            (Raid0, 0, "_U", false),
            (Raid1, 0, "__U", true),
            (Raid1, 0, "___", false),
            (Raid4, 0, "U_U", true),
            (Raid5, 2, "UU_", true),
            (Raid5, 2, "U__", false),
            (Raid6, 2, "U__U", true),
            (Raid6, 2, "___U", false),
            (Raid10, 0x102, "U__U", true),
            (Raid10, 0x102, "UU__", false),
            (Raid10, 0x102, "_UU_", true),
            (Raid10, 0x201, "U_U_", true),
            (Raid10, 0x201, "U__U", false),
            (Raid10, 0x102, "_U_", false),
            (Raid10, 0x102, "UU_", true),
            (Raid10, 0, "UU", false),
        ];
        for (level, layout, slots, expected) in rows {
            let present: Vec<bool> = slots.bytes().map(|slot| slot == b'U').collect();
            assert_eq!(enough(level, layout, &present), expected, "{level} {layout:#x} {slots}");
        }
    }

    #[test]
    fn layouts_a_level_has() {
        let rows = [
            (Level::Raid1, 0, 2, true),
            (Level::Raid1, 1, 2, false),
            (Level::Raid5, 5, 3, true),
            (Level::Raid5, 6, 3, false),
            (Level::Raid6, 10, 4, true),
            (Level::Raid6, 7, 4, false),
            (Level::Raid6, 21, 4, false),
            (Level::Raid10, 0x102, 2, true),
            (Level::Raid10, 0x101, 2, false),
            (Level::Raid10, 0x103, 2, false),
            (Level::Raid10, 0x10201, 2, true),
            (Level::Raid10, 0x60201, 4, false),
            (Level::Raid10, 0x80102, 4, false),
        ];
        for (level, layout, disks, valid) in rows {
            assert_eq!(layout_is_valid(level, layout, disks), valid, "{level} {layout:#x}");
        }
    }
}
