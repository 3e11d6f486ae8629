//! Why a shape is refused.
//!
//! One variant per reason, each carrying the field at fault and its value, so that the message
//! alone tells which number of the superblock (or which argument of `create`) to look at.

use crate::level::Level;

/// The shape describes no array that could work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Fewer slots than the level needs.
    #[error("raid_disks is {raid_disks}, but {level} needs at least {min}")]
    TooFewMembers {
        /// The level asked for.
        level: Level,
        /// The slots it was given.
        raid_disks: u32,
        /// The fewest it works with.
        min: u32,
    },
    /// More slots than the level allows.
    #[error("raid_disks is {raid_disks}, but {level} allows at most {max}")]
    TooManyMembers {
        /// The level asked for.
        level: Level,
        /// The slots it was given.
        raid_disks: u32,
        /// The most it works with.
        max: u32,
    },
    /// The layout number means nothing for this level.
    #[error("layout {layout:#x} is unknown for {level}")]
    BadLayout {
        /// The level asked for.
        level: Level,
        /// The number refused.
        layout: u32,
    },
    /// A raid10 layout sets bits (19 and up) that have no meaning.
    #[error("raid10 layout {layout:#x} sets reserved bits")]
    ReservedBits {
        /// The number refused.
        layout: u32,
    },
    /// A raid10 layout asks for far set rule 3 (bits 17–18), which does not exist.
    #[error("raid10 layout {layout:#x} has far set rule 3, which does not exist")]
    BadFarSets {
        /// The number refused.
        layout: u32,
    },
    /// A raid10 layout keeps fewer than two copies, or more copies than there are members.
    #[error("raid10 with {near} near and {far} far copies needs 2..={raid_disks} in all")]
    BadCopies {
        /// Near copies, bits 0–7 of the layout.
        near: u32,
        /// Far copies, bits 8–15 of the layout.
        far: u32,
        /// The slots there are.
        raid_disks: u32,
    },
    /// A raid10 layout that puts different chunks in the same place. Linux accepts it and loses
    /// data.
    #[error("raid10 layout {layout:#x} on {raid_disks} members puts two chunks in one place")]
    CopiesCollide {
        /// The number refused.
        layout: u32,
        /// The number of slots it collides with.
        raid_disks: u32,
    },
    /// A striped level without a chunk size.
    #[error("chunk_sectors is 0, but {level} is striped")]
    ZeroChunk {
        /// The level asked for.
        level: Level,
    },
    /// A chunk the level cannot use.
    #[error("chunk_sectors is {chunk_sectors}, but {level} needs a power of two, 8 or more")]
    BadChunk {
        /// The level asked for.
        level: Level,
        /// The number refused.
        chunk_sectors: u32,
    },
    /// linear and raid0 need the data size of every slot.
    #[error("{level} with {raid_disks} members was given {given} member sizes")]
    WrongNumberOfSizes {
        /// The level asked for.
        level: Level,
        /// The slots there are.
        raid_disks: u32,
        /// The sizes given.
        given: usize,
    },
    /// A member of linear or raid0 whose size, rounded down to the chunk, is nothing.
    #[error("slot {slot} has {sectors} sectors of data, less than one chunk of {chunk_sectors}")]
    MemberTooSmall {
        /// The member's slot.
        slot: u32,
        /// Its data size.
        sectors: u64,
        /// The chunk it should at least hold.
        chunk_sectors: u32,
    },
    /// Members of any other level that cannot hold one chunk per copy.
    #[error("member_sectors is {member_sectors}, but at least {needed_sectors} are needed")]
    MembersTooSmall {
        /// The size given.
        member_sectors: u64,
        /// The smallest that would do.
        needed_sectors: u64,
    },
    /// A raid0 of mixed sizes that does not say which of two incompatible layouts it was written
    /// with.
    #[error("raid0 with members of different sizes must say layout 1 (original) or 2 (alternate)")]
    AmbiguousZones,
    /// The array would have more sectors than a 64-bit number counts.
    #[error("{raid_disks} members of up to {member_sectors} sectors are too large an array")]
    TooLarge {
        /// The slots there are.
        raid_disks: u32,
        /// The largest member.
        member_sectors: u64,
    },
}
