//! Where a superblock sits on a member.
//!
//! The minor version is not stored: it *is* the place. 1.0 near the end, 1.1 at the very start,
//! 1.2 (the usual one) 4 KiB behind it. A member may carry more than one valid block, for example
//! a stale one from an earlier life as part of another array; mdadm then believes the one created
//! last. The older version 0.90 has a place of its own, before the last 64 KiB.
//!
//! ```text
//! sector 0       8                                          end-16 (rounded down to 8)
//!   │ 1.1 │ …    │ 1.2 │ …  bitmap  bad blocks   data …       │ 1.0 │ …
//!                                              │ 0.90 │ … 64 to 128 KiB before the end
//! ```
//!
//! Sources: Linux `md.c` (`super_1_load`), mdadm `super1.c` (`load_super1`).

use std::fmt;
use std::str::FromStr;

use super::block::Superblock;

/// The smallest device md considers, in sectors.
pub const MIN_DEVICE_SECTORS: u64 = 24;

/// Which of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Minor {
    /// 1.0: at least 8 KiB and less than 12 KiB before the end.
    V1_0,
    /// 1.1: at the start.
    V1_1,
    /// 1.2: 4 KiB from the start.
    V1_2,
    /// 0.90: at least 64 KiB and less than 128 KiB before the end, on a boundary of 64 KiB.
    V0_90,
}

/// Sectors 0.90 keeps behind its superblock and counts in.
const RESERVED_SECTORS: u64 = 128;

impl Minor {
    /// Every place, in the order mdadm tries them.
    pub const ALL: [Self; 4] = [Self::V0_90, Self::V1_0, Self::V1_1, Self::V1_2];
    /// The places where superblocks are written, too.
    pub const WRITTEN: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// The sector of the superblock on a device of `device_sectors`; none if that is too small.
    pub const fn sector(self, device_sectors: u64) -> Option<u64> {
        if device_sectors < MIN_DEVICE_SECTORS {
            return None;
        }
        match self {
            Self::V1_0 => Some((device_sectors - 16) & !7),
            Self::V1_1 => Some(0),
            Self::V1_2 => Some(8),
            // A device that had it at sector 0 would have no room for data.
            Self::V0_90 if device_sectors < 2 * RESERVED_SECTORS => None,
            Self::V0_90 => Some((device_sectors & !(RESERVED_SECTORS - 1)) - RESERVED_SECTORS),
        }
    }

    /// The place a block found at `sector` occupies, if md would look there.
    ///
    /// On devices below 32 sectors 1.0 and 1.2 meet; they count as 1.2, as in `mdadm --examine`.
    pub fn at(sector: u64, device_sectors: u64) -> Option<Self> {
        [Self::V1_1, Self::V1_2, Self::V1_0, Self::V0_90]
            .into_iter()
            .find(|minor| minor.sector(device_sectors) == Some(sector))
    }

    /// Whether data follows the superblock (1.1, 1.2) instead of preceding it.
    pub const fn is_at_start(self) -> bool {
        !matches!(self, Self::V1_0 | Self::V0_90)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V0_90 => "0.90",
        })
    }
}

/// A word that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata version {0:?} is not one holdfast makes: expected 1.0, 1.1 or 1.2")]
pub struct UnknownMinor(pub String);

impl FromStr for Minor {
    type Err = UnknownMinor;

    fn from_str(word: &str) -> Result<Self, UnknownMinor> {
        match word {
            "1.0" => Ok(Self::V1_0),
            "1.1" => Ok(Self::V1_1),
            "1.2" | "1" | "default" => Ok(Self::V1_2),
            _ => Err(UnknownMinor(word.to_owned())),
        }
    }
}

/// The places to read when looking for a superblock: sectors, each once, each good for
/// 4096 bytes within the device.
pub fn candidates(device_sectors: u64) -> Vec<(Minor, u64)> {
    let mut places: Vec<(Minor, u64)> = Vec::with_capacity(4);
    for minor in Minor::ALL {
        if let Some(sector) = minor.sector(device_sectors)
            && Minor::at(sector, device_sectors) == Some(minor)
        {
            places.push((minor, sector));
        }
    }
    places
}

/// Which of several valid blocks found on one member counts: the one created last, the earlier
/// place when they are equal.
pub fn latest(found: &[Superblock]) -> Option<usize> {
    (0..found.len())
        .rev()
        .max_by_key(|index| (found[*index].ctime, std::cmp::Reverse(found[*index].minor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_device_size() {
        let rows: [(u64, [Option<u64>; 4]); 11] = [
            (0, [None, None, None, None]),
            (23, [None, None, None, None]),
            (24, [None, Some(8), Some(0), Some(8)]),
            (32, [None, Some(16), Some(0), Some(8)]),
            (39, [None, Some(16), Some(0), Some(8)]),
            (40, [None, Some(24), Some(0), Some(8)]),
            (255, [None, Some(232), Some(0), Some(8)]),
            (256, [Some(128), Some(240), Some(0), Some(8)]),
            (2_097_152, [Some(2_097_024), Some(2_097_136), Some(0), Some(8)]),
            (2_097_159, [Some(2_097_024), Some(2_097_136), Some(0), Some(8)]),
            (u64::MAX, [Some(u64::MAX - 255), Some(u64::MAX - 23), Some(0), Some(8)]),
        ];
        for (device, sectors) in rows {
            assert_eq!(Minor::ALL.map(|minor| minor.sector(device)), sectors, "{device}");
        }
    }

    #[test]
    fn the_end_block_is_8_to_12_kib_before_the_end() {
        for device in 24..200 {
            let distance = device - Minor::V1_0.sector(device).unwrap();
            assert!((16..24).contains(&distance), "{device}: {distance}");
        }
    }

    #[test]
    fn a_tiny_device_is_read_twice_not_thrice() {
        assert_eq!(candidates(20), []);
        assert_eq!(candidates(24), [(Minor::V1_1, 0), (Minor::V1_2, 8)]);
        assert_eq!(candidates(100), [(Minor::V1_0, 80), (Minor::V1_1, 0), (Minor::V1_2, 8)]);
    }

    #[test]
    fn only_known_places_count() {
        assert_eq!(Minor::at(0, 100), Some(Minor::V1_1));
        assert_eq!(Minor::at(8, 100), Some(Minor::V1_2));
        assert_eq!(Minor::at(80, 100), Some(Minor::V1_0));
        for sector in [1, 7, 16, 79, 88] {
            assert_eq!(Minor::at(sector, 100), None, "{sector}");
        }
    }

    #[test]
    fn minors_are_words() {
        assert!("0.90".parse::<Minor>().is_err(), "nobody asks for it");
        for minor in Minor::WRITTEN {
            assert_eq!(minor.to_string().parse(), Ok(minor));
        }
        assert!("0.90".parse::<Minor>().is_err());
    }
}
