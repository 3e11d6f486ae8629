//! A superblock as meaning: what one member says about itself and its array.
//!
//! Values of this type come from [`Superblock::parse`](super::parse) or from
//! [`create`](super::create); they go back to bytes with [`Superblock::emit`](super::emit). A fact
//! that is optional on disk is an `Option` here and its feature bit follows from it, so a bit and
//! its field cannot disagree. The bytes nobody here understands are kept and written back.
//!
//! *Understood* is not *may be written*: an array in a state holdfast does not maintain (a reshape,
//! a journal, unknown feature bits) is readable, and [`Superblock::refuses_writing`] says why it
//! must not be touched.
//!
//! Sources: Linux `md_p.h`, `md.c` (`super_1_load`, `super_1_validate`, `super_1_sync`).

use super::name::Name;
use super::placement::Minor;
use super::role::{Resync, Role};
use super::timestamp::Timestamp;
use super::uuid::Uuid;
use super::v1::{FIXED_BYTES, RawV1, devflag, feature};
use super::v090::V090;
use crate::level::Level;
use crate::ppl::header::RING_BYTES;

/// Sectors (of 512 bytes) in a count of bytes, rounded up.
const fn sectors_for(bytes: usize) -> u64 {
    bytes.div_ceil(512) as u64
}

/// What one member's superblock says. Sectors are 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Which of the three places it occupies.
    pub minor: Minor,
    /// Feature bits that have no field of their own: CLUSTERED, JOURNAL, RAID0_LAYOUT and unknown
    /// ones. The whole map is [`feature_map`](Self::feature_map).
    pub other_features: u32,
    /// Identity of the array.
    pub set_uuid: Uuid,
    /// Name of the array.
    pub name: Name,
    /// When the array was created.
    pub ctime: Timestamp,
    /// Level as stored; [`level`](Self::level) names it.
    pub level_number: i32,
    /// Arrangement within the level.
    pub layout: u32,
    /// Sectors of each member in use; 0 for RAID0 and linear.
    pub size: u64,
    /// Sectors per chunk; 0 for RAID1.
    pub chunk_sectors: u32,
    /// Number of slots; during a reshape the new number.
    pub raid_disks: u32,
    /// Signed sectors from the superblock to the internal bitmap.
    pub bitmap_offset: Option<i32>,
    /// The partial parity log.
    pub ppl: Option<Ppl>,
    /// The reshape in progress.
    pub reshape: Option<Reshape>,
    /// First sector of data on this member.
    pub data_offset: u64,
    /// Sectors available for data on this member.
    pub data_size: u64,
    /// Sector of this superblock.
    pub super_offset: u64,
    /// While this member is being built: sectors from `data_offset` on that are good.
    pub recovery_offset: Option<u64>,
    /// The build in progress follows the bitmap.
    pub recovery_bitmap: bool,
    /// This member is being built to take over the slot of another one, or just has.
    pub replacement: bool,
    /// On a journal member: where to start scanning, in sectors from `data_offset`.
    pub journal_tail: Option<u64>,
    /// This member's index in the role table.
    pub dev_number: u32,
    /// Read errors repaired by rewriting.
    pub corrected_reads: u32,
    /// Identity of this member.
    pub device_uuid: Uuid,
    /// Raw wishes about this member; see [`write_mostly`](Self::write_mostly).
    pub devflags: u8,
    /// Room set aside for the bad-block log.
    pub bad_blocks: Option<LogPlace>,
    /// The log in that room is not empty and must be loaded.
    pub bad_blocks_recorded: bool,
    /// When this copy was written.
    pub utime: Timestamp,
    /// Update count.
    pub events: u64,
    /// How far redundancy is good.
    pub resync: Resync,
    /// The role of every device number.
    pub roles: Vec<Role>,
    /// Logical block size of the array in bytes; 0 where the writer did not say (Linux before
    /// 6.19, which also insists on 0).
    pub logical_block_size: u32,
    /// What a 0.90 superblock says beyond all this; none for version 1.
    pub v090: Option<Box<V090>>,
    /// The fixed bytes as read, for those nobody here understands.
    pub(super) raw: RawV1,
    /// What followed the role table up to a whole sector.
    pub(super) tail: Vec<u8>,
}

/// A partial parity log's area on this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ppl {
    /// Signed sectors from the superblock.
    pub offset: i16,
    /// Sectors.
    pub sectors: u16,
    /// The area is a ring of logs rather than a single one.
    pub multiple: bool,
}

impl Ppl {
    /// Whether the area has room for a ring of logs; it is then one, whatever the bit says
    /// (`raid5-ppl.c ppl_init_child_log`).
    pub fn is_ring(&self) -> bool {
        u64::from(self.sectors) * 512 >= RING_BYTES
    }
}

