//! What the role table says about one device, and how far redundancy is good.
//!
//! Words: a *slot* is a position in the array (0 … raid_disks − 1); a *device number* is an index
//! into the role table, given once and kept. Several device numbers may name one slot: an original
//! and its replacement.
//!
//! Source: Linux `md_p.h` (`MD_DISK_ROLE_*`), `md.c` (`super_1_validate`, `super_1_sync`).

/// One entry of the role table. Every 16-bit number is one role and back again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Holds this slot, or is being rebuilt into it.
    Active(u16),
    /// A number md has not given a meaning (0xff00 … 0xfffc).
    Reserved(u16),
    /// Holds the write journal.
    Journal,
    /// Has failed.
    Faulty,
    /// A spare, or a device number nobody uses.
    Spare,
}

impl Role {
    /// First number that is not a slot (`MD_DISK_ROLE_MAX`).
    pub const SLOT_LIMIT: u16 = 0xff00;

    /// The role with this stored number.
    pub const fn from_number(number: u16) -> Self {
        match number {
            0xffff => Self::Spare,
            0xfffe => Self::Faulty,
            0xfffd => Self::Journal,
            Self::SLOT_LIMIT.. => Self::Reserved(number),
            slot => Self::Active(slot),
        }
    }

    /// The stored number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Active(number) | Self::Reserved(number) => number,
            Self::Journal => 0xfffd,
            Self::Faulty => 0xfffe,
            Self::Spare => 0xffff,
        }
    }

    /// The slot, if it has one.
    pub const fn slot(self) -> Option<u16> {
        match self {
            Self::Active(slot) => Some(slot),
            _ => None,
        }
    }
}

/// How far the redundancy of the array can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// Everywhere; nothing was in flight.
    Clean,
    /// Only below this sector, counted from `data_offset` on each member (RAID10: in array
    /// sectors). 0 also means "writes may be in flight".
    From(u64),
}

impl Resync {
    /// From the stored `resync_offset`.
    pub const fn from_number(number: u64) -> Self {
        match number {
            u64::MAX => Self::Clean,
            sector => Self::From(sector),
        }
    }

    /// The stored `resync_offset`.
    pub const fn number(self) -> u64 {
        match self {
            Self::Clean => u64::MAX,
            Self::From(sector) => sector,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_role() {
        for number in 0..=u16::MAX {
            assert_eq!(Role::from_number(number).number(), number);
        }
        assert_eq!(Role::from_number(0xfeff), Role::Active(0xfeff));
        assert_eq!(Role::from_number(0xff00), Role::Reserved(0xff00));
        assert_eq!(Role::from_number(0xfffd), Role::Journal);
        assert_eq!(Role::from_number(0xfffe), Role::Faulty);
        assert_eq!(Role::from_number(0xffff), Role::Spare);
    }
}
