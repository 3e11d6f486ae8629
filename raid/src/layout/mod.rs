//! Where things are: pure arithmetic between array sectors and member sectors.
//!
//! Words used, all of them md's own:
//!
//! - *sector*: 512 bytes, the only unit here. Member sectors count from the member's data start
//!   (`data_offset` in the superblock); array sectors count from the array's first byte.
//! - *slot*: a member's seat in the array, `0..raid_disks` (`raid_disk`, "role" in the superblock).
//! - *chunk*: the run of array sectors that stays on one member before the next member is used.
//! - *copy*: one of the places holding the same array sector (raid1, raid10).
//! - *stripe*: one chunk from each member of a parity array: data, P and, for raid6, Q.
//!
//! Two families answer two kinds of question. A [`Mapped`] array (linear, 0, 1, 10) says which
//! places hold a sector; a [`Parity`] array (4, 5, 6) says which part each slot plays in a stripe.
//!
//! What always holds once [`Layout::new`] has said yes: no two array sectors share a place, every
//! place lies inside its member, and none of the arithmetic can overflow. Whatever the superblock
//! may claim, the constructor answers with a [`LayoutError`] and never panics. The functions behind
//! it do panic, when asked about sectors or slots that do not exist: that is a fault of the caller.
//!
//! The formulas are those of Linux `md-linear.c`, `raid0.c`, `raid1.c`, `raid10.c` and `raid5.c`;
//! each file names its functions.

mod error;
mod linear;
mod mapped;
pub mod names;
mod parity;
mod raid0;
mod raid10;
mod roles;
#[cfg(test)]
mod tests;

pub use error::LayoutError;
pub use mapped::Mapped;
pub use parity::Parity;
pub use roles::Roles;

use crate::level::Level;

/// The numbers of the superblock that decide where data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The RAID level.
    pub level: Level,
    /// md's layout number; what it means depends on the level (see [`names`]).
    pub layout: u32,
    /// How many slots the array has.
    pub raid_disks: u32,
    /// Sectors per chunk. Ignored for raid1; for linear only a rounding, 0 meaning none.
    pub chunk_sectors: u32,
    /// Sectors used of each member (`size` in the superblock). Ignored for linear and raid0, whose
    /// members may differ.
    pub member_sectors: u64,
}

/// One sector of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The member's slot.
    pub slot: u32,
    /// The sector, counted from the member's data start.
    pub sector: u64,
}

/// A shape that has been checked and can be asked questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// linear, raid0, raid1, raid10: every sector has one or more places.
    Mapped(Mapped),
    /// raid4, raid5, raid6: every stripe gives each slot a part.
    Parity(Parity),
}

impl Layout {
    /// Checks `shape` and prepares the arithmetic.
    ///
    /// `member_data_sectors` holds the data size of each slot. Only linear and raid0 read it; the
    /// other levels accept anything, including an empty slice.
    pub fn new(shape: &Shape, member_data_sectors: &[u64]) -> Result<Self, LayoutError> {
        check_members(shape)?;
        if shape.level.has_parity() {
            Parity::new(shape).map(Self::Parity)
        } else {
            Mapped::new(shape, member_data_sectors).map(Self::Mapped)
        }
    }

    /// The size of the array.
    pub fn array_sectors(&self) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.array_sectors(),
            Self::Parity(parity) => parity.array_sectors(),
        }
    }

    /// Whether every array sector can still be read or computed from the members present.
    ///
    /// `present[slot]` tells; slots beyond the slice are absent. This speaks of geometry only: a
    /// parity array that went down dirty has parity nobody should trust, which is for the caller
    /// to weigh.
    pub fn survives(&self, present: &[bool]) -> bool {
        match self {
            Self::Mapped(mapped) => mapped.survives(present),
            Self::Parity(parity) => parity.survives(present),
        }
    }

    /// The shape this layout was made from.
    pub fn shape(&self) -> &Shape {
        match self {
            Self::Mapped(mapped) => mapped.shape(),
            Self::Parity(parity) => parity.shape(),
        }
    }

    /// How many sectors of `slot` the array uses.
    pub fn member_extent(&self, slot: u32) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.member_extent(slot),
            Self::Parity(parity) => parity.member_extent(),
        }
    }
}

fn check_members(shape: &Shape) -> Result<(), LayoutError> {
    let Shape { level, raid_disks, .. } = *shape;
    if raid_disks < level.min_members() {
        return Err(LayoutError::TooFewMembers { level, raid_disks, min: level.min_members() });
    }
    if raid_disks > level.max_members() {
        return Err(LayoutError::TooManyMembers { level, raid_disks, max: level.max_members() });
    }
    Ok(())
}

/// The chunk rule of raid4/5/6/10: a power of two, one page (4 KiB) or more.
fn check_power_of_two_chunk(shape: &Shape) -> Result<(), LayoutError> {
    let Shape { level, chunk_sectors, .. } = *shape;
    match chunk_sectors {
        0 => Err(LayoutError::ZeroChunk { level }),
        _ if chunk_sectors < 8 || !chunk_sectors.is_power_of_two() => {
            Err(LayoutError::BadChunk { level, chunk_sectors })
        }
        _ => Ok(()),
    }
}

/// Refuses an array that would have no room for a single chunk.
fn check_room(shape: &Shape, needed_sectors: u64) -> Result<(), LayoutError> {
    let member_sectors = shape.member_sectors;
    if member_sectors < needed_sectors {
        return Err(LayoutError::MembersTooSmall { member_sectors, needed_sectors });
    }
    Ok(())
}

/// Slots are computed among sectors, in `u64`, and handed out as `u32`.
fn slot_number(slot: u64) -> u32 {
    u32::try_from(slot).expect("slots are below raid_disks, a u32")
}

fn is_present(present: &[bool], slot: u32) -> bool {
    present.get(slot as usize).copied().unwrap_or(false)
}
