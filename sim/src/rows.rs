//! Which places stand in for each other.
//!
//! A *row* is the smallest thing that is lost or saved as one: on parity levels one sector of each
//! member, at the same place on all; on mirrors one array sector and its copies; without redundancy
//! one array sector alone. How much of a row may be missing is all the tolerance there is, and it
//! is judged here from [`Layout`]'s arithmetic alone, without the engine.

use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, Mapped, Place, Roles};

use std::ops::Range;

use crate::disk::{PAGE, SimDisk};

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

/// Sectors of a page: what is compared at a time.
const STEP: u64 = PAGE as u64 / 512;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// A page of a member's data; `None` if it holds zeros. Data begins on a page, on every disk.
fn page(member: (&SimDisk, u64), sector: u64) -> Option<&[u8; PAGE]> {
    member.0.page(member.1 + sector)
}

/// The first sector from `sector` on, of the `run` from there on, that is not the same in both.
fn first_difference(
    one: (&SimDisk, u64),
    one_sector: u64,
    other: (&SimDisk, u64),
    other_sector: u64,
    run: u64,
) -> Option<u64> {
    (0..run).step_by(STEP as usize).find_map(|at| {
        let (one, other) = (page(one, one_sector + at), page(other, other_sector + at));
        let (one, other) = match (one, other) {
            (None, None) => return None,
            (one, other) => (one.unwrap_or(&ZEROS), other.unwrap_or(&ZEROS)),
        };
        let mut sectors = one.chunks(512).zip(other.chunks(512));
        let within = sectors.position(|(one, other)| one != other)? as u64;
        (at + within < run).then_some(at + within)
    })
}

fn copies_difference(
    sector: u64,
    run: u64,
    copies: &[Place],
    members: &[Option<(&SimDisk, u64)>],
) -> Option<String> {
    let mut there = copies.iter().filter_map(|copy| Some((copy, members[copy.slot as usize]?)));
    let (first, member) = there.next()?;
    for (copy, other) in there {
        if let Some(at) = first_difference(member, first.sector, other, copy.sector, run) {
            return Some(format!(
                "array sector {}: slots {} and {} hold different copies",
                sector + at,
                first.slot,
                copy.slot
            ));
        }
    }
    None
}

fn stripe_difference(
    roles: &Roles,
    data_members: u32,
    stripe: u64,
    chunk: u64,
    members: &[Option<(&SimDisk, u64)>],
) -> Option<String> {
    let mut by_exponent: Vec<Option<(&SimDisk, u64)>> = Vec::new();
    for d in 0..data_members {
        let exponent = roles.exponent(d) as usize;
        by_exponent.resize(by_exponent.len().max(exponent + 1), None);
        by_exponent[exponent] = Some(members[roles.data_slot(d) as usize]?);
    }
    let p = (members[roles.p as usize], "P", (|sum| sum) as fn(u64) -> u64);
    let q = (roles.q.and_then(|slot| members[slot as usize]), "Q", twice as fn(u64) -> u64);
    for row in (stripe * chunk..(stripe + 1) * chunk).step_by(STEP as usize) {
        let data: Vec<_> = by_exponent.iter().map(|m| m.and_then(|m| page(m, row))).collect();
        for (member, which, times) in [p, q] {
            let Some(member) = member else { continue };
            if let Some(at) = page_difference(&data, page(member, row), times) {
                let row = row + at;
                return Some(format!(
                    "stripe {stripe}, row {row}: {which} is not what the data says"
                ));
            }
        }
    }
    None
}

/// The first sector of a page of parity that is not what data says, by Horner's rule.
fn page_difference(
    data: &[Option<&[u8; PAGE]>],
    parity: Option<&[u8; PAGE]>,
    times: fn(u64) -> u64,
) -> Option<u64> {
    if parity.is_none() && data.iter().all(Option::is_none) {
        return None;
    }
    let mut sum = [0u64; PAGE / 8];
    for source in data.iter().rev() {
        sum.iter_mut().for_each(|sum| *sum = times(*sum));
        if let Some(bytes) = source {
            let words = bytes.chunks_exact(8);
            for (sum, word) in sum.iter_mut().zip(words) {
                *sum ^= u64::from_le_bytes(word.try_into().expect("8"));
            }
        }
    }
    let found = parity.unwrap_or(&ZEROS).chunks_exact(8);
    let found = found.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8")));
    let at = found.zip(&sum).position(|(found, wanted)| found != *wanted)?;
    Some(at as u64 / 64)
}