/// A change of geometry in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// Array sector it has reached.
    pub position: u64,
    /// New minus old number of slots.
    pub delta_disks: i32,
    /// Level afterwards, as stored.
    pub new_level: i32,
    /// Layout afterwards.
    pub new_layout: u32,
    /// Sectors per chunk afterwards.
    pub new_chunk_sectors: u32,
    /// Sectors by which this member's data start moves.
    pub new_offset: Option<i32>,
    /// With an unchanged number of slots: runs from the end.
    pub backwards: bool,
}

/// Room for the bad-block log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Signed sectors from the superblock.
    pub offset: i32,
    /// Sectors; each holds 64 entries.
    pub sectors: u16,
    /// Binary logarithm of the log's unit in sectors.
    pub shift: u8,
}

/// Why an array may be read but not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The map has bits without a name here; Linux would reject the member.
    #[error("unknown feature bits {0:#x}")]
    Features(u32),
    /// Padding is not zero: a newer writer keeps something there.
    #[error("non-zero padding in the superblock: a newer md wrote it")]
    Padding,
    /// multipath, faulty, or a number without meaning.
    #[error("level {0} is not one holdfast runs")]
    Level(i32),
    /// The geometry is changing.
    #[error("a reshape is in progress; let Linux md finish it")]
    Reshape,
    /// A journal may hold newer data than the members.
    #[error("the array has a write journal")]
    Journal,
    /// A partial parity log where md keeps none.
    #[error("the array has a partial parity log, which only RAID5 can have")]
    Ppl,
    /// Another machine may be writing.
    #[error("the array is shared by a cluster")]
    Clustered,
    /// Metadata that is only read here.
    #[error("metadata 0.90 is read, not written; mdadm --assemble --update=metadata makes it 1.0")]
    OldMetadata,
}

impl Superblock {
    /// A superblock of zeros at a place: what [`create`](super::create) starts from.
    pub(super) fn blank(minor: Minor) -> Self {
        Self {
            minor,
            other_features: 0,
            set_uuid: Uuid::default(),
            name: Name::default(),
            ctime: Timestamp::default(),
            level_number: 0,
            layout: 0,
            size: 0,
            chunk_sectors: 0,
            raid_disks: 0,
            bitmap_offset: None,
            ppl: None,
            reshape: None,
            data_offset: 0,
            data_size: 0,
            super_offset: 0,
            recovery_offset: None,
            recovery_bitmap: false,
            replacement: false,
            journal_tail: None,
            dev_number: 0,
            corrected_reads: 0,
            device_uuid: Uuid::default(),
            devflags: 0,
            bad_blocks: None,
            bad_blocks_recorded: false,
            utime: Timestamp::default(),
            events: 0,
            resync: Resync::Clean,
            roles: Vec::new(),
            logical_block_size: 0,
            v090: None,
            raw: zerocopy::FromZeros::new_zeroed(),
            tail: Vec::new(),
        }
    }

    /// The level, if holdfast runs it.
    pub fn level(&self) -> Option<Level> {
        Level::from_md_number(self.level_number)
    }

    /// The whole `feature_map`, as it would be written.
    pub fn feature_map(&self) -> u32 {
        let reshape = |wanted: fn(&Reshape) -> bool| self.reshape.as_ref().is_some_and(wanted);
        let ppl = |multiple| self.ppl.is_some_and(|ppl| ppl.multiple == multiple);
        let owned = [
            (feature::BITMAP_OFFSET, self.bitmap_offset.is_some()),
            (feature::RECOVERY_OFFSET, self.recovery_offset.is_some()),
            (feature::RESHAPE_ACTIVE, self.reshape.is_some()),
            (feature::BAD_BLOCKS, self.bad_blocks_recorded),
            (feature::REPLACEMENT, self.replacement),
            (feature::RESHAPE_BACKWARDS, reshape(|reshape| reshape.backwards)),
            (feature::NEW_OFFSET, reshape(|reshape| reshape.new_offset.is_some())),
            (feature::RECOVERY_BITMAP, self.recovery_bitmap),
            (feature::PPL, ppl(false)),
            (feature::MULTIPLE_PPLS, ppl(true)),
        ];
        owned
            .into_iter()
            .filter(|(_, set)| *set)
            .fold(self.other_features, |map, (bit, _)| map | bit)
    }

    /// The role of a device number; numbers beyond the table are spares.
    pub fn role_of(&self, dev_number: u32) -> Role {
        let index = usize::try_from(dev_number).unwrap_or(usize::MAX);
        self.roles.get(index).copied().unwrap_or(Role::Spare)
    }

    /// This member's own role, as it knows it. The freshest member may know better.
    pub fn role(&self) -> Role {
        self.role_of(self.dev_number)
    }

    /// Sets the role of a device number, growing the table with spares as needed.
    ///
    /// # Panics
    ///
    /// If the number has no place in a superblock ([`MAX_DEV`](super::v1::MAX_DEV)): ours to know.
    pub fn set_role(&mut self, dev_number: u32, role: Role) {
        assert!(dev_number < super::v1::MAX_DEV, "device number {dev_number} has no place");
        let index = dev_number as usize;
        if index >= self.roles.len() {
            self.roles.resize(index + 1, Role::Spare);
        }
        self.roles[index] = role;
    }

