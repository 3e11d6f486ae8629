//! Linux md's on-disk metadata, version 1 and (to read) 0.90: the only place in holdfast that knows its bytes.
//!
//! Everything here is pure: bytes and facts come in as arguments, bytes and verdicts go out.
//! Nothing reads a device or a clock, or invents a uuid.
//!
//! ```text
//!        one member                                    many members
//!  ┌───────────┐ parse ┌────────────┐  choose   ┌──────────────────────────────┐
//!  │   bytes   │──────▶│ Superblock │──────────▶│ who is current, stale, spare │
//!  │ (v1::Raw) │◀──────│  (meaning) │◀──────────│  or a stranger               │
//!  └───────────┘ emit  └────────────┘  create   └──────────────────────────────┘
//!        ▲                   │
//!    placement            examine ──▶ the text `mdadm --examine` prints
//! ```
//!
//! | file | noun |
//! |---|---|
//! | [`placement`] | the places a superblock can sit at (1.0, 1.1, 1.2 and 0.90) |
//! | [`v1`] | its fixed 256 bytes, feature bits, checksum |
//! | [`v090`] | the older block, read only |
//! | [`block`] | [`Superblock`]: what the bytes mean |
//! | [`parse`], [`emit`] | between the two; all range checks happen here |
//! | [`uuid`], [`name`], [`timestamp`], [`role`] | the words a superblock is made of |
//! | [`bitmap_header`] | the header of the write-intent bitmap |
//! | [`bad_blocks`] | the bad-block log, as bytes and as a set |
//! | [`mod@choose`], [`verdict`] | several members disagree: which are current? |
//! | [`wish`], [`create`] | a new array: what is wanted; sizes, offsets, first superblocks |
//! | [`geometry`] | array sizes, valid layouts, how many members are enough |
//! | [`examine`], [`examine_v090`], [`examine_bitmap`], [`mdstat`] | the texts administrators know |
//!
//! The usual walk: read 4096 bytes at each of [`placement::candidates`], [`Superblock::parse`]
//! them, keep [`placement::latest`] per device, split a mixed bag with [`choose::group`], ask
//! [`choose::choose`] for verdicts, and before writing ask [`Superblock::refuses_writing`].
//!
//! Units: sectors are 512 bytes everywhere; a field in bytes or KiB says so in its name.

pub mod bad_blocks;
pub mod bitmap_header;
pub mod block;
pub mod choose;
pub mod create;
pub mod emit;
pub mod examine;
pub mod examine_bitmap;
pub mod examine_v090;
pub mod geometry;
pub mod mdstat;
pub mod name;
pub mod parse;
pub mod placement;
pub mod role;
mod spare;
pub mod timestamp;
pub mod uuid;
pub mod v090;
pub mod v1;
pub mod verdict;
pub mod wish;

#[cfg(test)]
mod tests;

pub use bad_blocks::{BadBlocks, BadBlocksError, Flaws, Log, LogFull};
pub use bitmap_header::{BitmapError, BitmapHeader, BitmapVersion, UnsupportedBitmap};
pub use block::{LogPlace, Ppl, Reshape, Superblock, Unsupported};
pub use choose::{Choice, choose, group};
pub use create::{Plan, PlannedBitmap, PlannedMember, plan};
pub use name::{Name, NameError};
pub use parse::{SuperblockError, Unverified};
pub use placement::Minor;
pub use role::{Resync, Role};
pub use timestamp::Timestamp;
pub use uuid::{Uuid, UuidError};
pub use v1::MAX_DEV;
pub use verdict::{ChooseError, Stranger, Verdict};
pub use wish::{BitmapWish, CreateError, NewArray, NewMember};
