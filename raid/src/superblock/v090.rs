//! The older superblock, version 0.90: read, never written.
//!
//! 4096 bytes at the last 64 KiB boundary that leaves 64 KiB behind it, as 1024 words of 32 bits in
//! the byte order of the machine that wrote them; the magic tells which. It knows at most 27
//! devices, has no identity of its own for a member, no bad-block log and no data offset: data
//! starts at sector 0 and ends where the superblock begins.
//!
//! Its meaning is a [`Superblock`] like any other, with [`Minor::V0_90`] for its place, so that
//! everything that judges, shows and reads arrays works on it. Nothing writes it:
//! [`Superblock::refuses_writing`] says so.
//!
//! ```text
//!  word 0 magic · 1 major 0 · 2 minor 90 or 91 · 5, 13–15 uuid · 6 ctime · 7 level · 8 size (KiB)
//!       9 devices · 10 slots · 11 preferred minor · 32 utime · 33 state · 34–37 counts · 38 checksum
//!       39–42 events and events at the checkpoint · 43 checkpoint · 44–49 reshape
//!       64 layout · 65 chunk (bytes) · 128 … 27 descriptors of 32 words · 992 this device's own
//! ```
//!
//! Sources: Linux `md_p.h` (`mdp_super_t`), `md.c` (`super_90_load`, `super_90_validate`,
//! `calc_sb_csum`), mdadm `super0.c`.

use super::block::{Reshape, Superblock};
use super::parse::{SuperblockError, check_chunk, check_shape, demand};
use super::placement::Minor;
use super::role::{Resync, Role};
use super::timestamp::Timestamp;
use super::uuid::Uuid;
use super::v1::MAGIC;
use crate::level::Level;

/// Bytes of the block.
pub const BYTES: usize = 4096;
/// Descriptors in the block.
pub const MAX_DEVICES: usize = 27;
/// Where the internal bitmap begins, in sectors from the superblock; there is no choice.
const BITMAP_SECTORS: i32 = 8;
/// The word that holds the checksum.
const CHECKSUM_WORD: usize = 38;
/// First word of the descriptors, and their length in words.
const DEVICES_WORD: usize = 128;
const DEVICE_WORDS: usize = 32;
/// This device's own descriptor.
const THIS_WORD: usize = 992;

/// Bits of word 33.
mod state {
    pub(super) const CLEAN: u32 = 1 << 0;
    pub(super) const BITMAP: u32 = 1 << 8;
}

/// Bits of a device's state.
pub mod device {
    /// It has failed.
    pub const FAULTY: u32 = 1 << 0;
    /// It holds a slot.
    pub const ACTIVE: u32 = 1 << 1;
    /// Its data is current.
    pub const SYNC: u32 = 1 << 2;
    /// It was taken out of the array.
    pub const REMOVED: u32 = 1 << 3;
    /// Read it only if no other can answer.
    pub const WRITE_MOSTLY: u32 = 1 << 9;
}

/// What only a 0.90 superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V090 {
    /// Written by a big-endian machine.
    pub big_endian: bool,
    /// 90, or 91 during a reshape.
    pub minor_version: u32,
    /// The number the array wants in its name: `/dev/mdN`.
    pub preferred_minor: u32,
    /// Used size of each device in KiB, as stored.
    pub size_kib: u32,
    /// Devices, slots or not.
    pub total_devices: u32,
    /// Active, working, failed and spare devices, as counted by the writer.
    pub counts: [u32; 4],
    /// The checksum found.
    pub checksum: u32,
    /// The devices listed, by number.
    pub devices: Vec<Device>,
    /// This device's own descriptor.
    pub this: Device,
}

/// A device's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Device {
    /// Its number in the table.
    pub number: u32,
    /// Its device number when the block was written.
    pub major: u32,
    /// The same.
    pub minor: u32,
    /// Its slot; for spares without meaning.
    pub slot: u32,
    /// Bits of [`device`].
    pub state: u32,
}

