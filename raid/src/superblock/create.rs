//! A new array: from wishes to offsets, sizes and first superblocks. A plan, no writing.
//!
//! Sizes and places follow mdadm 4.2, so that arrays made here look as administrators expect and
//! leave the room Linux wants for bitmap, bad-block log and a later reshape:
//!
//! ```text
//! 1.2   0        8            16               data_offset (a multiple of 1 MiB)
//!       │        │ superblock │ bitmap │ bad blocks │ headroom │ data …
//! 1.0   data …                            │ bitmap │ bad blocks │ superblock │
//! ```
//!
//! One difference is deliberate: mdadm starts a new RAID5 degraded, with its last member a spare
//! being rebuilt. Here all members are active and the parity is computed by a resync.
//!
//! Always true of a plan: `data_offset + size` ends before whatever follows on each member, and
//! [`Superblock::parse`] accepts every superblock of it.
//!
//! Sources: mdadm `Create.c`, `super1.c` (`choose_bm_space`, `validate_geometry1`, `init_super1`,
//! `write_init_super1`, `add_internal_bitmap1`).

use super::bad_blocks::LOG_SECTORS;
use super::bitmap_header::{BitmapHeader, HEADER_BYTES};
use super::block::{LogPlace, Ppl, Superblock};
use super::geometry::{array_sectors, whole_chunks};
use super::placement::{MIN_DEVICE_SECTORS, Minor};
use super::role::{Resync, Role};
use super::v1::{FIXED_BYTES, devflag, feature};
use super::wish::{BitmapWish, CreateError, Device, NewArray, NewMember};
use crate::layout::{Layout, Shape};
use crate::level::Level;
use crate::ppl::{Header, signature};

/// Sectors per GiB.
const GIB: u64 = 1 << 21;
/// Sectors per MiB: data starts on such a boundary.
const MIB: u64 = 1 << 11;
/// Above this member size a bitmap is made unasked.
const BITMAP_FROM: u64 = 100 * GIB;
/// Bytes per bit unless more are needed to fit.
const DEFAULT_BITMAP_CHUNK: u64 = 64 << 20;
/// Smallest bitmap chunk in bytes.
const MIN_BITMAP_CHUNK: u64 = 4096;
/// RAID1 sizes are rounded down to 64 KiB, for a later change to a striped level.
const RAID1_ROUNDING: u32 = 128;
/// Where the bitmap starts after a 1.1 or 1.2 superblock, in sectors.
const BITMAP_OFFSET: i32 = 8;
/// Sectors of a partial parity log's area (mdadm `MULTIPLE_PPL_AREA_SIZE_SUPER1`).
const PPL_SECTORS: u64 = 2048;
/// Sectors a 1.0 superblock keeps at the end.
const END_SECTORS: u64 = 16;

/// Where things go on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedMember {
    /// Index into the role table: the slot, or for spares the numbers after the slots.
    pub dev_number: u32,
    /// The slot; none for a spare.
    pub slot: Option<u16>,
    /// The device as given.
    pub device: NewMember,
    /// Sector of the superblock.
    pub super_offset: u64,
    /// First sector of data.
    pub data_offset: u64,
    /// Sectors available for data.
    pub data_size: u64,
    /// Room for the bad-block log, if there is any.
    pub bad_blocks: Option<LogPlace>,
}

/// The write-intent bitmap of a new array: the same on every device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBitmap {
    /// Signed sectors from the superblock.
    pub offset: i32,
    /// Its header.
    pub header: BitmapHeader,
    /// Sectors it fills.
    pub sectors: u64,
}

/// A new array, worked out. Sectors are 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Sectors of each member in use; 0 for RAID0 and linear.
    pub size: u64,
    /// Sectors of the array.
    pub array_sectors: u64,
    /// The devices present: members in slot order, then spares.
    pub members: Vec<PlannedMember>,
    /// The bitmap, if there is one.
    pub bitmap: Option<PlannedBitmap>,
    /// The partial parity log, if there is one: the same place on every device.
    pub ppl: Option<Ppl>,
    /// How far redundancy is good from the start.
    pub resync: Resync,
    array: NewArray,
    needs_raid0_layout: bool,
}

