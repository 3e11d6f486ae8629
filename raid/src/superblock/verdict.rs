//! What can be said about a candidate member at assembly.
//!
//! The outcomes of [`choose`](mod@super::choose), each with the reason an administrator wants to read.
//! Words are explained there.

use super::role::Role;
use super::timestamp::Timestamp;
use super::uuid::Uuid;

/// What to do with one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Holds current data.
    InSync {
        /// Its slot.
        slot: u16,
    },
    /// Is being rebuilt into a slot.
    Rebuilding {
        /// The slot.
        slot: u16,
        /// Sectors from `data_offset` on that are good already.
        recovered_sectors: u64,
    },
    /// Is being built, or has been, to take over the slot of another member.
    Replacement {
        /// The slot.
        slot: u16,
        /// Good sectors so far; none when it holds everything.
        recovered_sectors: Option<u64>,
    },
    /// Out of date, and taken nevertheless because `force` said so: writes may be lost.
    Forced {
        /// Its slot.
        slot: u16,
        /// Its events.
        events: u64,
        /// Events it lags.
        behind: u64,
    },
    /// Holds nothing of the array.
    Spare,
    /// Holds the write journal.
    Journal,
    /// Says itself that it failed, or holds no role and is listed as failed.
    Faulty,
    /// Believes to be active, but a fresher or equally fresh member expelled it.
    DeclaredFaulty {
        /// The slot it believes in.
        slot: u16,
    },
    /// Missed updates.
    Stale {
        /// Its slot; none for a journal.
        slot: Option<u16>,
        /// Its events.
        events: u64,
        /// Events it lags.
        behind: u64,
    },
    /// Went on alone after losing the freshest member, which went on without it. Never merged.
    Diverged {
        /// The slot it believes in.
        slot: u16,
        /// Its events.
        events: u64,
        /// Events it lags.
        behind: u64,
    },
    /// Not of this array.
    Stranger(Stranger),
    /// Another candidate already speaks for this device or slot.
    Duplicate {
        /// That candidate.
        of: usize,
    },
}

impl Verdict {
    /// The slot whose data this member serves in full.
    pub fn serving_slot(&self) -> Option<u16> {
        match self {
            Self::InSync { slot }
            | Self::Forced { slot, .. }
            | Self::Replacement { slot, recovered_sectors: None } => Some(*slot),
            _ => None,
        }
    }
}

/// Why a candidate is not of this array. The first value is the candidate's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// Another array.
    #[error("belongs to array {0}")]
    Array(Uuid),
    /// Same uuid, but the array was created again.
    #[error("was created {0}, the array {1}")]
    Ctime(Timestamp, Timestamp),
    /// Another level.
    #[error("has level {0}, the array {1}")]
    Level(i32, i32),
    /// Another layout.
    #[error("has layout {0:#x}, the array {1:#x}")]
    Layout(u32, u32),
    /// Another chunk size, in sectors.
    #[error("has chunks of {0} sectors, the array of {1}")]
    Chunk(u32, u32),
    /// Another member size, in sectors.
    #[error("uses {0} sectors per member, the array {1}")]
    Size(u64, u64),
    /// Another number of slots.
    #[error("has {0} slots, the array {1}")]
    RaidDisks(u32, u32),
    /// A slot the array has not.
    #[error("claims slot {0} of {1}")]
    Slot(u16, u32),
    /// A role without meaning, or not the kind of device the array lists under its number.
    #[error("has role {0:?}, the array lists {1:?}")]
    Role(Role, Role),
}

/// Why no choice can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// Nothing to choose from.
    #[error("no candidates")]
    Empty,
    /// Nobody knows the array's state.
    #[error("only spares and failed members of array {0}")]
    NoMembers(Uuid),
    /// Both went on alone and hold different data; only a human knows which to keep.
    #[error(
        "split history: candidates {first} and {second} each list the other as gone at the same \
         event count {events}; assemble with the one whose data is wanted and add the other anew"
    )]
    SplitHistory {
        /// One of them.
        first: usize,
        /// The other.
        second: usize,
        /// The event count both reached.
        events: u64,
    },
}