/// Whether a block claims to be of version 0.90, in either byte order.
pub(super) fn claims(block: &[u8]) -> bool {
    let (words, _) = block.as_chunks::<4>();
    match words {
        [magic, major, ..] => {
            let little = u32::from_le_bytes(*magic) == MAGIC && u32::from_le_bytes(*major) == 0;
            little || u32::from_be_bytes(*magic) == MAGIC && u32::from_be_bytes(*major) == 0
        }
        _ => false,
    }
}

/// The checksum of a block: a sum of words with the carries added once, the checksum itself taken
/// as zero.
fn checksum(words: &Words<'_>) -> u32 {
    let sum: u64 = (0..BYTES / 4)
        .filter(|word| *word != CHECKSUM_WORD)
        .map(|word| u64::from(words.get(word)))
        .sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// As Linux compares them: architectures folded the carries differently, 16 bits agree on all.
const fn folded(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

/// The block as words of its writer.
struct Words<'a> {
    words: &'a [[u8; 4]],
    big_endian: bool,
}

impl<'a> Words<'a> {
    fn new(block: &'a [u8]) -> Result<Self, SuperblockError> {
        let whole =
            block.get(..BYTES).ok_or(SuperblockError::Short { have: block.len(), need: BYTES })?;
        let (words, _) = whole.as_chunks::<4>();
        Ok(Self { words, big_endian: u32::from_be_bytes(words[0]) == MAGIC })
    }

    fn get(&self, word: usize) -> u32 {
        let bytes = self.words[word];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Two words that are one number of the writer's.
    fn wide(&self, word: usize) -> u64 {
        let (first, second) = (u64::from(self.get(word)), u64::from(self.get(word + 1)));
        if self.big_endian { first << 32 | second } else { second << 32 | first }
    }

    fn device(&self, word: usize) -> Device {
        Device {
            number: self.get(word),
            major: self.get(word + 1),
            minor: self.get(word + 2),
            slot: self.get(word + 3),
            state: self.get(word + 4),
        }
    }

    fn uuid(&self) -> [u32; 4] {
        [5, 13, 14, 15].map(|word| self.get(word))
    }
}

impl Superblock {
    /// The 0.90 superblock in `block`, read from sector `found_at` of a device of
    /// `device_sectors`.
    pub(super) fn parse_v090(
        block: &[u8],
        found_at: u64,
        device_sectors: u64,
    ) -> Result<Self, SuperblockError> {
        let words = Words::new(block)?;
        let here = Minor::V0_90.sector(device_sectors) == Some(found_at);
        demand(here, "major_version", 0u32, "version 0.90 has its place 64 KiB before the end")?;
        let minor = words.get(2);
        demand(minor == 90 || minor == 91, "minor_version", minor, "expected 90 or 91")?;
        let (stored, expected) = (words.get(CHECKSUM_WORD), checksum(&words));
        if folded(stored) != folded(expected) {
            return Err(SuperblockError::Checksum { stored, expected });
        }
        let slots = words.get(10);
        demand(
            (1..=MAX_DEVICES as u32).contains(&slots),
            "raid_disks",
            slots,
            "expected 1 to 27 slots",
        )?;
        let number = words.get(THIS_WORD);
        demand(
            number < MAX_DEVICES as u32,
            "this_disk.number",
            number,
            "a superblock has room for 27 devices",
        )?;
        let block = translate(&words, found_at);
        check_shape(&block)?;
        check_chunk("chunk_size", block.level(), block.chunk_sectors)?;
        let fits = block.level_number <= 0 || block.size <= found_at;
        let why = "larger than the room before the superblock: it may belong to a larger device";
        demand(fits, "size", block.size, why)?;
        Ok(block)
    }
}

fn translate(words: &Words<'_>, found_at: u64) -> Superblock {
    let level_number = words.get(7).cast_signed();
    let striped = Level::from_md_number(level_number).is_none_or(Level::is_striped);
    let devices: Vec<Device> =
        (0..MAX_DEVICES).map(|index| words.device(DEVICES_WORD + DEVICE_WORDS * index)).collect();
    let this = words.device(THIS_WORD);
    let roles: Vec<Role> = devices.iter().map(role).collect();
    let flags = devices[this.number as usize].state;
    let uuid = words.uuid();
    let mut block = Superblock::blank(Minor::V0_90);
    block.set_uuid = Uuid(flatten(uuid.map(u32::to_be_bytes)));
    block.ctime = Timestamp::new(words.get(6).into(), 0);
    block.level_number = level_number;
    block.layout = words.get(64);
    block.size = if level_number > 0 { u64::from(words.get(8)) * 2 } else { 0 };
    block.chunk_sectors = if striped { words.get(65) / 512 } else { 0 };
    block.raid_disks = words.get(10);
    block.bitmap_offset = (words.get(33) & state::BITMAP != 0).then_some(BITMAP_SECTORS);
    block.reshape = (words.get(2) == 91).then(|| reshape(words));
    block.data_size = found_at;
    block.super_offset = found_at;
    block.dev_number = this.number;
    block.device_uuid = stand_in(uuid, this.number);
    block.devflags = u8::from(flags & device::WRITE_MOSTLY != 0);
    block.utime = Timestamp::new(words.get(32).into(), 0);
    block.events = words.wide(39);
    block.resync = resync(words);
    block.roles = roles;
    block.v090 = Some(Box::new(V090 {
        big_endian: words.big_endian,
        minor_version: words.get(2),
        preferred_minor: words.get(11),
        size_kib: words.get(8),
        total_devices: words.get(9),
        counts: [34, 35, 36, 37].map(|word| words.get(word)),
        checksum: words.get(CHECKSUM_WORD),
        devices,
        this,
    }));
    block
}

/// A device that is active without being in sync is one being added by a reshape, which is read no
/// further here; otherwise what is being rebuilt is a spare as far as this version can tell.
fn role(device: &Device) -> Role {
    let has = |bit| device.state & bit != 0;
    match u16::try_from(device.slot) {
        _ if has(device::FAULTY) => Role::Faulty,
        Ok(slot) if has(device::SYNC) && slot < Role::SLOT_LIMIT => Role::Active(slot),
        _ => Role::Spare,
    }
}

/// Clean, or the checkpoint if it was taken at the last update of all.
fn resync(words: &Words<'_>) -> Resync {
    if words.get(33) & state::CLEAN != 0 {
        return Resync::Clean;
    }
    let checkpoint = words.get(43);
    match words.wide(39) == words.wide(41) && checkpoint != u32::MAX {
        true => Resync::From(checkpoint.into()),
        false => Resync::From(0),
    }
}

fn reshape(words: &Words<'_>) -> Reshape {
    let delta_disks = words.get(47).cast_signed();
    Reshape {
        position: words.wide(44),
        delta_disks,
        new_level: words.get(46).cast_signed(),
        new_layout: words.get(48),
        new_chunk_sectors: words.get(49) / 512,
        new_offset: None,
        backwards: false,
    }
}

/// An identity for a member whose superblock has none: the array's, with the device's number.
fn stand_in(mut uuid: [u32; 4], number: u32) -> Uuid {
    uuid[3] = number;
    Uuid(flatten(uuid.map(u32::to_be_bytes)))
}

fn flatten(words: [[u8; 4]; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(words.as_flattened());
    bytes
}

impl V090 {
    /// The uuid as this array's bitmap carries it: the same words in the writer's own order.
    pub(super) fn bitmap_uuid(&self, set_uuid: Uuid) -> Uuid {
        let mut bytes = set_uuid.0;
        if !self.big_endian {
            bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        }
        Uuid(bytes)
    }
}

#[cfg(test)]
#[path = "v090_tests.rs"]
mod tests;
