//! What an array reports of its own accord.
//!
//! Events are plain values; the program turns them into text, tests compare them.

use holdfast_core::block::Fault;

use crate::sync::Action;

/// Something an array's owner may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member was taken out of service; the others' metadata says so before any write that
    /// missed it is acknowledged.
    MemberFailed {
        /// Device index.
        member: usize,
        /// Its slot, if it had one.
        slot: Option<u32>,
        /// Why.
        reason: FailReason,
    },
    /// A device is unusable, but taking it out would break the array: its metadata is left alone,
    /// requests that need it fail.
    MemberLost {
        /// Device index.
        member: usize,
        /// Its slot.
        slot: u32,
        /// What it answered.
        reason: FailReason,
    },
    /// A read error was answered from redundancy and the range written again.
    ReadCorrected {
        /// Device index.
        member: usize,
        /// First sector, from the start of the device.
        sector: u64,
        /// Sectors.
        sectors: u64,
    },
    /// A range entered a member's bad-block log.
    BadBlocks {
        /// Device index.
        member: usize,
        /// First sector, from the start of the device.
        sector: u64,
        /// Sectors.
        sectors: u64,
    },
    /// A range of the array could not be read or written.
    RangeFailed {
        /// First array sector.
        sector: u64,
        /// Sectors.
        sectors: u64,
        /// Whether it was a write.
        write: bool,
        /// What the caller was told.
        fault: Fault,
        /// The slots that could not help.
        slots: Vec<u32>,
    },
    /// A member had no room for a write: the caller got an error, the range stays marked for
    /// resync.
    NoSpace {
        /// Device index.
        member: usize,
        /// First sector, from the start of the device.
        sector: u64,
        /// Sectors.
        sectors: u64,
    },
    /// A member took longer than its deadline.
    MemberSlow {
        /// Device index.
        member: usize,
    },
    /// A spare took a slot and is being rebuilt.
    SpareActivated {
        /// Device index.
        member: usize,
        /// The slot it fills.
        slot: u32,
    },
    /// A member that was away has its slot again, and is given what it missed.
    MemberReturned {
        /// Device index.
        member: usize,
        /// Its slot.
        slot: u32,
    },
    /// A spare began to be filled with what a member holds, to take over its slot.
    ReplacementStarted {
        /// Device index of the member, which serves the slot meanwhile.
        member: usize,
        /// Device index of the spare.
        with: usize,
        /// The slot.
        slot: u32,
    },
    /// A replacement has its slot; the member it replaced is out of service.
    Replaced {
        /// Device index of the old member.
        member: usize,
        /// Device index of the new one.
        by: usize,
        /// The slot.
        slot: u32,
    },
    /// A resync, rebuild or check began (or went on from where it had stopped).
    SyncStarted {
        /// Which.
        action: Action,
        /// Where it begins, in sectors of its space.
        from: u64,
    },
    /// A resync, rebuild or check ended.
    SyncFinished {
        /// Which.
        action: Action,
        /// Whether it reached the end.
        complete: bool,
        /// Mismatched sectors, in md's unit.
        mismatch_sectors: u64,
    },
    /// A comparison found a difference.
    Mismatch {
        /// First sector of the compared unit: member rows for parity levels and mirrors, array
        /// sectors for raid10.
        sector: u64,
        /// Sectors of the unit.
        sectors: u64,
        /// For RAID6 with location: the slot every differing sector points at, if they agree.
        culprit: Option<u32>,
    },
    /// A rebuilt member is in sync.
    MemberInSync {
        /// Device index.
        member: usize,
        /// Its slot.
        slot: u32,
    },
    /// The array lost more than its level bears: it takes no writes any more.
    Broken,
}

/// Why a member was taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// Somebody asked for it.
    Requested,
    /// A write failed and could not be recorded as bad blocks.
    Write(Fault),
    /// A read failed in a way that another try on the same device does not mend.
    Read(Fault),
    /// A flush failed: nothing is known of what it should have made durable.
    Flush(Fault),
    /// Its metadata could not be written.
    Metadata(Fault),
    /// More read errors than the limit within the decay time.
    TooManyReadErrors,
    /// A write was not answered by its deadline.
    Deadline,
    /// Some of what it was to be filled with is nowhere to be had, and its bad-block log has no room
    /// to say so, or it has none.
    Unlisted,
    /// Its device is known to be gone, though nothing was asked of it.
    Gone,
}

impl std::fmt::Display for FailReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Requested => f.write_str("on request"),
            Self::Write(fault) => write!(f, "write failed: {fault}"),
            Self::Read(fault) => write!(f, "read failed: {fault}"),
            Self::Flush(fault) => write!(f, "flush failed: {fault}"),
            Self::Metadata(fault) => write!(f, "metadata could not be written: {fault}"),
            Self::TooManyReadErrors => f.write_str("too many read errors"),
            Self::Gone => f.write_str("device is gone"),
            Self::Deadline => f.write_str("write not answered by its deadline"),
            Self::Unlisted => f.write_str(
                "some of its data is nowhere to be had, which its log of bad blocks cannot take",
            ),
        }
    }
}
