//! The bad-block log: sectors of one member whose content must not be believed.
//!
//! On disk a list of 64-bit entries (start in bits 10–63, length 1 … 512 in bits 0–9, both in
//! units of `1 << shift` sectors) ended by all ones. In memory a set of ranges, sorted, merged and
//! never empty. Starts count from the start of the *component*, so they include `data_offset`.
//!
//! Not only media errors end up here: rebuilding from a source with unreadable blocks lists them on
//! the target, too. A read that touches a range must use redundancy; rewriting clears it.
//!
//! Sources: Linux `md.c` (`super_1_load`, `super_1_sync`, `rdev_set_badblocks`), `md_p.h`.

use std::ops::Range;

/// Sectors Linux reserves and understands for the log.
pub const LOG_SECTORS: u16 = 8;
/// Entries such a log holds.
pub const CAPACITY: usize = LOG_SECTORS as usize * 64;
/// The most units one entry covers.
const ENTRY_UNITS: u64 = 512;
/// Marks the end, and fills the rest.
const END: u64 = u64::MAX;
/// Starts have 54 bits.
const START_LIMIT: u64 = 1 << 54;

/// Why a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlocksError {
    /// No device reaches that far.
    #[error("bad-block entry {index} is beyond any device")]
    OutOfRange {
        /// Position in the list.
        index: usize,
    },
}

/// More ranges than the log has room for; Linux fails the member then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entries} bad-block entries do not fit a log of {capacity}")]
pub struct LogFull {
    /// Entries needed.
    pub entries: usize,
    /// Entries there is room for.
    pub capacity: usize,
}

/// A set of untrustworthy sectors. Ranges are sorted, apart from each other, and not empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BadBlocks {
    ranges: Vec<Range<u64>>,
}

impl BadBlocks {
    /// Nothing is bad.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Whether nothing is bad.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// Bad sectors in all.
    pub fn sectors(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Indices of the ranges that overlap `range` or touch it.
    fn touching(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.ranges.partition_point(|known| known.end < range.start);
        let last = self.ranges.partition_point(|known| known.start <= range.end);
        first..last.max(first)
    }

    /// Lists a range as bad; what it touches is merged. An empty range changes nothing.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let at = self.touching(&range);
        let known = &self.ranges[at.clone()];
        let start = known.first().map_or(range.start, |first| first.start.min(range.start));
        let end = known.last().map_or(range.end, |last| last.end.max(range.end));
        self.ranges.splice(at, std::iter::once(start..end));
    }

    /// Takes a range off the list: it was rewritten.
    pub fn clear(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let at = self.touching(&range);
        let rest: Vec<Range<u64>> = self.ranges[at.clone()]
            .iter()
            .flat_map(|known| {
                let left = known.start..known.end.min(range.start);
                let right = known.start.max(range.end)..known.end;
                [left, right]
            })
            .filter(|part| !part.is_empty())
            .collect();
        self.ranges.splice(at, rest);
    }

