//! A picture of an array: members as columns, rows of chunks, parity as P and Q.
//!
//! One rule for every level. A *unit* is a chunk; where the level has none (raid1, linear without
//! rounding) it is 64 KiB, the piece in which md compares mirrors. A cell is the number of the
//! array's unit that lives there.
//!
//! ```text
//!          row  slot:     0     1     2     3
//!            4           12    13    14     P
//! >          5         [16]    17     P    15
//!            6           20     P    18    19
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;

use holdfast_raid::layout::{Layout, Place};
use holdfast_raid::level::Level;

/// Sectors of a unit where the level has no chunk.
const UNCHUNKED_SECTORS: u64 = 128;

/// Where one array sector lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The array's unit (chunk) it belongs to.
    pub(crate) unit: u64,
    /// Sectors into that unit.
    pub(crate) within: u64,
    /// The places that hold it.
    pub(crate) data: Vec<Place>,
    /// Where the parity over it is: P, then Q.
    pub(crate) parity: Vec<Place>,
    /// The stripe, where there are stripes with parity.
    pub(crate) stripe: Option<u64>,
}

/// Whether the array is cut into chunks.
pub(crate) fn is_chunked(layout: &Layout) -> bool {
    layout.shape().level != Level::Raid1 && layout.shape().chunk_sectors > 0
}

/// Sectors of a unit.
pub(crate) fn unit_sectors(layout: &Layout) -> u64 {
    if is_chunked(layout) { layout.shape().chunk_sectors.into() } else { UNCHUNKED_SECTORS }
}

/// Where an array sector lives.
pub(crate) fn locate(layout: &Layout, sector: u64) -> Located {
    let unit = unit_sectors(layout);
    let (number, within) = (sector / unit, sector % unit);
    match layout {
        Layout::Mapped(mapped) => {
            let mut data = Vec::new();
            mapped.map(sector, 1, &mut data);
            Located { unit: number, within, data, parity: Vec::new(), stripe: None }
        }
        Layout::Parity(parity) => {
            let (stripe, d, within) = parity.locate(sector);
            let roles = parity.stripe(stripe);
            let place = |slot| Place { slot, sector: stripe * unit + within };
            Located {
                unit: number,
                within,
                data: vec![place(roles.data_slot(d))],
                parity: [Some(roles.p), roles.q].into_iter().flatten().map(place).collect(),
                stripe: Some(stripe),
            }
        }
    }
}

/// What a member's row of one unit holds: a unit's number, P, Q, or nothing.
fn cell(layout: &Layout, slot: u32, row: u64) -> String {
    let unit = unit_sectors(layout);
    let nothing = || "-".to_owned();
    if (row + 1) * unit > layout.member_extent(slot).next_multiple_of(unit) {
        return nothing();
    }
    match layout {
        Layout::Mapped(mapped) => {
            let (found, _) = mapped.array_sector_of(slot, row * unit, 1);
            found.map_or_else(nothing, |sector| (sector / unit).to_string())
        }
        Layout::Parity(parity) => {
            let roles = parity.stripe(row);
            match roles.data_index(slot) {
                Some(d) => (parity.array_sector(row, d, 0) / unit).to_string(),
                None if slot == roles.p => "P".to_owned(),
                None => "Q".to_owned(),
            }
        }
    }
}

/// The rows around every place of a located sector.
pub(crate) fn draw(layout: &Layout, located: &Located) -> String {
    let unit = unit_sectors(layout);
    let mut rows = BTreeSet::new();
    let last_row = (0..layout.shape().raid_disks)
        .map(|slot| layout.member_extent(slot).div_ceil(unit))
        .max()
        .map_or(0, |rows| rows.saturating_sub(1));
    for place in &located.data {
        let row = place.sector / unit;
        rows.extend(row.saturating_sub(1)..=(row + 1).min(last_row));
    }
    let here = |slot: u32, row: u64| {
        located.data.iter().any(|place| place.slot == slot && place.sector / unit == row)
    };
    let grid: Vec<(u64, Vec<String>)> = rows
        .iter()
        .map(|row| {
            let cells = (0..layout.shape().raid_disks).map(|slot| match cell(layout, slot, *row) {
                text if here(slot, *row) => format!("[{text}]"),
                text => text,
            });
            (*row, cells.collect())
        })
        .collect();
    lay_out(layout.shape().raid_disks, &grid)
}

fn lay_out(slots: u32, grid: &[(u64, Vec<String>)]) -> String {
    let cells = grid.iter().flat_map(|(_, cells)| cells);
    let width = cells.map(String::len).chain([slots.to_string().len()]).max().unwrap_or(1) + 2;
    let mut text = format!("  {:>9}  slot:", "row");
    for slot in 0..slots {
        let _ = write!(text, "{slot:>width$}");
    }
    let mut before = None;
    for (row, cells) in grid {
        if before.is_some_and(|before| before + 1 != *row) {
            text.push_str("\n        ...");
        }
        before = Some(*row);
        let mark = if cells.iter().any(|cell| cell.starts_with('[')) { '>' } else { ' ' };
        let _ = write!(text, "\n{mark} {row:>9}       ");
        for cell in cells {
            let _ = write!(text, "{cell:>width$}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use holdfast_raid::layout::Shape;

    use super::*;

    fn layout(level: Level, layout: u32, raid_disks: u32) -> Layout {
        let shape = Shape { level, layout, raid_disks, chunk_sectors: 128, member_sectors: 1024 };
        Layout::new(&shape, &vec![1024; raid_disks as usize]).unwrap()
    }

    #[test]
    fn a_left_symmetric_stripe_looks_as_in_the_books() {
        let layout = layout(Level::Raid5, 2, 4);
        let located = locate(&layout, 2048);
        assert_eq!((located.unit, located.stripe), (16, Some(5)));
        assert_eq!(located.data, [Place { slot: 0, sector: 640 }]);
        assert_eq!(located.parity, [Place { slot: 2, sector: 640 }]);
        let expected = "        row  slot:     0     1     2     3
          4           12    13    14     P
>         5         [16]    17     P    15
          6           20     P    18    19";
        let picture = draw(&layout, &located);
        assert_eq!(picture.trim_start(), expected.trim_start(), "\n{picture}");
    }

    #[test]
    fn every_copy_is_marked_and_gaps_are_shown() {
        let layout = layout(Level::Raid10, 0x201, 4);
        let picture = draw(&layout, &locate(&layout, 0));
        assert_eq!(picture.matches("[0]").count(), 2, "{picture}");
        assert!(picture.contains("..."), "{picture}");
    }
}