/// Works out a new array.
pub fn plan(array: &NewArray) -> Result<Plan, CreateError> {
    if array.minor == Minor::V0_90 {
        return Err(CreateError::Metadata);
    }
    array.check()?;
    let offset = data_offset(array)?;
    let size = member_size(array, offset)?;
    let bitmap = plan_bitmap(array, size)?;
    let ppl = plan_ppl(array, offset);
    check_metadata_room(array, offset, bitmap.as_ref(), ppl)?;
    let space = match (&bitmap, ppl) {
        (Some(bitmap), _) => bitmap_room(array, bitmap),
        (None, Some(ppl)) => ppl.sectors.into(),
        (None, None) => bitmap_space(size),
    };
    let members: Vec<PlannedMember> =
        array.devices().map(|device| place(array, device, offset, size, space)).collect();
    let data: Vec<u64> = members.iter().filter(|m| m.slot.is_some()).map(|m| m.data_size).collect();
    check_layout(array, size)?;
    Ok(Plan {
        size,
        array_sectors: total(array, size, &data),
        bitmap,
        ppl,
        resync: first_resync(array),
        needs_raid0_layout: array.level == Level::Raid0 && unequal(&data, array.chunk_sectors),
        members,
        array: array.clone(),
    })
}

/// What is made here must assemble again. md would start a raid10 whose copies collide; that is no
/// reason to make one. A far layout also needs a chunk per section.
fn check_layout(array: &NewArray, size: u64) -> Result<(), CreateError> {
    if array.level != Level::Raid10 {
        return Ok(());
    }
    let shape = Shape {
        level: array.level,
        layout: array.layout,
        raid_disks: array.raid_disks(),
        chunk_sectors: array.chunk_sectors,
        member_sectors: size,
    };
    Layout::new(&shape, &[])?;
    Ok(())
}

/// Sectors mdadm sets aside for a bitmap on a device or a member size of this many sectors.
const fn bitmap_space(sectors: u64) -> u64 {
    match sectors {
        0..128 => 0,
        _ if sectors - 128 >= 200 * GIB => 256,
        _ if sectors - 8 > 8 * GIB => 128,
        _ => 8,
    }
}

/// Sectors set aside on a device for what guards writes: bitmap or partial parity log.
const fn guard_space(array: &NewArray, sectors: u64) -> u64 {
    match array.ppl {
        true => PPL_SECTORS,
        false => bitmap_space(sectors),
    }
}

/// The partial parity log's place: mdadm's, or what a data offset that was asked for leaves room for.
fn plan_ppl(array: &NewArray, offset: u64) -> Option<Ppl> {
    let log = u64::from(LOG_SECTORS);
    let (offset, sectors) = match array.minor {
        _ if !array.ppl => return None,
        Minor::V1_0 | Minor::V0_90 => (-((PPL_SECTORS + log) as i16), PPL_SECTORS),
        Minor::V1_1 | Minor::V1_2 => {
            let superblock = array.minor.sector(MIN_DEVICE_SECTORS).unwrap_or_default();
            let room = offset.saturating_sub(superblock + BITMAP_OFFSET as u64 + log);
            (BITMAP_OFFSET as i16, PPL_SECTORS.min(room / 8 * 8))
        }
    };
    Some(Ppl { offset, sectors: sectors as u16, multiple: false })
}

/// Where data starts: room for metadata, plus about 0.1 % of the device (at most 128 MiB) that a
/// later reshape can move into, rounded up to 1 MiB. The first device decides for all.
fn data_offset(array: &NewArray) -> Result<u64, CreateError> {
    if let Some(offset) = array.data_offset {
        return Ok(offset);
    }
    let Some(first) = array.devices().next().filter(|_| array.minor.is_at_start()) else {
        return Ok(0);
    };
    let sectors = first.device.sectors;
    let chunk_kib = u64::from(array.chunk_sectors / 2);
    let mut headroom = 128 * MIB;
    while headroom << 10 > sectors && (chunk_kib == 0 || headroom / 2 >= 4 * chunk_kib) {
        headroom /= 2;
        if headroom == 0 {
            break;
        }
    }
    Ok((24 + guard_space(array, sectors) + headroom).next_multiple_of(MIB))
}

