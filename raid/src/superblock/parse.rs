//! Bytes to [`Superblock`]: the border where numbers are checked, once.
//!
//! Three outcomes. *Not found*: the magic is absent, the place may hold anything. *Error*: it
//! claims to be a superblock, yet a field cannot be true; the error names field, value and reason.
//! *Parsed*: every offset stays within the device, nothing that md keeps beside the data overlaps
//! it, and tables fit the block. Whether the array may be written is another question, answered by
//! [`Superblock::refuses_writing`].
//!
//! The checks are those of the kernel, plus the ones it leaves to later code. Where a field counts
//! only under a feature bit, leftovers under a clear bit are ignored and kept.
//!
//! Source: Linux `md.c` (`super_1_load`, `super_1_validate`).

use std::ops::Range;

use zerocopy::FromBytes;

use super::block::{LogPlace, Ppl, Reshape, Superblock};
use super::name::Name;
use super::placement::Minor;
use super::role::{Resync, Role};
use super::timestamp::Timestamp;
use super::uuid::Uuid;
use super::v1::{FIXED_BYTES, MAGIC, MAX_DEV, RawV1, checksum, feature};
use super::v090;
use crate::level::Level;

/// Smallest member md accepts, in sectors of data.
const MIN_DATA_SECTORS: u64 = 10;
/// Largest bad-block log Linux loads, in sectors.
const MAX_LOG_SECTORS: u16 = 8;
/// A chunk of parity and RAID10 arrays is at least one page of 4 KiB.
const PAGE_SECTORS: u32 = 8;
/// The largest logical block any kernel takes: a page of the largest kind.
const MAX_BLOCK_BYTES: u32 = 64 << 10;
/// A chunk in bytes fits a signed 32-bit number throughout md.
const MAX_CHUNK_SECTORS: u32 = (i32::MAX as u32) >> 9;
/// Bits that live in fields of their own; the others are [`Superblock::other_features`].
const OWNED: u32 =
    feature::KNOWN & !(feature::CLUSTERED | feature::JOURNAL | feature::RAID0_LAYOUT);

/// Why a block is no usable superblock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Another magic: there is no superblock here.
    #[error("no md superblock (magic {magic:#010x})")]
    NotFound {
        /// What stands in its place.
        magic: u32,
    },
    /// The block given ends before the superblock does.
    #[error("the superblock needs {need} bytes, {have} were read")]
    Short {
        /// Bytes given.
        have: usize,
        /// Bytes it claims.
        need: usize,
    },
    /// The bytes have changed since they were written.
    #[error("sb_csum {stored:#x}: the bytes add up to {expected:#x}")]
    Checksum {
        /// In the superblock.
        stored: u32,
        /// Of the bytes read.
        expected: u32,
    },
    /// A field cannot be true.
    #[error("{field} {value}: {why}")]
    Field {
        /// Its name in `md_p.h`.
        field: &'static str,
        /// Its value.
        value: i128,
        /// What speaks against it.
        why: &'static str,
    },
}

impl SuperblockError {
    /// The field at fault, named as in `md_p.h`.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => Some("magic"),
            Self::Short { .. } => None,
            Self::Checksum { .. } => Some("sb_csum"),
            Self::Field { field, .. } => Some(field),
        }
    }
}

pub(super) type Outcome = Result<(), SuperblockError>;

/// `Ok` if the condition holds, else the field is to blame.
pub(super) fn demand(
    holds: bool,
    field: &'static str,
    value: impl Into<i128>,
    why: &'static str,
) -> Outcome {
    if holds { Ok(()) } else { Err(SuperblockError::Field { field, value: value.into(), why }) }
}

/// A superblock whose checksum has yet to be judged: for tools that show damaged members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// What the bytes say.
    pub superblock: Superblock,
    /// The checksum stored.
    pub stored: u32,
    /// The checksum of the bytes.
    pub expected: u32,
}

impl Superblock {
    /// The superblock in `block`, read from sector `found_at` of a device of `device_sectors`.
    ///
    /// `block` is normally the 4096 bytes found there; fewer do if the role table is within.
    pub fn parse(
        block: &[u8],
        found_at: u64,
        device_sectors: u64,
    ) -> Result<Self, SuperblockError> {
        if v090::claims(block) {
            return Self::parse_v090(block, found_at, device_sectors);
        }
        let (raw, rest) = split(block)?;
        let used = used_bytes(&raw, block, found_at)?;
        let (stored, expected) = (raw.sb_csum.get(), checksum(used));
        if stored != expected {
            return Err(SuperblockError::Checksum { stored, expected });
        }
        interpret(&raw, rest, device_sectors)
    }