    /// The first bad part of `range`, if any.
    pub fn first_overlap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let index = self.ranges.partition_point(|known| known.end <= range.start);
        let known = self.ranges.get(index)?;
        let overlap = known.start.max(range.start)..known.end.min(range.end);
        (!overlap.is_empty()).then_some(overlap)
    }

    /// The ranges in units of `1 << shift` sectors: a partly bad unit is bad.
    fn in_units(&self, shift: u8) -> impl Iterator<Item = Range<u64>> + '_ {
        let shift = u32::from(shift);
        self.ranges.iter().map(move |range| {
            let start = range.start.checked_shr(shift).unwrap_or(0);
            let last = (range.end - 1).checked_shr(shift).unwrap_or(0);
            start..last + 1
        })
    }

    /// Entries the set needs on disk.
    pub fn entries(&self, shift: u8) -> usize {
        self.in_units(shift)
            .map(|range| (range.end - range.start).div_ceil(ENTRY_UNITS))
            .fold(0u64, u64::saturating_add)
            .try_into()
            .unwrap_or(usize::MAX)
    }

    /// Whether the set fits the usual log of [`CAPACITY`] entries of single sectors.
    pub fn fits(&self) -> bool {
        self.entries(0) <= CAPACITY
    }

    /// The log's bytes: `log_sectors` sectors, unused entries all ones.
    pub fn emit(&self, shift: u8, log_sectors: u16) -> Result<Vec<u8>, LogFull> {
        let (entries, capacity) = (self.entries(shift), usize::from(log_sectors) * 64);
        let too_far = self.in_units(shift).any(|range| range.end > START_LIMIT);
        if entries > capacity || too_far {
            return Err(LogFull { entries, capacity });
        }
        let mut bytes = Vec::with_capacity(capacity * 8);
        for range in self.in_units(shift) {
            for start in range.clone().step_by(ENTRY_UNITS as usize) {
                let units = (range.end - start).min(ENTRY_UNITS);
                bytes.extend_from_slice(&(start << 10 | units).to_le_bytes());
            }
        }
        bytes.resize(capacity * 8, 0xff);
        Ok(bytes)
    }

    /// The log in its bytes. Order does not matter; the list ends at the first entry of all
    /// ones or with the bytes. Call it only when the superblock says that bad blocks are recorded.
    pub fn parse(bytes: &[u8], shift: u8) -> Result<Log, BadBlocksError> {
        let mut set = Self::new();
        let mut flaws = Flaws::default();
        let (entries, _) = bytes.as_chunks::<8>();
        let entries = entries.iter().map(|entry| u64::from_le_bytes(*entry));
        for (index, entry) in entries.take_while(|entry| *entry != END).enumerate() {
            let (start, units) = (entry >> 10, entry & 1023);
            flaws.entries += 1;
            if units == 0 {
                flaws.empty += 1;
                continue;
            }
            let range = to_sectors(start, shift).zip(to_sectors(start + units, shift));
            let (start, end) = range.ok_or(BadBlocksError::OutOfRange { index })?;
            set.add(start..end);
        }
        Ok(Log { bad: set, flaws })
    }
}

/// A log as read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Log {
    /// What it lists.
    pub bad: BadBlocks,
    /// What is odd about the list.
    pub flaws: Flaws,
}

/// Entries of length zero. They list nothing, so nothing is lost by passing over them; Linux 6.7 and
/// later refuse a member that has one.
///
/// Mostly it is a log of zeros that was never initialised, left by an mdadm before 4.5 that copied
/// the feature bit to a new member, but not the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flaws {
    /// Entries before the end of the list.
    pub entries: usize,
    /// Those of length zero.
    pub empty: usize,
}

impl Flaws {
    /// Whether Linux takes the log in every version.
    pub const fn is_sound(&self) -> bool {
        self.empty == 0
    }

    /// Whether the log was never initialised: entries, and not one that says anything.
    pub const fn is_uninitialised(&self) -> bool {
        self.empty > 0 && self.empty == self.entries
    }
}

impl std::fmt::Display for Flaws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = "Linux 6.7 and later refuse the member for it";
        match self {
            Self { empty: 0, .. } => f.write_str("nothing is odd"),
            _ if self.is_uninitialised() => {
                write!(f, "the bad-block log is announced but was never initialised; {why}")
            }
            Self { empty, entries } => {
                write!(f, "{empty} of {entries} bad-block entries have length zero; {why}")
            }
        }
    }
}

