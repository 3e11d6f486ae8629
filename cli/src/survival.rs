//! What a loss would mean: how many members may go, and which sets are fatal.
//!
//! Answers come from the same layout arithmetic that serves data, by trying every set of losses
//! while there are few enough to try, and from the level's rule otherwise.

use holdfast_raid::layout::Layout;
use holdfast_raid::level::Level;

/// Sets tried before giving up: some tenths of a second.
const MOST_SETS: u64 = 200_000;

/// How many sets of losses of one size lose data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fatal {
    /// Members lost together.
    pub(crate) lost: u32,
    /// Sets that lose data.
    pub(crate) fatal: u64,
    /// Sets in all.
    pub(crate) sets: u64,
}

/// Counts the fatal sets of `lost` members among those present; none if there are too many to try.
pub(crate) fn fatal_sets(layout: &Layout, present: &[bool], lost: u32) -> Option<Fatal> {
    let here: Vec<usize> = (0..present.len()).filter(|slot| present[*slot]).collect();
    let sets = binomial(here.len() as u64, u64::from(lost))?;
    if sets > MOST_SETS {
        return None;
    }
    let mut fatal = 0;
    let mut left = present.to_vec();
    each_set(&here, lost as usize, &mut left, &mut |left| {
        fatal += u64::from(!layout.survives(left));
    });
    Some(Fatal { lost, fatal, sets })
}

/// How many of the members present may go, whichever they are.
pub(crate) fn tolerance(layout: &Layout, present: &[bool]) -> u32 {
    if !layout.survives(present) {
        return 0;
    }
    let here = present.iter().filter(|here| **here).count() as u32;
    let missing = layout.shape().raid_disks - here;
    match layout.shape().level {
        Level::Linear | Level::Raid0 => 0,
        Level::Raid1 => here.saturating_sub(1),
        level @ (Level::Raid4 | Level::Raid5 | Level::Raid6) => {
            level.parity_members().saturating_sub(missing)
        }
        Level::Raid10 => {
            let harmless =
                |lost: &u32| fatal_sets(layout, present, *lost).is_some_and(|sets| sets.fatal == 0);
            (1..here).take_while(harmless).count() as u32
        }
    }
}

/// Calls `visit` with every set of `count` of `slots` taken out of `left`.
fn each_set(slots: &[usize], count: usize, left: &mut Vec<bool>, visit: &mut impl FnMut(&[bool])) {
    if count == 0 {
        return visit(left);
    }
    for (index, slot) in slots.iter().enumerate() {
        left[*slot] = false;
        each_set(&slots[index + 1..], count - 1, left, visit);
        left[*slot] = true;
    }
}

fn binomial(n: u64, k: u64) -> Option<u64> {
    if k > n {
        return Some(0);
    }
    (0..k).try_fold(1u64, |product, step| {
        product.checked_mul(n - step).map(|product| product / (step + 1))
    })
}

#[cfg(test)]
mod tests {
    use holdfast_raid::layout::Shape;

    use super::*;

    fn layout(level: Level, layout: u32, raid_disks: u32) -> Layout {
        let shape = Shape { level, layout, raid_disks, chunk_sectors: 8, member_sectors: 1024 };
        Layout::new(&shape, &vec![1024; raid_disks as usize]).unwrap()
    }

    /// The shares are those of the fault model: 1/7 and 3/7 for near copies, 2/7 for far ones.
    #[test]
    fn fatal_sets_of_eight_members() {
        let all = [true; 8];
        for (level, number, lost, fatal, sets) in [
            (Level::Raid10, 0x102, 2, 4, 28),
            (Level::Raid10, 0x102, 3, 24, 56),
            (Level::Raid10, 0x201, 2, 8, 28),
            (Level::Raid10, 0x10201, 3, 40, 56),
            (Level::Raid5, 2, 1, 0, 8),
            (Level::Raid5, 2, 2, 28, 28),
            (Level::Raid6, 2, 2, 0, 28),
            (Level::Raid6, 2, 3, 56, 56),
        ] {
            let counted = fatal_sets(&layout(level, number, 8), &all, lost);
            assert_eq!(counted, Some(Fatal { lost, fatal, sets }), "{level} {number:#x}");
        }
    }

    #[test]
    fn tolerance_counts_what_is_left() {
        for (level, number, present, may_go) in [
            (Level::Raid0, 0, "UUUU", 0),
            (Level::Raid1, 0, "UU_U", 2),
            (Level::Raid5, 2, "UUUU", 1),
            (Level::Raid5, 2, "UU_U", 0),
            (Level::Raid6, 2, "UU_U", 1),
            (Level::Raid10, 0x102, "UUUU", 1),
            (Level::Raid10, 0x103, "UUUU", 2),
            (Level::Raid10, 0x102, "UUU_", 0),
            (Level::Raid5, 2, "U__U", 0),
        ] {
            let slots: Vec<bool> = present.bytes().map(|slot| slot == b'U').collect();
            assert_eq!(tolerance(&layout(level, number, 4), &slots), may_go, "{level} {present}");
        }
    }

    #[test]
    fn too_many_sets_are_not_tried() {
        assert_eq!(fatal_sets(&layout(Level::Raid10, 0x102, 300), &[true; 300], 3), None);
    }
}
