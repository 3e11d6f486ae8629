//! What the layouts promise, examined over every small geometry.
//!
//! `grids` draws arrays and compares them with drawings; `forward_and_back` holds the promises of
//! [`Mapped`] and [`Parity`] against each other sector by sector; `survival` counts losses;
//! `borders` visits sizes, extremes and refusals.

mod borders;
mod forward_and_back;
mod grids;
mod survival;

use super::{Layout, LayoutError, Mapped, Parity, Place, Shape};
use crate::level::Level;

fn shape(level: Level, layout: u32, raid_disks: u32, chunk_sectors: u32, size: u64) -> Shape {
    Shape { level, layout, raid_disks, chunk_sectors, member_sectors: size }
}

fn mapped(shape: &Shape, sizes: &[u64]) -> Mapped {
    match Layout::new(shape, sizes) {
        Ok(Layout::Mapped(mapped)) => mapped,
        other => panic!("{shape:x?}: {other:?}"),
    }
}

fn parity(shape: &Shape) -> Parity {
    match Layout::new(shape, &[]) {
        Ok(Layout::Parity(parity)) => parity,
        other => panic!("{shape:x?}: {other:?}"),
    }
}

const RAID5_LAYOUTS: [u32; 6] = [0, 1, 2, 3, 4, 5];
const RAID6_LAYOUTS: [u32; 14] = [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20];

/// Every parity array of up to 9 members, with a few stripes more than one full turn.
fn parity_arrays() -> Vec<Parity> {
    let levels: [(Level, &[u32]); 3] =
        [(Level::Raid4, &[0, 5]), (Level::Raid5, &RAID5_LAYOUTS), (Level::Raid6, &RAID6_LAYOUTS)];
    let mut arrays = Vec::new();
    for (level, layouts) in levels {
        for &layout in layouts {
            for n in level.min_members()..=9 {
                let size = u64::from(2 * n + 1) * 8 + 7;
                arrays.push(parity(&shape(level, layout, n, 8, size)));
            }
        }
    }
    arrays
}

/// Every raid10 that Linux would make of up to 9 members and `rows` chunks on each, less those
/// refused because chunks collide.
fn raid10_arrays(chunk: u32, rows: u64) -> Vec<Mapped> {
    let mut arrays = Vec::new();
    for n in 2..=9 {
        for layout in raid10_layouts(n) {
            let shape = shape(Level::Raid10, layout, n, chunk, rows * u64::from(chunk) + 3);
            match Layout::new(&shape, &[]) {
                Ok(Layout::Mapped(mapped)) => arrays.push(mapped),
                Err(LayoutError::CopiesCollide { .. }) => {}
                // More far copies than rows.
                Err(LayoutError::MembersTooSmall { .. }) => {}
                other => panic!("{shape:x?}: {other:?}"),
            }
        }
    }
    arrays
}

/// Near and far copies in every number, offset or not, far sets by every rule.
fn raid10_layouts(n: u32) -> Vec<u32> {
    let mut layouts = Vec::new();
    for near in 1..=n {
        for far in 1..=n {
            if (2..=n).contains(&(near * far)) {
                for form in [0, 0x10000, 0x20000, 0x30000, 0x40000, 0x50000] {
                    layouts.push(form | far << 8 | near);
                }
            }
        }
    }
    layouts
}

/// raid0 over every choice of four sizes from four, with both layouts.
fn raid0_arrays() -> Vec<Mapped> {
    let mut arrays = Vec::new();
    for chunk in [8, 16, 24] {
        for choice in 0..256u64 {
            let sizes: Vec<u64> = (0..4)
                .map(|slot| [1, 2, 4, 7][(choice >> (2 * slot) & 3) as usize])
                .map(|chunks| chunks * u64::from(chunk) + 5)
                .collect();
            for layout in [1, 2] {
                arrays.push(mapped(&shape(Level::Raid0, layout, 4, chunk, 0), &sizes));
            }
        }
    }
    arrays
}

fn linear_arrays() -> Vec<Mapped> {
    let sizes = [17, 40, 9, 16];
    [0, 8, 3].map(|chunk| mapped(&shape(Level::Linear, 0, 4, chunk, 0), &sizes)).to_vec()
}

fn raid1_arrays() -> Vec<Mapped> {
    (1..=4).map(|n| mapped(&shape(Level::Raid1, 0, n, 0, 33), &[])).collect()
}

/// Every mapped array above.
fn mapped_arrays() -> Vec<Mapped> {
    let mut arrays = linear_arrays();
    arrays.extend(raid0_arrays());
    arrays.extend(raid1_arrays());
    arrays.extend(raid10_arrays(8, 7));
    arrays.extend(raid10_arrays(16, 4));
    arrays
}

fn places(mapped: &Mapped, sector: u64) -> Vec<Place> {
    let mut copies = Vec::new();
    mapped.map(sector, 1, &mut copies);
    copies
}
