//! Who holds which sectors last: disjoint ranges in order, each with the place of its bytes.

use std::collections::BTreeMap;
use std::ops::Range;

/// Where the bytes of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the log, from this byte on.
    Log(u64),
    /// Nowhere: they are zeros.
    Zeros,
}

impl Place {
    /// The place of what follows `sectors` later.
    const fn skip(self, sectors: u64) -> Self {
        match self {
            Self::Log(offset) => Self::Log(offset + sectors * 512),
            Self::Zeros => Self::Zeros,
        }
    }
}

/// A range and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Sectors of the member.
    pub sectors: Range<u64>,
    /// Where their bytes are.
    pub place: Place,
}

/// The ranges of one member. Ranges are disjoint and not empty.
#[derive(Clone, Debug, Default)]
pub struct Index {
    extents: BTreeMap<u64, (u64, Place)>,
}

impl Index {
    /// Nothing is held.
    pub const fn new() -> Self {
        Self { extents: BTreeMap::new() }
    }

    /// Lets a range be held at a place, whatever held parts of it before.
    pub fn insert(&mut self, sectors: Range<u64>, place: Place) {
        if sectors.is_empty() {
            return;
        }
        if let Some((&start, &(end, before))) = self.extents.range(..sectors.start).next_back()
            && end > sectors.start
        {
            self.extents.insert(start, (sectors.start, before));
            if end > sectors.end {
                let rest = before.skip(sectors.end - start);
                self.extents.insert(sectors.end, (end, rest));
            }
        }
        while let Some((&start, &(end, before))) = self.extents.range(sectors.clone()).next() {
            self.extents.remove(&start);
            if end > sectors.end {
                let rest = before.skip(sectors.end - start);
                self.extents.insert(sectors.end, (end, rest));
            }
        }
        self.join(sectors, place);
    }

    /// Inserts where nothing is, as one with what comes before if that goes on here.
    fn join(&mut self, sectors: Range<u64>, place: Place) {
        let before = self.extents.range_mut(..sectors.start).next_back();
        match before {
            Some((start, (end, held)))
                if *end == sectors.start && held.skip(*end - start) == place =>
            {
                *end = sectors.end;
            }
            _ => {
                self.extents.insert(sectors.start, (sectors.end, place));
            }
        }
    }

    /// The parts of `sectors` that are held, in order.
    pub fn within(&self, sectors: Range<u64>) -> Vec<Extent> {
        let first = self.extents.range(..=sectors.start).next_back().map_or(0, |(start, _)| *start);
        if sectors.is_empty() {
            return Vec::new();
        }
        self.extents
            .range(first..sectors.end)
            .filter(|(_, (end, _))| *end > sectors.start)
            .map(|(&start, &(end, place))| {
                let from = start.max(sectors.start);
                let place = place.skip(from - start);
                Extent { sectors: from..end.min(sectors.end), place }
            })
            .collect()
    }

    /// Everything held, in order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.extents.iter().map(|(&start, &(end, place))| Extent { sectors: start..end, place })
    }

    /// Sectors held.
    pub fn sectors(&self) -> u64 {
        self.extents.iter().map(|(start, (end, _))| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::rng::Rng;

    use super::*;

    #[test]
    fn agrees_with_a_plain_array() {
        let mut rng = Rng::new(7);
        for _ in 0..300 {
            let mut index = Index::new();
            // Sector → the log offset of its bytes; zeros are u64::MAX.
            let mut model: [Option<u64>; 64] = [None; 64];
            for step in 0..40u64 {
                let start = rng.below(64);
                let end = (start + rng.below(12)).min(64);
                let zeros = rng.below(3) == 0;
                let offset = 4096 + step * 65_536;
                let place = if zeros { Place::Zeros } else { Place::Log(offset) };
                index.insert(start..end, place);
                for sector in start..end {
                    let at = offset + (sector - start) * 512;
                    model[sector as usize] = Some(if zeros { u64::MAX } else { at });
                }
            }
            let (from, to) = (rng.below(64), 64);
            let mut seen: [Option<u64>; 64] = [None; 64];
            for extent in index.within(from..to) {
                assert!(!extent.sectors.is_empty() && extent.sectors.start >= from);
                for sector in extent.sectors.clone() {
                    let place = extent.place.skip(sector - extent.sectors.start);
                    let value = if let Place::Log(at) = place { at } else { u64::MAX };
                    assert_eq!(seen[sector as usize].replace(value), None, "held twice");
                }
            }
            assert_eq!(seen[from as usize..], model[from as usize..]);
            let held = model.iter().flatten().count() as u64;
            assert_eq!(index.sectors(), held);
            assert_eq!(index.iter().map(|e| e.sectors.end - e.sectors.start).sum::<u64>(), held);
        }
    }

    #[test]
    fn what_follows_on_is_one() {
        let mut index = Index::new();
        index.insert(8..16, Place::Log(4096));
        index.insert(16..24, Place::Log(8192));
        index.insert(24..32, Place::Log(12_800));
        index.insert(40..48, Place::Zeros);
        index.insert(48..56, Place::Zeros);
        let all: Vec<Range<u64>> = index.iter().map(|extent| extent.sectors).collect();
        assert_eq!(all, [8..24, 24..32, 40..56]);
        assert_eq!(index.within(0..0), []);
    }
}
