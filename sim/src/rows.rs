//! Which places stand in for each other.
//!
//! A *row* is the smallest thing that is lost or saved as one: on parity levels one sector of each
//! member, at the same place on all; on mirrors one array sector and its copies; without redundancy
//! one array sector alone. How much of a row may be missing is all the tolerance there is, and it
//! is judged here from [`Layout`]'s arithmetic alone, without the engine.

use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, Place, Roles};

use crate::disk::SimDisk;

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

fn slice(member: (&SimDisk, u64), sector: u64, sectors: u64) -> &[u8] {
    let from = (member.1 + sector) as usize * 512;
    &member.0.image()[from..from + sectors as usize * 512]
}

fn copies_difference(
    sector: u64,
    run: u64,
    copies: &[Place],
    members: &[Option<(&SimDisk, u64)>],
) -> Option<String> {
    let mut there = copies.iter().filter_map(|copy| Some((copy, members[copy.slot as usize]?)));
    let (first, member) = there.next()?;
    let wanted = slice(member, first.sector, run);
    for (copy, member) in there {
        let found = slice(member, copy.sector, run);
        if found != wanted {
            let skip = wanted.chunks(512).zip(found.chunks(512)).position(|(a, b)| a != b);
            let at = sector + skip.unwrap_or(0) as u64;
            return Some(format!(
                "array sector {at}: slots {} and {} hold different copies",
                first.slot, copy.slot
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
    let part = |slot: u32| Some(slice(members[slot as usize]?, stripe * chunk, chunk));
    let mut by_exponent: Vec<Option<&[u8]>> = Vec::new();
    for d in 0..data_members {
        let exponent = roles.exponent(d) as usize;
        by_exponent.resize(by_exponent.len().max(exponent + 1), None);
        by_exponent[exponent] = Some(part(roles.data_slot(d))?);
    }
    let wrong = |which: &str, found: &[u8], wanted: &[u64]| {
        let words = found.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8")));
        let at = words.zip(wanted).position(|(found, wanted)| found != *wanted)?;
        let row = stripe * chunk + at as u64 / 64;
        Some(format!("stripe {stripe}, row {row}: {which} is not what the data says"))
    };
    let sum = |times: fn(u64) -> u64| {
        let mut sum = vec![0; chunk as usize * 64];
        for source in by_exponent.iter().rev() {
            match source {
                None => sum.iter_mut().for_each(|sum| *sum = times(*sum)),
                Some(bytes) => {
                    let words = bytes.chunks_exact(8);
                    for (sum, word) in sum.iter_mut().zip(words) {
                        *sum = times(*sum) ^ u64::from_le_bytes(word.try_into().expect("8"));
                    }
                }
            }
        }
        sum
    };
    let p = part(roles.p).and_then(|found| wrong("P", found, &sum(|sum| sum)));
    let q = || {
        let found = part(roles.q?)?;
        wrong("Q", found, &sum(twice))
    };
    p.or_else(q)
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

#[cfg(test)]
mod tests {
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
