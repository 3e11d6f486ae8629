//! What is kept with a block: one sector, so that it lands whole or not at all.

use holdfast_core::buf::is_zero;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 512;

const MAGIC: [u8; 8] = *b"hf-seal1";

/// Members whose versions fit into a seal.
pub const MOST_MEMBERS: usize = 59;

/// The seal's bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    /// Tells a seal from anything else.
    magic: [u8; 8],
    /// Checksum of everything below; catches a seal that is itself damaged.
    check: U32,
    /// Checksum of the block; catches corruption and torn writes.
    data_check: U32,
    /// Whose block it is; with `block` it catches writes that went elsewhere.
    member: U32,
    /// Entries of `versions` in use.
    count: U32,
    /// Which of the member's blocks.
    block: U64,
    /// Grows with every write of the member.
    version: U64,
    /// Versions of the same block of every member, as known at the time; catches lost writes.
    versions: [U64; MOST_MEMBERS],
}

const _: () = assert!(size_of::<Raw>() == 8 + 4 * 4 + 2 * 8 + MOST_MEMBERS * 8);
const _: () = assert!(size_of::<Raw>() == SEAL_BYTES);

/// Bytes of [`Raw`] that its checksum does not cover.
const UNCHECKED: usize = 12;

/// A seal that holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) data_check: u32,
    pub(super) member: u32,
    pub(super) block: u64,
    pub(super) version: u64,
    pub(super) versions: Vec<u64>,
}

/// What lies where a seal should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Zeros: the block was never written.
    Blank,
    /// A seal.
    Seal(Seal),
    /// Something else.
    Nonsense,
}

impl Seal {
    /// The seal of a block.
    pub(super) fn of(data: &[u8], member: u32, block: u64, version: u64, versions: &[u64]) -> Self {
        let data_check = crc32fast::hash(data);
        Self { data_check, member, block, version, versions: versions.to_vec() }
    }

    pub(super) fn emit(&self, bytes: &mut [u8]) {
        let mut raw = Raw::new_zeroed();
        raw.magic = MAGIC;
        raw.data_check = self.data_check.into();
        raw.member = self.member.into();
        raw.count = (self.versions.len() as u32).into();
        raw.block = self.block.into();
        raw.version = self.version.into();
        for (to, from) in raw.versions.iter_mut().zip(&self.versions) {
            *to = (*from).into();
        }
        raw.check = crc32fast::hash(&raw.as_bytes()[UNCHECKED..]).into();
        bytes.copy_from_slice(raw.as_bytes());
    }

    pub(super) fn find(bytes: &[u8]) -> Found {
        let Ok(raw) = Raw::ref_from_bytes(bytes) else { return Found::Nonsense };
        if is_zero(bytes) {
            return Found::Blank;
        }
        let count = raw.count.get() as usize;
        let whole = raw.magic == MAGIC
            && raw.check.get() == crc32fast::hash(&bytes[UNCHECKED..])
            && count <= MOST_MEMBERS;
        if !whole {
            return Found::Nonsense;
        }
        Found::Seal(Self {
            data_check: raw.data_check.get(),
            member: raw.member.get(),
            block: raw.block.get(),
            version: raw.version.get(),
            versions: raw.versions[..count].iter().map(|version| version.get()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back_and_every_flipped_bit_shows() {
        let seal = Seal::of(&[7; 4096], 3, 99, 1 << 40, &[5, 6, 7]);
        let mut bytes = [0; SEAL_BYTES];
        seal.emit(&mut bytes);
        assert_eq!(Seal::find(&bytes), Found::Seal(seal));
        for bit in 0..SEAL_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::find(&bytes), Found::Nonsense, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Seal::find(&[0; SEAL_BYTES]), Found::Blank);
    }
}