/// What metadata and data offset take from a device, in sectors.
fn overhead(array: &NewArray, device: u64, offset: u64) -> u64 {
    match array.minor {
        Minor::V1_0 | Minor::V0_90 => {
            let rounding = device % 8;
            offset + rounding + END_SECTORS + u64::from(LOG_SECTORS) + guard_space(array, device)
        }
        Minor::V1_1 | Minor::V1_2 => offset,
    }
}

/// Sectors to use of each member: what was asked for if it fits everywhere, else what fits
/// everywhere.
fn member_size(array: &NewArray, offset: u64) -> Result<u64, CreateError> {
    let chunk = array.chunk_sectors;
    let wanted = array.size.map(|size| whole_chunks(size, chunk));
    let least = wanted.unwrap_or(0).max(chunk.max(MIN_USED) as u64);
    let mut smallest = u64::MAX;
    for Device { number, device, .. } in array.devices() {
        let have = device.sectors;
        let overhead = overhead(array, have, offset);
        let usable = whole_chunks(have.saturating_sub(overhead), chunk);
        if usable < least {
            let need = overhead.saturating_add(least);
            return Err(CreateError::TooSmall { member: number, have, need });
        }
        smallest = smallest.min(usable);
    }
    Ok(match (array.level, wanted) {
        (Level::Linear | Level::Raid0, _) => 0,
        (_, Some(size)) => size.max(least),
        (Level::Raid1, None) if smallest >= RAID1_ROUNDING.into() => {
            whole_chunks(smallest, RAID1_ROUNDING)
        }
        (_, None) => smallest,
    })
}

/// The least data per member md accepts, rounded up to 4 KiB.
const MIN_USED: u32 = 16;

fn total(array: &NewArray, size: u64, data: &[u64]) -> u64 {
    array_sectors(array.level, array.layout, array.chunk_sectors, array.raid_disks(), size, data)
}

/// Whether RAID0 members differ by a chunk or more: only then does its layout matter.
fn unequal(data: &[u64], chunk: u32) -> bool {
    let chunks = |sectors: &u64| whole_chunks(*sectors, chunk);
    data.windows(2).any(|pair| chunks(&pair[0]) != chunks(&pair[1]))
}

/// No resync where there is nothing to compare, or where too few members are left to disagree: a
/// parity array that starts without all its redundancy must call itself clean to start at all.
fn first_resync(array: &NewArray) -> Resync {
    let missing = array.members.iter().filter(|member| member.is_none()).count();
    let parity = array.level.parity_members() as usize;
    let moot = !array.level.is_redundant() || parity > 0 && missing >= parity;
    if array.assume_clean || moot { Resync::Clean } else { Resync::From(0) }
}

fn plan_bitmap(array: &NewArray, size: u64) -> Result<Option<PlannedBitmap>, CreateError> {
    let redundant = array.level.is_redundant();
    let wish = match array.bitmap {
        BitmapWish::None => return Ok(None),
        BitmapWish::Default if !redundant || size <= BITMAP_FROM => return Ok(None),
        BitmapWish::Default => None,
        BitmapWish::Internal { .. } if !redundant => return Err(CreateError::Bitmap(array.level)),
        BitmapWish::Internal { chunk_bytes } => chunk_bytes,
    };
    let covered = if array.level == Level::Raid10 { total(array, size, &[]) } else { size };
    let chunk = bitmap_chunk(wish, covered, bitmap_space(size))?;
    let header = BitmapHeader::new(array.set_uuid, covered, chunk);
    let offset = match array.minor {
        Minor::V1_0 | Minor::V0_90 => {
            // One bit more than needed, as mdadm counts; a start on a 4 KiB boundary.
            let bits = covered * 512 / u64::from(chunk) + 1;
            let blocks = (bits.div_ceil(8) + HEADER_BYTES).div_ceil(4096);
            -((blocks * 8) as i32) - i32::from(LOG_SECTORS)
        }
        Minor::V1_1 | Minor::V1_2 => BITMAP_OFFSET,
    };
    let sectors = header.area_sectors(offset);
    Ok(Some(PlannedBitmap { offset, header, sectors }))
}

