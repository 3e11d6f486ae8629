//! What a new array is asked to be, and whether such a thing can exist.
//!
//! Counts, layouts and chunks are judged here, before any device size is looked at closely; what
//! depends on sizes is found out by [`plan`](super::create::plan).
//!
//! Sources: mdadm `Create.c`, Linux `raid5.c` and `raid10.c` (`setup_conf`, `setup_geo`).

use super::geometry::{enough, layout_is_valid};
use super::name::Name;
use super::placement::{MIN_DEVICE_SECTORS, Minor};
use super::timestamp::Timestamp;
use super::uuid::Uuid;
use super::v1::MAX_DEV;
use crate::layout::LayoutError;
use crate::level::Level;

/// Members a partial parity log serves (`raid5-ppl.c ppl_init_log`).
const PPL_MEMBERS: usize = 64;
/// Devices beyond this would overflow byte counts.
const MAX_DEVICE_SECTORS: u64 = 1 << 53;

/// One device of a new array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// Its size in sectors.
    pub sectors: u64,
    /// The identity it gets.
    pub device_uuid: Uuid,
    /// Read from it only when no other can answer.
    pub write_mostly: bool,
    /// Fail it at its first error.
    pub failfast: bool,
}

impl NewMember {
    /// A plain member.
    pub const fn new(sectors: u64, device_uuid: Uuid) -> Self {
        Self { sectors, device_uuid, write_mostly: false, failfast: false }
    }
}

/// Whether to keep a write-intent bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BitmapWish {
    /// From member sizes above 100 GiB.
    #[default]
    Default,
    /// Yes, with this many bytes per bit, or 64 MiB and more.
    Internal {
        /// Bytes per bit, a power of two.
        chunk_bytes: Option<u64>,
    },
    /// No.
    None,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewArray {
    /// Level.
    pub level: Level,
    /// Arrangement within the level, as md numbers it. RAID0: 0 or 1 original, 2 alternate.
    pub layout: u32,
    /// Sectors per chunk; 0 for RAID1, and for linear without rounding.
    pub chunk_sectors: u32,
    /// Where superblocks go.
    pub minor: Minor,
    /// Whether to keep a bitmap.
    pub bitmap: BitmapWish,
    /// Whether to keep a partial parity log: RAID5 only, and in the place of the bitmap.
    pub ppl: bool,
    /// Sectors to use of each member, rounded down to whole chunks (at least one); all that fit if
    /// none.
    pub size: Option<u64>,
    /// First sector of data on each member; mdadm's choice if none.
    pub data_offset: Option<u64>,
    /// Name.
    pub name: Name,
    /// Identity.
    pub set_uuid: Uuid,
    /// Creation time.
    pub now: Timestamp,
    /// One entry per slot; none for a missing member.
    pub members: Vec<Option<NewMember>>,
    /// Spares.
    pub spares: Vec<NewMember>,
    /// The members are known to agree already, for example all zero: no resync.
    pub assume_clean: bool,
}

/// Why no such array can be made. Members count from 0, spares go on after them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Version 0.90 is only read.
    #[error("metadata 0.90 is read, not made: choose 1.0, 1.1 or 1.2")]
    Metadata,
    /// Too few or too many slots.
    #[error("{level} takes {least} to {most} members, not {wanted}")]
    Members {
        /// The level.
        level: Level,
        /// Fewest slots.
        least: u32,
        /// Most slots.
        most: u32,
        /// Slots asked for.
        wanted: usize,
    },
    /// Too many devices in all for one superblock.
    #[error("a superblock has room for 1920 devices, not {0}")]
    Devices(usize),
    /// Too many slots are empty to hold data.
    #[error("{level} cannot start with {missing} members missing")]
    Missing {
        /// The level.
        level: Level,
        /// Empty slots.
        missing: usize,
    },
    /// Nothing to take the place of a failed member.
    #[error("{0} has no redundancy and takes no spares")]
    Spares(Level),
    /// Not a layout of the level.
    #[error("{level} of {members} members has no layout {layout:#x}")]
    Layout {
        /// The level.
        level: Level,
        /// Slots.
        members: usize,
        /// The layout.
        layout: u32,
    },
    /// A layout that no array can be assembled with.
    #[error(transparent)]
    Geometry(#[from] LayoutError),
    /// Not a chunk size of the level.
    #[error("{level} does not take chunks of {sectors} sectors: {why}")]
    Chunk {
        /// The level.
        level: Level,
        /// The chunk in sectors.
        sectors: u32,
        /// What it needs.
        why: &'static str,
    },
    /// A size was given where each member is used in full.
    #[error("{0} uses all of every member; a size has no meaning")]
    Size(Level),
    /// A device is too small.
    #[error("member {member} has {have} sectors, {need} are needed")]
    TooSmall {
        /// Which device.
        member: usize,
        /// Its sectors.
        have: u64,
        /// Sectors it would need.
        need: u64,
    },
    /// A device is larger than md can address.
    #[error("member {member} has {have} sectors, more than md can address")]
    TooLarge {
        /// Which device.
        member: usize,
        /// Its sectors.
        have: u64,
    },
    /// Two devices were given the same identity.
    #[error("members {first} and {second} have the same uuid")]
    SameUuid {
        /// One device.
        first: usize,
        /// The other.
        second: usize,
    },
    /// Data would start inside the metadata.
    #[error("data offset {wanted} leaves no room for the metadata: {need} sectors are needed")]
    DataOffset {
        /// The offset asked for, in sectors.
        wanted: u64,
        /// The smallest possible.
        need: u64,
    },
    /// A bitmap needs redundancy to speed up.
    #[error("a bitmap has no meaning for {0}")]
    Bitmap(Level),
    /// The bits would not fit, or the number is no chunk.
    #[error("bitmap chunk of {wanted} bytes: expected a power of two from {least} to 2147483648")]
    BitmapChunk {
        /// Bytes per bit asked for.
        wanted: u64,
        /// The fewest possible.
        least: u64,
    },
    /// The members are so small that no room is set aside for a bitmap.
    #[error("the members are too small for a bitmap")]
    NoBitmapRoom,
    /// Only RAID5 keeps such a log.
    #[error("a partial parity log is for RAID5 only, not for {0}")]
    PplLevel(Level),
    /// md counts the members of a write in one word.
    #[error("a partial parity log serves 64 members at most, not {0}")]
    PplMembers(usize),
    /// Both would lie in the same place.
    #[error("an array has a partial parity log or a bitmap, not both")]
    PplAndBitmap,
}