    /// As [`parse`](Self::parse), but a wrong checksum is reported instead of refused.
    pub fn parse_unverified(
        block: &[u8],
        found_at: u64,
        device_sectors: u64,
    ) -> Result<Unverified, SuperblockError> {
        let (raw, rest) = split(block)?;
        let expected = checksum(used_bytes(&raw, block, found_at)?);
        let superblock = interpret(&raw, rest, device_sectors)?;
        Ok(Unverified { superblock, stored: raw.sb_csum.get(), expected })
    }
}

/// Separates the fixed part from the role table, if this is a superblock at all.
fn split(block: &[u8]) -> Result<(RawV1, &[u8]), SuperblockError> {
    let (raw, rest) = RawV1::read_from_prefix(block)
        .map_err(|_| SuperblockError::Short { have: block.len(), need: FIXED_BYTES })?;
    match raw.magic.get() {
        MAGIC => Ok((raw, rest)),
        magic => Err(SuperblockError::NotFound { magic }),
    }
}

/// The bytes the checksum covers. What must be known before the checksum can be computed, or
/// marks the block as a copy that belongs elsewhere, is checked here.
fn used_bytes<'a>(
    raw: &RawV1,
    block: &'a [u8],
    found_at: u64,
) -> Result<&'a [u8], SuperblockError> {
    let (major, max_dev) = (raw.major_version.get(), raw.max_dev.get());
    let super_offset = raw.super_offset.get();
    demand(major == 1, "major_version", major, "only 1 is known")?;
    demand(
        super_offset == found_at,
        "super_offset",
        super_offset,
        "the block is a misplaced copy",
    )?;
    demand(max_dev <= MAX_DEV, "max_dev", max_dev, "the table would not fit 4096 bytes")?;
    let need = FIXED_BYTES + 2 * max_dev as usize;
    block.get(..need).ok_or(SuperblockError::Short { have: block.len(), need })
}

/// Gives the bytes their meaning and checks it.
fn interpret(raw: &RawV1, rest: &[u8], device: u64) -> Result<Superblock, SuperblockError> {
    let super_offset = raw.super_offset.get();
    let minor = Minor::at(super_offset, device).ok_or_else(|| SuperblockError::Field {
        field: "super_offset",
        value: super_offset.into(),
        why: "no superblock belongs there on a device of this size",
    })?;
    check_features(raw)?;
    let mut block = translate(raw, rest, minor);
    check_shape(&block)?;
    check_chunk("chunksize", block.level(), block.chunk_sectors)?;
    check_data(&block, device)?;
    check_reshape(&block, device)?;
    check_bitmap(&block, device)?;
    check_ppl(&block, device)?;
    match check_log(&block, device) {
        Err(error) if block.bad_blocks_recorded => return Err(error),
        Err(_) => block.bad_blocks = None,
        Ok(()) => {}
    }
    Ok(block)
}

fn check_features(raw: &RawV1) -> Outcome {
    let map = raw.feature_map.get();
    let has = |bits| map & bits != 0;
    let refuse = |applies: bool, why| demand(!applies, "feature_map", map, why);
    let any_ppl = has(feature::PPL | feature::MULTIPLE_PPLS);
    refuse(has(feature::PPL) && has(feature::MULTIPLE_PPLS), "two kinds of partial parity log")?;
    refuse(any_ppl && has(feature::BITMAP_OFFSET), "a partial parity log and a bitmap")?;
    refuse(any_ppl && has(feature::JOURNAL), "a partial parity log and a journal")?;
    let raid0_layout = has(feature::RAID0_LAYOUT) && raw.level.get() != 0;
    refuse(raid0_layout, "a RAID0 layout at another level")?;
    let stray = has(feature::RESHAPE_BACKWARDS | feature::NEW_OFFSET);
    refuse(stray && !has(feature::RESHAPE_ACTIVE), "reshape details without a reshape")
}

