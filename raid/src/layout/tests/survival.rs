//! Which losses an array survives, judged by looking for every sector's copies.

use super::*;

/// Every way `lost` of `n` members can be missing.
fn losses(n: u32, lost: u32) -> impl Iterator<Item = Vec<bool>> {
    (0u32..1 << n)
        .filter(move |mask| mask.count_ones() == lost)
        .map(move |mask| (0..n).map(|slot| mask >> slot & 1 == 0).collect())
}

fn every_sector_has_a_copy(array: &Mapped, present: &[bool]) -> bool {
    (0..array.array_sectors())
        .step_by(8)
        .all(|sector| places(array, sector).iter().any(|place| present[place.slot as usize]))
}

/// mdadm `util.c`, `enough`: runs of neighbouring slots, whatever the layout.
fn enough(shape: &Shape, present: &[bool]) -> bool {
    let n = shape.raid_disks as usize;
    let near = (shape.layout & 0xff) as usize;
    let copies = near * (shape.layout >> 8 & 0xff) as usize;
    let mut first = 0;
    loop {
        if (first..first + copies).all(|slot| !present[slot % n]) {
            return false;
        }
        first = (first + near) % n;
        if first == 0 {
            return true;
        }
    }
}

#[test]
fn raid10_survives_as_long_as_every_sector_has_a_copy() {
    for rows in [2, 3, 4] {
        for array in raid10_arrays(8, rows) {
            let n = array.shape().raid_disks;
            for present in (0..=n).flat_map(|lost| losses(n, lost)) {
                let truth = every_sector_has_a_copy(&array, &present);
                assert_eq!(array.survives(&present), truth, "{present:?} {array:x?}");
            }
        }
    }
}

#[test]
fn enough_is_the_truth_without_far_sets_and_only_then() {
    let mut wrong = Vec::new();
    for array in raid10_arrays(8, 9) {
        let shape = array.shape();
        let all = (0..=shape.raid_disks).flat_map(|lost| losses(shape.raid_disks, lost));
        let differs = |present: &Vec<bool>| enough(shape, present) != array.survives(present);
        if all.filter(differs).count() > 0 {
            wrong.push((shape.layout, shape.raid_disks));
        }
    }
    assert!(wrong.iter().all(|(layout, _)| layout >> 17 != 0), "{wrong:x?}");
    // f2 in pairs on four slots: md would start it without slots 0 and 1, which hold all of chunk
    // 0, and refuse it without slots 1 and 2, which share nothing.
    assert!(wrong.contains(&(0x40201, 4)));
    let f2 = mapped(&shape(Level::Raid10, 0x40201, 4, 8, 64), &[]);
    for (present, truth, md) in
        [([true, false, false, true], true, false), ([false, false, true, true], false, false)]
    {
        assert_eq!(f2.survives(&present), truth, "{present:?}");
        assert_eq!(enough(f2.shape(), &present), md, "{present:?}");
    }
}

/// Of all ways to lose `lost` of eight members, how many are fatal.
fn fatal(layout: u32, lost: u32) -> (usize, usize) {
    let array = mapped(&shape(Level::Raid10, layout, 8, 8, 64 * 8), &[]);
    let all: Vec<bool> = losses(8, lost).map(|present| array.survives(&present)).collect();
    (all.iter().filter(|survives| !**survives).count(), all.len())
}

#[test]
fn fatal_losses_of_eight_members_in_two_copies() {
    for (name, layout, two, three, four) in [
        ("near", 0x102, (4, 28), (24, 56), (54, 70)),
        ("far", 0x201, (8, 28), (40, 56), (68, 70)),
        ("offset", 0x10201, (8, 28), (40, 56), (68, 70)),
        ("far in pairs", 0x40201, (4, 28), (24, 56), (54, 70)),
    ] {
        let counted = [1, 2, 3, 4, 5].map(|lost| fatal(layout, lost));
        assert_eq!(counted, [(0, 8), two, three, four, (56, 56)], "{name}");
    }
}

#[test]
fn parity_survives_as_many_losses_as_it_has_parity() {
    for array in parity_arrays() {
        for lost in 0..=array.members() {
            for present in losses(array.members(), lost) {
                assert_eq!(array.survives(&present), lost <= array.parity_members());
            }
        }
    }
}

#[test]
fn linear_and_raid0_need_all_and_raid1_needs_one() {
    let mut arrays = linear_arrays();
    arrays.extend(raid0_arrays().into_iter().take(20));
    arrays.extend(raid1_arrays());
    for array in arrays {
        let n = array.shape().raid_disks;
        for lost in 0..=n {
            for present in losses(n, lost) {
                let expected =
                    if array.shape().level == Level::Raid1 { lost < n } else { lost == 0 };
                assert_eq!(array.survives(&present), expected, "{present:?} {array:?}");
                assert_eq!(every_sector_has_a_copy(&array, &present), expected);
            }
        }
    }
}

#[test]
fn slots_not_spoken_of_are_absent() {
    let raid5 = parity(&shape(Level::Raid5, 2, 3, 8, 64));
    assert!(raid5.survives(&[true, true]));
    assert!(!raid5.survives(&[true]));
    assert!(raid5.survives(&[true, true, false, false, false]));
}
