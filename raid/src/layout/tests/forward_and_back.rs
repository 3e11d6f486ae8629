//! The two directions of every layout undo each other, and nothing shares a place.

use std::collections::BTreeMap;

use super::*;

#[test]
fn no_two_array_sectors_share_a_place() {
    for array in mapped_arrays() {
        let mut owner = BTreeMap::new();
        for sector in 0..array.array_sectors() {
            let copies = places(&array, sector);
            assert_eq!(copies.len(), array.copies() as usize);
            for place in copies {
                assert!(place.sector < array.member_extent(place.slot), "{place:?} {array:x?}");
                let before = owner.insert(place, sector);
                assert_eq!(before, None, "{place:?} also holds {sector} in {array:x?}");
            }
        }
        check_inverse(&array, &owner);
    }
}

/// Every member sector has the owner `map` gave it, or none; so has what lies beyond.
fn check_inverse(array: &Mapped, owner: &BTreeMap<Place, u64>) {
    for slot in 0..array.shape().raid_disks {
        let extent = array.member_extent(slot);
        for sector in 0..extent + 9 {
            let (found, run) = array.array_sector_of(slot, sector, 1);
            let expected = owner.get(&Place { slot, sector }).copied();
            assert_eq!((found, run), (expected, 1), "slot {slot}, {sector} of {array:x?}");
        }
        assert_eq!(array.array_sector_of(slot, u64::MAX, u64::MAX), (None, u64::MAX));
    }
}

#[test]
fn copies_are_on_different_members() {
    for array in mapped_arrays() {
        if array.shape().layout >> 17 == 1 {
            continue; // Far set rule 1 is known for breaking this.
        }
        for sector in 0..array.array_sectors() {
            let mut slots: Vec<u32> = places(&array, sector).iter().map(|p| p.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), array.copies() as usize, "{sector} of {array:x?}");
        }
    }
}

#[test]
fn runs_say_what_single_sectors_say() {
    for array in mapped_arrays() {
        for max in [1, 5, 8, 11, u64::MAX] {
            walk_forward(&array, max);
            for slot in 0..array.shape().raid_disks {
                walk_back(&array, slot, max);
            }
        }
    }
}

fn walk_forward(array: &Mapped, max: u64) {
    let (mut sector, end) = (0, array.array_sectors());
    let mut copies = vec![Place { slot: 99, sector: 99 }];
    while sector < end {
        let run = array.map(sector, max, &mut copies);
        assert!((1..=max.min(end - sector)).contains(&run), "{run} at {sector} of {array:x?}");
        for step in 0..run {
            let stepped = copies.iter().map(|p| Place { sector: p.sector + step, ..*p });
            assert_eq!(places(array, sector + step), stepped.collect::<Vec<_>>());
        }
        sector += run;
    }
}

fn walk_back(array: &Mapped, slot: u32, max: u64) {
    let (mut sector, end) = (0, array.member_extent(slot));
    while sector < end {
        let (found, run) = array.array_sector_of(slot, sector, max);
        assert!((1..=max.min(end - sector)).contains(&run), "{run} at {sector} of {array:x?}");
        for step in 0..run {
            let single = array.array_sector_of(slot, sector + step, 1).0;
            assert_eq!(single, found.map(|found| found + step), "{array:x?}");
        }
        sector += run;
    }
}

/// `raid10.c`, `__raid10_find_phys`, line by line.
fn linux_raid10_places(shape: &Shape, sector: u64) -> Vec<Place> {
    let Shape { layout, raid_disks, chunk_sectors, member_sectors, .. } = *shape;
    let (disks, chunk_sectors) = (u64::from(raid_disks), u64::from(chunk_sectors));
    let near = u64::from(layout & 0xff);
    let far = u64::from(layout >> 8 & 0xff);
    let far_offset = layout & 0x10000 != 0;
    let far_set_size = [disks, disks / far, near * far][(layout >> 17) as usize];

    // calc_sectors
    let total = member_sectors / chunk_sectors / far * disks / near;
    let used = (total * near * far).div_ceil(disks);
    let stride = if far_offset { 1 } else { used / far } * chunk_sectors;

    let last_far_set_start = (disks / far_set_size - 1) * far_set_size;
    let last_far_set_size = far_set_size + disks % far_set_size;
    let chunk = sector / chunk_sectors * near;
    let (mut stripe, mut dev) = (chunk / disks, chunk % disks);
    if far_offset {
        stripe *= far;
    }
    let mut addr = sector % chunk_sectors + stripe * chunk_sectors;
    let mut places = Vec::new();
    for _ in 0..near {
        let (mut d, mut s) = (dev, addr);
        places.push(Place { slot: d as u32, sector: s });
        for _ in 1..far {
            let set = d / far_set_size;
            d += near;
            if disks % far_set_size != 0 && d > last_far_set_start {
                d = (d - last_far_set_start) % last_far_set_size + last_far_set_start;
            } else {
                d = d % far_set_size + far_set_size * set;
            }
            s += stride;
            places.push(Place { slot: d as u32, sector: s });
        }
        dev += 1;
        if dev >= disks {
            dev = 0;
            addr += chunk_sectors;
        }
    }
    places
}