/// Bytes per bit: as asked for if the bits then fit `room` sectors, else 64 MiB or what fits.
fn bitmap_chunk(wish: Option<u64>, covered: u64, room: u64) -> Result<u32, CreateError> {
    if room == 0 {
        return Err(CreateError::NoBitmapRoom);
    }
    let most_bits = (room * 512 - HEADER_BYTES) * 8;
    let (mut least, mut bits) = (MIN_BITMAP_CHUNK, covered * 512 / MIN_BITMAP_CHUNK + 1);
    while bits > most_bits {
        (least, bits) = (least * 2, bits.div_ceil(2));
    }
    let chunk = wish.unwrap_or_else(|| least.max(DEFAULT_BITMAP_CHUNK));
    let fits = chunk >= least && chunk.is_power_of_two();
    let error = CreateError::BitmapChunk { wanted: chunk, least };
    u32::try_from(chunk).ok().filter(|_| fits).ok_or(error)
}

/// Role table entries: one per device, rounded up so that the superblock fills whole sectors.
fn table_entries(array: &NewArray) -> usize {
    let devices = array.members.len() + array.spares.len();
    ((FIXED_BYTES + 2 * devices).next_multiple_of(512) - FIXED_BYTES) / 2
}

/// Behind a superblock at the start there must be room for itself and the bitmap.
fn check_metadata_room(
    array: &NewArray,
    offset: u64,
    bitmap: Option<&PlannedBitmap>,
    ppl: Option<Ppl>,
) -> Result<(), CreateError> {
    let Some(superblock) =
        array.minor.sector(MIN_DEVICE_SECTORS).filter(|_| array.minor.is_at_start())
    else {
        return Ok(());
    };
    let table = ((FIXED_BYTES + 2 * table_entries(array)) / 512) as u64;
    let bitmap = bitmap.map_or(0, |bitmap| BITMAP_OFFSET as u64 + bitmap.sectors);
    // A header, and a chunk of partial parity.
    let log = u64::from(LOG_SECTORS) + u64::from(array.chunk_sectors);
    let ppl = ppl.map_or(0, |_| BITMAP_OFFSET as u64 + log + u64::from(LOG_SECTORS));
    let need = superblock + table.max(bitmap).max(ppl);
    if offset < need { Err(CreateError::DataOffset { wanted: offset, need }) } else { Ok(()) }
}

/// Where everything goes on one device.
fn place(
    array: &NewArray,
    device: Device,
    data_offset: u64,
    size: u64,
    space: u64,
) -> PlannedMember {
    let sectors = device.device.sectors;
    let super_offset = array.minor.sector(sectors).unwrap_or_default();
    let (data_size, log) = match array.minor {
        Minor::V1_0 | Minor::V0_90 => {
            let room = super_offset - data_offset;
            let reserved = (space + u64::from(LOG_SECTORS)).min(room.saturating_sub(size));
            let log = (reserved >= LOG_SECTORS.into()).then_some(-i32::from(LOG_SECTORS));
            (room - reserved, log)
        }
        Minor::V1_1 | Minor::V1_2 => {
            (sectors - data_offset, log_offset(data_offset - super_offset, space))
        }
    };
    PlannedMember {
        dev_number: device.number as u32,
        slot: device.slot,
        device: device.device,
        super_offset,
        data_offset,
        data_size,
        bad_blocks: log.map(|offset| LogPlace { offset, sectors: LOG_SECTORS, shift: 0 }),
    }
}

/// Sectors that belong to the bitmap: whole blocks of 4 KiB, at the end all between it and the log.
fn bitmap_room(array: &NewArray, bitmap: &PlannedBitmap) -> u64 {
    match array.minor {
        Minor::V1_0 | Minor::V0_90 => {
            u64::from(bitmap.offset.unsigned_abs()) - u64::from(LOG_SECTORS)
        }
        Minor::V1_1 | Minor::V1_2 => bitmap.header.area_sectors(0),
    }
}