/// `units << shift`, if that is a number of sectors.
fn to_sectors(units: u64, shift: u8) -> Option<u64> {
    1u64.checked_shl(shift.into()).and_then(|unit| units.checked_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[(u64, u64)]) -> BadBlocks {
        let mut set = BadBlocks::new();
        ranges.iter().for_each(|(start, sectors)| set.add(*start..start + sectors));
        set
    }

    fn log(entries: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        bytes.resize(4096, 0xff);
        bytes
    }

    #[test]
    fn a_log_as_linux_left_it_unsorted_and_split() {
        let bytes = log(&[0x0000_0000_0040_0008, 0x0000_0000_0065_c058, 0x0000_0000_005d_c200]);
        let Log { bad: read, flaws } = BadBlocks::parse(&bytes, 0).unwrap();
        assert_eq!(flaws, Flaws { entries: 3, empty: 0 });
        assert_eq!(read.iter().collect::<Vec<_>>(), [4096..4104, 6000..6600]);
        let written = read.emit(0, LOG_SECTORS).unwrap();
        let sorted = log(&[0x0000_0000_0040_0008, 0x0000_0000_005d_c200, 0x0000_0000_0065_c058]);
        assert_eq!(written, sorted);
    }

    #[test]
    fn broken_logs_name_the_entry() {
        let rows = [
            (log(&[u64::MAX - 1]), 11, BadBlocksError::OutOfRange { index: 0 }),
            (log(&[0x0040_0008]), 64, BadBlocksError::OutOfRange { index: 0 }),
            (log(&[0x0040_0008]), 255, BadBlocksError::OutOfRange { index: 0 }),
        ];
        for (bytes, shift, error) in rows {
            assert_eq!(BadBlocks::parse(&bytes, shift), Err(error));
        }
        assert_eq!(BadBlocks::parse(&[], 0), Ok(Log::default()));
        assert_eq!(BadBlocks::parse(&log(&[]), 0), Ok(Log::default()));
    }

    #[test]
    fn entries_of_length_zero_list_nothing_and_the_others_count() {
        let found = BadBlocks::parse(&log(&[0, 0x0040_0008, 0x0080_0000]), 0).unwrap();
        assert_eq!(found.bad, set(&[(4096, 8)]));
        assert_eq!(found.flaws, Flaws { entries: 3, empty: 2 });
        assert!(!found.flaws.is_sound() && !found.flaws.is_uninitialised());
        // The log that was never there: zeros to the end.
        let found = BadBlocks::parse(&[0; 4096], 0).unwrap();
        assert!(found.bad.is_empty() && found.flaws.is_uninitialised());
    }

    #[test]
    fn ranges_merge_when_they_touch() {
        let rows = [
            ("10+5 15+5", "10..20"),
            ("15+5 10+5", "10..20"),
            ("10+5 16+5", "10..15 16..21"),
            ("10+2 20+2 30+2 11+20", "10..32"),
            ("10+20 12+3 0+0", "10..30"),
        ];
        for (added, ranges) in rows {
            let added: Vec<(u64, u64)> = added
                .split(' ')
                .filter_map(|word| word.split_once('+'))
                .map(|(start, sectors)| (start.parse().unwrap(), sectors.parse().unwrap()))
                .collect();
            let words: Vec<String> = set(&added).iter().map(|range| format!("{range:?}")).collect();
            assert_eq!(words.join(" "), ranges, "{added:?}");
        }
    }

    #[test]
    fn the_first_overlap_is_clipped() {
        let bad = set(&[(10, 10), (30, 10)]);
        assert_eq!(bad.first_overlap(0..10), None);
        assert_eq!(bad.first_overlap(0..11), Some(10..11));
        assert_eq!(bad.first_overlap(15..100), Some(15..20));
        assert_eq!(bad.first_overlap(20..100), Some(30..40));
        assert_eq!(bad.first_overlap(20..30), None);
        assert_eq!(bad.first_overlap(15..15), None);
        assert_eq!(bad.first_overlap(40..50), None);
    }

    #[test]
    fn a_log_has_room_for_512_entries() {
        let mut bad = BadBlocks::new();
        (0..512).for_each(|index| bad.add(index * 2..index * 2 + 1));
        assert!(bad.fits() && bad.emit(0, LOG_SECTORS).is_ok());
        bad.add(5_000..5_001);
        assert!(!bad.fits());
        assert_eq!(bad.emit(0, LOG_SECTORS), Err(LogFull { entries: 513, capacity: 512 }));
        assert!(set(&[(0, 512 * 512)]).fits());
        assert!(!set(&[(0, 512 * 512 + 1)]).fits());
        assert!(!set(&[(0, u64::MAX)]).fits());
    }

    #[test]
    fn a_coarser_unit_rounds_outwards() {
        let bytes = set(&[(9, 2)]).emit(3, LOG_SECTORS).unwrap();
        assert_eq!(BadBlocks::parse(&bytes, 3).map(|log| log.bad), Ok(set(&[(8, 8)])));
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_sectors(ops in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
            let (mut bad, mut model) = (BadBlocks::new(), [false; 80]);
            for (add, start, sectors) in ops {
                let range = start..start + sectors;
                range.clone().for_each(|sector| model[sector as usize] = add);
                if add { bad.add(range) } else { bad.clear(range) }
                for sector in 0..80 {
                    let listed = bad.first_overlap(sector..sector + 1).is_some();
                    prop_assert_eq!(listed, model[sector as usize]);
                }
                prop_assert!(bad.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            let bytes = bad.emit(0, LOG_SECTORS).unwrap();
            prop_assert_eq!(BadBlocks::parse(&bytes, 0).map(|log| log.bad), Ok(bad));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), shift: u8) {
            let _ = BadBlocks::parse(&bytes, shift);
        }
    }
}