/// A device with its number and slot.
#[derive(Clone, Copy)]
pub(super) struct Device {
    /// Its number in the role table.
    pub(super) number: usize,
    /// Its slot; none for a spare.
    pub(super) slot: Option<u16>,
    /// What was given.
    pub(super) device: NewMember,
}

impl NewArray {
    /// Whether such an array can exist at all, whatever the sizes.
    pub(super) fn check(&self) -> Result<(), CreateError> {
        self.check_members()?;
        self.check_geometry()
    }

    /// The devices present: members in slot order, then spares.
    pub(super) fn devices(&self) -> impl Iterator<Item = Device> + '_ {
        let members = self.members.iter().enumerate().filter_map(|(number, member)| {
            member.map(|device| Device { number, slot: Some(number as u16), device })
        });
        let first_spare = self.members.len();
        let spares = self.spares.iter().enumerate().map(move |(index, device)| Device {
            number: first_spare + index,
            slot: None,
            device: *device,
        });
        members.chain(spares)
    }

    /// The number of slots.
    pub(super) fn raid_disks(&self) -> u32 {
        self.members.len() as u32
    }

    fn check_members(&self) -> Result<(), CreateError> {
        let (level, wanted) = (self.level, self.members.len());
        let (least, most) = (level.min_members(), level.max_members());
        if wanted < least as usize || wanted > most as usize {
            return Err(CreateError::Members { level, least, most, wanted });
        }
        let total = wanted + self.spares.len();
        if total > MAX_DEV as usize {
            return Err(CreateError::Devices(total));
        }
        if !level.is_redundant() && !self.spares.is_empty() {
            return Err(CreateError::Spares(level));
        }
        self.check_devices()
    }

    fn check_devices(&self) -> Result<(), CreateError> {
        let mut seen: Vec<(Uuid, usize)> = Vec::new();
        for Device { number, device, .. } in self.devices() {
            let (member, have) = (number, device.sectors);
            if have < MIN_DEVICE_SECTORS {
                return Err(CreateError::TooSmall { member, have, need: MIN_DEVICE_SECTORS });
            }
            if have > MAX_DEVICE_SECTORS {
                return Err(CreateError::TooLarge { member, have });
            }
            if let Some((_, first)) = seen.iter().find(|(uuid, _)| *uuid == device.device_uuid) {
                return Err(CreateError::SameUuid { first: *first, second: number });
            }
            seen.push((device.device_uuid, number));
        }
        Ok(())
    }

    fn check_geometry(&self) -> Result<(), CreateError> {
        let (level, layout, members) = (self.level, self.layout, self.members.len());
        if !layout_is_valid(level, layout, self.raid_disks()) {
            return Err(CreateError::Layout { level, members, layout });
        }
        let present: Vec<bool> = self.members.iter().map(Option::is_some).collect();
        if !enough(level, layout, &present) {
            let missing = present.iter().filter(|here| !**here).count();
            return Err(CreateError::Missing { level, missing });
        }
        if self.size.is_some() && !level.is_redundant() {
            return Err(CreateError::Size(level));
        }
        self.check_ppl()?;
        match chunk_fault(level, self.chunk_sectors) {
            Some(why) => Err(CreateError::Chunk { level, sectors: self.chunk_sectors, why }),
            None => Ok(()),
        }
    }
}

impl NewArray {
    fn check_ppl(&self) -> Result<(), CreateError> {
        match (self.level, self.members.len(), self.bitmap) {
            _ if !self.ppl => Ok(()),
            (level, ..) if level != Level::Raid5 => Err(CreateError::PplLevel(level)),
            (_, members, _) if members > PPL_MEMBERS => Err(CreateError::PplMembers(members)),
            (_, _, BitmapWish::Internal { .. }) => Err(CreateError::PplAndBitmap),
            _ => Ok(()),
        }
    }
}

/// What is wrong with a chunk size.
fn chunk_fault(level: Level, sectors: u32) -> Option<&'static str> {
    let largest = (i32::MAX as u32) >> 9;
    match level {
        Level::Raid1 => (sectors != 0).then_some("it has none"),
        Level::Linear if sectors == 0 => None,
        _ if sectors == 0 || sectors > largest => Some("expected 8 to 4194303 sectors"),
        Level::Linear | Level::Raid0 => {
            (!sectors.is_multiple_of(8)).then_some("expected a multiple of 8 sectors (4 KiB)")
        }
        _ => (!sectors.is_power_of_two() || sectors < 8)
            .then_some("expected a power of two of at least 8 sectors (4 KiB)"),
    }
}