#[test]
fn raid10_agrees_with_linux() {
    for rows in 1..=9 {
        for array in raid10_arrays(8, rows) {
            for sector in (0..array.array_sectors()).step_by(5) {
                let expected = linux_raid10_places(array.shape(), sector);
                assert_eq!(places(&array, sector), expected, "{sector} of {array:x?}");
            }
        }
    }
}

#[test]
fn raid10_refuses_exactly_what_collides_in_linux() {
    for n in 2..=13 {
        for layout in raid10_layouts(n) {
            let rows = 4 * u64::from(n);
            let shape = shape(Level::Raid10, layout, n, 8, rows * 8);
            let (near, far) = (u64::from(layout & 0xff), u64::from(layout >> 8 & 0xff));
            let chunks = rows / far * u64::from(n) / near;
            let mut all: Vec<Place> =
                (0..chunks).flat_map(|chunk| linux_raid10_places(&shape, chunk * 8)).collect();
            let claimed = all.len();
            all.sort_unstable();
            all.dedup();
            let refused = match Layout::new(&shape, &[]) {
                Ok(_) => false,
                Err(LayoutError::CopiesCollide { .. }) => true,
                Err(other) => panic!("{shape:x?}: {other}"),
            };
            assert_eq!(refused, all.len() < claimed, "{shape:x?}");
        }
    }
}

#[test]
fn every_slot_of_a_stripe_has_one_role() {
    for array in parity_arrays() {
        for stripe in (0..array.stripes()).chain([u64::MAX - 1, u64::MAX]) {
            let roles = array.stripe(stripe);
            let mut taken = vec![roles.p];
            taken.extend(roles.q);
            assert_eq!(taken.len(), array.parity_members() as usize);
            for &slot in &taken {
                assert_eq!(roles.data_index(slot), None);
            }
            for d in 0..array.data_members() {
                assert_eq!(roles.data_index(roles.data_slot(d)), Some(d), "{array:?}");
                taken.push(roles.data_slot(d));
            }
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..array.members()), "{stripe} of {array:?}");
            assert_eq!(roles.data_index(array.members()), None);
        }
    }
}

#[test]
fn exponents_follow_md_or_ddf_order() {
    for array in parity_arrays() {
        for stripe in 0..array.stripes() {
            let roles = array.stripe(stripe);
            let Some(q) = roles.q else {
                assert!((0..array.data_members()).all(|d| roles.exponent(d) == d));
                continue;
            };
            // As raid6_idx_to_slot does: walk the slots and count.
            let n = array.members();
            let ddf = matches!(array.shape().layout, 8..=10);
            let mut count = 0;
            for step in 0..n {
                let slot = if ddf { step } else { (q + 1 + step) % n };
                let data = roles.data_index(slot);
                if let Some(d) = data {
                    assert_eq!(roles.exponent(d), count, "{stripe} of {array:?}");
                }
                count += u32::from(ddf || data.is_some());
            }
        }
    }
}

#[test]
fn exponents_of_symmetric_layouts_are_array_order() {
    for layout in [2, 3] {
        let array = parity(&shape(Level::Raid6, layout, 7, 8, 64));
        for stripe in 0..8 {
            let roles = array.stripe(stripe);
            assert!((0..5).all(|d| roles.exponent(d) == d), "layout {layout}");
        }
    }
}

#[test]
fn locating_and_array_sector_undo_each_other() {
    for array in parity_arrays() {
        let mut expected = 0;
        for stripe in 0..array.stripes() {
            for d in 0..array.data_members() {
                for within in 0..u64::from(array.chunk_sectors()) {
                    let sector = array.array_sector(stripe, d, within);
                    assert_eq!(sector, expected);
                    assert_eq!(array.locate(sector), (stripe, d, within));
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, array.array_sectors());
    }
}
