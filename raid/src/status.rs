//! What an array says of itself when asked.

use crate::level::Level;
use crate::superblock::{Name, Uuid};
use crate::sync::Action;

/// The whole state of an array at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Array identity.
    pub uuid: Uuid,
    /// Array name, usually `host:name`.
    pub name: Name,
    /// Level.
    pub level: Level,
    /// md's layout number.
    pub layout: u32,
    /// Chunk in sectors; 0 where there is none.
    pub chunk_sectors: u32,
    /// Usable sectors.
    pub array_sectors: u64,
    /// Sectors used on each member (0 for raid0 and linear, whose members differ).
    pub member_sectors: u64,
    /// Slots.
    pub raid_disks: u32,
    /// Events count of the metadata.
    pub events: u64,
    /// How much redundancy is left.
    pub health: Health,
    /// Whether the metadata calls the array clean.
    pub clean: bool,
    /// Where a resync that is still pending would begin, if one is.
    pub resync_from: Option<u64>,
    /// Bytes that may be wrong because force started the array dirty and degraded.
    pub at_risk_bytes: Option<u64>,
    /// What runs now.
    pub sync: Option<SyncStatus>,
    /// Every device given, in that order.
    pub members: Vec<MemberStatus>,
    /// Bitmap: bits set, bits in all, bytes a bit covers.
    pub bitmap: Option<BitmapStatus>,
    /// Whether it keeps a partial parity log.
    pub ppl: bool,
}

/// How the rows of parity stripes were written, counted in bands (rows in which each data member is
/// written whole or not at all).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteWays {
    /// Whole stripes, and rows without parity: nothing had to be read.
    pub without_reading: u64,
    /// The old data and the old parity were read.
    pub read_modify_write: u64,
    /// The data that stayed was read.
    pub reconstruct: u64,
    /// Data of a missing member was recovered first.
    pub rebuild: u64,
}

/// How much redundancy is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Every slot is in sync.
    Optimal,
    /// Slots are missing; all data is there.
    Degraded,
    /// Data is missing.
    Failed,
}

impl Status {
    /// md's word for how redundancy stays true over an unclean stop; none where there is none.
    pub const fn consistency_policy(&self) -> Option<&'static str> {
        match self.level.is_redundant() {
            false => None,
            true if self.ppl => Some("ppl"),
            true if self.bitmap.is_some() => Some("bitmap"),
            true => Some("resync"),
        }
    }
}

/// A step inside an operation: what members are asked for, or what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// A write waits until the metadata says that it may be under way.
    Gate,
    /// Data is read.
    Read,
    /// Old data or parity is read so that a write's new parity can be computed.
    ReadForParity,
    /// Data and parity are written, or mended.
    Write,
    /// A write that failed is tried again block by block.
    Retry,
    /// A pass reads.
    PassRead,
    /// A pass writes.
    PassWrite,
    /// The array is flushed.
    Flush,
    /// The metadata is updated.
    Superblocks,
    /// The bitmap is written, or flushed for.
    Bitmap,
    /// A partial parity log is written, or flushed for.
    Log,
    /// Partial parity logs of an unclean stop are carried out.
    Replay,
}

/// A running resync, rebuild or check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// Which.
    pub action: Action,
    /// Sectors done, contiguous from the start of its space.
    pub done_sectors: u64,
    /// Sectors in all.
    pub total_sectors: u64,
    /// Mismatched sectors so far, in md's unit.
    pub mismatch_sectors: u64,
}

/// A bitmap's fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapStatus {
    /// Regions that may differ.
    pub dirty: u64,
    /// Regions in all.
    pub total: u64,
    /// Bytes a region covers.
    pub chunk_bytes: u64,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its slot, if it has one.
    pub slot: Option<u32>,
    /// Its permanent number in the role table.
    pub dev_number: u32,
    /// What it does.
    pub state: MemberState,
    /// Events count its superblock last carried.
    pub events: u64,
    /// First data sector.
    pub data_offset: u64,
    /// Sectors rebuilt so far, while rebuilding.
    pub recovery_offset: Option<u64>,
    /// Identity of the device.
    pub device_uuid: Uuid,
    /// Read only if nothing else can be.
    pub write_mostly: bool,
    /// Read errors corrected in its lifetime.
    pub corrected_reads: u32,
    /// Sectors in its bad-block log.
    pub bad_sectors: u64,
    /// Why it is not in service, in a sentence.
    pub why: Option<String>,
}

/// What a device of an array is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Holds its slot's data.
    InSync,
    /// Is being rebuilt; valid below its recovery offset.
    Rebuilding,
    /// Is being filled to take over the slot of another member, which serves it meanwhile.
    Replacing,
    /// Waits for a slot.
    Spare,
    /// Out of service.
    Faulty,
    /// Was here before; its data is older than the others'.
    Stale,
    /// Not part of this array, or unreadable as a member.
    Foreign,
}
