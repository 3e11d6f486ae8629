//! Arrays whose sectors have places: linear, raid0, raid1 and raid10.
//!
//! One front door for four rules. Forwards, [`Mapped::map`] lists every copy of an array sector;
//! backwards, [`Mapped::array_sector_of`] tells what lives at a member's sector. Both also say for
//! how many sectors their answer simply counts on, so a long request is served in long runs:
//!
//! ```text
//! let mut copies = Vec::new();
//! while left > 0 {
//!     let run = mapped.map(sector, left, &mut copies);
//!     // read or write `run` sectors at the places in `copies`
//!     sector += run;
//!     left -= run;
//! }
//! ```
//!
//! Always: places of different array sectors differ; places lie below [`Mapped::member_extent`];
//! the copies of one sector are on different slots, save for raid10 layouts with far set rule 1,
//! whose known flaw is to break this.
//!
//! raid1 is simple enough to live here: every member is the array (`raid1.c`).

use super::linear::Linear;
use super::raid0::Raid0;
use super::raid10::Raid10;
use super::{LayoutError, Place, Shape, check_room, is_present};
use crate::level::Level;

/// A linear, raid0, raid1 or raid10 array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    shape: Shape,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Linear(Linear),
    Raid0(Raid0),
    Raid1,
    Raid10(Raid10),
}

impl Mapped {
    /// The member count has been checked; the level is one without parity.
    pub(super) fn new(shape: &Shape, sizes: &[u64]) -> Result<Self, LayoutError> {
        let rule = match shape.level {
            Level::Linear => Rule::Linear(Linear::new(shape, sizes)?),
            Level::Raid0 => Rule::Raid0(Raid0::new(shape, sizes)?),
            Level::Raid10 => Rule::Raid10(Raid10::new(shape)?),
            Level::Raid1 => raid1(shape)?,
            Level::Raid4 | Level::Raid5 | Level::Raid6 => {
                unreachable!("Layout::new makes a Parity of {}", shape.level)
            }
        };
        Ok(Self { shape: *shape, rule })
    }

    /// The shape this layout was made from.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The size of the array.
    pub fn array_sectors(&self) -> u64 {
        match &self.rule {
            Rule::Linear(linear) => linear.array_sectors(),
            Rule::Raid0(raid0) => raid0.array_sectors(),
            Rule::Raid1 => self.shape.member_sectors,
            Rule::Raid10(raid10) => raid10.array_sectors(),
        }
    }

    /// How many places hold each array sector.
    pub fn copies(&self) -> u32 {
        match &self.rule {
            Rule::Linear(_) | Rule::Raid0(_) => 1,
            Rule::Raid1 => self.shape.raid_disks,
            Rule::Raid10(raid10) => raid10.copies(),
        }
    }

    /// How many sectors of `slot` the array uses. The last few may hold nothing, where a raid10
    /// row did not come out even.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn member_extent(&self, slot: u32) -> u64 {
        self.check_slot(slot);
        match &self.rule {
            Rule::Linear(linear) => linear.member_extent(slot),
            Rule::Raid0(raid0) => raid0.member_extent(slot),
            Rule::Raid1 => self.shape.member_sectors,
            Rule::Raid10(raid10) => raid10.member_extent(),
        }
    }

    /// Fills `copies` with every place of an array sector, the primary first, and returns for how
    /// many sectors (1 to `max_sectors`) all of them count on together.
    ///
    /// # Panics
    ///
    /// If the array ends before `sector`, or `max_sectors` is 0.
    pub fn map(&self, sector: u64, max_sectors: u64, copies: &mut Vec<Place>) -> u64 {
        assert!(sector < self.array_sectors(), "sector {sector} is beyond the array");
        assert!(max_sectors > 0, "a run has at least one sector");
        copies.clear();
        let run = match &self.rule {
            Rule::Linear(linear) => single(linear.map(sector), copies),
            Rule::Raid0(raid0) => single(raid0.map(sector), copies),
            Rule::Raid1 => {
                copies.extend((0..self.shape.raid_disks).map(|slot| Place { slot, sector }));
                self.array_sectors() - sector
            }
            Rule::Raid10(raid10) => raid10.map(sector, copies),
        };
        run.min(max_sectors)
    }

    /// Which array sector lives at `sector` of `slot`, and for how many sectors (1 to
    /// `max_sectors`) that answer counts on. `None` is for what the array does not use: all that
    /// lies beyond [`Self::member_extent`], and the odd chunk at the end of a raid10.
    ///
    /// # Panics
    ///
    /// If there is no such slot, or `max_sectors` is 0.
    pub fn array_sector_of(&self, slot: u32, sector: u64, max_sectors: u64) -> (Option<u64>, u64) {
        assert!(max_sectors > 0, "a run has at least one sector");
        if sector >= self.member_extent(slot) {
            return (None, max_sectors);
        }
        let (found, run) = match &self.rule {
            Rule::Linear(linear) => linear.array_sector_of(slot, sector),
            Rule::Raid0(raid0) => raid0.array_sector_of(slot, sector),
            Rule::Raid1 => (Some(sector), self.shape.member_sectors - sector),
            Rule::Raid10(raid10) => raid10.array_sector_of(slot, sector),
        };
        (found, run.min(max_sectors))
    }

    /// Whether every array sector has a place on a member present.
    pub fn survives(&self, present: &[bool]) -> bool {
        let mut slots = 0..self.shape.raid_disks;
        match &self.rule {
            Rule::Linear(_) | Rule::Raid0(_) => slots.all(|slot| is_present(present, slot)),
            Rule::Raid1 => slots.any(|slot| is_present(present, slot)),
            Rule::Raid10(raid10) => raid10.survives(present),
        }
    }

    fn check_slot(&self, slot: u32) {
        let raid_disks = self.shape.raid_disks;
        assert!(slot < raid_disks, "slot {slot} of an array with {raid_disks}");
    }
}

fn raid1(shape: &Shape) -> Result<Rule, LayoutError> {
    if shape.layout != 0 {
        return Err(LayoutError::BadLayout { level: shape.level, layout: shape.layout });
    }
    check_room(shape, 1)?;
    Ok(Rule::Raid1)
}

fn single((place, run): (Place, u64), copies: &mut Vec<Place>) -> u64 {
    copies.push(place);
    run
}