/// Each byte times the generator of the field: Q by Horner's rule, unlike the engine's tables.
const fn twice(word: u64) -> u64 {
    let high = (word >> 7) & 0x0101_0101_0101_0101;
    ((word << 1) & 0xfefe_fefe_fefe_fefe) ^ (high * 0x1d)
}

/// A set of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    any: bool,
}

impl RowSet {
    /// No rows of `count`.
    pub fn none(count: u64) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize], any: false }
    }

    /// Adds a row.
    pub fn insert(&mut self, row: u64) {
        self.words[row as usize / 64] |= 1 << (row % 64);
        self.any = true;
    }

    /// Adds rows.
    pub fn insert_range(&mut self, rows: Range<u64>) {
        self.any |= !rows.is_empty();
        each_word(rows, |index, mask| self.words[index] |= mask);
    }

    /// Adds those of a range that are also in another set; whether there were any.
    pub fn insert_common(&mut self, rows: Range<u64>, other: &Self) -> bool {
        let mut found = 0;
        if other.any {
            each_word(rows, |index, mask| {
                self.words[index] |= other.words[index] & mask;
                found |= other.words[index] & mask;
            });
        }
        self.any |= found != 0;
        found != 0
    }

    /// Whether any row of a range is in it.
    pub fn meets(&self, rows: Range<u64>) -> bool {
        let mut found = 0;
        if self.any {
            each_word(rows, |index, mask| found |= self.words[index] & mask);
        }
        found != 0
    }

    /// Whether a row is in it.
    pub fn contains(&self, row: u64) -> bool {
        self.any && self.words[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// Takes rows below `limit` out.
    pub fn remove_below(&mut self, limit: u64) {
        if !self.any {
            return;
        }
        for (index, word) in self.words.iter_mut().enumerate() {
            let first = index as u64 * 64;
            match limit.saturating_sub(first) {
                0 => break,
                64.. => *word = 0,
                some => *word &= u64::MAX << some,
            }
        }
        self.any = self.words.iter().any(|&word| word != 0);
    }

    /// Adds all rows of another set.
    pub fn extend(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
        self.any |= other.any;
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let words = if self.any { &self.words[..] } else { &[] };
        words.iter().enumerate().flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u64 * 64 + bit)
        })
    }
}

/// Calls with each word that holds a part of the rows, and the mask of that part.
fn each_word(rows: Range<u64>, mut each: impl FnMut(usize, u64)) {
    let mut row = rows.start;
    while row < rows.end {
        let count = (64 - row % 64).min(rows.end - row);
        each(row as usize / 64, (u64::MAX >> (64 - count)) << (row % 64));
        row += count;
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use holdfast_raid::layout::Shape;
    use holdfast_raid::parity::reference;

    #[test]
    fn twice_is_multiplication_by_the_generator() {
        for byte in 0..=255u8 {
            let word = u64::from_le_bytes([byte; 8]);
            assert_eq!(twice(word).to_le_bytes(), [reference::mul(byte, 2); 8]);
        }
    }

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

    #[test]
    fn ranges_of_a_set_are_its_rows() {
        let mut rng = holdfast_core::rng::Rng::new(6);
        for _ in 0..100 {
            let mut range = || {
                let start = rng.below(200);
                start..start + rng.below(201 - start)
            };
            let (one, other, asked) = (range(), range(), range());
            let (mut set, mut both) = (RowSet::none(200), RowSet::none(200));
            set.insert_range(one.clone());
            assert!(set.iter().eq(one.clone()));
            assert_eq!(set.meets(asked.clone()), one.clone().any(|row| asked.contains(&row)));
            let found = both.insert_common(other.clone(), &set);
            assert!(both.iter().eq(one.filter(|row| other.contains(row))));
            assert_eq!(found, !both.is_empty());
        }
    }

    #[test]
    fn sets_forget_what_lies_below_a_limit() {
        let mut set = RowSet::none(200);
        for row in [0, 63, 64, 65, 130, 199] {
            set.insert(row);
        }
        set.remove_below(65);
        assert_eq!(set.iter().collect::<Vec<_>>(), [65, 130, 199]);
        set.remove_below(200);
        assert!(set.is_empty() && set.iter().next().is_none());
    }
}
