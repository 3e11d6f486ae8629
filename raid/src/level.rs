//! The RAID levels md knows how to build and holdfast runs.
//!
//! Numbers are those of the md superblock (`mdp_superblock_1.level`); names are those of
//! `/proc/mdstat` and `mdadm --detail`.

use std::fmt;
use std::str::FromStr;

/// A RAID level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Members one after another.
    Linear,
    /// Stripes without redundancy.
    Raid0,
    /// n-way mirror.
    Raid1,
    /// Stripes with parity on the last member.
    Raid4,
    /// Stripes with rotating parity.
    Raid5,
    /// Stripes with two rotating syndromes.
    Raid6,
    /// Striped copies: near, far or offset.
    Raid10,
}

impl Level {
    /// Every level, in the order of their md numbers.
    pub const ALL: [Self; 7] = [
        Self::Linear,
        Self::Raid0,
        Self::Raid1,
        Self::Raid4,
        Self::Raid5,
        Self::Raid6,
        Self::Raid10,
    ];

    /// The number stored in an md superblock.
    pub const fn md_number(self) -> i32 {
        match self {
            Self::Linear => -1,
            Self::Raid0 => 0,
            Self::Raid1 => 1,
            Self::Raid4 => 4,
            Self::Raid5 => 5,
            Self::Raid6 => 6,
            Self::Raid10 => 10,
        }
    }

    /// The level with this md number, if holdfast runs it.
    pub fn from_md_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.md_number() == number)
    }

    /// The name md prints: `raid5`, `linear`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Raid0 => "raid0",
            Self::Raid1 => "raid1",
            Self::Raid4 => "raid4",
            Self::Raid5 => "raid5",
            Self::Raid6 => "raid6",
            Self::Raid10 => "raid10",
        }
    }

    /// Parity members per stripe: 1 for levels 4 and 5, 2 for 6, else 0.
    pub const fn parity_members(self) -> u32 {
        match self {
            Self::Raid4 | Self::Raid5 => 1,
            Self::Raid6 => 2,
            _ => 0,
        }
    }

    /// Whether data is protected by computed parity (4, 5, 6).
    pub const fn has_parity(self) -> bool {
        self.parity_members() > 0
    }

    /// Whether the level survives the loss of a member at all.
    pub const fn is_redundant(self) -> bool {
        !matches!(self, Self::Linear | Self::Raid0)
    }

    /// Whether data is cut into chunks (all but linear, where a chunk is only a rounding, and 1).
    pub const fn is_striped(self) -> bool {
        !matches!(self, Self::Linear | Self::Raid1)
    }

    /// The most members Linux allows: 255 for RAID6 (its field has 255 coefficients), else 384.
    pub const fn max_members(self) -> u32 {
        match self {
            Self::Raid6 => 255,
            _ => 384,
        }
    }

    /// The fewest slots an array of this level may have.
    pub const fn min_members(self) -> u32 {
        match self {
            Self::Linear | Self::Raid0 | Self::Raid1 => 1,
            Self::Raid4 | Self::Raid5 | Self::Raid10 => 2,
            Self::Raid6 => 4,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown level {0:?}: expected linear, 0, 1, 4, 5, 6 or 10 (also as raid5, stripe, mirror)"
)]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "stripe" => return Ok(Self::Raid0),
            "mirror" => return Ok(Self::Raid1),
            _ => {}
        }
        let bare = lower.strip_prefix("raid").unwrap_or(&lower);
        Self::ALL
            .into_iter()
            .find(|level| level.name() == lower || level.md_number().to_string() == bare)
            .filter(|level| *level != Self::Linear || lower == "linear")
            .ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_two_ways_to_say_the_same() {
        for level in Level::ALL {
            assert_eq!(Level::from_md_number(level.md_number()), Some(level));
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("5".parse(), Ok(Level::Raid5));
        assert_eq!("RAID10".parse(), Ok(Level::Raid10));
        assert_eq!("mirror".parse(), Ok(Level::Raid1));
        for wrong in ["", "raid", "7", "-1", "raid-1", "raidlinear", "raid05"] {
            assert!(wrong.parse::<Level>().is_err(), "{wrong:?}");
        }
    }
}
