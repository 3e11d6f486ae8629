//! linear: members one after another, in slot order.
//!
//! Each member contributes its data size, rounded down to the chunk if there is one; nothing is
//! striped. Members may differ in size.
//!
//! Source: `md-linear.c`, `linear_conf` and `which_dev`.

use super::{LayoutError, Place, Shape, slot_number};

/// The members' boundaries in array sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Linear {
    /// `ends[slot]` is the first array sector after that member; strictly rising.
    ends: Vec<u64>,
}

impl Linear {
    pub(super) fn new(shape: &Shape, sizes: &[u64]) -> Result<Self, LayoutError> {
        if shape.layout != 0 {
            return Err(LayoutError::BadLayout { level: shape.level, layout: shape.layout });
        }
        let sizes = rounded_sizes(shape, sizes)?;
        let mut end = 0;
        let ends = sizes.iter().map(|size| {
            end += size;
            end
        });
        Ok(Self { ends: ends.collect() })
    }

    pub(super) fn array_sectors(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Where the sector is, and how many follow it on the same member.
    pub(super) fn map(&self, sector: u64) -> (Place, u64) {
        let slot = self.ends.partition_point(|&end| end <= sector);
        let place = Place { slot: slot_number(slot as u64), sector: sector - self.start(slot) };
        (place, self.ends[slot] - sector)
    }

    /// The array sector at a place inside the member, and how many follow it there.
    pub(super) fn array_sector_of(&self, slot: u32, sector: u64) -> (Option<u64>, u64) {
        let found = self.start(slot as usize) + sector;
        (Some(found), self.ends[slot as usize] - found)
    }

    pub(super) fn member_extent(&self, slot: u32) -> u64 {
        self.ends[slot as usize] - self.start(slot as usize)
    }

    fn start(&self, slot: usize) -> u64 {
        slot.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

/// Data sizes rounded down to the chunk, checked: one per slot, none empty, their sum a `u64`.
pub(super) fn rounded_sizes(shape: &Shape, sizes: &[u64]) -> Result<Vec<u64>, LayoutError> {
    let Shape { level, raid_disks, chunk_sectors, .. } = *shape;
    if sizes.len() as u64 != u64::from(raid_disks) {
        return Err(LayoutError::WrongNumberOfSizes { level, raid_disks, given: sizes.len() });
    }
    let chunk = u64::from(chunk_sectors.max(1));
    let rounded: Vec<u64> = sizes.iter().map(|size| size - size % chunk).collect();
    if let Some(slot) = rounded.iter().position(|&size| size == 0) {
        return Err(LayoutError::MemberTooSmall {
            slot: slot_number(slot as u64),
            sectors: sizes[slot],
            chunk_sectors: chunk_sectors.max(1),
        });
    }
    let total = rounded.iter().try_fold(0u64, |sum, &size| sum.checked_add(size));
    if total.is_none() {
        let member_sectors = sizes.iter().copied().max().unwrap_or(0);
        return Err(LayoutError::TooLarge { raid_disks, member_sectors });
    }
    Ok(rounded)
}