/// Field by field; nothing is judged here.
fn translate(raw: &RawV1, rest: &[u8], minor: Minor) -> Superblock {
    let map = raw.feature_map.get();
    let has = |bits| map & bits != 0;
    let (table, tail) = rest.split_at(rest.len().min(2 * raw.max_dev.get() as usize));
    let (entries, _) = table.as_chunks::<2>();
    let roles: Vec<Role> =
        entries.iter().map(|entry| Role::from_number(u16::from_le_bytes(*entry))).collect();
    let own = usize::try_from(raw.dev_number.get()).ok().and_then(|index| roles.get(index));
    let is_journal = own == Some(&Role::Journal);
    let padding = (FIXED_BYTES + table.len()).next_multiple_of(512) - FIXED_BYTES - table.len();
    Superblock {
        minor,
        other_features: map & !OWNED,
        set_uuid: Uuid(raw.set_uuid),
        name: Name(raw.set_name),
        ctime: Timestamp(raw.ctime.get()),
        level_number: raw.level.get(),
        layout: raw.layout.get(),
        size: raw.size.get(),
        chunk_sectors: raw.chunksize.get(),
        raid_disks: raw.raid_disks.get(),
        bitmap_offset: has(feature::BITMAP_OFFSET).then(|| raw.bitmap_offset.get()),
        ppl: has(feature::PPL | feature::MULTIPLE_PPLS).then(|| ppl(raw)),
        reshape: has(feature::RESHAPE_ACTIVE).then(|| reshape(raw)),
        data_offset: raw.data_offset.get(),
        data_size: raw.data_size.get(),
        super_offset: raw.super_offset.get(),
        recovery_offset: has(feature::RECOVERY_OFFSET).then(|| raw.recovery_offset.get()),
        recovery_bitmap: has(feature::RECOVERY_BITMAP),
        replacement: has(feature::REPLACEMENT),
        journal_tail: is_journal.then(|| raw.recovery_offset.get()),
        dev_number: raw.dev_number.get(),
        corrected_reads: raw.cnt_corrected_read.get(),
        device_uuid: Uuid(raw.device_uuid),
        devflags: raw.devflags,
        bad_blocks: log_place(raw),
        bad_blocks_recorded: has(feature::BAD_BLOCKS),
        utime: Timestamp(raw.utime.get()),
        events: raw.events.get(),
        resync: Resync::from_number(raw.resync_offset.get()),
        roles,
        logical_block_size: raw.logical_block_size.get(),
        v090: None,
        raw: *raw,
        tail: tail.get(..padding).map_or_else(Vec::new, <[u8]>::to_vec),
    }
}

fn ppl(raw: &RawV1) -> Ppl {
    let [a, b, c, d] = raw.bitmap_offset.get().to_le_bytes();
    Ppl {
        offset: i16::from_le_bytes([a, b]),
        sectors: u16::from_le_bytes([c, d]),
        multiple: raw.feature_map.get() & feature::MULTIPLE_PPLS != 0,
    }
}

fn reshape(raw: &RawV1) -> Reshape {
    let has = |bits| raw.feature_map.get() & bits != 0;
    Reshape {
        position: raw.reshape_position.get(),
        delta_disks: raw.delta_disks.get(),
        new_level: raw.new_level.get(),
        new_layout: raw.new_layout.get(),
        new_chunk_sectors: raw.new_chunk.get(),
        new_offset: has(feature::NEW_OFFSET).then(|| raw.new_offset.get()),
        backwards: has(feature::RESHAPE_BACKWARDS),
    }
}

/// The log's room exists when both size and offset say so.
fn log_place(raw: &RawV1) -> Option<LogPlace> {
    let (offset, sectors) = (raw.bblog_offset.get(), raw.bblog_size.get());
    (offset != 0 && sectors != 0).then_some(LogPlace { offset, sectors, shift: raw.bblog_shift })
}

pub(super) fn check_shape(block: &Superblock) -> Outcome {
    let (disks, unit) = (block.raid_disks, block.logical_block_size);
    demand((1..=MAX_DEV).contains(&disks), "raid_disks", disks, "expected 1 to 1920 slots")?;
    let number = block.dev_number;
    demand(number < MAX_DEV, "dev_number", number, "a superblock has room for 1920 devices")?;
    let unit_ok = unit == 0 || unit.is_power_of_two() && (512..=MAX_BLOCK_BYTES).contains(&unit);
    let why = "expected 0 or a power of two from 512 to 65536";
    demand(unit_ok, "logical_block_size", unit, why)
}

