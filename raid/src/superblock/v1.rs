//! The 256 fixed bytes of a version-1 superblock, field by field as Linux lays them out.
//!
//! This file knows bytes and nothing else: [`RawV1`] is a view with little-endian field types that
//! any 256 bytes satisfy. What the numbers mean, and whether they may be believed, is decided in
//! [`parse`](super::parse).
//!
//! Always true: the struct has no padding, alignment 1, and the offsets asserted below.
//!
//! Sources: Linux `md_p.h` (`struct mdp_superblock_1`, the feature bits), `md.c`
//! (`calc_sb_1_csum`).

use std::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic`: the bytes `fc 4e 2b a9`.
pub const MAGIC: u32 = 0xa92b_4efc;
/// Size of the fixed part in bytes; the role table follows directly.
pub const FIXED_BYTES: usize = 256;
/// The most a superblock occupies, in bytes: what a prober reads.
pub const MAX_BYTES: usize = 4096;
/// The most entries the role table may have.
pub const MAX_DEV: u32 = ((MAX_BYTES - FIXED_BYTES) / 2) as u32;

/// Bits of `feature_map`, named as in `md_p.h` without the `MD_FEATURE_` prefix.
pub mod feature {
    /// An internal write-intent bitmap sits at `bitmap_offset`.
    pub const BITMAP_OFFSET: u32 = 1;
    /// `recovery_offset` counts: the member is rebuilt only up to there.
    pub const RECOVERY_OFFSET: u32 = 2;
    /// The reshape fields count; while clear they may hold leftovers.
    pub const RESHAPE_ACTIVE: u32 = 4;
    /// The bad-block log is not empty and must be loaded.
    pub const BAD_BLOCKS: u32 = 8;
    /// The member is being built to take over the slot of another one.
    pub const REPLACEMENT: u32 = 16;
    /// A reshape with an unchanged number of slots runs from the end.
    pub const RESHAPE_BACKWARDS: u32 = 32;
    /// `new_offset` counts (during a reshape).
    pub const NEW_OFFSET: u32 = 64;
    /// The rebuild in progress follows the bitmap.
    pub const RECOVERY_BITMAP: u32 = 128;
    /// The array is shared by a cluster.
    pub const CLUSTERED: u32 = 256;
    /// The array has a write journal member.
    pub const JOURNAL: u32 = 512;
    /// A partial parity log: one log per area.
    pub const PPL: u32 = 1024;
    /// A partial parity log: the area is a ring of logs.
    pub const MULTIPLE_PPLS: u32 = 2048;
    /// `layout` says which of two ways this RAID0 with unequal members is striped.
    pub const RAID0_LAYOUT: u32 = 4096;
    /// Every bit that has a name.
    pub const KNOWN: u32 = 8191;
}

/// Bits of `devflags`.
pub mod devflag {
    /// Read from this member only when no other can answer.
    pub const WRITE_MOSTLY: u8 = 1;
    /// Fail the member at the first error instead of retrying.
    pub const FAILFAST: u8 = 2;
}

/// The fixed part of a version-1 superblock. Sectors are 512 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct RawV1 {
    /// [`MAGIC`]; tells a superblock from anything else.
    pub magic: U32,
    /// 1; version 0.90 uses another block altogether.
    pub major_version: U32,
    /// Which optional fields count: [`feature`].
    pub feature_map: U32,
    /// Zero; Linux rejects anything else.
    pub pad0: U32,
    /// Identity of the array: members that disagree never belong together.
    pub set_uuid: [u8; 16],
    /// Name of the array, usually `host:name`; NUL-padded, not always NUL-terminated.
    pub set_name: [u8; 32],
    /// Creation time: seconds in the low 40 bits, microseconds above. A second array made with
    /// the same uuid differs here.
    pub ctime: U64,
    /// RAID level; signed, because linear is −1.
    pub level: I32,
    /// Arrangement within the level; meaning depends on it.
    pub layout: U32,
    /// Sectors of each member the array uses; 0 for RAID0 and linear.
    pub size: U64,
    /// Chunk in sectors; 0 for RAID1.
    pub chunksize: U32,
    /// Number of slots; during a reshape the new number.
    pub raid_disks: U32,
    /// Signed sectors from the superblock to the bitmap; with a PPL the same bytes are a signed
    /// 16-bit offset and a 16-bit length.
    pub bitmap_offset: I32,
    /// Reshape: the level afterwards.
    pub new_level: I32,
    /// Reshape: array sector it has reached.
    pub reshape_position: U64,
    /// Reshape: new minus old number of slots.
    pub delta_disks: I32,
    /// Reshape: the layout afterwards.
    pub new_layout: U32,
    /// Reshape: the chunk afterwards, in sectors.
    pub new_chunk: U32,
    /// Reshape: signed sectors added to `data_offset` for the new geometry; per member.
    pub new_offset: I32,
    /// First sector of data on this member.
    pub data_offset: U64,
    /// Sectors available for data on this member; at least `size`.
    pub data_size: U64,
    /// Sector of this superblock; unmasks copies carried to another place.
    pub super_offset: U64,
    /// Sectors of this member already rebuilt; on a journal member the tail of the journal.
    pub recovery_offset: U64,
    /// Index of this member in the role table: permanent, and not its slot.
    pub dev_number: U32,
    /// Read errors repaired by rewriting.
    pub cnt_corrected_read: U32,
    /// Identity of this member; unmasks a copied disk.
    pub device_uuid: [u8; 16],
    /// Wishes about this member: [`devflag`].
    pub devflags: u8,
    /// Bad-block log: binary logarithm of its unit in sectors.
    pub bblog_shift: u8,
    /// Bad-block log: sectors set aside.
    pub bblog_size: U16,
    /// Bad-block log: signed sectors from the superblock.
    pub bblog_offset: I32,
    /// Time of the last update, same form as `ctime`.
    pub utime: U64,
    /// Grows with every update; the highest among the members is the truth.
    pub events: U64,
    /// Redundancy is good up to here; all ones when it is good everywhere.
    pub resync_offset: U64,
    /// [`checksum`] of the fixed part and the role table.
    pub sb_csum: U32,
    /// Entries of the role table that count.
    pub max_dev: U32,
    /// Logical block size of the array in bytes, from Linux 6.19 on; older kernels demand zero.
    pub logical_block_size: U32,
    /// Zero; Linux rejects anything else.
    pub pad3: [u8; 28],
}

// Four groups: constant array facts 128, constant member facts 64, changing state 32, padding 32.
const _: () = assert!(size_of::<RawV1>() == FIXED_BYTES && FIXED_BYTES == 128 + 64 + 32 + 32);
const _: () = assert!(offset_of!(RawV1, set_uuid) == 16);
const _: () = assert!(offset_of!(RawV1, set_name) == 16 + 16);
const _: () = assert!(offset_of!(RawV1, ctime) == 32 + 32);
const _: () = assert!(offset_of!(RawV1, size) == 64 + 8 + 4 + 4);
const _: () = assert!(offset_of!(RawV1, bitmap_offset) == 80 + 8 + 4 + 4);
const _: () = assert!(offset_of!(RawV1, reshape_position) == 96 + 4 + 4);
const _: () = assert!(offset_of!(RawV1, data_offset) == 104 + 8 + 4 * 4);
const _: () = assert!(offset_of!(RawV1, dev_number) == 128 + 4 * 8);
const _: () = assert!(offset_of!(RawV1, device_uuid) == 160 + 4 + 4);
const _: () = assert!(offset_of!(RawV1, bblog_offset) == 168 + 16 + 1 + 1 + 2);
const _: () = assert!(offset_of!(RawV1, utime) == 188 + 4);
const _: () = assert!(offset_of!(RawV1, sb_csum) == 192 + 3 * 8);
const _: () = assert!(offset_of!(RawV1, logical_block_size) == 216 + 4 + 4);

/// The checksum of `bytes`, which are the fixed part and the counted roles; `sb_csum` itself
/// counts as zero.
///
/// A sum of 32-bit words (a last half word included) with the carries added back once. It is no
/// CRC: two swapped words pass.
pub fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != offset_of!(RawV1, sb_csum) / 4)
        .map(|(_, word)| u64::from(u32::from_le_bytes(*word)))
        .sum::<u64>();
    let half = match rest {
        [low, high, ..] => u64::from(u16::from_le_bytes([*low, *high])),
        _ => 0,
    };
    let sum = sum + half;
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_folds_carries_and_ignores_itself() {
        let mut bytes = vec![0u8; 260];
        bytes[0..4].fill(0xff);
        bytes[4..8].fill(0xff);
        assert_eq!(checksum(&bytes), 0xffff_ffff, "0x1_ffff_fffe folds to 0xffff_fffe + 1");
        bytes[216..220].fill(0xaa);
        assert_eq!(checksum(&bytes), 0xffff_ffff);
        bytes[256] = 1;
        assert_eq!(checksum(&bytes), 0, "the fold itself may wrap");
    }

    #[test]
    fn checksum_takes_an_odd_last_role() {
        let mut bytes = vec![0u8; 258];
        bytes[256..258].copy_from_slice(&[0xfe, 0xff]);
        assert_eq!(checksum(&bytes), 0xfffe);
    }
}
