//! Which places stand in for each other.
//!
//! A *row* is the smallest thing that is lost or saved as one: on parity levels one sector of each
//! member, at the same place on all; on mirrors one array sector and its copies; without redundancy
//! one array sector alone. How much of a row may be missing is all the tolerance there is, and it
//! is judged here from [`Layout`]'s arithmetic alone, without the engine.

mod difference;
mod set;

use std::ops::Range;

use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, Mapped, Place};

use crate::disk::SimDisk;
use difference::{copies_difference, stripe_difference};
pub use set::RowSet;

/// The rows of an array.
#[derive(Clone, Debug)]
pub struct Rows {
    layout: Layout,
    count: u64,
}

impl Rows {
    /// The rows of a layout.
    pub fn new(layout: Layout) -> Self {
        let count = match &layout {
            Layout::Parity(parity) => parity.member_extent(),
            Layout::Mapped(mapped) => mapped.array_sectors(),
        };
        Self { layout, count }
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sectors of the array.
    pub fn array_sectors(&self) -> u64 {
        self.layout.array_sectors()
    }

    /// The layout.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether redundancy is computed rather than copied.
    pub const fn has_parity(&self) -> bool {
        matches!(self.layout, Layout::Parity(_))
    }

    /// The row of an array sector.
    pub fn of(&self, sector: u64) -> u64 {
        match &self.layout {
            Layout::Mapped(_) => sector,
            Layout::Parity(parity) => {
                let (stripe, _, within) = parity.locate(sector);
                stripe * u64::from(parity.chunk_sectors()) + within
            }
        }
    }

    /// The places of a row.
    pub fn places(&self, row: u64, places: &mut Vec<Place>) {
        places.clear();
        match &self.layout {
            Layout::Mapped(mapped) => {
                mapped.map(row, 1, places);
            }
            Layout::Parity(parity) => {
                places.extend((0..parity.members()).map(|slot| Place { slot, sector: row }));
            }
        }
    }

    /// Adds the rows of array sectors to a set.
    pub fn insert_all(&self, sector: u64, sectors: u64, set: &mut RowSet) {
        let Layout::Parity(parity) = &self.layout else {
            return set.insert_range(sector..sector + sectors);
        };
        let (end, chunk) = (sector + sectors, u64::from(parity.chunk_sectors()));
        let mut sector = sector;
        while sector < end {
            let run = (chunk - sector % chunk).min(end - sector);
            let row = self.of(sector);
            set.insert_range(row..row + run);
            sector += run;
        }
    }

    /// How many places of each row lie in what its slots have lost: ranges of rows, ascending,
    /// for all rows. `lost[slot]` are ranges of the slot's data, ascending and apart.
    pub fn losses(&self, lost: &[Vec<Range<u64>>]) -> Vec<(Range<u64>, u32)> {
        let mut changes = match &self.layout {
            Layout::Parity(_) => {
                let changes =
                    lost.iter().flatten().map(|range| range.start.min(self.count)..range.end);
                changes.flat_map(|range| [(range.start, 1), (range.end, -1)]).collect()
            }
            Layout::Mapped(_) if lost.iter().all(Vec::is_empty) => Vec::new(),
            Layout::Mapped(mapped) => self.mapped_changes(mapped, lost),
        };
        changes.sort_unstable();
        let mut segments = Vec::new();
        let (mut row, mut losses) = (0, 0i64);
        for (at, change) in changes {
            if at > row && row < self.count {
                segments.push((row..at.min(self.count), losses as u32));
                row = at;
            }
            losses += change;
        }
        if row < self.count {
            segments.push((row..self.count, losses as u32));
        }
        segments
    }

    /// Where rows begin and cease to lose a place.
    fn mapped_changes(&self, mapped: &Mapped, lost: &[Vec<Range<u64>>]) -> Vec<(u64, i64)> {
        let (mut changes, mut copies) = (Vec::new(), Vec::new());
        let mut row = 0;
        while row < self.count {
            let run = mapped.map(row, self.count - row, &mut copies);
            for copy in &copies {
                let ranges = &lost[copy.slot as usize];
                let first = ranges.partition_point(|range| range.end <= copy.sector);
                let end = copy.sector + run;
                for range in ranges[first..].iter().take_while(|range| range.start < end) {
                    let start = range.start.max(copy.sector) - copy.sector;
                    changes.push((row + start, 1));
                    changes.push((row + range.end.min(end) - copy.sector, -1));
                }
            }
            row += run;
        }
        changes
    }

    /// The row that a member's data sector belongs to, if any.
    pub fn at(&self, place: Place) -> Option<u64> {
        match &self.layout {
            Layout::Parity(_) => (place.sector < self.count).then_some(place.sector),
            Layout::Mapped(mapped) => {
                if place.sector >= mapped.member_extent(place.slot) {
                    return None;
                }
                mapped.array_sector_of(place.slot, place.sector, 1).0
            }
        }
    }

    /// How many places of a row may be lost.
    pub fn tolerance(&self) -> u32 {
        match &self.layout {
            Layout::Parity(parity) => parity.parity_members(),
            Layout::Mapped(mapped) if mapped.shape().level == Level::Linear => 0,
            Layout::Mapped(mapped) => mapped.copies() - 1,
        }
    }

    /// The first difference between what stands in for each other, straight from the disks.
    ///
    /// `members[slot]` is the slot's disk and the first sector of its data; a slot without a disk
    /// has nothing to compare.
    pub fn difference(&self, members: &[Option<(&SimDisk, u64)>]) -> Option<String> {
        match &self.layout {
            Layout::Parity(parity) => {
                let chunk = u64::from(parity.chunk_sectors());
                (0..parity.stripes()).find_map(|stripe| {
                    let roles = parity.stripe(stripe);
                    stripe_difference(&roles, parity.data_members(), stripe, chunk, members)
                })
            }
            Layout::Mapped(mapped) => {
                let mut copies = Vec::new();
                let mut sector = 0;
                while sector < self.count {
                    let run = mapped.map(sector, self.count - sector, &mut copies);
                    if let Some(what) = copies_difference(sector, run, &copies, members) {
                        return Some(what);
                    }
                    sector += run;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use holdfast_raid::layout::Shape;

    #[test]
    fn places_and_rows_undo_each_other() {
        for (level, layout, n) in [
            (Level::Raid0, 0, 3),
            (Level::Raid1, 0, 3),
            (Level::Raid5, 2, 4),
            (Level::Raid6, 8, 5),
            (Level::Raid10, 0x102, 3),
            (Level::Raid10, 0x201, 4),
        ] {
            let raid_disks = n;
            let shape = Shape { level, layout, raid_disks, chunk_sectors: 8, member_sectors: 64 };
            let rows = Rows::new(Layout::new(&shape, &vec![64; n as usize]).unwrap());
            let mut places = Vec::new();
            for row in 0..rows.count() {
                rows.places(row, &mut places);
                assert!(places.iter().all(|place| rows.at(*place) == Some(row)), "{level} {row}");
            }
        }
    }

    /// Every layout's rows, counted place by place and by ranges.
    #[test]
    fn losses_by_ranges_are_losses_place_by_place() {
        let mut rng = holdfast_core::rng::Rng::new(5);
        for (level, layout, n) in [
            (Level::Linear, 0, 3),
            (Level::Raid0, 0, 3),
            (Level::Raid1, 0, 3),
            (Level::Raid5, 2, 4),
            (Level::Raid6, 8, 5),
            (Level::Raid10, 0x102, 3),
            (Level::Raid10, 0x201, 4),
            (Level::Raid10, 0x1_0301, 5),
        ] {
            let raid_disks = n;
            let shape = Shape { level, layout, raid_disks, chunk_sectors: 8, member_sectors: 64 };
            let rows = Rows::new(Layout::new(&shape, &vec![64; n as usize]).unwrap());
            for _ in 0..50 {
                let lost: Vec<Vec<Range<u64>>> = (0..n)
                    .map(|_| match rng.below(4) {
                        0 => iter::once(0..u64::MAX).collect(),
                        1 => Vec::new(),
                        2 => iter::once(rng.below(70)..u64::MAX).collect(),
                        _ => {
                            let (a, b) = (rng.below(30), 32 + rng.below(20));
                            vec![a..a + 1 + rng.below(2), b..b + 8, 60..61]
                        }
                    })
                    .collect();
                let mut next = 0;
                let mut places = Vec::new();
                for (range, losses) in rows.losses(&lost) {
                    assert_eq!(range.start, next);
                    next = range.end;
                    for row in range {
                        rows.places(row, &mut places);
                        let is_lost = |place: &&Place| {
                            lost[place.slot as usize].iter().any(|r| r.contains(&place.sector))
                        };
                        assert_eq!(places.iter().filter(is_lost).count() as u32, losses, "{row}");
                    }
                }
                assert_eq!(next, rows.count());
            }
        }
    }
}