pub(super) fn check_chunk(field: &'static str, level: Option<Level>, chunk: u32) -> Outcome {
    demand(chunk <= MAX_CHUNK_SECTORS, field, chunk, "larger than md can express")?;
    let Some(level) = level.filter(|level| level.is_striped()) else {
        return Ok(());
    };
    demand(chunk != 0, field, chunk, "a striped level needs a chunk")?;
    let paged = level == Level::Raid0 || chunk.is_power_of_two() && chunk >= PAGE_SECTORS;
    demand(paged, field, chunk, "this level needs a power of two of at least 8 sectors")
}

fn check_data(block: &Superblock, device: u64) -> Outcome {
    let (offset, data, size) = (block.data_offset, block.data_size, block.size);
    demand(data >= MIN_DATA_SECTORS, "data_size", data, "too small for any array")?;
    demand(offset <= device, "data_offset", offset, "beyond the end of the device")?;
    let room = if block.minor.is_at_start() { device - offset } else { block.super_offset };
    demand(data <= room, "data_size", data, "larger than the room on the device")?;
    check_data_start("data_offset", offset, block)?;
    if block.level_number <= 0 || block.role() == Role::Journal {
        return Ok(());
    }
    demand(size <= data, "size", size, "larger than data_size")?;
    let end = offset.saturating_add(size);
    let clear = block.minor.is_at_start() || end <= block.super_offset;
    demand(clear, "size", size, "data would reach into the superblock")
}

/// Data behind a superblock starts behind all of it.
fn check_data_start(field: &'static str, start: u64, block: &Superblock) -> Outcome {
    let clear = !block.minor.is_at_start() || start >= block.super_offset + block.sectors();
    demand(clear, field, start, "data would start inside the superblock")
}

fn check_reshape(block: &Superblock, device: u64) -> Outcome {
    let Some(reshape) = block.reshape else {
        return Ok(());
    };
    let delta = reshape.delta_disks;
    let before = i64::from(block.raid_disks) - i64::from(delta);
    let possible = (1..=i64::from(MAX_DEV)).contains(&before);
    demand(possible, "delta_disks", delta, "no such number of slots before the reshape")?;
    check_chunk("new_chunk", Level::from_md_number(reshape.new_level), reshape.new_chunk_sectors)?;
    let moved = reshape.new_offset.unwrap_or(0);
    let start = block.data_offset.checked_add_signed(moved.into());
    let start = start.filter(|start| *start <= device);
    demand(start.is_some(), "new_offset", moved, "the new data start is outside the device")?;
    start.map_or(Ok(()), |start| check_data_start("new_offset", start, block))
}

/// The sectors `[offset, offset + sectors)` counted from the superblock, if they lie on the
/// device and touch neither superblock nor data.
fn free_area(block: &Superblock, offset: i64, sectors: u64, device: u64) -> Option<Range<u64>> {
    let start = block.super_offset.checked_add_signed(offset)?;
    let area = start..start.checked_add(sectors).filter(|end| *end <= device)?;
    let superblock = block.super_offset..block.super_offset + block.sectors();
    let data = block.data_offset..block.data_offset.saturating_add(block.used_sectors());
    let apart = |other: &Range<u64>| area.end <= other.start || other.end <= area.start;
    (apart(&superblock) && apart(&data)).then_some(area)
}

const NO_ROOM: &str = "the area is outside the device or overlaps superblock or data";

fn check_bitmap(block: &Superblock, device: u64) -> Outcome {
    let Some(offset) = block.bitmap_offset else {
        return Ok(());
    };
    demand(free_area(block, offset.into(), 1, device).is_some(), "bitmap_offset", offset, NO_ROOM)
}

fn check_ppl(block: &Superblock, device: u64) -> Outcome {
    let Some(ppl) = block.ppl else { return Ok(()) };
    let sectors = u64::from(ppl.sectors);
    demand(sectors >= 8, "ppl.size", ppl.sectors, "too small for a log header")?;
    let area = free_area(block, ppl.offset.into(), sectors, device);
    demand(area.is_some(), "ppl.offset", ppl.offset, NO_ROOM)
}

fn check_log(block: &Superblock, device: u64) -> Outcome {
    let Some(log) = block.bad_blocks else {
        return demand(!block.bad_blocks_recorded, "bblog_size", 0, "bad blocks without a log");
    };
    demand(log.sectors <= MAX_LOG_SECTORS, "bblog_size", log.sectors, "more than 8 sectors")?;
    demand(log.shift < 54, "bblog_shift", log.shift, "no disk is that large")?;
    let area = free_area(block, log.offset.into(), log.sectors.into(), device);
    demand(area.is_some(), "bblog_offset", log.offset, NO_ROOM)
}