/// The bad-block log's place in the `gap` between superblock and data: right behind the bitmap
/// space, or the last 8 sectors.
fn log_offset(gap: u64, space: u64) -> Option<i32> {
    let (log, behind) = (u64::from(LOG_SECTORS), BITMAP_OFFSET as u64 + space);
    let offset = match gap {
        _ if gap >= behind + log => behind,
        16.. => gap - log,
        _ => return None,
    };
    i32::try_from(offset).ok()
}

impl Plan {
    /// One superblock per device of [`members`](Self::members), ready to emit at its
    /// `super_offset`.
    pub fn superblocks(&self) -> Vec<Superblock> {
        let shared = self.shared();
        self.members.iter().map(|member| own(&shared, member)).collect()
    }

    /// The bitmap's bytes, to be written at [`bitmap_sector`](Self::bitmap_sector) of every device:
    /// header, then ones. In an array that starts clean Linux drops these bits unread.
    pub fn bitmap(&self) -> Option<Vec<u8>> {
        let bitmap = self.bitmap.as_ref()?;
        let mut bytes = bitmap.header.emit().to_vec();
        bytes.resize(bitmap.sectors as usize * 512, 0xff);
        Some(bytes)
    }

    /// Where the bitmap starts on a device.
    pub fn bitmap_sector(&self, member: &PlannedMember) -> Option<u64> {
        member.super_offset.checked_add_signed(self.bitmap.as_ref()?.offset.into())
    }

    /// The first bytes of the partial parity log's area, to be written at
    /// [`ppl_sector`](Self::ppl_sector) of every device: an empty log; or zeros where parity is not known
    /// good, for no log could speak for it.
    pub fn ppl(&self) -> Option<Vec<u8>> {
        self.ppl?;
        let empty = Header { generation: 0, entries: Vec::new() };
        let header = empty.emit(signature(self.array.set_uuid));
        Some(if self.resync == Resync::Clean { header } else { vec![0; header.len()] })
    }

    /// Where the partial parity log's area starts on a device.
    pub fn ppl_sector(&self, member: &PlannedMember) -> Option<u64> {
        member.super_offset.checked_add_signed(self.ppl?.offset.into())
    }

    /// What all superblocks have in common.
    fn shared(&self) -> Superblock {
        let array = &self.array;
        let mut shared = Superblock::blank(array.minor);
        shared.set_uuid = array.set_uuid;
        shared.name = array.name;
        (shared.ctime, shared.utime) = (array.now, array.now);
        shared.level_number = array.level.md_number();
        shared.layout = array.layout;
        if self.needs_raid0_layout {
            shared.other_features |= feature::RAID0_LAYOUT;
            shared.layout = array.layout.max(1);
        }
        shared.size = self.size;
        shared.chunk_sectors = array.chunk_sectors;
        shared.raid_disks = array.raid_disks();
        shared.bitmap_offset = self.bitmap.as_ref().map(|bitmap| bitmap.offset);
        shared.ppl = self.ppl;
        shared.resync = self.resync;
        shared.roles = vec![Role::Spare; table_entries(array)];
        for member in &self.members {
            shared.set_role(member.dev_number, member.slot.map_or(Role::Spare, Role::Active));
        }
        shared
    }
}

/// The superblock of one device.
fn own(shared: &Superblock, member: &PlannedMember) -> Superblock {
    let flag = |set, bit| if set { bit } else { 0 };
    Superblock {
        super_offset: member.super_offset,
        data_offset: member.data_offset,
        data_size: member.data_size,
        bad_blocks: member.bad_blocks,
        dev_number: member.dev_number,
        device_uuid: member.device.device_uuid,
        devflags: flag(member.device.write_mostly, devflag::WRITE_MOSTLY)
            | flag(member.device.failfast, devflag::FAILFAST),
        ..shared.clone()
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