    /// Bytes the superblock occupies: fixed part and role table.
    pub fn bytes(&self) -> usize {
        FIXED_BYTES + 2 * self.roles.len()
    }

    /// Sectors [`emit`](Self::emit) fills.
    pub fn sectors(&self) -> u64 {
        sectors_for(self.bytes())
    }

    /// Read from this member only when no other can answer.
    pub fn write_mostly(&self) -> bool {
        self.devflags & devflag::WRITE_MOSTLY != 0
    }

    /// Fail this member at its first error.
    pub fn failfast(&self) -> bool {
        self.devflags & devflag::FAILFAST != 0
    }

    /// The RAID0 layout (1 original, 2 alternate), where the superblock says that it matters.
    pub fn raid0_layout(&self) -> Option<u32> {
        let says = self.level_number == 0 && self.other_features & feature::RAID0_LAYOUT != 0;
        says.then_some(self.layout)
    }

    /// Sectors from `data_offset` on that hold good data: all that the array uses, or what the
    /// rebuild has done so far.
    pub fn recovered_sectors(&self) -> u64 {
        let used = self.used_sectors();
        self.recovery_offset.map_or(used, |offset| offset.min(used))
    }

    /// Sectors of this member the array uses: `size`, or all there are for RAID0 and linear.
    pub fn used_sectors(&self) -> u64 {
        if self.level_number > 0 { self.size } else { self.data_size }
    }

    /// A signed distance from the superblock as a sector of the member.
    fn sector_at(&self, offset: i64) -> Option<u64> {
        self.super_offset.checked_add_signed(offset)
    }

    /// First sector of the internal bitmap on this member.
    pub fn bitmap_sector(&self) -> Option<u64> {
        self.sector_at(self.bitmap_offset?.into())
    }

    /// The uuid the array's bitmap carries.
    pub fn bitmap_uuid(&self) -> Uuid {
        self.v090.as_ref().map_or(self.set_uuid, |old| old.bitmap_uuid(self.set_uuid))
    }

    /// First sector of the bad-block log on this member.
    pub fn bad_blocks_sector(&self) -> Option<u64> {
        self.sector_at(self.bad_blocks?.offset.into())
    }

    /// First sector of the partial parity log's area on this member.
    pub fn ppl_sector(&self) -> Option<u64> {
        self.sector_at(self.ppl?.offset.into())
    }

    /// Sectors the bitmap may use: up to the next thing on the member, which is data, the
    /// superblock, the bad-block log or the end of the device.
    pub fn bitmap_room(&self, device_sectors: u64) -> Option<u64> {
        let start = self.bitmap_sector()?;
        let obstacles = [
            Some(self.data_offset),
            Some(self.super_offset),
            self.bad_blocks_sector(),
            Some(device_sectors),
        ];
        let next = obstacles.into_iter().flatten().filter(|sector| *sector > start).min()?;
        Some(next - start)
    }

    /// Why this member cannot keep the partial parity log that the array has, or has one the array has
    /// not (`raid5-ppl.c ppl_validate_rdev`).
    pub fn log_misfit(&self, array: &Self) -> Option<&'static str> {
        let overlaps = |ppl: Ppl| {
            let log = self.bad_blocks?;
            let (start, bad) = (self.ppl_sector()?, self.bad_blocks_sector()?);
            Some(start < bad + u64::from(log.sectors) && bad < start + u64::from(ppl.sectors))
        };
        match (self.ppl, array.ppl) {
            (None, None) => None,
            (None, Some(_)) => Some("has no room for the array's partial parity log"),
            (Some(_), None) => Some("has a partial parity log, and the array has none"),
            (Some(ppl), _) if ppl.sectors < 16 => Some("has a partial parity log without room"),
            (Some(ppl), _) if overlaps(ppl) == Some(true) => {
                Some("has its partial parity log where its bad-block log is")
            }
            _ => None,
        }
    }

    /// Why holdfast must not write this array, if so.
    pub fn refuses_writing(&self) -> Option<Unsupported> {
        let other = self.other_features;
        let padding = self.raw.pad0.get() != 0 || self.raw.pad3 != [0; 28];
        let reasons = [
            (other & !feature::KNOWN != 0, Unsupported::Features(other & !feature::KNOWN)),
            (padding, Unsupported::Padding),
            (self.level().is_none(), Unsupported::Level(self.level_number)),
            (self.reshape.is_some(), Unsupported::Reshape),
            (other & feature::JOURNAL != 0, Unsupported::Journal),
            (self.ppl.is_some() && self.level() != Some(Level::Raid5), Unsupported::Ppl),
            (other & feature::CLUSTERED != 0, Unsupported::Clustered),
            (self.minor == Minor::V0_90, Unsupported::OldMetadata),
        ];
        reasons.into_iter().find(|(applies, _)| *applies).map(|(_, reason)| reason)
    }
}
